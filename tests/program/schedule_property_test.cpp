// Laws of every schedule, on random inputs that it accepts.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/error.h"
#include "program/schedules/replay.h"
#include "tests/program/any_schedule.h"
#include "tests/program/schedule_graph.h"

namespace orrery::program {
namespace {

using testing::any_schedule;

PassCosts any_costs() {
  const auto upto = [](std::int64_t least, std::int64_t most) { return *rc::gen::inRange<std::int64_t>(least, most + 1); };
  PassCosts c{.forward = upto(1, 50), .input_grad = upto(1, 50), .weight_grad = upto(0, 50), .latency = upto(0, 30)};
  if (upto(0, 1) == 1) c.forward_backward = upto(1, c.forward + c.backward());
  return c;
}

RC_GTEST_PROP(ScheduleProperty, EveryScheduleIsCompleteAndFreeOfDeadlock, ()) {
  const Schedule s = any_schedule();
  RC_ASSERT(s.order.size() == static_cast<std::size_t>(s.ranks));
  check(s);  // throws otherwise
}

// The replay and the longest paths through an explicit graph share only the rules.
RC_GTEST_PROP(ScheduleProperty, ReplayEqualsTheLongestPaths, ()) {
  const Schedule s = any_schedule();
  const PassCosts c = any_costs();
  const Replay got = replay(s, c);
  const auto graph = testing::longest_paths(s, c);
  RC_ASSERT(graph.acyclic);
  RC_ASSERT(got.makespan == graph.makespan);
  RC_ASSERT(got.passes == graph.passes);
}

RC_GTEST_PROP(ScheduleProperty, NoScheduleBeatsItsCriticalPathOrItsBusyTime, ()) {
  const Schedule s = any_schedule();
  PassCosts c = any_costs();
  c.forward_backward.reset();
  const Replay got = replay(s, c);
  const std::int64_t whole = c.forward + c.backward(), last = stages(s);
  RC_ASSERT(got.makespan >= last * whole - (last - 1) * c.weight_grad);  // one micro-batch there and back, where W may wait
  for (std::size_t r = 0; r < got.busy.size(); ++r) {
    RC_ASSERT(got.idle_in_makespan[r] >= got.idle_in_span[r]);
    RC_ASSERT(got.idle_in_span[r] >= 0);
    RC_ASSERT(got.peak_until_input_grad[r] <= got.peak_until_weight_grad[r]);
  }
}

// Dropping any pass of any schedule is found, and so is swapping a pass with one that it waits for on its own rank.
RC_GTEST_PROP(ScheduleProperty, ADroppedPassIsAlwaysFound, ()) {
  Schedule s = any_schedule();
  auto& passes = s.order[*rc::gen::inRange<std::size_t>(0, s.order.size())];
  RC_PRE(!passes.empty());
  passes.erase(passes.begin() + *rc::gen::inRange<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(passes.size())));
  RC_ASSERT_THROWS_AS(check(s), Error);
}

RC_GTEST_PROP(ScheduleProperty, ABackwardBeforeItsForwardIsAlwaysFound, ()) {
  Schedule s = any_schedule();
  auto& passes = s.order[*rc::gen::inRange<std::size_t>(0, s.order.size())];
  RC_PRE(!passes.empty());
  std::reverse(passes.begin(), passes.end());
  RC_ASSERT_THROWS_AS(check(s), Error);
}

// Where the checker finds a deadlock, the graph has a cycle, and the other way round: random swaps of neighbours.
RC_GTEST_PROP(ScheduleProperty, ADeadlockIsACycleOfTheGraph, ()) {
  Schedule s = any_schedule();
  const auto swaps = *rc::gen::inRange(1, 8);
  for (int k = 0; k < swaps; ++k) {
    auto& passes = s.order[*rc::gen::inRange<std::size_t>(0, s.order.size())];
    if (passes.size() < 2) continue;
    const auto at = *rc::gen::inRange<std::size_t>(0, passes.size() - 1);
    std::swap(passes[at], passes[at + 1]);
  }
  bool deadlock = false;
  try {
    check(s);
  } catch (const Error& e) {
    deadlock = true;
    RC_ASSERT(e.message().starts_with("deadlock: rank "));
  }
  RC_ASSERT(deadlock == !testing::longest_paths(s, {}).acyclic);
}

}  // namespace
}  // namespace orrery::program
