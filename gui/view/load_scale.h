// The colours of loads on links: an idle link recedes, a full one stands out, and lightness goes one way.
#pragma once

#include <vector>

#include "gui/view/palette.h"

namespace orrery::view {

// Loads are shares of a link's bandwidth and often a few percent only: the scale is of their square root, from 0 to 1. More than 1 counts as 1.
double load_place(double load);
Colour load_colour(double load, bool dark);

// The loads that a legend names: 0, 1, 5, 10, 25, 50 and 100 %.
const std::vector<double>& load_ticks();

}  // namespace orrery::view
