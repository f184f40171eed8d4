#include "app/report_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/simulate.h"
#include "app/version.h"
#include "core/json_edge.h"
#include "core/plan_json.h"

namespace orrery::app {

using Json = nlohmann::ordered_json;

namespace {

Json work_times(const std::vector<WorkTime>& times) {
  Json out = Json::array();
  for (const WorkTime& t : times) out.push_back({{"name", t.name}, {"time_ps", t.time.v}, {"count", t.count}});
  return out;
}

std::vector<WorkTime> read_work_times(const json::Value& value) {
  std::vector<WorkTime> out;
  for (const json::Value& item : value.list()) {
    json::Object o = item.object();
    WorkTime t;
    o.read("name", t.name);
    t.time = Picoseconds{o.required("time_ps").integer(INT64_MIN, INT64_MAX)};
    o.read("count", t.count, 0);
    o.done();
    out.push_back(std::move(t));
  }
  return out;
}

}  // namespace

std::string grade_name(Grade grade) {
  switch (grade) {
    case Grade::measured_here:
      return "measured here";
    case Grade::measured_elsewhere:
      return "measured elsewhere";
    case Grade::fitted:
      return "fitted";
    case Grade::datasheet:
      return "datasheet";
    case Grade::assumed:
      return "assumed";
  }
  return {};
}

Json waterfall_json(const Waterfall& waterfall) {
  Json out{{"step_ps", waterfall.step.v}};
  const auto parts = waterfall.parts();
  for (std::size_t i = 0; i < parts.size(); ++i) out[std::string(Waterfall::names()[i]) + "_ps"] = parts[i].v;
  return out;
}

Json summary_json(const Summary& s) {
  return {{"orrery", "summary/1"},
          {"label", s.label},
          {"origin", s.origin},
          {"step_ps", s.step.v},
          {"waterfall", waterfall_json(s.waterfall)},
          {"classes", work_times(s.classes)},
          {"operators", work_times(s.operators)},
          {"peak_memory_bytes_by_stage", s.peak_memory_by_stage},
          {"ranks_missing", s.ranks_missing}};
}

Json provenance_json(const std::string& hash) { return {{"orrery", version()}, {"commit", commit()}, {"inputs", hash}}; }

std::string write_summary(const Summary& summary) { return summary_json(summary).dump(1) + "\n"; }

Summary read_summary(std::string_view text, const std::string& file) {
  const json::Document document(text, file);
  json::Object outer = document.object();
  json::Object o = outer.has("summary") ? outer.required("summary").object() : std::move(outer);
  if (o.required("orrery").text() != "summary/1")
    o.fail("is not a summary", "summaries are written by 'orrery simulate --json' and 'orrery run --json'");
  Summary s;
  s.label = o.required("label").text();
  s.origin = o.required("origin").text();
  s.step = Picoseconds{o.required("step_ps").integer(0, INT64_MAX)};
  json::Object w = o.required("waterfall").object();
  s.waterfall.step = Picoseconds{w.required("step_ps").integer(0, INT64_MAX)};
  std::size_t i = 0;
  for (Picoseconds* part : {&s.waterfall.ideal, &s.waterfall.kernel_efficiency, &s.waterfall.other_kernels, &s.waterfall.recompute,
                            &s.waterfall.exposed_tp, &s.waterfall.exposed_cp, &s.waterfall.exposed_ep, &s.waterfall.exposed_pp,
                            &s.waterfall.exposed_dp, &s.waterfall.imbalance, &s.waterfall.bubble, &s.waterfall.host, &s.waterfall.optimizer})
    part->v = w.required(std::string(Waterfall::names()[i++]) + "_ps").integer(INT64_MIN, INT64_MAX);
  w.done();
  s.classes = read_work_times(o.required("classes"));
  s.operators = read_work_times(o.required("operators"));
  for (const json::Value& bytes : o.required("peak_memory_bytes_by_stage").list()) s.peak_memory_by_stage.push_back(bytes.integer(0, INT64_MAX));
  o.read("ranks_missing", s.ranks_missing);
  o.done();
  return s;
}

Json simulation_json(const SimulateReport& r) {
  const Waterfall& w = r.summary.waterfall;
  const auto seconds = [](Picoseconds t) { return to_seconds(t).v; };
  Json by_stage = Json::array();
  for (const StageMemory& m : r.memory) {
    Json largest = Json::array();
    for (const MemoryAtPeak& b : m.largest) largest.push_back({{"name", b.name}, {"bytes", b.bytes}});
    by_stage.push_back({{"peak_bytes", m.peak}, {"states_bytes", m.persistent}, {"arena_bytes", m.arena}, {"largest_at_peak", std::move(largest)}});
  }
  Json sources = Json::array();
  for (const SourceShare& s : r.sources)
    sources.push_back({{"name", s.name}, {"grade", grade_name(s.grade)}, {"sigma", s.sigma}, {"share", s.share}});
  Json path = Json::array();
  for (const auto& [work, time] : r.critical_path.by_class) path.push_back({{"class", name(work)}, {"time_s", seconds(time)}});
  const double exposed = seconds(w.exposed_tp + w.exposed_cp + w.exposed_ep + w.exposed_pp + w.exposed_dp);
  Json out{{"orrery", "simulation/1"},
           {"label", r.label},
           {"model", r.model},
           {"cluster", r.cluster},
           {"devices", r.devices},
           {"dp", r.dp},
           {"stages", r.stages},
           {"step_time_s", r.step_time.v},
           {"makespan_s", r.makespan.v},
           {"steady", r.steady},
           {"tokens_per_s", r.tokens_per_s},
           {"tokens_per_s_per_gpu", r.tokens_per_s_per_gpu},
           {"tflops_per_gpu", r.tflops_per_gpu},
           {"flops_convention", program::name(r.convention)},
           {"mfu", r.mfu},
           {"hfu", r.hfu},
           {"bubble_fraction", r.bubble_fraction},
           {"waterfall", waterfall_json(w)},
           {"exposed_communication_s",
            {{"tp", seconds(w.exposed_tp)},
             {"cp", seconds(w.exposed_cp)},
             {"ep", seconds(w.exposed_ep)},
             {"pp", seconds(w.exposed_pp)},
             {"dp", seconds(w.exposed_dp)},
             {"total", exposed}}},
           {"peak_memory_bytes_by_stage", r.summary.peak_memory_by_stage},
           {"memory_by_stage", std::move(by_stage)},
           {"device_memory_bytes", r.capacity.v},
           {"fits", r.fits},
           {"fullest_stage", r.fullest_stage},
           {"headroom_bytes", r.headroom.v},
           {"energy_per_step_j", r.energy.v},
           {"energy_grade", grade_name(r.energy_grade)},
           {"critical_path", std::move(path)},
           {"critical_path_host_s", seconds(r.critical_path.unattributed)},
           {"sources", std::move(sources)},
           {"instructions", r.instructions},
           {"simulated_ranks", r.simulated_ranks},
           {"periods", r.periods},
           {"trace_hash", fmt::format("{:016x}", r.trace_hash)},
           {"summary", summary_json(r.summary)},
           {"plan", Json::parse(write_plan(r.plan))},
           {"provenance", provenance_json(r.hash)}};
  out["provenance"]["seed"] = r.plan.seed;
  if (r.run) {
    out["run"] = {{"tokens", r.run->tokens},      {"steps", r.run->steps},
                  {"days", r.run->days},          {"gpu_hours", r.run->device_hours},
                  {"mwh", r.run->megawatt_hours}, {"dollars", r.run->dollars ? Json(*r.run->dollars) : Json(nullptr)}};
  }
  if (r.checkpoints) {
    const CheckpointCost& c = *r.checkpoints;
    out["checkpoints"] = {{"every_steps", c.every},
                          {"in_background", c.in_background},
                          {"bytes", c.bytes.v},
                          {"fullest_rank_bytes", c.fullest.v},
                          {"copy_s", c.copy.v},
                          {"write_s", c.write ? Json(c.write->v) : Json(nullptr)},
                          {"stall_s", c.stall.v},
                          {"mean_step_time_s", c.step.v},
                          {"needed_bytes_per_s", c.needed.v}};
  }
  return out;
}

std::string to_json(const SimulateReport& report) { return simulation_json(report).dump(1) + "\n"; }

}  // namespace orrery::app
