#include "gui/view/step_totals.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace orrery::view {

namespace {

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

}  // namespace

MeanTotals mean_of_ranks(const SpanIndex& index, std::optional<TimeRange> range) {
  MeanTotals mean;
  mean.range = range.value_or(index.whole());
  double ranks = 0;
  for (std::size_t l = 0; l < index.lanes().size(); ++l) {
    const SpanIndex::Lane& lane = index.lanes()[l];
    if (!lane.compute || !lane.works) continue;
    const auto weight = static_cast<double>(index.ranks_like(lane));
    const Totals own = range ? index.totals(l, *range) : lane.totals;
    ranks += weight;
    for (std::size_t s = 0; s < kSlots; ++s) mean.work[s] += weight * static_cast<double>(own.work[s].v);
    mean.waiting += weight * static_cast<double>(own.waited().v);
  }
  if (ranks == 0) return mean;
  double used = mean.waiting /= ranks;
  for (double& work : mean.work) used += work /= ranks;
  const auto whole = static_cast<double>(mean.range.length().v), idle = whole - used;
  mean.idle = idle > whole * 1e-6 ? idle : 0;  // less is what rounding left
  return mean;
}

std::string totals_csv(const SpanIndex& index) {
  const Timeline& t = index.timeline();
  std::string table = "rank,name,ranks_like_it,stream,what,seconds\n";
  for (const SpanIndex::Lane& lane : index.lanes()) {
    if (!lane.works) continue;
    const std::string head = fmt::format("{},{},{},{},", lane.rank, csv_field(lane.rank < t.ranks.size() ? t.ranks[lane.rank] : std::string()),
                                         lane.rank < t.weights.size() ? t.weights[lane.rank] : 1,
                                         csv_field(lane.stream < t.streams.size() ? t.streams[lane.stream] : std::string()));
    const auto add = [&](std::string_view what, Picoseconds time) {
      if (time.v > 0) table += fmt::format("{}{},{:.12g}\n", head, what, to_seconds(time).v);
    };
    for (std::size_t s = 0; s < kSlots; ++s) add(slot_name(s), lane.totals.work[s]);
    add(slot_name(kWaitingSlot), lane.totals.waited());
  }
  return table;
}

}  // namespace orrery::view
