#include "app/inputs.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/files.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/profile_json.h"

namespace orrery::app {
namespace {

// The settings that are meant for the document `prefix`, without it.
std::vector<std::string> settings_for(const std::vector<std::string>& settings, std::string_view prefix) {
  std::vector<std::string> out;
  for (const std::string& s : settings)
    if (s.starts_with(prefix)) out.push_back(s.substr(prefix.size()));
  return out;
}

std::vector<std::string> settings_for_plan(const std::vector<std::string>& settings) {
  std::vector<std::string> out;
  for (const std::string& s : settings)
    if (!s.starts_with("model.") && !s.starts_with("cluster.")) out.push_back(s.starts_with("plan.") ? s.substr(5) : s);
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

double parse_tokens(const std::string& text) {
  double value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, failure] = std::from_chars(text.data(), last, value);
  const std::string_view unit(end, static_cast<std::size_t>(last - end));
  const double scale = unit.empty() ? 1 : unit == "K" ? 1e3 : unit == "M" ? 1e6 : unit == "B" || unit == "G" ? 1e9 : unit == "T" ? 1e12 : 0;
  if (failure != std::errc{} || scale == 0 || !(value > 0) || !std::isfinite(value * scale))
    throw Error("--tokens", fmt::format("'{}' is not a number of tokens", text), "write a number and K, M, B or T, e.g. 15T");
  return value * scale;
}

Inputs load_inputs(const PlanFlags& flags) {
  Inputs in;
  const std::vector<std::string> for_plan = settings_for_plan(flags.settings);
  const bool from_file = !flags.plan.empty();
  if (from_file) in.plan = read_plan(read_text_file(flags.plan), flags.plan);
  if (!flags.model.empty()) in.plan.model = flags.model;
  if (!flags.cluster.empty()) in.plan.cluster = flags.cluster;
  // The plan's own model and cluster may be set as well, before they are loaded.
  for (const std::string& s : for_plan) {
    if (s.starts_with("model=")) in.plan.model = s.substr(6);
    if (s.starts_with("cluster=")) in.plan.cluster = s.substr(8);
  }
  if (in.plan.model.empty()) throw Error("--model", "no model was named", "e.g. --model llama-3.1-8b; 'orrery show models' lists the names");
  if (in.plan.cluster.empty()) throw Error("--cluster", "no cluster was named", "e.g. --cluster dgx-h100:64; 'orrery show clusters' lists the names");

  in.model = load_model(in.plan.model);
  if (const auto s = settings_for(flags.settings, "model."); !s.empty()) {
    const std::string name = in.model.name;
    in.model = read_model(apply_settings(write_model(in.model), s), "--set model");
    in.model.name = name;
  }
  in.cluster = load_cluster(in.plan.cluster);
  if (const auto s = settings_for(flags.settings, "cluster."); !s.empty())
    in.cluster = read_cluster(apply_settings(write_cluster(in.cluster), s), "--set cluster");

  if (!from_file && in.cluster.device.kind == DeviceKind::cpu_core) in.plan.precision = {.compute = DType::fp32, .params = DType::fp32};
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
  in.plan = read_plan(apply_settings(write_plan(in.plan), for_plan), from_file ? flags.plan : "--set");
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
