// What memory holds over the step: the categories are the curve, and the peak is the report's.
#include "app/memory_story.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <set>
#include <string>

#include "app/inputs.h"
#include "app/simulate.h"
#include "core/error.h"

namespace orrery::app {
namespace {

PlanFlags small() {
  PlanFlags flags;
  flags.model = "cpu-llama-tiny", flags.cluster = "dgx-h100:8";
  flags.tp = 2, flags.pp = 2;
  flags.global_batch = 16, flags.micro_batch = 1, flags.sequence = 128;
  return flags;
}

struct Case {
  Inputs inputs;
  program::Program program;
  SimulateReport report;
  explicit Case(const PlanFlags& flags) : inputs(load_inputs(flags)), program(compile(inputs)) {
    SimulateOptions options;
    options.timeline = true;
    report = simulate(inputs, options);
  }
  MemoryStory story(std::int64_t rank) const { return memory_story(program, *report.timeline, report.capacity, rank); }
  std::vector<std::int64_t> recorded() const {
    std::vector<std::int64_t> out;
    for (std::size_t r = 0; r < report.timeline->ranks.size(); ++r)
      if (!report.timeline->ranks[r].empty()) out.push_back(static_cast<std::int64_t>(r));
    return out;
  }
};

void expect_consistent(const Case& c) {
  for (const std::int64_t rank : c.recorded()) {
    const MemoryStory story = c.story(rank);
    std::vector<MemorySample> curve;
    for (const MemorySample& s : c.report.timeline->memory)
      if (s.rank == rank) curve.push_back(s);
    ASSERT_EQ(story.samples.size(), curve.size());
    std::int64_t most = 0;
    for (std::size_t i = 0; i < curve.size(); ++i) {
      ASSERT_EQ(story.samples[i].total(), curve[i].bytes) << "sample " << i << " of rank " << rank;
      ASSERT_EQ(story.samples[i].time, curve[i].time);
      most = std::max(most, curve[i].bytes);
    }
    EXPECT_EQ(story.samples[story.peak].total(), c.report.memory[story.stage].peak);
    EXPECT_EQ(most, c.report.memory[story.stage].peak);
    // Buffer by buffer the same as by category, here and there.
    for (const std::size_t sample : {std::size_t{0}, story.peak, curve.size() / 3, curve.size() - 1}) {
      std::array<std::int64_t, kMemoryCategories> by_category{};
      for (const Holding& h : holdings(story, sample)) by_category[static_cast<std::size_t>(h.category)] += h.bytes;
      EXPECT_EQ(by_category, story.samples[sample].bytes);
    }
    const std::vector<Holding> held = holdings(story, story.peak);
    ASSERT_GE(held.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(held[i].bytes, c.report.memory[story.stage].largest[i].bytes);
  }
}

TEST(MemoryStory, AddsUpToTheCurveAtEverySampleAndPeaksWhereTheReportDoes) { expect_consistent(Case{small()}); }

TEST(MemoryStory, HoldsForMixturesShardedParametersAndSplitBackwards) {
  PlanFlags experts = small();
  experts.model = "cpu-mixtral-tiny", experts.ep = 2;
  expect_consistent(Case{experts});
  PlanFlags sharded = small();
  sharded.zero = 3;
  expect_consistent(Case{sharded});
  PlanFlags split = small();
  split.schedule = "zb-h1";
  expect_consistent(Case{split});
}

TEST(MemoryStory, BeginsAnAsynchronousStepWithWhatThePrologueLeft) {
  PlanFlags flags;
  flags.plan = (std::filesystem::path(ORRERY_SOURCE_DIR) / "examples" / "plans" / "llama-2-7b-pipedream-2bw.json").string();
  const Case c{flags};
  expect_consistent(c);
  // The first stage is one micro-batch ahead of what it has finished, at least: it holds activations when the step begins.
  const MemoryStory story = c.story(0);
  EXPECT_GT(story.samples[0].bytes[static_cast<std::size_t>(MemoryCategory::activations)], 0);
  EXPECT_GT(story.samples[0].total(), c.report.memory[0].persistent);
}

TEST(MemoryStory, FindsTheSampleThatHoldsAtATime) {
  MemoryStory story;
  const auto sample = [&](std::int64_t time, std::int64_t bytes) {
    MemoryStory::Sample s;
    s.time = Picoseconds{time};
    s.bytes[0] = bytes;
    story.samples.push_back(s);
  };
  sample(0, 10), sample(5, 30), sample(5, 20), sample(9, 5);
  EXPECT_EQ(story.at(Picoseconds{-1}), 0U);
  EXPECT_EQ(story.at(Picoseconds{4}), 0U);
  EXPECT_EQ(story.at(Picoseconds{5}), 1U);  // of the two at 5 the larger: a click on a peak finds it
  EXPECT_EQ(story.at(Picoseconds{6}), 2U);  // after 5 the last one holds
  EXPECT_EQ(story.at(Picoseconds{100}), 3U);
}

TEST(MemoryStory, SaysWhichInstructionMadeThePeak) {
  const Case c{small()};
  const MemoryStory story = c.story(0);
  EXPECT_EQ(occasion(c.program, story, 0), "the beginning of the step");
  const std::string at_peak = occasion(c.program, story, story.peak);
  EXPECT_NE(at_peak.find("micro-batch"), std::string::npos) << at_peak;
}

// 16 sequences of two data-parallel ranks in micro-batches of one: 8 micro-batches, each in two halves.
TEST(MemoryStory, CountsMicroBatchesAsWholeSequences) {
  PlanFlags flags = small();
  flags.schedule = "seq1f1b";
  flags.settings = {"schedule_args.splits=2"};
  const Case c{flags};
  ASSERT_EQ(c.program.splits, 2);
  const MemoryStory story = c.story(0);
  std::set<std::string> said;
  for (std::size_t s = 1; s < story.samples.size(); ++s) said.insert(occasion(c.program, story, s));
  const auto says = [&](const std::string& text) {
    return std::any_of(said.begin(), said.end(), [&](const std::string& s) { return s.find(text) != std::string::npos; });
  };
  EXPECT_TRUE(says("split 1 of micro-batch 7"));
  EXPECT_FALSE(says("split 1 of micro-batch 7, split 1"));
  EXPECT_FALSE(says("micro-batch 8"));
}

TEST(MemoryStory, RefusesRanksThatWereNotRecordedAndTimelinesOfOtherPlans) {
  const Case c{small()};
  EXPECT_THROW(c.story(99), Error);
  EXPECT_THROW(c.story(1), Error);  // folded: rank 0 stands for it
  PlanFlags other = small();
  other.micro_batch = 2;
  const Case d{other};
  EXPECT_THROW(memory_story(d.program, *c.report.timeline, c.report.capacity, 0), Error);
}

}  // namespace
}  // namespace orrery::app
