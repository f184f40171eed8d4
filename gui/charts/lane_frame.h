// What stands around the lanes: times above them, names beside them, how far they are scrolled.
#pragma once

#include <QRectF>
#include <optional>

#include "gui/theme.h"
#include "gui/view/lane_view.h"

class QPainter;

namespace orrery::gui {

inline constexpr double kGutter = 148;  // width of the names

// Ticks and their labels in `ruler`, which is as long as the lanes are wide; their feet reach `foot` below it. What they count from, where that is
// not 0, stands to the left. No label comes near to `taken`, where another will be written.
void paint_ruler(QPainter& painter, QRectF ruler, double foot, const view::TimeAxis& axis, const std::optional<QRectF>& taken, const Theme& theme);

// Names of ranks and streams in `gutter`, which is as high as the lanes. Where two timelines lie over each other, `own` and `other` name them.
void paint_gutter(QPainter& painter, QRectF gutter, const view::LaneView& view, const QString& own, const QString& other, const Theme& theme);

// A thumb at the right of the lanes; nothing where all rows are in sight.
void paint_thumb(QPainter& painter, QRectF lanes, const view::LaneView& view, const Theme& theme);

}  // namespace orrery::gui
