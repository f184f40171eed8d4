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

// The settings whose path begins with `prefix`, without it.
std::vector<Setting> settings_for(const std::vector<Setting>& settings, std::string_view prefix) {
  std::vector<Setting> out;
  for (const Setting& s : settings)
    if (s.path.starts_with(prefix)) out.push_back({s.path.substr(prefix.size()), s.value});
  return out;
}

std::vector<Setting> settings_for_plan(const std::vector<Setting>& settings) {
  std::vector<Setting> out;
  for (const Setting& s : settings)
    if (!s.path.starts_with("model.") && !s.path.starts_with("cluster."))
      out.push_back({s.path.starts_with("plan.") ? s.path.substr(5) : s.path, s.value});
  return out;
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
  std::vector<Setting> settings;
  for (const std::string& text : flags.settings) settings.push_back(parse_setting(text));
  const std::vector<Setting> for_plan = settings_for_plan(settings);
  const bool from_file = !flags.plan.empty();
  if (from_file) in.plan = read_plan(read_text_file(flags.plan), flags.plan);
  if (!flags.model.empty()) in.plan.model = flags.model;
  if (!flags.cluster.empty()) in.plan.cluster = flags.cluster;
  // The plan's own model and cluster may be set as well, before they are loaded.
  for (const Setting& s : for_plan) {
    if (s.path == "model") in.plan.model = s.value;
    if (s.path == "cluster") in.plan.cluster = s.value;
  }
  if (in.plan.model.empty()) throw Error("--model", "no model was named", "e.g. --model llama-3.1-8b; 'orrery show models' lists the names");
  if (in.plan.cluster.empty()) throw Error("--cluster", "no cluster was named", "e.g. --cluster dgx-h100:64; 'orrery show clusters' lists the names");

  in.model = load_model(in.plan.model);
  if (const auto s = settings_for(settings, "model."); !s.empty()) {
    const std::string name = in.model.name;
    in.model = read_model(apply_settings(write_model(in.model), "--set model", s), "--set model");
    in.model.name = name;
  }
  const ClusterText cluster = cluster_text(in.plan.cluster);
  in.cluster = read_cluster(apply_settings(cluster.text, cluster.file, settings_for(settings, "cluster.")), cluster.file);

  if (!from_file && in.cluster.device.kind == DeviceKind::cpu_core) in.plan.precision.compute = in.plan.precision.params = DType::fp32;
  if (flags.tp) in.plan.parallel.tp = *flags.tp;
  if (flags.pp) in.plan.parallel.pp = *flags.pp;
  if (flags.sp)
    in.plan.parallel.sp = *flags.sp;
  else if (flags.tp && !from_file)
    in.plan.parallel.sp = *flags.tp > 1;
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
  // One more trip through text, so that what flags and settings made is checked as strictly as a file.
  const std::string origin = from_file ? flags.plan : "--set";
  in.plan = read_plan(apply_settings(write_plan(in.plan), origin, for_plan), origin);
  if (!flags.profile.empty()) in.profile = read_profile(read_text_file(flags.profile), flags.profile);
  return in;
}

std::string inputs_hash(const Inputs& inputs) {
  std::uint64_t h = 14695981039346656037ULL;  // FNV-1a, 64 bit
  for (const std::string& text : {write_model(inputs.model), write_cluster(inputs.cluster), write_plan(inputs.plan)})
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return fmt::format("{:016x}", h);
}

}  // namespace orrery::app
