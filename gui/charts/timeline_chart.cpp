#include "gui/charts/timeline_chart.h"

#include <QFontMetricsF>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPaintEngine>
#include <QPainter>
#include <QPainterPath>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/quantity_text.h"

namespace orrery::gui {
namespace {

constexpr double kGutter = 148, kLegend = 24, kMinimap = 30, kRuler = 20, kRight = 10, kGap = 4;
constexpr double kKeyPan = 0.125;      // of what is visible, a press
constexpr double kWheelNotch = 1.25;   // zoom of one notch of 15 degrees
constexpr std::size_t kManyRows = 64;  // more lanes than this begin with their ranks collapsed
constexpr int kClick = 4;              // pixels that the mouse may move in a click
constexpr std::size_t kMinimapParts = 1024;

QString words(const std::string& text) { return QString::fromStdString(text); }
QString words(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }
QString time_text(Picoseconds t) { return words(format_seconds(t)); }

QString place_text(Picoseconds t) { return words(view::format_time(t, Picoseconds{1'000'000})); }  // to a microsecond

QString slot_text(std::size_t slot) { return slot == kWaitingSlot ? QStringLiteral("waiting") : words(view::slot_name(slot)); }

QString cause_text(WaitCause cause) {
  switch (cause) {
    case WaitCause::none:
      return QStringLiteral("idle");
    case WaitCause::host:
      return QStringLiteral("waiting for the host");
    case WaitCause::compute:
      return QStringLiteral("waiting for another stream's kernels");
    case WaitCause::tp:
      return QStringLiteral("waiting for tp communication");
    case WaitCause::cp:
      return QStringLiteral("waiting for cp communication");
    case WaitCause::ep:
      return QStringLiteral("waiting for ep communication");
    case WaitCause::pp:
      return QStringLiteral("bubble: waiting for a pipeline peer");
    case WaitCause::dp:
      return QStringLiteral("waiting for dp communication");
  }
  return {};
}

QColor translucent(QColor c, double alpha) {
  c.setAlphaF(static_cast<float>(alpha));
  return c;
}

}  // namespace

TimelineChart::TimelineChart(QWidget* parent) : Chart(QStringLiteral("timeline"), parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setMinimumSize(420, 220);
  setToolTipDuration(-1);
}

// --- What is shown -------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::show_timeline(std::shared_ptr<const view::SpanIndex> index) {
  const bool first = scene_.index == nullptr;
  scene_.index = std::move(index);
  scene_.over = nullptr;
  scene_.differences = nullptr;
  scene_.matches = nullptr;
  selection_.reset();
  arrows_.clear();
  first_mark_.reset();
  measured_.reset();
  legend_.clear();
  density_.clear();
  if (scene_.index) {
    std::array<bool, view::kSlots> seen{};
    bool waits = false;
    std::size_t lanes = 0;
    std::set<std::uint32_t> ranks;
    for (const view::SpanIndex::Lane& lane : scene_.index->lanes()) {
      for (std::size_t s = 0; s < seen.size(); ++s) seen[s] = seen[s] || lane.totals.work[s].v > 0;
      waits = waits || (lane.compute && lane.totals.waited().v > 0);
      lanes += lane.works ? 1 : 0;
      ranks.insert(lane.rank);
    }
    for (std::size_t s = 0; s < seen.size(); ++s)
      if (seen[s]) legend_.push_back(s);
    if (waits) legend_.push_back(kWaitingSlot);
    density_ = scene_.index->density(kMinimapParts);
    const bool all = axis_.range() == axis_.whole();
    const view::TimeRange whole = scene_.index->whole();
    if (first || all) {
      axis_ = view::TimeAxis(whole, axis_.width());
      if (first && lanes > kManyRows) choice_.collapsed = ranks;
    } else {
      axis_.set_whole(whole);
    }
  }
  forget_layout();
  Q_EMIT selection_changed();
  Q_EMIT measured_changed();
}

void TimelineChart::lay_over(std::shared_ptr<const view::SpanIndex> over, std::shared_ptr<const view::Differences> differences) {
  const bool all = axis_.range() == axis_.whole(), first = scene_.over == nullptr && over != nullptr;
  scene_.over = std::move(over);
  scene_.differences = std::move(differences);
  if (selection_ && selection_->other) select(std::nullopt);
  std::erase_if(arrows_, [](const Arrow& a) { return a.from.other; });
  if (scene_.index) {
    axis_.set_whole(scene_.over ? view::united(scene_.index->whole(), scene_.over->whole()) : scene_.index->whole());
    if (all) axis_.fit();
  }
  forget_layout();
  if (first && lanes().rows().size() > kManyRows) {
    std::set<std::uint32_t> ranks;
    for (const view::Row& r : lanes().rows()) ranks.insert(r.rank);
    set_collapsed(std::move(ranks));
  }
}

// --- Where one looks -----------------------------------------------------------------------------------------------------------------------------

void TimelineChart::moved() {
  scroll_ = std::clamp(scroll_, 0.0, scroll_limit(size()));
  update();
  Q_EMIT range_changed();
}

void TimelineChart::show_range(std::optional<view::TimeRange> range) {
  const view::TimeAxis before = axis_;
  if (range) {
    axis_.show(*range);
  } else {
    axis_.fit();
  }
  if (!(axis_ == before)) update();
}

void TimelineChart::fit_all() {
  axis_.fit();
  moved();
}

void TimelineChart::fit_selection() {
  if (!selection_ || index_of(selection_->other) == nullptr) {
    fit_all();
    return;
  }
  axis_.fit(index_of(selection_->other)->range(selection_->span));
  reveal(*selection_);
  moved();
}

void TimelineChart::zoom(double factor) {
  double at = axis_.width() / 2;
  if (cursor_ && axis_.range().contains(*cursor_)) at = axis_.pixel(*cursor_);
  axis_.zoom(at, factor);
  moved();
}

void TimelineChart::reveal(SpanAt span) {
  const view::SpanIndex* index = index_of(span.other);
  if (index == nullptr || span.span >= index->timeline().spans.size()) return;
  const view::LaneLayout* layout = &layout_for(size());
  std::optional<std::size_t> row = row_of(span, *layout);
  if (!row) {  // its rank is collapsed, or its stream folded away
    const Span& s = index->timeline().spans[span.span];
    choice_.collapsed.erase(s.rank);
    choice_.folded.erase(index->timeline().streams[s.stream]);
    forget_layout();
    layout = &layout_for(size());
    row = row_of(span, *layout);
  }
  const view::TimeRange range = index->range(span.span);
  if (range.length().v > 0 && static_cast<double>(range.length().v) * axis_.pixels_per_picosecond() < 3) {
    const Picoseconds around{range.length().v * 20};
    axis_.show({range.begin - around, range.end + around});
  } else {
    axis_.reveal(range);
  }
  if (row) {
    const view::Row& r = layout->rows()[*row];
    const double height = geometry(size()).plot.height();
    if (r.y < scroll_) scroll_ = r.y - 8;
    if (r.y + r.height > scroll_ + height) scroll_ = r.y + r.height + 8 - height;
  }
  moved();
}

void TimelineChart::scroll_to(double y) {
  scroll_ = std::clamp(y, 0.0, scroll_limit(size()));
  update();
}

// --- Attention -----------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::select(std::optional<SpanAt> span) {
  if (span && (index_of(span->other) == nullptr || span->span >= index_of(span->other)->timeline().spans.size())) span.reset();
  if (span == selection_) return;
  selection_ = span;
  arrows_.clear();
  update();
  Q_EMIT selection_changed();
}

void TimelineChart::step(int by) {
  if (!scene_.index) return;
  if (!selection_) {
    const view::LaneLayout& layout = layout_for(size());
    const auto [first, last] = layout.rows_between(scroll_, scroll_ + geometry(size()).plot.height());
    for (std::size_t i = first; i < last; ++i) {
      if (!layout.rows()[i].lane) continue;
      const Picoseconds middle = axis_.time(axis_.width() / 2);
      const view::SpanId found = scene_.index->nearest(*layout.rows()[i].lane, middle);
      if (found != view::kNoSpan) select(SpanAt{found, false});
      break;
    }
  } else {
    const view::SpanIndex& index = *index_of(selection_->other);
    const view::SpanId found = by > 0 ? index.next(selection_->span) : index.previous(selection_->span);
    if (found != view::kNoSpan) select(SpanAt{found, selection_->other});
  }
  if (selection_) reveal(*selection_);
}

void TimelineChart::step_row(int by) {
  if (!selection_) {
    step(1);
    return;
  }
  const view::LaneLayout& layout = layout_for(size());
  const auto row = row_of(*selection_, layout);
  if (!row) return;
  const view::TimeRange range = index_of(selection_->other)->range(selection_->span);
  const Picoseconds middle = range.begin + range.length() / std::int64_t{2};
  for (auto i = static_cast<std::ptrdiff_t>(*row) + by; i >= 0 && i < static_cast<std::ptrdiff_t>(layout.rows().size()); i += by) {
    const view::Row& r = layout.rows()[static_cast<std::size_t>(i)];
    if (r.kind == view::RowKind::difference) continue;
    const bool other = r.kind == view::RowKind::other;
    const view::SpanId found = index_of(other)->nearest(other ? *r.other : *r.lane, middle);
    if (found == view::kNoSpan) continue;
    select(SpanAt{found, other});
    reveal(*selection_);
    return;
  }
}

void TimelineChart::set_arrows(std::vector<Arrow> arrows) {
  arrows_ = std::move(arrows);
  update();
}

void TimelineChart::set_cursor(std::optional<Picoseconds> time) {
  if (time == cursor_) return;
  cursor_ = time;
  update();
}

void TimelineChart::measure(std::optional<view::TimeRange> range) {
  if (range && range->end < range->begin) std::swap(range->begin, range->end);
  first_mark_.reset();
  if (range == measured_) return;
  measured_ = range;
  update();
  Q_EMIT measured_changed();
}

void TimelineChart::mark() {
  const Picoseconds at = cursor_.value_or(axis_.time(axis_.width() / 2));
  if (!first_mark_) {
    measure(std::nullopt);
    first_mark_ = at;
    update();
    return;
  }
  measure(view::TimeRange{*first_mark_, at});
}

// --- What stands out -----------------------------------------------------------------------------------------------------------------------------

void TimelineChart::set_highlight(std::uint32_t slots) {
  if (slots == scene_.highlight) return;
  scene_.highlight = slots;
  update();
  Q_EMIT highlight_changed();
}

void TimelineChart::set_matches(std::shared_ptr<const std::vector<view::SpanId>> matches) {
  scene_.matches = std::move(matches);
  update();
}

void TimelineChart::set_illegal(bool illegal) {
  if (illegal == std::exchange(illegal_, illegal)) return;
  if (!scene_.index) update();
}

void TimelineChart::set_critical(bool shown) {
  if (shown == scene_.critical) return;
  scene_.critical = shown;
  update();
  Q_EMIT critical_changed();
}

// --- Rows ----------------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::forget_layout() {
  layout_height_ = -1;
  scroll_ = std::clamp(scroll_, 0.0, scroll_limit(size()));
  update();
}

void TimelineChart::set_collapsed(std::set<std::uint32_t> ranks) {
  choice_.collapsed = std::move(ranks);
  forget_layout();
}

void TimelineChart::set_folded(std::set<std::string> streams) {
  choice_.folded = std::move(streams);
  forget_layout();
}

TimelineChart::Geometry TimelineChart::geometry(QSizeF size) const {
  Geometry g;
  const double left = kGutter, width = std::max(50.0, size.width() - kGutter - kRight);
  double y = 0;
  g.legend = QRectF(8, y, size.width() - 16, kLegend);
  y += kLegend;
  g.minimap = QRectF(left, y, width, kMinimap);
  y += kMinimap;
  g.ruler = QRectF(left, y, width, kRuler);
  y += kRuler + kGap;
  const double height = std::max(20.0, size.height() - y);
  g.gutter = QRectF(0, y, kGutter, height);
  g.plot = QRectF(left, y, width, height);
  return g;
}

const view::LaneLayout& TimelineChart::layout_for(QSizeF size) const {
  const double height = geometry(size).plot.height();
  if (layout_height_ != height) {
    layout_height_ = height;
    ++layout_number_;
    view::LayoutChoice choice = choice_;
    choice.compute_height = 2 * LanePainter::kRibbon + 8;
    choice.stream_height = 15;
    choice.available = height - 8;
    choice.most_growth = 1.8;
    layout_ = scene_.index ? view::LaneLayout(*scene_.index, scene_.over.get(), choice) : view::LaneLayout();
  }
  return layout_;
}

double TimelineChart::scroll_limit(QSizeF size) const { return std::max(0.0, layout_for(size).height() + 8 - geometry(size).plot.height()); }

view::TimeAxis TimelineChart::axis_for(const Geometry& g) const {
  view::TimeAxis axis = axis_;
  axis.set_width(g.plot.width());
  return axis;
}

std::optional<std::size_t> TimelineChart::row_of(SpanAt span, const view::LaneLayout& layout) const {
  const view::SpanIndex* index = index_of(span.other);
  if (index == nullptr) return std::nullopt;
  const auto lane = index->lane_of(span.span);
  if (!lane) return std::nullopt;
  return layout.row_of(span.other ? view::RowKind::other : view::RowKind::lane, *lane);
}

QRectF TimelineChart::rect_of(SpanAt span, const Geometry& g, const view::TimeAxis& axis, const view::LaneLayout& layout) const {
  const auto row = row_of(span, layout);
  if (!row) return {};
  const view::Row& r = layout.rows()[*row];
  const view::TimeRange range = index_of(span.other)->range(span.span);
  double top = r.y, height = r.height;
  if (r.compute && height >= 2 * LanePainter::kRibbon) {
    top += LanePainter::kRibbon + 1;
    height -= LanePainter::kRibbon + 1;
  }
  const double x0 = axis.pixel(range.begin), x1 = axis.pixel(range.end);
  return {g.plot.left() + x0, g.plot.top() + top - scroll_, std::max(1.0, x1 - x0), height};
}

QRectF TimelineChart::span_rect(SpanAt span) const {
  const Geometry g = geometry(size());
  return rect_of(span, g, axis_for(g), layout_for(size())) & g.plot;
}

QRectF TimelineChart::plot_rect() const { return geometry(size()).plot; }
QRectF TimelineChart::minimap_rect() const { return geometry(size()).minimap; }

QRectF TimelineChart::legend_rect(std::size_t slot) const {
  for (const auto& [item, rect] : legend_items(geometry(size()), font()))
    if (item == slot) return rect;
  return {};
}

std::vector<std::pair<std::size_t, QRectF>> TimelineChart::legend_items(const Geometry& g, const QFont& font) const {
  std::vector<std::pair<std::size_t, QRectF>> items;
  const QFontMetricsF metrics(font);
  std::vector<double> widths;
  double sum = 0, longest = 0;
  for (const std::size_t slot : legend_) {
    widths.push_back(metrics.horizontalAdvance(slot_text(slot)));
    sum += widths.back();
    longest = std::max(longest, widths.back());
  }
  // Where there are too many for the line, they move together; where that is not enough, the longest names are cut short.
  const auto count = static_cast<double>(legend_.size());
  double room = g.legend.width() - 16 * count;
  if (scene_.critical) room -= 33 + metrics.horizontalAdvance(tr("critical path"));
  if (scene_.differences) room -= 72 + metrics.horizontalAdvance(tr("half as long")) + metrics.horizontalAdvance(tr("twice"));
  const double gap = count > 0 ? std::clamp((room - sum) / count, 6.0, 14.0) : 14.0;
  const auto cut_to = [&](double most) {
    double total = 0;
    for (const double w : widths) total += std::min(w, most);
    return total;
  };
  while (longest > 24 && cut_to(longest) > room - gap * count) longest -= 1;
  double x = g.legend.left();
  for (std::size_t i = 0; i < legend_.size(); ++i) {
    const double width = 16 + std::min(widths[i], longest) + gap;
    items.emplace_back(legend_[i], QRectF(x, g.legend.top(), width, g.legend.height()));
    x += width;
  }
  return items;
}

std::optional<SpanAt> TimelineChart::span_at(QPointF point) const {
  const Geometry g = geometry(size());
  if (!scene_.index || !g.plot.contains(point)) return std::nullopt;
  const view::LaneLayout& layout = layout_for(size());
  const auto row = layout.row_at(point.y() - g.plot.top() + scroll_);
  if (!row) return std::nullopt;
  const view::Row& r = layout.rows()[*row];
  const double x = point.x() - g.plot.left();
  const Picoseconds time = axis_.time(x), tolerance{std::llround(1.5 / axis_.pixels_per_picosecond())};
  const bool other = r.kind == view::RowKind::other;
  const view::SpanId found = index_of(other)->hit(other ? *r.other : *r.lane, time, tolerance);
  if (found == view::kNoSpan) return std::nullopt;
  return SpanAt{found, other};
}

QString TimelineChart::describe(SpanAt span) const {
  const view::SpanIndex* index = index_of(span.other);
  if (index == nullptr) return {};
  const Timeline& t = index->timeline();
  const Span& s = t.spans[span.span];
  QString text = words(t.kinds[s.kind].name);
  if (s.recompute) text += QStringLiteral(" (run again)");
  if (s.microbatch != 0xffff) text += QStringLiteral("  ·  mb %1").arg(s.microbatch);
  if (s.layer != 0xffff) text += QStringLiteral("  ·  layer %1").arg(s.layer);
  text += QStringLiteral("  ·  %1 at %2").arg(time_text(s.end - s.start), place_text(s.start));
  if (s.waited.v > 0) text += QStringLiteral(", after %1 %2").arg(time_text(s.waited), cause_text(s.cause));
  const view::Differences* d = scene_.differences.get();
  const view::SpanId here = span.other && d != nullptr ? d->match_of_other(span.span) : span.span;
  if (d != nullptr && here != view::kNoSpan && d->match(here) != view::kNoSpan) {
    const view::Delta delta = d->delta(here);
    const auto signed_text = [](Picoseconds v, const QString& more, const QString& less) {
      return v.v == 0 ? QStringLiteral("as predicted") : QStringLiteral("%1 %2").arg(time_text(Picoseconds{std::abs(v.v)}), v.v > 0 ? more : less);
    };
    text += QStringLiteral("  ·  the other: %1, %2")
                .arg(signed_text(delta.longer, QStringLiteral("longer"), QStringLiteral("shorter")),
                     signed_text(delta.later, QStringLiteral("later"), QStringLiteral("earlier")));
  }
  return text;
}

QString TimelineChart::describe(QPointF point) const {
  const Geometry g = geometry(size());
  if (!scene_.index || !g.plot.contains(point)) return {};
  const view::LaneLayout& layout = layout_for(size());
  const auto row = layout.row_at(point.y() - g.plot.top() + scroll_);
  if (!row) return {};
  const view::Row& r = layout.rows()[*row];
  const QString where = QStringLiteral("%1 %2").arg(
      r.rank < scene_.index->timeline().ranks.size() ? words(scene_.index->timeline().ranks[r.rank]) : QString(), words(r.stream));
  if (const auto span = span_at(point)) return QStringLiteral("%1  —  %2").arg(where, describe(*span));
  const bool other = r.kind == view::RowKind::other;
  if (r.kind == view::RowKind::difference) return {};
  const view::SpanId waiting = index_of(other)->waiting(other ? *r.other : *r.lane, axis_.time(point.x() - g.plot.left()));
  if (waiting == view::kNoSpan) return {};
  const Timeline& t = index_of(other)->timeline();
  const Span& s = t.spans[waiting];
  const Picoseconds length = s.waited.v > 0 ? index_of(other)->wait_before(waiting).length() : s.end - s.start;
  return QStringLiteral("%1  —  %2, %3").arg(where, cause_text(s.cause), time_text(length));
}

// --- Painting ------------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!scene_.index || scene_.index->lanes().empty()) {
    paint_empty(
        painter, size, theme, tr("No timeline yet"),
        illegal_ ? tr("This plan cannot be compiled: the Setup page says why and offers a mend.")
                 : tr("It appears with the first answer: ask for a plan on the Setup page, or open a trace that 'orrery simulate --trace' or 'orrery "
                      "run --trace' "
                      "wrote (Ctrl+O, or drop it here)."));
    return;
  }
  const Geometry g = geometry(size);
  const view::TimeAxis axis = axis_for(g);
  // Around the lanes, which cover what is theirs.
  painter.fillRect(QRectF(0, 0, size.width(), g.plot.top()), theme.ground);
  painter.fillRect(QRectF(0, g.plot.top(), g.plot.left(), g.plot.height()), theme.ground);
  painter.fillRect(QRectF(g.plot.right(), g.plot.top(), size.width() - g.plot.right(), g.plot.height()), theme.ground);
  const view::LaneLayout& layout = layout_for(size);
  paint_legend(painter, g, theme);
  paint_minimap(painter, g, theme);
  paint_ruler(painter, g, axis, theme);
  painter.save();
  painter.translate(g.plot.topLeft());
  painter_.paint(painter, scene_, layout, layout_number_, axis, scroll_, g.plot.size(), theme);
  painter.restore();
  paint_gutter(painter, g, layout, theme);
  painter.save();
  painter.setClipRect(g.plot.adjusted(0, -kRuler - kGap, 0, 0));
  paint_marks(painter, g, axis, layout, theme);
  painter.setClipRect(g.plot);
  paint_arrows(painter, g, axis, layout, theme);
  painter.restore();
  const double limit = scroll_limit(size);
  if (limit > 0) {
    const double whole = layout.height() + 8, thumb = std::max(24.0, g.plot.height() * g.plot.height() / whole);
    const QRectF bar(g.plot.right() + 3, g.plot.top() + (g.plot.height() - thumb) * scroll_ / limit, 5, thumb);
    painter.setPen(Qt::NoPen);
    painter.setBrush(theme.faint);
    painter.drawRoundedRect(bar, 2.5, 2.5);
  }
}

void TimelineChart::paint_legend(QPainter& p, const Geometry& g, const Theme& theme) const {
  const LaneColours colours(theme, scene_.highlight, false);
  const LaneColours plain(theme, 0, false);
  double x = g.legend.left();
  for (const auto& [slot, rect] : legend_items(g, p.font())) {
    const bool on = scene_.highlight == 0 || (scene_.highlight >> slot & 1U) != 0;
    const QRectF box(rect.left(), rect.center().y() - 5, 11, 10);
    if (slot == kWaitingSlot) {
      p.fillRect(box, QColor(plain.gap[static_cast<std::size_t>(WaitCause::pp)]));
      p.fillRect(box, QBrush(QColor(plain.gap_line[static_cast<std::size_t>(WaitCause::pp)]), Qt::BDiagPattern));
    } else {
      p.fillRect(box, QColor(colours.fill[slot]));
      if (slot == view::kRecomputeSlot) p.fillRect(box, QBrush(QColor(theme.ground), Qt::BDiagPattern));
    }
    p.setPen(on ? theme.ink : theme.faint);
    p.drawText(rect.adjusted(16, 0, 0, 0), Qt::AlignVCenter, QFontMetricsF(p.font()).elidedText(slot_text(slot), Qt::ElideRight, rect.width() - 20));
    x = rect.right();
  }
  if (scene_.critical) {
    p.fillRect(QRectF(x, g.legend.center().y() - 2, 14, 3), theme.critical);
    p.setPen(theme.ink);
    p.drawText(QRectF(x + 19, g.legend.top(), 200, g.legend.height()), Qt::AlignVCenter, tr("critical path"));
    x += 19 + QFontMetricsF(p.font()).horizontalAdvance(tr("critical path")) + 14;
  }
  if (scene_.differences) {
    const QString less = tr("half as long"), more = tr("twice");
    const QFontMetricsF metrics(p.font());
    p.setPen(theme.dim);
    p.drawText(QRectF(x, g.legend.top(), 200, g.legend.height()), Qt::AlignVCenter, less);
    x += metrics.horizontalAdvance(less) + 6;
    QLinearGradient gradient(x, 0, x + 60, 0);
    gradient.setColorAt(0, QColor(plain.shorter));
    gradient.setColorAt(0.5, QColor(plain.even));
    gradient.setColorAt(1, QColor(plain.longer));
    p.fillRect(QRectF(x, g.legend.center().y() - 5, 60, 10), gradient);
    p.drawText(QRectF(x + 66, g.legend.top(), 200, g.legend.height()), Qt::AlignVCenter, more);
  }
}

void TimelineChart::paint_density(QPainter& p, QRectF map, const Theme& theme) const {
  const LaneColours colours(theme, scene_.highlight, false);
  p.fillRect(map, theme.panel);
  const view::TimeAxis whole(axis_.whole(), map.width());
  const view::TimeRange own = scene_.index->whole();
  const double begin = map.left() + whole.pixel(own.begin), width = whole.pixel(own.end) - whole.pixel(own.begin);
  const auto edge = [&](std::size_t part) { return std::round(begin + width * static_cast<double>(part) / static_cast<double>(density_.size())); };
  for (std::size_t i = 0; i < density_.size(); ++i) {
    const double x0 = edge(i), x1 = edge(i + 1);
    if (x1 <= x0) continue;
    double y = map.bottom();
    for (std::size_t slot = 0; slot < view::kSlots; ++slot) {
      if (density_[i].share[slot] == 0) continue;
      const double height = map.height() * density_[i].share[slot] / 255;
      p.fillRect(QRectF(x0, y - height, x1 - x0, height), QColor(colours.fill[slot]));
      y -= height;
    }
  }
}

void TimelineChart::paint_minimap(QPainter& p, const Geometry& g, const Theme& theme) const {
  const QRectF map = g.minimap.adjusted(0, 2, 0, -4);
  if (p.paintEngine()->type() == QPaintEngine::Raster) {
    // Thousands of small rectangles that change seldom.
    const double scale = p.device()->devicePixelRatioF();
    const DensityKey key{scene_.index, axis_.whole(), scene_.highlight, map.size() * scale, theme.dark};
    if (!(key == density_key_) || density_image_.isNull()) {
      density_key_ = key;
      density_image_ = QImage((map.size() * scale).toSize(), QImage::Format_RGB32);
      density_image_.setDevicePixelRatio(scale);
      QPainter on(&density_image_);
      paint_density(on, QRectF(QPointF(0, 0), map.size()), theme);
    }
    p.drawImage(map.topLeft(), density_image_);
  } else {
    paint_density(p, map, theme);
  }
  const view::TimeAxis whole(axis_.whole(), map.width());
  if (scene_.matches) {
    // A tick a pixel, of which there are few; the matches may be millions, and they change seldom.
    if (tick_matches_ != scene_.matches || tick_index_ != scene_.index || tick_whole_ != axis_.whole() || tick_width_ != map.width()) {
      tick_matches_ = scene_.matches, tick_index_ = scene_.index, tick_whole_ = axis_.whole(), tick_width_ = map.width();
      std::vector<bool> marked(static_cast<std::size_t>(std::max(0.0, map.width())) + 2);
      for (const view::SpanId id : *scene_.matches) {
        const double x = std::round(whole.pixel(scene_.index->range(id).begin));
        if (x >= 0 && x < static_cast<double>(marked.size())) marked[static_cast<std::size_t>(x)] = true;
      }
      ticks_.clear();
      for (std::size_t x = 0; x < marked.size(); ++x)
        if (marked[x]) ticks_.push_back(static_cast<double>(x));
    }
    for (const double x : ticks_) p.fillRect(QRectF(std::round(map.left()) + x, map.bottom() - 4, 2, 6), theme.accent);
  } else {
    tick_matches_.reset(), tick_index_.reset();
  }
  const double x0 = map.left() + whole.pixel(axis_.range().begin), x1 = map.left() + whole.pixel(axis_.range().end);
  const QRectF view(x0, map.top() - 1, std::max(3.0, x1 - x0), map.height() + 2);
  if (view.width() < map.width() - 1) {
    const QColor shade = translucent(theme.ground, 0.62);
    p.fillRect(QRectF(map.left(), map.top(), view.left() - map.left(), map.height()), shade);
    p.fillRect(QRectF(view.right(), map.top(), map.right() - view.right(), map.height()), shade);
  }
  p.setPen(QPen(theme.accent, 1));
  p.setBrush(Qt::NoBrush);
  p.drawRect(view.adjusted(0.5, 0.5, -0.5, -0.5));
  p.setPen(theme.dim);
  p.drawText(QRectF(12, map.top(), kGutter - 22, map.height()), int{Qt::AlignLeft} | int{Qt::AlignVCenter},
             tr("step %1").arg(time_text(scene_.index->timeline().step)));
}

void TimelineChart::paint_ruler(QPainter& p, const Geometry& g, const view::TimeAxis& axis, const Theme& theme) const {
  const view::TimeTicks ticks = axis.ticks(100);
  const QFontMetricsF metrics(p.font());
  for (const view::Tick& tick : ticks.ticks) {
    const double x = std::round(g.ruler.left() + tick.pixel) + 0.5;
    p.setPen(theme.line);
    p.drawLine(QPointF(x, g.ruler.bottom() - 4), QPointF(x, g.ruler.bottom() + kGap));
    const QString label = words(tick.label);
    const double width = metrics.horizontalAdvance(label);
    const double left = std::clamp(x - width / 2, g.ruler.left(), g.ruler.right() - width);
    p.setPen(theme.dim);
    p.drawText(QPointF(left, g.ruler.top() + metrics.ascent()), label);
  }
  p.setPen(theme.dim);
  if (!ticks.base.empty())
    p.drawText(QRectF(12, g.ruler.top(), kGutter - 22, g.ruler.height()), int{Qt::AlignRight} | int{Qt::AlignTop}, words(ticks.base));
  p.setPen(theme.line);
  p.drawLine(QPointF(g.ruler.left(), g.ruler.bottom() + kGap - 0.5), QPointF(g.ruler.right(), g.ruler.bottom() + kGap - 0.5));
}

void TimelineChart::paint_gutter(QPainter& p, const Geometry& g, const view::LaneLayout& layout, const Theme& theme) const {
  p.save();
  p.setClipRect(g.gutter);
  const QFont plain = p.font();
  QFont strong = plain, small = plain;
  strong.setBold(true);
  if (small.pixelSize() > 0) {
    small.setPixelSize(std::max(8, small.pixelSize() - 1));
  } else {
    small.setPointSizeF(std::max(6.5, small.pointSizeF() - 1));
  }
  const Timeline& t = scene_.index->timeline();
  const auto [first, last] = layout.rows_between(scroll_, scroll_ + g.gutter.height());
  for (std::size_t i = first; i < last; ++i) {
    const view::Row& r = layout.rows()[i];
    const double y = g.gutter.top() + r.y - scroll_;
    double left = 12;
    if (r.first_of_rank) {
      const bool collapsed = choice_.collapsed.contains(r.rank);
      QPainterPath triangle;
      const double middle = y + std::min(r.height, 22.0) / 2;
      if (collapsed) {
        triangle.addPolygon(QPolygonF{{12, middle - 4}, {17, middle}, {12, middle + 4}});
      } else {
        triangle.addPolygon(QPolygonF{{11, middle - 2.5}, {19, middle - 2.5}, {15, middle + 2.5}});
      }
      p.fillPath(triangle, theme.dim);
      const QString name = r.rank < t.ranks.size() && !t.ranks[r.rank].empty() ? words(t.ranks[r.rank]) : tr("rank %1").arg(r.rank);
      const std::int64_t weight = r.rank < t.weights.size() ? t.weights[r.rank] : 1;
      p.setFont(strong);
      p.setPen(theme.ink);
      const QFontMetricsF metrics(strong);
      const double line = std::min(r.height, 22.0);
      const QString shown = metrics.elidedText(name, Qt::ElideRight, kGutter - 34);
      p.drawText(QRectF(24, y, kGutter - 30, line), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, shown);
      if (weight > 1) {
        p.setFont(small);
        p.setPen(theme.dim);
        const QString times = QStringLiteral("×%1").arg(weight);
        if (r.height >= 28) {
          p.drawText(QRectF(24, y + line - 5, kGutter - 30, r.height - line + 5), int{Qt::AlignLeft} | int{Qt::AlignTop}, times);
        } else if (metrics.horizontalAdvance(shown) + 60 < kGutter - 30) {
          p.drawText(QRectF(30 + metrics.horizontalAdvance(shown), y, 60, line), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, times);
        }
      }
    }
    QString name;
    if (r.kind == view::RowKind::difference) {
      name = tr("difference");
    } else if (r.kind == view::RowKind::other) {
      name = words(scene_.over->timeline().origin);
    } else if (!r.compute || scene_.over) {
      name = words(r.stream);
    }
    if (name.isEmpty()) continue;
    if (r.kind == view::RowKind::lane && r.first_of_rank) continue;  // the rank's name stands there, and it is the compute stream
    p.setFont(small);
    p.setPen(r.kind == view::RowKind::lane ? theme.dim : theme.faint);
    p.drawText(QRectF(left, y, kGutter - left - 8, r.height), int{Qt::AlignRight} | int{Qt::AlignVCenter}, name);
  }
  p.setFont(plain);
  p.restore();
}

void TimelineChart::paint_marks(QPainter& p, const Geometry& g, const view::TimeAxis& axis, const view::LaneLayout& layout,
                                const Theme& theme) const {
  const QFontMetricsF metrics(p.font());
  const auto x_of = [&](Picoseconds t) { return g.plot.left() + axis.pixel(t); };
  const auto line = [&](Picoseconds t, const QPen& pen) {
    const double x = std::round(x_of(t)) + 0.5;
    p.setPen(pen);
    p.drawLine(QPointF(x, g.ruler.bottom()), QPointF(x, g.plot.bottom()));
  };
  const auto label = [&](double centre, const QString& text, const QColor& fill, const QColor& ink) {
    const double width = metrics.horizontalAdvance(text) + 10;
    const QRectF box(std::clamp(centre - width / 2, g.plot.left(), std::max(g.plot.left(), g.plot.right() - width)), g.ruler.top() - 1, width,
                     kRuler - 2);
    p.setPen(Qt::NoPen);
    p.setBrush(fill);
    p.drawRoundedRect(box, 3, 3);
    p.setPen(ink);
    p.drawText(box, Qt::AlignCenter, text);
  };
  if (selection_) {
    const QRectF rect = rect_of(*selection_, g, axis, layout);
    if (!rect.isNull()) {
      const view::TimeRange wait = index_of(selection_->other)->wait_before(selection_->span);
      if (!wait.empty()) {
        const QRectF waited(x_of(wait.begin), rect.top(), x_of(wait.end) - x_of(wait.begin), rect.height());
        p.setPen(QPen(theme.accent, 1, Qt::DashLine));
        p.setBrush(Qt::NoBrush);
        p.drawRect(waited.adjusted(0.5, 0.5, 0, -0.5));
      }
      p.setPen(QPen(theme.ground, 4));
      p.setBrush(Qt::NoBrush);
      p.drawRect(rect.adjusted(-2, -2, 2, 2));
      p.setPen(QPen(theme.accent, 2));
      p.drawRect(rect.adjusted(-2, -2, 2, 2));
      // The same instruction in the other timeline.
      const view::Differences* d = scene_.differences.get();
      const view::SpanId twin = d == nullptr ? view::kNoSpan : selection_->other ? d->match_of_other(selection_->span) : d->match(selection_->span);
      if (twin != view::kNoSpan) {
        const QRectF there = rect_of({twin, !selection_->other}, g, axis, layout);
        p.setPen(QPen(theme.accent, 1.5, Qt::DotLine));
        if (!there.isNull()) p.drawRect(there.adjusted(-1, -1, 1, 1));
      }
    }
  }
  if (measured_) {
    const double x0 = x_of(measured_->begin), x1 = x_of(measured_->end);
    p.fillRect(QRectF(x0, g.plot.top(), x1 - x0, g.plot.height()), translucent(theme.accent, 0.12));
    line(measured_->begin, QPen(theme.accent, 1));
    line(measured_->end, QPen(theme.accent, 1));
    label(std::clamp((x0 + x1) / 2, g.plot.left(), g.plot.right()), time_text(measured_->length()), theme.accent, theme.on_accent);
  } else if (first_mark_) {
    line(*first_mark_, QPen(theme.accent, 1));
    if (cursor_)
      label((x_of(*first_mark_) + x_of(*cursor_)) / 2, time_text(Picoseconds{std::abs((*cursor_ - *first_mark_).v)}), theme.accent, theme.on_accent);
  }
  if (cursor_ && axis.range().contains(*cursor_)) {
    line(*cursor_, QPen(theme.dim, 1, Qt::DotLine));
    if (!measured_ && !first_mark_) label(x_of(*cursor_), words(view::format_time(*cursor_, axis.time(1) - axis.time(0))), theme.raised, theme.ink);
  }
}

void TimelineChart::paint_arrows(QPainter& p, const Geometry& g, const view::TimeAxis& axis, const view::LaneLayout& layout,
                                 const Theme& theme) const {
  if (arrows_.empty()) return;
  p.setRenderHint(QPainter::Antialiasing);
  for (const Arrow& arrow : arrows_) {
    if (index_of(arrow.from.other) == nullptr) continue;
    const QRectF from = rect_of(arrow.from, g, axis, layout), to = rect_of(arrow.to, g, axis, layout);
    if (from.isNull() || to.isNull()) continue;
    // From the end of what came first to the start of what followed; what overlaps is joined at its starts.
    QPointF a(from.right(), from.center().y()), b(to.left(), to.center().y());
    if (a.x() > b.x() + 1) a.setX(std::min(from.right(), std::max(from.left(), b.x())));
    const double far = 1e4;  // beyond it painters lose precision
    a.setX(std::clamp(a.x(), -far, far));
    b.setX(std::clamp(b.x(), -far, far));
    const QColor colour = arrow.strong ? theme.critical : theme.accent;
    QPainterPath path(a);
    const double reach = std::clamp(std::abs(b.x() - a.x()) / 2, 18.0, 90.0);
    path.cubicTo(a + QPointF(reach, 0), b - QPointF(reach, 0), b);
    p.setPen(QPen(theme.ground, arrow.strong ? 4.5 : 3.5));
    p.setBrush(Qt::NoBrush);
    p.drawPath(path);
    p.setPen(QPen(colour, arrow.strong ? 2 : 1.3));
    p.drawPath(path);
    QPainterPath head(b);
    head.lineTo(b + QPointF(-7, -3.5));
    head.lineTo(b + QPointF(-7, 3.5));
    head.closeSubpath();
    p.fillPath(head, colour);
    const SpanAt end = selection_ && arrow.to == *selection_ ? arrow.from : arrow.to;
    p.setPen(QPen(colour, 1.3));
    p.drawRect(rect_of(end, g, axis, layout).adjusted(-1, -1, 1, 1));
  }
  p.setRenderHint(QPainter::Antialiasing, false);
}

// --- Hands ---------------------------------------------------------------------------------------------------------------------------------------

bool TimelineChart::take_key(QKeyEvent* event) {
  if (!scene_.index || (event->modifiers() & (Qt::ControlModifier | Qt::AltModifier | Qt::MetaModifier)) != 0) return false;
  const bool shift = (event->modifiers() & Qt::ShiftModifier) != 0;
  const double page = geometry(size()).plot.height() * 0.8;
  switch (event->key()) {
    case Qt::Key_W:
    case Qt::Key_Plus:
    case Qt::Key_Equal:
      zoom(shift ? 4 : 1.5);
      return true;
    case Qt::Key_S:
    case Qt::Key_Minus:
      zoom(shift ? 0.25 : 1 / 1.5);
      return true;
    case Qt::Key_A:
      axis_.pan(axis_.width() * (shift ? 0.8 : kKeyPan));
      moved();
      return true;
    case Qt::Key_D:
      axis_.pan(-axis_.width() * (shift ? 0.8 : kKeyPan));
      moved();
      return true;
    case Qt::Key_Left:
      step(-1);
      return true;
    case Qt::Key_Right:
      step(1);
      return true;
    case Qt::Key_Up:
      step_row(-1);
      return true;
    case Qt::Key_Down:
      step_row(1);
      return true;
    case Qt::Key_PageUp:
      scroll_to(scroll_ - page);
      return true;
    case Qt::Key_PageDown:
      scroll_to(scroll_ + page);
      return true;
    case Qt::Key_F: {
      // Twice: first what is selected, then everything.
      const view::TimeRange before = axis_.range();
      if (!shift) fit_selection();
      if (shift || axis_.range() == before) fit_all();
      return true;
    }
    case Qt::Key_Home:
      fit_all();
      return true;
    case Qt::Key_C:
      set_critical(!scene_.critical);
      return true;
    case Qt::Key_M:
      mark();
      return true;
    case Qt::Key_Slash:
      Q_EMIT search_wanted();
      return true;
    case Qt::Key_N:
      Q_EMIT next_wanted(!shift);
      return true;
    case Qt::Key_Escape:
      if (measured_ || first_mark_) {
        first_mark_.reset();
        measure(std::nullopt);
        update();
      } else if (selection_) {
        select(std::nullopt);
      } else if (scene_.highlight != 0) {
        set_highlight(0);
      } else {
        Q_EMIT cleared();
      }
      return true;
    default:
      break;
  }
  if (event->key() >= Qt::Key_1 && event->key() <= Qt::Key_9) {
    const auto at = static_cast<std::size_t>(event->key() - Qt::Key_1);
    if (at < legend_.size()) set_highlight(scene_.highlight ^ 1U << legend_[at]);
    return true;
  }
  return false;
}

void TimelineChart::keyPressEvent(QKeyEvent* event) {
  if (!take_key(event)) Chart::keyPressEvent(event);
}

void TimelineChart::hover(QPointF point) {
  const Geometry g = geometry(size());
  if (g.plot.contains(point)) {
    set_cursor(axis_.time(point.x() - g.plot.left()));
    Q_EMIT cursor_changed();
    Q_EMIT hovered(describe(point));
    setCursor(Qt::ArrowCursor);
    return;
  }
  for (const auto& [slot, rect] : legend_items(g, font())) {
    if (!rect.contains(point)) continue;
    setCursor(Qt::PointingHandCursor);
    const auto number = std::find(legend_.begin(), legend_.end(), slot) - legend_.begin() + 1;
    const QString what = tr("%1  —  click: show only this (with Shift: this too).").arg(slot_text(slot));
    Q_EMIT hovered(number <= 9 ? what + tr(" Key %1.").arg(number) : what);
    return;
  }
  setCursor(g.gutter.contains(point) ? Qt::PointingHandCursor : Qt::ArrowCursor);
  Q_EMIT hovered(g.gutter.contains(point) ? tr("Click: fold the rank's streams away (with Shift: of all ranks).") : QString());
}

void TimelineChart::centre_on(double minimap_x) {
  const view::TimeAxis whole(axis_.whole(), minimap_rect().width());
  const Picoseconds middle = whole.time(minimap_x - minimap_rect().left());
  const Picoseconds half{axis_.range().length().v / 2};
  axis_.show({middle - half, middle - half + axis_.range().length()});
  moved();
}

void TimelineChart::mousePressEvent(QMouseEvent* event) {
  if (!scene_.index || event->button() != Qt::LeftButton) return;
  const QPointF point = event->position();
  const Geometry g = geometry(size());
  pressed_ = last_ = point;
  if (g.minimap.contains(point)) {
    drag_ = Drag::minimap;
    centre_on(point.x());
  } else if (g.plot.contains(point)) {
    pressed_time_ = axis_.time(point.x() - g.plot.left());
    drag_ = (event->modifiers() & Qt::ShiftModifier) != 0 ? Drag::measure : Drag::press;
    if (drag_ == Drag::measure) measure(view::TimeRange{pressed_time_, pressed_time_});
  } else if (point.x() > g.plot.right() && point.y() > g.plot.top()) {
    drag_ = Drag::thumb;
  } else if (g.gutter.contains(point)) {
    const view::LaneLayout& layout = layout_for(size());
    const auto row = layout.row_at(point.y() - g.gutter.top() + scroll_);
    if (!row) return;
    const std::uint32_t rank = layout.rows()[*row].rank;
    std::set<std::uint32_t> collapsed = choice_.collapsed;
    const bool collapse = !collapsed.contains(rank);
    if ((event->modifiers() & Qt::ShiftModifier) != 0) {
      collapsed.clear();
      if (collapse)
        for (const view::Row& r : layout.rows()) collapsed.insert(r.rank);
    } else if (collapse) {
      collapsed.insert(rank);
    } else {
      collapsed.erase(rank);
    }
    set_collapsed(std::move(collapsed));
  } else {
    for (const auto& [slot, rect] : legend_items(g, font())) {
      if (!rect.contains(point)) continue;
      const std::uint32_t bit = 1U << slot;
      const bool more = (event->modifiers() & (Qt::ShiftModifier | Qt::ControlModifier)) != 0;
      set_highlight(more ? scene_.highlight ^ bit : scene_.highlight == bit ? 0 : bit);
    }
  }
}

void TimelineChart::mouseMoveEvent(QMouseEvent* event) {
  const QPointF point = event->position(), by = point - last_;
  last_ = point;
  const Geometry g = geometry(size());
  switch (drag_) {
    case Drag::none:
      hover(point);
      return;
    case Drag::press:
      if ((point - pressed_).manhattanLength() < kClick) return;
      drag_ = Drag::pan;
      setCursor(Qt::ClosedHandCursor);
      axis_.pan(point.x() - pressed_.x());
      scroll_ -= point.y() - pressed_.y();
      moved();
      return;
    case Drag::pan:
      axis_.pan(by.x());
      scroll_ -= by.y();
      moved();
      return;
    case Drag::measure:
      measure(view::TimeRange{pressed_time_, axis_.time(std::clamp(point.x() - g.plot.left(), 0.0, g.plot.width()))});
      return;
    case Drag::minimap:
      centre_on(point.x());
      return;
    case Drag::thumb:
      scroll_to(scroll_ + by.y() * (lanes().height() + 8) / g.plot.height());
      return;
  }
}

void TimelineChart::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton) return;
  if (drag_ == Drag::press) select(span_at(event->position()));
  if (drag_ == Drag::measure && measured_ && axis_.pixel(measured_->end) - axis_.pixel(measured_->begin) < kClick) measure(std::nullopt);
  drag_ = Drag::none;
  hover(event->position());
}

void TimelineChart::mouseDoubleClickEvent(QMouseEvent* event) {
  if (!scene_.index) return;
  const auto span = span_at(event->position());
  if (!span) return;
  select(span);
  fit_selection();
}

void TimelineChart::wheelEvent(QWheelEvent* event) {
  if (!scene_.index) return;
  const Geometry g = geometry(size());
  const double notches = event->angleDelta().y() / 120.0, sideways = event->angleDelta().x() / 120.0;
  const bool to_zoom =
      (event->modifiers() & Qt::ControlModifier) != 0 || (scroll_limit(size()) == 0 && (event->modifiers() & Qt::ShiftModifier) == 0);
  if ((event->modifiers() & Qt::ShiftModifier) != 0 || (!to_zoom && sideways != 0)) {
    axis_.pan((notches + sideways) * axis_.width() * 0.1);
    moved();
  } else if (to_zoom) {
    if (sideways != 0) axis_.pan(sideways * axis_.width() * 0.1);
    axis_.zoom(std::clamp(event->position().x() - g.plot.left(), 0.0, g.plot.width()), std::pow(kWheelNotch, notches));
    moved();
  } else {
    scroll_to(scroll_ - notches * 60);
  }
  if (g.plot.contains(event->position())) hover(event->position());
  event->accept();
}

void TimelineChart::leaveEvent(QEvent* event) {
  if (cursor_) {
    set_cursor(std::nullopt);
    Q_EMIT cursor_changed();
  }
  Q_EMIT hovered({});
  Chart::leaveEvent(event);
}

void TimelineChart::resizeEvent(QResizeEvent* event) {
  axis_.set_width(plot_rect().width());
  scroll_ = std::clamp(scroll_, 0.0, scroll_limit(size()));
  Chart::resizeEvent(event);
}

}  // namespace orrery::gui
