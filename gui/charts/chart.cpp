#include "gui/charts/chart.h"

#include <QBuffer>
#include <QEvent>
#include <QPainter>
#include <QSvgGenerator>

namespace orrery::gui {

Chart::Chart(const QString& name, QWidget* parent) : QWidget(parent), name_(name) {
  setAccessibleName(name);
  setAttribute(Qt::WA_OpaquePaintEvent);
}

QString Chart::title() const {
  QString out = name_;
  out.replace('-', ' ');
  return out.isEmpty() ? out : out.at(0).toUpper() + out.mid(1);
}

QImage Chart::picture(QSize size, double scale) const {
  QImage image(size * scale, QImage::Format_RGB32);
  image.setDevicePixelRatio(scale);
  image.fill(theme().ground);
  QPainter painter(&image);
  painter.setFont(font());
  paint(painter, QSizeF(size), theme());
  return image;
}

QByteArray Chart::svg(QSize size) const {
  QBuffer buffer;
  buffer.open(QIODevice::WriteOnly);
  QSvgGenerator generator;
  generator.setOutputDevice(&buffer);
  generator.setSize(size);
  generator.setViewBox(QRect(QPoint(0, 0), size));
  generator.setTitle("Orrery: " + name_);
  QPainter painter(&generator);
  painter.setFont(font());
  paint(painter, QSizeF(size), theme());
  painter.end();
  return buffer.data();
}

void Chart::paintEvent(QPaintEvent* /*event*/) {
  QPainter painter(this);
  paint(painter, QSizeF(size()), theme());
}

void Chart::changeEvent(QEvent* event) {
  if (event->type() == QEvent::PaletteChange || event->type() == QEvent::FontChange) update();
  QWidget::changeEvent(event);
}

void Chart::paint_empty(QPainter& painter, QSizeF size, const Theme& theme, const QString& what, const QString& how) {
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFont plain = painter.font();
  QFont strong = plain;
  strong.setBold(true);
  const double middle = size.height() / 2, line = QFontMetricsF(plain).height() * 1.4;
  painter.setPen(theme.dim);
  painter.setFont(strong);
  painter.drawText(QRectF(16, middle - line, size.width() - 32, line), Qt::AlignCenter, what);
  painter.setFont(plain);
  painter.drawText(QRectF(16, middle, size.width() - 32, 3 * line), int{Qt::AlignHCenter} | int{Qt::AlignTop} | int{Qt::TextWordWrap}, how);
}

}  // namespace orrery::gui
