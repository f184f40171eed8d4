#include "gui/view/decimate.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace orrery::view {

std::vector<planner::Point> decimate(const std::vector<planner::Point>& points, const LinearAxis& x) {
  std::vector<planner::Point> out;
  std::size_t first = 0, least = 0, most = 0, last = 0;
  double column = std::nan("");
  const auto close = [&] {
    if (std::isnan(column)) return;
    std::array kept{first, least, most, last};
    std::sort(kept.begin(), kept.end());
    const auto end = std::unique(kept.begin(), kept.end());
    for (auto i = kept.begin(); i != end; ++i) out.push_back(points[*i]);
  };
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!std::isfinite(points[i].x) || !std::isfinite(points[i].y)) continue;
    const double mine = std::floor(x.pixel(points[i].x));
    if (mine != column) {
      close();
      column = mine;
      first = least = most = i;
    }
    if (points[i].y < points[least].y) least = i;
    if (points[i].y > points[most].y) most = i;
    last = i;
  }
  close();
  return out;
}

}  // namespace orrery::view
