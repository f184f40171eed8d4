#include "core/plan_json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/error.h"
#include "core/settings.h"
#include "support/generators.h"

namespace orrery {
namespace {

// The form that the design document gives.
constexpr const char* kExample = R"({"orrery": "plan/1", "model": "llama-3.1-70b", "cluster": "dgx-h100:64", "preset": null, "seed": 1,
 "batch": {"global": 512, "micro": 1, "sequence": 8192},
 "parallel": {"tp": 8, "sp": true, "cp": 1, "cp_kind": "allgather", "pp": 4, "vp": 5, "ep": 1, "etp": 1, "order": "tp-cp-ep-dp-pp"},
 "schedule": "interleaved", "schedule_args": {"group": null, "splits": null, "csv": null, "overlap_rule": null}, "stages": null, "segments": null, "placement": null,
 "data_parallel": {"kind": "ddp", "bucket_bytes": null, "prefetch": null, "hierarchical": false, "compression": null},
 "sharding": {"zero": 1, "reshard_after_forward": true, "replicas": 1},
 "recompute": {"kind": "selective", "modules": ["core_attn"], "layers": null, "method": null},
 "precision": {"compute": "bf16", "recipe": null, "params": "bf16", "grads": "fp32", "optimizer": "fp32", "param_gather": null},
 "overlap": {"grad_reduce": true, "param_gather": true, "tp": false, "ep": false, "p2p": true},
 "offload": {"activations": false, "optimizer": false, "details": null},
 "moe": {"capacity_factor": null, "drop": false, "load": "balanced", "room": null, "expert_map": null}, "lora": null,
 "runtime": {"framework": "megatron-core", "attention": "flash", "cuda_graphs": false, "compiled": false,
             "moe_dispatcher": null, "moe_balanced": true, "fused_cross_entropy": true},
 "optimizer": {"kind": "adamw", "lr": 3e-4, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0},
 "clocks": null, "checkpoint": {"every_steps": null, "mode": "async"}})";

TEST(ReadPlan, TakesTheExampleOfTheDesign) {
  const Plan p = read_plan(kExample, "plan.json");
  EXPECT_EQ(p.model, "llama-3.1-70b");
  EXPECT_EQ(p.batch, (BatchSpec{512, 1, 8192}));
  EXPECT_EQ(p.parallel.tp, 8);
  EXPECT_TRUE(p.parallel.sp);
  EXPECT_EQ(p.schedule, "interleaved");
  EXPECT_EQ(p.recompute.modules, std::vector<std::string>{"core_attn"});
  EXPECT_EQ(p.precision.compute, DType::bf16);
  EXPECT_EQ(p.optimizer.betas, (std::array<double, 2>{0.9, 0.95}));
  EXPECT_EQ(read_plan(write_plan(p), "written"), p);
}

TEST(ReadPlan, LeavesWhatIsNotGivenAtItsDefault) {
  const Plan p = read_plan(R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}})", "p");
  Plan expected;
  expected.model = "m", expected.cluster = "c";
  expected.batch = {8, 1, 128};
  EXPECT_EQ(p, expected);
}

TEST(ReadPlan, TakesSettingsBeforeItReads) {
  const std::vector<Setting> settings{parse_setting("parallel.tp=4"), parse_setting("schedule=1f1b"), parse_setting("recompute.layers=2")};
  const Plan p = read_plan(apply_settings(kExample, "plan.json", settings), "plan.json");
  EXPECT_EQ(p.parallel.tp, 4);
  EXPECT_EQ(p.schedule, "1f1b");
  EXPECT_EQ(p.recompute.layers, 2);
}

TEST(WritePlan, PutsEachSectionOnItsOwnLine) {
  const std::string text = write_plan(read_plan(kExample, "p"));
  EXPECT_NE(text.find("\n  \"batch\": {\"global\": 512, \"micro\": 1, \"sequence\": 8192},\n"), std::string::npos) << text;
  EXPECT_EQ(text.rfind("{\n  \"orrery\": \"plan/1\",\n", 0), 0U);
}

RC_GTEST_PROP(WritePlan, IsReadBackAsTheSamePlan, ()) {
  const Plan plan = gen::plan();
  RC_ASSERT(read_plan(write_plan(plan), "plan.json") == plan);
}

}  // namespace
}  // namespace orrery
