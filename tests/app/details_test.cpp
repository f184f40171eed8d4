// What a shell is told of links, memory and power is what the parts say: the report's own figures, and each other's.
#include "app/details.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace orrery::app {
namespace {

Explored explored(std::vector<std::string> settings = {}) {
  PlanFlags flags;
  flags.model = "cpu-llama-tiny", flags.cluster = "dgx-h100:16";
  flags.tp = 2, flags.pp = 4, flags.global_batch = 16, flags.micro_batch = 1, flags.sequence = 128;
  flags.settings = std::move(settings);
  SimulateOptions options;
  options.timeline = true;
  return *explore(load_inputs(flags), options);
}

TEST(Details, AreTheReportsFigures) {
  const Explored e = explored();
  const Details d = details(e);
  ASSERT_EQ(d.memory.size(), 4U);
  for (std::size_t s = 0; s < 4; ++s) {
    EXPECT_EQ(d.memory[s].stage, s);
    EXPECT_EQ(d.memory[s].total(), e.report.memory[s].peak);
    EXPECT_EQ(d.memory[s].holdings.front().name, e.report.memory[s].largest.front().name);
    EXPECT_EQ(std::accumulate(d.memory[s].holdings.begin(), d.memory[s].holdings.end(), std::int64_t{0},
                              [](std::int64_t sum, const Holding& h) { return sum + h.bytes; }),
              d.memory[s].total());
  }
  EXPECT_NEAR(d.power.total().v, e.report.energy.v, 1e-9 * e.report.energy.v);
  ASSERT_FALSE(d.links.empty());
  for (std::size_t i = 0; i < d.links.size(); ++i) {
    const LoadedLink& l = d.links[i];
    EXPECT_GT(l.link.load, 0);
    EXPECT_LE(l.link.load, d.links[i > 0 ? i - 1 : 0].link.load);
    // What is said to load it adds up to what it carries.
    double sent = 0;
    for (const LinkUse& use : l.uses) sent += use.sent;
    EXPECT_NEAR(sent, sum(l.link.sent), 1e-6 * (1 + sent));
    EXPECT_NEAR(l.link.load, std::max(sum(l.link.sent), sum(l.link.received)) / (l.bandwidth.v * e.report.step_time.v), 1e-9);
  }
}

TEST(Moment, IsWhatRunsAndWhatMemoryHoldsThen) {
  const Explored e = explored();
  const Timeline& t = *e.report.timeline;
  const PowerStory power = details(e).power;
  for (std::int64_t i = 0; i <= 20; ++i) {
    const Picoseconds now{t.step.v * i / 20};
    const Moment m = moment(e, now, 5);
    EXPECT_EQ(m.power, power.all.at(now == t.step ? Picoseconds{0} : now));  // its end is the next one's beginning
    const std::int64_t stage = static_cast<std::int64_t>(e.program.stage_of(5));
    EXPECT_EQ(static_cast<std::int64_t>(m.memory.stage), stage) << "rank 5 was not recorded: one like it is looked at";
    EXPECT_LE(m.memory.time, now);
    for (const SpanStory& s : m.spans) {
      EXPECT_LE(s.start, now + t.step);
      EXPECT_GT(s.end, now);
      EXPECT_EQ(s.rank, m.memory.label);
    }
  }
  // At the start of a span it is there.
  const auto first = std::find_if(t.spans.begin(), t.spans.end(), [](const Span& s) { return s.end > s.start; });
  const Moment m = moment(e, first->start, first->rank);
  EXPECT_TRUE(std::any_of(m.spans.begin(), m.spans.end(), [&](const SpanStory& s) { return s.start == first->start && s.end == first->end; }));
}

TEST(Moment, OfTheFullestStageUnlessAnotherRankIsWanted) {
  const Explored e = explored();
  EXPECT_EQ(static_cast<std::int64_t>(moment(e, Picoseconds{0}).memory.stage), e.report.fullest_stage);
}

TEST(Moment, BesideAStragglerLooksAtARankThatWaitsAsTheWantedOneDoes) {
  // Two replicas of tp 2, pp 4: device 2 is slow, 3 shares its group of tp and waits for it, 6 is of the other replica.
  const Explored e = explored({R"(cluster.slow=[{"device": 2, "factor": 1.5}])"});
  EXPECT_EQ(moment(e, Picoseconds{0}, 2).memory.rank, 2);
  EXPECT_EQ(moment(e, Picoseconds{0}, 3).asked_rank, 3);
  EXPECT_NE(moment(e, Picoseconds{0}, 3).memory.rank, 2);
}

TEST(Moment, RefusesTimesAndRanksThatThereAreNot) {
  const Explored e = explored();
  const auto told = [&](Picoseconds time, std::optional<std::int64_t> rank) -> std::string {
    try {
      moment(e, time, rank);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(told(Picoseconds{2 * e.report.timeline->step.v}, {}).find("--at: the step has no "), 0U);
  EXPECT_EQ(told({}, 16), "--rank: there is no rank 16\n  hint: the plan has ranks 0 to 15");
}

}  // namespace
}  // namespace orrery::app
