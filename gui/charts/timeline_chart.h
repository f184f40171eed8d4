// Ranks x streams over time: the lanes of a timeline, or of two laid over each other, with everything that can be done to them.
#pragma once

#include <QRectF>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gui/charts/chart.h"
#include "gui/charts/lane_marks.h"
#include "gui/charts/lane_picture.h"
#include "gui/charts/legend_line.h"
#include "gui/charts/minimap_picture.h"
#include "gui/view/lane_view.h"
#include "gui/view/shown_names.h"

namespace orrery::gui {

class LegendKeys;
using view::SpanAt;

// Puts its parts together (legend, minimap, ruler, names, lanes, marks) and is what mouse and keys act on; where things stand, `view::LaneView`
// knows.
class TimelineChart : public Chart {
  Q_OBJECT

 public:
  explicit TimelineChart(QWidget* parent = nullptr);

  // --- what is shown. The range stays where it is as far as the new timeline reaches; what was selected is forgotten.
  void show_timeline(std::shared_ptr<const view::SpanIndex> index);
  void lay_over(std::shared_ptr<const view::SpanIndex> over, std::shared_ptr<const view::Differences> differences);  // null: takes it away
  const std::shared_ptr<const view::SpanIndex>& index() const { return view_.index(); }
  const std::shared_ptr<const view::SpanIndex>& over() const { return view_.over(); }
  const view::Differences* differences() const { return scene_.differences.get(); }
  void set_names(view::ShownNames names);
  const view::ShownNames& names() const { return names_; }

  // --- where one looks
  const view::TimeAxis& axis() const { return here().axis(); }
  void show_range(std::optional<view::TimeRange> range);  // nothing: all
  void fit_all();
  void fit_selection();      // all where nothing is selected
  void zoom(double factor);  // about the cursor, where it is in sight, otherwise about the middle
  void reveal(SpanAt span);  // scrolls to it; where it would be too small to be seen, zooms as well

  // --- attention
  std::optional<SpanAt> selection() const { return marks_.selection; }
  void select(std::optional<SpanAt> span);
  void step(int by);      // -1, 1: the span before, after in its lane
  void step_row(int by);  // the nearest in the row above, below
  void set_arrows(std::vector<Arrow> arrows);
  std::optional<Picoseconds> cursor() const { return marks_.cursor; }
  void set_cursor(std::optional<Picoseconds> time);
  const std::optional<view::TimeRange>& measured() const { return marks_.measured; }
  void measure(std::optional<view::TimeRange> range);
  void mark();               // at the cursor: the first end of what is measured, then the second
  void measure_selection();  // from its start to its end
  void move_cursor(double pixels);

  // --- what stands out
  std::uint32_t highlight() const { return scene_.highlight; }
  void set_highlight(std::uint32_t slots);                                     // bits of slots and of kWaitingSlot; 0: everything
  const std::vector<std::size_t>& legend() const { return legend_.slots; }     // slots that occur, and kWaitingSlot
  void set_matches(std::shared_ptr<const std::vector<view::SpanId>> matches);  // by place; null: no search
  void show_colour(std::size_t slot, bool more);                               // only that (again: all); `more`: that as well, or no longer
  bool critical() const { return scene_.critical; }
  void set_critical(bool shown);
  void set_illegal(bool illegal);  // the plan: said where there is no timeline

  // --- rows
  const view::LayoutChoice& layout_choice() const { return view_.choice(); }
  void set_collapsed(std::set<std::uint32_t> ranks);
  void set_folded(std::set<std::string> streams);
  void fold_rank(bool all);  // the selected span's, otherwise that under the mouse, otherwise the uppermost in sight
  const view::LaneLayout& lanes() const { return *here().layout(); }
  double scroll() const { return view_.scroll(); }
  void scroll_to(double y);

  // Of what is at a point of the widget: a span, a wait, or nothing.
  std::optional<SpanAt> span_at(QPointF point) const;
  QString describe(QPointF point) const;
  QString describe(SpanAt span) const;  // "linear_forward  mb 3  layer 12  1.2 ms"
  // Where things stand, for whoever points at them. Empty where it is not in sight.
  QRectF span_rect(SpanAt span) const;
  QRectF legend_rect(std::size_t slot) const;
  QRectF plot_rect() const;
  QRectF minimap_rect() const;

  void paint(QPainter& painter, QSizeF size, const Theme& theme) const override;

 Q_SIGNALS:
  void range_changed();      // by the user
  void cursor_changed();     // by the user: cursor()
  void selection_changed();  // by the user or select()
  void measured_changed();
  void highlight_changed();
  void critical_changed();
  void hovered(const QString& what);  // empty: nothing
  void search_wanted();               // '/'
  void next_wanted(bool forward);     // 'n', 'N'
  void cleared();                     // Esc with nothing left to clear here

 public:
  // Whoever has the keyboard focus beside the chart passes keys on to it. True when it was one of its keys.
  bool take_key(QKeyEvent* event);

 protected:  // timeline_hands.cpp
  void keyPressEvent(QKeyEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  struct Geometry {
    QRectF legend, minimap, ruler, gutter, plot;
  };
  enum class Drag { none, press, pan, measure, minimap, thumb };

  Geometry geometry(QSizeF size) const;
  view::LaneView& here() const;  // at the widget's size, also before it is told of it
  std::vector<std::pair<std::size_t, QRectF>> legend_items() const { return legend_.items(geometry(size()).legend, font()); }
  void moved();  // the range or the scroll: repaints and tells
  void hover(QPointF point);
  void pan(QPointF by);
  void centre_on(double minimap_x);
  bool take_control_key(int key, bool shift);
  void clear_one();      // of what is measured, selected, highlighted
  void settle_legend();  // where it stands, for keys

  mutable view::LaneView view_;
  LaneScene scene_;
  LaneMarks marks_;
  LegendLine legend_;
  LegendKeys* legend_keys_;
  view::ShownNames names_;
  bool illegal_ = false;
  Drag drag_ = Drag::none;
  QPointF pressed_, last_;
  Picoseconds pressed_time_;

  mutable LanePainter painter_;
  mutable MinimapPicture minimap_;
};

}  // namespace orrery::gui
