#include "gui/view/palette.h"

#include <gtest/gtest.h>

namespace orrery::view {
namespace {

// WCAG 2.1: black on white is 21 : 1; #777777 on white 4.48 : 1 (the best-known grey that just fails AA).
TEST(Palette, ContrastIsWcags) {
  EXPECT_DOUBLE_EQ(contrast({0, 0, 0}, {255, 255, 255}), 21);
  EXPECT_NEAR(contrast({0x77, 0x77, 0x77}, {255, 255, 255}), 4.48, 0.005);
  EXPECT_EQ(contrast({1, 2, 3}, {200, 100, 50}), contrast({200, 100, 50}, {1, 2, 3}));
}

TEST(Palette, TextOnEveryColourIsLegible) {
  for (const bool dark : {false, true})
    for (std::size_t h = 0; h < kHues; ++h) {
      const Colour c = colour(static_cast<Hue>(h), dark);
      EXPECT_GE(contrast(c, ink_on(c)), 4.5) << name(static_cast<Hue>(h)) << (dark ? " dark" : " light");
    }
}

TEST(Palette, EveryColourStandsOutFromItsGround) {
  for (const bool dark : {false, true})
    for (std::size_t h = 0; h + 1 < kHues; ++h)  // waiting is meant to recede
      EXPECT_GE(contrast(colour(static_cast<Hue>(h), dark), dark ? Colour{0x15, 0x18, 0x1e} : Colour{255, 255, 255}), 1.5) << h;
}

TEST(Palette, EveryClassHasAHue) {
  for (std::size_t c = 0; c < kWorkClasses; ++c) EXPECT_LT(static_cast<std::size_t>(hue(static_cast<WorkClass>(c))), kHues);
}

}  // namespace
}  // namespace orrery::view
