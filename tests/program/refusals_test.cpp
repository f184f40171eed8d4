#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"
#include "program/compile.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

struct Case {
  const char* constraint;
  const char* field;
  const char* reason;
  const char* hint;
  std::function<void(Model&, Cluster&, Plan&)> change;
};

void with_experts(Model& m, Plan& p) {
  m.moe = Moe{};
  m.moe->experts = 8, m.moe->experts_per_token = 2, m.moe->intermediate = 8;
  p.parallel.sp = true;
}

// From a legal plan: tp 2, pp 2, dp 2, sequence 8, micro 1, global 8, on 8 devices; 4 layers, 8 heads, 4 kv_heads, intermediate 24.
const Case kCases[] = {
    {"tp divides kv_heads", "parallel.tp", "tp 8 does not divide 4 kv_heads", "nearest legal: 4",
     [](Model&, Cluster& c, Plan& p) { p.parallel.tp = 8, c.devices = 32; }},
    {"tp divides heads", "parallel.tp", "tp 3 does not divide 8 heads", "nearest legal: 2 or 4",
     [](Model&, Cluster& c, Plan& p) { p.parallel.tp = 3, c.devices = 12; }},
    {"tp divides intermediate", "parallel.tp", "tp 2 does not divide 25 intermediate", "nearest legal: 1",
     [](Model& m, Cluster&, Plan&) { m.intermediate = 25; }},
    {"tp divides sequence", "parallel.tp", "tp 4 does not divide 6 sequence", "nearest legal: 2",
     [](Model&, Cluster& c, Plan& p) { p.parallel.tp = 4, p.parallel.sp = true, p.batch.sequence = 6, c.devices = 16; }},
    {"sp needs tp", "parallel.sp", "sequence parallelism needs tp > 1, and tp is 1", "use sp false, or tp 2 or more",
     [](Model&, Cluster& c, Plan& p) { p.parallel.tp = 1, p.parallel.sp = true, c.devices = 4; }},
    {"overlapped tensor parallelism needs sp", "overlap.tp", "overlap.tp takes linears apart by the rows that sp shards, and sp is off",
     "use sp true, or overlap.tp false", [](Model&, Cluster&, Plan& p) { p.overlap.tp = true; }},
    {"post-validation needs stages", "optimizer.post_validation", "one stage knows the norm of all gradients at once", "use false, or pp 2 or more",
     [](Model&, Cluster& c, Plan& p) { p.parallel.pp = 1, c.devices = 4, p.optimizer.post_validation = true; }},
    {"post-validation is of synchronous schedules", "optimizer.post_validation", "schedule 'pipedream' has no norm of all stages to validate",
     "use false",
     [](Model&, Cluster&, Plan& p) { p.schedule = "pipedream", p.optimizer.clip = 0, p.sharding.zero = 0, p.optimizer.post_validation = true; }},
    {"not built yet: schedule 'interleaved' with post-validation on ranks of several stages", "optimizer.post_validation",
     "not built yet: schedule 'interleaved' with post-validation on ranks of several stages",
     "use false, or a schedule of one stage per rank: 1f1b, gpipe, zb-h1, zb-h2, zb-auto, seq1f1b",
     [](Model&, Cluster&, Plan& p) { p.schedule = "interleaved", p.parallel.vp = 2, p.optimizer.post_validation = true; }},
    {"not built yet: multi-token prediction with LayerNorm", "model", "not built yet: multi-token prediction with LayerNorm",
     "'orrery show models' says which can be simulated", [](Model& m, Cluster&, Plan&) { m.mtp_layers = 1, m.norm = Normalization::layernorm; }},
    {"not built yet: multi-token prediction with learned positions", "model", "not built yet: multi-token prediction with learned positions",
     "'orrery show models' says which can be simulated",
     [](Model& m, Cluster&, Plan&) { m.mtp_layers = 1, m.position = PositionEmbedding::learned, m.max_positions = 8; }},
    {"not built yet: multi-token prediction with a norm of the embedding", "model",
     "not built yet: multi-token prediction with a norm of the embedding", "'orrery show models' says which can be simulated",
     [](Model& m, Cluster&, Plan&) { m.mtp_layers = 1, m.embedding_norm = true; }},
    {"not built yet: multi-token prediction with a parallel block", "model", "not built yet: multi-token prediction with a parallel block",
     "'orrery show models' says which can be simulated", [](Model& m, Cluster&, Plan&) { m.mtp_layers = 1, m.parallel_block = true; }},
    {"at most 127 prediction modules", "model", "128 prediction modules are more than 127", "use a model with fewer",
     [](Model& m, Cluster&, Plan&) { m.mtp_layers = 128; }},
    {"asynchronous stages share no weights", "schedule",
     "schedule 'pipedream' would update the two copies of the embedding that prediction modules share at different times",
     "use a synchronous schedule, or an untied model without prediction modules",
     [](Model& m, Cluster&, Plan& p) { m.mtp_layers = 1, p.schedule = "pipedream", p.optimizer.clip = 0, p.sharding.zero = 0; }},
    {"devices divide into replicas", "parallel", "tp 2 x cp 1 x pp 2 = 4 ranks do not divide 6 devices", "use 4 or 8 devices, or other axes",
     [](Model&, Cluster& c, Plan&) { c.devices = 6; }},
    {"devices divide into replicas", "parallel", "tp 2 x cp 1 x pp 2 = 4 ranks do not divide 3 devices",
     "use at most 3 ranks per replica, or more devices", [](Model&, Cluster& c, Plan&) { c.devices = 3; }},
    {"micro-batches divide the global batch", "batch.global", "global batch 9 is no multiple of micro 2 x dp 2 = 4", "nearest legal: 8 or 12",
     [](Model&, Cluster&, Plan& p) { p.batch.global = 9, p.batch.micro = 2; }},
    {"micro-batches divide the global batch", "batch.global", "global batch 1 is no multiple of micro 1 x dp 2 = 2", "nearest legal: 2",
     [](Model&, Cluster&, Plan& p) { p.batch.global = 1; }},
    {"at most 65535 micro-batches", "batch.global", "65536 micro-batches per rank are more than 65535", "use a larger micro-batch",
     [](Model&, Cluster&, Plan& p) { p.batch.global = 131072; }},
    {"a layer per stage", "parallel.pp", "pp 8 x vp 1 = 8 stages for 4 layers",
     "use at most 4 stages, or say where the layers are: the first and the last stage may hold none",
     [](Model&, Cluster& c, Plan& p) { p.parallel.pp = 8, c.devices = 32; }},
    {"stages has one entry per stage", "stages", "stages has 3 entries, pp 2 x vp 1 needs 2", "write 2 numbers, or null",
     [](Model&, Cluster&, Plan& p) {
       p.stages = {{1, 1, 2}};
     }},
    {"a layer per stage", "stages", "each stage holds 1 to 4 layers, the first and the last 0 or more", "write such numbers, or null",
     [](Model&, Cluster&, Plan& p) {
       p.stages = {{5, -1}};
     }},
    {"stages hold all layers", "stages", "stages add up to 3 layers, the model has 4", "add 1 to the entries, or write null",
     [](Model&, Cluster&, Plan& p) {
       p.stages = {{2, 1}};
     }},
    {"positions cover the sequence", "batch.sequence", "sequence 128 is longer than the 64 learned positions", "use at most 64",
     [](Model& m, Cluster&, Plan& p) { m.position = PositionEmbedding::learned, p.batch.sequence = 128; }},
    {"order names each axis once", "parallel.order", "'tp-cp-ep-dp' is not an order of tp, cp, ep, dp and pp",
     "write each axis once, fastest-varying first: tp-cp-ep-dp-pp", [](Model&, Cluster&, Plan& p) { p.parallel.order = "tp-cp-ep-dp"; }},
    {"cp kind is known", "parallel.cp_kind", "'p2a' is not a kind of context parallelism", "did you mean 'p2p'?",
     [](Model&, Cluster& c, Plan& p) { p.parallel.cp = 2, p.parallel.cp_kind = "p2a", c.devices = 16; }},
    {"heads divide among the ranks that exchange them", "parallel.cp", "8 ranks cannot share 4 query and 2 key heads (of each of tp 2)",
     "nearest legal: 4", [](Model&, Cluster& c, Plan& p) { p.parallel.cp = 8, p.parallel.cp_kind = "a2a", p.batch.sequence = 64, c.devices = 64; }},
    {"cp_inner divides cp", "parallel.cp_inner", "cp_inner 3 does not divide cp 4", "nearest legal: 2 or 4",
     [](Model&, Cluster& c, Plan& p) { p.parallel.cp = 4, p.parallel.cp_kind = "a2a+p2p", p.parallel.cp_inner = 3, c.devices = 32; }},
    {"the context's chunks divide the sequence", "batch.sequence", "sequence 12 is no multiple of 8: cp 4 ranks of two chunks",
     "use a sequence that is a multiple of 8", [](Model&, Cluster& c, Plan& p) { p.parallel.cp = 4, p.batch.sequence = 12, c.devices = 32; }},
    {"splits divide the sequence", "schedule_args.splits", "sequence 8 does not divide into 3 splits of whole rows",
     "use a sequence that is a multiple of 3", [](Model&, Cluster&, Plan& p) { p.schedule = "seq1f1b", p.schedule_args.splits = 3; }},
    {"splits need causal attention", "schedule", "schedule 'seq1f1b' runs a sequence's splits one after the other, but small attends forwards too",
     "use another schedule", [](Model& m, Cluster&, Plan& p) { p.schedule = "seq1f1b", m.causal = false; }},
    {"not built yet: schedule 'seq1f1b' with keys passed around a ring", "parallel.cp_kind",
     "not built yet: schedule 'seq1f1b' with keys passed around a ring", "use allgather or a2a",
     [](Model&, Cluster& c, Plan& p) {
       p.schedule = "seq1f1b", p.parallel.cp = 2, p.parallel.cp_kind = "p2p", p.batch.sequence = 16, c.devices = 16;
     }},
    {"parallel.pp is positive", "parallel.pp", "parallel.pp is 0, not a positive number", "write 1 or more",
     [](Model&, Cluster&, Plan& p) { p.parallel.pp = 0; }},
    {"parallel.tp is at most 2^20", "parallel.tp", "parallel.tp is 4611686018427387904, beyond 1048576", "write less",
     [](Model&, Cluster&, Plan& p) { p.parallel.tp = std::int64_t{1} << 62U; }},
    {"sizes can be counted", "batch", "4e+18 tokens of width 50 are more than can be counted", "write less",
     [](Model&, Cluster&, Plan& p) { p.batch.sequence = 4'000'000'000'000'000'000; }},
    {"at most 800 layers per stage", "parallel.pp", "2000 layers on pp 2 are more than 800 per stage", "use more stages",
     [](Model& m, Cluster&, Plan&) { m.layers = 2000; }},
    {"schedule is built", "schedule", "not built yet: schedule '1f2b'", "did you mean '1f1b'?",
     [](Model&, Cluster&, Plan& p) { p.schedule = "1f2b"; }},
    {"recompute kind is known", "recompute.kind", "'ful' is not a kind of recomputation", "did you mean 'full'?",
     [](Model&, Cluster&, Plan& p) { p.recompute.kind = "ful"; }},
    {"not built yet: selective recomputation", "recompute.kind", "not built yet: selective recomputation", "use none or full",
     [](Model&, Cluster&, Plan& p) { p.recompute.kind = "selective"; }},
    {"zero is 0 to 3", "sharding.zero", "there is no ZeRO stage 4", "use zero 0, 1, 2 or 3", [](Model&, Cluster&, Plan& p) { p.sharding.zero = 4; }},
    {"replicas divide dp", "sharding.replicas", "3 replicas of the shards do not divide dp 2", "nearest legal: 2",
     [](Model&, Cluster&, Plan& p) { p.sharding.zero = 1, p.sharding.replicas = 3; }},
    {"replicas are of shards", "sharding.replicas", "2 copies of the shards, and sharding.zero 0 makes none", "use 1, or sharding.zero 1, 2 or 3",
     [](Model&, Cluster&, Plan& p) { p.sharding.replicas = 2; }},
    {"not built yet: data-parallel kind 'local-sgd'", "data_parallel.kind", "not built yet: data-parallel kind 'local-sgd'",
     "use ddp, fsdp, horovod, parameter-server or priority", [](Model&, Cluster&, Plan& p) { p.data_parallel.kind = "local-sgd"; }},
    {"fsdp shards parameters", "data_parallel.kind", "fsdp shards parameters, and sharding.zero is 0",
     "use sharding.zero 3, or data_parallel.kind ddp", [](Model&, Cluster&, Plan& p) { p.data_parallel.kind = "fsdp"; }},
    {"its kind reduces whole gradients", "data_parallel.kind", "'horovod' reduces whole gradients, and sharding.zero is 1",
     "use sharding.zero 0, or data_parallel.kind ddp", [](Model&, Cluster&, Plan& p) { p.data_parallel.kind = "horovod", p.sharding.zero = 1; }},
    {"hierarchical reductions are of whole gradients", "data_parallel.hierarchical",
     "a reduction in two levels is of whole gradients, and sharding.zero is 2",
     "use sharding.replicas, which scatters inside a group and adds up across groups",
     [](Model&, Cluster&, Plan& p) { p.data_parallel.hierarchical = true, p.sharding.zero = 2; }},
    {"servers are one level", "data_parallel.hierarchical", "parameter servers add up for all ranks alike",
     "use hierarchical false, or data_parallel.kind ddp",
     [](Model&, Cluster&, Plan& p) { p.data_parallel.hierarchical = true, p.data_parallel.kind = "parameter-server"; }},
    {"only sharded parameters are gathered ahead", "data_parallel.prefetch", "gathers ahead of their use are of sharded parameters, overlapped",
     "use sharding.zero 3 and overlap.param_gather, or leave it null", [](Model&, Cluster&, Plan& p) { p.data_parallel.prefetch = 1; }},
    {"only sharded parameters have a rate limit", "data_parallel.rate_limit", "the limit is one of gathers of sharded parameters",
     "use sharding.zero 3, or leave it null", [](Model&, Cluster&, Plan& p) { p.data_parallel.rate_limit = 2; }},
    {"rate limit leaves room for what is gathered ahead", "data_parallel.rate_limit",
     "1 units gathered or in use are fewer than one in use and 1 gathered ahead", "use data_parallel.prefetch + 1 or more",
     [](Model&, Cluster&, Plan& p) { p.data_parallel.rate_limit = 1, p.sharding.zero = 3; }},
    {"servers are of the parameter-server kind", "data_parallel.servers", "'ddp' has no servers",
     "use data_parallel.kind parameter-server, or leave it null", [](Model&, Cluster&, Plan& p) { p.data_parallel.servers = 2; }},
    {"a cycle is Horovod's", "data_parallel.cycle", "'ddp' has no cycle", "use data_parallel.kind horovod, or leave it null",
     [](Model&, Cluster&, Plan& p) { p.data_parallel.cycle = 0.001; }},
    {"a cycle needs times", "data_parallel.cycle", "when gradients are ready is not known",
     "say in data_parallel.backward how many seconds a backward pass takes, as a simulation shows it",
     [](Model&, Cluster&, Plan& p) { p.data_parallel.kind = "horovod", p.data_parallel.cycle = 0.001; }},
    {"times are for an order in time", "data_parallel.backward", "'ddp' does not depend on times", "leave it null",
     [](Model&, Cluster&, Plan& p) { p.data_parallel.backward = 1; }},
    {"the time of reductions orders them by priority", "data_parallel.reduction",
     "it orders reductions by priority, together with data_parallel.backward", "use kind priority and give both times, or leave it null",
     [](Model&, Cluster&, Plan& p) { p.data_parallel.kind = "priority", p.data_parallel.reduction = 1; }},
    {"schedule takes the plan", "parallel.vp", "schedule '1f1b' has no model chunks: every rank holds one stage", "use 1 chunk",
     [](Model&, Cluster&, Plan& p) { p.parallel.vp = 2; }},
    {"expert parallelism needs experts", "parallel.ep", "small has no experts to spread over 2 ranks", "use 1",
     [](Model&, Cluster&, Plan& p) { p.parallel.ep = 2; }},
    {"ep divides experts", "parallel.ep", "ep 4 does not divide 6 experts", "nearest legal: 3 or 6",
     [](Model& m, Cluster&, Plan& p) { with_experts(m, p), m.moe->experts = 6, p.parallel.ep = 4; }},
    {"experts fold into the ranks of a stage", "parallel.ep", "etp 2 x ep 8 = 16 does not divide the tp 2 x cp 1 x dp 2 = 4 ranks of a stage",
     "use fewer ranks for experts, or more devices", [](Model& m, Cluster&, Plan& p) { with_experts(m, p), p.parallel.ep = 8, p.parallel.etp = 2; }},
    {"experts under tp need sp", "parallel.sp", "with tp and without sp every rank of a group would route all of its tokens again", "use sp true",
     [](Model& m, Cluster&, Plan& p) { with_experts(m, p), p.parallel.sp = false; }},
    {"tokens are dropped beyond a capacity", "moe.drop", "tokens are dropped, but no capacity says when",
     "give moe.capacity_factor, or write drop false", [](Model&, Cluster&, Plan& p) { p.moe.drop = true; }},
    {"moe.expert_map is known", "moe.expert_map", "'any' is not a map of experts", "known: linear, round-robin, file:PATH, places:LINES",
     [](Model& m, Cluster&, Plan& p) { with_experts(m, p), p.moe.expert_map = "any"; }},
    {"experts' loads and places fit the model", "moe.expert_map", "it places 2 experts, the model has 8", "write a number for each expert",
     [](Model& m, Cluster&, Plan& p) { with_experts(m, p), p.moe.expert_map = "places:* 0 1"; }},
    {"experts' loads and places fit the model", "moe.load", "the recorded load counts 2 experts, the model has 8", "record it with the same model",
     [](Model& m, Cluster&, Plan& p) { with_experts(m, p), p.runtime.moe_balanced = false, p.moe.load = "counts:* 3 1"; }},
    {"groups of experts are on places of their own", "moe.expert_map",
     "how many nodes a token goes to is known only where each of the router's groups of experts has its own", "leave moe.expert_map null",
     [](Model& m, Cluster&, Plan& p) {
       with_experts(m, p), m.moe->router_groups = 4, m.moe->router_topk_groups = 2;
       p.moe.expert_map = "round-robin", p.runtime.moe_dispatcher = "hierarchical";
     }},
    {"room is for routers that are free", "moe.room", "a router that is forced to balance says how many rows there are", "leave moe.room null",
     [](Model& m, Cluster&, Plan& p) { with_experts(m, p), p.moe.room = "load"; }},
    {"not built yet: the dispatcher 'deepep'", "runtime.moe_dispatcher", "not built yet: the dispatcher 'deepep'",
     "use alltoall, hierarchical or allgather", [](Model& m, Cluster&, Plan& p) { with_experts(m, p), p.runtime.moe_dispatcher = "deepep"; }},
    {"not built yet: gated shared experts", "model", "not built yet: gated shared experts", "'orrery show models' says which can be simulated",
     [](Model& m, Cluster&, Plan& p) { with_experts(m, p), m.moe->shared_gate = true; }},
    {"not built yet: offloading", "offload", "not built yet: offloading", "leave offload out",
     [](Model&, Cluster&, Plan& p) { p.offload.optimizer = true; }},
    {"not built yet: checkpoints where plans are compared, whose steps are predicted without them", "checkpoint.every_steps",
     "not built yet: checkpoints where plans are compared, whose steps are predicted without them",
     "leave checkpoint.every_steps null; orrery simulate says what they take, orrery run makes them",
     [](Model&, Cluster&, Plan& p) { p.checkpoint.every_steps = 100; }},
    {"built types of precision.compute", "precision.compute", "not built yet: 4-bit precision.compute", "use fp8, bf16, fp16, tf32 or fp32",
     [](Model&, Cluster&, Plan& p) { p.precision.compute = DType::fp4; }},
    {"fp8 has a recipe", "precision.recipe", "numbers of 8 bits need scales, and no recipe says which",
     "use delayed, current or blockwise (what is not a linear inside a layer runs in bf16)",
     [](Model&, Cluster&, Plan& p) { p.precision.compute = DType::fp8; }},
    {"a recipe is of fp8", "precision.recipe", "a recipe says how 8-bit numbers are scaled, and precision.compute is fp32",
     "use precision.compute fp8, or leave precision.recipe null", [](Model&, Cluster&, Plan& p) { p.precision.recipe = "delayed"; }},
    {"not built yet: recipe 'mxfp8', which needs Blackwell", "precision.recipe", "not built yet: recipe 'mxfp8', which needs Blackwell",
     "use delayed, current or blockwise", [](Model&, Cluster&, Plan& p) { p.precision.compute = DType::fp8, p.precision.recipe = "mxfp8"; }},
    {"not built yet: experts in fp8", "precision.compute", "not built yet: experts in fp8", "use bf16",
     [](Model& m, Cluster&, Plan& p) { with_experts(m, p), p.precision.compute = DType::fp8, p.precision.recipe = "blockwise"; }},
    {"fp8 products have sizes that are multiples of 16", "parallel.tp",
     "the feed-forward's width is 20 on a rank, and products in fp8 take multiples of 16",
     "use another tp, micro-batch or sequence, or precision.compute bf16",
     [](Model& m, Cluster&, Plan& p) { m.intermediate = 40, p.precision.compute = DType::fp8, p.precision.recipe = "current"; }},
    {"epilogues have no gate", "runtime.fused_epilogues", "small's feed-forward has a gate, which no product ends with", "use false",
     [](Model&, Cluster&, Plan& p) { p.runtime.fused_epilogues = true; }},
    {"updates of bf16 are rounded at random", "optimizer.stochastic_rounding",
     "updates are rounded at random where parameters are bf16, and precision.params is fp32",
     "use precision.params bf16, or stochastic_rounding false",
     [](Model&, Cluster&, Plan& p) { p.precision.params = DType::fp32, p.optimizer.stochastic_rounding = true; }},
    {"not built yet: optimizer 'muon'", "optimizer.kind", "not built yet: optimizer 'muon'", "use adamw or sgd",
     [](Model&, Cluster&, Plan& p) { p.optimizer.kind = "muon"; }},
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.constraint; }

class Refused : public testing::TestWithParam<Case> {};

TEST_P(Refused, WithTheNumbersAndAWayOut) {
  Model m = small_llama();
  Plan p = small_plan(2, 2, 2, 4);
  Cluster c = small_cluster(p, 2);
  ASSERT_TRUE(refusals(m, c, p).empty());
  GetParam().change(m, c, p);
  const auto got = refusals(m, c, p);
  ASSERT_FALSE(got.empty());
  EXPECT_EQ(got[0], (Refusal{GetParam().constraint, GetParam().field, GetParam().reason, GetParam().hint}));
  try {
    compile(m, c, p);
    FAIL() << "compiled";
  } catch (const Error& e) {
    EXPECT_EQ(e.where(), GetParam().field);
    EXPECT_EQ(e.message(), GetParam().reason);
    EXPECT_EQ(e.hint(), GetParam().hint);
  }
}
INSTANTIATE_TEST_SUITE_P(Plans, Refused, testing::ValuesIn(kCases));

}  // namespace
}  // namespace orrery::program
