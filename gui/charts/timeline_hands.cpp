// The timeline under keys and mouse.
#include <QKeyEvent>
#include <QMouseEvent>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>

#include "gui/charts/legend_keys.h"
#include "gui/charts/timeline_chart.h"

namespace orrery::gui {
namespace {

constexpr double kKeyPan = 0.125;                     // of what is visible, a press
constexpr double kKeyPage = 0.8;                      // with Shift
constexpr double kKeyCursor = 1, kKeyCursorFar = 20;  // pixels
constexpr double kWheelNotch = 1.25;                  // zoom of one notch of 15 degrees
constexpr int kClick = 4;                             // pixels that the mouse may move in a click

}  // namespace

// --- Keys ----------------------------------------------------------------------------------------------------------------------------------------

bool TimelineChart::take_key(QKeyEvent* event) {
  if (!view_.index() || (event->modifiers() & (Qt::AltModifier | Qt::MetaModifier)) != 0) return false;
  const bool shift = (event->modifiers() & Qt::ShiftModifier) != 0;
  if ((event->modifiers() & Qt::ControlModifier) != 0) return take_control_key(event->key(), shift);
  view::LaneView& view = here();
  switch (event->key()) {
    case Qt::Key_W:
    case Qt::Key_Plus:
    case Qt::Key_Equal:
      zoom(shift ? 4 : 1.5);
      return true;
    case Qt::Key_S:
    case Qt::Key_Minus:
      zoom(shift ? 0.25 : 1 / 1.5);
      return true;
    case Qt::Key_A:
      view.axis().pan(view.width() * (shift ? kKeyPage : kKeyPan));
      moved();
      return true;
    case Qt::Key_D:
      view.axis().pan(-view.width() * (shift ? kKeyPage : kKeyPan));
      moved();
      return true;
    case Qt::Key_Left:
      step(-1);
      return true;
    case Qt::Key_Right:
      step(1);
      return true;
    case Qt::Key_Up:
      step_row(-1);
      return true;
    case Qt::Key_Down:
      step_row(1);
      return true;
    case Qt::Key_PageUp:
      scroll_to(view.scroll() - view.height() * kKeyPage);
      return true;
    case Qt::Key_PageDown:
      scroll_to(view.scroll() + view.height() * kKeyPage);
      return true;
    case Qt::Key_F: {
      // Twice: first what is selected, then everything.
      const view::TimeRange before = view.axis().range();
      if (!shift) fit_selection();
      if (shift || view.axis().range() == before) fit_all();
      return true;
    }
    case Qt::Key_Home:
      fit_all();
      return true;
    case Qt::Key_C:
      set_critical(!scene_.critical);
      return true;
    case Qt::Key_M:
      if (shift) {
        measure_selection();
      } else {
        mark();
      }
      return true;
    case Qt::Key_R:
      fold_rank(shift);
      return true;
    case Qt::Key_Slash:
      Q_EMIT search_wanted();
      return true;
    case Qt::Key_N:
      Q_EMIT next_wanted(!shift);
      return true;
    case Qt::Key_Escape:
      clear_one();
      return true;
    default:
      break;
  }
  if (event->key() >= Qt::Key_1 && event->key() <= Qt::Key_9) {
    const auto at = static_cast<std::size_t>(event->key() - Qt::Key_1);
    if (at < legend_.slots.size()) show_colour(legend_.slots[at], true);
    return true;
  }
  return false;
}

// What the pointer does elsewhere: the cursor, and the ends of the minimap.
bool TimelineChart::take_control_key(int key, bool shift) {
  switch (key) {
    case Qt::Key_Left:
      move_cursor(shift ? -kKeyCursorFar : -kKeyCursor);
      return true;
    case Qt::Key_Right:
      move_cursor(shift ? kKeyCursorFar : kKeyCursor);
      return true;
    case Qt::Key_Home:
    case Qt::Key_End:
      here().go_to(key == Qt::Key_Home ? view::LaneView::End::begin : view::LaneView::End::end);
      moved();
      return true;
    default:
      return false;
  }
}

void TimelineChart::clear_one() {
  if (marks_.measured || marks_.first_mark) {
    marks_.first_mark.reset();
    measure(std::nullopt);
    update();
  } else if (marks_.selection) {
    select(std::nullopt);
  } else if (scene_.highlight != 0) {
    set_highlight(0);
  } else {
    Q_EMIT cleared();
  }
}

void TimelineChart::keyPressEvent(QKeyEvent* event) {
  if (!take_key(event)) Chart::keyPressEvent(event);
}

// --- Mouse ---------------------------------------------------------------------------------------------------------------------------------------

void TimelineChart::hover(QPointF point) {
  const Geometry g = geometry(size());
  if (g.plot.contains(point)) {
    set_cursor(axis().time(point.x() - g.plot.left()));
    Q_EMIT cursor_changed();
    Q_EMIT hovered(describe(point));
    setCursor(Qt::ArrowCursor);
    return;
  }
  for (const auto& [slot, rect] : legend_items()) {
    if (!rect.contains(point)) continue;
    setCursor(Qt::PointingHandCursor);
    const auto number = std::find(legend_.slots.begin(), legend_.slots.end(), slot) - legend_.slots.begin() + 1;
    const QString what = tr("%1  —  click: show only this (with Shift: this too).").arg(slot_text(slot));
    Q_EMIT hovered(number <= 9 ? what + tr(" Key %1.").arg(number) : what);
    return;
  }
  setCursor(g.gutter.contains(point) ? Qt::PointingHandCursor : Qt::ArrowCursor);
  Q_EMIT hovered(g.gutter.contains(point) ? tr("Click: fold the rank's streams away (with Shift: of all ranks). Key R.") : QString());
}

void TimelineChart::centre_on(double minimap_x) {
  const QRectF map = minimap_rect();
  here().centre_on(view::TimeAxis(axis().whole(), map.width()).time(minimap_x - map.left()));
  moved();
}

void TimelineChart::mousePressEvent(QMouseEvent* event) {
  if (!view_.index() || event->button() != Qt::LeftButton) return;
  const QPointF point = event->position();
  const Geometry g = geometry(size());
  pressed_ = last_ = point;
  if (g.minimap.contains(point)) {
    drag_ = Drag::minimap;
    centre_on(point.x());
  } else if (g.plot.contains(point)) {
    pressed_time_ = axis().time(point.x() - g.plot.left());
    drag_ = (event->modifiers() & Qt::ShiftModifier) != 0 ? Drag::measure : Drag::press;
    if (drag_ == Drag::measure) measure(view::TimeRange{pressed_time_, pressed_time_});
  } else if (point.x() > g.plot.right() && point.y() > g.plot.top()) {
    drag_ = Drag::thumb;
  } else if (g.gutter.contains(point)) {
    if (const view::Row* row = here().row_at(point.y() - g.gutter.top())) {
      here().fold(row->rank, (event->modifiers() & Qt::ShiftModifier) != 0);
      update();
    }
  } else {
    const bool more = (event->modifiers() & (Qt::ShiftModifier | Qt::ControlModifier)) != 0;
    for (const auto& [slot, rect] : legend_items())
      if (rect.contains(point)) show_colour(slot, more);
  }
}

void TimelineChart::pan(QPointF by) {
  view::LaneView& view = here();
  view.axis().pan(by.x());
  view.scroll_to(view.scroll() - by.y());
  moved();
}

void TimelineChart::mouseMoveEvent(QMouseEvent* event) {
  const QPointF point = event->position(), by = point - last_;
  last_ = point;
  const Geometry g = geometry(size());
  switch (drag_) {
    case Drag::none:
      hover(point);
      return;
    case Drag::press:
      if ((point - pressed_).manhattanLength() < kClick) return;
      drag_ = Drag::pan;
      setCursor(Qt::ClosedHandCursor);
      pan(point - pressed_);
      return;
    case Drag::pan:
      pan(by);
      return;
    case Drag::measure:
      measure(view::TimeRange{pressed_time_, axis().time(std::clamp(point.x() - g.plot.left(), 0.0, g.plot.width()))});
      return;
    case Drag::minimap:
      centre_on(point.x());
      return;
    case Drag::thumb:
      scroll_to(scroll() + by.y() * (lanes().height() + view::LaneView::kMargin) / g.plot.height());
      return;
  }
}

void TimelineChart::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton) return;
  if (drag_ == Drag::press) select(span_at(event->position()));
  if (drag_ == Drag::measure && measured() && axis().pixel(measured()->end) - axis().pixel(measured()->begin) < kClick) measure(std::nullopt);
  drag_ = Drag::none;
  hover(event->position());
}

void TimelineChart::mouseDoubleClickEvent(QMouseEvent* event) {
  if (!view_.index()) return;
  const auto span = span_at(event->position());
  if (!span) return;
  select(span);
  fit_selection();
}

void TimelineChart::wheelEvent(QWheelEvent* event) {
  if (!view_.index()) return;
  const Geometry g = geometry(size());
  view::LaneView& view = here();
  const double notches = event->angleDelta().y() / 120.0, sideways = event->angleDelta().x() / 120.0;
  const bool to_zoom = (event->modifiers() & Qt::ControlModifier) != 0 || (view.scroll_limit() == 0 && (event->modifiers() & Qt::ShiftModifier) == 0);
  if ((event->modifiers() & Qt::ShiftModifier) != 0 || (!to_zoom && sideways != 0)) {
    view.axis().pan((notches + sideways) * view.width() * 0.1);
    moved();
  } else if (to_zoom) {
    if (sideways != 0) view.axis().pan(sideways * view.width() * 0.1);
    view.axis().zoom(std::clamp(event->position().x() - g.plot.left(), 0.0, g.plot.width()), std::pow(kWheelNotch, notches));
    moved();
  } else {
    scroll_to(view.scroll() - notches * 60);
  }
  if (g.plot.contains(event->position())) hover(event->position());
  event->accept();
}

void TimelineChart::leaveEvent(QEvent* event) {
  if (cursor()) {
    set_cursor(std::nullopt);
    Q_EMIT cursor_changed();
  }
  Q_EMIT hovered({});
  Chart::leaveEvent(event);
}

void TimelineChart::resizeEvent(QResizeEvent* event) {
  here();
  settle_legend();
  Chart::resizeEvent(event);
}

}  // namespace orrery::gui
