#include "program/size.h"

#include <gtest/gtest.h>

#include "program/compile.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

struct Scheduled {
  const char* name;
  std::int64_t vp;
};
constexpr Scheduled kSchedules[]{{"1f1b", 1},  {"gpipe", 1}, {"interleaved", 2}, {"looped-bfs", 2}, {"seq1f1b", 1},
                                 {"zb-h1", 1}, {"zb-h2", 1}, {"zbv", 2},         {"v-half", 2},     {"dualpipe", 1}};

Size size_of(const Scheduled& schedule, std::int64_t dp, std::int64_t microbatches) {
  Plan p = small_plan(2, 2, dp, microbatches);
  p.schedule = schedule.name, p.parallel.vp = schedule.vp, p.sharding.zero = 1;
  return size(compile(small_gpt2(), small_cluster(p, dp), p));
}

TEST(Size, OfTheTemplatesDoesNotDependOnTheNumberOfMicroBatches) {
  for (const Scheduled& s : kSchedules) {
    const Size few = size_of(s, 2, 16), many = size_of(s, 2, 256);
    EXPECT_EQ(few.templates, many.templates) << s.name;
    // Sixteen times the passes, receives and releases, and one optimizer pass per stage as before; where two passes become one, more of them do.
    const std::size_t optimizer = 2 * sizeof(PassInstance);
    EXPECT_LE(many.order - optimizer, 16 * (few.order - optimizer)) << s.name;
    EXPECT_GT(many.order - optimizer, 14 * (few.order - optimizer)) << s.name;
  }
}

TEST(Size, DoesNotDependOnTheNumberOfRanks) {
  for (const Scheduled& s : kSchedules) {
    const Size one = size_of(s, 2, 16);
    for (const std::int64_t dp : {4, 8, 16}) EXPECT_EQ(size_of(s, dp, 16), one) << s.name << " dp " << dp;
    EXPECT_LE(size_of(s, 1024, 16).templates, one.templates) << s.name;  // these shards are so small that padding makes some alike
  }
}

// 64 layers hold as many instructions as two of 32: each is written out once, in each kind of pass.
TEST(Size, GrowsByTheLayer) {
  const auto templates = [](std::int64_t layers) {
    Model m = small_gpt2();
    m.layers = layers;
    const Plan p = small_plan(1, 1, 1, 4);
    return size(compile(m, small_cluster(p, 1), p)).templates;
  };
  const std::size_t step = templates(64) - templates(32);
  EXPECT_GT(step, 0U);
  // Names of layers 100 and on have a digit more.
  EXPECT_NEAR(static_cast<double>(templates(96) - templates(64)), static_cast<double>(step), 0.01 * static_cast<double>(step));
}

}  // namespace
}  // namespace orrery::program
