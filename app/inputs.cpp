#include "app/inputs.h"

#include <fmt/format.h>

#include <charconv>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/files.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/profile_json.h"
#include "core/settings.h"

namespace orrery::app {
namespace {

// Where on the command line a field of a document was given.
struct Given {
  std::string path;   // "parallel.tp"
  std::string where;  // "--tp", "--set parallel.tp"
};

// Settings of one document, by paths within it.
struct Settings {
  std::vector<Setting> list;
  std::vector<Given> given;

  void add(const Setting& s, std::string_view prefix) {
    list.push_back({s.path.substr(prefix.size()), s.value});
    given.push_back({list.back().path, "--set " + s.path});
  }
};

struct AllSettings {
  Settings model, cluster, plan;
};

AllSettings take_apart(const std::vector<std::string>& texts) {
  AllSettings all;
  for (const std::string& text : texts) {
    const Setting s = parse_setting(text);
    if (s.path.starts_with("model."))
      all.model.add(s, "model.");
    else if (s.path.starts_with("cluster."))
      all.cluster.add(s, "cluster.");
    else
      all.plan.add(s, s.path.starts_with("plan.") ? "plan." : "");
  }
  return all;
}

// "levels[1].latency" as "levels.1.latency".
std::string dotted(const std::string& path) {
  std::string out;
  for (const char c : path)
    if (c != ']') out += c == '[' ? '.' : c;
  return out;
}

// Does `read`, which reads a document with fields put into it by flags and settings. An Error there carries an address in the changed text
// ("plan.json:7: parallel.tp"); whoever typed it knows the flag or the setting.
template <class Read>
auto told_where_given(const std::vector<Given>& given, Read read) {
  try {
    return read();
  } catch (const Error& e) {
    if (e.where().starts_with("--set ")) {  // a path that leads nowhere
      for (const Given& g : given)
        if (e.where() == "--set " + g.path) throw Error(g.where, e.message(), e.hint());
    }
    const auto colon = e.where().rfind(": ");
    if (colon == std::string::npos) throw;
    const std::string field = dotted(e.where().substr(colon + 2));
    // The very field, one within it (--set batch=…, batch.micro is bad), or the one around it (parallel.ttp=…, where parallel is at fault).
    const auto under = [](const std::string& inner, const std::string& outer) { return inner.starts_with(outer + "."); };
    for (const Given& g : given)
      if (dotted(g.path) == field) throw Error(g.where, e.message(), e.hint());
    for (const Given& g : given)
      if (under(dotted(g.path), field) || under(field, dotted(g.path))) throw Error(g.where + ": " + field, e.message(), e.hint());
    throw;
  }
}

std::vector<Given> flags_given(const PlanFlags& f) {
  std::vector<Given> given;
  const auto note = [&](bool set, const char* path, const char* flag) {
    if (set) given.push_back({path, flag});
  };
  note(f.tp.has_value(), "parallel.tp", "--tp");
  note(f.pp.has_value(), "parallel.pp", "--pp");
  note(f.global_batch.has_value(), "batch.global", "--global-batch");
  note(f.micro_batch.has_value(), "batch.micro", "--micro-batch");
  note(f.sequence.has_value(), "batch.sequence", "--sequence");
  note(f.zero.has_value(), "sharding.zero", "--zero");
  note(f.schedule.has_value(), "schedule", "--schedule");
  note(f.recompute.has_value(), "recompute.kind", "--recompute");
  note(f.stages.has_value(), "stages", "--stages");
  return given;
}

std::int64_t whole(std::string_view text, const std::string& all) {
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < 0 || value > 100'000)
    throw Error("--stages", fmt::format("'{}' is not a list of layers per stage", all), "write numbers and repeats, e.g. 7,8x14,7");
  return value;
}

}  // namespace

std::vector<std::int64_t> parse_stages(const std::string& text) {
  std::vector<std::int64_t> stages;
  std::string_view rest = text;
  while (true) {
    const auto comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const auto times = item.find('x');
    const std::int64_t layers = whole(item.substr(0, times), text);
    const std::int64_t repeat = times == std::string_view::npos ? 1 : whole(item.substr(times + 1), text);
    stages.insert(stages.end(), static_cast<std::size_t>(repeat), layers);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return stages;
}

Inputs load_inputs(const PlanFlags& flags) {
  Inputs in;
  const AllSettings settings = take_apart(flags.settings);
  const bool from_file = !flags.plan.empty();
  if (from_file) in.plan = read_plan(read_text_file(flags.plan), flags.plan);
  if (!flags.model.empty()) in.plan.model = flags.model;
  if (!flags.cluster.empty()) in.plan.cluster = flags.cluster;
  // The plan's own model and cluster may be set as well, before they are loaded.
  for (const Setting& s : settings.plan.list) {
    if (s.path == "model") in.plan.model = s.value;
    if (s.path == "cluster") in.plan.cluster = s.value;
  }
  if (in.plan.model.empty()) throw Error("--model", "no model was named", "e.g. --model llama-3.1-8b; 'orrery show models' lists the names");
  if (in.plan.cluster.empty()) throw Error("--cluster", "no cluster was named", "e.g. --cluster dgx-h100:64; 'orrery show clusters' lists the names");

  in.model = load_model(in.plan.model);  // without settings first, so that its own faults are told at its own lines
  if (!settings.model.list.empty()) in.model = told_where_given(settings.model.given, [&] { return load_model(in.plan.model, settings.model.list); });
  const ClusterText cluster = cluster_text(in.plan.cluster);
  in.cluster = told_where_given(settings.cluster.given,
                                [&] { return read_cluster(apply_settings(cluster.text, cluster.file, settings.cluster.list), cluster.file); });

  if (!from_file && in.cluster.device.kind == DeviceKind::cpu_core) in.plan.precision.compute = in.plan.precision.params = DType::fp32;
  if (flags.tp) in.plan.parallel.tp = *flags.tp;
  if (flags.pp) in.plan.parallel.pp = *flags.pp;
  if (flags.sp) in.plan.parallel.sp = *flags.sp;
  if (flags.global_batch) in.plan.batch.global = *flags.global_batch;
  if (flags.micro_batch) in.plan.batch.micro = *flags.micro_batch;
  if (flags.sequence) in.plan.batch.sequence = *flags.sequence;
  if (flags.zero) in.plan.sharding.zero = *flags.zero;
  if (flags.schedule) in.plan.schedule = *flags.schedule;
  if (flags.recompute) in.plan.recompute.kind = *flags.recompute;
  if (flags.stages) in.plan.stages = parse_stages(*flags.stages);
  if (flags.precision) {
    if (*flags.precision != "fp32" && *flags.precision != "bf16")
      throw Error("--precision", fmt::format("'{}' is not a precision of this version", *flags.precision), "known: fp32, bf16");
    in.plan.precision.compute = in.plan.precision.params = *flags.precision == "fp32" ? DType::fp32 : DType::bf16;
  }
  if (!from_file && !flags.global_batch && in.plan.batch.global == 1) {
    const std::int64_t ranks = in.plan.model_ranks();
    if (ranks > 0) in.plan.batch.global = std::max<std::int64_t>(1, in.cluster.devices / ranks) * in.plan.batch.micro;
  }
  if (!from_file && !flags.sequence && in.plan.batch.sequence == 1)
    in.plan.batch.sequence = in.model.max_positions > 0 ? std::min<std::int64_t>(in.model.max_positions, 8192) : 2048;
  if (!from_file && !flags.sp && in.plan.parallel.tp > 1) in.plan.parallel.sp = in.plan.batch.sequence % in.plan.parallel.tp == 0;
  // One more trip through text, so that what flags and settings made is checked as strictly as a file.
  std::vector<Given> given = settings.plan.given;
  for (Given& flag : flags_given(flags)) given.push_back(std::move(flag));
  const std::string origin = from_file ? flags.plan : "plan";
  in.plan = told_where_given(given, [&] {
    try {
      return read_plan(apply_settings(write_plan(in.plan), origin, settings.plan.list), origin);
    } catch (const Error& e) {  // the line is one of the written text, not of the user's
      const auto colon = e.where().rfind(": ");
      if (e.where().starts_with("--set ") || colon == std::string::npos) throw;
      throw Error(origin + e.where().substr(colon), e.message(), e.hint());
    }
  });
  if (!flags.profile.empty()) in.profile = read_profile(read_text_file(flags.profile), flags.profile);
  return in;
}

std::string inputs_hash(const Inputs& inputs) {
  std::uint64_t h = 14695981039346656037ULL;  // FNV-1a, 64 bit
  for (const std::string& text : {write_model(inputs.model), write_cluster(inputs.cluster), write_plan(inputs.plan),
                                  inputs.profile ? write_profile(*inputs.profile) : std::string{}})
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return fmt::format("{:016x}", h);
}

}  // namespace orrery::app
