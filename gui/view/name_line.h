// Names in one line, each behind a mark: where each stands when there is room, and when there is not.
#pragma once

#include <vector>

namespace orrery::view {

struct NamePlace {
  double x = 0, width = 0;  // of mark, name and the gap behind it
  double room = 0;          // for the name: less than it is wide where it has to be cut short
};

// `widths`: of the names; `mark`: of what stands before each. Where they are too many for `room`, they move together; where that is not enough, the
// longest are cut short, all to one width.
std::vector<NamePlace> line_up(const std::vector<double>& widths, double mark, double room);

}  // namespace orrery::view
