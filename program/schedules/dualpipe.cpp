#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>

#include "core/error.h"
#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {
namespace {

// A rank's two streams of micro-batches: the near one enters the pipeline at this rank's end, or on its way down the vee, the far one comes back.
// Each counts its own forwards and backwards.
class Writer {
 public:
  struct Stream {
    std::uint16_t chunk = 0, direction = 0;
    std::int32_t forwards = 0, backwards = 0;
  };
  Writer(std::vector<Pass>& passes, Stream near, Stream far) : passes_(passes), near_(near), far_(far) {}

  void forward(Stream& s) { passes_.push_back({.kind = PassKind::forward, .chunk = s.chunk, .direction = s.direction, .microbatch = s.forwards++}); }
  void backward(Stream& s, bool split) {
    Pass pass{.kind = PassKind::backward, .chunk = s.chunk, .direction = s.direction, .microbatch = s.backwards++};
    if (split) {
      deferred_.push_back(pass);
      deferred_.back().kind = PassKind::weight_grad;
      pass.kind = PassKind::input_grad;
    }
    passes_.push_back(pass);
  }
  void overlapped(Stream& f, Stream& b) {
    passes_.push_back({.kind = PassKind::forward_backward,
                       .chunk = f.chunk,
                       .direction = f.direction,
                       .microbatch = f.forwards++,
                       .backward_chunk = b.chunk,
                       .backward_direction = b.direction,
                       .backward_microbatch = b.backwards++});
  }
  void deferred_weight_grad() {
    passes_.push_back(deferred_.front());
    deferred_.pop_front();
  }

  // The eight steps. `distance` of the rank from its end, 0 … half − 1, where `half` ranks lie between an end and the turning point; `pairs` rounds
  // of the main step; at the turning point the first pair depends on itself, so it runs one after the other.
  void write(std::int64_t half, std::int64_t distance, std::int64_t pairs) {
    const std::int64_t inner = half - 1 - distance, outer = distance + 1;
    for (std::int64_t k = 0; k < 2 * inner; ++k) forward(near_);                                           // 1
    for (std::int64_t k = 0; k < outer; ++k) forward(near_), forward(far_);                                // 2
    for (std::int64_t k = 0; k < inner; ++k) backward(far_, true), deferred_weight_grad(), forward(far_);  // 3
    for (std::int64_t k = 0; k < pairs; ++k) {                                                             // 4
      if (k == 0 && inner == 0)
        forward(near_), backward(far_, false);
      else
        overlapped(near_, far_);
      overlapped(far_, near_);
    }
    for (std::int64_t k = 0; k < inner; ++k) backward(far_, false), overlapped(far_, near_);       // 5
    for (std::int64_t k = 0; k < 2 * outer; ++k) backward(k % 2 == 0 ? far_ : near_, k >= outer);  // 6: from half-way on W waits
    for (std::int64_t k = 0; k < inner; ++k) deferred_weight_grad(), backward(near_, true);        // 7
    while (!deferred_.empty()) deferred_weight_grad();                                             // 8
  }

 private:
  std::vector<Pass>& passes_;
  Stream near_, far_;
  std::deque<Pass> deferred_;
};

void need_two_rounds(const ScheduleInput& in) {
  if (in.microbatches < 2 * in.ranks)
    throw Error("microbatches", fmt::format("{} micro-batches are fewer than 2 x {} ranks", in.microbatches, in.ranks),
                fmt::format("use {} or more", 2 * in.ranks));
}

}  // namespace

Schedule dualpipe(const ScheduleInput& input) {
  const std::int64_t p = input.ranks, m = input.microbatches;
  if (p % 2 != 0)
    throw Error("ranks", fmt::format("{} is odd, and half of the ranks face each end", p),
                p > 1 ? fmt::format("use {} or {}", p - 1, p + 1) : "use 2");
  if (m % 2 != 0) throw Error("microbatches", fmt::format("{} is odd, and half of them enter at each end", m), fmt::format("use {}", m + 1));
  need_two_rounds(input);
  Schedule out = empty_schedule(input, Placement::mirrored, 2);
  for (std::int64_t r = 0; r < p; ++r) {
    const std::int64_t distance = std::min(r, p - 1 - r);
    const std::array<Writer::Stream, 2> streams{{{0, 0}, {1, 1}}};
    const std::size_t near = r < p / 2 ? 0 : 1;
    Writer(out.order[static_cast<std::size_t>(r)], streams[near], streams[1 - near]).write(p / 2, distance, m / 2 - p + distance + 1);
  }
  return out;
}

Schedule dualpipev(const ScheduleInput& input) {
  const std::int64_t p = input.ranks, m = input.microbatches;
  need_two_rounds(input);
  Schedule out = empty_schedule(input, Placement::vee, 2);
  for (std::int64_t r = 0; r < p; ++r) Writer(out.order[static_cast<std::size_t>(r)], {0, 0}, {1, 0}).write(p, r, m - 2 * p + r + 1);
  return out;
}

}  // namespace orrery::program
