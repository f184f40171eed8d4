#include "profiler/runtime.h"

#include <gtest/gtest.h>

#include <array>

namespace orrery::profiler {
namespace {

TEST(Runtime, MeasuresIssuingAndEveryLoadAtItsShape) {
  std::array<program::Shape, 2> loads;
  loads[0].op = program::Operator::load_tokens;
  loads[0].dims = {1024};
  loads[1].op = program::Operator::load_targets;
  loads[1].dtype = DType::int32;
  loads[1].dims = {64};
  const RuntimeMeasurement m = measure_runtime(loads);
  EXPECT_GT(m.issue.v, 0);
  EXPECT_LT(m.issue.v, 1e-3);
  ASSERT_EQ(m.loads.size(), 2U);
  EXPECT_EQ(m.loads[0].op, "load_tokens");
  EXPECT_EQ(m.loads[0].dims, std::vector<std::int64_t>{1024});
  EXPECT_EQ(m.loads[1].op, "load_targets");
  EXPECT_EQ(m.loads[1].dtype, DType::int32);
  for (const OperatorMeasurement& l : m.loads) {
    EXPECT_GT(l.median.v, 0);
    EXPECT_GE(l.count, 3);
    EXPECT_EQ(l.busy, 1);
  }
}

TEST(Runtime, MeasuresIssuingWithoutLoads) { EXPECT_GT(measure_runtime({}).issue.v, 0); }

}  // namespace
}  // namespace orrery::profiler
