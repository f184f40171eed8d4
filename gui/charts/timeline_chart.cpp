#include "gui/charts/timeline_chart.h"

#include <QPainter>
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/quantity_text.h"
#include "gui/charts/lane_frame.h"
#include "gui/charts/legend_keys.h"
#include "gui/view/span_words.h"

namespace orrery::gui {
namespace {

constexpr double kLegend = 24, kMinimap = 30, kRuler = 20, kRight = 10, kGap = 4;

QString words(const std::string& text) { return QString::fromStdString(text); }

// The colours that occur.
std::vector<std::size_t> slots_of(const view::SpanIndex& index) {
  std::array<bool, view::kSlots + 1> seen{};
  for (const view::SpanIndex::Lane& lane : index.lanes()) {
    for (std::size_t s = 0; s < view::kSlots; ++s) seen[s] = seen[s] || lane.totals.work[s].v > 0;
    seen[kWaitingSlot] = seen[kWaitingSlot] || (lane.compute && lane.totals.waited().v > 0);
  }
  std::vector<std::size_t> slots;
  for (std::size_t s = 0; s < seen.size(); ++s)
    if (seen[s]) slots.push_back(s);
  return slots;
}

}  // namespace

TimelineChart::TimelineChart(QWidget* parent) : Chart(QStringLiteral("timeline"), parent), legend_keys_(new LegendKeys(*this)) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setMinimumSize(420, 220);
  setToolTipDuration(-1);
  connect(legend_keys_, &LegendKeys::told, this, &TimelineChart::hovered);
  settle_legend();
}

// --- What is shown -------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::show_timeline(std::shared_ptr<const view::SpanIndex> index) {
  here().show(std::move(index));
  scene_.index = view_.index();
  scene_.over = nullptr;
  scene_.differences = nullptr;
  scene_.matches = nullptr;
  marks_ = LaneMarks{.selection = {}, .arrows = {}, .cursor = marks_.cursor, .first_mark = {}, .measured = {}};
  legend_.slots = view_.index() ? slots_of(*view_.index()) : std::vector<std::size_t>{};
  legend_.differences = false;
  names_ = {};
  settle_legend();
  update();
  Q_EMIT selection_changed();
  Q_EMIT measured_changed();
}

void TimelineChart::lay_over(std::shared_ptr<const view::SpanIndex> over, std::shared_ptr<const view::Differences> differences) {
  here().lay_over(std::move(over));
  scene_.over = view_.over();
  scene_.differences = std::move(differences);
  legend_.differences = scene_.differences != nullptr;
  if (marks_.selection && marks_.selection->other) select(std::nullopt);
  std::erase_if(marks_.arrows, [](const Arrow& a) { return a.from.other; });
  update();
}

void TimelineChart::set_names(view::ShownNames names) {
  names_ = std::move(names);
  update();
}

// --- Where one looks -----------------------------------------------------------------------------------------------------------------------------

view::LaneView& TimelineChart::here() const {
  const QRectF plot = geometry(size()).plot;
  view_.resize(plot.width(), plot.height());
  return view_;
}

void TimelineChart::moved() {
  update();
  Q_EMIT range_changed();
}

void TimelineChart::show_range(std::optional<view::TimeRange> range) {
  view::TimeAxis& axis = here().axis();
  const view::TimeAxis before = axis;
  if (range) {
    axis.show(*range);
  } else {
    axis.fit();
  }
  if (!(axis == before)) update();
}

void TimelineChart::fit_all() {
  here().axis().fit();
  moved();
}

void TimelineChart::fit_selection() {
  if (!marks_.selection || !view_.has(*marks_.selection)) {
    fit_all();
    return;
  }
  here().fit(*marks_.selection);
  moved();
}

void TimelineChart::zoom(double factor) {
  view::TimeAxis& axis = here().axis();
  double at = axis.width() / 2;
  if (marks_.cursor && axis.range().contains(*marks_.cursor)) at = axis.pixel(*marks_.cursor);
  axis.zoom(at, factor);
  moved();
}

void TimelineChart::reveal(SpanAt span) {
  if (!view_.has(span)) return;
  here().reveal(span);
  moved();
}

void TimelineChart::scroll_to(double y) {
  here().scroll_to(y);
  update();
}

// --- Attention -----------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::select(std::optional<SpanAt> span) {
  if (span && !view_.has(*span)) span.reset();
  if (span == marks_.selection) return;
  marks_.selection = span;
  marks_.arrows.clear();
  update();
  Q_EMIT selection_changed();
}

void TimelineChart::step(int by) {
  if (!view_.index()) return;
  const auto found = marks_.selection ? here().beside(*marks_.selection, by) : here().first_in_sight();
  if (found) select(*found);
  if (marks_.selection) reveal(*marks_.selection);
}

void TimelineChart::step_row(int by) {
  if (!marks_.selection) {
    step(1);
    return;
  }
  const auto found = here().above(*marks_.selection, by);
  if (!found) return;
  select(*found);
  reveal(*found);
}

void TimelineChart::set_arrows(std::vector<Arrow> arrows) {
  marks_.arrows = std::move(arrows);
  update();
}

void TimelineChart::set_cursor(std::optional<Picoseconds> time) {
  if (time == std::exchange(marks_.cursor, time)) return;
  update();
}

void TimelineChart::measure(std::optional<view::TimeRange> range) {
  if (range && range->end < range->begin) std::swap(range->begin, range->end);
  marks_.first_mark.reset();
  if (range == std::exchange(marks_.measured, range)) return;
  update();
  Q_EMIT measured_changed();
}

void TimelineChart::mark() {
  const Picoseconds at = marks_.cursor.value_or(axis().time(axis().width() / 2));
  if (marks_.first_mark) {
    measure(view::TimeRange{*marks_.first_mark, at});
    return;
  }
  measure(std::nullopt);
  marks_.first_mark = at;
  update();
}

void TimelineChart::measure_selection() {
  if (marks_.selection) measure(view_.index_of(marks_.selection->other)->range(marks_.selection->span));
}

void TimelineChart::move_cursor(double pixels) {
  view::LaneView& view = here();
  view::TimeAxis& axis = view.axis();
  const auto box = marks_.selection ? view.box_of(*marks_.selection) : std::nullopt;
  double from = view.width() / 2;  // where there is no cursor in sight: the selection's start, otherwise the middle
  if (marks_.cursor && axis.range().contains(*marks_.cursor)) {
    from = axis.pixel(*marks_.cursor);
  } else if (box && box->x >= 0 && box->x < view.width()) {
    from = box->x;
  }
  const Picoseconds time = std::clamp(axis.time(from + pixels), axis.whole().begin, axis.whole().end - Picoseconds{1});
  const view::TimeRange before = axis.range();
  axis.reveal({time, time + Picoseconds{1}});
  set_cursor(time);
  if (!(axis.range() == before)) moved();
  Q_EMIT cursor_changed();
  // What is there in the row that one is in.
  const QRectF plot = plot_rect();
  const double y = box ? box->y + box->height / 2 : view.layout()->rows().empty() ? 0 : view.layout()->rows().front().body() + 2;
  Q_EMIT hovered(describe(QPointF(plot.left() + std::min(axis.pixel(time), plot.width() - 1), plot.top() + y)));
}

// --- What stands out -----------------------------------------------------------------------------------------------------------------------------

void TimelineChart::set_highlight(std::uint32_t slots) {
  if (slots == std::exchange(scene_.highlight, slots)) return;
  update();
  Q_EMIT highlight_changed();
}

void TimelineChart::show_colour(std::size_t slot, bool more) {
  const std::uint32_t bit = 1U << slot;
  set_highlight(more ? scene_.highlight ^ bit : scene_.highlight == bit ? 0 : bit);
}

void TimelineChart::settle_legend() {
  legend_keys_->setGeometry(geometry(size()).legend.toAlignedRect());
  legend_keys_->settle();
}

void TimelineChart::set_matches(std::shared_ptr<const std::vector<view::SpanId>> matches) {
  scene_.matches = std::move(matches);
  update();
}

void TimelineChart::set_critical(bool shown) {
  if (shown == std::exchange(scene_.critical, shown)) return;
  legend_.critical = shown;
  update();
  Q_EMIT critical_changed();
}

void TimelineChart::set_illegal(bool illegal) {
  if (illegal == std::exchange(illegal_, illegal)) return;
  if (!view_.index()) update();
}

// --- Rows ----------------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::set_collapsed(std::set<std::uint32_t> ranks) {
  here().set_collapsed(std::move(ranks));
  update();
}

void TimelineChart::set_folded(std::set<std::string> streams) {
  here().set_folded(std::move(streams));
  update();
}

void TimelineChart::fold_rank(bool all) {
  view::LaneView& view = here();
  if (view.layout()->rows().empty()) return;
  std::uint32_t rank = view.layout()->rows()[view.layout()->rows_between(view.scroll(), view.scroll() + 1).first].rank;
  const view::Row* pointed = underMouse() ? view.row_at(last_.y() - plot_rect().top()) : nullptr;
  if (marks_.selection) {
    rank = view.index_of(marks_.selection->other)->timeline().spans[marks_.selection->span].rank;
  } else if (pointed != nullptr) {
    rank = pointed->rank;
  }
  view.fold(rank, all);
  update();
}

// --- What is where -------------------------------------------------------------------------------------------------------------------------------

TimelineChart::Geometry TimelineChart::geometry(QSizeF size) const {
  Geometry g;
  const double width = std::max(50.0, size.width() - kGutter - kRight);
  double y = 0;
  g.legend = QRectF(8, y, size.width() - 16, kLegend);
  y += kLegend;
  g.minimap = QRectF(kGutter, y, width, kMinimap);
  y += kMinimap;
  g.ruler = QRectF(kGutter, y, width, kRuler);
  y += kRuler + kGap;
  const double height = std::max(20.0, size.height() - y);
  g.gutter = QRectF(0, y, kGutter, height);
  g.plot = QRectF(kGutter, y, width, height);
  return g;
}

QRectF TimelineChart::span_rect(SpanAt span) const {
  const QRectF plot = plot_rect();
  const auto box = here().box_of(span);
  return box ? QRectF(plot.left() + box->x, plot.top() + box->y, box->width, box->height) & plot : QRectF();
}

QRectF TimelineChart::plot_rect() const { return geometry(size()).plot; }
QRectF TimelineChart::minimap_rect() const { return geometry(size()).minimap; }

QRectF TimelineChart::legend_rect(std::size_t slot) const {
  for (const auto& [item, rect] : legend_items())
    if (item == slot) return rect;
  return {};
}

std::optional<SpanAt> TimelineChart::span_at(QPointF point) const {
  const QRectF plot = plot_rect();
  if (!view_.index() || !plot.contains(point)) return std::nullopt;
  return here().span_at(point.x() - plot.left(), point.y() - plot.top());
}

QString TimelineChart::describe(SpanAt span) const {
  if (!view_.has(span)) return {};
  QString text = words(view::describe(view_.index_of(span.other)->timeline(), span.span));
  const view::Differences* d = differences();
  const view::SpanId own = span.other && d != nullptr ? d->match_of_other(span.span) : span.span;
  if (d != nullptr && own != view::kNoSpan && d->match(own) != view::kNoSpan)
    text += QStringLiteral("  ·  %1: %2").arg(names_.other.empty() ? tr("the other") : words(names_.other), words(view::describe(d->delta(own))));
  return text;
}

QString TimelineChart::describe(QPointF point) const {
  const QRectF plot = plot_rect();
  if (!view_.index() || !plot.contains(point)) return {};
  const view::LaneView& view = here();
  const double x = point.x() - plot.left(), y = point.y() - plot.top();
  const view::Row* row = view.row_at(y);
  if (row == nullptr) return {};
  QString what;
  if (const auto span = view.span_at(x, y)) {
    what = describe(*span);
  } else if (const auto waiting = view.waiting_at(x, y)) {
    what = words(view::describe_wait(*view.index_of(waiting->other), waiting->span));
  } else {
    return {};
  }
  return QStringLiteral("%1  —  %2").arg(words(view::describe_row(view.index()->timeline(), row->rank, row->stream)), what);
}

// --- Painting ------------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!view_.index() || view_.index()->lanes().empty()) {
    paint_empty(
        painter, size, theme, tr("No timeline yet"),
        illegal_ ? tr("This plan cannot be compiled: the Setup page says why and offers a mend.")
                 : tr("It appears with the first answer: ask for a plan on the Setup page, or open a trace that 'orrery simulate --trace' or 'orrery "
                      "run --trace' "
                      "wrote (Ctrl+O, or drop it here)."));
    return;
  }
  const Geometry g = geometry(size);
  std::optional<view::LaneView> of_this_size;  // of a picture
  if (size != QSizeF(this->size())) of_this_size.emplace(view_).resize(g.plot.width(), g.plot.height());
  const view::LaneView& view = of_this_size ? *of_this_size : here();
  // Around the lanes, which cover what is theirs.
  painter.fillRect(QRectF(0, 0, size.width(), g.plot.top()), theme.ground);
  painter.fillRect(QRectF(0, g.plot.top(), g.plot.left(), g.plot.height()), theme.ground);
  painter.fillRect(QRectF(g.plot.right(), g.plot.top(), size.width() - g.plot.right(), g.plot.height()), theme.ground);
  legend_.paint(painter, g.legend, scene_.highlight, theme);
  const QRectF map = g.minimap.adjusted(0, 2, 0, -4);
  minimap_.paint(painter, map, scene_, view.axis(), theme);
  QString step = tr("step %1").arg(words(format_seconds(view.index()->timeline().step)));
  if (view.over()) step += QStringLiteral(" · ") + words(format_seconds(view.over()->timeline().step));
  painter.setPen(theme.dim);
  painter.drawText(QRectF(12, map.top(), kGutter - 20, map.height()), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, step);
  const auto label = marks_.label(g.ruler, view.axis(), painter.font());
  paint_ruler(painter, g.ruler, kGap, view.axis(), label ? std::optional(label->box) : std::nullopt, theme);
  painter.save();
  painter.translate(g.plot.topLeft());
  painter_.paint(painter, scene_, view.layout(), view.axis(), view.scroll(), g.plot.size(), theme);
  painter.restore();
  paint_gutter(painter, g.gutter, view, words(names_.own), words(names_.other), theme);
  marks_.paint(painter, g.plot, g.ruler, view, scene_.differences.get(), theme);
  paint_thumb(painter, g.plot, view, theme);
}

}  // namespace orrery::gui
