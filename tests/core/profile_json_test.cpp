#include "core/profile_json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/error.h"
#include "support/generators.h"

namespace orrery {
namespace {

constexpr const char* kExample = R"({
  "orrery": "profile/1",
  "device": "AMD EPYC, 2 cores", "date": "2026-11-21", "clock": "2.6 GHz", "driver": "unknown", "commit": "abc",
  "cores": 2, "memory": "24 GiB", "peak": "89 GFLOPS", "memory_bandwidth": "12 GB/s",
  "operators": [
    {"op": "linear_forward", "dims": [128, 256, 512], "dtype": "fp32", "busy": 2, "unit": "s", "median": 1.25e-3, "spread": 0.02, "count": 40}
  ],
  "collectives": [{"op": "all_reduce", "ranks": 2, "bytes": 1048576, "unit": "s", "median": 192e-6, "spread": 0.1, "count": 100}]
})";

TEST(ReadProfile, TakesMeasurementsWithUnitMedianSpreadAndCount) {
  const Profile p = read_profile(kExample, "profile.json");
  EXPECT_EQ(p.device, "AMD EPYC, 2 cores");
  EXPECT_EQ(p.memory, 24_GiB);
  ASSERT_EQ(p.operators.size(), 1U);
  EXPECT_EQ(p.operators[0], (OperatorMeasurement{"linear_forward", {128, 256, 512}, DType::fp32, 2, Seconds{1.25e-3}, 0.02, 40}));
  ASSERT_EQ(p.collectives.size(), 1U);
  EXPECT_EQ(p.collectives[0], (CollectiveMeasurement{"all_reduce", 2, 1_MiB, Seconds{192e-6}, 0.1, 100}));
}

TEST(ReadProfile, TakesTheCacheStateAndWhatWasLeftOutAndNeedsNeither) {
  Profile p = read_profile(kExample, "profile.json");
  EXPECT_EQ(p.operators[0].footprint, Bytes{0});
  EXPECT_EQ(p.issue, Seconds{0});
  EXPECT_TRUE(p.left_out.empty());
  p.operators[0].footprint = 4_MiB;
  p.issue = 2_us;
  p.left_out = {"linear_forward 8x8x8"};
  EXPECT_EQ(read_profile(write_profile(p), "profile.json"), p);
}

TEST(ReadProfile, TakesAnOldDocumentForACpusAndAGpusForWhatItIs) {
  Profile p = read_profile(kExample, "profile.json");
  EXPECT_EQ(p.kind, DeviceKind::cpu_core);
  EXPECT_EQ(p.collectives[0].nodes, 1);
  EXPECT_FALSE(p.transferred);
  p.kind = DeviceKind::gpu, p.part = "h200-sxm";
  p.power = {{"gemm", 650_W, Seconds{0.5}, "linear_forward 8192x8192x8192"}};
  p.device_calls = {{"upload", 1_MiB, Seconds{2e-5}, 0.01, 40}};
  p.states = {{"begin", 1980, 3201, 41, 80_W, {"power cap"}, 0}};
  p.transferred = Transfer{"NVIDIA H200", 0.1, 0.1};
  EXPECT_EQ(read_profile(write_profile(p), "profile.json"), p);
  std::string text = write_profile(p);
  text.replace(text.find("\"upload\""), 8, "\"upward\"");
  EXPECT_THROW(read_profile(text, "profile.json"), Error);
}

TEST(ReadProfile, RefusesABareNumberAndAnUndatedProfile) {
  for (const char* piece : {R"("unit": "s", )", R"("median": 1.25e-3, )", R"("spread": 0.02, )", R"(, "count": 40)", R"("date": "2026-11-21", )",
                            R"("device": "AMD EPYC, 2 cores", )"}) {
    std::string text = kExample;
    const std::size_t at = text.find(piece);
    ASSERT_NE(at, std::string::npos) << piece;
    text.erase(at, std::string(piece).size());
    EXPECT_THROW(read_profile(text, "profile.json"), Error) << piece;
  }
}

RC_GTEST_PROP(WriteProfile, IsReadBackAsTheSameProfile, ()) {
  const Profile profile = gen::profile();
  RC_ASSERT(read_profile(write_profile(profile), "profile.json") == profile);
}

}  // namespace
}  // namespace orrery
