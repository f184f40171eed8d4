// Where one looks at a timeline, or at two laid over each other: what stands where on a rectangle of pixels, and what comes next to what.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "gui/view/axis.h"
#include "gui/view/box.h"
#include "gui/view/lane_layout.h"
#include "gui/view/span_index.h"

namespace orrery::view {

// A span of the timeline, or of the one laid over it.
struct SpanAt {
  SpanId span = kNoSpan;
  bool other = false;
  bool operator==(const SpanAt&) const = default;
};

// The time axis, the rows and how far they are scrolled. Everything stays inside of what there is: no zoom, move or new timeline leads out of it.
class LaneView {
 public:
  static constexpr std::size_t kManyRows = 64;  // more lanes than this begin with their ranks collapsed
  static constexpr double kMargin = 8;          // below the last row

  // --- what is shown; null: nothing. The range stays where it is as far as the new timeline reaches; all stays all.
  void show(std::shared_ptr<const SpanIndex> index);
  void lay_over(std::shared_ptr<const SpanIndex> over);
  void resize(double width, double height);

  const std::shared_ptr<const SpanIndex>& index() const { return index_; }
  const std::shared_ptr<const SpanIndex>& over() const { return over_; }
  const SpanIndex* index_of(bool other) const { return other ? over_.get() : index_.get(); }
  bool has(SpanAt span) const;

  // --- times
  const TimeAxis& axis() const { return axis_; }
  TimeAxis& axis() { return axis_; }  // its width is resize()'s
  void fit(SpanAt span);              // and as much beside it
  void reveal(SpanAt span);           // scrolls to it and unfolds its row; zooms too where it would be too small to be seen
  void centre_on(Picoseconds time);   // at the same zoom
  enum class End { begin, end };
  void go_to(End end);  // of the whole range, at the same zoom

  // --- rows
  const std::shared_ptr<const LaneLayout>& layout() const { return layout_; }  // never null; another layout is another object
  const LayoutChoice& choice() const { return choice_; }
  void set_collapsed(std::set<std::uint32_t> ranks);
  void set_folded(std::set<std::string> streams);
  void fold(std::uint32_t rank, bool all);  // its streams away, or back; `all`: those of all ranks with it
  double scroll() const { return scroll_; }
  double scroll_limit() const;
  void scroll_to(double y);
  double width() const { return axis_.width(); }
  double height() const { return height_; }

  // --- what stands where
  std::optional<std::size_t> row_of(SpanAt span) const;
  const Row* row_at(double y) const;                           // null between rows
  std::optional<Box> box_of(SpanAt span) const;                // at least a pixel wide; may be out of sight
  std::optional<SpanAt> span_at(double x, double y) const;     // with a pixel's tolerance
  std::optional<SpanAt> waiting_at(double x, double y) const;  // the span that is waited for there

  // --- what comes next to what
  std::optional<SpanAt> first_in_sight() const;             // in the uppermost lane in sight, where the middle of the times is
  std::optional<SpanAt> beside(SpanAt span, int by) const;  // -1, 1: before, after it in its lane
  std::optional<SpanAt> above(SpanAt span, int by) const;   // -1, 1: nearest to its middle in the next lane above, below that has one

 private:
  void lay_out();

  std::shared_ptr<const SpanIndex> index_, over_;
  TimeAxis axis_;
  double height_ = 0, scroll_ = 0;
  LayoutChoice choice_;
  std::shared_ptr<const LaneLayout> layout_ = std::make_shared<const LaneLayout>();
};

}  // namespace orrery::view
