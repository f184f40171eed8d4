// Arbitrary programs for property tests of the engine.
#pragma once

#include <rapidcheck.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "support/timed_programs.h"

namespace orrery::test {

inline std::int64_t some(std::int64_t low, std::int64_t high) { return *rc::gen::inRange<std::int64_t>(low, high + 1); }
inline bool coin() { return some(0, 1) == 1; }

// A pipeline with arbitrary passes: computation on two streams, collectives of every axis, events across passes, launches of all kinds, transfers in
// 1F1B or GPipe order, cores that are shared or not. Free of deadlock, since transfers follow a schedule that is.
inline Timed arbitrary_program() {
  const int stages = static_cast<int>(some(1, 4)), microbatches = static_cast<int>(some(1, 5));
  const std::int64_t tp = some(1, 2), dp = some(1, 3);
  const bool shared = coin();
  const auto core = [&] { return shared && some(0, 3) > 0 ? 1.0 : 0.0; };
  const auto memory = [&] { return static_cast<double>(some(0, 4)) / 4; };
  Timed t{{tp, 1, dp, stages}};
  if (coin())
    t.program.mesh.order = {program::Axis::pp, program::Axis::dp_inner, program::Axis::dp_outer,
                            program::Axis::tp, program::Axis::cp_inner, program::Axis::cp_outer};
  if (shared) {
    t.cluster.shared_cores = some(1, 4);
    t.cluster.node_size = coin() ? t.program.mesh.ranks() : tp * dp;
  }
  if (coin()) t.program.launch = program::Launch::inline_host;
  t.cost.issue = Picoseconds{some(0, 1) * some(0, 20)};
  const auto group_tp = t.group(program::mask(program::Axis::tp), WorkClass::tp_comm), group_dp = t.group(program::kDpAxes, WorkClass::dp_comm),
             group_all =
                 t.group(static_cast<program::AxisMask>(program::mask(program::Axis::pp) | program::mask(program::Axis::tp)), WorkClass::pp_comm);
  const bool synchronise = coin();
  const bool gpipe = coin();
  for (std::size_t s = 0; s < static_cast<std::size_t>(stages); ++s) {
    const auto stored = t.event(s, true), crossing = t.event(s, false);
    const auto work = [&](std::vector<program::Dependency> on, std::uint16_t signal) {
      const Cost cost{.duration = some(0, 60),
                      .core = core(),
                      .memory = memory(),
                      .op = coin() ? program::Operator::linear_forward : program::Operator::norm_forward};
      t.add(s, program::Opcode::compute, coin() ? kCompute : kSide, std::move(on), cost, signal);
    };
    const auto some_work = [&](std::optional<program::Dependency> on, std::uint16_t signal) {
      const std::int64_t n = some(1, 3);
      for (std::int64_t i = 0; i < n; ++i) {
        std::vector<program::Dependency> all;
        if (on) all.push_back(*on);
        const std::uint32_t count = t.program.roles[s].passes.back().count;
        if (count > 0 && coin()) all.push_back(after(static_cast<std::uint16_t>(some(0, count - 1))));
        if (coin()) all.push_back(on_stream(kSide));
        const std::int64_t what = some(0, 5);
        if (what == 0)
          t.collective(s, group_tp, kSide, some(0, 30), all, program::kNone, core());
        else if (what == 1)
          t.wait(s, all);
        else if (what == 2 && coin())
          t.host_wait(s, all);
        else
          work(all, program::kNone);
      }
      work(on ? std::vector{*on} : std::vector<program::Dependency>{}, signal);
    };
    const auto make_pass = [&](bool forward) {
      const bool receives = forward ? s > 0 : s + 1 < static_cast<std::size_t>(stages);
      const bool sends = forward ? s + 1 < static_cast<std::size_t>(stages) : s > 0;
      const auto pass = t.pass(s, forward ? program::PassKind::forward : program::PassKind::backward);
      std::optional<program::Dependency> on;
      if (receives) {
        t.transfer(s, false, forward ? -1 : 1, forward ? 0 : 1, forward ? kRecvForward : kRecvBackward, some(0, 20), {}, program::kNone, core());
        on = after(0);
      } else if (!forward) {
        on = on_event(stored);
      } else if (coin()) {
        on = on_event(crossing);
      }
      some_work(on, forward ? stored : program::kNone);
      const auto last = static_cast<std::uint16_t>(t.program.roles[s].passes.back().count - 1);
      if (sends) t.transfer(s, true, forward ? 1 : -1, forward ? 0 : 1, forward ? kSendForward : kSendBackward, some(0, 20), {after(last)});
      return pass;
    };
    const auto forward = make_pass(true), backward = make_pass(false);
    const auto end = t.pass(s, program::PassKind::optimizer);
    t.collective(s, group_dp, kSide, some(0, 100), {on_stream(kCompute)}, program::kNone, core());
    t.wait(s, {after(0)});
    if (synchronise) {
      t.collective(s, group_all, kSide, some(0, 10), {on_stream(kCompute)}, program::kNone, core());
      t.wait(s, {on_stream(kSide)});
    }
    work({}, crossing);
    std::vector<program::PassInstance> body;
    for (const OrderedPass& p : gpipe ? gpipe_order(microbatches) : one_f_one_b_order(stages, static_cast<int>(s), microbatches))
      body.push_back({.pass = p.forward ? forward : backward, .microbatch = p.microbatch});
    body.push_back({.pass = end, .microbatch = 0});
    t.body(s, body);
  }
  return t;
}

}  // namespace orrery::test
