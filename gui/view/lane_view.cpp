#include "gui/view/lane_view.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace orrery::view {

namespace {

constexpr double kSeen = 3;           // pixels: what is shorter is zoomed to
constexpr std::int64_t kAround = 20;  // of what is zoomed to, on either side of it

std::set<std::uint32_t> ranks_of(const LaneLayout& layout) {
  std::set<std::uint32_t> ranks;
  for (const Row& r : layout.rows()) ranks.insert(r.rank);
  return ranks;
}

}  // namespace

void LaneView::show(std::shared_ptr<const SpanIndex> index) {
  const bool first = index_ == nullptr, all = axis_.range() == axis_.whole();
  index_ = std::move(index);
  over_ = nullptr;
  if (index_ && (first || all)) {
    axis_ = TimeAxis(index_->whole(), axis_.width());
  } else if (index_) {
    axis_.set_whole(index_->whole());
  }
  lay_out();
  if (index_ && first && layout_->rows().size() > kManyRows) set_collapsed(ranks_of(*layout_));
}

void LaneView::lay_over(std::shared_ptr<const SpanIndex> over) {
  if (over == over_) return;
  const bool all = axis_.range() == axis_.whole(), first = over_ == nullptr && over != nullptr;
  over_ = std::move(over);
  if (index_) {
    axis_.set_whole(over_ ? united(index_->whole(), over_->whole()) : index_->whole());
    if (all) axis_.fit();
  }
  lay_out();
  if (first && layout_->rows().size() > kManyRows) set_collapsed(ranks_of(*layout_));
}

void LaneView::resize(double width, double height) {
  if (width == axis_.width() && height == height_) return;
  axis_.set_width(width);
  const bool other = height != std::exchange(height_, height);
  if (other) lay_out();
}

bool LaneView::has(SpanAt span) const {
  const SpanIndex* index = index_of(span.other);
  return index != nullptr && span.span < index->timeline().spans.size();
}

void LaneView::lay_out() {
  LayoutChoice choice = choice_;
  choice.compute_height = 2 * kRibbon + 8;
  choice.stream_height = 15;
  choice.available = height_ - kMargin;
  choice.most_growth = 1.8;
  layout_ = index_ ? std::make_shared<const LaneLayout>(*index_, over_.get(), choice) : std::make_shared<const LaneLayout>();
  scroll_to(scroll_);
}

void LaneView::fit(SpanAt span) {
  if (!has(span)) return;
  axis_.fit(index_of(span.other)->range(span.span));
  reveal(span);
}

void LaneView::reveal(SpanAt span) {
  if (!has(span)) return;
  const SpanIndex& index = *index_of(span.other);
  std::optional<std::size_t> row = row_of(span);
  if (!row) {  // its rank is collapsed, or its stream folded away
    const Span& s = index.timeline().spans[span.span];
    choice_.collapsed.erase(s.rank);
    if (s.stream < index.timeline().streams.size()) choice_.folded.erase(index.timeline().streams[s.stream]);
    lay_out();
    row = row_of(span);
  }
  const TimeRange range = index.range(span.span);
  if (range.length().v > 0 && static_cast<double>(range.length().v) * axis_.pixels_per_picosecond() < kSeen) {
    const Picoseconds around{range.length().v * kAround};
    axis_.show({range.begin - around, range.end + around});
  } else {
    axis_.reveal(range);
  }
  if (!row) return;
  const Row& r = layout_->rows()[*row];
  if (r.y < scroll_) scroll_to(r.y - kMargin);
  if (r.y + r.height > scroll_ + height_) scroll_to(r.y + r.height + kMargin - height_);
}

void LaneView::centre_on(Picoseconds time) {
  const Picoseconds length = axis_.range().length(), begin = time - length / std::int64_t{2};
  axis_.show({begin, begin + length});
}

void LaneView::go_to(End end) {
  const Picoseconds length = axis_.range().length();
  const TimeRange whole = axis_.whole();
  axis_.show(end == End::begin ? TimeRange{whole.begin, whole.begin + length} : TimeRange{whole.end - length, whole.end});
}

void LaneView::set_collapsed(std::set<std::uint32_t> ranks) {
  choice_.collapsed = std::move(ranks);
  lay_out();
}

void LaneView::set_folded(std::set<std::string> streams) {
  choice_.folded = std::move(streams);
  lay_out();
}

void LaneView::fold(std::uint32_t rank, bool all) {
  const bool away = !choice_.collapsed.contains(rank);
  if (all) {
    set_collapsed(away ? ranks_of(*layout_) : std::set<std::uint32_t>{});
    return;
  }
  std::set<std::uint32_t> collapsed = choice_.collapsed;
  if (away) {
    collapsed.insert(rank);
  } else {
    collapsed.erase(rank);
  }
  set_collapsed(std::move(collapsed));
}

double LaneView::scroll_limit() const { return std::max(0.0, layout_->height() + kMargin - height_); }

void LaneView::scroll_to(double y) { scroll_ = std::clamp(y, 0.0, scroll_limit()); }

std::optional<std::size_t> LaneView::row_of(SpanAt span) const {
  if (!has(span)) return std::nullopt;
  const auto lane = index_of(span.other)->lane_of(span.span);
  if (!lane) return std::nullopt;
  return layout_->row_of(span.other ? RowKind::other : RowKind::lane, *lane);
}

const Row* LaneView::row_at(double y) const {
  const auto row = layout_->row_at(y + scroll_);
  return row ? &layout_->rows()[*row] : nullptr;
}

std::optional<Box> LaneView::box_of(SpanAt span) const {
  const auto row = row_of(span);
  if (!row) return std::nullopt;
  const Row& r = layout_->rows()[*row];
  const TimeRange range = index_of(span.other)->range(span.span);
  const double x0 = axis_.pixel(range.begin), x1 = axis_.pixel(range.end);
  return Box{x0, r.y + r.body() - scroll_, std::max(1.0, x1 - x0), r.height - r.body()};
}

std::optional<SpanAt> LaneView::span_at(double x, double y) const {
  const Row* row = row_at(y);
  if (row == nullptr) return std::nullopt;
  const bool other = row->kind == RowKind::other;  // in a lane of differences: the timeline's own
  const Picoseconds tolerance{std::llround(1.5 / axis_.pixels_per_picosecond())};
  const SpanId found = index_of(other)->hit(other ? *row->other : *row->lane, axis_.time(x), tolerance);
  if (found == kNoSpan) return std::nullopt;
  return SpanAt{found, other};
}

std::optional<SpanAt> LaneView::waiting_at(double x, double y) const {
  const Row* row = row_at(y);
  if (row == nullptr || row->kind == RowKind::difference) return std::nullopt;
  const bool other = row->kind == RowKind::other;
  const SpanId found = index_of(other)->waiting(other ? *row->other : *row->lane, axis_.time(x));
  if (found == kNoSpan) return std::nullopt;
  return SpanAt{found, other};
}

std::optional<SpanAt> LaneView::first_in_sight() const {
  const auto [first, last] = layout_->rows_between(scroll_, scroll_ + height_);
  for (std::size_t i = first; i < last; ++i) {
    const Row& row = layout_->rows()[i];
    if (!row.lane) continue;
    const SpanId found = index_->nearest(*row.lane, axis_.time(axis_.width() / 2));
    if (found != kNoSpan) return SpanAt{found, false};
  }
  return std::nullopt;
}

std::optional<SpanAt> LaneView::beside(SpanAt span, int by) const {
  if (!has(span)) return std::nullopt;
  const SpanIndex& index = *index_of(span.other);
  const SpanId found = by > 0 ? index.next(span.span) : index.previous(span.span);
  if (found == kNoSpan) return std::nullopt;
  return SpanAt{found, span.other};
}

std::optional<SpanAt> LaneView::above(SpanAt span, int by) const {
  const auto row = row_of(span);
  if (!row) return std::nullopt;
  const TimeRange range = index_of(span.other)->range(span.span);
  const Picoseconds middle = range.begin + range.length() / std::int64_t{2};
  const auto count = static_cast<std::ptrdiff_t>(layout_->rows().size());
  for (auto i = static_cast<std::ptrdiff_t>(*row) + by; i >= 0 && i < count; i += by) {
    const Row& r = layout_->rows()[static_cast<std::size_t>(i)];
    if (r.kind == RowKind::difference) continue;
    const bool other = r.kind == RowKind::other;
    const SpanId found = index_of(other)->nearest(other ? *r.other : *r.lane, middle);
    if (found != kNoSpan) return SpanAt{found, other};
  }
  return std::nullopt;
}

}  // namespace orrery::view
