#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>

#include "program/schedules/emit.h"
#include "program/schedules/replay.h"
#include "program/schedules/schedules.h"

namespace orrery::program {
namespace {

// What the list scheduler does where more than one thing is right.
struct Rules {
  bool input_first = true;  // I before F where both could start
  bool patient = true;      // a rank waits rather than start a W that would end after its next F or I has arrived
  bool tapered = true;      // rank r runs at most 2(p − r) − 1 F ahead of its I, as ZB-H2 does, and not as many as memory allows
};

class ListScheduler {
 public:
  ListScheduler(const ScheduleInput& input, const PassCosts& costs, std::int64_t limit, Rules rules)
      : m_(input.microbatches),
        costs_(costs),
        limit_(limit),
        rules_(rules),
        out_(empty_schedule(input)),
        ranks_(static_cast<std::size_t>(input.ranks)) {}

  Schedule run() {
    for (std::size_t r = 0; r < ranks_.size(); ++r) events_.push({0, r});
    while (!events_.empty()) {
      const auto [now, r] = events_.top();
      events_.pop();
      if (now >= ranks_[r].free) decide(now, r);
    }
    return std::move(out_);
  }

 private:
  static constexpr std::int64_t kUnknown = std::numeric_limits<std::int64_t>::max();
  struct Rank {
    std::int64_t free = 0, inputs = 0, weights = 0, forwards = 0;
    std::vector<std::int64_t> forward_end, input_end;
  };

  std::int64_t arrival(const std::vector<std::int64_t>& ends, std::int64_t microbatch) const {
    return microbatch < static_cast<std::int64_t>(ends.size()) ? ends[static_cast<std::size_t>(microbatch)] + costs_.latency : kUnknown;
  }
  std::int64_t forward_ready(std::size_t r) const {
    const Rank& me = ranks_[r];
    const auto ahead = 2 * static_cast<std::int64_t>(ranks_.size() - r) - 1;
    if (me.forwards == m_ || me.forwards - me.weights == limit_ || (rules_.tapered && me.forwards - me.inputs == ahead)) return kUnknown;
    return r == 0 ? 0 : arrival(ranks_[r - 1].forward_end, me.forwards);
  }
  std::int64_t input_ready(std::size_t r) const {
    const Rank& me = ranks_[r];
    if (me.inputs == me.forwards) return kUnknown;
    return r + 1 == ranks_.size() ? 0 : arrival(ranks_[r + 1].input_end, me.inputs);
  }

  void decide(std::int64_t now, std::size_t r) {
    Rank& me = ranks_[r];
    const std::int64_t forward_at = forward_ready(r), input_at = input_ready(r), next = std::min(forward_at, input_at);
    const bool can_forward = forward_at <= now, can_input = input_at <= now;
    if (can_input && (rules_.input_first || !can_forward)) {
      start(now, r, input_grad(me.inputs++), me.input_end);
      if (r > 0) events_.push({me.free + costs_.latency, r - 1});
    } else if (can_forward) {
      start(now, r, forward(me.forwards++), me.forward_end);
      if (r + 1 < ranks_.size()) events_.push({me.free + costs_.latency, r + 1});
    } else if (me.weights < me.inputs && (!rules_.patient || next == kUnknown || next - now >= costs_.weight_grad)) {
      std::vector<std::int64_t> nobody_waits;
      start(now, r, weight_grad(me.weights++), nobody_waits);
    } else if (next != kUnknown) {
      events_.push({next, r});
    }
  }

  void start(std::int64_t now, std::size_t r, const Pass& pass, std::vector<std::int64_t>& ends) {
    ranks_[r].free = now + costs_.of(pass.kind);
    ends.push_back(ranks_[r].free);
    out_.order[r].push_back(pass);
    events_.push({ranks_[r].free, r});
  }

  std::int64_t m_;
  const PassCosts& costs_;
  std::int64_t limit_;
  Rules rules_;
  Schedule out_;
  std::vector<Rank> ranks_;
  using Event = std::pair<std::int64_t, std::size_t>;  // when a rank may have something to do, and which
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
};

}  // namespace

Schedule zb_auto(const ScheduleInput& input) {
  const PassCosts costs = input.costs.value_or(PassCosts{});
  const std::int64_t limit = input.memory_limit.value_or(2 * input.ranks);
  Schedule best;
  std::pair<std::int64_t, std::int64_t> least{std::numeric_limits<std::int64_t>::max(), 0};
  const auto consider = [&](Schedule candidate) {
    const Replay r = replay(candidate, costs);
    const auto largest = [](const std::vector<std::int64_t>& v) { return *std::max_element(v.begin(), v.end()); };
    const std::pair idle{largest(r.idle_in_span), r.makespan};
    if (largest(r.peak_until_weight_grad) > limit || idle >= least) return;
    least = idle;
    best = std::move(candidate);
  };
  for (const bool input_first : {true, false})
    for (const bool patient : {true, false})
      for (const bool tapered : {true, false}) consider(ListScheduler(input, costs, limit, {input_first, patient, tapered}).run());
  consider(zb_h1(input));
  consider(zb_h2(input));
  return best;
}

}  // namespace orrery::program
