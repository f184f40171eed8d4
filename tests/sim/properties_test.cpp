// Laws that hold for every program: folding, order inside a picosecond, lower bounds, the waterfall's identity.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <numeric>
#include <thread>

#include "sim/simulate.h"
#include "support/arbitrary_programs.h"
#include "support/timed_programs.h"

namespace orrery::sim {
namespace {

using program::Opcode;
using test::arbitrary_program;
using test::some;
using test::Timed;

Result run(const Timed& t, const Options& options = {}) { return simulate(t.program, t.cost, t.cluster, options); }

void same(const Result& a, const Result& b) {
  RC_ASSERT(a.step.v == b.step.v);
  RC_ASSERT(a.makespan.v == b.makespan.v);
  RC_ASSERT(a.steady == b.steady);
  RC_ASSERT(a.periods == b.periods);
  RC_ASSERT(a.trace_hash == b.trace_hash);
  RC_ASSERT(a.waterfall == b.waterfall);
  RC_ASSERT(a.critical_path == b.critical_path);
}

RC_GTEST_PROP(Simulation, FoldedEqualsUnfolded, ()) {
  const Timed t = arbitrary_program();
  const Result folded = run(t), unfolded = run(t, {.unfold = true});
  same(folded, unfolded);
  // Unlike nodes with shared cores are not folded.
  RC_ASSERT(folded.simulated_ranks.size() == t.program.roles.size() || t.cluster.node_size != t.program.mesh.ranks());
  RC_ASSERT(static_cast<std::int64_t>(unfolded.simulated_ranks.size()) == t.program.mesh.ranks());
  for (std::size_t i = 0; i < folded.simulated_ranks.size(); ++i) {
    const auto at = static_cast<std::size_t>(folded.simulated_ranks[i]);
    RC_ASSERT(folded.busy[i].v == unfolded.busy[at].v);
    RC_ASSERT(folded.energy[i].v == unfolded.energy[at].v);
  }
}

// Up to three slow devices: what shares a coordinate with one of them is told apart, the rest is folded, and nothing changes.
RC_GTEST_PROP(Simulation, WithSlowDevicesFoldedEqualsUnfolded, ()) {
  Timed t = arbitrary_program();
  t.cluster.shared_cores = 0;
  const std::int64_t ranks = t.program.mesh.ranks();
  for (std::int64_t i = some(1, 3); i > 0; --i) {
    const SlowDevice slow{some(0, ranks - 1), 1 + static_cast<double>(some(1, 12)) / 4};
    if (std::none_of(t.cluster.slow.begin(), t.cluster.slow.end(), [&](const SlowDevice& s) { return s.device == slow.device; }))
      t.cluster.slow.push_back(slow);
  }
  const Result folded = run(t), unfolded = run(t, {.unfold = true});
  same(folded, unfolded);
  RC_ASSERT(std::accumulate(folded.weights.begin(), folded.weights.end(), std::int64_t{0}) == ranks);
  for (std::size_t i = 0; i < folded.simulated_ranks.size(); ++i) {
    const auto at = static_cast<std::size_t>(folded.simulated_ranks[i]);
    RC_ASSERT(folded.busy[i].v == unfolded.busy[at].v);
    RC_ASSERT(folded.energy[i].v == unfolded.energy[at].v);
  }
  t.cluster.slow.clear();
  if (folded.steady) RC_ASSERT(folded.step >= run(t).step);
}

RC_GTEST_PROP(Simulation, DoesNotDependOnTheOrderInsideAPicosecond, (std::uint64_t seed)) {
  const Timed t = arbitrary_program();
  same(run(t), run(t, {.shuffle = seed | 1U}));
  same(run(t), run(t, {.unfold = true, .shuffle = seed | 1U}));
}

RC_GTEST_PROP(Simulation, GivesTheSameTraceTwice, ()) {
  const Timed t = arbitrary_program();
  const Result a = run(t, {.record = true}), b = run(t, {.record = true});
  RC_ASSERT(*a.timeline == *b.timeline);
}

RC_GTEST_PROP(Simulation, RenamingRanksChangesNothing, ()) {
  Timed t = arbitrary_program();
  t.cluster.node_size = t.program.mesh.ranks();  // which ranks share a node is not a matter of names
  const Result before = run(t);
  std::rotate(t.program.mesh.order.begin(), t.program.mesh.order.begin() + some(1, 3), t.program.mesh.order.end());
  same(before, run(t));
}

RC_GTEST_PROP(Simulation, IsNeverFasterThanAnyStreamOfAnyRank, ()) {
  const Timed t = arbitrary_program();
  const Result r = run(t);
  for (const program::Role& role : t.program.roles) {
    std::map<std::uint8_t, std::int64_t> work;
    std::int64_t issue = 0;
    for (const program::PassInstance& p : role.body)
      for (std::uint32_t i = 0; i < role.passes[p.pass].count; ++i) {
        const program::Instruction& in = role.instructions[role.passes[p.pass].first + i];
        if (in.opcode == Opcode::wait || in.opcode == Opcode::host_wait) continue;
        work[in.stream] += t.cost.entries[in.shape].duration.v;
        issue += t.cost.issue.v;
      }
    for (const auto& [stream, duration] : work) RC_ASSERT(r.makespan.v >= duration);
    RC_ASSERT(r.makespan.v >= issue);
    if (!r.steady) continue;
    for (const auto& [stream, duration] : work) RC_ASSERT(r.step.v >= duration);
    RC_ASSERT(r.step.v >= issue);
  }
}

RC_GTEST_PROP(Simulation, IsNeverFasterThanTheCoresOfTheNode, ()) {
  Timed t = arbitrary_program();
  t.cluster.shared_cores = some(1, 4);
  t.cluster.node_size = t.program.mesh.ranks();
  __int128 work = 0;  // picoseconds of a core, of all ranks
  for (const program::Role& role : t.program.roles)
    for (const program::PassInstance& p : role.body)
      for (std::uint32_t i = 0; i < role.passes[p.pass].count; ++i) {
        const program::Instruction& in = role.instructions[role.passes[p.pass].first + i];
        if (in.opcode == Opcode::wait || in.opcode == Opcode::host_wait || t.cost.entries[in.shape].core_share == 0) continue;
        work += t.cost.entries[in.shape].duration.v;
      }
  work *= t.program.mesh.ranks() / static_cast<std::int64_t>(t.program.roles.size());
  RC_ASSERT(__int128{run(t, {.max_periods = 1}).makespan.v} * t.cluster.shared_cores >= work);
}

RC_GTEST_PROP(Simulation, TheWaterfallAndTheCriticalPathAddUpToTheStep, ()) {
  const Timed t = arbitrary_program();
  const Result r = run(t);
  const auto parts = r.waterfall.parts();
  RC_ASSERT(std::accumulate(parts.begin(), parts.end(), std::int64_t{0}, [](std::int64_t sum, Picoseconds p) { return sum + p.v; }) == r.step.v);
  std::int64_t path = r.critical_path.unattributed.v;
  for (const auto& [work, time] : r.critical_path.by_class) path += time.v;
  RC_ASSERT(path == r.step.v);
}

// Each moment of the step is some span's, or nobody's; and the spans are those whose time the critical path counts.
RC_GTEST_PROP(Simulation, TheSpansOfTheCriticalPathTileTheStep, ()) {
  const Timed t = arbitrary_program();
  const Result r = run(t, {.unfold = some(0, 1) == 1, .record = true});
  const Timeline& timeline = *r.timeline;
  std::int64_t end = INT64_MIN;
  for (const Span& s : timeline.spans) end = std::max(end, s.end.v);
  std::map<WorkClass, std::int64_t> by_class;
  std::int64_t at = end - r.step.v;
  for (const std::uint32_t i : timeline.critical) {
    const Span& s = timeline.spans.at(i);
    const std::int64_t start = std::max(s.start.v, end - r.step.v);
    RC_ASSERT(start >= at && s.end.v > start);
    by_class[timeline.kinds[s.kind].work] += s.end.v - start;
    at = s.end.v;
  }
  RC_ASSERT(at <= end);  // the host may decide the very end
  std::map<WorkClass, std::int64_t> counted;
  for (const auto& [work, time] : r.critical_path.by_class) counted[work] = time.v;
  RC_ASSERT(by_class == counted);
}

RC_GTEST_PROP(Simulation, IsTheSameWithAFlagThatNobodyRaises, ()) {
  const Timed t = arbitrary_program();
  const std::atomic<bool> cancel = false;
  const Result r = run(t, {.cancel = &cancel});
  RC_ASSERT(!r.cancelled);
  same(run(t), r);
}

RC_GTEST_PROP(Simulation, IsNoResultOnceItIsCancelled, ()) {
  const Timed t = arbitrary_program();
  const std::atomic<bool> cancel = true;
  const Result r = run(t, {.record = true, .cancel = &cancel});
  RC_ASSERT(r.cancelled && !r.timeline && r.simulated_ranks.empty() && r.step.v == 0);
}

// Raised at times spread over the run, so that its parts are each given up: laying out, running, accounting, writing the timeline.
TEST(Simulation, IsTheWholeResultOrNoneWheneverItIsCancelled) {
  const Timed t = test::one_f_one_b(8, 32, test::equal_stages(8, 10, 20, 1), 16);
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  const Result whole = run(t, {.unfold = true, .record = true});
  const Clock::duration time = Clock::now() - begin;
  ASSERT_TRUE(!whole.cancelled && whole.timeline);
  constexpr int kRuns = 24;
  for (int i = 0; i < kRuns; ++i) {
    std::atomic<bool> cancel = false;
    std::thread other([&, raise = Clock::now() + time * i / kRuns] {
      while (Clock::now() < raise) std::this_thread::yield();
      cancel = true;
    });
    const Result r = run(t, {.unfold = true, .record = true, .cancel = &cancel});
    other.join();
    if (r.cancelled) {
      EXPECT_TRUE(!r.timeline && r.simulated_ranks.empty() && r.step.v == 0);
    } else {
      EXPECT_EQ(r.trace_hash, whole.trace_hash);
      EXPECT_EQ(r.waterfall, whole.waterfall);
      EXPECT_TRUE(r.timeline && *r.timeline == *whole.timeline);
    }
  }
}

// In the steady state a rank's compute stream advances by exactly one step per period, and its spans and waits tile that time without a gap.
RC_GTEST_PROP(Simulation, SpansAndWaitsTileTheComputeStream, ()) {
  const Timed t = arbitrary_program();
  const Result r = run(t, {.record = true});
  RC_PRE(r.steady);
  std::map<std::uint32_t, std::int64_t> tiled;
  for (const Span& s : r.timeline->spans) {
    RC_ASSERT(s.start.v >= 0 && s.end >= s.start && s.waited.v >= s.transfer.v && s.transfer.v >= 0);
    RC_ASSERT((s.cause == WaitCause::none) == (s.waited.v == 0));
    if (s.stream == test::kCompute && r.timeline->kinds[s.kind].name != "host_wait") tiled[s.rank] += s.end.v - s.start.v + s.waited.v;
  }
  for (const auto& [rank, time] : tiled) RC_ASSERT(time == r.step.v);
}

RC_GTEST_PROP(Simulation, NoInstructionStartsBeforeWhatItWaitsFor, ()) {
  const Timed t = arbitrary_program();
  const Result r = run(t, {.max_periods = 1, .record = true});
  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>, const Span*> at;
  for (const Span& s : r.timeline->spans) at[{s.rank, s.pass, s.instruction}] = &s;
  for (const auto& [key, span] : at) {
    const auto& [rank, pass, index] = key;
    const program::Role& role = t.program.role_of(rank);
    const program::Instruction& in = role.instructions[role.passes[role.body[pass].pass].first + index];
    for (std::uint32_t d = in.dependencies; d < in.dependencies + in.dependency_count; ++d)
      if (role.dependencies[d].kind == program::DependencyKind::local) RC_ASSERT(span->start >= at.at({rank, pass, role.dependencies[d].index})->end);
  }
}

// Two engines share nothing: a run in between changes nothing.
RC_GTEST_PROP(Simulation, IsAFunctionOfItsArguments, ()) {
  const Timed a = arbitrary_program(), b = arbitrary_program();
  const Result before = run(a);
  run(b);
  same(before, run(a));
}

}  // namespace
}  // namespace orrery::sim
