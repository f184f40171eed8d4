#include "gui/charts/lane_marks.h"

#include <QFontMetricsF>
#include <QPainter>
#include <QPainterPath>
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/quantity_text.h"

namespace orrery::gui {
namespace {

using view::SpanAt;

constexpr double kFar = 1e4;  // pixels: beyond them painters lose precision

// One painting.
class Marker {
 public:
  Marker(QPainter& painter, QRectF lanes, QRectF ruler, const view::LaneView& view, const Theme& theme)
      : p_(painter), lanes_(lanes), ruler_(ruler), view_(view), theme_(theme) {}

  void selection(SpanAt selected, const view::Differences* differences) {
    const QRectF rect = rect_of(selected);
    if (rect.isNull()) return;
    p_.setBrush(Qt::NoBrush);
    const view::TimeRange wait = view_.index_of(selected.other)->wait_before(selected.span);
    if (!wait.empty()) {
      const double x = std::max(x_of(wait.begin), -kFar);
      p_.setPen(QPen(theme_.accent, 1, Qt::DashLine));
      p_.drawRect(QRectF(x, rect.top(), x_of(wait.end) - x, rect.height()).adjusted(0.5, 0.5, 0, -0.5));
    }
    p_.setPen(QPen(theme_.ground, 4));
    p_.drawRect(rect.adjusted(-2, -2, 2, 2));
    p_.setPen(QPen(theme_.accent, 2));
    p_.drawRect(rect.adjusted(-2, -2, 2, 2));
    // The same instruction in the other timeline.
    if (differences == nullptr) return;
    const view::SpanId twin = selected.other ? differences->match_of_other(selected.span) : differences->match(selected.span);
    if (twin == view::kNoSpan) return;
    const QRectF there = rect_of({twin, !selected.other});
    p_.setPen(QPen(theme_.accent, 1.5, Qt::DotLine));
    if (!there.isNull()) p_.drawRect(there.adjusted(-1, -1, 1, 1));
  }

  void measured(view::TimeRange range) {
    const double x0 = x_of(range.begin), x1 = x_of(range.end);
    QColor shade = theme_.accent;
    shade.setAlphaF(0.12F);
    p_.fillRect(QRectF(x0, lanes_.top(), x1 - x0, lanes_.height()), shade);
    end(range.begin);
    end(range.end);
  }

  void end(Picoseconds at) { line(at, QPen(theme_.accent, 1)); }
  void cursor(Picoseconds at) { line(at, QPen(theme_.dim, 1, Qt::DotLine)); }

  void label(const MarkLabel& label) {
    p_.setPen(Qt::NoPen);
    p_.setBrush(label.strong ? theme_.accent : theme_.raised);
    p_.drawRoundedRect(label.box, 3, 3);
    p_.setPen(label.strong ? theme_.on_accent : theme_.ink);
    p_.drawText(label.box, Qt::AlignCenter, label.text);
  }

  void arrow(const Arrow& arrow, const std::optional<SpanAt>& selection) {
    if (view_.index_of(arrow.from.other) == nullptr) return;
    const QRectF from = rect_of(arrow.from), to = rect_of(arrow.to);
    if (from.isNull() || to.isNull()) return;
    // From the end of what came first to the start of what followed; what overlaps is joined at its starts.
    QPointF a(from.right(), from.center().y()), b(to.left(), to.center().y());
    if (a.x() > b.x() + 1) a.setX(std::min(from.right(), std::max(from.left(), b.x())));
    const QColor colour = arrow.strong ? theme_.critical : theme_.accent;
    QPainterPath path(a);
    const double reach = std::clamp(std::abs(b.x() - a.x()) / 2, 18.0, 90.0);
    path.cubicTo(a + QPointF(reach, 0), b - QPointF(reach, 0), b);
    p_.setPen(QPen(theme_.ground, arrow.strong ? 4.5 : 3.5));
    p_.setBrush(Qt::NoBrush);
    p_.drawPath(path);
    p_.setPen(QPen(colour, arrow.strong ? 2 : 1.3));
    p_.drawPath(path);
    QPainterPath head(b);
    head.lineTo(b + QPointF(-7, -3.5));
    head.lineTo(b + QPointF(-7, 3.5));
    head.closeSubpath();
    p_.fillPath(head, colour);
    const SpanAt end = selection && arrow.to == *selection ? arrow.from : arrow.to;
    p_.setPen(QPen(colour, 1.3));
    p_.drawRect(rect_of(end).adjusted(-1, -1, 1, 1));
  }

 private:
  double x_of(Picoseconds time) const { return lanes_.left() + view_.axis().pixel(time); }

  QRectF rect_of(SpanAt span) const {
    const auto box = view_.box_of(span);
    if (!box) return {};
    const double x0 = std::clamp(lanes_.left() + box->x, -kFar, kFar), x1 = std::clamp(lanes_.left() + box->x + box->width, x0 + 1, kFar + 1);
    return {x0, lanes_.top() + box->y, x1 - x0, box->height};
  }

  void line(Picoseconds at, const QPen& pen) {
    const double x = std::round(x_of(at)) + 0.5;
    p_.setPen(pen);
    p_.drawLine(QPointF(x, ruler_.bottom()), QPointF(x, lanes_.bottom()));
  }

  QPainter& p_;
  QRectF lanes_, ruler_;
  const view::LaneView& view_;
  const Theme& theme_;
};

}  // namespace

std::optional<MarkLabel> LaneMarks::label(QRectF ruler, const view::TimeAxis& axis, const QFont& font) const {
  const auto text = [](const std::string& words) { return QString::fromStdString(words); };
  MarkLabel label;
  double centre = 0;
  if (measured) {
    label.text = text(format_seconds(measured->length()));
    centre = (axis.pixel(measured->begin) + axis.pixel(measured->end)) / 2;
  } else if (first_mark && cursor) {
    label.text = text(format_seconds(Picoseconds{std::abs((*cursor - *first_mark).v)}));
    centre = (axis.pixel(*first_mark) + axis.pixel(*cursor)) / 2;
  } else if (!first_mark && cursor && axis.range().contains(*cursor)) {
    label.text = text(view::format_time(*cursor, axis.time(1) - axis.time(0)));
    centre = axis.pixel(*cursor);
  } else {
    return std::nullopt;
  }
  label.strong = measured || first_mark;
  const double width = QFontMetricsF(font).horizontalAdvance(label.text) + 10;
  const double left = std::clamp(ruler.left() + centre - width / 2, ruler.left(), std::max(ruler.left(), ruler.right() - width));
  label.box = QRectF(left, ruler.top() - 1, width, ruler.height() - 2);
  return label;
}

void LaneMarks::paint(QPainter& p, QRectF lanes, QRectF ruler, const view::LaneView& view, const view::Differences* differences,
                      const Theme& theme) const {
  p.save();
  p.setClipRect(QRectF(QPointF(lanes.left(), ruler.top()), lanes.bottomRight()));
  Marker marker(p, lanes, ruler, view, theme);
  if (selection) marker.selection(*selection, differences);
  if (measured) {
    marker.measured(*measured);
  } else if (first_mark) {
    marker.end(*first_mark);
  }
  if (cursor && view.axis().range().contains(*cursor)) marker.cursor(*cursor);
  if (const auto text = label(ruler, view.axis(), p.font())) marker.label(*text);
  if (!arrows.empty()) {
    p.setClipRect(lanes);
    p.setRenderHint(QPainter::Antialiasing);
    for (const Arrow& arrow : arrows) marker.arrow(arrow, selection);
    p.setRenderHint(QPainter::Antialiasing, false);
  }
  p.restore();
}

}  // namespace orrery::gui
