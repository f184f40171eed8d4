// The fields of a question: all there, in groups, findable, and harmless to set to what they are.
#include "app/fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/plan_json.h"

namespace orrery::app {
namespace {

PlanFlags flags(const std::string& model, const std::string& cluster, std::vector<std::string> settings = {}) {
  PlanFlags f;
  f.model = model;
  f.cluster = cluster;
  f.settings = std::move(settings);
  return f;
}

TEST(Fields, StandInGroupsThatAreNotTornApart) {
  std::set<std::string> seen;
  std::string last;
  for (const EditableField& f : fields(load_inputs(flags("mixtral-8x7b", "dgx-h100:64", {"parallel.tp=2"})))) {
    EXPECT_FALSE(f.group.empty()) << f.field.path;
    EXPECT_FALSE(f.label.empty()) << f.field.path;
    const std::string group = std::to_string(static_cast<int>(f.document)) + f.group;
    EXPECT_TRUE(group == last || seen.insert(group).second) << f.group << " comes again with " << f.field.path;
    last = group;
  }
}

TEST(Fields, AreFoundByPathInEitherForm) {
  const std::vector<EditableField> all = fields(load_inputs(flags("llama-3.1-8b", "dgx-h100:64")));
  const EditableField* nic = find_field(all, "cluster.levels[1].bandwidth");
  ASSERT_NE(nic, nullptr);
  EXPECT_EQ(nic, find_field(all, "cluster.levels.1.bandwidth"));
  EXPECT_TRUE(nic->group.starts_with("Network: "));
  EXPECT_EQ(nic->label, "bandwidth");
  EXPECT_EQ(find_field(all, "parallel.tp")->group, "Parallelism");
  EXPECT_EQ(find_field(all, "schedule")->group, "Pipeline");
  EXPECT_EQ(find_field(all, "schedule_args.group")->label, "group");
  EXPECT_EQ(find_field(all, "cluster.device.memory_bandwidth")->label, "memory bandwidth");
  EXPECT_EQ(find_field(all, "cluster.device.efficiency.gemm.value")->label, "gemm efficiency");
  EXPECT_EQ(find_field(all, "parallel.dp"), nullptr);
  EXPECT_EQ(find_field(all, "cluster.levels.1.source"), nullptr);
}

TEST(Fields, DifferWhereTheyDoNotHaveTheirDefault) {
  const std::vector<EditableField> all = fields(load_inputs(flags("llama-3.1-8b", "dgx-h100:64", {"parallel.tp=4"})));
  EXPECT_TRUE(find_field(all, "parallel.tp")->differs());
  EXPECT_FALSE(find_field(all, "parallel.pp")->differs());
  EXPECT_FALSE(find_field(all, "batch.global")->differs()) << "it must be given";
}

TEST(Fields, MatchWordsInAnyOrderAndCase) {
  const std::vector<EditableField> all = fields(load_inputs(flags("llama-3.1-8b", "dgx-h100:64")));
  EXPECT_TRUE(matches(*find_field(all, "sharding.zero"), "zero"));
  EXPECT_TRUE(matches(*find_field(all, "sharding.zero"), "Optimizer STATE"));
  EXPECT_TRUE(matches(*find_field(all, "schedule"), "dualpipe")) << "a choice of it";
  EXPECT_TRUE(matches(*find_field(all, "cluster.device.memory_bandwidth"), "bandwidth device"));
  EXPECT_FALSE(matches(*find_field(all, "sharding.zero"), "zero latency"));
  EXPECT_TRUE(matches(*find_field(all, "sharding.zero"), ""));
}

TEST(Fields, SetToTheirOwnValueAskTheSame) {
  for (const PlanFlags& f : {flags("mixtral-8x7b", "dgx-h100:64", {"parallel.tp=2", "parallel.ep=4"}), flags("cpu-llama-tiny", "this-machine:2")}) {
    const Inputs inputs = load_inputs(f);
    for (const EditableField& field : fields(inputs)) {
      PlanFlags same = f;
      same.settings.push_back(field.field.path + "=" + field.field.value);
      const Inputs again = load_inputs(same);
      EXPECT_EQ(again.plan, inputs.plan) << same.settings.back();
      EXPECT_EQ(again.cluster, inputs.cluster) << same.settings.back();
      EXPECT_EQ(again.model, inputs.model) << same.settings.back();
    }
  }
}

}  // namespace
}  // namespace orrery::app
