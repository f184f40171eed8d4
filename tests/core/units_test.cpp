#include "core/units.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace orrery {
namespace {

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept Comparable = requires(A a, B b) {
  a < b;
};

TEST(Units, DecimalAndBinaryBytesAreSpelledApart) {
  EXPECT_EQ((80_GB).v, 80'000'000'000);
  EXPECT_EQ((80_GiB).v, 80LL * 1024 * 1024 * 1024);  // 85 899 345 920
  EXPECT_NEAR(1_GiB / 1_GB, 1.073741824, 1e-12);     // the 7.4 % that is lost when the two are taken for each other
  EXPECT_EQ((1_MiB).v, 1'048'576);
  EXPECT_EQ((1_MB).v, 1'000'000);
  EXPECT_EQ((3_KiB).v, 3072);
}

TEST(Units, BitsAndBytesPerSecondAreSpelledApart) {
  EXPECT_EQ((400_Gbps).v, 50e9);  // 400e9 bits / 8
  EXPECT_EQ((400_GBps).v, 400e9);
  EXPECT_EQ(400_Gbps, 50_GBps);
}

TEST(Units, WorkDividedByRateIsTime) {
  static_assert(100_GB / 50_GBps == Seconds{2.0});
  EXPECT_DOUBLE_EQ((Flops{1e15} / 500_TFLOPS).v, 2.0);     // 1e15 / 5e14
  EXPECT_DOUBLE_EQ((100_GB / Seconds{4}).v, 25e9);         // bytes / time = rate
  EXPECT_DOUBLE_EQ((Flops{2e12} / Seconds{4}).v, 0.5e12);  // operations / time = rate
  EXPECT_DOUBLE_EQ((100_GB / 100_GB), 1.0);                // like over like is a plain number
}

TEST(Units, PowerTimesTimeIsEnergy) {
  EXPECT_DOUBLE_EQ((700_W * Seconds{3600}).v, 2.52e6);  // 700 W for an hour: 0.7 kWh = 2.52 MJ
  EXPECT_EQ(700_W * Seconds{2}, Seconds{2} * 700_W);
  EXPECT_DOUBLE_EQ((Joules{1400} / Seconds{2}).v, 700);
}

TEST(Units, SumsKeepTheirUnitAndUnlikeUnitsDoNotMix) {
  EXPECT_EQ(1_GB + 24_B, Bytes{1'000'000'024});
  EXPECT_EQ(2_GB - 1_GB, 1_GB);
  EXPECT_EQ(3 * 2_GB, 6_GB);
  EXPECT_LT(1_GB, 1_GiB);
  static_assert(!Addable<Bytes, Seconds>);
  static_assert(!Addable<Seconds, Picoseconds>);
  static_assert(!Addable<Watts, Joules>);
  static_assert(!Comparable<BytesPerSecond, FlopsPerSecond>);
  static_assert(!std::is_convertible_v<double, Seconds>);
  static_assert(!std::is_convertible_v<Seconds, double>);
}

TEST(Units, PicosecondsRoundUpSoThatNoWorkTakesLessTimeThanItNeeds) {
  EXPECT_EQ(to_picoseconds(Seconds{1.5}), Picoseconds{1'500'000'000'000});
  EXPECT_EQ(to_picoseconds(Seconds{0.25e-12}), Picoseconds{1});
  EXPECT_EQ(to_picoseconds(Seconds{0}), Picoseconds{0});
  EXPECT_EQ(to_nearest_picosecond(Seconds{0.4e-12}), Picoseconds{0});
  EXPECT_EQ(to_nearest_picosecond(Seconds{1.5}), Picoseconds{1'500'000'000'000});
}

TEST(Units, TimesBeyondWhatPicosecondsCountAreForever) {
  // 2^63 ps = 9,223,372.036854775808 s, 106.75 days; doubles there are 1024 ps apart.
  EXPECT_LT(to_picoseconds(Seconds{9.2233720e6}), kForever);
  EXPECT_EQ(to_picoseconds(Seconds{9.2233720e6}).v / 1'000'000'000'000, 9'223'372);
  for (const double t : {9.2233721e6, 1e7, 1e300, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(to_picoseconds(Seconds{t}), kForever) << t;
    EXPECT_EQ(to_nearest_picosecond(Seconds{t}), kForever) << t;
  }
  EXPECT_EQ(to_seconds(Picoseconds{2'000'000}).v, 2e-6);
  EXPECT_EQ(2_us, to_seconds(Picoseconds{2'000'000}));
}

}  // namespace
}  // namespace orrery
