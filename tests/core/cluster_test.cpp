#include "core/cluster.h"

#include <gtest/gtest.h>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/quantity_text.h"

namespace orrery {
namespace {

TEST(Device, PeakFallsBackToTheTypeThatRunsInItsPlace) {
  Device d;
  d.peak = {{DType::fp16, 125_TFLOPS}, {DType::fp32, 15_TFLOPS}};
  EXPECT_EQ(d.peak_of(DType::bf16), 125_TFLOPS);
  EXPECT_EQ(d.peak_of(DType::fp16), 125_TFLOPS);
  EXPECT_EQ(d.peak_of(DType::tf32), 15_TFLOPS);
  EXPECT_EQ(d.peak_of(DType::fp8).v, 0);
}

TEST(Cluster, DevicesMeetAtTheInnermostLevelThatHoldsThemBoth) {
  const Cluster c = load_cluster("dgx-h100:32");
  ASSERT_EQ(c.levels.size(), 2U);
  EXPECT_EQ(c.level_between(0, 7), 0U);  // one node of 8
  EXPECT_EQ(c.level_between(7, 8), 1U);  // the next node
  EXPECT_EQ(c.level_between(24, 31), 0U);
  EXPECT_EQ(c.level_between(0, 31), 1U);
}

TEST(LoadCluster, TakesTheCompactForm) {
  const Cluster c = load_cluster("dgx-h100:2048");
  EXPECT_EQ(c.devices, 2048);
  EXPECT_EQ(c.node_size, 8);
  EXPECT_EQ(c.levels.back().size, 2048);
  EXPECT_EQ(c.levels.back().bandwidth, 50_GBps);  // 400 Gb/s
  EXPECT_EQ(c.device.name, "h100-sxm");
  EXPECT_EQ(c.device.peak_of(DType::bf16), FlopsPerSecond{989.5e12});
  EXPECT_EQ(load_cluster("dgx-h100").devices, 8);
  EXPECT_EQ(load_cluster("h800-deepseek").devices, 2048);
}

TEST(LoadCluster, WithinOneNodeThereIsNoOuterNetwork) {
  const Cluster c = load_cluster("dgx-h100:4");
  EXPECT_EQ(c.devices, 4);
  ASSERT_EQ(c.levels.size(), 1U);
  EXPECT_EQ(c.levels[0].name, "nvlink");
  EXPECT_EQ(c.levels[0].size, 8);  // the domain that the four lie in
}

TEST(LoadCluster, ASizeGivenAsASettingBringsTheOuterNetworkBack) {
  const std::vector<Setting> settings{parse_setting("devices=64")};
  const Cluster c = load_cluster("dgx-h100:4", settings);
  ASSERT_EQ(c.levels.size(), 2U);
  EXPECT_EQ(c.levels[0].size, 8);
  EXPECT_EQ(c.levels[1].size, 64);
  EXPECT_EQ(c, load_cluster("dgx-h100:64"));
}

TEST(LoadCluster, SaysWhichSizesFillWholeNodes) {
  try {
    load_cluster("dgx-h100:60");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "cluster dgx-h100:60: 60 devices do not fill whole nodes of 8\n  hint: the nearest sizes are 56 and 64");
  }
  for (const char* bad :
       {"dgx-h100:0", "dgx-h100:-8", "dgx-h100:8.5", "dgx-h100:", "dgx-h100:99999999999999999999", "", ":", ":8", "../dgx-h100:8", "no/such.json"}) {
    EXPECT_THROW(load_cluster(bad), Error) << bad;
  }
  try {
    load_cluster("dgx-h10:64");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "cluster dgx-h10:64: is not known\n  hint: did you mean 'dgx-h100'?");
  }
}

TEST(LoadCluster, ThisMachineSharesCoresAndMemoryAmongItsRanks) {
  const Cluster one = load_cluster("this-machine:1"), many = load_cluster("this-machine:8");
  EXPECT_EQ(many.devices, 8);
  EXPECT_EQ(many.node_size, 8);
  EXPECT_GE(many.shared_cores, 1);
  EXPECT_EQ(many.shared_cores, one.shared_cores);
  EXPECT_EQ(many.device.kind, DeviceKind::cpu_core);
  EXPECT_GT(many.device.peak_of(DType::fp32).v, 0);
  EXPECT_EQ(many.device.peak_of(DType::fp32), one.device.peak_of(DType::fp32));
  EXPECT_NEAR(static_cast<double>(many.device.memory.v), static_cast<double>(one.device.memory.v) / 8, 1);
  EXPECT_EQ(load_cluster("this-machine").devices, one.shared_cores);
}

TEST(Topologies, EveryShippedFileIsReadAndEveryFigureHasASource) {
  const std::vector<std::string> devices = device_names();
  EXPECT_GE(devices.size(), 13U);
  for (const std::string& name : devices) {
    const Device d = load_device(name);
    EXPECT_EQ(d.name, name);
    for (const char* field : {"peak", "memory", "memory_bandwidth", "sms", "idle_power", "tdp", "launch"}) {
      EXPECT_EQ(d.sources.count(field), 1U) << name << " " << field;
    }
    EXPECT_EQ(d.efficiency.count("gemm"), 1U) << name;
    EXPECT_EQ(d.efficiency.count("memory"), 1U) << name;
  }
  const std::vector<std::string> clusters = cluster_names();
  EXPECT_GE(clusters.size(), 15U);
  for (const std::string& name : clusters) {
    const Cluster c = load_cluster(name);
    EXPECT_EQ(c.name, name);
    EXPECT_GE(c.levels.size(), 1U) << name;
  }
}

TEST(Topologies, FiguresAreThoseOfTheirDatasheets) {
  // The trace's device record; 84 943 110 144 B is 79.1 GiB of a nominal 80.
  EXPECT_EQ(format_bytes(load_device("h100-sxm").memory), "79.1 GiB");
  EXPECT_EQ(load_device("h100-sxm").memory_bandwidth, 3350_GBps);
  EXPECT_EQ(load_device("a100-80-sxm").peak_of(DType::bf16), 312_TFLOPS);
  EXPECT_EQ(load_device("v100-sxm2").peak_of(DType::bf16), 125_TFLOPS);  // fp16 in its place
  const Cluster rack = load_cluster("gb200-nvl72:144");
  EXPECT_EQ(rack.level_between(0, 71), 0U);
  EXPECT_EQ(rack.level_between(71, 72), 1U);
  EXPECT_EQ(load_cluster("gb300-nvl64:256").devices, 256);
}

}  // namespace
}  // namespace orrery
