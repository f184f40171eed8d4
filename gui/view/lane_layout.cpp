#include "gui/view/lane_layout.h"

#include <algorithm>
#include <map>

namespace orrery::view {

namespace {

// The lanes of a rank by their streams' names, in an order that both timelines share.
struct Streams {
  struct Pair {
    std::optional<std::size_t> lane, other;
    bool compute = false;
  };
  std::vector<std::string> order;
  std::map<std::string, Pair> by_name;
};

std::string stream_name(const Timeline& timeline, std::uint16_t stream) {
  return stream < timeline.streams.size() ? timeline.streams[stream] : std::to_string(stream);
}

}  // namespace

LaneLayout::LaneLayout(const SpanIndex& index, const SpanIndex* over, const LayoutChoice& choice) {
  std::map<std::uint32_t, Streams> ranks;
  const auto take = [&](const SpanIndex& from, bool other) {
    for (std::size_t l = 0; l < from.lanes().size(); ++l) {
      const SpanIndex::Lane& lane = from.lanes()[l];
      if (!lane.works) continue;
      const std::string name = stream_name(from.timeline(), lane.stream);
      Streams& streams = ranks[lane.rank];
      const auto [entry, added] = streams.by_name.try_emplace(name);
      if (added) streams.order.push_back(name);
      (other ? entry->second.other : entry->second.lane) = l;
      entry->second.compute = entry->second.compute || lane.compute;
      if (std::find(streams_.begin(), streams_.end(), name) == streams_.end()) streams_.push_back(name);
    }
  };
  take(index, false);
  if (over != nullptr) take(*over, true);
  ranks_ = ranks.size();
  for (auto& entry : ranks) {  // lambdas of clang 14 capture no bindings
    const auto rank = entry.first;
    Streams& streams = entry.second;
    // A stream that only the other timeline has stands last; the compute stream first in any case.
    std::stable_partition(streams.order.begin(), streams.order.end(), [&](const std::string& s) { return streams.by_name[s].compute; });
    bool first = true;
    for (const std::string& name : streams.order) {
      const Streams::Pair& pair = streams.by_name[name];
      if (choice.folded.contains(name) || (choice.collapsed.contains(rank) && !pair.compute)) continue;
      const double height = pair.compute ? choice.compute_height : choice.stream_height;
      const auto add = [&](RowKind kind, double tall) {
        rows_.push_back({kind, rank, name, pair.compute, first, pair.lane, pair.other, 0, tall});
        first = false;
      };
      if (pair.lane) add(RowKind::lane, height);
      if (pair.other) add(RowKind::other, height);
      if (pair.lane && pair.other) add(RowKind::difference, choice.difference_height);
    }
  }
  const auto stack = [&](double growth) {
    double y = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (i > 0) y += rows_[i].first_of_rank ? choice.rank_gap : choice.gap;
      rows_[i].height = std::max(1.0, static_cast<double>(static_cast<int>(rows_[i].height * growth)));
      rows_[i].y = y;
      y += rows_[i].height;
    }
    height_ = y;
  };
  stack(1);
  if (height_ > 0 && height_ < choice.available) {
    double bare = 0;
    for (const Row& row : rows_) bare += row.height;
    stack(std::clamp((choice.available - (height_ - bare)) / bare, 1.0, choice.most_growth));
  }
}

std::optional<std::size_t> LaneLayout::row_at(double y) const {
  const auto [first, last] = rows_between(y, y);
  if (first == last) return std::nullopt;
  return first;
}

std::pair<std::size_t, std::size_t> LaneLayout::rows_between(double y0, double y1) const {
  const auto first = std::partition_point(rows_.begin(), rows_.end(), [&](const Row& r) { return r.y + r.height <= y0; });
  const auto last = std::partition_point(first, rows_.end(), [&](const Row& r) { return r.y < y1 || (y0 == y1 && r.y <= y0); });
  return {static_cast<std::size_t>(first - rows_.begin()), static_cast<std::size_t>(last - rows_.begin())};
}

std::optional<std::size_t> LaneLayout::row_of(RowKind kind, std::size_t lane) const {
  const auto found =
      std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return r.kind == kind && (kind == RowKind::other ? r.other : r.lane) == lane; });
  if (found == rows_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - rows_.begin());
}

}  // namespace orrery::view
