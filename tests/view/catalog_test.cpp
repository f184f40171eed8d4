// What there is to choose from, and pictures of schedules.
#include "gui/view/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/cluster_json.h"
#include "core/model_json.h"
#include "gui/view/schedule_picture.h"

namespace orrery::view {
namespace {

TEST(Catalog, HasEveryShippedModelAndClusterWithItsFacts) {
  const std::vector<CatalogEntry> models = model_catalog(), clusters = cluster_catalog();
  EXPECT_EQ(models.size(), model_names().size());
  EXPECT_EQ(clusters.size(), cluster_names().size());
  EXPECT_THAT(models, testing::Contains(CatalogEntry{"llama-3.1-8b", "8.03 B parameters, 32 layers of 4096, 32 heads (8 of keys)"}));
  EXPECT_EQ(facts(load_model("mixtral-8x7b")), "46.7 B parameters (12.9 B active), 32 layers of 4096, 32 heads (8 of keys), 2 of 8 experts");
  EXPECT_EQ(facts(load_cluster("dgx-h100:64")), "h100-sxm with 79.1 GiB, 8 in a node; nvlink 450 GB/s; infiniband 50 GB/s");
}

TEST(Catalog, NamesWhatIsBetweenTheNodesOfACluster) {
  for (const CatalogEntry& entry : cluster_catalog())
    if (entry.name == "dgx-h100") {
      EXPECT_EQ(entry.facts, facts(load_cluster("dgx-h100:64")));
    }
}

TEST(ClusterName, IsTakenApartAndPutTogetherAgain) {
  EXPECT_EQ(cluster_name("dgx-h100:64"), (ClusterName{"dgx-h100", 64}));
  EXPECT_EQ(cluster_name("dgx-h100"), (ClusterName{"dgx-h100", 0}));
  EXPECT_EQ(cluster_name("my:cluster.json"), (ClusterName{"my:cluster.json", 0}));
  EXPECT_EQ(cluster_specification("dgx-h200", 64), "dgx-h200:64");
  EXPECT_EQ(cluster_specification("dgx-h200", 20), "dgx-h200:24") << "20 are nearer to three nodes of 8 than to two";
  EXPECT_EQ(cluster_specification("dgx-h200", 5), "dgx-h200:5") << "a part of one node";
  EXPECT_EQ(cluster_specification("dgx-h200", 0), "dgx-h200");
}

// 1F1B on 4 ranks with 8 micro-batches: each rank works 8 · (2 + 4) = 48; the makespan is (8 + 3) · 6 = 66, of which 18 are idle.
TEST(SchedulePicture, IsTheReplayOfTheSchedule) {
  Plan plan;
  plan.parallel.pp = 4;
  const SchedulePicture picture = schedule_picture(plan, 8, 4000);
  EXPECT_EQ(picture.fault, "");
  EXPECT_EQ(picture.ranks, 4);
  EXPECT_EQ(picture.microbatches, 8);
  EXPECT_EQ(picture.makespan, 66);
  EXPECT_DOUBLE_EQ(picture.bubble, 18.0 / 66);
  EXPECT_EQ(picture.cells.size(), 4U * 8 * 2);
  for (std::size_t i = 1; i < picture.cells.size(); ++i)
    EXPECT_TRUE(picture.cells[i].rank > picture.cells[i - 1].rank || picture.cells[i].from >= picture.cells[i - 1].to) << i;
}

TEST(SchedulePicture, LeavesOutWhatWouldBeTooSmallAndSaysSo) {
  Plan plan;
  plan.parallel.pp = 4;
  plan.parallel.vp = 5;
  plan.schedule = "interleaved";
  const SchedulePicture picture = schedule_picture(plan, 64, 4 * 72);
  EXPECT_EQ(picture.of, 64);
  EXPECT_EQ(picture.microbatches, 8) << "two rounds of four are the least that shows how it goes on";
  EXPECT_EQ(picture.cells.size(), 4U * 5 * 8 * 2);
}

TEST(SchedulePicture, SaysWhyThereIsNone) {
  Plan plan;
  plan.schedule = "csv";
  EXPECT_NE(schedule_picture(plan, 8).fault, "");
}

// An overlapped pair shares its time: the forward above, the backward below.
TEST(SchedulePicture, HasBothHalvesOfAPair) {
  Plan plan;
  plan.parallel.pp = 4;
  plan.parallel.vp = 2;
  plan.schedule = "dualpipev";
  const SchedulePicture picture = schedule_picture(plan, 10);
  ASSERT_EQ(picture.fault, "");
  const auto above = std::count_if(picture.cells.begin(), picture.cells.end(), [](const ScheduleCell& c) { return c.half == 0; });
  const auto below = std::count_if(picture.cells.begin(), picture.cells.end(), [](const ScheduleCell& c) { return c.half == 1; });
  EXPECT_GT(above, 0);
  EXPECT_EQ(above, below);
}

}  // namespace
}  // namespace orrery::view
