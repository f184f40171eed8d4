#include "gui/view/span_index.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace orrery::view {

namespace {

constexpr std::uint32_t kSpansPerBucket = 4;
constexpr std::uint32_t kFewest = 64;    // spans of a lane that has levels of detail
constexpr std::uint32_t kLookBack = 64;  // spans that may overlap the one before which a search begins

}  // namespace

Picoseconds Totals::busy() const { return std::accumulate(work.begin(), work.end(), Picoseconds{0}); }
Picoseconds Totals::waited() const { return std::accumulate(waiting.begin(), waiting.end(), Picoseconds{0}); }

SpanIndex::SpanIndex(std::shared_ptr<const Timeline> timeline) : timeline_(std::move(timeline)) {
  const std::vector<Span>& spans = timeline_->spans;
  for (const SpanKind& kind : timeline_->kinds) slots_.push_back(static_cast<std::uint8_t>(slot(kind.work, false)));
  sort_spans();
  whole_ = {Picoseconds{0}, Picoseconds{std::max<std::int64_t>(0, within(timeline_->step))}};
  PassFinder passes(*timeline_);
  const auto count = static_cast<std::uint32_t>(spans.size());
  for (std::uint32_t first = 0; first < count;) {
    const Span& head = spans[at(first)];
    std::uint32_t last = first;
    while (last < count && spans[at(last)].rank == head.rank && spans[at(last)].stream == head.stream) ++last;
    add_lane(first, last, passes);
    first = last;
  }
  lane_passes_.push_back(static_cast<std::uint32_t>(passes_.size()));
  pyramid_.shrink();
  passes_.shrink_to_fit();
  sort_flows();
}

void SpanIndex::sort_spans() {
  const std::vector<Span>& spans = timeline_->spans;
  const auto before = [](const Span& a, const Span& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.stream != b.stream ? a.stream < b.stream : a.start < b.start;
  };
  if (std::is_sorted(spans.begin(), spans.end(), before)) return;
  const auto count = static_cast<std::uint32_t>(spans.size());
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), 0U);
  std::stable_sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) { return before(spans[a], spans[b]); });
  places_.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) places_[order_[i]] = i;
}

void SpanIndex::sort_flows() {
  const std::vector<Flow>& flows = timeline_->flows;
  flows_to_.resize(flows.size());
  std::iota(flows_to_.begin(), flows_to_.end(), 0U);
  std::sort(flows_to_.begin(), flows_to_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return flows[a].to != flows[b].to ? flows[a].to < flows[b].to : a < b; });
  if (std::is_sorted(flows.begin(), flows.end(), [](const Flow& a, const Flow& b) { return a.from < b.from; })) return;
  flows_from_.resize(flows.size());
  std::iota(flows_from_.begin(), flows_from_.end(), 0U);
  std::stable_sort(flows_from_.begin(), flows_from_.end(), [&](std::uint32_t a, std::uint32_t b) { return flows[a].from < flows[b].from; });
}

void SpanIndex::add_lane(std::uint32_t first, std::uint32_t last, PassFinder& passes) {
  const std::vector<Span>& spans = timeline_->spans;
  Lane lane;
  lane.rank = spans[at(first)].rank;
  lane.stream = spans[at(first)].stream;
  lane.compute = lane.stream == 0;  // program::kComputeStream
  lane.first = first;
  lane.last = last;
  lane.range = {Picoseconds{within(spans[at(first)].start)}, Picoseconds{-kFarthest}};
  lane.range.end = lane.range.begin;
  for (std::uint32_t i = first; i < last; ++i) {
    const Span& s = spans[at(i)];
    const std::int64_t start = within(s.start), end = std::max(start, within(s.end));
    if (start < lane.range.end.v) disjoint_ = false;
    const std::size_t in = slot_of(s);
    if (in < kSlots) {
      lane.totals.work[in] += Picoseconds{end - start};
      lane.works = lane.works || end > start;
    } else {
      lane.totals.waiting[static_cast<std::size_t>(s.cause)] += Picoseconds{end - start};
    }
    // A stream is free once its last instruction has ended.
    const std::int64_t free = i == first ? std::min<std::int64_t>(0, start) : lane.range.end.v;
    const std::int64_t waited = std::max<std::int64_t>(0, std::min(s.waited.v, start - free));
    lane.totals.waiting[static_cast<std::size_t>(s.cause)] += Picoseconds{waited};
    if (i == first && lane.compute) lane.range.begin -= Picoseconds{waited};
    lane.range.end = std::max(lane.range.end, Picoseconds{end});
  }
  whole_.begin = std::min(whole_.begin, lane.range.begin);
  whole_.end = std::max(whole_.end, lane.range.end);
  lane_passes_.push_back(static_cast<std::uint32_t>(passes_.size()));
  if (last - first >= kFewest) lane.detail = add_detail(lane);
  if (lane.compute) {
    for (std::uint32_t i = first; i < last; ++i) passes.add(spans[at(i)], range(at(i)));
    passes.finish(passes_);
  }
  lanes_.push_back(lane);
}

Pyramid::Lane SpanIndex::add_detail(const Lane& lane) {
  const std::int64_t bucket = lane.range.length().v / std::max<std::int64_t>(1, (lane.last - lane.first) / kSpansPerBucket);
  Pyramid::Builder builder(pyramid_, lane.range, bucket);
  std::int64_t free = lane.range.begin.v;
  for (std::uint32_t i = lane.first; i < lane.last; ++i) {
    const Span& s = timeline_->spans[at(i)];
    const std::int64_t start = within(s.start), end = within(s.end);
    if (lane.compute && s.waited.v > 0 && start > free) builder.add(start - std::min(s.waited.v, start - free), start, MixSum::waiting(s.cause));
    if (end > start) {
      const std::size_t in = slot_of(s);
      if (in < kSlots) {
        builder.add(start, end, in);
      } else if (lane.compute) {
        builder.add(start, end, MixSum::waiting(s.cause));
      }
    }
    free = std::max(free, end);
  }
  return builder.finish();
}

std::optional<std::size_t> SpanIndex::lane_of(std::uint32_t rank, std::uint16_t stream) const {
  const auto found =
      std::lower_bound(lanes_.begin(), lanes_.end(), std::pair{rank, stream}, [](const Lane& l, const std::pair<std::uint32_t, std::uint16_t>& key) {
        return std::pair{l.rank, l.stream} < key;
      });
  if (found == lanes_.end() || found->rank != rank || found->stream != stream) return std::nullopt;
  return static_cast<std::size_t>(found - lanes_.begin());
}

std::optional<std::size_t> SpanIndex::lane_of(SpanId span) const {
  if (span >= timeline_->spans.size()) return std::nullopt;
  return lane_of(timeline_->spans[span].rank, timeline_->spans[span].stream);
}

std::uint32_t SpanIndex::place(SpanId span) const { return places_.empty() ? span : places_[span]; }

TimeRange SpanIndex::range(SpanId span) const {
  const Span& s = timeline_->spans[span];
  const std::int64_t start = within(s.start);
  return {Picoseconds{start}, Picoseconds{std::max(start, within(s.end))}};
}

TimeRange SpanIndex::wait_before(SpanId span) const {
  const Span& s = timeline_->spans[span];
  const Picoseconds start{within(s.start)};
  const std::uint32_t i = place(span);
  Picoseconds free = start;
  if (s.waited.v > 0) {
    const Lane& lane = lanes_[*lane_of(span)];
    free = free_before(lane, i);
    free = std::max(free, start - Picoseconds{std::min(s.waited.v, kFarthest)});
  }
  return {std::min(free, start), start};
}

Picoseconds SpanIndex::free_before(const Lane& lane, std::uint32_t place) const {
  if (place > lane.first) return range(at(place - 1)).end;
  return std::min(Picoseconds{0}, range(at(lane.first)).begin);
}

std::uint32_t SpanIndex::first_at(const Lane& lane, Picoseconds time) const {
  std::uint32_t low = lane.first, high = lane.last;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (timeline_->spans[at(middle)].start < time) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::uint32_t SpanIndex::first_reaching(const Lane& lane, Picoseconds time) const {
  std::uint32_t i = first_at(lane, time);
  // Those before it that start earlier may reach into what follows: of disjoint ones only the last with length.
  for (std::uint32_t back = 0; i > lane.first && back < kLookBack; ++back) {
    const Span& s = timeline_->spans[at(i - 1)];
    if (disjoint_ && s.end <= time && s.end > s.start) break;
    --i;
  }
  return i;
}

SpanId SpanIndex::hit(std::size_t lane_index, Picoseconds time, Picoseconds tolerance) const {
  const Lane& lane = lanes_[lane_index];
  const TimeRange near{time - tolerance, time + tolerance + Picoseconds{1}};
  SpanId longest = kNoSpan;
  std::int64_t most = 0;
  std::uint32_t looked = 0;
  for (std::uint32_t i = first_reaching(lane, near.begin); i < lane.last && looked < 4096; ++i, ++looked) {
    const SpanId id = at(i);
    const Span& s = timeline_->spans[id];
    if (s.start >= near.end) break;
    if (s.end <= near.begin || !is_work(id)) continue;
    if (s.start <= time && time < s.end) return id;
    const std::int64_t length = range(id).length().v;
    if (length > most) {
      most = length;
      longest = id;
    }
  }
  return longest;
}

SpanId SpanIndex::waiting(std::size_t lane_index, Picoseconds time) const {
  const Lane& lane = lanes_[lane_index];
  if (!lane.compute || hit(lane_index, time) != kNoSpan) return kNoSpan;
  // Waits without work stand between; the first with a wait that reaches back to the time is the one.
  std::uint32_t looked = 0;
  for (std::uint32_t i = first_reaching(lane, time); i < lane.last && looked < 2 * kLookBack; ++i, ++looked) {
    const SpanId id = at(i);
    const Span& s = timeline_->spans[id];
    if (s.start <= time && time < s.end) return id;  // a wait with a length of its own
    if (s.start > time && wait_before(id).contains(time)) return id;
    if (s.start > time && has_length(id)) break;
  }
  return kNoSpan;
}

SpanId SpanIndex::nearest(std::size_t lane_index, Picoseconds time) const {
  const SpanId found = hit(lane_index, time);
  if (found != kNoSpan) return found;
  const Lane& lane = lanes_[lane_index];
  const std::uint32_t middle = first_at(lane, time);
  SpanId best = kNoSpan;
  std::int64_t least = INT64_MAX;
  const auto consider = [&](SpanId id, std::int64_t distance) {
    if (distance >= least) return;
    least = distance;
    best = id;
  };
  for (std::uint32_t i = middle; i < lane.last; ++i) {
    const SpanId id = at(i);
    if (!is_work(id)) continue;
    consider(id, range(id).begin.v - within(time));
    break;
  }
  for (std::uint32_t i = middle; i > lane.first; --i) {
    const SpanId id = at(i - 1);
    if (!is_work(id)) continue;
    consider(id, within(time) - range(id).end.v + 1);
    break;
  }
  return best;
}

SpanId SpanIndex::next(SpanId span) const {
  const auto lane = lane_of(span);
  if (!lane) return kNoSpan;
  for (std::uint32_t i = place(span) + 1; i < lanes_[*lane].last; ++i) {
    if (is_work(at(i))) return at(i);
  }
  return kNoSpan;
}

SpanId SpanIndex::previous(SpanId span) const {
  const auto lane = lane_of(span);
  if (!lane) return kNoSpan;
  for (std::uint32_t i = place(span); i > lanes_[*lane].first; --i) {
    if (is_work(at(i - 1))) return at(i - 1);
  }
  return kNoSpan;
}

std::int64_t SpanIndex::ranks_like(const Lane& lane) const {
  const std::vector<std::int64_t>& weights = timeline_->weights;
  return lane.rank < weights.size() ? std::max<std::int64_t>(1, weights[lane.rank]) : 1;
}

std::span<const Pass> SpanIndex::passes(std::size_t lane) const {
  return std::span(passes_).subspan(lane_passes_[lane], lane_passes_[lane + 1] - lane_passes_[lane]);
}

Totals SpanIndex::totals(std::size_t lane_index, TimeRange wanted) const {
  const Lane& lane = lanes_[lane_index];
  Totals result;
  const std::uint32_t from = first_reaching(lane, wanted.begin);
  std::int64_t free = free_before(lane, from).v;
  for (std::uint32_t i = from; i < lane.last; ++i) {
    const SpanId id = at(i);
    const Span& s = timeline_->spans[id];
    const TimeRange own = range(id);
    const auto clipped = [&](std::int64_t from_time, std::int64_t to_time) {
      return Picoseconds{std::max<std::int64_t>(0, std::min(to_time, wanted.end.v) - std::max(from_time, wanted.begin.v))};
    };
    if (s.waited.v > 0 && own.begin.v > free) {
      const std::int64_t begin = own.begin.v - std::min(s.waited.v, own.begin.v - free);
      result.waiting[static_cast<std::size_t>(s.cause)] += clipped(begin, own.begin.v);
    }
    const std::size_t in = slot_of(s);
    (in < kSlots ? result.work[in] : result.waiting[static_cast<std::size_t>(s.cause)]) += clipped(own.begin.v, own.end.v);
    free = std::max(free, own.end.v);
    if (own.begin >= wanted.end) break;  // only its wait reached back
  }
  return result;
}

std::vector<std::uint32_t> SpanIndex::flows_of(SpanId span) const {
  const std::vector<Flow>& flows = timeline_->flows;
  std::vector<std::uint32_t> result;
  const auto by_from = [&](std::uint32_t i) { return flows_from_.empty() ? i : flows_from_[i]; };
  std::uint32_t low = 0, high = static_cast<std::uint32_t>(flows.size());
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (flows[by_from(middle)].from < span) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (; low < flows.size() && flows[by_from(low)].from == span; ++low) result.push_back(by_from(low));
  const auto to = std::lower_bound(flows_to_.begin(), flows_to_.end(), span, [&](std::uint32_t i, SpanId wanted) { return flows[i].to < wanted; });
  for (auto it = to; it != flows_to_.end() && flows[*it].to == span; ++it) result.push_back(*it);
  return result;
}

std::size_t SpanIndex::bytes() const {
  const auto held = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
  return held(lanes_) + held(order_) + held(places_) + held(slots_) + pyramid_.bytes() + held(passes_) + held(lane_passes_) + held(flows_to_) +
         held(flows_from_);
}

}  // namespace orrery::view
