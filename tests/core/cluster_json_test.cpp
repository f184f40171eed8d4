#include "core/cluster_json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/settings.h"
#include "support/generators.h"

namespace orrery {
namespace {

RC_GTEST_PROP(WriteDevice, IsReadBackAsTheSameDevice, ()) {
  const Device device = gen::device();
  RC_ASSERT(read_device(write_device(device), "device.json") == device);
}

RC_GTEST_PROP(WriteCluster, IsReadBackAsTheSameCluster, ()) {
  const Cluster cluster = gen::cluster();
  RC_ASSERT(read_cluster(write_cluster(cluster), "cluster.json") == cluster);
}

TEST(ClusterText, TakesSettingsBeforeItIsRead) {
  const ClusterText source = cluster_text("dgx-h100:64");
  const std::vector<Setting> settings{parse_setting("levels[1].bandwidth=800 Gb/s"), parse_setting("devices=128")};
  const Cluster c = read_cluster(apply_settings(source.text, source.file, settings), source.file);
  EXPECT_EQ(c.devices, 128);
  EXPECT_EQ(c.levels[1].size, 128);
  EXPECT_EQ(c.levels[1].bandwidth, 100_GBps);
}

TEST(ClusterText, OfThisMachineIsADocumentLikeAnyOther) {
  const Cluster c = this_machine(4);
  EXPECT_EQ(read_cluster(write_cluster(c), "c"), c);
  EXPECT_EQ(load_cluster("this-machine:4"), c);
}

}  // namespace
}  // namespace orrery
