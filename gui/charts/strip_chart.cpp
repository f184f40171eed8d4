#include "gui/charts/strip_chart.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>

#include "core/quantity_text.h"
#include "gui/view/axis.h"

namespace orrery::gui {
namespace {

constexpr double kEdge = 10;

QColor colour_of(const Theme& theme, std::size_t slot) {
  return slot == view::kRecomputeSlot ? theme.hue(view::Hue::gemm).lighter(140) : theme.hue(static_cast<view::Hue>(slot));
}

}  // namespace

StripChart::StripChart(QWidget* parent) : Chart(QStringLiteral("strip"), parent) {
  setMinimumHeight(70);
  setToolTip(tr("What the compute stream of each recorded rank does during the step; click for the whole timeline"));
  setCursor(Qt::PointingHandCursor);
}

void StripChart::show_index(std::shared_ptr<const view::SpanIndex> index, Picoseconds until) {
  index_ = std::move(index);
  until_ = until;
  update();
}

void StripChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!index_) return paint_empty(painter, size, theme, tr("The timeline comes in a moment"));
  painter.fillRect(QRectF({}, size), theme.ground);
  std::vector<std::size_t> lanes;
  for (std::size_t l = 0; l < index_->lanes().size(); ++l)
    if (index_->lanes()[l].compute) lanes.push_back(l);
  if (lanes.empty()) return;
  const QFontMetricsF metrics(painter.font());
  const double head = metrics.height() + 4;
  const view::TimeRange whole = index_->whole();
  const Picoseconds end{std::max(whole.end.v, until_.v)};
  painter.setPen(theme.dim);
  painter.drawText(QRectF(kEdge, 4, size.width() - 2 * kEdge, metrics.height()), int{Qt::AlignLeft}, tr("one step, rank by rank"));
  painter.drawText(QRectF(kEdge, 4, size.width() - 2 * kEdge, metrics.height()), int{Qt::AlignRight},
                   QString::fromStdString(format_seconds(Picoseconds{end.v - whole.begin.v})));
  const double width = std::floor(size.width() - 2 * kEdge), room = size.height() - head - 12;
  const double row = std::min(18.0, room / static_cast<double>(lanes.size())), gap = row > 4 ? 1 : 0;
  const view::TimeAxis axis(view::TimeRange{whole.begin, end}, width);
  view::Visible visible;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const double y = head + 6 + row * static_cast<double>(i), height = std::max(1.0, row - gap);
    painter.fillRect(QRectF(kEdge, y, width, height), theme.grid);
    visible.clear();
    index_->visible(lanes[i], axis, visible);
    for (const view::Column& c : visible.columns) {
      if (c.mix.busy() == 0) continue;
      QColor colour = colour_of(theme, c.mix.dominant());
      colour.setAlpha(std::clamp(c.mix.busy(), 60, 255));
      painter.fillRect(QRectF(kEdge + c.x0, y, c.x1 - c.x0, height), colour);
    }
    for (const view::Run& run : visible.runs) {
      const SpanKind& kind = index_->timeline().kinds[index_->timeline().spans[run.span].kind];
      const std::size_t slot = view::slot(kind.work, index_->timeline().spans[run.span].recompute);
      if (slot < view::kSlots) painter.fillRect(QRectF(kEdge + run.x0, y, run.x1 - run.x0, height), colour_of(theme, slot));
    }
  }
}

void StripChart::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() == Qt::LeftButton) Q_EMIT clicked();
}

}  // namespace orrery::gui
