// Published matrix products that were not fitted, against the model.
#include <gtest/gtest.h>

#include <cmath>
#include <span>

#include "core/cluster_json.h"
#include "cost/gemm.h"

namespace orrery::cost {
namespace {

struct Row {
  std::int64_t m, n, k;
  std::int64_t output;  // bytes per element of C that the epilogue moves: 2 written in bf16, 8 where it accumulates in fp32
  double us;
};

struct Errors {
  double mean = 0, bias = 0;
};

Errors errors(std::span<const Row> rows, const Device& device, DType type) {
  Errors e;
  for (const Row& r : rows) {
    const GemmShape shape{r.m, r.n, r.k, Bytes{r.m * r.n * r.output}};
    const double error = gemm_time(gemm_model(device, type), shape, device.peak_of(type), device).v / (r.us * 1e-6) - 1;
    e.mean += std::abs(error) / static_cast<double>(rows.size());
    e.bias += error / static_cast<double>(rows.size());
  }
  return e;
}

// MooreThreads/SimuMax configs/system/a100_pcie.json, every fourth of the 96 shapes of the half that was not fitted, by work.
constexpr Row kA100[] = {
    {4096, 4096, 512, 2, 90.3},     {576, 7168, 4096, 8, 240.9},    {4096, 1024, 4096, 8, 236.2},     {4096, 4096, 1536, 2, 221.3},
    {4096, 4096, 2048, 2, 322.9},   {4096, 1280, 8192, 2, 415.6},   {4096, 7168, 1536, 2, 406.9},     {2560, 8192, 4096, 8, 784.0},
    {4096, 6144, 4096, 2, 921.8},   {8192, 3584, 4096, 8, 1140.8},  {5120, 1536, 24640, 8, 1713.6},   {4096, 4096, 14336, 2, 2089.6},
    {14336, 4096, 4096, 8, 2195.7}, {4096, 8192, 8192, 2, 2385.3},  {4096, 16384, 5120, 2, 2893.3},   {24640, 5120, 3072, 2, 3380.5},
    {4096, 28672, 4096, 2, 4182.4}, {33024, 2048, 7168, 2, 4159.2}, {24576, 5120, 4096, 8, 4610.8},   {4096, 7168, 18432, 2, 4695.2},
    {33024, 4096, 7168, 2, 8280.4}, {64256, 4096, 4096, 8, 9720.8}, {4096, 7168, 129280, 2, 32221.4}, {4096, 128256, 8192, 2, 37048.5}};

// MooreThreads/SimuMax configs/system/b200_bf16_ceperm.json, every sixth of the 267 shapes of the half that was not fitted, by work.
constexpr Row kB200[] = {
    {256, 7168, 4096, 4, 25.5},      {4096, 512, 4096, 8, 15.2},      {576, 7168, 4096, 4, 28.7},       {4096, 1024, 4096, 8, 26.0},
    {2048, 2048, 8192, 2, 70.1},     {4096, 4096, 2048, 2, 47.2},     {1280, 8192, 4096, 8, 73.2},      {1536, 7168, 4096, 4, 91.9},
    {16384, 5120, 576, 2, 99.1},     {2048, 8192, 5120, 2, 165.6},    {4096, 4096, 6144, 2, 144.8},     {8192, 3584, 4096, 4, 245.4},
    {5120, 8192, 4096, 4, 236.9},    {5120, 1536, 24640, 4, 378.0},   {2048, 14336, 8192, 2, 371.7},    {4096, 14336, 4096, 4, 454.4},
    {4096, 5120, 12288, 2, 510.3},   {16384, 5120, 3072, 2, 433.4},   {8192, 8192, 4096, 4, 491.0},     {4096, 16384, 5120, 2, 654.3},
    {3072, 5120, 24640, 4, 637.6},   {16384, 13312, 2048, 8, 860.6},  {7168, 2048, 32768, 8, 962.5},    {32768, 7168, 2048, 2, 884.8},
    {24576, 5120, 4096, 4, 960.4},   {32128, 4096, 4096, 4, 832.6},   {7168, 18432, 4096, 8, 1057.4},   {16384, 24576, 1536, 2, 1086.7},
    {2048, 16384, 26624, 2, 1618.2}, {13312, 16384, 4096, 4, 1591.5}, {4096, 7168, 32768, 8, 1982.4},   {16384, 12288, 5120, 2, 1829.6},
    {64256, 4096, 4096, 8, 2211.6},  {8192, 10240, 16384, 2, 2487.0}, {16384, 10240, 8192, 2, 2574.0},  {6144, 5120, 65536, 8, 4120.1},
    {4096, 16384, 32128, 2, 3752.5}, {65536, 24576, 1536, 2, 4663.3}, {16384, 53248, 4096, 8, 7003.2},  {129280, 7168, 4096, 8, 7536.6},
    {65536, 12288, 5120, 2, 7408.5}, {64128, 16384, 4096, 8, 8449.6}, {5120, 16384, 65536, 8, 10111.5}, {24576, 5120, 65536, 8, 14711.3},
    {32768, 8192, 64128, 2, 32723.6}};

// deepseek-ai/profile-data train.json: input gradients in fp8 on H800, on 112 of 132 SMs; only forward products were fitted.
constexpr Row kH800[] = {
    {4096, 2048, 7168, 2, 126.2}, {4096, 7168, 4096, 2, 240.5}, {4096, 16384, 7168, 2, 927.0}, {4096, 1536, 24576, 2, 332.0},
    {4096, 512, 32768, 2, 220.0}, {4096, 7168, 576, 2, 64.8},   {4096, 7168, 1536, 2, 111.0},
};

TEST(PublishedProducts, OnA100AreMetWithinSixPercentOnAverage) {
  Device device = load_device("a100-80-sxm");  // the PCIe card: the same chip at less power, and its own best shape
  device.memory_bandwidth = 1935_GBps;
  device.efficiency["gemm"] = {0.811, "stas00/ml-engineering compute/accelerator/README.md, A100 PCIe 252.9 of 312"};
  const Errors e = errors(kA100, device, DType::bf16);
  EXPECT_LT(e.mean, 0.06);
  EXPECT_LT(std::abs(e.bias), 0.03);
}

TEST(PublishedProducts, OnB200AreMetWithinTwelvePercentOnAverage) {
  const Errors e = errors(kB200, load_device("b200-sxm"), DType::bf16);
  EXPECT_LT(e.mean, 0.12);
  EXPECT_LT(std::abs(e.bias), 0.05);
}

TEST(PublishedProducts, OfDeepSeekV3OnH800AreMetWithinFivePercentOnAverageSkinnyOnesIncluded) {
  Device device = load_device("h800-sxm");
  device.sms = 112;
  for (auto& [type, peak] : device.peak) peak = peak * (112.0 / 132.0);
  const Errors e = errors(kH800, device, DType::fp8);
  EXPECT_LT(e.mean, 0.05);
  for (const Row& r : kH800) EXPECT_LT(errors({&r, 1}, device, DType::fp8).mean, 0.12) << r.m << " " << r.n << " " << r.k;
}

TEST(PublishedProducts, OfTheLargeSquareOnH200IsMetWithinFivePercent) {
  // 8192 cubed in bf16 on random data: 769 to 798 TFLOP/s over repeated measurements; the middle, 783.5, is 1403 us.
  constexpr Row kSquare[] = {{8192, 8192, 8192, 2, 1403}};
  EXPECT_LT(errors(kSquare, load_device("h200-sxm"), DType::bf16).mean, 0.05);
}

}  // namespace
}  // namespace orrery::cost
