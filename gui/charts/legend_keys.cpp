#include "gui/charts/legend_keys.h"

#include <QKeyEvent>
#include <QPainter>
#include <algorithm>

#include "gui/charts/timeline_chart.h"

namespace orrery::gui {

LegendKeys::LegendKeys(TimelineChart& chart) : QWidget(&chart), chart_(chart) {
  setAccessibleName(tr("Legend"));
  setFocusPolicy(Qt::TabFocus);
  setAttribute(Qt::WA_TransparentForMouseEvents);
}

void LegendKeys::settle() {
  const std::size_t count = chart_.legend().size();
  setVisible(count != 0);
  current_ = std::min(current_, count == 0 ? 0 : count - 1);
  update();
}

void LegendKeys::go_to(std::size_t place) {
  if (place >= chart_.legend().size()) return;
  current_ = place;
  const QString name = slot_text(chart_.legend()[place]);
  setAccessibleDescription(name);
  Q_EMIT told(tr("%1  —  Space: show only this (with Shift: this too) · ← → along · Esc: back to the lanes").arg(name));
  update();
}

void LegendKeys::keyPressEvent(QKeyEvent* event) {
  const std::size_t count = chart_.legend().size();
  switch (event->key()) {
    case Qt::Key_Left:
      return go_to(current_ == 0 ? count - 1 : current_ - 1);
    case Qt::Key_Right:
      return go_to(current_ + 1 == count ? 0 : current_ + 1);
    case Qt::Key_Home:
      return go_to(0);
    case Qt::Key_End:
      return go_to(count - 1);
    case Qt::Key_Space:
    case Qt::Key_Return:
    case Qt::Key_Enter:
      if (current_ < count) chart_.show_colour(chart_.legend()[current_], (event->modifiers() & Qt::ShiftModifier) != 0);
      return;
    case Qt::Key_Escape:
      return chart_.setFocus();
    default:
      QWidget::keyPressEvent(event);
  }
}

void LegendKeys::focusInEvent(QFocusEvent* event) {
  QWidget::focusInEvent(event);
  go_to(current_);
}

void LegendKeys::focusOutEvent(QFocusEvent* event) {
  QWidget::focusOutEvent(event);
  Q_EMIT told({});
  update();
}

void LegendKeys::paintEvent(QPaintEvent* /*event*/) {
  if (!hasFocus() || current_ >= chart_.legend().size()) return;
  const QRectF item = chart_.legend_rect(chart_.legend()[current_]).translated(-QPointF(pos()));
  QPainter painter(this);
  painter.setPen(QPen(theme().accent, 1.5));
  painter.drawRect(item.adjusted(-3, 3, -4, -3));
}

}  // namespace orrery::gui
