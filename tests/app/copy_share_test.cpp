#include "app/copy_share.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/show.h"
#include "core/profile_json.h"
#include "support/temporary_folder.h"

namespace orrery::app {
namespace {

OperatorMeasurement measured(const char* op, std::vector<std::int64_t> dims, double seconds, std::int64_t footprint) {
  return {op, std::move(dims), DType::bf16, 1, Seconds{seconds}, 0.01, 50, Bytes{footprint}};
}

Profile gpu() {
  Profile p;
  p.device = "NVIDIA H200", p.kind = DeviceKind::gpu, p.part = "h200-sxm";
  p.clock = p.driver = p.date = p.commit = "unknown";
  p.memory_bandwidth = BytesPerSecond{4e12};
  constexpr std::int64_t kNear = 1 << 20, kFar = 1 << 28;
  p.operators = {measured("norm_forward", {16384, 4096}, 80e-6, kFar), measured("norm_forward", {16384, 4096}, 10e-6, kNear),  // in the cache
                 measured("norm_forward", {64, 4096}, 1e-9, kFar),                                                             // small
                 measured("linear_forward", {8192, 8192, 8192}, 1e-3, kFar), measured("residual_forward", {16384, 4096}, 200e-6, kFar)};
  return p;
}

TEST(CopyShares, AreTrafficByTimeAgainstTheCopyAtTheShapeThatMovesMost) {
  const std::vector<CopyShare> all = copy_shares(gpu());
  ASSERT_EQ(all.size(), 2U);  // a product is bound by arithmetic
  const CopyShare& norm = all[0].op == "norm_forward" ? all[0] : all[1];
  const CopyShare& add = all[0].op == "norm_forward" ? all[1] : all[0];
  // x and y in bf16, gamma, one fp32 per row: 4 · 16384 · 4096 + 2 · 4096 + 4 · 16384 bytes in 80 us, of 4 TB/s
  EXPECT_NEAR(norm.share, (4.0 * 16384 * 4096 + 2 * 4096 + 4 * 16384) / 80e-6 / 4e12, 1e-9);
  EXPECT_NEAR(add.share, 3.0 * 2 * 16384 * 4096 / 200e-6 / 4e12, 1e-9);  // two are read, one is written
  EXPECT_EQ(add.op, "residual_forward");
  Profile cpu = gpu();
  cpu.kind = DeviceKind::cpu_core;
  EXPECT_TRUE(copy_shares(cpu).empty());
}

TEST(CopyShares, AreShownInWordsAndInJson) {
  const TemporaryFolder folder;
  const std::string file = folder.write("p.json", write_profile(gpu()));
  const std::string text = show("profile", file);
  EXPECT_NE(text.find("84 % of the copy, below 85"), std::string::npos) << text;  // the norm: 0.839
  EXPECT_NE(text.find("50 % of the copy, below 85"), std::string::npos) << text;
  const nlohmann::json shares = nlohmann::json::parse(show_json("profile", file))["copy_shares"];
  ASSERT_EQ(shares.size(), 2U);
  EXPECT_FALSE(shares[0]["reaches_aim"]);
  EXPECT_GT(shares[0]["bytes_per_s"], 1e12);
}

}  // namespace
}  // namespace orrery::app
