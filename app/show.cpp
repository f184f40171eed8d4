#include "app/show.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "app/compare.h"
#include "app/copy_share.h"
#include "app/inputs.h"
#include "app/schemas.h"
#include "app/timeline_svg.h"
#include "core/cluster_json.h"
#include "core/error.h"
#include "core/files.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/profile_json.h"
#include "core/quantity_text.h"
#include "core/timeline_json.h"
#include "cost/cost.h"
#include "program/compile.h"

namespace orrery::app {
namespace {

const std::vector<std::string> kWhat{"models", "clusters", "devices", "model", "cluster", "device", "plan", "profile", "schema", "timeline"};

[[noreturn]] void unknown(const std::string& what) {
  throw Error("orrery show", fmt::format("'{}' is nothing to show", what), did_you_mean(what, kWhat));
}

void need_name(const std::string& what, const std::string& name) {
  if (name.empty())
    throw Error("orrery show " + what, "which one?",
                what == "schema" ? fmt::format("known: {}", fmt::join(schema_names(), ", "))
                : what == "model" || what == "cluster" || what == "device"
                    ? fmt::format("e.g. orrery show {0} {1}; 'orrery show {0}s' lists them", what,
                                  what == "model"     ? "llama-3.1-8b"
                                  : what == "cluster" ? "dgx-h100:64"
                                                      : "h100-sxm")
                    : fmt::format("e.g. orrery show {0} {0}.json", what));
}

// What no plan for the model can be compiled for, in words; empty: nothing.
std::string not_built(const Model& m) {
  Cluster one;
  one.devices = one.node_size = 1;
  std::string out;
  constexpr std::string_view kNotBuilt = "not built yet: ";
  for (const program::Refusal& r : program::refusals(m, one, Plan{})) {
    if (r.field != "model" || !r.reason.starts_with(kNotBuilt)) continue;
    out += (out.empty() ? "" : ", ") + r.reason.substr(kNotBuilt.size());
  }
  return out;
}

std::string model_line(const Model& m) {
  const ParameterCount n = count_parameters(m);
  const std::string missing = not_built(m);
  return fmt::format("{:<24}{:>10} parameters{:<22} {:>4} layers, hidden {:>6}, heads {:>3}/{:<3} vocabulary {}{}\n", m.name,
                     format_count(static_cast<double>(n.total)),
                     n.active != n.total ? fmt::format(" ({} active)", format_count(static_cast<double>(n.active))) : "", m.layers, m.hidden, m.heads,
                     m.kv_heads, m.vocab,
                     !m.unsupported.empty()    ? "  [not simulated: " + m.unsupported + "]"
                     : !missing.empty()        ? "  [not simulated yet: " + missing + "]"
                     : m.simulate_only.empty() ? ""
                                               : "  [simulated only: " + m.simulate_only + "]");
}

std::string model_text(const Model& m) {
  const ParameterCount n = count_parameters(m);
  std::string out = fmt::format("{} ({})\n  parameters      {} in all{}\n", m.name, m.family, n.total,
                                n.active == n.total ? "" : fmt::format(", {} active for one token", n.active));
  out += fmt::format("                  embedding {}, head {}{}{}\n", n.embedding, n.head,
                     n.experts > 0 ? fmt::format(", routed experts {}", n.experts) : "",
                     n.mtp > 0 ? fmt::format(", multi-token prediction {} (not in the total)", n.mtp) : "");
  out += fmt::format("  layers          {} x hidden {}, feed-forward {}{}\n", m.layers, m.hidden, m.intermediate, m.gated_mlp ? ", gated" : "");
  out += fmt::format("  attention       {} heads, {} key/value heads, {} wide{}\n", m.heads, m.kv_heads, m.head_dim,
                     m.causal ? ", causal" : ", bidirectional");
  if (m.moe)
    out += fmt::format("  experts         {} of {} per token, {} wide, shared {}\n", m.moe->experts_per_token, m.moe->experts, m.moe->intermediate,
                       m.moe->shared_intermediate);
  out += fmt::format("  vocabulary      {}, embeddings {}\n", m.vocab, m.tie_embeddings ? "tied" : "untied");
  const std::string missing = not_built(m);
  out += fmt::format("  execution       {}\n", !m.unsupported.empty()    ? "neither simulated nor executed: " + m.unsupported
                                               : !missing.empty()        ? "neither simulated nor executed yet: " + missing
                                               : m.simulate_only.empty() ? "simulated, and executed on CPU threads"
                                                                         : "simulated only: " + m.simulate_only);
  return out;
}

std::string source_of(const std::map<std::string, std::string>& sources, const std::string& field) {
  const auto it = sources.find(field);
  return it == sources.end() ? "" : "  [" + it->second + "]";
}

std::string device_text(const Device& d) {
  std::string out = fmt::format("{}\n", d.name);
  for (const auto& [type, rate] : d.peak) out += fmt::format("  peak {:<11}{}\n", name(type), format_rate(rate));
  out += fmt::format("  memory          {} at {}{}\n", format_bytes(d.memory), format_rate(d.memory_bandwidth),
                     source_of(d.sources, "memory_bandwidth"));
  out += fmt::format("  power           {} idle, {} rated\n", format_power(d.idle_power), format_power(d.tdp));
  for (const auto& [name, e] : d.efficiency) out += fmt::format("  efficiency      {:<19}{:.3f}  [{}]\n", name, e.value, e.source);
  for (const auto& [field, source] : d.sources) out += fmt::format("  source          {}: {}\n", field, source);
  return out;
}

std::string cluster_text_for_people(const Cluster& c) {
  std::string out = fmt::format("{}: {} device{} of {} in nodes of {}\n", c.name, c.devices, c.devices == 1 ? "" : "s", c.device.name, c.node_size);
  if (c.shared_cores > 0) out += fmt::format("  cores           {} shared by the ranks of a node\n", c.shared_cores);
  for (const NetworkLevel& l : c.levels)
    out += fmt::format("  {:<16}{} per device and direction within {} devices, {:.0f} % reached, {} a step  [{}]\n", l.name, format_rate(l.bandwidth),
                       l.size, 100 * l.efficiency, format_seconds(l.latency), l.source);
  return out + device_text(c.device);
}

std::string gpu_profile_text(const Profile& p) {
  std::string out = fmt::format("{}, measured {} (commit {}, driver {}, clock {})\n", p.device, p.date, p.commit, p.driver, p.clock);
  if (p.transferred)
    out += fmt::format("  transferred from {}: {:.0f} % where arithmetic bounds, {:.0f} % where memory does\n", p.transferred->from,
                       100 * p.transferred->arithmetic_error, 100 * p.transferred->memory_error);
  out += fmt::format("  best matrix product {}, copy {}\n", format_rate(p.peak), format_rate(p.memory_bandwidth));
  out += fmt::format("  launches: {} of the host each, {} recorded; from kernel to kernel {}, {} recorded\n", format_seconds(p.issue),
                     format_seconds(p.issue_recorded), format_seconds(p.kernel), format_seconds(p.kernel_recorded));
  for (const CopyShare& c : copy_shares(p))
    out += fmt::format("  {:<30}{:<6}{:>10}, {:.0f} % of the copy{}  ({})\n", c.op, name(c.dtype), format_rate(c.rate), 100 * c.share,
                       c.share < kCopyShareAim ? fmt::format(", below {:.0f}", 100 * kCopyShareAim) : "", fmt::join(c.dims, "x"));
  for (const PowerMeasurement& m : p.power)
    out += fmt::format("  power {:<12}{}{}\n", m.what, format_power(m.power), m.of.empty() ? "" : "  (" + m.of + ")");
  for (const DeviceState& s : p.states)
    out += fmt::format("  {:<6}{:.0f} MHz, memory {:.0f} MHz, {:.0f} °C, {}{}{}\n", s.when, s.clock, s.memory_clock, s.temperature,
                       format_power(s.power), s.slowed_by.empty() ? "" : fmt::format(", slowed by {}", fmt::join(s.slowed_by, " and ")),
                       s.memory_errors > 0 ? fmt::format(", {} memory errors", s.memory_errors) : "");
  return out + fmt::format("  {} operator, {} collective and {} other measurements; {} left out\n", p.operators.size(), p.collectives.size(),
                           p.device_calls.size() + p.interference.size(), p.left_out.size());
}

std::string profile_text(const Profile& p) {
  if (p.kind == DeviceKind::gpu) return gpu_profile_text(p);
  return fmt::format(
      "{}, measured {} (commit {}, driver {}, clock {})\n  {} cores, best matrix product {}, copy {}\n  {} operator and {} collective measurements\n",
      p.device, p.date, p.commit, p.driver, p.clock, p.cores, format_rate(p.peak), format_rate(p.memory_bandwidth), p.operators.size(),
      p.collectives.size());
}

std::string timeline_text(const Timeline& t) {
  std::set<std::uint32_t> ranks;
  for (const Span& span : t.spans) ranks.insert(span.rank);
  std::string out = fmt::format("{} timeline: step {}, {} spans of {} ranks on {} streams, {} arrows\n", t.origin, format_seconds(t.step),
                                t.spans.size(), ranks.size(), t.streams.size(), t.flows.size());
  const Summary summary = summarise(t, "");
  for (const WorkTime& c : summary.classes)
    out += fmt::format("  {:<18}{:>11} {:>6.1f} %\n", c.name, format_seconds(to_seconds(c.time)), 100 * (c.time / t.step));
  for (const auto& [rank, bytes] : peak_memory(t)) out += fmt::format("  at most {} live on {}\n", format_bytes(Bytes{bytes}), t.ranks[rank]);
  return out;
}

Plan plan_to_show(const std::string& file, const std::vector<std::string>& settings) {
  PlanFlags flags;
  flags.plan = file;
  flags.settings = settings;
  return plan_from(flags);
}

}  // namespace

std::string show(const std::string& what, const std::string& name, const std::vector<std::string>& settings) {
  std::string out;
  if (what == "models") {
    for (const std::string& model : model_names()) out += model_line(load_model(model));
  } else if (what == "clusters") {
    for (const std::string& cluster : cluster_names()) {
      const Cluster c = load_cluster(cluster);
      out += fmt::format("{:<20}{:>6} x {:<20} {} per node, {}\n", cluster, c.devices, c.device.name, c.node_size,
                         c.levels.empty() ? "" : c.levels.back().name);
    }
  } else if (what == "devices") {
    for (const std::string& device : device_names()) {
      const Device d = load_device(device);
      out += fmt::format("{:<20}{:>10} at {:>10}, {}\n", device, format_bytes(d.memory), format_rate(d.memory_bandwidth), format_power(d.tdp));
    }
  } else if (std::find(kWhat.begin(), kWhat.end(), what) == kWhat.end()) {
    unknown(what);
  } else {
    need_name(what, name);
    if (what == "model") out = model_text(model_from(name, settings));
    if (what == "cluster") out = cluster_text_for_people(cluster_from(name, settings));
    if (what == "device") out = device_text(load_device(name));
    if (what == "plan") out = write_plan(plan_to_show(name, settings));
    if (what == "profile") out = profile_text(read_profile(read_text_file(name), name));
    if (what == "schema") out = schema(name);
    if (what == "timeline") out = timeline_text(load_timeline(name));
  }
  return out;
}

std::string show_svg(const std::string& what, const std::string& name) {
  if (what != "timeline")
    throw Error("orrery show " + what, "there is no picture of it", "--svg draws a timeline: orrery show timeline trace.json --svg");
  need_name(what, name);
  const Timeline timeline = load_timeline(name);
  return timeline_svg(timeline, fmt::format("{} step of {}", timeline.origin, format_seconds(timeline.step)));
}

}  // namespace orrery::app
