#include "gui/charts/power_chart.h"

#include <QPainter>
#include <algorithm>
#include <cmath>

#include "core/quantity_text.h"

namespace orrery::gui {
namespace {

QString words(const std::string& s) { return QString::fromStdString(s); }

}  // namespace

PowerChart::PowerChart(QWidget* parent) : TimeChart("power", parent) {
  setAccessibleDescription(tr("Power over the step, with idle and rated power"));
}

void PowerChart::show(const app::PowerCurve& curve, Watts idle, Watts rated, const QString& why) {
  curve_ = {};
  for (const app::PowerCurve::Point& p : curve.points) {
    curve_.times.push_back(p.from);
    curve_.values.push_back(p.power.v);
  }
  idle_ = idle, rated_ = rated, mean_ = curve.mean, peak_ = curve.peak;
  why_ = why;
  update();
}

QRectF PowerChart::plot_in(QSizeF size, const QFontMetricsF& font) const {
  QRectF plot = TimeChart::plot_in(size, font);
  plot.setTop(plot.top() + font.height() + 10);
  return plot;
}

void PowerChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (curve_.size() == 0) {
    paint_empty(painter, size, theme, tr("No power curve"), why_);
    return;
  }
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFontMetricsF font(painter.font());
  const QRectF plot = plot_in(size, font);
  const view::TimeAxis x = axis_in(plot);
  const view::LinearAxis y(0, std::max({peak_.v, rated_.v, idle_.v, 1e-9}) * 1.08, plot.height(), 0);
  QColor band = theme.b;
  band.setAlpha(70);
  QList<LegendEntry> legend{{theme.b, tr("mean over a pixel"), true}, {band, tr("least to most within it")}};
  if (cursor()) {
    const std::size_t at = curve_.at(*cursor());
    if (at < curve_.size()) legend.push_back({theme.accent, tr("at the cursor %1").arg(words(format_power(Watts{curve_.values[at]}))), true});
  }
  paint_legend(&painter, {plot.left(), 8}, plot.width(), font, legend, theme);
  paint_axes(painter, plot, theme, y, false, [](double v) { return format_power(Watts{v}); });

  painter.save();
  painter.setClipRect(plot);
  const auto pixels = static_cast<std::size_t>(std::max(1.0, std::floor(plot.width())));
  const std::vector<view::Extent> columns = view::extents(curve_, x.range(), pixels);
  QPolygonF line;
  for (std::size_t p = 0; p < pixels; ++p) {
    if (columns[p].empty) continue;
    const double left = plot.left() + static_cast<double>(p), low = plot.top() + y.pixel(columns[p].low),
                 high = plot.top() + y.pixel(columns[p].high);
    painter.fillRect(QRectF(left, high, 1, std::max(1.0, low - high)), band);
    line << QPointF(left, plot.top() + y.pixel(columns[p].mean)) << QPointF(left + 1, plot.top() + y.pixel(columns[p].mean));
  }
  painter.setPen(QPen(theme.b, 1.3));
  painter.drawPolyline(line);
  painter.restore();

  const auto level = [&](Watts w, const QString& text, const QColor& ink, Qt::Alignment side) {
    const double at = std::round(plot.top() + y.pixel(w.v)) + 0.5;
    painter.setPen(QPen(ink, 1.2, Qt::DashLine));
    painter.drawLine(QPointF(plot.left(), at), QPointF(plot.right(), at));
    paint_note(painter, plot, {side & Qt::AlignLeft ? plot.left() : plot.right(), at}, side, text.arg(words(format_power(w))), ink, theme);
  };
  if (rated_.v > 0) level(rated_, tr("rated (TDP) %1"), theme.dim, Qt::AlignRight | Qt::AlignTop);
  if (idle_.v > 0) level(idle_, tr("idle %1"), theme.dim, Qt::AlignRight | Qt::AlignTop);
  level(mean_, tr("mean of the step %1"), theme.ink, Qt::AlignLeft | Qt::AlignTop);
  paint_cursor(painter, plot, theme);
}

}  // namespace orrery::gui
