// From flags, settings and files to the model, the cluster and the plan.
#include "app/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/plan_json.h"
#include "support/temporary_folder.h"

namespace orrery::app {
namespace {

using testing::ElementsAre;

constexpr const char* kPlan =
    R"({"orrery": "plan/1", "model": "llama-3.1-8b", "cluster": "dgx-h100:16",
 "batch": {"global": 64, "micro": 2, "sequence": 4096}, "parallel": {"tp": 4, "sp": true, "pp": 2}, "schedule": "gpipe"})";

PlanFlags flags(const std::string& model, const std::string& cluster, std::vector<std::string> settings = {}) {
  PlanFlags f;
  f.model = model;
  f.cluster = cluster;
  f.settings = std::move(settings);
  return f;
}

// What load_inputs says about flags that it refuses.
std::string refusal(const PlanFlags& f) {
  try {
    load_inputs(f);
  } catch (const Error& e) {
    return e.what();
  }
  return "was taken";
}

TEST(ParseStages, ReadsNumbersAndRepeats) {
  const std::vector<std::int64_t> stages = parse_stages("7,8x14,7");
  ASSERT_EQ(stages.size(), 16U);
  EXPECT_EQ(stages.front(), 7);
  EXPECT_EQ(stages[1], 8);
  EXPECT_EQ(stages[14], 8);
  EXPECT_EQ(stages.back(), 7);
  EXPECT_THAT(parse_stages("4"), ElementsAre(4));
  EXPECT_THAT(parse_stages("2x3"), ElementsAre(2, 2, 2));
}

TEST(ParseStages, RefusesWhatIsNoList) {
  for (const char* text :
       {"", ",", "7,", "7,,8", "x", "7x", "x7", "7,eight", "-7", "7 8", "8x-1", "1.5", "1x2x3", "99999999999999999999", "1x100000000"})
    EXPECT_THROW(parse_stages(text), Error) << text;
}

TEST(LoadInputs, TakesEverythingFromFlags) {
  PlanFlags f = flags("llama-3.1-8b", "dgx-h100:16");
  f.tp = 4;
  f.pp = 2;
  f.global_batch = 64;
  f.micro_batch = 2;
  f.sequence = 4096;
  f.zero = 0;
  f.schedule = "gpipe";
  f.recompute = "full";
  f.stages = "15,17";
  const Inputs in = load_inputs(f);
  EXPECT_EQ(in.model.name, "llama-3.1-8b");
  EXPECT_EQ(in.cluster.devices, 16);
  EXPECT_EQ(in.plan.parallel.tp, 4);
  EXPECT_EQ(in.plan.parallel.pp, 2);
  EXPECT_TRUE(in.plan.parallel.sp);  // on by itself with tp above 1
  EXPECT_EQ(in.plan.batch.global, 64);
  EXPECT_EQ(in.plan.batch.micro, 2);
  EXPECT_EQ(in.plan.batch.sequence, 4096);
  EXPECT_EQ(in.plan.sharding.zero, 0);
  EXPECT_EQ(in.plan.schedule, "gpipe");
  EXPECT_EQ(in.plan.recompute.kind, "full");
  EXPECT_THAT(*in.plan.stages, ElementsAre(15, 17));
}

TEST(LoadInputs, LetsFlagsOverrideThePlanFileAndKeepsTheRestOfIt) {
  const TemporaryFolder folder;
  PlanFlags f;
  f.plan = folder.write("plan.json", kPlan);
  EXPECT_EQ(load_inputs(f).plan, read_plan(kPlan, "plan.json"));
  f.tp = 2;
  f.cluster = "dgx-h100:32";
  const Inputs in = load_inputs(f);
  Plan expected = read_plan(kPlan, "plan.json");
  expected.parallel.tp = 2;
  expected.cluster = "dgx-h100:32";
  EXPECT_EQ(in.plan, expected);
  EXPECT_EQ(in.cluster.devices, 32);
}

TEST(LoadInputs, LetsSettingsOverrideFlags) {
  PlanFlags f = flags("llama-3.1-8b", "dgx-h100:16", {"parallel.tp=2", "plan.schedule=gpipe", "cluster=dgx-a100:8", "optimizer.lr=1e-3"});
  f.tp = 8;
  f.global_batch = 16;
  const Inputs in = load_inputs(f);
  EXPECT_EQ(in.plan.parallel.tp, 2);
  EXPECT_EQ(in.plan.schedule, "gpipe");
  EXPECT_EQ(in.plan.cluster, "dgx-a100:8");
  EXPECT_EQ(in.cluster.devices, 8);
  EXPECT_EQ(in.plan.optimizer.lr, 1e-3);
}

TEST(LoadInputs, SetsFieldsOfTheModelAndOfTheCluster) {
  const Inputs plain = load_inputs(flags("llama-3.1-8b", "dgx-h100:16"));
  const Inputs in = load_inputs(flags("llama-3.1-8b", "dgx-h100:16", {"model.num_hidden_layers=2", "cluster.levels[0].bandwidth=100 GB/s"}));
  EXPECT_EQ(in.model.layers, 2);
  EXPECT_EQ(in.model.name, "llama-3.1-8b");
  Model expected = plain.model;
  expected.layers = 2;
  EXPECT_EQ(in.model, expected);
  EXPECT_EQ(in.cluster.levels[0].bandwidth.v, 100e9);
  EXPECT_EQ(in.cluster.levels[1].bandwidth.v, plain.cluster.levels[1].bandwidth.v);
}

TEST(LoadInputs, ChoosesABatchThatGivesEachReplicaOneMicroBatch) {
  PlanFlags f = flags("llama-3.1-8b", "dgx-h100:16");
  f.tp = 4;
  f.micro_batch = 2;
  // 16 devices / tp 4 = 4 replicas of 2 sequences.
  EXPECT_EQ(load_inputs(f).plan.batch.global, 8);
}

TEST(LoadInputs, ComputesInFp32OnCpuCoresUnlessTold) {
  EXPECT_EQ(load_inputs(flags("cpu-llama-tiny", "this-machine:2")).plan.precision.compute, DType::fp32);
  EXPECT_EQ(load_inputs(flags("cpu-llama-tiny", "dgx-h100:8")).plan.precision.compute, DType::bf16);
}

TEST(LoadInputs, NamesWhatIsMissing) {
  EXPECT_EQ(refusal({}), "--model: no model was named\n  hint: e.g. --model llama-3.1-8b; 'orrery show models' lists the names");
  EXPECT_EQ(refusal(flags("llama-3.1-8b", "")),
            "--cluster: no cluster was named\n  hint: e.g. --cluster dgx-h100:64; 'orrery show clusters' lists the names");
}

TEST(InputsHash, ChangesWithEachDocumentAndWithNothingElse) {
  const Inputs a = load_inputs(flags("llama-3.1-8b", "dgx-h100:16"));
  EXPECT_EQ(inputs_hash(a), inputs_hash(load_inputs(flags("llama-3.1-8b", "dgx-h100:16"))));
  EXPECT_NE(inputs_hash(a), inputs_hash(load_inputs(flags("llama-3.1-70b", "dgx-h100:16"))));
  EXPECT_NE(inputs_hash(a), inputs_hash(load_inputs(flags("llama-3.1-8b", "dgx-h100:16", {"seed=7"}))));
  EXPECT_NE(inputs_hash(a), inputs_hash(load_inputs(flags("llama-3.1-8b", "dgx-h100:16", {"cluster.levels[0].latency=9 us"}))));
}

}  // namespace
}  // namespace orrery::app
