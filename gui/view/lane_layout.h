// From top to bottom: which lanes of one timeline, or of two laid over each other, stand where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gui/view/span_index.h"

namespace orrery::view {

inline constexpr double kRibbon = 11;  // height of the passes' names above a compute lane that has room for them

// What a row shows of a stream of a rank.
enum class RowKind : std::uint8_t { lane, other, difference };  // the timeline's, the same of the one laid over it, and how they differ

struct Row {
  RowKind kind = RowKind::lane;
  std::uint32_t rank = 0;
  std::string stream;
  bool compute = false;
  bool first_of_rank = false;              // the rank's name stands here
  std::optional<std::size_t> lane, other;  // in the two indices; a difference has both
  double y = 0, height = 0;                // in pixels from the top of all rows

  double body() const { return compute && height >= 2 * kRibbon ? kRibbon + 1 : 0; }  // from its top: where its spans begin
};

struct LayoutChoice {
  std::set<std::uint32_t> collapsed;  // ranks of which only the compute stream is shown
  std::set<std::string> folded;       // streams that are not shown
  double compute_height = 20, stream_height = 13, difference_height = 10;
  double gap = 2, rank_gap = 7;
  double available = 0;  // all rows grow to fill this, up to `most_growth` times their height
  double most_growth = 2;
  bool operator==(const LayoutChoice&) const = default;
};

// Rows of ranks one below the other, of each first its compute stream, then the others that did something, in the timeline's order.
class LaneLayout {
 public:
  LaneLayout() = default;
  LaneLayout(const SpanIndex& index, const SpanIndex* over, const LayoutChoice& choice);

  const std::vector<Row>& rows() const { return rows_; }
  double height() const { return height_; }
  const std::vector<std::string>& streams() const { return streams_; }  // that any rank uses, folded ones too
  std::size_t ranks() const { return ranks_; }

  std::optional<std::size_t> row_at(double y) const;                             // nothing between rows
  std::pair<std::size_t, std::size_t> rows_between(double y0, double y1) const;  // [first, last) that touch it
  std::optional<std::size_t> row_of(RowKind kind, std::size_t lane) const;       // of RowKind::other: a lane of the other index

 private:
  std::vector<Row> rows_;
  std::vector<std::string> streams_;
  std::size_t ranks_ = 0;
  double height_ = 0;
};

}  // namespace orrery::view
