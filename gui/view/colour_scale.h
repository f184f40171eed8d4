// A scale of colours for figures: its lightness grows evenly with the figure, and colour-blind readers see the same steps.
#pragma once

#include "gui/view/palette.h"

namespace orrery::view {

// Cividis (Nuñez, Anderton and Renslow, "Optimizing colormaps with consideration for color vision deficiency", PLOS ONE 13(7), 2018), from dark blue
// at 0 to yellow at 1; what lies outside is clamped.
Colour scale_colour(double share);

// Figures from `low` to `high` on that scale.
struct ColourScale {
  double low = 0, high = 1;
  bool logarithmic = false;  // low > 0

  double share(double value) const;  // 0 to 1; 0.5 where low == high
  Colour colour(double value) const { return scale_colour(share(value)); }
};

}  // namespace orrery::view
