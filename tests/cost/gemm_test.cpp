#include "cost/gemm.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <string>

#include "clusters.h"
#include "core/cluster_json.h"

namespace orrery::cost {
namespace {

TEST(TileUtilisation, CountsRaggedTilesAndTheLastWave) {
  EXPECT_DOUBLE_EQ(tile_utilisation({256, 640, 64, {}}, 10), 1.0);        // 2 x 5 = 10 tiles on 10 SMs: one full wave
  EXPECT_DOUBLE_EQ(tile_utilisation({256, 768, 64, {}}, 10), 12.0 / 20);  // 12 tiles: two waves of 10, 8 slots idle
  EXPECT_DOUBLE_EQ(tile_utilisation({64, 1280, 64, {}}, 10), 0.5);        // 10 tiles, each half full
  EXPECT_DOUBLE_EQ(tile_utilisation({1, 1, 4096, {}}, 10), 1.0 / (10 * 128 * 128));
}

TEST(GemmShape, PutsTheReducedDimensionLast) {
  program::Shape s{program::Operator::linear_forward, DType::bf16};
  s.dims = {1024, 512, 2048};  // tokens, in, out
  EXPECT_EQ(gemm_shape(s), (GemmShape{1024, 2048, 512, Bytes{1024 * 2048 * 2}}));
  s.op = program::Operator::linear_input_grad;
  EXPECT_EQ(gemm_shape(s), (GemmShape{1024, 512, 2048, Bytes{1024 * 512 * 2}}));
  s.op = program::Operator::linear_weight_grad;
  EXPECT_EQ(gemm_shape(s), (GemmShape{2048, 512, 1024, Bytes{2048 * 512 * 4 * 2}}));  // fp32, read and written
  s.op = program::Operator::norm_forward;
  EXPECT_FALSE(gemm_shape(s));
}

TEST(GemmModel, IsOnlyAssumedWhereTheDeviceBorrowsItsShareFromAnotherPart) {
  const GemmModel own = gemm_model(load_device("h100-sxm"), DType::bf16), capped = gemm_model(load_device("h100-sxm-96-500w"), DType::bf16);
  EXPECT_EQ(own.source.grade, Grade::fitted);
  EXPECT_EQ(own.source.sigma, 0.10);
  EXPECT_EQ(capped.source.grade, Grade::assumed);
  EXPECT_EQ(capped.source.sigma, 0.2);
  EXPECT_EQ(capped.share, own.share);
  EXPECT_EQ(gemm_model(load_device("h800-sxm"), DType::bf16).source.grade, Grade::fitted);
}

TEST(GemmTime, AddsTileFillThrottlingEpilogueAndFixedPart) {
  // 2*1280*1280*1000 = 3.2768 GFLOP, 100 tiles on 10 SMs (full waves), 1 + 1000/1000 = 2, share 0.5, 100 TFLOP/s: 131.072 us at full clock.
  // The first 31.072 us run so; the other 100 us at 0.8: 125 us. Half of 20 MB of output at 1 TB/s: 10 us. Fixed part 4 us.
  GemmModel model;
  model.share = 0.5;
  model.k0 = 1000;
  model.sustained = 0.8;
  model.boost = Seconds{31.072e-6};
  model.epilogue = 0.5;
  model.fixed = 4_us;
  EXPECT_NEAR(gemm_time(model, {1280, 1280, 1000, 20_MB}, 100_TFLOPS, round_cluster(1).device).v, 31.072e-6 + 125e-6 + 10e-6 + 4e-6, 1e-15);
}

TEST(GemmTime, FillsTilesInTheSameTimeAtTwiceThePeak) {
  // k0 counts at the 16-bit peak: at twice that peak the same time is worth twice the depth. 3.2768 GFLOP, 1 + 500/1000 at 100 TFLOP/s,
  // 1 + 1000/1000 at 200.
  GemmModel model;
  model.share = 1;
  model.k0 = 500;
  const Device device = round_cluster(1).device;
  EXPECT_NEAR(gemm_time(model, {1280, 1280, 1000, {}}, 100_TFLOPS, device).v, 32.768e-6 * 1.5, 1e-15);
  EXPECT_NEAR(gemm_time(model, {1280, 1280, 1000, {}}, 200_TFLOPS, device).v, 16.384e-6 * 2, 1e-15);
}

RC_GTEST_PROP(GemmTime, IsNeverFasterThanThePeak, ()) {
  const auto dim = rc::gen::inRange<std::int64_t>(1, 20000);
  const GemmShape s{*dim, *dim, *dim, {}};
  Device device = round_cluster(1).device;
  device.name = *rc::gen::element<std::string>("a100", "h100", "b200", "another");
  const double flop = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  RC_ASSERT(gemm_time(gemm_model(device, DType::bf16), s, 100_TFLOPS, device).v >= flop / 100e12);
}

RC_GTEST_PROP(GemmTime, TreatsRowsAndColumnsAlike, ()) {
  const auto dim = rc::gen::inRange<std::int64_t>(1, 20000);
  const GemmShape s{*dim, *dim, *dim, Bytes{1000}};
  const Device device = round_cluster(1).device;
  RC_ASSERT(gemm_time({}, s, 100_TFLOPS, device) == gemm_time({}, {s.n, s.m, s.k, Bytes{1000}}, 100_TFLOPS, device));
}

}  // namespace
}  // namespace orrery::cost
