#include "gui/view/colour_scale.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace orrery::view {
namespace {

// Every 15th of the 256 entries of cividis, as its authors published them (table S1; also in Matplotlib since 2.2): between them it is all but
// straight.
constexpr std::array<std::array<double, 3>, 18> kCividis{{{0.000000, 0.135112, 0.304751},
                                                          {0.000000, 0.176082, 0.407577},
                                                          {0.087465, 0.214879, 0.437342},
                                                          {0.180503, 0.256180, 0.427299},
                                                          {0.247605, 0.296986, 0.422917},
                                                          {0.305886, 0.337681, 0.424512},
                                                          {0.359916, 0.378641, 0.431501},
                                                          {0.411607, 0.420145, 0.443577},
                                                          {0.461616, 0.462405, 0.461969},
                                                          {0.514226, 0.505546, 0.472640},
                                                          {0.570607, 0.549695, 0.469593},
                                                          {0.628576, 0.595104, 0.459641},
                                                          {0.687957, 0.641966, 0.442886},
                                                          {0.748772, 0.690470, 0.418448},
                                                          {0.811054, 0.740801, 0.385198},
                                                          {0.875057, 0.793125, 0.339685},
                                                          {0.941147, 0.847530, 0.275815},
                                                          {0.995737, 0.909344, 0.217772}}};

}  // namespace

Colour scale_colour(double share) {
  const double at = (std::isnan(share) ? 0 : std::clamp(share, 0.0, 1.0)) * (kCividis.size() - 1);
  const std::size_t i = std::min(static_cast<std::size_t>(at), kCividis.size() - 2);
  const auto channel = [&](std::size_t c) {
    return static_cast<std::uint8_t>(std::lround(255 * std::lerp(kCividis[i][c], kCividis[i + 1][c], at - static_cast<double>(i))));
  };
  return {channel(0), channel(1), channel(2)};
}

double ColourScale::share(double value) const {
  if (!(high > low)) return 0.5;
  const double share = logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return std::isnan(share) ? 0 : std::clamp(share, 0.0, 1.0);
}

}  // namespace orrery::view
