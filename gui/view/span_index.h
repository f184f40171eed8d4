// A timeline made ready to be drawn: lanes, a pyramid of levels of detail, and what stands where.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/timeline.h"
#include "gui/view/axis.h"
#include "gui/view/mix.h"
#include "gui/view/passes.h"
#include "gui/view/pyramid.h"

namespace orrery::view {

using SpanId = std::uint32_t;  // index into Timeline::spans
inline constexpr SpanId kNoSpan = UINT32_MAX;

// What time in a range went into.
struct Totals {
  std::array<Picoseconds, kSlots> work{};
  std::array<Picoseconds, kWaitCauses> waiting{};  // by WaitCause
  Picoseconds busy() const;
  Picoseconds waited() const;
  bool operator==(const Totals&) const = default;
};

// What is to be painted of a lane, in whole pixels [x0, x1): gaps first, then columns, then runs, each from left to right.
struct Run {
  std::int32_t x0 = 0, x1 = 0;
  SpanId span = kNoSpan;
};
struct Gap {
  std::int32_t x0 = 0, x1 = 0;
  SpanId before = kNoSpan;  // the span that waited
};
struct Visible {
  std::vector<Gap> gaps;  // on compute streams
  std::vector<Column> columns;
  std::vector<Run> runs;
  void clear();  // keeps the memory
};

class SpanIndex {
 public:
  // Spans may stand in any order and overlap, as in a trace that somebody edited; ordered and disjoint ones, as the simulator and the executor leave
  // them, cost less. Times beyond 2^60 ps (13 days) count as that.
  explicit SpanIndex(std::shared_ptr<const Timeline> timeline);

  // One stream of one rank.
  struct Lane {
    std::uint32_t rank = 0;
    std::uint16_t stream = 0;
    bool compute = false;               // the stream whose idle time is the step's
    bool works = false;                 // something other than waits took time
    std::uint32_t first = 0, last = 0;  // places of its spans: at(first) … at(last - 1), by start
    TimeRange range;                    // from the first start, or a compute stream's first wait, to the last end
    Totals totals;
    Pyramid::Lane detail;  // none where there are too few spans to need any
  };

  const Timeline& timeline() const { return *timeline_; }
  const std::shared_ptr<const Timeline>& shared() const { return timeline_; }
  TimeRange whole() const { return whole_; }                 // the step, and whatever reaches beyond it
  const std::vector<Lane>& lanes() const { return lanes_; }  // by rank, then stream
  std::optional<std::size_t> lane_of(std::uint32_t rank, std::uint16_t stream) const;
  std::optional<std::size_t> lane_of(SpanId span) const;
  SpanId at(std::uint32_t place) const { return order_.empty() ? place : order_[place]; }
  std::uint32_t place(SpanId span) const;  // the inverse

  // Start and end as they are drawn.
  TimeRange range(SpanId span) const;
  TimeRange wait_before(SpanId span) const;  // ends at its start; empty where it did not wait

  // What to paint of a lane on the pixels 0 … width - 1 of an axis: at most one run, one column and one gap for each pixel. Spans of half a pixel and
  // more are runs where few enough are in sight; the others are mixed to columns, which show how much of their time went into what.
  void visible(std::size_t lane, const TimeAxis& axis, Visible& out) const;

  // The span at a time; otherwise the longest that comes within `tolerance` of it (of those next to it, where they are very many).
  SpanId hit(std::size_t lane, Picoseconds time, Picoseconds tolerance = {}) const;
  // The span that is waited for at this time, between others, on a compute stream.
  SpanId waiting(std::size_t lane, Picoseconds time) const;
  // The span that contains the time or is closest to it; kNoSpan only in an empty lane. Spans without length do not count.
  SpanId nearest(std::size_t lane, Picoseconds time) const;
  SpanId next(SpanId span) const;  // the next in its lane that has length; kNoSpan at the end
  SpanId previous(SpanId span) const;

  std::int64_t ranks_like(const Lane& lane) const;  // how many ranks its rank stands for, itself included: 1 at least
  std::span<const Pass> passes(std::size_t lane) const;
  Totals totals(std::size_t lane, TimeRange range) const;  // exact: spans and waits clipped to the range

  // The mean of all compute lanes, weighted by how many ranks each stands for, over equal parts of the whole range.
  std::vector<Mix> density(std::size_t parts) const;

  // Arrows by their ends: indices into Timeline::flows.
  std::vector<std::uint32_t> flows_of(SpanId span) const;

  std::size_t bytes() const;  // what the index holds beside the Timeline

 private:
  // Of times as they are drawn, sums and differences are still whole numbers of 64 bits.
  static constexpr std::int64_t kFarthest = std::int64_t{1} << 60U;
  static std::int64_t within(Picoseconds t) { return std::clamp(t.v, -kFarthest, kFarthest); }

  void sort_spans();
  void add_lane(std::uint32_t first, std::uint32_t last, PassFinder& passes);
  Pyramid::Lane add_detail(const Lane& lane);
  void sort_flows();
  std::uint32_t first_at(const Lane& lane, Picoseconds time) const;        // place of the first span that starts at or after
  std::uint32_t first_reaching(const Lane& lane, Picoseconds time) const;  // … that may end after
  Picoseconds free_before(const Lane& lane, std::uint32_t place) const;    // when its stream was free for it
  void exact(const Lane& lane, const TimeAxis& axis, std::uint32_t from, std::uint32_t to, Visible& out) const;
  bool has_length(SpanId span) const { return timeline_->spans[span].end > timeline_->spans[span].start; }
  bool is_work(SpanId span) const { return has_length(span) && slots_[timeline_->spans[span].kind] < kSlots; }
  std::size_t slot_of(const Span& s) const { return s.recompute ? slot(timeline_->kinds[s.kind].work, true) : slots_[s.kind]; }

  std::shared_ptr<const Timeline> timeline_;
  TimeRange whole_;
  std::vector<Lane> lanes_;
  std::vector<std::uint32_t> order_, places_;  // empty where the spans are in order
  bool disjoint_ = true;
  std::vector<std::uint8_t> slots_;  // by kind
  Pyramid pyramid_;
  std::vector<Pass> passes_;
  std::vector<std::uint32_t> lane_passes_;  // passes of lane i: passes_[lane_passes_[i] … lane_passes_[i + 1])
  std::vector<std::uint32_t> flows_to_;     // indices into Timeline::flows by Flow::to
  std::vector<std::uint32_t> flows_from_;   // by Flow::from; empty where they are in that order
};

}  // namespace orrery::view
