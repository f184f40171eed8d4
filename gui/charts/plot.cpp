#include "gui/charts/plot.h"

#include <QFontMetricsF>

namespace orrery::gui {

QFont small_font(const QFont& font) {
  QFont out = font;
  if (font.pointSizeF() > 0)
    out.setPointSizeF(font.pointSizeF() * 0.9);
  else
    out.setPixelSize(std::max(8, font.pixelSize() * 9 / 10));
  return out;
}

QRectF plot_area(const QPainter& painter, QSizeF size, double above) {
  const QFontMetricsF metrics(small_font(painter.font()));
  const double left = metrics.horizontalAdvance("0000.0 MiB") + 14, line = metrics.height();
  return {left, line + 12 + above, std::max(10.0, size.width() - left - 24), std::max(10.0, size.height() - above - 3 * line - 26)};
}

void paint_axes(QPainter& painter, const Theme& theme, const QRectF& area, const PlotAxis& x, const PlotAxis& y) {
  const QFont before = painter.font();
  painter.setFont(small_font(before));
  const QFontMetricsF metrics(painter.font());
  const double line = metrics.height();
  const auto crisp = [](double v) { return std::floor(v) + 0.5; };
  painter.setRenderHint(QPainter::Antialiasing, false);
  double last = -1e9;
  for (const view::Tick& tick : x.axis.ticks(80, x.binary, x.label)) {
    if (tick.pixel < area.left() - 0.5 || tick.pixel > area.right() + 0.5) continue;
    painter.setPen(theme.grid);
    painter.drawLine(QPointF(crisp(tick.pixel), area.top()), QPointF(crisp(tick.pixel), area.bottom()));
    const QString text = QString::fromStdString(tick.label);
    const double width = metrics.horizontalAdvance(text);
    if (text.isEmpty() || tick.pixel - width / 2 < last + 8) continue;
    last = tick.pixel + width / 2;
    painter.setPen(theme.dim);
    painter.drawText(QRectF(tick.pixel - width / 2 - 1, area.bottom() + 4, width + 2, line), Qt::AlignCenter, text);
  }
  for (const view::Tick& tick : y.axis.ticks(36, y.binary, y.label)) {
    if (tick.pixel < area.top() - 0.5 || tick.pixel > area.bottom() + 0.5) continue;
    painter.setPen(theme.grid);
    painter.drawLine(QPointF(area.left(), crisp(tick.pixel)), QPointF(area.right(), crisp(tick.pixel)));
    painter.setPen(theme.dim);
    painter.drawText(QRectF(0, tick.pixel - line / 2, area.left() - 6, line), int{Qt::AlignRight} | int{Qt::AlignVCenter},
                     QString::fromStdString(tick.label));
  }
  painter.setPen(theme.line);
  painter.drawLine(QPointF(area.left(), crisp(area.bottom())), QPointF(area.right(), crisp(area.bottom())));
  painter.setPen(theme.dim);
  painter.drawText(QRectF(area.left(), area.bottom() + 6 + line, area.width(), line + 2), int{Qt::AlignRight} | int{Qt::AlignTop}, x.title);
  painter.drawText(QRectF(8, area.top() - line - 8, area.width(), line + 2), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, y.title);
  painter.setFont(before);
}

}  // namespace orrery::gui
