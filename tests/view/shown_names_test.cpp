// How timelines on screen are told apart.
#include "gui/view/shown_names.h"

#include <gtest/gtest.h>

namespace orrery::view {
namespace {

TEST(ShownNames, OneNeedsNoWordButATitle) {
  EXPECT_EQ(shown_names({"simulated", "llama on dgx-h100:64"}, {}), (ShownNames{"", "", "predicted: llama on dgx-h100:64", ""}));
  EXPECT_EQ(shown_names({"measured", "run.json"}, {}).own_title, "measured: run.json");
  EXPECT_EQ(shown_names({"", "kineto.json"}, {}).own_title, "recorded: kineto.json");
  EXPECT_EQ(shown_names({"simulated", ""}, {}).own_title, "predicted");
}

TEST(ShownNames, ARunAndItsPredictionAreToldByWhatTheyAre) {
  const ShownNames names = shown_names({"simulated", "tiny on cpu"}, Source{"measured", "measured: tiny"});
  EXPECT_EQ(names, (ShownNames{"predicted", "measured", "predicted: tiny on cpu", "measured: tiny"}));
}

TEST(ShownNames, TwoOfOneKindAreToldByTheirNames) {
  const ShownNames names = shown_names({"measured", "monday.json"}, Source{"measured", "tuesday.json"});
  EXPECT_EQ(names.own, "monday.json");
  EXPECT_EQ(names.other, "tuesday.json");
}

TEST(ShownNames, TwoOfOneNameAreToldByTheirPlaces) {
  const ShownNames names = shown_names({"measured", "run.json"}, Source{"measured", "run.json"});
  EXPECT_EQ(names.own, "upper");
  EXPECT_EQ(names.other, "lower");
}

}  // namespace
}  // namespace orrery::view
