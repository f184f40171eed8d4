#include "gui/view/name_line.h"

#include <algorithm>
#include <numeric>

namespace orrery::view {

namespace {

constexpr double kWide = 14, kNarrow = 6;  // gaps between one and the next
constexpr double kShortest = 24;           // no name is cut to less

}  // namespace

std::vector<NamePlace> line_up(const std::vector<double>& widths, double mark, double room) {
  std::vector<NamePlace> places;
  if (widths.empty()) return places;
  const auto count = static_cast<double>(widths.size());
  const double names = room - mark * count, sum = std::accumulate(widths.begin(), widths.end(), 0.0);
  const double gap = std::clamp((names - sum) / count, kNarrow, kWide);
  double longest = *std::max_element(widths.begin(), widths.end());
  const auto cut = [&] {
    return std::accumulate(widths.begin(), widths.end(), 0.0, [&](double total, double w) { return total + std::min(w, longest); });
  };
  while (longest > kShortest && cut() > names - gap * count) longest -= 1;
  double x = 0;
  for (const double width : widths) {
    const double shown = std::min(width, longest);
    places.push_back({x, mark + shown + gap, shown});
    x += mark + shown + gap;
  }
  return places;
}

}  // namespace orrery::view
