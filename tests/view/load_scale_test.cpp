// Colours of loads and of memory: order by lightness, legible, told apart.
#include "gui/view/load_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gui/view/memory_colours.h"

namespace orrery::view {
namespace {

constexpr Colour kGround[2] = {{255, 255, 255}, {0x15, 0x18, 0x1e}};

TEST(LoadScale, IsOfTheSquareRootAndEndsAtFull) {
  EXPECT_EQ(load_place(0), 0);
  EXPECT_DOUBLE_EQ(load_place(0.01), 0.1);
  EXPECT_DOUBLE_EQ(load_place(0.25), 0.5);
  EXPECT_EQ(load_place(1), 1);
  EXPECT_EQ(load_place(3), 1);
  EXPECT_EQ(load_place(-1), 0);
  EXPECT_EQ(load_place(std::numeric_limits<double>::quiet_NaN()), 0);
}

TEST(LoadScale, LeavesTheGroundTheFurtherTheMoreALinkIsLoaded) {
  for (const bool dark : {false, true}) {
    double before = 1;
    for (int i = 0; i <= 20; ++i) {
      const double now = contrast(load_colour(i * i / 400.0, dark), kGround[dark ? 1 : 0]);
      EXPECT_GT(now, before) << i << (dark ? " dark" : " light");
      before = now;
    }
    EXPECT_GT(before, 7);  // a full link
  }
}

TEST(MemoryColours, StandOutFromTheGroundAndDiffer) {
  for (const bool dark : {false, true})
    for (std::size_t a = 0; a < app::kMemoryCategories; ++a) {
      const Colour one = colour(static_cast<app::MemoryCategory>(a), dark);
      EXPECT_GE(contrast(one, kGround[dark ? 1 : 0]), 1.5) << a;
      for (std::size_t b = 0; b < a; ++b) EXPECT_NE(one, colour(static_cast<app::MemoryCategory>(b), dark)) << a << " " << b;
    }
}

}  // namespace
}  // namespace orrery::view
