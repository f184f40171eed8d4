#include "cost/gemm.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "clusters.h"

namespace orrery::cost {
namespace {

TEST(TileUtilisation, CountsRaggedTilesAndTheLastWave) {
  EXPECT_DOUBLE_EQ(tile_utilisation({256, 640, 64}, 10), 1.0);        // 2 x 5 = 10 tiles on 10 SMs: one full wave
  EXPECT_DOUBLE_EQ(tile_utilisation({256, 768, 64}, 10), 12.0 / 20);  // 12 tiles: two waves of 10, 8 slots idle
  EXPECT_DOUBLE_EQ(tile_utilisation({64, 1280, 64}, 10), 0.5);        // 10 tiles, each half full
  EXPECT_DOUBLE_EQ(tile_utilisation({1, 1, 4096}, 10), 1.0 / (10 * 128 * 128));
}

TEST(GemmShape, PutsTheReducedDimensionLast) {
  program::Shape s{program::Operator::linear_forward, DType::bf16};
  s.dims = {1024, 512, 2048};  // tokens, in, out
  EXPECT_EQ(gemm_shape(s), (GemmShape{1024, 2048, 512}));
  s.op = program::Operator::linear_input_grad;
  EXPECT_EQ(gemm_shape(s), (GemmShape{1024, 512, 2048}));
  s.op = program::Operator::linear_weight_grad;
  EXPECT_EQ(gemm_shape(s), (GemmShape{2048, 512, 1024}));
  s.op = program::Operator::norm_forward;
  EXPECT_FALSE(gemm_shape(s));
}

TEST(GemmTime, SlowsDownOnceThePowerLimitBites) {
  // 2*1280*1280*1000 = 3.2768 GFLOP, 100 tiles on 10 SMs (full waves), K/(K+1000) = 1/2, share 0.5, 100 TFLOP/s: 131.072 us unthrottled.
  // The first 31.072 us run so; the other 100 us at 0.8: 125 us. Fixed part 4 us.
  GemmModel model;
  model.peak_share = 0.5;
  model.k0 = 1000;
  model.sustained = 0.8;
  model.boost = Seconds{31.072e-6};
  model.fixed = 4_us;
  EXPECT_NEAR(gemm_time(model, {1280, 1280, 1000}, 100_TFLOPS, 10).v, 31.072e-6 + 125e-6 + 4e-6, 1e-15);
}

RC_GTEST_PROP(GemmTime, IsNeverFasterThanThePeak, ()) {
  const auto dim = rc::gen::inRange<std::int64_t>(1, 20000);
  const GemmShape s{*dim, *dim, *dim};
  const Cluster c = round_cluster(1);
  const double flop = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  RC_ASSERT(gemm_time(gemm_model(c.device), s, 100_TFLOPS, c.device.sms).v >= flop / 100e12);
}

RC_GTEST_PROP(GemmTime, TreatsRowsAndColumnsAlike, ()) {
  const auto dim = rc::gen::inRange<std::int64_t>(1, 20000);
  const GemmShape s{*dim, *dim, *dim};
  RC_ASSERT(gemm_time({}, s, 100_TFLOPS, 132) == gemm_time({}, {s.n, s.m, s.k}, 100_TFLOPS, 132));
}

}  // namespace
}  // namespace orrery::cost
