#include "program/expert_map.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace orrery::program {
namespace {

using Experts = std::vector<std::int32_t>;

TEST(ExpertMap, PlacesExpertsInOrderInTurnOrAsListed) {
  EXPECT_EQ(experts_by_place(expert_map("linear"), 6, 2, 0), Experts{});
  EXPECT_EQ(experts_by_place(expert_map("round-robin"), 6, 2, 0), (Experts{0, 2, 4, 1, 3, 5}));
  const ExpertMap map = expert_map("places:* 1 0 0 1; 3 0 1 0 1");
  EXPECT_EQ(experts_by_place(map, 4, 2, 0), (Experts{1, 2, 0, 3}));
  EXPECT_EQ(experts_by_place(map, 4, 2, 3), (Experts{0, 2, 1, 3}));
}

TEST(ExpertMap, SaysWhatIsWrongWithIt) {
  const auto message = [](const char* text, std::int64_t experts, std::int64_t ep) -> std::string {
    try {
      experts_by_place(expert_map(text), experts, ep, 0);
    } catch (const Error& e) {
      return e.where() + ": " + e.message();
    }
    return "accepted";
  };
  EXPECT_EQ(message("scattered", 4, 2), "moe.expert_map: 'scattered' is not a map of experts");
  EXPECT_EQ(message("places:0 1 x", 2, 2), "moe.expert_map:1: 'x' is not a rank's place on ep");
  EXPECT_EQ(message("places:1 0 1", 2, 2), "moe.expert_map: 0 lines say where the experts of layer 0 are");
  EXPECT_EQ(message("places:* 0 1 0", 4, 2), "moe.expert_map: it places 3 experts, the model has 4");
  EXPECT_EQ(message("places:* 0 0 0 1", 4, 2),
            "moe.expert_map: layer 0 puts expert 2 on rank 0 of 2, where equally many, 2 each, would put it on rank 1");
  EXPECT_EQ(message("places:* 0 0 1 2", 4, 2),
            "moe.expert_map: layer 0 puts expert 3 on rank 2 of 2, where equally many, 2 each, would put it on rank 1");
  EXPECT_NE(message("file:/nowhere/at/all", 4, 2), "accepted");
}

}  // namespace
}  // namespace orrery::program
