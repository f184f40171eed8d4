// What time adds up to.
#include "gui/view/mix.h"

#include <gtest/gtest.h>

namespace orrery::view {
namespace {

TEST(Mix, IsInSharesOfTheStretch) {
  MixSum sum;
  sum.add(0, 300);
  sum.add(1, 100);
  const Mix mix = sum.mix(255.0 / 1000);
  EXPECT_EQ(mix.share[0], 77);  // 0.3 x 255 = 76.5
  EXPECT_EQ(mix.share[1], 26);  // 25.5
  EXPECT_EQ(mix.busy(), 103);
  EXPECT_EQ(mix.dominant(), 0U);
  EXPECT_EQ(mix.waiting, 0);
}

TEST(Mix, OfWhatIsThereAtAllHasOne) {
  MixSum sum;
  sum.add(2, 1);
  EXPECT_EQ(sum.mix(255.0 / 1e12).share[2], 1);
}

TEST(Mix, NamesTheCauseOfMostOfTheWaiting) {
  MixSum sum;
  sum.add(MixSum::waiting(WaitCause::tp), 200);
  sum.add(MixSum::waiting(WaitCause::pp), 300);
  const Mix mix = sum.mix(255.0 / 1000);
  EXPECT_EQ(mix.waiting, 128);  // 0.5 x 255 = 127.5
  EXPECT_EQ(mix.cause, WaitCause::pp);
  EXPECT_EQ(mix.dominant(), kSlots);  // nothing is busy
}

TEST(Mix, OfNothingIsEmpty) {
  MixSum sum, more;
  EXPECT_FALSE(sum.any());
  EXPECT_TRUE(sum.mix(1).empty());
  more.add(3, 5);
  sum.add(more);
  EXPECT_TRUE(sum.any());
  sum.clear();
  EXPECT_FALSE(sum.any());
  EXPECT_TRUE(sum.mix(1).empty());
}

TEST(Slots, TellComputationThatIsRunAgainApart) {
  EXPECT_EQ(slot_name(slot(WorkClass::gemm, false)), "matrix products");
  EXPECT_EQ(slot_name(slot(WorkClass::gemm, true)), "run again");
  EXPECT_EQ(slot(WorkClass::tp_comm, true), slot(WorkClass::tp_comm, false));
  EXPECT_EQ(slot(WorkClass::control, false), kSlots);
  EXPECT_EQ(slot_name(kWaitingSlot), "waiting");
}

}  // namespace
}  // namespace orrery::view
