// What charts with two axes have in common: the frame, its ticks and titles.
#pragma once

#include <QPainter>
#include <QRectF>
#include <QString>

#include "gui/theme.h"
#include "gui/view/axis.h"

namespace orrery::gui {

struct PlotAxis {
  view::LinearAxis axis;
  QString title;
  view::LinearAxis::Label label;  // of a tick, with its unit; empty: a plain number
  bool binary = false;            // bytes
};

// Where the points go in a chart of that size: what ticks, titles and `above` pixels of something else leave.
QRectF plot_area(const QPainter& painter, QSizeF size, double above = 0);
// Grid, ticks and titles around the area; y's title stands above its axis.
void paint_axes(QPainter& painter, const Theme& theme, const QRectF& area, const PlotAxis& x, const PlotAxis& y);

// The font of ticks and notes: a little smaller than the painter's own.
QFont small_font(const QFont& font);

}  // namespace orrery::gui
