#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "core/error.h"
#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {
namespace {

// One cell of time is one pass of a half-stage: F = I = W = 1. A block is the six passes of one micro-batch on every rank; the next micro-batch's
// come six cells later, so each rank's six fall on different cells modulo 6.
constexpr std::int64_t kPeriod = 6;
struct Slot {
  PassKind kind;
  std::int64_t chunk;
};
constexpr std::array<Slot, 6> kSlots{{{PassKind::forward, 0},
                                      {PassKind::forward, 1},
                                      {PassKind::input_grad, 1},
                                      {PassKind::input_grad, 0},
                                      {PassKind::weight_grad, 1},
                                      {PassKind::weight_grad, 0}}};
using Block = std::vector<std::array<std::int64_t, 6>>;  // by rank and slot: the cell of micro-batch 0

// The first cell after `cell` that is `residue` modulo the period.
std::int64_t next_cell(std::int64_t cell, std::int64_t residue) { return cell + 1 + ((residue - cell - 1) % kPeriod + kPeriod) % kPeriod; }

// What shapes a block. Down the vee (F of chunk 0, I of chunk 1) each of the first `steep_ranks` hops takes `steep` cells and each later one `flat`;
// up the vee (F of chunk 1, I of chunk 0) one. Rank 0 runs its four on cells 0 and `residues`, modulo the period.
struct Shape {
  std::array<std::int64_t, 3> residues{};
  std::int64_t steep = 1, flat = 1, steep_ranks = 0;
};

// The block of that shape, with each weight gradient on the first free cell after its input gradient; none where two passes of a rank would collide.
std::optional<Block> make_block(std::int64_t ranks, const Shape& shape) {
  const std::int64_t last = ranks - 1;
  const auto down = [&](std::int64_t r) {
    return std::min(r, shape.steep_ranks) * shape.steep + std::max<std::int64_t>(0, r - shape.steep_ranks) * shape.flat;
  };
  const std::int64_t turn = next_cell(down(last), shape.residues[0] - last);
  const std::int64_t back = next_cell(turn + last, shape.residues[1]);
  const std::int64_t end = next_cell(back + down(last), shape.residues[2] - last);
  Block block;
  for (std::int64_t r = 0; r < ranks; ++r) {
    std::array<std::int64_t, 6> at{down(r), turn + last - r, back + down(r), end + last - r, 0, 0};
    std::array<bool, kPeriod> taken{};
    for (std::size_t s = 0; s < 4; ++s) {
      bool& cell = taken[static_cast<std::size_t>(at[s] % kPeriod)];
      if (cell) return std::nullopt;
      cell = true;
    }
    for (std::size_t s = 4; s < 6; ++s) {
      at[s] = at[s - 2] + 1;
      while (taken[static_cast<std::size_t>(at[s] % kPeriod)]) ++at[s];
      taken[static_cast<std::size_t>(at[s] % kPeriod)] = true;
    }
    block.push_back(at);
  }
  return block;
}

// Most activations that a rank holds while the block repeats.
std::int64_t peak(const Block& block) {
  std::int64_t most = 0;
  for (const auto& at : block)
    for (const std::int64_t t : {at[0] + 64 * kPeriod, at[1] + 64 * kPeriod}) {
      const std::int64_t now = t + static_cast<std::int64_t>(block.size()) * kPeriod * kPeriod;  // late enough that the pipeline is full
      const auto started = [&](std::size_t slot) { return (now - at[slot]) / kPeriod + 1; };
      most = std::max(most, started(0) + started(1) - started(4) - started(5));
    }
  return most;
}

// A rank's passes in the order of the repeated block, and which of them have run.
class RankList {
 public:
  struct Entry {
    std::int64_t cell;
    std::uint8_t slot;
    std::int32_t microbatch;
    bool done = false;
  };
  RankList(const std::array<std::int64_t, 6>& at, std::int64_t microbatches) : forwards_(2 * microbatches) {
    for (std::int64_t i = 0; i < microbatches; ++i)
      for (std::uint8_t s = 0; s < 6; ++s) list_.push_back({at[s] + kPeriod * i, s, static_cast<std::int32_t>(i)});
    std::sort(list_.begin(), list_.end(), [](const Entry& a, const Entry& b) { return a.cell < b.cell; });
  }
  bool finished() const { return head_ == list_.size(); }

  // Of the passes that are ready, the one that comes first in the list; a forward only if running it now keeps whatever the list still puts before it
  // within `limit`. Once the rank has no forwards left memory only shrinks, so input gradients, which others wait for, go before weight gradients.
  template <class Ready>
  Entry* choose(std::int64_t limit, Ready ready) {
    Entry* choice = nullptr;
    std::int64_t live = live_, most = live_;
    unsigned tried = 0;
    for (std::size_t j = head_; j < list_.size() && tried != 0x3f; ++j) {
      Entry& e = list_[j];
      if (e.done) continue;
      const bool is_forward = kSlots[e.slot].kind == PassKind::forward;
      const unsigned bit = 1U << e.slot;
      if ((tried & bit) == 0 && (!is_forward || most < limit) && ready(e)) {
        if (choice == nullptr) choice = &e;
        if (forwards_ > 0 || kSlots[e.slot].kind == PassKind::input_grad) return &e;
      }
      tried |= bit;
      live += is_forward ? 1 : kSlots[e.slot].kind == PassKind::weight_grad ? -1 : 0;
      most = std::max(most, live);
    }
    return choice;
  }

  void run(Entry& e) {
    e.done = true;
    while (head_ < list_.size() && list_[head_].done) ++head_;
    if (kSlots[e.slot].kind == PassKind::forward) ++live_, --forwards_;
    if (kSlots[e.slot].kind == PassKind::weight_grad) --live_;
  }

 private:
  std::vector<Entry> list_;
  std::size_t head_ = 0;
  std::int64_t live_ = 0, forwards_;
};

struct Filled {
  PassOrder order;
  std::int64_t idle_in_span = 0, makespan = 0;
  auto rank() const { return std::pair{idle_in_span, makespan}; }
};

// Runs the repeated block cell by cell, every rank filling the cells that would stay empty at the two ends with what it may run early.
Filled fill(const Block& block, std::int64_t microbatches, std::int64_t limit) {
  constexpr auto kNever = std::numeric_limits<std::int64_t>::max();
  const std::size_t p = block.size(), m = static_cast<std::size_t>(microbatches);
  std::vector<RankList> lists;
  for (const auto& at : block) lists.emplace_back(at, microbatches);
  std::vector<std::int64_t> started(p * 6 * m, kNever);  // by rank, slot and micro-batch: its cell
  const auto cell_of = [&](std::size_t r, std::size_t slot, std::int32_t i) -> std::int64_t& {
    return started[(r * 6 + slot) * m + static_cast<std::size_t>(i)];
  };
  Filled out;
  out.order.resize(p);
  std::vector<std::int64_t> first(p, kNever), last(p, 0);
  std::size_t left = p * 6 * m;
  for (std::int64_t now = 0; left > 0; ++now)
    for (std::size_t r = 0; r < p; ++r) {
      const auto before = [&](std::size_t rank, std::size_t slot, std::int32_t i) { return cell_of(rank, slot, i) < now; };
      RankList::Entry* e = lists[r].choose(limit, [&](const RankList::Entry& entry) {
        const std::int32_t i = entry.microbatch;
        switch (entry.slot) {
          case 0:
            return r == 0 || before(r - 1, 0, i);
          case 1:
            return r + 1 == p ? before(r, 0, i) : before(r + 1, 1, i);
          case 2:
            return before(r, 1, i) && (r == 0 || before(r - 1, 2, i));
          case 3:
            return r + 1 == p ? before(r, 2, i) : before(r + 1, 3, i);
          default:
            return before(r, entry.slot - 2U, i);
        }
      });
      if (e == nullptr) continue;
      lists[r].run(*e);
      cell_of(r, e->slot, e->microbatch) = now;
      first[r] = std::min(first[r], now);
      last[r] = now;
      out.order[r].push_back(pass(kSlots[e->slot].kind, e->microbatch, kSlots[e->slot].chunk));
      out.makespan = now + 1;
      --left;
    }
  for (std::size_t r = 0; r < p; ++r) out.idle_in_span = std::max(out.idle_in_span, last[r] + 1 - first[r] - kPeriod * microbatches);
  return out;
}

// Visits every shape of block that there is.
template <class Visit>
void for_each_shape(std::int64_t ranks, Visit visit) {
  for (std::int64_t a = 1; a < kPeriod; ++a)
    for (std::int64_t b = 1; b < kPeriod; ++b)
      for (std::int64_t c = 1; c < kPeriod; ++c) {
        if (a == b || b == c || a == c) continue;
        for (std::int64_t steep = 1; steep < kPeriod; ++steep) {
          visit(Shape{{a, b, c}, steep, steep, ranks});
          for (std::int64_t flat = 1; flat < steep; ++flat)
            for (std::int64_t hops = 1; hops < ranks - 1; ++hops) visit(Shape{{a, b, c}, steep, flat, hops});
        }
      }
}

// The vee that holds at most `limit` activations per rank (absent: as few as any block does) and idles least. Blocks whose own peak is the largest
// below the limit leave the least to fill.
Schedule controlled_memory(const ScheduleInput& input, std::optional<std::int64_t> limit, bool at_least_feasible) {
  const std::int64_t p = input.ranks, m = input.microbatches;
  std::vector<std::pair<std::int64_t, Shape>> shapes;  // with what each holds
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for_each_shape(p, [&](const Shape& shape) {
    if (const auto block = make_block(p, shape)) {
      const std::int64_t held = peak(*block);
      least = std::min(least, held);
      if (held <= std::max(least, limit.value_or(0))) shapes.emplace_back(held, shape);
    }
  });
  if (limit && *limit < least && !at_least_feasible)
    throw Error("memory_limit", fmt::format("no repeating block on {} ranks holds as little as {} half-stages", p, *limit),
                fmt::format("use {} or more", least));
  const std::int64_t most = std::max(least, limit.value_or(0));
  std::int64_t nearest = least;
  for (const auto& [held, shape] : shapes)
    if (held <= most) nearest = std::max(nearest, held);

  std::optional<Shape> best;
  std::pair<std::int64_t, std::int64_t> best_rank;
  for (const auto& [held, shape] : shapes) {
    if (held != nearest) continue;
    const auto rank = fill(*make_block(p, shape), std::min(m, 3 * p), most).rank();  // three rounds show both ends and the repetition between them
    if (best && rank >= best_rank) continue;
    best = shape;
    best_rank = rank;
  }
  Schedule out = empty_schedule(input, Placement::vee, 2);
  out.order = fill(*make_block(p, *best), m, most).order;
  return out;
}

}  // namespace

Schedule v_half(const ScheduleInput& input) {
  return controlled_memory(input, input.memory_limit.value_or(input.ranks), !input.memory_limit.has_value());
}
Schedule v_min(const ScheduleInput& input) { return controlled_memory(input, std::nullopt, true); }

}  // namespace orrery::program
