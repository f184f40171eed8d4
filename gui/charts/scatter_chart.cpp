#include "gui/charts/scatter_chart.h"

#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>

#include "gui/charts/plot.h"

namespace orrery::gui {

using planner::Figure;
using view::PlanMark;
using view::PlanPoint;

struct ScatterChart::Layout {
  QRectF area;
  view::ScatterAxes axes;
};

ScatterChart::ScatterChart(QWidget* parent) : Chart(QStringLiteral("pareto"), parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setMinimumSize(260, 200);
  setToolTip(
      tr("Each point is a plan. Click selects it in the table, Ctrl+click adds it, a double click makes it the question; the arrow keys walk along "
         "the points. What does not fit, or was not simulated, stands at the least time that it can take"));
}

void ScatterChart::show_plans(view::Scatter scatter, std::function<QString(const PlanPoint&)> describe, bool priced) {
  scatter_ = std::move(scatter);
  describe_ = std::move(describe);
  priced_ = priced;
  hovered_.reset();
  update();
}

void ScatterChart::select(const std::vector<std::size_t>& ranked) {
  selected_ = ranked;
  update();
}

ScatterChart::Layout ScatterChart::layout(const QPainter& painter, QSizeF size) const {
  const double line = QFontMetricsF(small_font(painter.font())).height();
  const QRectF area = plot_area(painter, size, line + 8);
  return {area, view::scatter_axes(scatter_, {area.left(), area.top(), area.right(), area.bottom()})};
}

void ScatterChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (scatter_.points.empty()) {
    const bool money = (scatter_.x == Figure::money || scatter_.y == Figure::money) && !priced_;
    paint_empty(
        painter, size, theme, money ? tr("No price is known") : tr("No plans yet"),
        money ? tr("Give the cluster one: the setting cluster.price_per_device_hour, in US dollars") : tr("Search: each plan becomes a point"));
    return;
  }
  painter.fillRect(QRectF({}, size), theme.ground);
  const Layout l = layout(painter, size);
  const QRectF& area = l.area;
  const view::ScatterAxes& axes = l.axes;
  const auto axis = [](const view::LinearAxis& on, Figure figure) {
    return PlotAxis{on, QString::fromUtf8(planner::title(figure).data()), [figure](double v) { return v > 0 ? planner::text(figure, v) : "0"; },
                    figure == Figure::memory};
  };
  paint_axes(painter, theme, area, axis(axes.x, scatter_.x), axis(axes.y, scatter_.y));
  const auto at = [&](const PlanPoint& p) { return QPointF(axes.x.pixel(p.at.x), axes.y.pixel(p.at.y)); };
  const QFont plain = painter.font();
  painter.setFont(small_font(plain));
  const QFontMetricsF metrics(painter.font());
  painter.setRenderHint(QPainter::Antialiasing);
  QPolygonF front;
  for (const PlanPoint& p : scatter_.points) {
    const QPointF c = at(p);
    switch (p.mark) {
      case PlanMark::pruned:
        painter.setPen(QPen(theme.faint, 1));
        painter.setBrush(Qt::NoBrush);
        painter.drawEllipse(c, 3, 3);
        break;
      case PlanMark::too_large:
        painter.setPen(QPen(theme.bad, 1.2));
        painter.drawLine(c + QPointF(-3, -3), c + QPointF(3, 3));
        painter.drawLine(c + QPointF(-3, 3), c + QPointF(3, -3));
        break;
      case PlanMark::simulated:
        painter.setPen(QPen(theme.ground, 0.8));
        painter.setBrush(theme.a);
        painter.drawEllipse(c, 4, 4);
        break;
      case PlanMark::front:
        if (!front.isEmpty()) front << QPointF(c.x(), front.last().y());  // what lies between is beaten by the left one
        front << c;
        break;
    }
  }
  painter.setPen(QPen(theme.accent, 1.5));
  painter.setBrush(Qt::NoBrush);
  painter.drawPolyline(front);
  painter.setPen(QPen(theme.ground, 1));
  painter.setBrush(theme.accent);
  for (const PlanPoint& p : scatter_.points)
    if (p.mark == PlanMark::front) painter.drawEllipse(at(p), 5, 5);
  painter.setBrush(Qt::NoBrush);
  for (std::size_t i = 0; i < scatter_.points.size(); ++i) {
    const PlanPoint& p = scatter_.points[i];
    const bool simulated = p.mark == PlanMark::front || p.mark == PlanMark::simulated;
    const bool selected = simulated && std::find(selected_.begin(), selected_.end(), p.index) != selected_.end();
    if (!selected && hovered_ != i) continue;
    painter.setPen(QPen(selected ? theme.ink : theme.dim, selected ? 2 : 1.2));
    painter.drawEllipse(at(p), 8, 8);
  }
  if (scatter_.capacity) {
    painter.setPen(QPen(theme.bad, 1, Qt::DashLine));
    painter.setRenderHint(QPainter::Antialiasing, false);
    const QString text = tr("device memory");
    if (scatter_.y == Figure::memory) {
      const double y = std::floor(axes.y.pixel(*scatter_.capacity)) + 0.5;
      painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y));
      const double width = metrics.horizontalAdvance(text);
      painter.fillRect(QRectF(area.right() - width - 6, y - 4 - metrics.ascent(), width + 6, metrics.height()), theme.ground);
      painter.drawText(QPointF(area.right() - width - 3, y - 4), text);
    } else {
      const double x = std::floor(axes.x.pixel(*scatter_.capacity)) + 0.5;
      painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
      painter.drawText(QPointF(x - metrics.horizontalAdvance(text) - 4, area.top() + metrics.ascent() + 2), text);
    }
  }
  painter.setRenderHint(QPainter::Antialiasing);
  // What the marks mean.
  double x = area.left();
  const double y = 8 + metrics.height() / 2;
  const auto entry = [&](const QString& text, auto mark) {
    mark(QPointF(x + 5, y));
    painter.setPen(theme.dim);
    painter.drawText(QPointF(x + 15, y + metrics.ascent() / 2 - 1), text);
    x += 15 + metrics.horizontalAdvance(text) + 16;
  };
  const auto dot = [&](const QColor& fill, double radius) {
    return [&painter, &theme, fill, radius](QPointF c) {
      painter.setPen(QPen(theme.ground, 1));
      painter.setBrush(fill);
      painter.drawEllipse(c, radius, radius);
    };
  };
  const auto any = [&](PlanMark mark) {
    return std::any_of(scatter_.points.begin(), scatter_.points.end(), [&](const PlanPoint& p) { return p.mark == mark; });
  };
  entry(tr("no plan beats it"), dot(theme.accent, 4.5));
  if (any(PlanMark::simulated)) entry(tr("others"), dot(theme.a, 4));
  if (any(PlanMark::too_large))
    entry(tr("do not fit"), [&](QPointF c) {
      painter.setPen(QPen(theme.bad, 1.2));
      painter.drawLine(c + QPointF(-3, -3), c + QPointF(3, 3));
      painter.drawLine(c + QPointF(-3, 3), c + QPointF(3, -3));
    });
  if (any(PlanMark::pruned))
    entry(tr("not simulated"), [&](QPointF c) {
      painter.setPen(QPen(theme.faint, 1));
      painter.setBrush(Qt::NoBrush);
      painter.drawEllipse(c, 3, 3);
    });
  painter.setFont(plain);
}

QPointF ScatterChart::place(const PlanPoint& point) const {
  QPixmap one(1, 1);
  QPainter painter(&one);
  painter.setFont(font());
  const Layout l = layout(painter, QSizeF(size()));
  return {l.axes.x.pixel(point.at.x), l.axes.y.pixel(point.at.y)};
}

std::optional<std::size_t> ScatterChart::point_at(QPointF position) const {
  QPixmap one(1, 1);
  QPainter painter(&one);
  painter.setFont(font());
  return view::nearest(scatter_, layout(painter, QSizeF(size())).axes, position.x(), position.y(), 12);
}

void ScatterChart::mousePressEvent(QMouseEvent* event) {
  const std::optional<std::size_t> hit = point_at(event->position());
  if (event->button() != Qt::LeftButton || !hit) return;
  const PlanPoint& p = scatter_.points[*hit];
  if (p.mark == PlanMark::front || p.mark == PlanMark::simulated) Q_EMIT picked(p.index, (event->modifiers() & Qt::ControlModifier) != 0);
}

void ScatterChart::mouseDoubleClickEvent(QMouseEvent* event) {
  const std::optional<std::size_t> hit = point_at(event->position());
  if (!hit) return;
  const PlanPoint& p = scatter_.points[*hit];
  if (p.mark == PlanMark::front || p.mark == PlanMark::simulated) Q_EMIT activated(p.index);
}

void ScatterChart::mouseMoveEvent(QMouseEvent* event) {
  const std::optional<std::size_t> hit = point_at(event->position());
  if (hit == hovered_) return;
  hovered_ = hit;
  update();
}

void ScatterChart::leaveEvent(QEvent* /*event*/) {
  hovered_.reset();
  update();
}

void ScatterChart::keyPressEvent(QKeyEvent* event) {
  std::vector<std::size_t> order;  // simulated points from left to right
  for (std::size_t i = 0; i < scatter_.points.size(); ++i)
    if (scatter_.points[i].mark == PlanMark::front || scatter_.points[i].mark == PlanMark::simulated) order.push_back(i);
  if (order.empty()) return Chart::keyPressEvent(event);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scatter_.points[a].at.x < scatter_.points[b].at.x; });
  const auto now =
      std::find_if(order.begin(), order.end(), [&](std::size_t i) { return !selected_.empty() && scatter_.points[i].index == selected_.back(); });
  const bool add = (event->modifiers() & Qt::ShiftModifier) != 0;
  if (event->key() == Qt::Key_Right || event->key() == Qt::Key_Down)
    Q_EMIT picked(scatter_.points[now == order.end() ? order.front() : now + 1 == order.end() ? *now : *(now + 1)].index, add);
  else if (event->key() == Qt::Key_Left || event->key() == Qt::Key_Up)
    Q_EMIT picked(scatter_.points[now == order.end() ? order.front() : now == order.begin() ? *now : *(now - 1)].index, add);
  else if ((event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter) && now != order.end())
    Q_EMIT activated(scatter_.points[*now].index);
  else
    Chart::keyPressEvent(event);
}

bool ScatterChart::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    auto* help = static_cast<QHelpEvent*>(event);
    if (const auto hit = point_at(help->pos()); hit && describe_) {
      QToolTip::showText(help->globalPos(), describe_(scatter_.points[*hit]), this);
      return true;
    }
  }
  return Chart::event(event);
}

}  // namespace orrery::gui
