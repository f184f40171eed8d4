#include "app/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/files.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/profile_json.h"
#include "core/settings.h"
#include "cost/transfer.h"
#include "program/compile.h"

namespace orrery::app {
namespace {

// Settings of one document, by paths within it.
struct Settings {
  std::vector<Setting> list;
  std::vector<Given> given;  // the last setting first: it is the one that holds

  void add(const Setting& s, std::string_view prefix) {
    list.push_back({s.path.substr(prefix.size()), s.value});
    given.insert(given.begin(), {list.back().path, "--set " + s.path});
  }
  // A flag, as the setting that it is short for. Flags come before all settings.
  void flag(const char* name, const char* path, const std::string& value) {
    list.insert(list.begin(), {path, value});
    given.push_back({path, name});
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
    for (const Given& g : given)
      if (dotted(g.path) == field) throw Error(g.where, e.message(), e.hint());
    for (const Given& g : given)
      if (within(dotted(g.path), field) || within(field, dotted(g.path))) throw Error(g.where + ": " + field, e.message(), e.hint());
    throw;
  }
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

std::string dotted(std::string_view path) {
  std::string out;
  for (const char c : path)
    if (c != ']') out += c == '[' ? '.' : c;
  return out;
}

bool within(const std::string& inner, const std::string& outer) { return inner.starts_with(outer + "."); }
bool same_or_within(const std::string& inner, const std::string& outer) { return inner == outer || within(inner, outer); }

std::string setting_path(std::string_view setting) {
  std::string path = dotted(setting.substr(0, setting.find('=')));
  if (path.starts_with("plan.")) path.erase(0, 5);
  for (const std::string_view document : {"model.", "cluster."})
    if (path.starts_with(document)) path[document.size() - 1] = ':';
  return path;
}

std::vector<FlagSetting> flag_settings(const PlanFlags& flags) {
  std::vector<FlagSetting> out;
  const auto number = [&](const std::optional<std::int64_t>& value, const char* flag, const char* path) {
    if (value) out.push_back({flag, path, fmt::format("{}", *value)});
  };
  const auto word = [&](const std::optional<std::string>& value, const char* flag, const char* path) {
    if (value) out.push_back({flag, path, *value});
  };
  number(flags.tp, "--tp", "parallel.tp");
  number(flags.cp, "--cp", "parallel.cp");
  number(flags.ep, "--ep", "parallel.ep");
  number(flags.pp, "--pp", "parallel.pp");
  number(flags.vp, "--vp", "parallel.vp");
  number(flags.global_batch, "--global-batch", "batch.global");
  number(flags.micro_batch, "--micro-batch", "batch.micro");
  number(flags.sequence, "--sequence", "batch.sequence");
  number(flags.zero, "--zero", "sharding.zero");
  if (flags.schedule && flags.schedule->ends_with(".csv")) {
    out.push_back({"--schedule", "schedule", "csv"});
    out.push_back({"--schedule", "schedule_args.csv", *flags.schedule});
  } else {
    word(flags.schedule, "--schedule", "schedule");
  }
  word(flags.recompute, "--recompute", "recompute.kind");
  if (flags.sp) out.push_back({*flags.sp ? "--sp" : "--no-sp", "parallel.sp", *flags.sp ? "true" : "false"});
  if (flags.stages) out.push_back({"--stages", "stages", fmt::format("[{}]", fmt::join(parse_stages(*flags.stages), ","))});
  if (flags.precision) {
    const bool eight = flags.precision->starts_with("fp8-");
    out.push_back({"--precision", "precision.compute", eight ? "fp8" : *flags.precision});
    out.push_back({"--precision", "precision.params", eight ? "bf16" : *flags.precision});
    if (eight) out.push_back({"--precision", "precision.recipe", flags.precision->substr(4)});
  }
  return out;
}

namespace {

// The settings of the plan, flags included.
Settings plan_settings(const PlanFlags& flags, Settings settings) {
  if (flags.precision) {
    const std::string& precision = *flags.precision;
    const bool eight = precision == "fp8-delayed" || precision == "fp8-current" || precision == "fp8-blockwise";
    if (precision != "fp32" && precision != "bf16" && !eight)
      throw Error("--precision", fmt::format("'{}' is not a precision of this version", precision),
                  "known: fp32, bf16, fp8-delayed, fp8-current, fp8-blockwise");
  }
  for (const FlagSetting& f : flag_settings(flags)) settings.flag(f.flag, f.path, f.value);
  return settings;
}

bool decides(const Settings& settings, const std::string& path) {
  return std::any_of(settings.list.begin(), settings.list.end(), [&](const Setting& s) { return same_or_within(path, dotted(s.path)); });
}

// The plan as the settings leave it: through text, so that it is checked as strictly as a file.
Plan apply(const Plan& base, const std::string& origin, const Settings& settings) {
  return told_where_given(settings.given, [&] {
    try {
      return read_plan(apply_settings(write_plan(base), origin, settings.list), origin);
    } catch (const Error& e) {  // the line is one of the written text, not of the user's
      const auto colon = e.where().rfind(": ");
      if (e.where().starts_with("--set ") || colon == std::string::npos) throw;
      throw Error(origin + e.where().substr(colon), e.message(), e.hint());
    }
  });
}

// Sequence parallelism where nobody said anything about it. `file`: the plan as its file has it, if there is one.
void derive_sp(Plan& plan, const Plan* file, const Settings& settings) {
  const std::int64_t tp = plan.parallel.tp;
  const bool of_file = file && (tp == file->parallel.tp || (tp > 1 && file->parallel.tp > 1));
  if (!of_file && !decides(settings, "parallel.sp")) plan.parallel.sp = tp > 1 && plan.batch.sequence % tp == 0;
}

Plan plan_of_file(const PlanFlags& flags, const Plan& file, const Settings& settings) {
  Plan base = file;
  if (!flags.model.empty()) base.model = flags.model;
  if (!flags.cluster.empty()) base.cluster = flags.cluster;
  Plan plan = apply(base, flags.plan, settings);
  derive_sp(plan, &file, settings);
  return plan;
}

// A plan made of flags and settings alone. `base` names model and cluster.
Plan plan_of_flags(Plan base, const Model& model, const Cluster& cluster, const Settings& settings) {
  if (cluster.device.kind == DeviceKind::cpu_core) base.precision.compute = base.precision.params = DType::fp32;
  const bool batch_given = decides(settings, "batch.global");
  Settings first = settings;
  if (!batch_given) {  // not known before the rest: until then one micro-batch, whatever that is
    for (const Setting& s : settings.list)
      if (dotted(s.path) == "batch.micro") first.list.push_back({"batch.global", s.value});
    for (const Given& g : settings.given)
      if (dotted(g.path) == "batch.micro") first.given.push_back({"batch.global", g.where});
  }
  Plan plan = apply(base, "plan", first);
  if (!decides(settings, "batch.sequence")) plan.batch.sequence = model.max_positions > 0 ? std::min<std::int64_t>(model.max_positions, 8192) : 2048;
  if (!batch_given) plan.batch.global = std::max<std::int64_t>(1, program::data_parallel(cluster, plan)) * plan.batch.micro;
  derive_sp(plan, nullptr, settings);
  return plan;
}

Model model_of(const std::string& name_or_path, const Settings& settings) {
  Model model = load_model(name_or_path);  // without settings first, so that its own faults are told at its own lines
  if (settings.list.empty()) return model;
  return told_where_given(settings.given, [&] { return load_model(name_or_path, settings.list); });
}

Cluster cluster_of(const std::string& specification, const Settings& settings) {
  ClusterText cluster = cluster_text(specification);
  // A cluster names its device; what is set inside it needs the whole of it.
  if (std::any_of(settings.list.begin(), settings.list.end(), [](const Setting& s) { return s.path.starts_with("device."); }))
    cluster.text = write_cluster(read_cluster(cluster.text, cluster.file));
  return told_where_given(settings.given, [&] { return read_cluster(apply_settings(cluster.text, cluster.file, settings.list), cluster.file); });
}

// Settings of a document that is not the plan begin with its name everywhere, also where there is no other document.
void only(const Settings& others, const std::string& document) {
  if (!others.list.empty())
    throw Error(others.given.back().where, fmt::format("is not a field of the {}", document),
                fmt::format("the fields of a {} begin with '{}.' for every verb", document, document));
}

}  // namespace

namespace {

// The profile as one of this device: what was measured on another GPU of its architecture, or on one whose figures a setting has changed, is carried
// over. One that names the cluster's device is of that, shipped or not; one that names none is of nobody knows what.
Profile of_device(Profile profile, const Device& device, const std::string& file) {
  if (profile.kind != device.kind) {
    const auto text = [](DeviceKind kind) { return kind == DeviceKind::gpu ? "a GPU" : "a CPU"; };
    throw Error("--profile",
                fmt::format("'{}' is of {} ({}), and the cluster's device is {}", file, text(profile.kind), profile.device, text(device.kind)),
                "leave --profile out: the device file's figures are used then");
  }
  if (device.kind != DeviceKind::gpu && device.clock != 1)
    throw Error("--profile",
                fmt::format("'{}' was measured at the clock that this machine has, and the cluster's device runs at {} of it", file, device.clock),
                "leave cluster.device.clock out, or --profile");
  if (device.kind != DeviceKind::gpu) return profile;
  if (profile.part.empty())
    throw Error("--profile", fmt::format("'{}' is of {}, and does not say which device file describes that", file, profile.device),
                fmt::format("where that is the cluster's device, write its name into the profile: \"part\": \"{}\"", device.name));
  const std::vector<std::string> shipped = device_names();
  if (profile.part == device.name && std::find(shipped.begin(), shipped.end(), device.name) == shipped.end()) return profile;
  const Device measured = load_device(profile.part);
  const auto figures = [](const Device& d) { return std::tuple(d.memory_bandwidth, d.sms, d.tdp, d.peak, d.clock); };
  if (figures(measured) == figures(device) && measured.name == device.name) return profile;
  if (profile.transferred)
    throw Error("--profile", fmt::format("'{}' was transferred to {} already, and the cluster's device is {}", file, profile.part, device.name),
                "name the profile that was measured");
  return cost::transfer(profile, measured, device);
}

}  // namespace

namespace {

// What the flags name, before any setting of the plan but its model and its cluster.
struct Named {
  AllSettings all;
  Plan base;  // of the file, where there is one
  std::string model, cluster;
};
Named named(const PlanFlags& flags) {
  Named out{take_apart(flags.settings), {}, flags.model, flags.cluster};
  if (!flags.plan.empty()) out.base = read_plan(read_text_file(flags.plan), flags.plan);
  if (out.model.empty()) out.model = out.base.model;
  if (out.cluster.empty()) out.cluster = out.base.cluster;
  for (const Setting& s : out.all.plan.list) {
    if (s.path == "model") out.model = s.value;
    if (s.path == "cluster") out.cluster = s.value;
  }
  if (out.model.empty()) throw Error("--model", "no model was named", "e.g. --model llama-3.1-8b; 'orrery show models' lists the names");
  if (out.cluster.empty()) throw Error("--cluster", "no cluster was named", "e.g. --cluster dgx-h100:64; 'orrery show clusters' lists the names");
  return out;
}

Plan plan_of(const PlanFlags& flags, Named named, const Model& model, const Cluster& cluster, const Settings& settings) {
  if (!flags.plan.empty()) return plan_of_file(flags, named.base, settings);
  named.base.model = named.model;
  named.base.cluster = named.cluster;
  return plan_of_flags(std::move(named.base), model, cluster, settings);
}

}  // namespace

Plan plan_on(const PlanFlags& flags, const Model& model, const Cluster& cluster) {
  Named its = named(flags);
  const Settings settings = plan_settings(flags, its.all.plan);
  return plan_of(flags, std::move(its), model, cluster, settings);
}

Inputs load_inputs(const PlanFlags& flags) {
  Inputs in;
  Named its = named(flags);
  in.model = model_of(its.model, its.all.model);
  in.cluster = cluster_of(its.cluster, its.all.cluster);
  const Settings settings = plan_settings(flags, its.all.plan);
  in.plan = plan_of(flags, std::move(its), in.model, in.cluster, settings);
  in.given = settings.given;
  if (!flags.model.empty()) in.given.push_back({"model", "--model"});
  if (!flags.cluster.empty()) in.given.push_back({"cluster", "--cluster"});
  if (!flags.profile.empty()) in.profile = of_device(read_profile(read_text_file(flags.profile), flags.profile), in.cluster.device, flags.profile);
  return in;
}

Plan plan_from(const PlanFlags& flags) {
  const AllSettings all = take_apart(flags.settings);
  for (const Settings* other : {&all.model, &all.cluster})
    if (!other->list.empty())
      throw Error(other->given.back().where, "is not a field of the plan", "a plan names its model and its cluster; their fields are theirs");
  return plan_of_file(flags, read_plan(read_text_file(flags.plan), flags.plan), plan_settings(flags, all.plan));
}

Cluster cluster_from(const std::string& specification, const std::vector<std::string>& settings) {
  const AllSettings all = take_apart(settings);
  only(all.plan, "cluster");
  only(all.model, "cluster");
  return cluster_of(specification, all.cluster);
}

Model model_from(const std::string& name_or_path, const std::vector<std::string>& settings) {
  const AllSettings all = take_apart(settings);
  only(all.plan, "model");
  only(all.cluster, "model");
  return model_of(name_or_path, all.model);
}

bool sets(const std::vector<std::string>& settings, const std::string& path) { return decides(take_apart(settings).plan, path); }

Error at_flag(const Error& error, const std::vector<Given>& given) {
  const std::string& field = error.where();
  std::vector<std::string> inside, paths;  // the flags that gave parts of the field; of each part the one that holds
  for (const Given& g : given) {
    const std::string path = dotted(g.path);
    if (path == field) {
      const bool says_so = g.where == "--" + path || g.where.starts_with("--set ");
      return {says_so ? g.where : fmt::format("{} ({})", g.where, field), error.message(), error.hint()};
    }
    if (within(field, path)) return {g.where + ": " + field, error.message(), error.hint()};
    if (within(path, field) && std::find(paths.begin(), paths.end(), path) == paths.end()) {
      paths.push_back(path);
      inside.push_back(g.where);
    }
  }
  if (inside.empty()) return error;
  const std::string last = inside.back();
  inside.pop_back();
  return {fmt::format("{}{}{} ({})", fmt::join(inside, ", "), inside.empty() ? "" : " and ", last, field), error.message(), error.hint()};
}

program::Program compile(const Inputs& inputs) {
  try {
    return program::compile(inputs.model, inputs.cluster, inputs.plan);
  } catch (const Error& e) {
    throw at_flag(e, inputs.given);
  }
}

std::string inputs_hash(const Inputs& inputs) {
  std::uint64_t h = 14695981039346656037ULL;  // FNV-1a, 64 bit
  const std::string order = inputs.plan.schedule == "csv" && inputs.plan.schedule_args.csv ? read_text_file(*inputs.plan.schedule_args.csv) : "";
  for (const std::string& text : {write_model(inputs.model), write_cluster(inputs.cluster), write_plan(inputs.plan),
                                  inputs.profile ? write_profile(*inputs.profile) : std::string{}, order})
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return fmt::format("{:016x}", h);
}

}  // namespace orrery::app
