#include "app/schemas.h"

#include <algorithm>
#include <initializer_list>

#include "core/error.h"
#include "core/schema.h"
#include "core/schema_tree.h"
#include "core/timeline.h"

namespace orrery::app {
namespace {

using orrery::schema::Tree;

// A property of one type ("integer"), or of one of two ("string|null").
Tree property(std::string_view type, const char* about = "") {
  Tree out = Tree::object();
  if (*about != '\0') out.add("description", Tree::of(about));
  const auto bar = type.find('|');
  if (bar == std::string_view::npos)
    out.add("type", Tree::of(type));
  else
    out.add("type", Tree::list().push(Tree::of(type.substr(0, bar))).push(Tree::of(type.substr(bar + 1))));
  return out;
}
Tree at_least_0(std::string_view type, const char* about = "") { return property(type, about).add("minimum", Tree::of(std::int64_t{0})); }
Tree list_of(Tree items, const char* about = "") { return property("array", about).add("items", std::move(items)); }
Tree one_of(std::initializer_list<const char*> words, const char* about = "") {
  Tree choices = Tree::list();
  for (const char* word : words) choices.push(Tree::of(word));
  return property("string", about).add("enum", std::move(choices));
}

// An object that has these properties and no others.
class Fields {
 public:
  Fields& must(std::string_view key, Tree property) {
    required_.push(Tree::of(key));
    return may(key, std::move(property));
  }
  Fields& may(std::string_view key, Tree property) {
    properties_.add(key, std::move(property));
    return *this;
  }
  Fields& version(const char* text) { return must("orrery", Tree::object().add("const", Tree::of(text))); }
  // `more`: what other properties hold; by default there are none.
  Tree take(const char* about = "", Tree more = Tree::of(false)) {
    Tree out = property("object", about);
    out.add("additionalProperties", std::move(more));
    if (!required_.empty()) out.add("required", std::move(required_));
    return std::move(out.add("properties", std::move(properties_)));
  }

 private:
  Tree properties_ = Tree::object(), required_ = Tree::list();
};

std::string document(const char* title, const Tree& object) {
  Tree out = Tree::object();
  out.add("$schema", Tree::of("https://json-schema.org/draft/2020-12/schema")).add("title", Tree::of(title));
  return out.append(object).text();
}

Tree waterfall() {
  Fields f;
  f.must("step_ps", at_least_0("integer", "the step, in picoseconds; all other parts add up to it"));
  for (const std::string_view part : Waterfall::names()) f.must(std::string(part) + "_ps", property("integer"));
  return f.take("where the step goes, mean over ranks");
}

Tree work_times(const char* about) {
  Fields f;
  f.must("name", property("string", "class of work, or operator"));
  f.must("time_ps", property("integer", "in a step, mean over ranks"));
  f.may("count", property("number", "executions per rank"));
  return list_of(f.take(), about);
}

Tree summary() {
  Fields f;
  f.version("summary/1");
  f.must("label", property("string", "the plan in short, or a file"));
  f.must("origin", property("string", "simulated or measured"));
  f.must("step_ps", at_least_0("integer", "in picoseconds"));
  f.must("waterfall", waterfall());
  f.must("classes", work_times("time by class of work; communication: busy time of its streams, hidden or not"));
  f.must("operators", work_times("time by operator, largest first"));
  f.must("peak_memory_bytes_by_stage", list_of(at_least_0("integer")));
  f.may("ranks_missing", at_least_0("integer", "of a trace of some ranks: those that nothing in it stands for"));
  return f.take();
}

Tree provenance() {
  Fields f;
  f.must("orrery", property("string", "version of the program"));
  f.must("commit", property("string"));
  f.must("inputs", property("string", "hash of model, cluster, plan and profile"));
  f.must("seed", property("integer"));
  return f.take();
}

Tree memory_by_stage() {
  Fields buffer, stage;
  buffer.must("name", property("string")).must("bytes", property("integer"));
  stage.must("peak_bytes", property("integer", "live at once"));
  stage.must("states_bytes", property("integer", "parameters, gradients and optimizer state"));
  stage.must("arena_bytes", property("integer", "of an allocator with offsets chosen beforehand"));
  stage.must("largest_at_peak", list_of(buffer.take()));
  return list_of(stage.take());
}

Tree exposed_communication() {
  Fields f;
  for (const char* axis : {"tp", "cp", "ep", "pp", "dp"}) f.must(axis, property("number"));
  f.must("total", property("number"));
  return f.take("not hidden behind compute, mean over ranks");
}

// Bytes of a step, or with `rate` bytes per second.
Tree links(bool rate) {
  Fields axes, use, link;
  for (const char* axis : {"tp", "cp", "ep", "pp", "dp"}) axes.must(axis, at_least_0("number"));
  const Tree amounts = axes.must("total", at_least_0("number")).take();
  use.must("axis", property("string", "of parallelism, that causes it")).must("operation", property("string"));
  use.must("algorithm", property("string", "that it is priced with")).must("ranks", property("integer", "over which; of a message 2"));
  use.must("times", property("integer", "in a step"));
  for (const char* amount : {"payload_bytes", "sent_bytes", "received_bytes"}) use.must(amount, at_least_0("number"));
  link.must("link", property("string", "level of the network")).must("device", property("integer", "whose link it is; the first of those alike"));
  link.must("alike", property("integer", "links that carry the same, this one included"));
  link.must("bandwidth_bytes_per_s", at_least_0("number", "one way"));
  link.must("load", at_least_0("number", "of the busier direction, as a share of the bandwidth"));
  for (const char* way : {"sent", "received"}) link.must(std::string(way) + (rate ? "_bytes_per_s" : "_bytes"), amounts);
  link.must("uses", list_of(use.take(), "what loads it over the step, most first"));
  return list_of(link.take(), "those that carry something, busiest first");
}

Tree held_memory() {
  Fields buffer, f;
  buffer.must("name", property("string")).must("category", property("string"));
  buffer.must("bytes", property("integer")).must("instances", property("integer"));
  f.must("rank", property("integer")).must("label", property("string")).must("stage", property("integer")).must("time_s", property("number"));
  f.must("occasion", property("string", "the instruction that made it so")).must("bytes", property("integer", "live at once"));
  f.must("bytes_by_category", property("object"));
  f.must("buffers", list_of(buffer.take(), "largest first"));
  return f.take();
}

Tree details() {
  Fields power, f;
  for (const char* figure : {"mean_w", "highest_w", "highest_at_s"}) power.must(figure, property("number"));
  power.must("idle_w_per_device", property("number")).must("rated_w_per_device", property("number|null"));
  power.must("idle_j", property("number", "all devices, over the step")).must("above_idle_j_by_class", property("object", "by class of work"));
  power.must("devices_counted_as_idle", property("integer", "of which nothing was recorded"));
  f.must("links", links(false)).must("power", power.take("of all devices")).must("memory_at_peak", list_of(held_memory(), "by stage"));
  return f.take("with --explain: what links carry, power, what memory holds");
}

Tree moment() {
  Fields span, f;
  span.must("span", property("integer", "its place in the timeline")).must("operation", property("string")).must("class", property("string"));
  span.must("rank", property("string")).must("stream", property("string"));
  for (const char* time : {"start_s", "end_s", "waited_s"}) span.must(time, property("number"));
  span.must("critical", property("boolean", "on the critical path"));
  span.must("facts", property("object", "what is known of it, in words")).must("why", property("string", "it started when it did"));
  f.must("time_s", property("number", "from the start of the step")).must("power_w", property("number", "of all devices"));
  f.must("asked_rank", property("integer", "the rank that was asked for; the memory's stands for it"));
  f.must("links", links(true)).must("memory", held_memory()).must("spans", list_of(span.take(), "that run on the rank"));
  return f.take("with --at: the step at a time of it");
}

Tree checkpoints() {
  Fields f;
  f.must("every_steps", property("integer")).must("in_background", property("boolean"));
  f.must("bytes", property("integer")).must("fullest_rank_bytes", property("integer"));
  f.must("copy_s", property("number")).must("write_s", property("number|null", "null: nothing is known of the storage"));
  f.must("stall_s", property("number", "that ranks wait for one")).must("mean_step_time_s", property("number", "with them"));
  f.must("needed_bytes_per_s", property("number", "of the storage, for them to hold nothing up"));
  return f.take("of a plan that makes some");
}

Tree simulation() {
  Fields f, path, source, run;
  path.must("class", property("string")).must("time_s", property("number"));
  source.must("name", property("string"));
  source.must("grade", one_of({"measured here", "measured elsewhere", "fitted", "datasheet", "assumed"}));
  source.must("sigma", at_least_0("number", "relative standard deviation"));
  source.must("share", at_least_0("number", "of the time on compute and communication streams"));
  run.must("tokens", property("number")).must("steps", property("number")).must("days", property("number"));
  run.must("gpu_hours", property("number")).must("mwh", property("number")).must("dollars", property("number|null", "null: no price is known"));
  f.version("simulation/1");
  f.must("label", property("string", "the plan in short"));
  f.must("model", property("string")).must("cluster", property("string"));
  f.must("devices", property("integer")).must("dp", property("integer"));
  f.must("stages", list_of(property("integer"), "decoder layers by pipeline stage"));
  f.must("step_time_s", at_least_0("number", "the steady period"));
  f.must("makespan_s", at_least_0("number", "of one step alone"));
  f.must("steady", property("boolean", "two successive periods were equal"));
  for (const char* rate : {"tokens_per_s", "tokens_per_s_per_gpu", "tflops_per_gpu"}) f.must(rate, property("number"));
  f.must("flops_convention", one_of({"causal-half", "full", "6n"}));
  f.must("mfu", property("number")).must("hfu", property("number"));
  f.must("bubble_fraction", property("number", "of the schedule with equal stages"));
  f.must("waterfall", waterfall());
  f.must("exposed_communication_s", exposed_communication());
  f.must("peak_memory_bytes_by_stage", list_of(property("integer")));
  f.must("memory_by_stage", memory_by_stage());
  f.must("device_memory_bytes", property("integer"));
  f.must("fits", property("boolean"));
  f.must("fullest_stage", property("integer"));
  f.must("headroom_bytes", property("integer", "negative: lacking"));
  f.must("energy_per_step_j", property("number"));
  f.must("energy_grade", property("string"));
  f.must("critical_path", list_of(path.take()));
  f.must("critical_path_host_s", property("number"));
  f.must("sources", list_of(source.take(), "what the times were priced from, largest share first"));
  for (const char* count : {"instructions", "simulated_ranks", "periods"}) f.must(count, property("integer"));
  f.must("trace_hash", property("string"));
  f.must("summary", summary());
  f.must("plan", property("object", "the plan that was simulated: see the schema of plan"));
  f.must("provenance", provenance());
  f.may("run", run.take("with --tokens: the whole run"));
  f.may("checkpoints", checkpoints()).may("details", details()).may("moment", moment());
  return f.take();
}

Tree sweep() {
  Fields f;
  f.version("sweep/1");
  f.may("plan", property("string|null", "a plan file; flags override its fields"));
  f.may("model", property("string|null")).may("cluster", property("string|null")).may("profile", property("string|null", "a profile file"));
  f.may("set", property("array|null", "settings as --set takes them").add("items", property("string").add("pattern", Tree::of("^[^=]+="))));
  Tree values = property("array", "the values to try");
  values.add("minItems", Tree::of(std::int64_t{1}));
  Tree types = Tree::list();
  types.push(Tree::of("string")).push(Tree::of("number")).push(Tree::of("boolean"));
  values.add("items", Tree::object().add("type", std::move(types)));
  Tree grid = property("object", "values by path; the last axis varies fastest");
  grid.add("propertyNames", Tree::object().add("pattern", Tree::of("^[^=]+$"))).add("additionalProperties", std::move(values));
  f.must("grid", std::move(grid));
  return f.take();
}

Tree table() {
  Fields row, f;
  row.must("status", property("string", "ok, does not fit, or why it was refused"));
  for (const char* number : {"step_time_s", "tokens_per_s_per_gpu", "mfu", "bubble_fraction", "exposed_communication_s", "energy_j"})
    row.may(number, property("number"));
  row.may("peak_memory_bytes", property("integer", "of the fullest stage"));
  f.version("table/1");
  f.must("cancelled", property("boolean", "points are missing"));
  f.must("rows", list_of(row.take("the point's values by path, and its result; without numbers where it was refused", property("string"))));
  return f.take();
}

Tree schedule() {
  Fields costs, pass, f;
  for (const char* kind : {"F", "I", "W", "FB", "p2p"}) costs.must(kind, at_least_0("number"));
  pass.must("kind", one_of({"F", "B", "I", "W", "FB"}));
  pass.must("items",
            list_of(property("array"), "[pass, direction, micro-batch, stage], and the split where sequences are split; two of an overlapped pair"));
  pass.must("start", at_least_0("number")).must("end", at_least_0("number"));
  f.version("schedule/1");
  f.must("schedule", property("string", "its name; csv: from a file"));
  f.must("P", property("integer", "ranks")).must("M", property("integer", "micro-batches"));
  f.must("chunks", property("integer", "stages per rank; of a schedule with two directions 1"));
  f.must("args", list_of(property("integer"), "the schedule's own: chunks, then the group or the splits"));
  f.must("stages", property("integer"));
  f.must("cost", costs.take("of a pass of one chunk and one split"));
  f.must("makespan", at_least_0("number"));
  f.must("busy", list_of(at_least_0("number"), "by rank"));
  f.must("idle_in_makespan", list_of(at_least_0("number"), "by rank, from the first start to the last end of all ranks"));
  f.must("idle_in_span", list_of(at_least_0("number"), "by rank, between its own first start and last end"));
  f.must("peak_until_B", list_of(at_least_0("integer"), "by rank, most activations at once, held until the gradient of the input"));
  f.must("peak_until_W", list_of(at_least_0("integer"), "by rank, most activations at once, held until the gradient of the weights"));
  f.may("steady_bubble", property("number", "of an asynchronous schedule that is under way, mean idle share of the ranks"));
  f.must("ranks", list_of(list_of(pass.take()), "by rank, by pass"));
  return f.take();
}

}  // namespace

std::vector<std::string> schema_names() {
  std::vector<std::string> names = orrery::schema_names();
  names.insert(names.end(), {"sweep", "table", "simulation", "summary", "schedule"});
  return names;
}

std::string schema(std::string_view name) {
  if (name == "sweep") return document("Orrery sweep: a grid of what-ifs", sweep());
  if (name == "table") return document("Orrery table: what orrery sweep --json prints", table());
  if (name == "simulation") return document("Orrery simulation: what orrery simulate --json prints", simulation());
  if (name == "summary") return document("Orrery summary: a step's time and memory, predicted or measured", summary());
  if (name == "schedule") return document("Orrery schedule: what orrery schedule --json prints", schedule());
  const auto of_core = orrery::schema_names();
  if (std::find(of_core.begin(), of_core.end(), name) != of_core.end()) return json_schema(name);
  throw Error("schema " + std::string(name), "is not known", did_you_mean(name, schema_names()));
}

}  // namespace orrery::app
