// What to paint of a timeline: spans as runs where they can be seen, mixes where they cannot.
#include <algorithm>
#include <cmath>
#include <vector>

#include "gui/view/span_index.h"

namespace orrery::view {

namespace {

constexpr std::uint32_t kSampled = 32;  // spans looked at in one pixel

}  // namespace

void Visible::clear() {
  gaps.clear();
  columns.clear();
  runs.clear();
}

void SpanIndex::visible(std::size_t lane_index, const TimeAxis& axis, Visible& out) const {
  out.clear();
  const Lane& lane = lanes_[lane_index];
  if (!axis.range().overlaps(lane.range)) return;
  const std::uint32_t from = first_reaching(lane, axis.range().begin);
  std::uint32_t to = first_at(lane, axis.range().end);
  if (to < lane.last && lane.compute) ++to;  // the wait of the first span beyond the right edge may be in sight
  if (static_cast<double>(to - from) > 2 * axis.width()) {
    if (const auto level = Pyramid::level(lane.detail, 1 / axis.pixels_per_picosecond())) {
      pyramid_.columns(lane.detail, *level, axis, out.columns);
      return;
    }
  }
  exact(lane, axis, from, to, out);
}

void SpanIndex::exact(const Lane& lane, const TimeAxis& axis, std::uint32_t from, std::uint32_t to, Visible& out) const {
  const TimeRange shown = axis.range();
  const double scale = axis.pixels_per_picosecond(), width = axis.width();
  const auto last_pixel = static_cast<std::int32_t>(std::ceil(width));
  const auto place_of = [&](std::int64_t t) { return static_cast<double>(t - shown.begin.v) * scale; };
  const auto edge = [&](std::int64_t t) { return whole_pixel(std::clamp(place_of(t), 0.0, width)); };
  const double per_pixel = 255 * std::min(1.0, scale);
  // What is shorter would be as wide as a pixel just where it happens to cross the middle of one.
  const auto is_seen = [&](std::int64_t start, std::int64_t end) { return static_cast<double>(end - start) * scale >= 0.5; };
  std::int32_t column = -1;
  MixSum sum;
  const auto flush = [&] {
    if (!sum.any()) return;
    out.columns.push_back({column, column + 1, sum.mix(per_pixel)});
    sum.clear();
  };
  // What is too short to be seen counts where its middle is.
  const auto mix = [&](std::int64_t start, std::int64_t end, std::size_t part, std::int64_t weight) {
    const double middle = place_of(start + (end - start) / 2);
    if (end <= start || middle < 0 || middle >= width) return;
    const auto x = std::min(static_cast<std::int32_t>(middle), last_pixel - 1);
    if (x < column) return;  // overlapping spans
    if (x > column) {
      flush();
      column = x;
    }
    sum.add(part, (end - start) * weight);
  };
  // A burst that the pyramid is too coarse for: of many spans in a pixel some stand for all.
  const bool dense = static_cast<double>(to - from) > kSampled / 2.0 * width;
  std::int64_t free = free_before(lane, from).v;
  std::uint32_t stride = 1, stride_until = from;
  for (std::uint32_t i = from; i < to; i += stride) {
    const SpanId id = at(i);
    const Span& s = timeline_->spans[id];
    const std::int64_t start = within(s.start), end = std::max(start, within(s.end));
    if (dense && i >= stride_until) {
      stride = 1;
      const std::uint32_t ahead = std::min(to, i + kSampled);
      stride_until = ahead;
      if (ahead < to && place_of(within(timeline_->spans[at(ahead)].start)) < std::floor(place_of(start)) + 1) {
        stride_until = std::clamp(first_at(lane, axis.time(std::floor(place_of(start)) + 1)), i + 1, to);
        stride = std::max(1U, (stride_until - i) / kSampled);
      }
    }
    const std::size_t cause = MixSum::waiting(s.cause);
    if (lane.compute && s.waited.v > 0 && start > free) {
      const std::int64_t begin = start - std::min(s.waited.v, start - free);
      const std::int32_t x0 = edge(begin), x1 = edge(start);
      if (x1 > x0 && is_seen(begin, start)) {
        out.gaps.push_back({x0, x1, id});
      } else {
        mix(begin, start, cause, stride);
      }
    }
    if (end > start) {
      const std::size_t in = slot_of(s);
      const std::int32_t x0 = edge(start), x1 = is_seen(start, end) ? edge(end) : x0;
      if (in >= kSlots) {
        if (lane.compute && x1 > x0) {
          out.gaps.push_back({x0, x1, id});
        } else if (lane.compute) {
          mix(start, end, cause, stride);
        }
      } else if (x1 > x0) {
        out.runs.push_back({x0, x1, id});
      } else {
        mix(start, end, in, stride);
      }
    }
    // Where spans are left out, those between are taken for as busy as those that are looked at.
    free = stride > 1 && i + stride < to ? within(timeline_->spans[at(i + stride - 1)].end) : std::max(free, end);
  }
  flush();
}

std::vector<Mix> SpanIndex::density(std::size_t parts) const {
  std::vector<MixSum> sums(parts);
  const TimeAxis axis(whole_, static_cast<double>(parts));
  std::int64_t lanes = 0;
  Visible seen;
  for (std::size_t l = 0; l < lanes_.size(); ++l) {
    if (!lanes_[l].compute || !lanes_[l].works) continue;
    const std::int64_t weight = ranks_like(lanes_[l]);
    lanes += weight;
    visible(l, axis, seen);
    const auto each = [&](std::int32_t x0, std::int32_t x1, auto&& add) {
      for (std::int32_t x = std::max(0, x0); x < std::min(x1, static_cast<std::int32_t>(parts)); ++x) {
        add(sums[static_cast<std::size_t>(x)]);
      }
    };
    for (const Gap& g : seen.gaps) {
      each(g.x0, g.x1, [&](MixSum& s) { s.add(MixSum::waiting(timeline_->spans[g.before].cause), 255 * weight); });
    }
    for (const Column& c : seen.columns) {
      each(c.x0, c.x1, [&](MixSum& s) {
        for (std::size_t i = 0; i < kSlots; ++i) s.add(i, c.mix.share[i] * weight);
        s.add(MixSum::waiting(c.mix.cause), c.mix.waiting * weight);
      });
    }
    for (const Run& r : seen.runs) {
      const Span& span = timeline_->spans[r.span];
      each(r.x0, r.x1, [&](MixSum& s) { s.add(slot_of(span), 255 * weight); });
    }
  }
  std::vector<Mix> result;
  result.reserve(parts);
  for (const MixSum& s : sums) result.push_back(s.mix(1 / static_cast<double>(std::max<std::int64_t>(1, lanes))));
  return result;
}

}  // namespace orrery::view
