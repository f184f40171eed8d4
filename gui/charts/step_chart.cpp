#include "gui/charts/step_chart.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "core/quantity_text.h"
#include "gui/charts/plot.h"
#include "gui/view/axis.h"

namespace orrery::gui {
namespace {

constexpr double kEdge = 10, kGutter = 104;
constexpr double kFilled = 0.75;  // of the time axis, at least, by a step

QString words(const std::string& text) { return QString::fromStdString(text); }
QString words(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

}  // namespace

StepChart::StepChart(QString empty, QString how, QWidget* parent)
    : Chart(QStringLiteral("step timeline"), parent), empty_(std::move(empty)), how_(std::move(how)) {
  setMinimumSize(240, 120);
  setCursor(Qt::PointingHandCursor);
}

void StepChart::show_step(Step step) {
  step_ = std::move(step);
  scene_ = {};
  // As on the Timeline page: the measurement lies over the prediction.
  scene_.index = step_.predicted ? step_.predicted : step_.measured;
  if (step_.predicted && step_.measured) scene_.over = step_.measured, scene_.differences = step_.differences;
  if (!scene_.index) {
    until_ = {};
  } else {
    const Picoseconds end = scene_.over ? std::max(scene_.over->whole().end, scene_.index->whole().end) : scene_.index->whole().end;
    if (end > until_ || static_cast<double>(end.v) < kFilled * static_cast<double>(until_.v)) until_ = end;
  }
  room_ = -1;
  update();
}

const Timeline& StepChart::timeline() const { return (step_.measured ? step_.measured : step_.predicted)->timeline(); }

// All streams where there is room for them, otherwise compute streams, at last thin ones of as many ranks as there is room for.
void StepChart::lay_out(double room) const {
  if (room == room_) return;
  room_ = room;
  view::LayoutChoice choice;
  choice.compute_height = 16, choice.stream_height = 11, choice.difference_height = 6, choice.gap = 1, choice.rank_gap = 6;
  choice.available = room, choice.most_growth = 2;
  layout_ = std::make_shared<const view::LaneLayout>(*scene_.index, scene_.over.get(), choice);
  for (const double thin : {1.0, 0.4}) {
    if (layout_->height() <= room) break;
    for (const view::Row& row : layout_->rows()) choice.collapsed.insert(row.rank);
    choice.compute_height = 16 * thin, choice.difference_height = 6 * thin, choice.rank_gap = 6 * thin;
    layout_ = std::make_shared<const view::LaneLayout>(*scene_.index, scene_.over.get(), choice);
  }
  shown_ = 0;
  ranks_shown_ = 0;
  const std::vector<view::Row>& rows = layout_->rows();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + 1 < rows.size() && !rows[i + 1].first_of_rank) continue;
    if (rows[i].y + rows[i].height > room) break;
    shown_ = rows[i].y + rows[i].height;
    ++ranks_shown_;
  }
}

void StepChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!scene_.index) return paint_empty(painter, size, theme, empty_, how_);
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFont plain = painter.font();
  painter.setFont(small_font(plain));
  const QFontMetricsF metrics(painter.font());
  const double line = metrics.height();
  const QRectF area(kGutter, line + 12, std::max(10.0, size.width() - kGutter - kEdge), std::max(8.0, size.height() - 3 * line - 34));
  lay_out(area.height());

  QString times = words(format_seconds(timeline().step));
  if (scene_.over) times = tr("%1, predicted %2").arg(times, words(format_seconds(step_.predicted->timeline().step)));
  if (ranks_shown_ < layout_->ranks()) times += tr(" (%1 of %2 ranks)").arg(ranks_shown_).arg(layout_->ranks());
  painter.setPen(theme.dim);
  const QRectF head(8, 4, size.width() - 8 - kEdge, line + 2);
  painter.drawText(head, int{Qt::AlignLeft} | int{Qt::AlignVCenter}, step_.measured ? tr("measured: %1").arg(step_.name) : tr("predicted"));
  painter.drawText(head, int{Qt::AlignRight} | int{Qt::AlignVCenter}, times);

  const view::TimeAxis axis({Picoseconds{0}, until_}, std::floor(area.width()));
  painter.save();
  painter.translate(area.topLeft());
  painter_.paint(painter, scene_, layout_, axis, 0, QSizeF(std::floor(area.width()), shown_), theme);
  painter.restore();
  const QRectF lanes(area.left(), area.top(), area.width(), shown_);
  paint_names(painter, lanes, theme);
  paint_times(painter, lanes, axis, theme);
  paint_legend(painter, QRectF(8, lanes.bottom() + line + 12, size.width() - 16, line), theme);
  painter.setFont(plain);
}

void StepChart::paint_names(QPainter& painter, const QRectF& area, const Theme& theme) const {
  const QFont small = painter.font();
  const QFontMetricsF metrics(small);
  const Timeline& t = timeline();  // has all ranks; a prediction stands for those that do the same
  for (const view::Row& row : layout_->rows()) {
    if (row.y >= shown_) break;
    QString name;
    if (row.first_of_rank)
      name = row.rank < t.ranks.size() && !t.ranks[row.rank].empty() ? words(t.ranks[row.rank]) : tr("rank %1").arg(row.rank);
    else if (row.kind == view::RowKind::lane)
      name = words(row.stream);
    else if (row.kind == view::RowKind::other)
      name = row.lane ? tr("measured") : words(row.stream);  // of a rank for whose prediction another stands
    if (name.isEmpty() || (!row.first_of_rank && row.height < metrics.height() - 4)) continue;
    painter.setPen(row.first_of_rank ? theme.ink : row.kind == view::RowKind::lane ? theme.dim : theme.faint);
    const double tall = std::max(row.height, metrics.height() - 2);
    painter.drawText(QRectF(8, area.top() + row.y + (row.height - tall) / 2, kGutter - 16, tall), int{Qt::AlignRight} | int{Qt::AlignVCenter},
                     metrics.elidedText(name, Qt::ElideRight, kGutter - 16));
  }
}

void StepChart::paint_times(QPainter& painter, const QRectF& area, const view::TimeAxis& axis, const Theme& theme) const {
  const QFontMetricsF metrics(painter.font());
  for (const view::Tick& tick : axis.ticks(70).ticks) {
    const double x = std::floor(area.left() + tick.pixel) + 0.5;
    painter.setPen(theme.line);
    painter.drawLine(QPointF(x, area.bottom() + 1), QPointF(x, area.bottom() + 4));
    const QString text = words(tick.label);
    const double width = metrics.horizontalAdvance(text);
    painter.setPen(theme.dim);
    painter.drawText(
        QPointF(std::clamp(x - width / 2, area.left(), std::max(area.left(), area.right() - width)), area.bottom() + 5 + metrics.ascent()), text);
  }
}

// What the colours are, the most of it first, as far as there is room.
void StepChart::paint_legend(QPainter& painter, const QRectF& area, const Theme& theme) const {
  std::array<Picoseconds, view::kSlots> work{};
  Picoseconds waited, busy;
  for (const view::SpanIndex::Lane& lane : (scene_.over ? scene_.over : scene_.index)->lanes()) {
    for (std::size_t s = 0; s < work.size(); ++s) work[s] += lane.totals.work[s];
    if (lane.compute) waited += lane.totals.waited(), busy += lane.totals.busy();
  }
  std::vector<std::size_t> order;
  for (std::size_t s = 0; s < work.size(); ++s)
    if (work[s].v > 0) order.push_back(s);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return work[a] > work[b]; });
  const LaneColours colours(theme, 0, false);
  const QFontMetricsF metrics(painter.font());
  if (waited.v > busy.v / 100) order.insert(order.begin(), kWaitingSlot);
  double x = area.left();
  for (const std::size_t s : order) {
    const QString name = s == kWaitingSlot ? tr("waiting") : words(view::slot_name(s));
    const double width = 14 + metrics.horizontalAdvance(name);
    if (x + width > area.right()) break;
    const QRectF box(x, area.center().y() - 4, 9, 9);
    if (s == kWaitingSlot) {
      painter.fillRect(box, QColor(colours.gap[static_cast<std::size_t>(WaitCause::pp)]));
      painter.fillRect(box, QBrush(QColor(colours.gap_line[static_cast<std::size_t>(WaitCause::pp)]), Qt::BDiagPattern));
    } else {
      painter.fillRect(box, QColor(colours.fill[s]));
    }
    painter.setPen(theme.dim);
    painter.drawText(QRectF(x + 14, area.top(), width, area.height()), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, name);
    x += width + 12;
  }
}

void StepChart::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() == Qt::LeftButton && scene_.index) Q_EMIT clicked();
}

}  // namespace orrery::gui
