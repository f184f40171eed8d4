// Ranks x streams over time: the lanes of a timeline, or of two laid over each other, with everything that can be done to them.
#pragma once

#include <QRectF>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gui/charts/chart.h"
#include "gui/charts/lane_picture.h"
#include "gui/view/axis.h"
#include "gui/view/lane_layout.h"
#include "gui/view/span_index.h"

namespace orrery::gui {

// A span of the timeline, or of the one laid over it.
struct SpanAt {
  view::SpanId span = view::kNoSpan;
  bool other = false;
  bool operator==(const SpanAt&) const = default;
};

// From one span of the timeline (or of the other) to another of the same.
struct Arrow {
  SpanAt from, to;
  bool strong = false;  // what decided
};

class TimelineChart : public Chart {
  Q_OBJECT

 public:
  explicit TimelineChart(QWidget* parent = nullptr);

  // --- what is shown. The range stays where it is as far as the new timeline reaches; what was selected is forgotten.
  void show_timeline(std::shared_ptr<const view::SpanIndex> index);
  void lay_over(std::shared_ptr<const view::SpanIndex> over, std::shared_ptr<const view::Differences> differences);  // null: takes it away
  const std::shared_ptr<const view::SpanIndex>& index() const { return scene_.index; }
  const std::shared_ptr<const view::SpanIndex>& over() const { return scene_.over; }
  const view::Differences* differences() const { return scene_.differences.get(); }

  // --- where one looks
  const view::TimeAxis& axis() const { return axis_; }    // of the plot at the widget's size
  void show_range(std::optional<view::TimeRange> range);  // nothing: all
  void fit_all();
  void fit_selection();      // all where nothing is selected
  void zoom(double factor);  // about the cursor, where it is in sight, otherwise about the middle
  void reveal(SpanAt span);  // scrolls to it; where it would be too small to be seen, zooms as well

  // --- attention
  std::optional<SpanAt> selection() const { return selection_; }
  void select(std::optional<SpanAt> span);
  void step(int by);      // -1, 1: the span before, after in its lane
  void step_row(int by);  // the nearest in the row above, below
  void set_arrows(std::vector<Arrow> arrows);
  std::optional<Picoseconds> cursor() const { return cursor_; }
  void set_cursor(std::optional<Picoseconds> time);
  const std::optional<view::TimeRange>& measured() const { return measured_; }
  void measure(std::optional<view::TimeRange> range);
  void mark();  // at the cursor: the first end of what is measured, then the second

  // --- what stands out
  std::uint32_t highlight() const { return scene_.highlight; }
  void set_highlight(std::uint32_t slots);                                     // bits of slots and of kWaitingSlot; 0: everything
  const std::vector<std::size_t>& legend() const { return legend_; }           // slots that occur, and kWaitingSlot
  void set_matches(std::shared_ptr<const std::vector<view::SpanId>> matches);  // by place; null: no search
  bool critical() const { return scene_.critical; }
  void set_critical(bool shown);
  void set_illegal(bool illegal);  // the plan: said where there is no timeline

  // --- rows
  const view::LayoutChoice& layout_choice() const { return choice_; }
  void set_collapsed(std::set<std::uint32_t> ranks);
  void set_folded(std::set<std::string> streams);
  const view::LaneLayout& lanes() const { return layout_for(size()); }
  double scroll() const { return scroll_; }
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

 protected:
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
  const view::LaneLayout& layout_for(QSizeF size) const;
  double scroll_limit(QSizeF size) const;
  view::TimeAxis axis_for(const Geometry& g) const;
  const view::SpanIndex* index_of(bool other) const { return other ? scene_.over.get() : scene_.index.get(); }
  std::optional<std::size_t> row_of(SpanAt span, const view::LaneLayout& layout) const;
  QRectF rect_of(SpanAt span, const Geometry& g, const view::TimeAxis& axis, const view::LaneLayout& layout) const;
  std::vector<std::pair<std::size_t, QRectF>> legend_items(const Geometry& g, const QFont& font) const;
  void moved();  // the range or the scroll: repaints and tells
  void forget_layout();
  void hover(QPointF point);
  void centre_on(double minimap_x);

  void paint_legend(QPainter& p, const Geometry& g, const Theme& theme) const;
  void paint_density(QPainter& p, QRectF map, const Theme& theme) const;
  void paint_minimap(QPainter& p, const Geometry& g, const Theme& theme) const;
  void paint_ruler(QPainter& p, const Geometry& g, const view::TimeAxis& axis, const Theme& theme) const;
  void paint_gutter(QPainter& p, const Geometry& g, const view::LaneLayout& layout, const Theme& theme) const;
  void paint_marks(QPainter& p, const Geometry& g, const view::TimeAxis& axis, const view::LaneLayout& layout, const Theme& theme) const;
  void paint_arrows(QPainter& p, const Geometry& g, const view::TimeAxis& axis, const view::LaneLayout& layout, const Theme& theme) const;

  LaneScene scene_;
  view::TimeAxis axis_;
  double scroll_ = 0;
  view::LayoutChoice choice_;
  std::vector<std::size_t> legend_;
  std::vector<view::Mix> density_;
  std::optional<SpanAt> selection_;
  std::vector<Arrow> arrows_;
  std::optional<Picoseconds> cursor_, first_mark_;
  std::optional<view::TimeRange> measured_;
  Drag drag_ = Drag::none;
  QPointF pressed_, last_;
  Picoseconds pressed_time_;

  mutable view::LaneLayout layout_;
  mutable std::uint64_t layout_number_ = 0;
  mutable double layout_height_ = -1;
  mutable LanePainter painter_;
  struct DensityKey {
    std::shared_ptr<const view::SpanIndex> index;
    view::TimeRange whole;
    std::uint32_t highlight = 0;
    QSizeF pixels;
    bool dark = false;
    bool operator==(const DensityKey&) const = default;
  };
  bool illegal_ = false;
  // Pixels of the minimap under which something matches, and what they were made from.
  mutable std::vector<double> ticks_;
  mutable std::shared_ptr<const std::vector<view::SpanId>> tick_matches_;
  mutable std::shared_ptr<const view::SpanIndex> tick_index_;
  mutable view::TimeRange tick_whole_;
  mutable double tick_width_ = 0;
  mutable DensityKey density_key_;
  mutable QImage density_image_;
};

}  // namespace orrery::gui
