#include "gui/view/palette.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace orrery::view {
namespace {

// Relative luminance, WCAG 2.1.
double luminance(Colour c) {
  const auto linear = [](std::uint8_t channel) {
    const double v = channel / 255.0;
    return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
}

}  // namespace

Hue hue(WorkClass work) {
  switch (work) {
    case WorkClass::gemm:
      return Hue::gemm;
    case WorkClass::attention:
      return Hue::attention;
    case WorkClass::norm:
    case WorkClass::elementwise:
    case WorkClass::embedding:
    case WorkClass::loss:
      return Hue::other_compute;
    case WorkClass::optimizer:
      return Hue::optimizer;
    case WorkClass::tp_comm:
      return Hue::tp;
    case WorkClass::cp_comm:
      return Hue::cp;
    case WorkClass::ep_comm:
      return Hue::ep;
    case WorkClass::pp_comm:
      return Hue::pp;
    case WorkClass::dp_comm:
      return Hue::dp;
    case WorkClass::control:
      return Hue::none;
  }
  return Hue::none;
}

std::string_view name(Hue hue) {
  constexpr std::array<std::string_view, kHues> kNames{"matrix products", "attention", "other kernels", "optimizer", "tp", "cp", "ep", "pp", "dp",
                                                       "waiting"};
  return kNames[static_cast<std::size_t>(hue)];
}

Colour colour(Hue hue, bool dark) {
  // blue, sky blue, grey, reddish purple, orange, (yellow darkened towards olive), yellow, bluish green, vermillion
  constexpr std::array<Colour, kHues> kLight{{{0, 114, 178},
                                              {86, 180, 233},
                                              {140, 140, 146},
                                              {204, 121, 167},
                                              {230, 159, 0},
                                              {150, 135, 20},
                                              {226, 211, 40},
                                              {0, 158, 115},
                                              {213, 94, 0},
                                              {205, 208, 214}}};
  constexpr std::array<Colour, kHues> kDark{{{64, 150, 216},
                                             {122, 200, 246},
                                             {150, 152, 160},
                                             {218, 145, 184},
                                             {240, 172, 32},
                                             {176, 162, 52},
                                             {240, 228, 66},
                                             {24, 178, 134},
                                             {232, 116, 34},
                                             {66, 70, 80}}};
  return (dark ? kDark : kLight)[static_cast<std::size_t>(hue)];
}

double contrast(Colour a, Colour b) {
  const double x = luminance(a), y = luminance(b);
  return (std::max(x, y) + 0.05) / (std::min(x, y) + 0.05);
}

Colour ink_on(Colour ground) {
  constexpr Colour kBlack{16, 18, 22}, kWhite{255, 255, 255};
  return contrast(ground, kBlack) >= contrast(ground, kWhite) ? kBlack : kWhite;
}

Colour mix(Colour a, Colour b, double share) {
  const double s = std::clamp(share, 0.0, 1.0);
  const auto channel = [s](std::uint8_t x, std::uint8_t y) { return static_cast<std::uint8_t>(std::lround(x + s * (y - x))); };
  return {channel(a.r, b.r), channel(a.g, b.g), channel(a.b, b.b)};
}

}  // namespace orrery::view
