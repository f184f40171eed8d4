#include "gui/view/colour_scale.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace orrery::view {
namespace {

using Rgb = std::array<double, 3>;
using Matrix = std::array<Rgb, 3>;

// Linear light of sRGB (IEC 61966-2-1).
Rgb linear(Colour c) {
  const auto channel = [](std::uint8_t v) {
    const double s = v / 255.0;
    return s <= 0.04045 ? s / 12.92 : std::pow((s + 0.055) / 1.055, 2.4);
  };
  return {channel(c.r), channel(c.g), channel(c.b)};
}

// CIE 1976 L* of linear sRGB.
double lightness(const Rgb& c) {
  const double y = 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  return y > 216.0 / 24389 ? 116 * std::cbrt(y) - 16 : y * 24389 / 27;
}

// Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009, severity 1.
constexpr Matrix kNormal{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
constexpr Matrix kProtanopia{{{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}}};
constexpr Matrix kDeuteranopia{{{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}}};

Rgb seen(const Matrix& m, const Rgb& c) {
  Rgb out{};
  for (std::size_t i = 0; i < 3; ++i) out[i] = m[i][0] * c[0] + m[i][1] * c[1] + m[i][2] * c[2];
  return out;
}

// Sixteen steps of the scale are sixteen steps of lightness, of much the same size, whoever looks.
TEST(ColourScale, GrowsLighterEvenlyForEveryKindOfSight) {
  for (const Matrix& sight : {kNormal, kProtanopia, kDeuteranopia}) {
    double least = 1e9, most = 0;
    for (int i = 1; i <= 16; ++i) {
      const double step = lightness(seen(sight, linear(scale_colour(i / 16.0)))) - lightness(seen(sight, linear(scale_colour((i - 1) / 16.0))));
      least = std::min(least, step);
      most = std::max(most, step);
    }
    EXPECT_GT(least, 3.0);  // from L* 15 to 91: 4.8 a step
    EXPECT_LT(most, 7.0);
  }
}

TEST(ColourScale, BeginsAndEndsWithThePublishedColours) {
  EXPECT_EQ(scale_colour(0), (Colour{0, 34, 78}));     // 0, 0.135112, 0.304751 of 255
  EXPECT_EQ(scale_colour(1), (Colour{254, 232, 56}));  // 0.995737, 0.909344, 0.217772
  EXPECT_EQ(scale_colour(-3), scale_colour(0));
  EXPECT_EQ(scale_colour(7), scale_colour(1));
  EXPECT_EQ(scale_colour(std::numeric_limits<double>::quiet_NaN()), scale_colour(0));
}

TEST(ColourScale, PlacesFiguresBetweenItsEnds) {
  EXPECT_DOUBLE_EQ((ColourScale{2, 10}.share(4)), 0.25);
  EXPECT_DOUBLE_EQ((ColourScale{1, 100, true}.share(10)), 0.5);
  EXPECT_DOUBLE_EQ((ColourScale{5, 5}.share(5)), 0.5);
  EXPECT_DOUBLE_EQ((ColourScale{1, 100, true}.share(0)), 0);
  EXPECT_DOUBLE_EQ((ColourScale{2, 10}.share(11)), 1);
}

RC_GTEST_PROP(ColourScale, IsMonotone, ()) {
  const auto any = [] { return static_cast<double>(*rc::gen::inRange(1, 100000)); };
  ColourScale scale{any(), any(), *rc::gen::arbitrary<bool>()};
  if (scale.high < scale.low) std::swap(scale.low, scale.high);
  double a = any(), b = any();
  if (b < a) std::swap(a, b);
  RC_ASSERT(scale.share(a) <= scale.share(b));
}

}  // namespace
}  // namespace orrery::view
