#include "core/rope.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>

namespace orrery {

std::int64_t rotated_width(std::int64_t head_dim, double fraction) {
  return static_cast<std::int64_t>(static_cast<double>(head_dim) * fraction) / 2 * 2;
}

RopeAngles::RopeAngles(double theta, std::int64_t rotated, const RopeScaling& scaling)
    : theta_(theta), rotated_(static_cast<double>(rotated)), scaling_(scaling) {
  assert(theta >= 1 && rotated % 2 == 0 && scaling.kind != RopeScaling::Kind::other);
  if (scaling.kind != RopeScaling::Kind::yarn) return;
  assert(theta > 1);
  // Pair i makes L / (2π θ^(2i/d)) turns within L positions; here that is solved for i.
  const auto pair_with = [&](double turns) {
    return rotated_ / 2 * std::log(static_cast<double>(scaling.original_positions) / (2 * std::numbers::pi * turns)) / std::log(theta);
  };
  first_ = pair_with(scaling.high_turns);
  last_ = pair_with(scaling.low_turns);
  if (scaling.whole_pairs) {
    first_ = std::floor(first_);
    last_ = std::ceil(last_);
  }
  first_ = std::max(first_, 0.0);
  last_ = std::min(last_, rotated_ - 1);
  if (first_ == last_) last_ += 0.001;  // as Hugging Face's implementation does: a step
}

double RopeAngles::per_position(std::int64_t pair) const {
  const auto i = static_cast<double>(pair);
  const double angle = std::pow(theta_, -2 * i / rotated_);
  double kept = 0;  // 1: the angle as it is, 0: divided by `factor`
  switch (scaling_.kind) {
    case RopeScaling::Kind::none:
    case RopeScaling::Kind::other:
      return angle;
    case RopeScaling::Kind::linear:
      break;
    case RopeScaling::Kind::llama3: {
      const double turns = static_cast<double>(scaling_.original_positions) * angle / (2 * std::numbers::pi);
      if (turns >= scaling_.high_turns)
        kept = 1;
      else if (turns > scaling_.low_turns)
        kept = (turns - scaling_.low_turns) / (scaling_.high_turns - scaling_.low_turns);
      break;
    }
    case RopeScaling::Kind::yarn:
      kept = 1 - std::clamp((i - first_) / (last_ - first_), 0.0, 1.0);
      break;
  }
  return angle * (kept + (1 - kept) / scaling_.factor);
}

}  // namespace orrery
