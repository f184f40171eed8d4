// What attention puts over the lanes: the selection and its arrows, the cursor, and what is measured.
#pragma once

#include <QRectF>
#include <QString>
#include <optional>
#include <vector>

#include "gui/theme.h"
#include "gui/view/differences.h"
#include "gui/view/lane_view.h"

class QFont;
class QPainter;

namespace orrery::gui {

// From one span of the timeline (or of the other) to another of the same.
struct Arrow {
  view::SpanAt from, to;
  bool strong = false;  // what decided
};

// A length or a time, on the ruler.
struct MarkLabel {
  QRectF box;
  QString text;
  bool strong = false;  // of what is measured
};

struct LaneMarks {
  std::optional<view::SpanAt> selection;
  std::vector<Arrow> arrows;
  std::optional<Picoseconds> cursor;
  std::optional<Picoseconds> first_mark;  // one end of what will be measured
  std::optional<view::TimeRange> measured;

  // What is written on the ruler: of measuring the length, otherwise where the cursor is.
  std::optional<MarkLabel> label(QRectF ruler, const view::TimeAxis& axis, const QFont& font) const;
  // `lanes`: where the view's lanes were painted; `ruler`: above them, where lengths and times are written. `differences` may be null; they tell
  // which span of the other timeline is the selected one's twin.
  void paint(QPainter& painter, QRectF lanes, QRectF ruler, const view::LaneView& view, const view::Differences* differences,
             const Theme& theme) const;
};

}  // namespace orrery::gui
