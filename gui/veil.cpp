#include "gui/veil.h"

#include <QEvent>
#include <QPainter>

#include "gui/theme.h"

namespace orrery::gui {

Veil::Veil(QWidget* over, const QString& word) : QWidget(over), word_(word) {
  setAccessibleName(word);
  setAttribute(Qt::WA_TransparentForMouseEvents);
  setFocusPolicy(Qt::NoFocus);
  over->installEventFilter(this);
  setGeometry(over->rect());
  hide();
}

void Veil::showEvent(QShowEvent* event) {
  raise();
  QWidget::showEvent(event);
}

bool Veil::eventFilter(QObject* watched, QEvent* event) {
  if (watched == parent() && event->type() == QEvent::Resize) setGeometry(parentWidget()->rect());
  if (watched == parent() && event->type() == QEvent::ChildAdded && isVisible()) raise();
  return QWidget::eventFilter(watched, event);
}

void Veil::paintEvent(QPaintEvent* /*event*/) {
  QPainter painter(this);
  QColor dim = theme().ground;
  dim.setAlpha(150);
  painter.fillRect(rect(), dim);
  QFont font = painter.font();
  font.setBold(true);
  painter.setFont(font);
  const QFontMetricsF metrics(font);
  const QSizeF size(metrics.horizontalAdvance(word_) + 28, metrics.height() + 10);
  const QRectF plate(QPointF((width() - size.width()) / 2, 10), size);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(QPen(theme().bad, 1));
  painter.setBrush(theme().ground);
  painter.drawRoundedRect(plate, plate.height() / 2, plate.height() / 2);
  painter.setPen(theme().bad);
  painter.drawText(plate, Qt::AlignCenter, word_);
}

}  // namespace orrery::gui
