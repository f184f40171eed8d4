// Two timelines of the same program, instruction by instruction: what came later, what took longer.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "gui/view/span_index.h"

namespace orrery::view {

// The other's minus this one's.
struct Delta {
  Picoseconds later;   // start
  Picoseconds longer;  // duration
};

// How much in 127ths of what the scale ends at: positive is later, or longer.
struct Tint {
  std::int8_t longer = 0;  // of the doubled (or halved) duration, logarithmically
  std::int8_t later = 0;   // of a twentieth of the step
  bool known = false;
  bool operator==(const Tint&) const = default;
};
struct TintColumn {
  std::int32_t x0 = 0, x1 = 0;
  Tint tint;
};

// Instructions are the same where rank, stream (by its name), pass and instruction agree; of several such (a pass that a trace holds twice) the first
// that is not taken.
class Differences {
 public:
  Differences(std::shared_ptr<const SpanIndex> index, std::shared_ptr<const SpanIndex> other);

  SpanId match(SpanId span) const { return span < matches_.size() ? matches_[span] : kNoSpan; }     // in the other
  SpanId match_of_other(SpanId span) const { return span < back_.size() ? back_[span] : kNoSpan; }  // the way back
  std::size_t matched() const { return matched_; }
  Delta delta(SpanId span) const;  // requires a match
  Tint tint(SpanId span) const;

  // A lane's tints at this one's times, at most one a pixel, equal neighbours as one; where spans share a pixel, the tint of their sum.
  void visible(std::size_t lane, const TimeAxis& axis, std::vector<TintColumn>& out) const;

  std::size_t bytes() const { return (matches_.capacity() + back_.capacity()) * sizeof(SpanId) + tints_.capacity() * sizeof(Tint); }

 private:
  struct Level {
    std::int64_t first = 0;
    std::uint32_t count = 0, offset = 0;
  };
  struct LaneLevels {
    std::uint8_t finest = 0;
    std::vector<Level> levels;
  };
  void match_lane(std::size_t lane);
  void build_levels(std::size_t lane);
  Tint tint_of(Picoseconds duration, Picoseconds other_duration, Picoseconds later) const;

  std::shared_ptr<const SpanIndex> index_, other_;
  std::vector<SpanId> matches_, back_;
  std::size_t matched_ = 0;
  std::vector<LaneLevels> lanes_;
  std::vector<Tint> tints_;
};

}  // namespace orrery::view
