#include "gui/charts/time_chart.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>

namespace orrery::gui {
namespace {

constexpr double kLeft = 72, kRight = 14, kTop = 10;

QString words(const std::string& s) { return QString::fromStdString(s); }

}  // namespace

TimeChart::TimeChart(const QString& name, QWidget* parent) : Chart(name, parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
}

void TimeChart::set_whole(Picoseconds end) {
  end_ = end;
  update();
}

void TimeChart::set_range(std::optional<Range> range) {
  if (range == range_) return;
  range_ = range;
  update();
}

void TimeChart::set_cursor(std::optional<Picoseconds> time) {
  if (time == cursor_) return;
  cursor_ = time;
  update();
}

QRectF TimeChart::plot_in(QSizeF size, const QFontMetricsF& font) const {
  const double below = font.height() + 10;
  return {kLeft, kTop, std::max(1.0, size.width() - kLeft - kRight), std::max(1.0, size.height() - kTop - below)};
}

QRectF TimeChart::plot() const { return plot_in(QSizeF(size()), QFontMetricsF(font())); }

view::TimeAxis TimeChart::axis() const { return axis_in(plot()); }

view::TimeAxis TimeChart::axis_in(const QRectF& plot) const {
  view::TimeAxis axis({Picoseconds{0}, std::max(end_, Picoseconds{1})}, std::max(1.0, plot.width()));
  if (range_) axis.show({range_->first, range_->second});
  return axis;
}

void TimeChart::paint_axes(QPainter& painter, const QRectF& plot, const Theme& theme, const view::LinearAxis& y, bool binary,
                           const view::LinearAxis::Label& label) const {
  const QFontMetricsF font(painter.font());
  const view::TimeAxis x = axis_in(plot);
  const view::TimeTicks times = x.ticks();
  painter.setPen(theme.grid);
  for (const view::Tick& tick : y.ticks(48, binary, label)) {
    const double at = std::round(plot.top() + tick.pixel) + 0.5;
    if (at < plot.top() - 1 || at > plot.bottom() + 1) continue;
    painter.setPen(theme.grid);
    painter.drawLine(QPointF(plot.left(), at), QPointF(plot.right(), at));
    painter.setPen(theme.dim);
    painter.drawText(QRectF(0, at - font.height(), plot.left() - 8, 2 * font.height()), int{Qt::AlignRight} | int{Qt::AlignVCenter},
                     words(tick.label));
  }
  const double base_width = times.base.empty() ? 0 : font.horizontalAdvance(words(times.base + " +")) + 8;
  if (!times.base.empty()) {
    painter.setPen(theme.dim);
    painter.drawText(QPointF(plot.left() - base_width + 8 > 0 ? std::max(0.0, plot.left() - base_width) : 0, plot.bottom() + font.ascent() + 6),
                     words(times.base + " +"));
  }
  for (const view::Tick& tick : times.ticks) {
    const double at = std::round(plot.left() + tick.pixel) + 0.5;
    painter.setPen(theme.grid);
    painter.drawLine(QPointF(at, plot.top()), QPointF(at, plot.bottom()));
    painter.setPen(theme.dim);
    const QString text = words(tick.label);
    const double half = font.horizontalAdvance(text) / 2;
    const double from = std::clamp(at - half, plot.left() - 4, std::max(plot.left() - 4, plot.right() + kRight - 2 - 2 * half));
    painter.drawText(QPointF(from, plot.bottom() + font.ascent() + 6), text);
  }
}

void TimeChart::paint_cursor(QPainter& painter, const QRectF& plot, const Theme& theme) const {
  if (!cursor_) return;
  const view::TimeAxis x = axis_in(plot);
  const double at = plot.left() + x.pixel(*cursor_);
  if (at < plot.left() - 0.5 || at > plot.right() + 0.5) return;
  painter.setPen(QPen(theme.accent, 1));
  painter.drawLine(QPointF(std::round(at) + 0.5, plot.top()), QPointF(std::round(at) + 0.5, plot.bottom()));
}

void TimeChart::want(const view::TimeAxis& axis) {
  if (axis.range() == axis.whole())
    Q_EMIT range_wanted(std::nullopt);
  else
    Q_EMIT range_wanted(Range{axis.range().begin, axis.range().end});
}

void TimeChart::mouseMoveEvent(QMouseEvent* event) {
  const QRectF area = plot();
  if (pressed_ && dragged_) {
    const double moved = event->position().x() - pressed_->x();
    if (std::abs(moved) > 3 || cursor().has_value()) {
      view::TimeAxis axis = *dragged_;
      axis.pan(moved);
      if (std::abs(moved) > 3) want(axis);
    }
    return;
  }
  const double x = event->position().x() - area.left();
  if (x < 0 || x > area.width() || end_.v <= 0) return;
  Q_EMIT hovered(axis().time(x));
}

void TimeChart::mousePressEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton) return;
  pressed_ = event->position();
  dragged_ = axis();
}

void TimeChart::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton || !pressed_) return;
  const QPointF from = *pressed_;
  pressed_.reset(), dragged_.reset();
  const QRectF area = plot();
  if ((event->position() - from).manhattanLength() > 3 || end_.v <= 0) return;
  Q_EMIT clicked(axis().time(std::clamp(event->position().x() - area.left(), 0.0, area.width())), event->position());
}

void TimeChart::wheelEvent(QWheelEvent* event) {
  if (end_.v <= 0) return;
  view::TimeAxis x = axis();
  const QPoint turned = event->angleDelta();
  if (event->modifiers() & Qt::ShiftModifier || std::abs(turned.x()) > std::abs(turned.y()))
    x.pan(std::abs(turned.x()) > std::abs(turned.y()) ? turned.x() : turned.y());
  else
    x.zoom(event->position().x() - plot().left(), std::pow(1.0015, turned.y()));
  want(x);
  event->accept();
}

void TimeChart::keyPressEvent(QKeyEvent* event) {
  if (end_.v <= 0) return Chart::keyPressEvent(event);
  view::TimeAxis x = axis();
  const double step = event->modifiers() & Qt::ShiftModifier ? 50 : 5;
  const auto move = [&](Picoseconds to) {
    to = std::clamp(to, Picoseconds{0}, end_);
    if (!x.range().contains(to)) {
      x.reveal({to, to});
      want(x);
    }
    Q_EMIT hovered(to);
  };
  const double at = cursor_ ? x.pixel(*cursor_) : x.width() / 2;
  switch (event->key()) {
    case Qt::Key_Left:
      return move(x.time(at - step));
    case Qt::Key_Right:
      return move(x.time(at + step));
    case Qt::Key_Home:
      return move(Picoseconds{0});
    case Qt::Key_End:
      return move(end_);
    case Qt::Key_Plus:
    case Qt::Key_Equal:
    case Qt::Key_W:
      x.zoom(at, 1.5);
      return want(x);
    case Qt::Key_Minus:
    case Qt::Key_S:
      x.zoom(at, 1 / 1.5);
      return want(x);
    case Qt::Key_A:
      x.pan(80);
      return want(x);
    case Qt::Key_D:
      x.pan(-80);
      return want(x);
    case Qt::Key_F:
    case Qt::Key_0:
      x.fit();
      return want(x);
    default:
      return Chart::keyPressEvent(event);
  }
}

void paint_note(QPainter& painter, const QRectF& within, QPointF at, Qt::Alignment side, const QString& text, const QColor& ink, const Theme& theme) {
  const QFontMetricsF font(painter.font());
  QRectF box(0, 0, font.horizontalAdvance(text) + 10, font.height() + 2);
  box.moveCenter(at);
  if (side & Qt::AlignLeft) box.moveLeft(at.x() + 6);
  if (side & Qt::AlignRight) box.moveRight(at.x() - 6);
  if (side & Qt::AlignTop) box.moveBottom(at.y() - 3);
  if (side & Qt::AlignBottom) box.moveTop(at.y() + 3);
  if (box.right() > within.right()) box.moveRight(side & Qt::AlignLeft ? std::min(at.x() - 6, within.right()) : within.right());
  if (box.left() < within.left()) box.moveLeft(side & Qt::AlignRight ? std::max(at.x() + 6, within.left()) : within.left());
  if (box.top() < within.top()) box.moveTop(within.top());
  if (box.bottom() > within.bottom()) box.moveBottom(within.bottom());
  QColor ground = theme.ground;
  ground.setAlpha(215);
  painter.setPen(Qt::NoPen);
  painter.setBrush(ground);
  painter.drawRoundedRect(box, 3, 3);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(ink);
  painter.drawText(box, Qt::AlignCenter, text);
}

double paint_legend(QPainter* painter, QPointF at, double width, const QFontMetricsF& font, const QList<LegendEntry>& entries, const Theme& theme) {
  const double line = font.height() + 4, square = std::floor(font.ascent() * 0.85);
  double x = 0, y = 0;
  for (const LegendEntry& entry : entries) {
    const double takes = square + 5 + font.horizontalAdvance(entry.text) + 16;
    if (x > 0 && x + takes - 16 > width) x = 0, y += line;
    if (painter != nullptr) {
      const QRectF box(at.x() + x, at.y() + y + (line - square) / 2, square, square);
      if (entry.line) {
        painter->setPen(QPen(entry.colour, 2));
        painter->drawLine(QPointF(box.left(), box.center().y()), QPointF(box.right(), box.center().y()));
      } else {
        painter->fillRect(box, entry.colour);
      }
      painter->setPen(theme.ink);
      painter->drawText(QRectF(at.x() + x + square + 5, at.y() + y, takes, line), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, entry.text);
    }
    x += takes;
  }
  return entries.isEmpty() ? 0 : y + line;
}

}  // namespace orrery::gui
