#include "gui/view/pyramid.h"

#include <algorithm>
#include <cmath>

namespace orrery::view {

Pyramid::Builder::Builder(Pyramid& pyramid, TimeRange range, std::int64_t bucket) : pyramid_(pyramid) {
  while ((std::int64_t{1} << lane_.finest) < bucket) ++lane_.finest;
  lane_.base = static_cast<std::uint32_t>(pyramid.levels_.size());
  const std::int64_t begin = range.begin.v, end = std::max(begin, range.end.v - 1);
  for (std::uint32_t exponent = lane_.finest;; ++exponent) {
    Level level;
    level.first = begin >> exponent;
    level.count = static_cast<std::uint32_t>((end >> exponent) - level.first + 1);
    level.offset = static_cast<std::uint32_t>(pyramid.buckets_.size());
    pyramid.buckets_.resize(pyramid.buckets_.size() + level.count);
    pyramid.levels_.push_back(level);
    ++lane_.levels;
    if (level.count <= 2) break;
  }
  bucket_ = begin >> lane_.finest;
}

void Pyramid::Builder::close(std::int64_t next) {
  for (std::uint8_t l = 0; l < lane_.levels; ++l) {
    if ((bucket_ >> l) == (next >> l)) break;
    if (!sums_[l].any()) continue;
    const Level& level = pyramid_.levels_[lane_.base + l];
    pyramid_.buckets_[level.offset + static_cast<std::size_t>((bucket_ >> l) - level.first)] = sums_[l].mix(std::ldexp(255.0, -(lane_.finest + l)));
    if (l + 1 < lane_.levels) sums_[l + 1U].add(sums_[l]);
    sums_[l].clear();
  }
  bucket_ = next;
}

Pyramid::Lane Pyramid::Builder::finish() {
  close(INT64_MAX);
  return lane_;
}

std::optional<std::uint32_t> Pyramid::level(const Lane& lane, double picoseconds_a_pixel) {
  const auto length = [](std::uint32_t exponent) { return std::ldexp(1.0, static_cast<int>(exponent)); };
  std::uint32_t exponent = lane.finest;
  if (lane.levels == 0 || length(exponent) >= 2 * picoseconds_a_pixel) return std::nullopt;
  while (length(exponent) < picoseconds_a_pixel && exponent + 1U < lane.finest + 0U + lane.levels) ++exponent;
  return exponent;
}

void Pyramid::columns(const Lane& lane, std::uint32_t exponent, const TimeAxis& axis, std::vector<Column>& out) const {
  const Level& level = levels_[lane.base + exponent - lane.finest];
  const TimeRange shown = axis.range();
  const std::int64_t first = std::max(level.first, shown.begin.v >> exponent);
  const std::int64_t last = std::min(level.first + level.count - 1, (shown.end.v - 1) >> exponent);
  const double scale = axis.pixels_per_picosecond(), width = axis.width();
  const auto pixel = [&](std::int64_t bucket) {
    // The lane's first and last buckets reach beyond what it holds; that is empty time.
    return whole_pixel(std::clamp(static_cast<double>((bucket << exponent) - shown.begin.v) * scale, 0.0, width));
  };
  std::int32_t left = pixel(first);
  for (std::int64_t b = first; b <= last; ++b) {
    const std::int32_t right = pixel(b + 1);
    const Mix& mix = buckets_[level.offset + static_cast<std::size_t>(b - level.first)];
    if (right > left && !mix.empty()) {
      if (!out.empty() && out.back().x1 == left && out.back().mix == mix) {
        out.back().x1 = right;
      } else {
        out.push_back({left, right, mix});
      }
    }
    left = right;
  }
}

}  // namespace orrery::view
