#include "program/schedules/replay.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace orrery::program {
namespace {

enum class Result : std::uint8_t { forward, input_grad, weight_grad };  // what a pass completes; a backward completes the last two

// What one split of one micro-batch has at one stage once a pass is done.
struct Place {
  Result result = Result::forward;
  std::int64_t direction = 0, microbatch = 0, split = 0, stage = 0;
  bool operator==(const Place&) const = default;
};

[[noreturn]] void refuse(const std::string& what) { throw Error("schedule", what); }

class Replayer {
 public:
  Replayer(const Schedule& schedule, const PassCosts& costs, bool steps = false)
      : s_(schedule),
        costs_(costs),
        steps_(steps),
        stages_(stages(schedule)),
        per_direction_(schedule.microbatches / schedule.directions()),
        end_(static_cast<std::size_t>(3 * stages_ * schedule.splits * per_direction_ * schedule.directions()), kNever) {}

  Replay run() {
    refuse_what_is_out_of_range();
    out_.passes.resize(s_.order.size());
    out_.busy.resize(s_.order.size());
    for (bool progress = true; progress;) {
      progress = false;
      for (std::size_t r = 0; r < s_.order.size(); ++r)
        while (next(r) != nullptr && start_next(r)) progress = true;
    }
    for (std::size_t r = 0; r < s_.order.size(); ++r)
      if (next(r) != nullptr) explain_deadlock(r);
    for (std::size_t r = 0; r < s_.order.size(); ++r) {
      const auto& times = out_.passes[r];
      out_.idle_in_makespan.push_back(out_.makespan - out_.busy[r]);
      out_.idle_in_span.push_back(times.empty() ? 0 : times.back().end - times.front().start - out_.busy[r]);
      count_activations(s_.order[r]);
    }
    return std::move(out_);
  }

  // The first result of any stage that no pass has completed.
  void refuse_what_is_missing() const {
    for (Place p; p.direction < s_.directions(); ++p.direction)
      for (p.microbatch = 0; p.microbatch < per_direction_; ++p.microbatch)
        for (p.split = 0; p.split < s_.splits; ++p.split)
          for (p.stage = 0; p.stage < stages_; ++p.stage)
            for (const Result result : {Result::forward, Result::input_grad, Result::weight_grad}) {
              p.result = result;
              if (end_[index(p)] == kNever) refuse(fmt::format("rank {} never runs the {}", rank_of(p), in_words(s_, pass_to(p))));
            }
  }

 private:
  static constexpr std::int64_t kNever = -1;

  std::size_t index(const Place& p) const {
    const std::int64_t unit = (p.direction * per_direction_ + p.microbatch) * s_.splits + p.split;
    return static_cast<std::size_t>((unit * stages_ + p.stage) * 3 + static_cast<std::int64_t>(p.result));
  }
  std::int64_t rank_of(const Place& p) const { return home(s_, p.stage, p.direction, p.microbatch).rank; }
  // A pass that would complete `p`.
  Pass pass_to(const Place& p) const {
    const PassKind kind = p.result == Result::forward      ? PassKind::forward
                          : p.result == Result::input_grad ? PassKind::backward
                                                           : PassKind::weight_grad;
    return {.kind = kind,
            .chunk = home(s_, p.stage, p.direction, p.microbatch).chunk,
            .direction = static_cast<std::uint16_t>(p.direction),
            .split = static_cast<std::uint16_t>(p.split),
            .microbatch = static_cast<std::int32_t>(p.microbatch)};
  }
  Place place(std::size_t rank, const Pass& half, Result result) const {
    return {result, half.direction, half.microbatch, half.split, stage_of(s_, static_cast<std::int64_t>(rank), half.chunk)};
  }
  const Pass* next(std::size_t rank) const {
    const std::size_t done = out_.passes[rank].size();
    return done < s_.order[rank].size() ? &s_.order[rank][done] : nullptr;
  }

  template <class Visit>
  void for_each_need(std::size_t rank, const Pass& pass, Visit visit) const {
    for_each_half(pass, [&](const Pass& half) {
      const auto at = [&](Result result, std::int64_t stages_on, std::int64_t splits_on) {
        Place p = place(rank, half, result);
        p.stage += stages_on, p.split += splits_on;
        if (p.stage >= 0 && p.stage < stages_ && p.split >= 0 && p.split < s_.splits) visit(p);
      };
      if (half.kind == PassKind::weight_grad) return at(Result::input_grad, 0, 0);
      const bool forward = half.kind == PassKind::forward;
      if (!forward) at(Result::forward, 0, 0);
      const Result result = forward ? Result::forward : Result::input_grad;
      const std::int64_t back = forward ? -1 : +1;
      at(result, back, 0);
      at(result, 0, back);
    });
  }
  template <class Visit>
  void for_each_result(std::size_t rank, const Pass& pass, Visit visit) const {
    for_each_half(pass, [&](const Pass& half) {
      const bool backward = half.kind == PassKind::backward;
      if (half.kind == PassKind::forward) visit(half, place(rank, half, Result::forward));
      if (half.kind == PassKind::input_grad || backward) visit(half, place(rank, half, Result::input_grad));
      if (half.kind == PassKind::weight_grad || backward) visit(half, place(rank, half, Result::weight_grad));
    });
  }

  void refuse_what_is_out_of_range() const {
    for (std::size_t r = 0; r < s_.order.size(); ++r)
      for (std::size_t k = 0; k < s_.order[r].size(); ++k) {
        const Pass& pass = s_.order[r][k];
        if (pass.kind > PassKind::forward_backward) refuse(fmt::format("replay has no rule for a pass of kind '{}'", name(pass.kind)));
        for_each_half(pass, [&](const Pass& half) {
          const bool known = half.microbatch >= 0 && half.microbatch < per_direction_ && half.split < s_.splits && half.chunk < s_.chunks &&
                             half.direction < s_.directions() && (s_.placement != Placement::mirrored || half.chunk == half.direction);
          if (!known) refuse(fmt::format("there is no {} for rank {} to run in its pass {}", in_words(s_, half), r, k));
          const Place p = place(r, half, Result::forward);
          if (rank_of(p) != static_cast<std::int64_t>(r))
            refuse(fmt::format("the {} of stage {} is the turn of rank {}, not of rank {}", in_words(s_, half), p.stage, rank_of(p), r));
        });
      }
  }

  // Runs the rank's next pass if all that it needs is there.
  bool start_next(std::size_t rank) {
    const Pass& pass = *next(rank);
    auto& done = out_.passes[rank];
    std::int64_t start = done.empty() ? 0 : done.back().end;
    bool ready = true;
    for_each_need(rank, pass, [&](const Place& need) {
      const std::int64_t end = end_[index(need)];
      ready = ready && end != kNever;
      start = std::max(start, end + (rank_of(need) == static_cast<std::int64_t>(rank) ? 0 : costs_.latency));
    });
    if (!ready) return false;
    const std::int64_t cost = steps_ ? 1 : costs_.of(pass.kind), end = start + cost;
    for_each_result(rank, pass, [&](const Pass& half, const Place& result) {
      std::int64_t& slot = end_[index(result)];
      if (slot != kNever) refuse(fmt::format("rank {} runs the {} twice", rank, in_words(s_, half)));
      slot = end;
    });
    done.push_back({start, end});
    out_.busy[rank] += cost;
    out_.makespan = std::max(out_.makespan, end);
    return true;
  }

  // From one blocked rank to the rank that it waits for, until one comes again.
  [[noreturn]] void explain_deadlock(std::size_t rank) const {
    std::vector<std::size_t> order;
    std::vector<std::string> links;
    while (std::find(order.begin(), order.end(), rank) == order.end()) {
      order.push_back(rank);
      const Pass& pass = *next(rank);
      std::optional<Place> lacks;
      for_each_need(rank, pass, [&](const Place& need) {
        if (!lacks && end_[index(need)] == kNever) lacks = need;
      });
      const auto other = static_cast<std::size_t>(rank_of(*lacks));
      const auto& passes = s_.order[other];
      const bool comes = std::any_of(passes.begin() + static_cast<std::ptrdiff_t>(out_.passes[other].size()), passes.end(), [&](const Pass& later) {
        bool completes = false;
        for_each_result(other, later, [&](const Pass&, const Place& result) { completes = completes || result == *lacks; });
        return completes;
      });
      const std::string waits = fmt::format("rank {} in its pass {} ({}) waits for the {} on rank {}", rank, out_.passes[rank].size(),
                                            in_words(s_, pass), in_words(s_, pass_to(*lacks)), other);
      if (!comes) refuse(waits + ", which never runs it");
      links.push_back(waits);
      rank = other;
    }
    const auto first = std::find(order.begin(), order.end(), rank) - order.begin();
    refuse(fmt::format("deadlock: {}", fmt::join(links.begin() + first, links.end(), "; ")));
  }

  void count_activations(const std::vector<Pass>& passes) {
    std::int64_t until_input = 0, until_weight = 0, peak_input = 0, peak_weight = 0;
    for (const Pass& pass : passes)
      for_each_half(pass, [&](const Pass& half) {
        if (half.kind == PassKind::forward) peak_input = std::max(peak_input, ++until_input), peak_weight = std::max(peak_weight, ++until_weight);
        if (half.kind == PassKind::backward || half.kind == PassKind::input_grad) --until_input;
        if (half.kind == PassKind::backward || half.kind == PassKind::weight_grad) --until_weight;
      });
    out_.peak_until_input_grad.push_back(peak_input);
    out_.peak_until_weight_grad.push_back(peak_weight);
  }

  const Schedule& s_;
  const PassCosts& costs_;
  bool steps_;  // every pass takes 1
  std::int64_t stages_, per_direction_;
  std::vector<std::int64_t> end_;  // when each result was ready
  Replay out_;
};

}  // namespace

std::string in_words(const Schedule& schedule, const Pass& pass) {
  if (pass.kind == PassKind::forward_backward)
    return fmt::format("{} with the {}", in_words(schedule, forward_half(pass)), in_words(schedule, backward_half(pass)));
  std::string kind{name(pass.kind)};
  std::replace(kind.begin(), kind.end(), '_', ' ');
  std::string text = fmt::format("{} of micro-batch {}", kind, pass.microbatch);
  if (schedule.splits > 1) text += fmt::format(", split {}", pass.split);
  if (schedule.placement == Placement::mirrored) return text + fmt::format(" (direction {})", pass.direction);
  return schedule.chunks > 1 ? text + fmt::format(" (chunk {})", pass.chunk) : text;
}

Replay replay(const Schedule& schedule, const PassCosts& costs) { return Replayer(schedule, costs).run(); }

std::vector<std::vector<std::int64_t>> step_grid(const Schedule& schedule) {
  const PassCosts no_latency;
  std::vector<std::vector<std::int64_t>> out;
  for (const auto& rank : Replayer(schedule, no_latency, true).run().passes) {
    std::vector<std::int64_t>& steps = out.emplace_back();
    for (const PassTimes& t : rank) steps.push_back(t.start);
  }
  return out;
}

void check(const Schedule& schedule, std::optional<std::int64_t> memory_limit) {
  const PassCosts unit;
  Replayer replayer(schedule, unit);
  const Replay done = replayer.run();
  replayer.refuse_what_is_missing();
  if (!memory_limit) return;
  for (std::size_t r = 0; r < done.peak_until_weight_grad.size(); ++r)
    if (done.peak_until_weight_grad[r] > *memory_limit)
      refuse(fmt::format("rank {} holds {} activations at once, more than {}", r, done.peak_until_weight_grad[r], *memory_limit));
}

}  // namespace orrery::program
