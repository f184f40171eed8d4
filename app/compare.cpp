#include "app/compare.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>

#include "app/run.h"
#include "app/simulate.h"
#include "core/error.h"
#include "core/files.h"
#include "core/timeline_json.h"

namespace orrery::app {
namespace {

double seconds(Picoseconds t) { return to_seconds(t).v; }

std::vector<Row> match(const std::vector<WorkTime>& a, const std::vector<WorkTime>& b) {
  std::vector<Row> rows;
  rows.reserve(a.size());
  for (const WorkTime& t : a) rows.push_back({t.name, seconds(t.time), 0});
  for (const WorkTime& t : b) {
    const auto it = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == t.name; });
    if (it == rows.end())
      rows.push_back({t.name, 0, seconds(t.time)});
    else
      it->b = seconds(t.time);
  }
  return rows;
}

void by_difference(std::vector<Row>& rows) {
  std::stable_sort(rows.begin(), rows.end(), [](const Row& x, const Row& y) { return std::abs(x.difference()) > std::abs(y.difference()); });
}

}  // namespace

CompareReport compare(Summary a, Summary b) {
  CompareReport report;
  const auto left = a.waterfall.parts(), right = b.waterfall.parts();
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i].v == 0 && right[i].v == 0) continue;
    report.waterfall.push_back({std::string(Waterfall::names()[i]), seconds(left[i]), seconds(right[i])});
    if (left[i] != right[i]) report.largest.push_back(report.waterfall.back());
  }
  by_difference(report.largest);
  report.classes = match(a.classes, b.classes);
  report.operators = match(a.operators, b.operators);
  by_difference(report.operators);
  const bool known = !a.peak_memory_by_stage.empty() && !b.peak_memory_by_stage.empty();
  for (std::size_t s = 0; known && s < std::max(a.peak_memory_by_stage.size(), b.peak_memory_by_stage.size()); ++s) {
    const auto of = [s](const Summary& x) { return s < x.peak_memory_by_stage.size() ? static_cast<double>(x.peak_memory_by_stage[s]) : 0.0; };
    // Of a stage that a trace has no rank of, nothing is known: that is not 0 bytes.
    if ((a.ranks_missing > 0 && of(a) == 0) || (b.ranks_missing > 0 && of(b) == 0)) continue;
    report.memory.push_back({"stage " + std::to_string(s), of(a), of(b)});
  }
  report.a = std::move(a);
  report.b = std::move(b);
  return report;
}

namespace {

// The pipeline stage of a rank called "pp1 tp0 dp3"; axes of one rank may be left out.
std::size_t stage_of(const std::string& rank) {
  std::uint16_t stage = 0;  // wider than any pipeline
  if (const auto at = rank.find("pp"); at != std::string::npos) std::from_chars(rank.data() + at + 2, rank.data() + rank.size(), stage);
  return stage;
}

}  // namespace

Summary summarise(const Timeline& timeline, const std::string& label) {
  Summary summary;
  summary.label = label;
  summary.origin = timeline.origin;
  summary.step = timeline.step;
  add_up(timeline, summary);
  std::map<std::uint32_t, std::uint32_t> dense;  // ranks that occur -> 0, 1, 2, …
  std::vector<std::int64_t> weights;             // of those
  bool pipelined = false;
  for (const Span& span : timeline.spans) {
    if (dense.emplace(span.rank, static_cast<std::uint32_t>(dense.size())).second)
      weights.push_back(timeline.weights.empty() ? 1 : timeline.weights[span.rank]);
    pipelined = pipelined || timeline.kinds[span.kind].work == WorkClass::pp_comm;
  }
  WaterfallBuilder builder(dense.size());
  for (const Span& span : timeline.spans) {
    if (span.stream != 0) continue;
    const SpanKind& kind = timeline.kinds[span.kind];
    builder.add(dense[span.rank], kind.work, span.recompute, kind.ideal, span.end - span.start, span.cause, span.waited, span.transfer);
  }
  const std::int64_t represented = std::accumulate(weights.begin(), weights.end(), std::int64_t{0});
  if (represented == 0) weights.assign(weights.size(), 1);
  summary.waterfall = builder.finish(timeline.step, weights, pipelined);
  summary.ranks_missing = std::max<std::int64_t>(0, timeline.all_ranks - represented);
  for (const auto& [rank, bytes] : peak_memory(timeline)) {
    const std::size_t stage = stage_of(timeline.ranks[rank]);
    if (stage >= summary.peak_memory_by_stage.size()) summary.peak_memory_by_stage.resize(stage + 1, 0);
    std::int64_t& peak = summary.peak_memory_by_stage[stage];
    peak = std::max(peak, bytes);
  }
  return summary;
}

std::map<std::uint32_t, std::int64_t> peak_memory(const Timeline& timeline) {
  std::map<std::uint32_t, std::int64_t> out;
  for (const MemorySample& sample : timeline.memory) {
    std::int64_t& peak = out[sample.rank];
    peak = std::max(peak, sample.bytes);
  }
  return out;
}

namespace {

Summary simulated(const PlanFlags& flags, const std::string& routing) {
  SimulateOptions options;
  options.operators = true;
  Inputs inputs = load_inputs(flags);
  const bool replays = !routing.empty() && inputs.model.moe && !inputs.plan.runtime.moe_balanced && !inputs.plan.moe.capacity_factor &&
                       !sets(flags.settings, "moe.load");
  if (replays) inputs.plan.moe.load = "counts:" + routing;
  Summary summary = simulate(inputs, options).summary;
  if (flags.plan.empty())
    summary.label = inputs.model.name + " on " + inputs.plan.cluster + ": " + summary.label + (replays ? ", routed as the run" : "");
  else
    summary.label = flags.plan + " (" + summary.label + (replays ? ", routed as the run" : "") + ")";
  return summary;
}

}  // namespace

Summary load_operand(const Operand& operand, const std::string& routing) {
  const std::string& file = operand.file;
  if (file.empty()) return simulated(operand.flags, routing);
  const std::string text = read_text_file(file, kLargestTrace);
  const auto says = [&](const char* word) { return text.find(word) != std::string::npos; };
  if (says("\"traceEvents\"")) return summarise(read_timeline(text, file), file);
  if (says("\"summary/1\"")) {
    Summary summary = read_summary(text, file);
    summary.label = file + " (" + summary.label + ")";
    return summary;
  }
  if (says("\"plan/1\"")) {
    PlanFlags mine = operand.flags;
    mine.plan = file;
    return simulated(mine, routing);
  }
  throw Error(file, "is neither a plan, a trace, nor the JSON of a simulation or a run",
              "compare takes plan.json, a --trace file, or what 'orrery simulate --json' and 'orrery run --json' print");
}

CompareReport compare(const Operand& a, const Operand& b) {
  const auto routing_of = [](const std::string& file) -> std::string {
    if (file.empty()) return {};
    try {
      const std::string text = read_text_file(file, kLargestTrace);
      return text.find("\"run/1\"") == std::string::npos ? std::string() : recorded_expert_load(text);
    } catch (const Error&) {
      return {};  // its turn to be complained of comes when it is loaded: the first operand's fault is told first
    }
  };
  Summary first = load_operand(a, routing_of(b.file));
  return compare(std::move(first), load_operand(b, routing_of(a.file)));
}

}  // namespace orrery::app
