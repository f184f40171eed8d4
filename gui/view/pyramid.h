// Levels of detail: what the time of lanes is made of, in buckets of 2^n picoseconds for every n from a finest one on.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "gui/view/axis.h"
#include "gui/view/mix.h"

namespace orrery::view {

// A stretch of whole pixels [x0, x1) with the mix of what is there.
struct Column {
  std::int32_t x0 = 0, x1 = 0;
  Mix mix;
};

// To the nearest, of what is not negative: std::lround is a call, and there are a hundred thousand a frame.
inline std::int32_t whole_pixel(double pixel) { return static_cast<std::int32_t>(pixel + 0.5); }  // NOLINT(bugprone-incorrect-roundings)

class Pyramid {
 public:
  // The levels of one lane: buckets of the finest are 2^finest ps long; they begin at multiples of that. No levels: it has none here.
  struct Lane {
    std::uint8_t finest = 0, levels = 0;
    std::uint32_t base = 0;
  };

  // Adds one lane, stretch by stretch, by their starts. What overlaps with a bucket that is done counts from that bucket's end.
  class Builder {
   public:
    // Buckets of at least `bucket` > 0 picoseconds over the range.
    Builder(Pyramid& pyramid, TimeRange range, std::int64_t bucket);

    void add(std::int64_t from, std::int64_t to, std::size_t part) {  // a part of a MixSum
      const std::uint32_t finest = lane_.finest;
      std::int64_t bucket = bucket_;  // here: what is added to the sums could be it, for all that the compiler knows
      from = std::max(from, bucket << finest);
      while (from < to) {
        if ((from >> finest) != bucket) {
          bucket = from >> finest;
          close(bucket);
        }
        const std::int64_t cut = std::min(to, (bucket + 1) << finest);
        sums_[0].add(part, cut - from);
        from = cut;
      }
    }
    Lane finish();

   private:
    void close(std::int64_t next);  // leaves the present bucket for another

    Pyramid& pyramid_;
    Lane lane_;
    std::int64_t bucket_ = 0;
    // One for each level: what ends a bucket of one goes on into the next, so that every level is exact.
    std::array<MixSum, 64> sums_;
  };

  // n of the level to paint where a pixel is that long: the finest with buckets of a pixel at least. Nothing where even the finest ones are two.
  static std::optional<std::uint32_t> level(const Lane& lane, double picoseconds_a_pixel);
  // Appends that level on the pixels 0 … width - 1 of the axis, equal neighbours as one, nothing where nothing is.
  void columns(const Lane& lane, std::uint32_t level, const TimeAxis& axis, std::vector<Column>& out) const;

  void shrink() { buckets_.shrink_to_fit(); }
  std::size_t bytes() const { return buckets_.capacity() * sizeof(Mix) + levels_.capacity() * sizeof(Level); }

 private:
  struct Level {
    std::int64_t first = 0;  // number of its first bucket, counted from time 0
    std::uint32_t count = 0, offset = 0;
  };

  std::vector<Mix> buckets_;
  std::vector<Level> levels_;
};

}  // namespace orrery::view
