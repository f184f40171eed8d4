// What all charts have in common: one painting for the screen, picture files, tests and benchmarks.
#pragma once

#include <QImage>
#include <QWidget>

#include "gui/theme.h"

class QPainter;

namespace orrery::gui {

class Chart : public QWidget {
  Q_OBJECT

 public:
  // `name` is a word for files and accessibility: "timeline", "waterfall".
  explicit Chart(const QString& name, QWidget* parent = nullptr);

  const QString& name() const { return name_; }
  QString title() const;  // the same to be read: "Memory by stage"
  // Paints all of itself, ground included, into (0, 0, size) of logical pixels with the painter's font.
  virtual void paint(QPainter& painter, QSizeF size, const Theme& theme) const = 0;

  QImage picture(QSize size, double scale = 1) const;  // `scale` device pixels per logical one
  QByteArray svg(QSize size) const;

 protected:
  void paintEvent(QPaintEvent* event) override;
  void changeEvent(QEvent* event) override;
  // A line in the middle of an empty chart: what is missing, and how to get it.
  static void paint_empty(QPainter& painter, QSizeF size, const Theme& theme, const QString& what, const QString& how = {});

 private:
  QString name_;
};

}  // namespace orrery::gui
