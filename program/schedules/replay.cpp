#include "program/schedules/replay.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace orrery::program {
namespace {

enum class Part : std::uint8_t { forward, input_grad, weight_grad };  // what a pass completes; a backward completes the last two

std::string in_words(const Pass& pass) {
  std::string text = fmt::format("{} of micro-batch {}", name(pass.kind), pass.microbatch);
  if (pass.chunk) text += fmt::format(" of chunk {}", pass.chunk);
  return text;
}

// When each of a stage's three results for each micro-batch was ready; -1: not yet.
class Results {
 public:
  Results(std::int64_t stages, std::int64_t microbatches)
      : microbatches_(microbatches), end_(static_cast<std::size_t>(3 * stages * microbatches), std::int64_t{-1}) {}
  std::int64_t& at(Part part, std::int64_t stage, std::int64_t microbatch) {
    return end_[static_cast<std::size_t>((stage * microbatches_ + microbatch) * 3 + static_cast<std::int64_t>(part))];
  }

 private:
  std::int64_t microbatches_;
  std::vector<std::int64_t> end_;
};

}  // namespace

Replay replay(const PassOrder& order, const PassCosts& costs) {
  const auto ranks = static_cast<std::int64_t>(order.size());
  std::int64_t chunks = 1, microbatches = 1;
  for (const auto& passes : order)
    for (const Pass& pass : passes) {
      if (pass.kind > PassKind::weight_grad || pass.direction || pass.split || pass.microbatch < 0)
        throw Error("schedule", "replay has no rule for a " + in_words(pass));
      chunks = std::max<std::int64_t>(chunks, pass.chunk + 1);
      microbatches = std::max<std::int64_t>(microbatches, pass.microbatch + 1);
    }
  const std::int64_t stages = chunks * ranks;
  Results results(stages, microbatches);

  // The result that a pass on `rank` still lacks, as (role, stage), or when all that it needs is there.
  struct Need {
    bool missing = false;
    Part part = Part::forward;
    std::int64_t stage = 0, time = 0;
  };
  const auto needs = [&](const Pass& pass, std::int64_t rank) {
    const std::int64_t stage = pass.chunk * ranks + rank;
    Need need;
    const auto require = [&](Part part, std::int64_t from) {
      const std::int64_t end = results.at(part, from, pass.microbatch);
      if (need.missing) return;
      if (end < 0)
        need = {true, part, from, 0};
      else
        need.time = std::max(need.time, end + (from % ranks == rank ? 0 : costs.latency));
    };
    switch (pass.kind) {
      case PassKind::forward:
        if (stage > 0) require(Part::forward, stage - 1);
        break;
      case PassKind::weight_grad:
        require(Part::input_grad, stage);
        break;
      default:
        require(Part::forward, stage);
        if (stage < stages - 1) require(Part::input_grad, stage + 1);
    }
    return need;
  };

  Replay out;
  out.passes.resize(order.size());
  out.busy.resize(order.size());
  std::vector<std::int64_t> clock(order.size(), 0);
  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t r = 0; r < order.size(); ++r) {
      auto& done = out.passes[r];
      while (done.size() < order[r].size()) {
        const Pass& pass = order[r][done.size()];
        const Need need = needs(pass, static_cast<std::int64_t>(r));
        if (need.missing) break;
        const bool forward = pass.kind == PassKind::forward, input = pass.kind != PassKind::weight_grad, weight = pass.kind != PassKind::input_grad;
        const std::int64_t cost = forward ? costs.forward : (input ? costs.input_grad : 0) + (weight ? costs.weight_grad : 0);
        const std::int64_t start = std::max(clock[r], need.time), end = start + cost;
        const std::int64_t stage = pass.chunk * ranks + static_cast<std::int64_t>(r);
        const auto complete = [&](Part part) {
          std::int64_t& slot = results.at(part, stage, pass.microbatch);
          if (slot >= 0) throw Error("schedule", fmt::format("rank {} runs the {} twice", r, in_words(pass)));
          slot = end;
        };
        if (forward) {
          complete(Part::forward);
        } else {
          if (input) complete(Part::input_grad);
          if (weight) complete(Part::weight_grad);
        }
        done.push_back({start, end});
        clock[r] = end;
        out.busy[r] += cost;
        out.makespan = std::max(out.makespan, end);
        progress = true;
      }
    }
  }
  for (std::size_t r = 0; r < order.size(); ++r) {
    const std::size_t next = out.passes[r].size();
    if (next == order[r].size()) continue;
    const Pass& pass = order[r][next];
    const Need need = needs(pass, static_cast<std::int64_t>(r));
    throw Error("schedule", fmt::format("deadlock: rank {} waits in its pass {} ({}) for the {} of stage {} on rank {}", r, next, in_words(pass),
                                        need.part == Part::forward ? "forward" : "backward", need.stage, need.stage % ranks));
  }
  for (std::size_t r = 0; r < order.size(); ++r) {
    out.idle_in_makespan.push_back(out.makespan - out.busy[r]);
    out.idle_in_span.push_back(order[r].empty() ? 0 : out.passes[r].back().end - out.passes[r].front().start - out.busy[r]);
    std::int64_t live = 0, peak = 0;
    for (const Pass& pass : order[r]) {
      if (pass.kind == PassKind::forward) peak = std::max(peak, ++live);
      if (pass.kind == PassKind::backward || pass.kind == PassKind::weight_grad) --live;
    }
    out.peak_activations.push_back(peak);
  }
  return out;
}

}  // namespace orrery::program
