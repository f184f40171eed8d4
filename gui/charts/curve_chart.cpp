#include "gui/charts/curve_chart.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

#include "gui/charts/plot.h"
#include "gui/view/decimate.h"

namespace orrery::gui {

CurveChart::CurveChart(const QString& name, const QString& y, std::function<std::string(double)> label, QString empty, QString how, QWidget* parent)
    : Chart(name, parent), y_(y), label_(std::move(label)), empty_(std::move(empty)), how_(std::move(how)) {
  setMouseTracking(true);
  setMinimumSize(240, 140);
}

void CurveChart::clear(std::int64_t whole) {
  whole_ = whole;
  points_.clear();
  update();
}

void CurveChart::add(planner::Point point) {
  points_.push_back(point);
  update();
}

void CurveChart::set_levels(std::vector<Level> levels) {
  levels_ = std::move(levels);
  update();
}

double CurveChart::last_step() const {
  constexpr double kFew = 32;  // steps that always have room
  double room = kFew;
  const double done = points_.empty() ? 0 : points_.back().x;
  while (room < 2 * done) room *= 2;
  return std::max({std::min(static_cast<double>(whole_), room), done, 2.0});
}

void CurveChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  const auto finite = [](const planner::Point& p) { return std::isfinite(p.y); };
  const auto first = std::find_if(points_.begin(), points_.end(), finite);
  if (first == points_.end()) return paint_empty(painter, size, theme, empty_, how_);
  painter.fillRect(QRectF({}, size), theme.ground);
  double low = first->y, high = first->y;
  for (const planner::Point& p : points_)
    if (finite(p)) low = std::min(low, p.y), high = std::max(high, p.y);
  for (const Level& level : levels_) low = std::min(low, level.value), high = std::max(high, level.value);
  if (from_zero_) low = std::min(0.0, low);
  const double margin = high > low ? 0.06 * (high - low) : std::max(1e-12, 0.05 * std::abs(high));
  const QRectF area = plot_area(painter, size);
  const double last = last_step();
  const view::LinearAxis x(1, last, area.left(), area.right());
  const view::LinearAxis y(from_zero_ ? low : low - margin, high + margin, area.bottom(), area.top());
  const auto step = [](double v) { return std::abs(v - std::round(v)) < 1e-6 ? std::to_string(std::llround(v)) : std::string(); };
  paint_axes(painter, theme, area, {x, tr("step"), step}, {y, y_, label_});
  const QFont plain = painter.font();
  painter.setFont(small_font(plain));
  const QFontMetricsF metrics(painter.font());
  painter.save();
  painter.setClipRect(area.adjusted(-6, -2, 6, 2));
  painter.setRenderHint(QPainter::Antialiasing);
  QPolygonF line;
  for (const planner::Point& p : view::decimate(points_, x)) line << QPointF(x.pixel(p.x), y.pixel(p.y));
  painter.setPen(QPen(theme.b, 1.8));
  painter.drawPolyline(line);
  if (points_.size() <= 60) {
    painter.setPen(Qt::NoPen);
    painter.setBrush(theme.b);
    for (const QPointF& p : line) painter.drawEllipse(p, 2.6, 2.6);
  }
  painter.restore();
  painter.setRenderHint(QPainter::Antialiasing, false);
  for (const Level& level : levels_) {
    const double at = std::floor(y.pixel(level.value)) + 0.5;
    painter.setPen(QPen(theme.good, 1, Qt::DashLine));
    painter.drawLine(QPointF(area.left(), at), QPointF(area.right(), at));
    const QString text = level.name + "  " + QString::fromStdString(label_(level.value));
    const double above = at - metrics.height() > area.top() ? at - 4 : at + metrics.ascent() + 3;
    const QRectF words(area.right() - metrics.horizontalAdvance(text) - 4, above - metrics.ascent(), metrics.horizontalAdvance(text) + 4,
                       metrics.height());
    painter.fillRect(words, theme.ground);
    painter.setPen(theme.good);
    painter.drawText(QPointF(words.left() + 2, above), text);
  }
  if (hovered_ >= area.left() && hovered_ <= area.right()) {
    const double at = x.value(hovered_);
    const auto near = std::min_element(points_.begin(), points_.end(),
                                       [&](const planner::Point& a, const planner::Point& b) { return std::abs(a.x - at) < std::abs(b.x - at); });
    const QPointF p(x.pixel(near->x), std::isfinite(near->y) ? y.pixel(near->y) : area.top());
    painter.setPen(theme.dim);
    painter.drawLine(QPointF(std::floor(p.x()) + 0.5, area.top()), QPointF(std::floor(p.x()) + 0.5, area.bottom()));
    const QString value = std::isfinite(near->y) ? QString::fromStdString(story_ ? story_(near->y) : label_(near->y)) : tr("not a number");
    const QString text = tr("step %1: %2").arg(near->x).arg(value);
    const double width = metrics.horizontalAdvance(text) + 10;
    const double left = p.x() + 8 + width < area.right() ? p.x() + 8 : p.x() - 8 - width;
    const QRectF box(left, area.top() + 6, width, metrics.height() + 6);
    painter.fillRect(box, theme.raised);
    painter.setPen(theme.line);
    painter.drawRect(box);
    painter.setPen(theme.ink);
    painter.drawText(box, Qt::AlignCenter, text);
  }
  painter.setFont(plain);
}

void CurveChart::mouseMoveEvent(QMouseEvent* event) {
  hovered_ = event->position().x();
  update();
}

void CurveChart::leaveEvent(QEvent* /*event*/) {
  hovered_ = -1;
  update();
}

}  // namespace orrery::gui
