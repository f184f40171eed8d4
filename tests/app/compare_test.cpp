// Two steps side by side: the parts that differ add up to the difference, whatever the operands are.
#include "app/compare.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "app/run.h"
#include "app/simulate.h"
#include "core/error.h"
#include "core/timeline_json.h"
#include "support/generators.h"
#include "support/temporary_folder.h"

namespace orrery::app {
namespace {

PlanFlags flags(std::int64_t tp, std::int64_t pp) {
  PlanFlags f;
  f.model = "cpu-llama-tiny";
  f.cluster = "dgx-h100:8";
  f.tp = tp;
  f.pp = pp;
  f.global_batch = 16;
  f.micro_batch = 1;
  f.sequence = 128;
  return f;
}

SimulateReport simulated(const PlanFlags& f) {
  SimulateOptions options;
  options.operators = true;
  options.timeline = true;
  return simulate(load_inputs(f), options);
}

// In picoseconds, since the rows are seconds.
std::int64_t picoseconds(double seconds) { return std::llround(seconds * 1e12); }

void expect_rows_add_up(const CompareReport& r) {
  std::int64_t all = 0, largest = 0;
  for (const Row& row : r.waterfall) all += picoseconds(row.b) - picoseconds(row.a);
  for (const Row& row : r.largest) largest += picoseconds(row.b) - picoseconds(row.a);
  EXPECT_EQ(all, (r.b.step - r.a.step).v);
  EXPECT_EQ(largest, (r.b.step - r.a.step).v);
  for (std::size_t i = 1; i < r.largest.size(); ++i) EXPECT_GE(std::abs(r.largest[i - 1].difference()), std::abs(r.largest[i].difference()));
}

TEST(Compare, OfTwoPlansAddsUpToTheDifferenceOfTheirSteps) {
  const CompareReport r = compare(simulated(flags(2, 2)).summary, simulated(flags(1, 4)).summary);
  EXPECT_NE(r.a.step, r.b.step);
  expect_rows_add_up(r);
  EXPECT_EQ(r.memory.size(), 4U);  // stages of the deeper pipeline; the other side counts 0 where it has none
  EXPECT_EQ(r.memory[3].a, 0);
  EXPECT_GT(r.memory[3].b, 0);
}

TEST(Compare, OfAPlanWithItselfFindsNothing) {
  const Summary s = simulated(flags(2, 2)).summary;
  const CompareReport r = compare(s, s);
  EXPECT_TRUE(r.largest.empty());
  for (const Row& row : r.operators) EXPECT_EQ(row.difference(), 0);
}

TEST(Compare, OfAPredictionAndItsRunAddsUpAndAgreesAboutMemoryToTheByte) {
  PlanFlags f = flags(1, 2);
  f.cluster = "this-machine:2";
  f.global_batch = 4;
  f.sequence = 32;
  RunSettings settings;
  settings.data = "markov";
  settings.steps = 3;
  const RunReport report = run(load_inputs(f), settings);
  ASSERT_EQ(report.result.steps.size(), 3U);
  const CompareReport r = compare(report.predicted.summary, report.measured);
  expect_rows_add_up(r);
  for (const Row& row : r.memory) EXPECT_EQ(row.a, row.b) << row.name;
  // Every class of work that is predicted is measured.
  for (const Row& row : r.classes) EXPECT_TRUE(row.a == 0 || row.b > 0) << row.name;
  // The trace of the run has the same memory.
  EXPECT_EQ(summarise(report.result.timeline, "trace").peak_memory_by_stage, report.measured.peak_memory_by_stage);
  // And so says the report, read back as an operand.
  const TemporaryFolder folder;
  const Summary again = load_operand({folder.write("run.json", to_json(report)), {}});
  EXPECT_EQ(again.step, report.measured.step);
  EXPECT_EQ(again.waterfall, report.measured.waterfall);
}

TEST(Compare, TakesPlansTracesAndReports) {
  const TemporaryFolder folder;
  const SimulateReport report = simulated(flags(2, 2));
  PlanFlags f = flags(2, 2);
  nlohmann::json document = nlohmann::json::parse(to_json(report));
  const Summary from_report = load_operand({folder.write("report.json", to_json(report)), {}});
  const Summary from_plan = load_operand({folder.write("plan.json", document["plan"].dump()), {}});
  const Summary from_trace = load_operand({folder.write("trace.json", write_chrome_trace(*report.timeline)), {}});
  EXPECT_EQ(from_report.waterfall, report.summary.waterfall);
  EXPECT_EQ(from_plan.waterfall, report.summary.waterfall);
  EXPECT_EQ(from_plan.operators, report.summary.operators);
  EXPECT_EQ(from_trace.step, report.summary.step);
  expect_rows_add_up(compare(from_report, from_trace));
  EXPECT_THROW(load_operand({folder.write("other.json", "{}"), {}}), Error);
}

// Whatever ranks a trace was made with, as long as some rank of each kind is in it: the summary of the step is the same.
TEST(Compare, WeighsTheRanksOfATraceByTheRanksThatTheyStandFor) {
  PlanFlags f = flags(1, 2);
  const auto of_trace = [&](std::vector<std::int64_t> ranks, bool unfold) {
    SimulateOptions options;
    options.timeline = true;
    options.unfold = unfold;
    options.ranks = std::move(ranks);
    const std::string text = write_chrome_trace(*simulate(load_inputs(f), options).timeline);
    return summarise(read_timeline(text, "t.json"), "t");
  };
  // tp 1, pp 2, dp 4: ranks 0 to 3 are stage 0, ranks 4 to 7 stage 1.
  const Summary all = of_trace({}, true);
  EXPECT_EQ(all, of_trace({}, false));
  EXPECT_EQ(all, of_trace({0, 1, 2, 4}, false));  // three ranks of one stage, one of the other
  EXPECT_EQ(all.waterfall, simulated(f).summary.waterfall);
  EXPECT_EQ(all.ranks_missing, 0);
  const Summary first = of_trace({0}, false);
  EXPECT_NE(first.waterfall, all.waterfall);
  EXPECT_EQ(first.ranks_missing, 4);
}

TEST(Compare, OfATraceAndItsPlanHasTheMemoryOfEachStageThatTheTraceHolds) {
  SimulateOptions options;
  options.timeline = true;
  const Inputs in = load_inputs(flags(2, 2));
  const SimulateReport report = simulate(in, options);
  CompareReport r = compare(summarise(*report.timeline, "trace"), report.summary);
  ASSERT_EQ(r.memory.size(), 2U);
  for (const Row& row : r.memory) EXPECT_EQ(row.a, row.b) << row.name;
  options.ranks = {4};  // tp 2, dp 2: the first rank of stage 1
  r = compare(summarise(*simulate(in, options).timeline, "trace"), report.summary);
  ASSERT_EQ(r.memory.size(), 1U);
  EXPECT_EQ(r.memory[0].name, "stage 1");
  EXPECT_EQ(r.memory[0].a, r.memory[0].b);
}

RC_GTEST_PROP(SummaryText, IsReadBackAsItWasWritten, ()) {
  Summary s;
  s.label = *rc::gen::element<std::string>("tp=2 pp=2", "", "quoted \" and \\ and ü");
  s.origin = *rc::gen::element<std::string>("simulated", "measured");
  const auto time = [] { return Picoseconds{gen::whole(-1'000'000'000'000, 1'000'000'000'000'000)}; };
  s.step = Picoseconds{gen::whole(0, INT64_MAX - 1)};
  Waterfall& w = s.waterfall;
  w.step = s.step;
  for (Picoseconds* part : {&w.ideal, &w.kernel_efficiency, &w.other_kernels, &w.recompute, &w.exposed_tp, &w.exposed_cp, &w.exposed_ep,
                            &w.exposed_pp, &w.exposed_dp, &w.imbalance, &w.bubble, &w.host, &w.optimizer})
    *part = time();
  for (std::int64_t i = gen::whole(0, 4); i > 0; --i) s.classes.push_back({"gemm", time(), static_cast<double>(gen::whole(0, 1000)) / 8});
  for (std::int64_t i = gen::whole(0, 4); i > 0; --i) s.operators.push_back({"linear_forward", time(), static_cast<double>(gen::whole(0, 1000)) / 7});
  for (std::int64_t i = gen::whole(0, 4); i > 0; --i) s.peak_memory_by_stage.push_back(gen::whole(0, INT64_MAX - 1));
  s.ranks_missing = gen::whole(0, 1000);
  RC_ASSERT(read_summary(write_summary(s), "s.json") == s);
}

}  // namespace
}  // namespace orrery::app
