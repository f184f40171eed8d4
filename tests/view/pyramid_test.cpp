// Levels of detail against adding up every stretch.
#include "gui/view/pyramid.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace orrery::view {
namespace {

struct Stretch {
  std::int64_t from = 0, to = 0;
  std::size_t part = 0;
};

struct Made {
  Pyramid pyramid;
  Pyramid::Lane lane;
};

Made make(const std::vector<Stretch>& stretches, std::int64_t bucket) {
  Made made;
  const TimeRange range{Picoseconds{stretches.front().from}, Picoseconds{stretches.back().to}};
  Pyramid::Builder builder(made.pyramid, range, bucket);
  for (const Stretch& s : stretches) builder.add(s.from, s.to, s.part);
  made.lane = builder.finish();
  return made;
}

TEST(Pyramid, ItsFinestBucketsAreThePowerOfTwoAboveWhatIsAsked) {
  const Made made = make({{0, 1000, 0}}, 100);
  EXPECT_EQ(made.lane.finest, 7);  // 128
  // 8 buckets of 128, 4 of 256, 2 of 512
  EXPECT_EQ(made.lane.levels, 3);
}

TEST(Pyramid, ALevelIsTheFinestWhoseBucketsFillAPixel) {
  const Made made = make({{0, 100'000, 0}}, 100);
  EXPECT_EQ(Pyramid::level(made.lane, 50), std::nullopt);  // 128 ps are more than two pixels
  EXPECT_EQ(Pyramid::level(made.lane, 100), 7U);
  EXPECT_EQ(Pyramid::level(made.lane, 129), 8U);
  EXPECT_EQ(Pyramid::level(made.lane, 1e12), made.lane.finest + made.lane.levels - 1U);  // there is no coarser one
  EXPECT_EQ(Pyramid::level({}, 1e12), std::nullopt);
}

TEST(Pyramid, LanesDoNotMeet) {
  Pyramid pyramid;
  const auto lane = [&](std::size_t part) {
    Pyramid::Builder builder(pyramid, {Picoseconds{0}, Picoseconds{1024}}, 128);
    builder.add(0, 1024, part);
    return builder.finish();
  };
  const Pyramid::Lane a = lane(0), b = lane(1);
  std::vector<Column> columns;
  pyramid.columns(b, 7, TimeAxis({Picoseconds{0}, Picoseconds{10'240}}, 80), columns);
  ASSERT_EQ(columns.size(), 1U);  // eight buckets of one mix
  EXPECT_EQ(columns[0].x1 - columns[0].x0, 8);
  EXPECT_EQ(columns[0].mix.dominant(), 1U);
  EXPECT_NE(a.base, b.base);
}

// Every bucket of every level is what overlaps with it, also of negative times.
RC_GTEST_PROP(PyramidLaw, EveryBucketOfEveryLevelIsExact, ()) {
  std::vector<Stretch> stretches;
  std::int64_t at = *rc::gen::inRange<std::int64_t>(-5000, 5000);
  const int count = *rc::gen::inRange(1, 60);
  for (int i = 0; i < count; ++i) {
    const auto [gap, length, part] =
        *rc::gen::tuple(rc::gen::inRange<std::int64_t>(0, 300), rc::gen::inRange<std::int64_t>(1, 700), rc::gen::inRange<std::size_t>(0, kSlots));
    stretches.push_back({at + gap, at + gap + length, part});
    at = stretches.back().to;
  }
  const Made made = make(stretches, *rc::gen::inRange<std::int64_t>(1, 2000));
  for (std::uint32_t level = made.lane.finest; level < made.lane.finest + 0U + made.lane.levels; ++level) {
    const std::int64_t bucket = std::int64_t{1} << level;
    for (std::int64_t b = (stretches.front().from >> level) - 1; b <= (stretches.back().to >> level) + 1; ++b) {
      // An axis shows no less than kClosest: one pixel a bucket, of which the first counts.
      const std::int64_t pixels = TimeAxis::kClosest.v / bucket + 2;
      const TimeRange shown{Picoseconds{b * bucket}, Picoseconds{(b + pixels) * bucket}};
      std::vector<Column> columns;
      made.pyramid.columns(made.lane, level, TimeAxis(shown, static_cast<double>(pixels)), columns);
      const Mix mix = !columns.empty() && columns.front().x0 == 0 ? columns.front().mix : Mix{};
      for (std::size_t s = 0; s < kSlots; ++s) {
        std::int64_t expected = 0;
        for (const Stretch& stretch : stretches)
          if (stretch.part == s) expected += std::max<std::int64_t>(0, std::min(stretch.to, (b + 1) * bucket) - std::max(stretch.from, b * bucket));
        const double share = static_cast<double>(expected) / static_cast<double>(bucket) * 255;
        RC_ASSERT(std::abs(mix.share[s] - share) <= 1.0);
        RC_ASSERT((mix.share[s] > 0) == (expected > 0));
      }
    }
  }
}

}  // namespace
}  // namespace orrery::view
