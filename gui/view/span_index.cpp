#include "gui/view/span_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <string_view>

namespace orrery::view {

namespace {

constexpr std::int64_t kFarthest = std::int64_t{1} << 60U;  // sums and differences of such times are still whole numbers of 64 bits
constexpr std::uint32_t kSpansPerBucket = 4;
constexpr std::uint32_t kFewest = 64;    // spans of a lane that has a pyramid
constexpr std::uint32_t kSampled = 32;   // spans looked at in one pixel
constexpr std::uint32_t kLookBack = 64;  // spans that may overlap the one before which a search begins
constexpr std::size_t kCauses = 8;

std::int64_t within(Picoseconds t) { return std::clamp(t.v, -kFarthest, kFarthest); }

// Of what is not negative; std::lround is a call, and there are a hundred thousand a frame.
std::int32_t whole_pixel(double pixel) { return static_cast<std::int32_t>(pixel + 0.5); }  // NOLINT(bugprone-incorrect-roundings)

std::uint8_t part(std::int64_t time, double scale) {
  return static_cast<std::uint8_t>(std::clamp(static_cast<double>(time) * scale + 0.5, 1.0, 255.0));
}

// Times that are being added up to a Mix: by slot, then by cause of waiting. Few of them are not zero at a time, and only those are touched.
struct Sum {
  std::array<std::int64_t, kSlots + kCauses> times{};
  std::uint32_t touched = 0;  // bits

  bool any() const { return touched != 0; }
  void add(std::size_t which, std::int64_t time) {
    times[which] += time;
    touched |= 1U << which;
  }
  void add(const Sum& o) {
    for (std::uint32_t bits = o.touched; bits != 0; bits &= bits - 1)
      add(static_cast<std::size_t>(std::countr_zero(bits)), o.times[static_cast<std::size_t>(std::countr_zero(bits))]);
  }
  void clear() {
    for (std::uint32_t bits = touched; bits != 0; bits &= bits - 1) times[static_cast<std::size_t>(std::countr_zero(bits))] = 0;
    touched = 0;
  }
  // `scale`: 255 by the length of the stretch.
  Mix mix(double scale) const {
    Mix m;
    std::int64_t waited = 0, most = 0;
    for (std::uint32_t bits = touched; bits != 0; bits &= bits - 1) {
      const auto which = static_cast<std::size_t>(std::countr_zero(bits));
      const std::int64_t time = times[which];
      if (time <= 0) continue;
      if (which < kSlots) {
        m.share[which] = part(time, scale);
        continue;
      }
      waited += time;
      if (time > most) {
        most = time;
        m.cause = static_cast<WaitCause>(which - kSlots);
      }
    }
    if (waited > 0) m.waiting = part(waited, scale);
    return m;
  }
};

// Bits for how an operator's name says which way it goes.
enum : std::uint8_t { kForward = 1, kBackward = 2, kWeights = 4, kUpdate = 8 };
std::uint8_t direction(const SpanKind& kind) {
  if (kind.work == WorkClass::control || is_communication(kind.work)) return 0;
  if (kind.work == WorkClass::optimizer) return kUpdate;
  const std::string_view name = kind.name;
  if (name.find("weight_grad") != std::string_view::npos) return kWeights;
  if (name.find("_grad") != std::string_view::npos || name.find("_backward") != std::string_view::npos) return kBackward;
  return name.find("_forward") != std::string_view::npos ? kForward : 0;
}

PassKind pass_kind(const std::array<std::int64_t, 4>& time) {
  const auto [forward, backward, weights, update] = time;
  const std::int64_t back = backward + weights;
  if (update > forward + back) return PassKind::update;
  if (forward + back == 0) return PassKind::other;
  if (forward > 8 * back) return PassKind::forward;  // the last stage's forward pass may begin the loss's backward one
  if (back > 8 * forward) return weights > 8 * backward ? PassKind::weights : PassKind::backward;
  return PassKind::both;
}

}  // namespace

std::size_t slot(WorkClass work, bool recompute) {
  if (work == WorkClass::control) return kSlots;
  if (recompute && !is_communication(work)) return kRecomputeSlot;
  return static_cast<std::size_t>(hue(work));
}

std::string_view slot_name(std::size_t slot) { return slot == kRecomputeSlot ? "run again" : name(static_cast<Hue>(slot)); }

int Mix::busy() const { return std::min(255, std::accumulate(share.begin(), share.end(), 0)); }

std::size_t Mix::dominant() const {
  const auto most = std::max_element(share.begin(), share.end());
  return *most == 0 ? kSlots : static_cast<std::size_t>(most - share.begin());
}

std::string_view letter(PassKind kind) {
  constexpr std::array<std::string_view, 6> kLetters{"F", "B", "W", "F+B", "update", ""};
  return kLetters[static_cast<std::size_t>(kind)];
}

Picoseconds Totals::busy() const { return std::accumulate(work.begin(), work.end(), Picoseconds{0}); }
Picoseconds Totals::waited() const { return std::accumulate(waiting.begin(), waiting.end(), Picoseconds{0}); }

void Visible::clear() {
  gaps.clear();
  columns.clear();
  runs.clear();
}

SpanIndex::SpanIndex(std::shared_ptr<const Timeline> timeline) : timeline_(std::move(timeline)) {
  const std::vector<Span>& spans = timeline_->spans;
  for (const SpanKind& kind : timeline_->kinds) slots_.push_back(static_cast<std::uint8_t>(slot(kind.work, false)));
  const auto before = [](const Span& a, const Span& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.stream != b.stream ? a.stream < b.stream : a.start < b.start;
  };
  const auto count = static_cast<std::uint32_t>(spans.size());
  if (!std::is_sorted(spans.begin(), spans.end(), before)) {
    order_.resize(count);
    std::iota(order_.begin(), order_.end(), 0U);
    std::stable_sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) { return before(spans[a], spans[b]); });
    places_.resize(count);
    for (std::uint32_t i = 0; i < count; ++i) places_[order_[i]] = i;
  }
  whole_ = {Picoseconds{0}, Picoseconds{std::max<std::int64_t>(0, within(timeline_->step))}};
  for (std::uint32_t first = 0; first < count;) {
    const Span& head = spans[at(first)];
    std::uint32_t last = first;
    while (last < count && spans[at(last)].rank == head.rank && spans[at(last)].stream == head.stream) ++last;
    add_lane(first, last);
    first = last;
  }
  lane_passes_.push_back(static_cast<std::uint32_t>(passes_.size()));
  buckets_.shrink_to_fit();
  passes_.shrink_to_fit();
  const std::vector<Flow>& flows = timeline_->flows;
  flows_to_.resize(flows.size());
  std::iota(flows_to_.begin(), flows_to_.end(), 0U);
  std::sort(flows_to_.begin(), flows_to_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return flows[a].to != flows[b].to ? flows[a].to < flows[b].to : a < b; });
  if (!std::is_sorted(flows.begin(), flows.end(), [](const Flow& a, const Flow& b) { return a.from < b.from; })) {
    flows_from_.resize(flows.size());
    std::iota(flows_from_.begin(), flows_from_.end(), 0U);
    std::stable_sort(flows_from_.begin(), flows_from_.end(), [&](std::uint32_t a, std::uint32_t b) { return flows[a].from < flows[b].from; });
  }
}

void SpanIndex::add_lane(std::uint32_t first, std::uint32_t last) {
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
    const std::size_t in = s.recompute ? slot(timeline_->kinds[s.kind].work, true) : slots_[s.kind];
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
  if (last - first >= kFewest) build_pyramid(lane);
  if (lane.compute) find_passes(lane);
  lanes_.push_back(lane);
}

void SpanIndex::build_pyramid(Lane& lane) {
  const std::int64_t wanted = lane.range.length().v / std::max<std::int64_t>(1, (lane.last - lane.first) / kSpansPerBucket);
  std::uint8_t finest = 0;
  while ((std::int64_t{1} << finest) < wanted) ++finest;
  lane.finest = finest;
  lane.level_base = static_cast<std::uint32_t>(levels_.size());
  const std::int64_t begin = lane.range.begin.v, end = std::max(begin, lane.range.end.v - 1);
  for (std::uint32_t exponent = finest;; ++exponent) {
    Level level;
    level.first = begin >> exponent;
    level.count = static_cast<std::uint32_t>((end >> exponent) - level.first + 1);
    level.offset = static_cast<std::uint32_t>(buckets_.size());
    buckets_.resize(buckets_.size() + level.count);
    levels_.push_back(level);
    ++lane.levels;
    if (level.count <= 2) break;
  }
  // One sum for each level: what ends a bucket of one level goes on into the next, so that every level is exact.
  std::array<Sum, 64> sums;
  std::int64_t bucket = begin >> finest;
  const auto close = [&](std::int64_t next) {  // leaves bucket `bucket` for `next`
    for (std::uint8_t l = 0; l < lane.levels; ++l) {
      if ((bucket >> l) == (next >> l)) break;
      if (!sums[l].any()) continue;
      const Level& level = levels_[lane.level_base + l];
      buckets_[level.offset + static_cast<std::size_t>((bucket >> l) - level.first)] = sums[l].mix(std::ldexp(255.0, -(finest + l)));
      if (l + 1 < lane.levels) sums[l + 1].add(sums[l]);
      sums[l].clear();
    }
    bucket = next;
  };
  const auto add = [&](std::int64_t from, std::int64_t to, bool work, std::size_t index) {
    from = std::max(from, bucket << finest);  // overlapping spans: what is past is past
    while (from < to) {
      if ((from >> finest) != bucket) close(from >> finest);
      const std::int64_t cut = std::min(to, (bucket + 1) << finest);
      sums[0].add(work ? index : kSlots + index, cut - from);
      from = cut;
    }
  };
  std::int64_t free = begin;
  for (std::uint32_t i = lane.first; i < lane.last; ++i) {
    const Span& s = timeline_->spans[at(i)];
    const std::int64_t start = within(s.start), stop = within(s.end);
    const auto cause = static_cast<std::size_t>(s.cause);
    if (lane.compute && s.waited.v > 0 && start > free) add(std::max(free, start - std::min(s.waited.v, start - free)), start, false, cause);
    const std::size_t in = s.recompute ? slot(timeline_->kinds[s.kind].work, true) : slots_[s.kind];
    if (stop > start) {
      if (in < kSlots) {
        add(start, stop, true, in);
      } else if (lane.compute) {
        add(start, stop, false, cause);
      }
    }
    free = std::max(free, stop);
  }
  close(INT64_MAX);
}

void SpanIndex::find_passes(const Lane& lane) {
  std::vector<std::uint8_t> way;
  for (const SpanKind& kind : timeline_->kinds) way.push_back(direction(kind));
  std::array<std::int64_t, 4> time{};
  bool open = false;
  Pass pass;
  const auto finish = [&] {
    if (!open) return;
    pass.kind = pass_kind(time);
    passes_.push_back(pass);
    open = false;
  };
  for (std::uint32_t i = lane.first; i < lane.last; ++i) {
    const Span& s = timeline_->spans[at(i)];
    if (s.end <= s.start || slots_[s.kind] == kSlots) continue;
    const TimeRange range{Picoseconds{within(s.start)}, Picoseconds{within(s.end)}};
    if (!open || s.pass != pass.pass) {
      finish();
      pass = {range, s.pass, 0xffff, PassKind::other};
      time = {};
      open = true;
    }
    pass.range.end = std::max(pass.range.end, range.end);
    if (pass.microbatch == 0xffff) pass.microbatch = s.microbatch;
    if (s.recompute) continue;
    for (std::size_t bit = 0; bit < 4; ++bit) {
      if ((way[s.kind] >> bit & 1U) != 0) time[bit] += range.length().v;
    }
  }
  finish();
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

void SpanIndex::visible(std::size_t lane_index, const TimeAxis& axis, Visible& out) const {
  out.clear();
  const Lane& lane = lanes_[lane_index];
  if (!axis.range().overlaps(lane.range)) return;
  const std::uint32_t from = first_reaching(lane, axis.range().begin);
  std::uint32_t to = first_at(lane, axis.range().end);
  if (to < lane.last && lane.compute) ++to;  // the wait of the first span beyond the right edge may be in sight
  const double per_pixel = 1 / axis.pixels_per_picosecond();
  if (lane.levels != 0 && static_cast<double>(to - from) > 2 * axis.width()) {
    std::uint32_t exponent = lane.finest;
    if (std::ldexp(1.0, static_cast<int>(exponent)) < 2 * per_pixel) {
      while (std::ldexp(1.0, static_cast<int>(exponent)) < per_pixel && exponent + 1U < lane.finest + 0U + lane.levels) ++exponent;
      bucketed(levels_[lane.level_base + exponent - lane.finest], exponent, axis, out);
      return;
    }
  }
  exact(lane, axis, from, to, out);
}

void SpanIndex::bucketed(const Level& level, std::uint32_t exponent, const TimeAxis& axis, Visible& out) const {
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
      if (!out.columns.empty() && out.columns.back().x1 == left && out.columns.back().mix == mix) {
        out.columns.back().x1 = right;
      } else {
        out.columns.push_back({left, right, mix});
      }
    }
    left = right;
  }
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
  Sum sum;
  const auto flush = [&] {
    if (!sum.any()) return;
    out.columns.push_back({column, column + 1, sum.mix(per_pixel)});
    sum.clear();
  };
  // What is too short to be seen counts where its middle is.
  const auto mix = [&](std::int64_t start, std::int64_t end, bool work, std::size_t index, std::int64_t weight) {
    const double middle = place_of(start + (end - start) / 2);
    if (end <= start || middle < 0 || middle >= width) return;
    const auto x = std::min(static_cast<std::int32_t>(middle), last_pixel - 1);
    if (x < column) return;  // overlapping spans
    if (x > column) {
      flush();
      column = x;
    }
    sum.add(work ? index : kSlots + index, (end - start) * weight);
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
    const auto cause = static_cast<std::size_t>(s.cause);
    if (lane.compute && s.waited.v > 0 && start > free) {
      const std::int64_t begin = start - std::min(s.waited.v, start - free);
      const std::int32_t x0 = edge(begin), x1 = edge(start);
      if (x1 > x0 && is_seen(begin, start)) {
        out.gaps.push_back({x0, x1, id});
      } else {
        mix(begin, start, false, cause, stride);
      }
    }
    if (end > start) {
      const std::size_t in = s.recompute ? slot(timeline_->kinds[s.kind].work, true) : slots_[s.kind];
      const std::int32_t x0 = edge(start), x1 = is_seen(start, end) ? edge(end) : x0;
      if (in >= kSlots) {
        if (lane.compute && x1 > x0) {
          out.gaps.push_back({x0, x1, id});
        } else if (lane.compute) {
          mix(start, end, false, cause, stride);
        }
      } else if (x1 > x0) {
        out.runs.push_back({x0, x1, id});
      } else {
        mix(start, end, true, in, stride);
      }
    }
    // Where spans are left out, those between are taken for as busy as those that are looked at.
    free = stride > 1 && i + stride < to ? within(timeline_->spans[at(i + stride - 1)].end) : std::max(free, end);
  }
  flush();
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
    if (s.end <= near.begin || !has_length(id) || slots_[s.kind] >= kSlots) continue;
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
    if (!has_length(id) || slots_[timeline_->spans[id].kind] >= kSlots) continue;
    consider(id, range(id).begin.v - within(time));
    break;
  }
  for (std::uint32_t i = middle; i > lane.first; --i) {
    const SpanId id = at(i - 1);
    if (!has_length(id) || slots_[timeline_->spans[id].kind] >= kSlots) continue;
    consider(id, within(time) - range(id).end.v + 1);
    break;
  }
  return best;
}

SpanId SpanIndex::next(SpanId span) const {
  const auto lane = lane_of(span);
  if (!lane) return kNoSpan;
  for (std::uint32_t i = place(span) + 1; i < lanes_[*lane].last; ++i) {
    if (has_length(at(i)) && slots_[timeline_->spans[at(i)].kind] < kSlots) return at(i);
  }
  return kNoSpan;
}

SpanId SpanIndex::previous(SpanId span) const {
  const auto lane = lane_of(span);
  if (!lane) return kNoSpan;
  for (std::uint32_t i = place(span); i > lanes_[*lane].first; --i) {
    if (has_length(at(i - 1)) && slots_[timeline_->spans[at(i - 1)].kind] < kSlots) return at(i - 1);
  }
  return kNoSpan;
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
    const std::size_t in = slot(timeline_->kinds[s.kind].work, s.recompute);
    (in < kSlots ? result.work[in] : result.waiting[static_cast<std::size_t>(s.cause)]) += clipped(own.begin.v, own.end.v);
    free = std::max(free, own.end.v);
    if (own.begin >= wanted.end) break;  // only its wait reached back
  }
  return result;
}

std::vector<Mix> SpanIndex::density(std::size_t parts) const {
  std::vector<Sum> sums(parts);
  const TimeAxis axis(whole_, static_cast<double>(parts));
  std::int64_t lanes = 0;
  Visible seen;
  for (std::size_t l = 0; l < lanes_.size(); ++l) {
    if (!lanes_[l].compute || !lanes_[l].works) continue;
    const std::uint32_t rank = lanes_[l].rank;
    const std::int64_t weight = rank < timeline_->weights.size() ? std::max<std::int64_t>(1, timeline_->weights[rank]) : 1;
    lanes += weight;
    visible(l, axis, seen);
    const auto each = [&](std::int32_t x0, std::int32_t x1, auto&& add) {
      for (std::int32_t x = std::max(0, x0); x < std::min(x1, static_cast<std::int32_t>(parts)); ++x) {
        add(sums[static_cast<std::size_t>(x)]);
      }
    };
    for (const Gap& g : seen.gaps) {
      each(g.x0, g.x1, [&](Sum& s) { s.add(kSlots + static_cast<std::size_t>(timeline_->spans[g.before].cause), 255 * weight); });
    }
    for (const Column& c : seen.columns) {
      each(c.x0, c.x1, [&](Sum& s) {
        for (std::size_t i = 0; i < kSlots; ++i) s.add(i, c.mix.share[i] * weight);
        s.add(kSlots + static_cast<std::size_t>(c.mix.cause), c.mix.waiting * weight);
      });
    }
    for (const Run& r : seen.runs) {
      const Span& span = timeline_->spans[r.span];
      each(r.x0, r.x1, [&](Sum& s) { s.add(slot(timeline_->kinds[span.kind].work, span.recompute), 255 * weight); });
    }
  }
  std::vector<Mix> result;
  result.reserve(parts);
  for (const Sum& s : sums) result.push_back(s.mix(1 / static_cast<double>(std::max<std::int64_t>(1, lanes))));
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
  return held(lanes_) + held(order_) + held(places_) + held(slots_) + held(buckets_) + held(levels_) + held(passes_) + held(lane_passes_) +
         held(flows_to_) + held(flows_from_);
}

}  // namespace orrery::view
