// What charts over the time of a step have in common: the axis below, zooming and panning, and a cursor that the whole window shares.
#pragma once

#include <optional>
#include <utility>

#include "gui/charts/chart.h"
#include "gui/view/axis.h"

namespace orrery::gui {

// Wheel: zoom about the pointer (with Shift: pan). Drag: pan. Keys: left and right move the cursor (with Shift: further), + and - zoom, f or 0 shows
// everything, Home and End go to the ends.
class TimeChart : public Chart {
  Q_OBJECT

 public:
  explicit TimeChart(const QString& name, QWidget* parent = nullptr);

  using Range = std::pair<Picoseconds, Picoseconds>;
  void set_whole(Picoseconds end);  // time runs from 0 to there
  void set_range(std::optional<Range> range);
  void set_cursor(std::optional<Picoseconds> time);
  std::optional<Picoseconds> cursor() const { return cursor_; }
  view::TimeAxis axis() const;  // as on screen now; pixels count from the plot's left edge
  QRectF plot() const;          // on screen now

 Q_SIGNALS:
  void hovered(orrery::Picoseconds time);
  void clicked(orrery::Picoseconds time, QPointF at);
  void range_wanted(std::optional<std::pair<orrery::Picoseconds, orrery::Picoseconds>> range);

 protected:
  // Where the curves go; the rest is for words. In pixels of a chart of that size.
  virtual QRectF plot_in(QSizeF size, const QFontMetricsF& font) const;
  view::TimeAxis axis_in(const QRectF& plot) const;
  // Ground, grid and the labels below; `y` and its labels on the left.
  void paint_axes(QPainter& painter, const QRectF& plot, const Theme& theme, const view::LinearAxis& y, bool binary,
                  const view::LinearAxis::Label& label) const;
  void paint_cursor(QPainter& painter, const QRectF& plot, const Theme& theme) const;

  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  void want(const view::TimeAxis& axis);

  Picoseconds end_{0};
  std::optional<Range> range_;
  std::optional<Picoseconds> cursor_;
  std::optional<QPointF> pressed_;
  std::optional<view::TimeAxis> dragged_;  // as it was when the drag began
};

// A note beside a line in a plot: on a piece of ground, so that it is legible on anything. `at` is the middle of its left (or right) edge.
void paint_note(QPainter& painter, const QRectF& within, QPointF at, Qt::Alignment side, const QString& text, const QColor& ink, const Theme& theme);

// Coloured squares with words, side by side; takes no more than the width. Returns the pixels that it needs from top to bottom.
struct LegendEntry {
  QColor colour;
  QString text;
  bool line = false;  // a line rather than a square
};
double paint_legend(QPainter* painter, QPointF at, double width, const QFontMetricsF& font, const QList<LegendEntry>& entries, const Theme& theme);

}  // namespace orrery::gui
