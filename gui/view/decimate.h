// A curve of many points as a line of few: no more than the pixels can show, and nothing that they could.
#pragma once

#include <vector>

#include "gui/view/axis.h"
#include "planner/pareto.h"

namespace orrery::view {

// Of the points that fall into one column of pixels the first, the least, the greatest and the last, in their order. Points must come by x; those
// that are not finite are left out.
std::vector<planner::Point> decimate(const std::vector<planner::Point>& points, const LinearAxis& x);

}  // namespace orrery::view
