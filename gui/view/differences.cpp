#include "gui/view/differences.h"

#include <algorithm>
#include <cmath>

namespace orrery::view {

namespace {

std::uint64_t key(const Span& s) { return std::uint64_t{s.pass} << 16U | s.instruction; }

std::int8_t scaled(double share) { return static_cast<std::int8_t>(std::lround(std::clamp(share, -1.0, 1.0) * 127)); }

// Matched spans of a stretch, added up.
struct Sum {
  std::int64_t duration = 0, other = 0;
  double later = 0;  // weighted by duration
  bool any = false;

  void add(std::int64_t a, std::int64_t b, std::int64_t late) {
    duration += a;
    other += b;
    later += static_cast<double>(late) * static_cast<double>(a);
    any = true;
  }
  void add(const Sum& o) {
    duration += o.duration;
    other += o.other;
    later += o.later;
    any = any || o.any;
  }
  Picoseconds mean_later() const { return Picoseconds{duration == 0 ? 0 : std::llround(later / static_cast<double>(duration))}; }
};

}  // namespace

Differences::Differences(std::shared_ptr<const SpanIndex> index, std::shared_ptr<const SpanIndex> other)
    : index_(std::move(index)), other_(std::move(other)) {
  matches_.assign(index_->timeline().spans.size(), kNoSpan);
  back_.assign(other_->timeline().spans.size(), kNoSpan);
  lanes_.resize(index_->lanes().size());
  for (std::size_t l = 0; l < index_->lanes().size(); ++l) {
    match_lane(l);
    build_levels(l);
  }
  tints_.shrink_to_fit();
}

void Differences::match_lane(std::size_t lane_index) {
  const SpanIndex::Lane& lane = index_->lanes()[lane_index];
  const Timeline &here = index_->timeline(), &there = other_->timeline();
  const auto stream = std::find(there.streams.begin(), there.streams.end(), here.streams[lane.stream]);
  if (stream == there.streams.end()) return;
  const auto found = other_->lane_of(lane.rank, static_cast<std::uint16_t>(stream - there.streams.begin()));
  if (!found) return;
  const SpanIndex::Lane& opposite = other_->lanes()[*found];
  const auto pair = [&](SpanId a, SpanId b) {
    matches_[a] = b;
    back_[b] = a;
    ++matched_;
  };
  // Mostly both ran the same instructions in the same order.
  std::uint32_t next = opposite.first;
  std::vector<std::uint32_t> left;
  for (std::uint32_t i = lane.first; i < lane.last; ++i) {
    const SpanId a = index_->at(i);
    if (next < opposite.last && key(here.spans[a]) == key(there.spans[other_->at(next)])) {
      pair(a, other_->at(next++));
    } else {
      left.push_back(i);
    }
  }
  if (left.empty()) return;
  std::vector<std::pair<std::uint64_t, SpanId>> rest;
  for (std::uint32_t i = opposite.first; i < opposite.last; ++i) {
    const SpanId b = other_->at(i);
    if (back_[b] == kNoSpan) rest.emplace_back(key(there.spans[b]), b);
  }
  std::stable_sort(rest.begin(), rest.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const std::uint32_t i : left) {
    const SpanId a = index_->at(i);
    const std::uint64_t wanted = key(here.spans[a]);
    for (auto it = std::lower_bound(rest.begin(), rest.end(), wanted, [](const auto&r, std::uint64_t k) { return r.first < k; });
         it != rest.end() && it->first == wanted; ++it) {
      if (back_[it->second] != kNoSpan) continue;
      pair(a, it->second);
      break;
    }
  }
}

Delta Differences::delta(SpanId span) const {
  const TimeRange a = index_->range(span), b = other_->range(matches_[span]);
  return {b.begin - a.begin, b.length() - a.length()};
}

Tint Differences::tint_of(Picoseconds duration, Picoseconds other_duration, Picoseconds later) const {
  Tint tint;
  tint.known = true;
  if (duration.v > 0 && other_duration.v > 0) {
    tint.longer = scaled(std::log2(other_duration / duration));
  } else if (duration != other_duration) {
    tint.longer = duration.v > 0 ? std::int8_t{-127} : std::int8_t{127};
  }
  tint.later = scaled(20 * (later / Picoseconds{std::max<std::int64_t>(1, index_->whole().length().v)}));
  return tint;
}

Tint Differences::tint(SpanId span) const {
  if (match(span) == kNoSpan) return {};
  return tint_of(index_->range(span).length(), other_->range(matches_[span]).length(), delta(span).later);
}

void Differences::build_levels(std::size_t lane_index) {
  const SpanIndex::Lane& lane = index_->lanes()[lane_index];
  if (lane.detail.levels == 0) return;
  LaneLevels& own = lanes_[lane_index];
  own.finest = lane.detail.finest;
  // The pyramid of sums; a span counts where its middle is.
  const std::int64_t begin = lane.range.begin.v, end = std::max(begin, lane.range.end.v - 1);
  const std::int64_t first = begin >> own.finest;
  std::vector<Sum> sums(static_cast<std::size_t>((end >> own.finest) - first + 1));
  for (std::uint32_t i = lane.first; i < lane.last; ++i) {
    const SpanId id = index_->at(i);
    if (matches_[id] == kNoSpan) continue;
    const TimeRange range = index_->range(id);
    if (range.empty()) continue;
    const Delta d = delta(id);
    // Long ones count in all buckets that they reach.
    const std::int64_t from = range.begin.v >> own.finest, to = (range.end.v - 1) >> own.finest;
    for (std::int64_t b = from; b <= to; ++b) {
      const std::int64_t share = range.length().v / (to - from + 1), more = (range.length() + d.longer).v / (to - from + 1);
      sums[static_cast<std::size_t>(b - first)].add(share, more, d.later.v);
    }
  }
  std::int64_t at = first;
  for (std::uint32_t exponent = own.finest;; ++exponent) {
    Level level;
    level.first = at;
    level.count = static_cast<std::uint32_t>(sums.size());
    level.offset = static_cast<std::uint32_t>(tints_.size());
    for (const Sum& s : sums) tints_.push_back(s.any ? tint_of(Picoseconds{s.duration}, Picoseconds{s.other}, s.mean_later()) : Tint{});
    own.levels.push_back(level);
    if (sums.size() <= 2) break;
    const std::int64_t last = (at + static_cast<std::int64_t>(sums.size()) - 1) >> 1;
    std::vector<Sum> parents(static_cast<std::size_t>(last - (at >> 1) + 1));
    for (std::size_t i = 0; i < sums.size(); ++i)
      parents[static_cast<std::size_t>(((at + static_cast<std::int64_t>(i)) >> 1) - (at >> 1))].add(sums[i]);
    at >>= 1;
    sums = std::move(parents);
  }
}

void Differences::visible(std::size_t lane_index, const TimeAxis& axis, std::vector<TintColumn>& out) const {
  out.clear();
  const LaneLevels& own = lanes_[lane_index];
  const TimeRange shown = axis.range();
  const double scale = axis.pixels_per_picosecond(), width = axis.width();
  const auto edge = [&](std::int64_t t) {
    return static_cast<std::int32_t>(std::lround(std::clamp(static_cast<double>(t - shown.begin.v) * scale, 0.0, width)));
  };
  const auto add = [&](std::int32_t x0, std::int32_t x1, Tint tint) {
    if (!out.empty() && out.back().x1 > x0) x0 = out.back().x1;
    if (x1 <= x0) return;
    if (!out.empty() && out.back().x1 == x0 && out.back().tint == tint) {
      out.back().x1 = x1;
    } else {
      out.push_back({x0, x1, tint});
    }
  };
  if (!own.levels.empty() && std::ldexp(scale, own.finest) < 2) {
    std::size_t l = 0;
    while (l + 1 < own.levels.size() && std::ldexp(scale, own.finest + static_cast<int>(l)) < 1) ++l;
    const Level& level = own.levels[l];
    const auto exponent = static_cast<unsigned>(own.finest + l);
    const std::int64_t first = std::max(level.first, shown.begin.v >> exponent);
    const std::int64_t last = std::min(level.first + level.count - 1, (shown.end.v - 1) >> exponent);
    for (std::int64_t b = first; b <= last; ++b) {
      const Tint tint = tints_[level.offset + static_cast<std::size_t>(b - level.first)];
      if (tint.known) add(edge(b << exponent), edge((b + 1) << exponent), tint);
    }
    return;
  }
  Visible seen;
  index_->visible(lane_index, axis, seen);
  for (const Run& run : seen.runs) {
    const Tint tint = this->tint(run.span);
    if (tint.known) add(run.x0, run.x1, tint);
  }
}

}  // namespace orrery::view
