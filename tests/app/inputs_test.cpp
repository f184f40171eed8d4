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

// Each flag, and the setting that it is short for.
TEST(LoadInputs, MakesTheSameOfAFlagAndOfItsSetting) {
  const auto same = [](auto flag, std::vector<std::string> settings) {
    PlanFlags f = flags("llama-3.1-8b", "dgx-h100:16");
    flag(f);
    const Inputs a = load_inputs(f), b = load_inputs(flags("llama-3.1-8b", "dgx-h100:16", settings));
    EXPECT_EQ(a.plan, b.plan) << settings.front();
  };
  same([](PlanFlags& f) { f.tp = 8; }, {"parallel.tp=8"});
  same([](PlanFlags& f) { f.cp = 2; }, {"parallel.cp=2"});
  same([](PlanFlags& f) { f.ep = 4; }, {"parallel.ep=4"});
  same([](PlanFlags& f) { f.pp = 2; }, {"plan.parallel.pp=2"});
  same([](PlanFlags& f) { f.micro_batch = 4; }, {"batch.micro=4"});
  same([](PlanFlags& f) { f.sequence = 1000, f.tp = 16; }, {"batch.sequence=1000", "parallel.tp=16"});
  same([](PlanFlags& f) { f.global_batch = 64; }, {"batch.global=64"});
  same([](PlanFlags& f) { f.tp = 4, f.sp = false; }, {"parallel.tp=4", "parallel.sp=false"});
  same([](PlanFlags& f) { f.zero = 1; }, {"sharding.zero=1"});
  same([](PlanFlags& f) { f.schedule = "gpipe"; }, {"schedule=gpipe"});
  same([](PlanFlags& f) { f.recompute = "full"; }, {"recompute.kind=full"});
  same([](PlanFlags& f) { f.pp = 2, f.stages = "15,17"; }, {"parallel.pp=2", "stages=[15,17]"});
  same([](PlanFlags& f) { f.precision = "fp32"; }, {"precision.compute=fp32", "precision.params=fp32"});
}

TEST(LoadInputs, DerivesWhatNobodySaidAfterAllSettings) {
  const auto plan = [](std::vector<std::string> settings) { return load_inputs(flags("llama-3.1-8b", "dgx-h100:16", std::move(settings))).plan; };
  EXPECT_TRUE(plan({"parallel.tp=8"}).parallel.sp);
  EXPECT_FALSE(plan({"parallel.tp=8", "parallel.sp=false"}).parallel.sp);    // said
  EXPECT_FALSE(plan({"parallel.tp=8", "batch.sequence=1001"}).parallel.sp);  // 8 does not divide 1001
  // 16 devices / (tp 4 · pp 2) = 2 replicas of one micro-batch of 4 sequences each.
  EXPECT_EQ(plan({"parallel.tp=4", "parallel.pp=2", "batch.micro=4"}).batch.global, 8);
  EXPECT_EQ(plan({"model.max_position_embeddings=4096"}).batch.sequence, 4096);
  EXPECT_EQ(plan({"cluster=this-machine:2"}).precision.compute, DType::fp32);
}

TEST(LoadInputs, LeavesTheFilesWordOnSequenceParallelismUnlessTpIsOrWasOne) {
  const TemporaryFolder folder;
  PlanFlags f;
  f.plan = folder.write("plan.json", kPlan);  // tp 4 with sp
  const auto sp = [&](std::int64_t tp) {
    f.tp = tp;
    return load_inputs(f).plan.parallel.sp;
  };
  EXPECT_FALSE(sp(1));
  EXPECT_TRUE(sp(2));
  f.plan = folder.write("off.json", R"({"orrery": "plan/1", "model": "llama-3.1-8b", "cluster": "dgx-h100:16",
 "batch": {"global": 64, "sequence": 4096}, "parallel": {"tp": 4, "sp": false}})");
  EXPECT_FALSE(sp(2));
  f.plan = folder.write("one.json", R"({"orrery": "plan/1", "model": "llama-3.1-8b", "cluster": "dgx-h100:16",
 "batch": {"global": 64, "sequence": 4096}})");
  EXPECT_TRUE(sp(2));
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
  // A cluster's document names its device; the fields of the device can be set all the same.
  const Inputs fuller = load_inputs(flags("llama-3.1-8b", "dgx-h100:16", {"cluster.device.memory=40 GB"}));
  EXPECT_EQ(fuller.cluster.device.memory, 40_GB);
  EXPECT_EQ(fuller.cluster.device.peak, plain.cluster.device.peak);
}

// What the compiler refuses, told at what the user typed.
TEST(Compile, TellsARefusalAtTheFlagOrSettingThatGaveTheField) {
  const auto refused = [](const PlanFlags& f) {
    try {
      compile(load_inputs(f));
    } catch (const Error& e) {
      return e.where();
    }
    return std::string("was taken");
  };
  PlanFlags f = flags("llama-3.1-8b", "dgx-h100:24");
  f.tp = 3;
  EXPECT_EQ(refused(f), "--tp (parallel.tp)");  // 3 does not divide 32 heads
  f.settings = {"parallel.tp=6"};
  EXPECT_EQ(refused(f), "--set parallel.tp");  // the setting holds, and not the flag
  f.settings = {"parallel.tp=5"};
  EXPECT_EQ(refused(f), "--set parallel.tp (parallel)");  // 5 ranks do not divide 24 devices
  f.settings = {};
  f.tp = 5;
  f.pp = 7;
  EXPECT_EQ(refused(f), "--tp and --pp (parallel)");
  f.tp = f.pp = 1;
  f.global_batch = 25;
  EXPECT_EQ(refused(f), "--global-batch (batch.global)");
  EXPECT_EQ(refused(flags("gpt-oss-20b", "dgx-h100:8")), "--model");  // attention sinks
  PlanFlags g = flags("llama-3.1-8b", "dgx-h100:8");
  g.schedule = "zb-h3";
  EXPECT_EQ(refused(g), "--schedule");
  g.schedule.reset();
  g.settings = {"parallel={\"tp\": 3}"};
  EXPECT_EQ(refused(g), "--set parallel");
  // From a file, the field keeps its own name.
  const TemporaryFolder folder;
  PlanFlags h;
  h.plan = folder.write("plan.json", R"({"orrery": "plan/1", "model": "llama-3.1-8b", "cluster": "dgx-h100:8",
 "batch": {"global": 4, "sequence": 4096}})");
  EXPECT_EQ(refused(h), "batch.global");
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
