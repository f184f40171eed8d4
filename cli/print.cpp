#include "cli/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/terminal.h"
#include "core/quantity_text.h"
#include "program/flops.h"

namespace orrery::cli {
namespace {

std::string bar(double share) {
  constexpr double kWidth = 40;
  const auto n = static_cast<std::size_t>(std::lround(std::clamp(share, 0.0, 1.0) * kWidth));
  return std::string(n, '#');
}

// "1 device", "64 devices".
std::string counted(std::int64_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

// What a step trains on, which may be a default that nobody typed.
std::string batch_line(const Plan& plan) {
  return fmt::format("{} of {} a step", counted(plan.batch.global, "sequence"), counted(plan.batch.sequence, "token"));
}

std::string signed_seconds(double s) { return fmt::format("{}{}", s < 0 ? '-' : '+', format_seconds(Seconds{std::abs(s)})); }

}  // namespace

std::string text(const Waterfall& w) {
  std::string out;
  const auto parts = w.parts();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].v == 0) continue;
    const double share = parts[i] / w.step;
    out += fmt::format("  {:<18}{:>11} {:>6.1f} %  {:<40} {}{}{}\n", Waterfall::names()[i], format_seconds(to_seconds(parts[i])), 100 * share,
                       bar(share), style().dim, app::part_meaning(Waterfall::names()[i]), style().reset);
  }
  return out;
}

std::string text(const app::SimulateReport& r, bool explain) {
  const Style& s = style();
  const std::string_view convention = program::name(r.convention);
  std::string out = fmt::format("{}{} on {}: {}{}\n", s.bold, r.model, r.plan.cluster, r.label, s.reset);
  out += fmt::format("batch            {}, {} per micro-batch on each of {}\n", batch_line(r.plan), r.plan.batch.micro, counted(r.dp, "replica"));
  out += fmt::format("step time        {}{}{}{}\n", s.bold, format_seconds(r.step_time), s.reset, r.steady ? "" : "  (no steady period was reached)");
  out += fmt::format("throughput       {:.0f} tokens/s, {:.1f} tokens/s per device\n", r.tokens_per_s, r.tokens_per_s_per_gpu);
  const bool slow = r.tflops_per_gpu < 0.1;  // a CPU core
  out += fmt::format("model rate       {:.4g} {}FLOP/s per device, MFU {:.1f} %, HFU {:.1f} % ({} FLOPs)\n", r.tflops_per_gpu * (slow ? 1e3 : 1),
                     slow ? 'G' : 'T', 100 * r.mfu, 100 * r.hfu, convention);
  out += fmt::format("bubble           {:.1f} % of the schedule with equal stages\n", 100 * r.bubble_fraction);
  out += fmt::format("memory           {} of {} on stage {}: {}{}{}\n", format_bytes(r.capacity - r.headroom), format_bytes(r.capacity),
                     r.fullest_stage, r.fits ? s.good : s.bad,
                     r.fits ? fmt::format("fits, {} to spare", format_bytes(r.headroom))
                            : fmt::format("does not fit, {} too much ('orrery plan' finds plans that fit)", format_bytes(Bytes{-r.headroom.v})),
                     s.reset);
  for (const app::MemoryAtPeak& b : r.memory[static_cast<std::size_t>(r.fullest_stage)].largest)
    out += fmt::format("                   {:>11}  {}\n", format_bytes(Bytes{b.bytes}), b.name);
  out += fmt::format("energy           {} per step ({})\n", format_energy(r.energy),
                     r.energy_grade == Grade::assumed         ? "assumed: idle power and utilisation of the rated power"
                     : r.energy_grade == Grade::measured_here ? "by the power measured for each class of work"
                                                              : "by the power measured for each class of work on another device, scaled");
  if (r.checkpoints) {
    const app::CheckpointCost& c = *r.checkpoints;
    out +=
        fmt::format("checkpoints      {} every {} steps: {} to copy{}, {}; {} a step with them\n", format_bytes(c.bytes), c.every,
                    format_seconds(c.copy), c.write ? fmt::format(", {} to write", format_seconds(*c.write)) : "",
                    c.in_background ? fmt::format("behind the steps if storage does {}/s", format_bytes(Bytes{static_cast<std::int64_t>(c.needed.v)}))
                                    : "ranks wait",
                    format_seconds(c.step));
  }
  if (r.run) {
    out +=
        fmt::format("whole run        {} tokens in {} steps: {:.4g} days, {} device-hours, {}", format_count(r.run->tokens),
                    format_count(r.run->steps), r.run->days, format_count(r.run->device_hours), format_energy(Joules{r.run->megawatt_hours * 3.6e9}));
    out += r.run->dollars ? fmt::format(", ${}\n", format_count(*r.run->dollars)) : ", no price known (--price)\n";
  }
  out += "where the step goes (mean over ranks)\n" + text(r.summary.waterfall);
  if (explain) {
    out += "critical path\n";
    for (const auto& [work, time] : r.critical_path.by_class)
      out += fmt::format("  {:<18}{:>11} {:>6.1f} %\n", name(work), format_seconds(to_seconds(time)), 100 * (time / r.summary.step));
    if (r.critical_path.unattributed.v != 0) out += fmt::format("  {:<18}{:>11}\n", "host", format_seconds(to_seconds(r.critical_path.unattributed)));
    out += "priced from\n";
    for (const app::SourceShare& source : r.sources) out += fmt::format("  {:>5.1f} %  {}\n", 100 * source.share, source.name);
    out += "memory by stage\n";
    for (std::size_t i = 0; i < r.memory.size(); ++i)
      out += fmt::format("  stage {:<3} {:>3} layers {:>11} (states {})\n", i, r.layers_by_rank[i], format_bytes(Bytes{r.memory[i].peak}),
                         format_bytes(Bytes{r.memory[i].persistent}));
    out += fmt::format("simulated {} for {}, {} instructions, {} periods\n", counted(r.simulated_ranks, "rank"), counted(r.devices, "device"),
                       r.instructions, r.periods);
  }
  return out;
}

std::string text(const app::PlanReport& r, bool explain) {
  const Style& s = style();
  std::string out = fmt::format("{}{} on {}: {}{}\n", s.bold, r.inputs.model.name, r.inputs.plan.cluster, batch_line(r.inputs.plan), s.reset);
  if (explain) return out + r.explanation;
  if (r.outcome.ranked.empty()) {
    out += fmt::format("{}{}{}\n", s.bad, planner::why_none(r.outcome), s.reset);
  } else {
    const bool priced = r.inputs.cluster.price_per_device_hour > 0;
    out += fmt::format("{}{:>4} {:>3} {:>3} {:>3} {:>5} {:>6} {:<13} {:<9} {:>4} {:>11} {:>8} {:>11} {:>11}{}{}\n", s.bold, "rank", "tp", "pp", "vp",
                       "dp", "micro", "schedule", "recompute", "zero", "step", "bubble", "memory", "energy",
                       priced ? fmt::format(" {:>9}", "price") : "", s.reset);
    for (std::size_t i = 0; i < r.outcome.ranked.size(); ++i) {
      const planner::Candidate& c = r.outcome.ranked[i];
      out += fmt::format("{:>4} {:>3} {:>3} {:>3} {:>5} {:>6} {:<13} {:<9} {:>4} {:>11} {:>6.1f} % {:>11} {:>11}", i + 1, c.plan.parallel.tp,
                         c.plan.parallel.pp, c.plan.parallel.vp, r.inputs.cluster.devices / std::max<std::int64_t>(1, c.plan.model_ranks()),
                         c.plan.batch.micro, c.plan.schedule, c.plan.recompute.kind, c.plan.sharding.zero, format_seconds(to_seconds(c.step)),
                         100 * c.bubble_fraction, format_bytes(c.peak_memory), format_energy(c.energy));
      if (const auto dollars = planner::step_price(r.inputs.cluster, c.step)) out += fmt::format(" {:>9}", fmt::format("${:.3g}", dollars->v));
      out += "\n";
    }
  }
  return out + r.refused + "\n";
}

std::string text(const app::CompareReport& r) {
  const Style& s = style();
  std::string out = fmt::format("A  {} ({}), {}\nB  {} ({}), {}\n", r.a.label, r.a.origin, format_seconds(to_seconds(r.a.step)), r.b.label,
                                r.b.origin, format_seconds(to_seconds(r.b.step)));
  for (const auto& [side, summary] : {std::pair{'A', &r.a}, {'B', &r.b}})
    if (summary->ranks_missing > 0) out += fmt::format("{} holds some ranks only; of {} more it says nothing\n", side, summary->ranks_missing);
  const double a = to_seconds(r.a.step).v, b = to_seconds(r.b.step).v;
  if (r.a.step == r.b.step)
    out += fmt::format("{}A and B take the same time{}\n", s.bold, s.reset);
  else
    out += fmt::format("{}B takes {} {} than A{}{}\n", s.bold, format_seconds(Seconds{std::abs(b - a)}), b > a ? "longer" : "less",
                       a > 0 ? fmt::format(" ({:+.1f} %)", 100 * (b - a) / a) : "", s.reset);
  const auto table = [&](const char* title, const std::vector<app::Row>& rows, bool bytes, std::size_t most) {
    if (rows.empty()) return;
    out += fmt::format("{:<24}{:>12}{:>12}{:>13}\n", title, "A", "B", "B - A");
    for (std::size_t i = 0; i < std::min(most, rows.size()); ++i) {
      const app::Row& row = rows[i];
      const std::string percent = row.a > 0 ? fmt::format("{:+.1f} %", 100 * row.difference() / row.a) : "";
      if (bytes) {
        const auto difference = static_cast<std::int64_t>(row.difference());
        out += fmt::format("  {:<22}{:>12}{:>12}{:>13}{:>9}\n", row.name, format_bytes(Bytes{static_cast<std::int64_t>(row.a)}),
                           format_bytes(Bytes{static_cast<std::int64_t>(row.b)}),
                           fmt::format("{}{}", difference < 0 ? '-' : '+', format_bytes(Bytes{std::abs(difference)})), percent);
      } else {
        out += fmt::format("  {:<22}{:>12}{:>12}{:>13}{:>9}\n", row.name, format_seconds(Seconds{row.a}), format_seconds(Seconds{row.b}),
                           signed_seconds(row.difference()), percent);
      }
    }
  };
  table("where the step goes", r.waterfall, false, 99);
  table("by class", r.classes, false, 99);
  table("by operator", r.operators, false, 12);
  table("peak memory", r.memory, true, 99);
  if (!r.largest.empty()) {
    out += "the difference, largest first: ";
    for (std::size_t i = 0; i < r.largest.size(); ++i)
      out += fmt::format("{}{} {}", i ? ", " : "", r.largest[i].name, signed_seconds(r.largest[i].difference()));
    out += "\n";
  }
  return out;
}

namespace {

// In one line, of a run on GPUs.
std::string energy_line(const app::StepEnergy& e, Grade predicted) {
  std::string out = e.per_step ? fmt::format("{} per step measured on {} GPU{}", format_energy(*e.per_step), e.gpus, e.gpus == 1 ? "" : "s")
                               : "not measured: " + e.why;
  if (e.predicted) {
    out += fmt::format(", {} predicted ({}", format_energy(*e.predicted),
                       predicted == Grade::assumed         ? "assumed from the rated power"
                       : predicted == Grade::measured_here ? "by the power measured for each class of work"
                                                           : "by power measured on another device");
    out += e.per_step ? fmt::format(", {:+.1f} %)", 100 * (*e.predicted / *e.per_step - 1)) : ")";
  }
  return out;
}

}  // namespace

std::string text(const app::RunReport& r) {
  const Style& s = style();
  std::string out = fmt::format("{}{} on {}: {}{}\n", s.bold, r.inputs.model.name, r.inputs.plan.cluster, r.measured.label, s.reset);
  out += fmt::format("data             {}\n", r.data);
  if (r.result.emulated)
    out += fmt::format("{}emulated{}         {} is computed in fp32 here and rounded: losses are right, times mean nothing\n", s.bold, s.reset,
                       name(r.inputs.plan.precision.compute));
  if (r.result.steps.empty()) return out + "interrupted before the first step was done\n";
  const executor::StepReport &first = r.result.steps.front(), &last = r.result.steps.back();
  out += fmt::format("steps            {}{}\n", r.result.steps.size(), r.result.cancelled ? " (interrupted)" : "");
  out += fmt::format("loss             {:.4f} -> {:.4f}{}\n", first.loss, last.loss,
                     r.entropy_rate ? fmt::format(" (no model can stay below {:.4f})", *r.entropy_rate) : "");
  out += fmt::format("gradient norm    {:.4f} -> {:.4f}{}\n", first.gradient_norm, last.gradient_norm,
                     r.result.redone > 0 ? fmt::format(" ({} updates made again, clipped)", r.result.redone) : "");
  out += fmt::format("step time        {} measured (noise {:.1f} %), {} predicted ({:+.1f} %)\n", format_seconds(r.result.step_time), 100 * r.noise,
                     format_seconds(r.predicted.step_time), 100 * (r.predicted.step_time.v / r.result.step_time.v - 1));
  const Plan& plan = r.inputs.plan;
  const double slower = r.result.step_time.v / r.predicted.step_time.v;
  out += fmt::format(
      "throughput       {:.0f} tokens/s{}\n", static_cast<double>(plan.batch.global * plan.batch.sequence) / r.result.step_time.v,
      r.result.emulated ? "" : fmt::format(", MFU {:.1f} % ({} FLOPs)", 100 * r.predicted.mfu / slower, program::name(r.predicted.convention)));
  if (r.inputs.cluster.device.kind == DeviceKind::gpu) out += fmt::format("energy           {}\n", energy_line(r.energy, r.predicted.energy_grade));
  if (r.result.replayed > 0) out += fmt::format("graphs           {} steps were run as one recorded graph\n", r.result.replayed);
  out += "peak memory      ";
  for (std::size_t i = 0; i < r.measured.peak_memory_by_stage.size(); ++i) {
    const std::int64_t measured = r.measured.peak_memory_by_stage[i], predicted = r.predicted.summary.peak_memory_by_stage[i];
    out += fmt::format("{}stage {} {}{}", i ? ", " : "", i, format_bytes(Bytes{measured}),
                       measured == predicted ? " (as predicted, to the byte)" : fmt::format(" (predicted {})", format_bytes(Bytes{predicted})));
  }
  if (const std::int64_t beside = r.result.memory.empty() ? 0 : r.result.memory.front().beside; beside > 0)
    out += fmt::format("; beside it kernels took {} of scratch memory, which is not predicted", format_bytes(Bytes{beside}));
  return out + "\nwhere the step went (mean over ranks)\n" + text(r.measured.waterfall);
}

std::string text(const app::DemoReport& r) {
  const Style& s = style();
  std::string out;
  if (r.cancelled) out += "interrupted: what was done until then is in the files below\n";
  if (r.inputs.profile)
    out += fmt::format("{}{}{}: best matrix product {}, copy {}\n", s.bold, r.inputs.profile->device, s.reset, format_rate(r.inputs.profile->peak),
                       format_rate(r.inputs.profile->memory_bandwidth));
  for (const app::DemoPlan& p : r.plans) {
    if (p.repeats.empty()) continue;
    out += fmt::format("\n{}{} plan: {}{}\n", s.bold, p.role, p.predicted.label, s.reset);
    out += fmt::format("  step time   predicted {:>10}   measured {:>10}   error {}{:+.1f} %{}   noise of this machine {:.1f} %\n",
                       format_seconds(p.predicted.step_time), format_seconds(p.step_time), std::abs(p.error) <= p.tolerance ? s.good : s.bad,
                       100 * p.error, s.reset, 100 * p.noise);
    for (const app::Row& row : p.compared.classes)
      out += fmt::format("  {:<12}predicted {:>10}   measured {:>10}   {}\n", row.name, format_seconds(Seconds{row.a}),
                         format_seconds(Seconds{row.b}), row.b > 0 ? fmt::format("{:+.1f} %", 100 * (row.a - row.b) / row.b) : "");
    if (!p.compared.largest.empty())
      out += fmt::format("  the error is mostly {} ({} predicted, {} measured)\n", p.compared.largest.front().name,
                         format_seconds(Seconds{p.compared.largest.front().a}), format_seconds(Seconds{p.compared.largest.front().b}));
    out += fmt::format("  memory      {}\n", p.memory_agrees ? "as predicted on every stage, to the byte" : "differs from the prediction");
    if (r.inputs.cluster.device.kind == DeviceKind::gpu)
      out += fmt::format("  energy      {}\n", energy_line(p.repeats[p.shown].energy, p.predicted.energy_grade));
    out += fmt::format("  loss        {:.3f} -> {:.3f}\n", p.first_loss, p.last_loss);
  }
  if (r.others && *r.others > 0.05)
    out += fmt::format("\n{}other processes used {:.2f} cores meanwhile: the prediction is for a machine that does nothing else{}\n", s.bad,
                       *r.others, s.reset);
  if (r.verdict != app::Verdict::open) {
    const bool within = r.verdict == app::Verdict::within;
    out += fmt::format("\n{}median error {:.1f} %: {}{} the tolerance of {:.1f} % ({:.0f} %, or {:.0f} times the noise where that is more){}\n",
                       s.bold, 100 * r.median_error, within ? s.good : s.bad, app::name(r.verdict), 100 * r.tolerance, 100 * r.least_tolerance,
                       app::kNoiseTolerated, s.reset);
    out += fmt::format("of the two plans the faster one was {}{}{}\n", r.ranked_rightly ? s.good : s.bad,
                       r.ranked_rightly ? "predicted rightly" : "predicted wrongly", s.reset);
    out += fmt::format("peak memory is {}\n", r.memory_agrees ? "as predicted for both, to the byte" : "not as predicted");
  }
  out += fmt::format("\nprofiling {:.0f} s, planning {:.1f} s over {} plans, running {:.0f} s\nwritten:", r.seconds_profiling, r.seconds_planning,
                     r.considered, r.seconds_running);
  for (const std::string& file : r.files) out += "\n  " + file;
  if (!r.plans.empty() && !r.plans.front().repeats.empty()) {
    const std::string folder = r.files.front().substr(0, r.files.front().rfind('/'));
    out += fmt::format("\nopen the traces in ui.perfetto.dev, or compare: orrery compare {0}/best.predicted.trace.json {0}/best.measured.trace.json",
                       folder);
  }
  return out + "\n";
}

}  // namespace orrery::cli
