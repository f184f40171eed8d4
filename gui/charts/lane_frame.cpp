#include "gui/charts/lane_frame.h"

#include <QCoreApplication>
#include <QFontMetricsF>
#include <QPainter>
#include <QPainterPath>
#include <algorithm>
#include <cmath>

#include "gui/view/span_words.h"

namespace orrery::gui {
namespace {

constexpr double kLine = 22;  // of a rank's name

QString words(const std::string& text) { return QString::fromStdString(text); }

QFont smaller(QFont font) {
  if (font.pixelSize() > 0) {
    font.setPixelSize(std::max(8, font.pixelSize() - 1));
  } else {
    font.setPointSizeF(std::max(6.5, font.pointSizeF() - 1));
  }
  return font;
}

// The rank's name with the triangle that folds it, and how many ranks it stands for.
void paint_rank(QPainter& p, double y, const view::Row& row, const Timeline& t, bool collapsed, const QFont& plain, const Theme& theme) {
  const double line = std::min(row.height, kLine), middle = y + line / 2;
  QPainterPath triangle;
  if (collapsed) {
    triangle.addPolygon(QPolygonF{{12, middle - 4}, {17, middle}, {12, middle + 4}});
  } else {
    triangle.addPolygon(QPolygonF{{11, middle - 2.5}, {19, middle - 2.5}, {15, middle + 2.5}});
  }
  p.fillPath(triangle, theme.dim);
  QFont strong = plain;
  strong.setBold(true);
  p.setFont(strong);
  p.setPen(theme.ink);
  const QFontMetricsF metrics(strong);
  const QString shown = metrics.elidedText(words(view::rank_name(t, row.rank)), Qt::ElideRight, kGutter - 34);
  p.drawText(QRectF(24, y, kGutter - 30, line), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, shown);
  const std::int64_t weight = row.rank < t.weights.size() ? t.weights[row.rank] : 1;
  if (weight <= 1) return;
  p.setFont(smaller(plain));
  p.setPen(theme.dim);
  const QString times = QStringLiteral("×%1").arg(weight);
  if (row.height >= 28) {
    p.drawText(QRectF(24, y + line - 5, kGutter - 30, row.height - line + 5), int{Qt::AlignLeft} | int{Qt::AlignTop}, times);
  } else if (metrics.horizontalAdvance(shown) + 60 < kGutter - 30) {
    p.drawText(QRectF(30 + metrics.horizontalAdvance(shown), y, 60, line), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, times);
  }
}

}  // namespace

void paint_ruler(QPainter& p, QRectF ruler, double foot, const view::TimeAxis& axis, const std::optional<QRectF>& taken, const Theme& theme) {
  const view::TimeTicks ticks = axis.ticks(100);
  const QFontMetricsF metrics(p.font());
  for (const view::Tick& tick : ticks.ticks) {
    const double x = std::round(ruler.left() + tick.pixel) + 0.5;
    p.setPen(theme.line);
    p.drawLine(QPointF(x, ruler.bottom() - 4), QPointF(x, ruler.bottom() + foot));
    const QString label = words(tick.label);
    const double width = metrics.horizontalAdvance(label), left = std::clamp(x - width / 2, ruler.left(), ruler.right() - width);
    if (taken && left < taken->right() + 6 && left + width > taken->left() - 6) continue;
    p.setPen(theme.dim);
    p.drawText(QPointF(left, ruler.top() + metrics.ascent()), label);
  }
  p.setPen(theme.dim);
  if (!ticks.base.empty())
    p.drawText(QRectF(12, ruler.top(), kGutter - 22, ruler.height()), int{Qt::AlignRight} | int{Qt::AlignTop}, words(ticks.base));
  p.setPen(theme.line);
  p.drawLine(QPointF(ruler.left(), ruler.bottom() + foot - 0.5), QPointF(ruler.right(), ruler.bottom() + foot - 0.5));
}

void paint_gutter(QPainter& p, QRectF gutter, const view::LaneView& view, const QString& own, const QString& other, const Theme& theme) {
  p.save();
  p.setClipRect(gutter);
  const QFont plain = p.font(), small = smaller(plain);
  const view::LaneLayout& layout = *view.layout();
  const auto [first, last] = layout.rows_between(view.scroll(), view.scroll() + gutter.height());
  for (std::size_t i = first; i < last; ++i) {
    const view::Row& r = layout.rows()[i];
    const double y = gutter.top() + r.y - view.scroll();
    if (r.first_of_rank) paint_rank(p, y, r, view.index()->timeline(), view.choice().collapsed.contains(r.rank), plain, theme);
    QString name;
    if (r.kind == view::RowKind::difference) {
      name = QCoreApplication::translate("TimelineChart", "difference");
    } else if (r.kind == view::RowKind::other) {
      name = other;
    } else if (!r.compute || view.over()) {
      name = words(r.stream);
    }
    double top = y, left = 12;
    if (r.first_of_rank) {  // the rank's name stands there, which says enough of a compute stream; under it, beside its number of ranks, there is
                            // room
      if (r.kind == view::RowKind::lane) name = own;
      if (r.height < kLine + QFontMetricsF(small).height() - 6) continue;
      top += kLine - 5, left += 40;
    }
    if (name.isEmpty()) continue;
    p.setFont(small);
    p.setPen(theme.dim);
    p.drawText(QRectF(left, top, kGutter - 8 - left, y + r.height - top),
               int{Qt::AlignRight} | int{r.first_of_rank ? Qt::AlignTop : Qt::AlignVCenter},
               QFontMetricsF(small).elidedText(name, Qt::ElideMiddle, kGutter - 8 - left));
  }
  p.restore();
}

void paint_thumb(QPainter& p, QRectF lanes, const view::LaneView& view, const Theme& theme) {
  const double limit = view.scroll_limit();
  if (limit <= 0) return;
  const double whole = view.layout()->height() + view::LaneView::kMargin, thumb = std::max(24.0, lanes.height() * lanes.height() / whole);
  p.setPen(Qt::NoPen);
  p.setBrush(theme.faint);
  p.drawRoundedRect(QRectF(lanes.right() + 3, lanes.top() + (lanes.height() - thumb) * view.scroll() / limit, 5, thumb), 2.5, 2.5);
}

}  // namespace orrery::gui
