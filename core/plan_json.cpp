#include "core/plan_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/files.h"
#include "core/json_edge.h"
#include "core/schema.h"
#include "core/schema_fields.h"

namespace orrery {
namespace {

using schema::about;
using schema::In;
using schema::Words;

constexpr const char* kVersion = "plan/1";

// Axes and counts are bounded so that the product of three stays below 2^63: nobody's cluster has a million ranks along one axis.
constexpr double kMostAxis = 1 << 20;
constexpr double kMostCount = 1 << 30;

const Words kSchedules{"gpipe",  "1f1b",  "interleaved", "looped-bfs", "seq1f1b",  "zb-h1",     "zb-h2",         "zb-auto", "zbv",
                       "v-half", "v-min", "dualpipe",    "dualpipev",  "circular", "pipedream", "pipedream-2bw", "csv"};
const Words kContextKinds{"allgather", "p2p", "a2a", "a2a+p2p"};
const Words kAxes{"tp", "cp", "ep", "dp", "pp"};
const Words kDataParallelKinds{"ddp", "fsdp", "horovod", "parameter-server", "priority", "mirrored", "local-sgd"};
const Words kCompressions{"fp16", "bf16", "int8", "onebit", "powersgd", "topk"};
const Words kRecomputeKinds{"none", "selective", "full"};
const Words kRecomputeModules{"core_attn", "mlp", "moe", "moe_act", "layernorm", "mla_up_proj", "op"};
const Words kRecomputeMethods{"uniform", "block"};
const Words kRecipes{"delayed", "current", "blockwise", "mxfp8", "nvfp4"};
const Words kFloats{"fp32", "tf32", "bf16", "fp16", "fp8", "fp4"};
const Words kAttentions{"flash", "unfused"};
const Words kDispatchers{"allgather", "alltoall", "deepep", "hierarchical", "hybridep"};
const Words kRooms{"all", "load"};
const Words kOptimizers{"adamw", "sgd"};
const Words kCheckpointModes{"async", "sync"};

// "tp-cp-ep-dp-pp" in any order, each axis once.
bool is_order(std::string_view order) {
  Words axes;
  for (std::size_t begin = 0; begin <= order.size();) {
    const std::size_t end = std::min(order.find('-', begin), order.size());
    axes.emplace_back(order.substr(begin, end - begin));
    begin = end + 1;
  }
  return std::is_permutation(axes.begin(), axes.end(), kAxes.begin(), kAxes.end());
}

}  // namespace

template <class F>
void fields(F& f, In<F, BatchSpec>& b) {
  f("global", b.global, about("sequences per optimizer step; a multiple of micro").must().within(1, kMostCount));
  f("micro", b.micro, about("sequences per micro-batch").within(1, kMostCount));
  f("sequence", b.sequence, about("tokens per sequence").must().within(1, kMostCount));
  f.check([&](const auto& at) {
    if (b.global % b.micro != 0) {
      at("global").fail(fmt::format("{} sequences are not a whole number of micro-batches of {}", b.global, b.micro),
                        b.global > b.micro
                            ? fmt::format("the nearest multiples are {} and {}", b.global / b.micro * b.micro, (b.global / b.micro + 1) * b.micro)
                            : fmt::format("the least is {}", b.micro));
    }
  });
}

template <class F>
void fields(F& f, In<F, ParallelSpec>& p) {
  f("tp", p.tp, about("tensor parallelism: ranks that share each layer's matrices").within(1, kMostAxis));
  f("sp", p.sp, about("sequence parallelism between the tensor-parallel regions"));
  f("cp", p.cp, about("context parallelism: ranks that share each sequence").within(1, kMostAxis));
  f("cp_kind", p.cp_kind, about("how context-parallel attention exchanges keys and values").one_of(kContextKinds));
  f("cp_inner", p.cp_inner, about("a2a+p2p: ranks that exchange heads; null: as many of a node as the heads allow").within(1, kMostAxis));
  f("cp_balanced", p.cp_balanced, about("rank i of n holds chunks i and 2n - 1 - i of a sequence's 2n, which evens out causal attention"));
  f("pp", p.pp, about("pipeline stages").within(1, kMostAxis));
  f("vp", p.vp, about("model chunks per pipeline stage").within(1, kMostAxis));
  f("ep", p.ep, about("expert parallelism").within(1, kMostAxis));
  f("etp", p.etp, about("tensor parallelism inside an expert").within(1, kMostAxis));
  f("order", p.order, about("axes from the fastest-varying rank outwards: tp, cp, ep, dp and pp, joined by '-'"));
  f.refuse("dp", "has no place in a plan", "leave it out: data parallelism follows from the cluster and the other axes");
  f.check([&](const auto& at) {
    if (!is_order(p.order))
      at("order").fail(at("order").quoted() + " is not an order of the axes", "write each of tp, cp, ep, dp and pp once: tp-cp-ep-dp-pp");
  });
}

template <class F>
void fields(F& f, In<F, PassCostSpec>& c) {
  f("forward", c.forward, about("a forward").within(0, kMostCount));
  f("input_grad", c.input_grad, about("the gradient of a chunk's input").within(0, kMostCount));
  f("weight_grad", c.weight_grad, about("the gradient of a chunk's weights").within(0, kMostCount));
  f("latency", c.latency, about("from one rank to another").within(0, kMostCount));
}

template <class F>
void fields(F& f, In<F, ScheduleArgs>& s) {
  f("group", s.group, about("interleaved: micro-batches per group; null: the number of stages").within(1, kMostCount));
  f("splits", s.splits, about("seq1f1b: pieces of a sequence").within(1, kMostCount));
  f("rounds", s.rounds, about("interleaved: PyTorch's groups instead, micro-batches / max(1, micro-batches / stages)"));
  f("costs", s.costs, about("zb-auto: what passes take, in any unit, by which it places them; null: 1 each"));
  f("memory_limit", s.memory_limit, about("activations of chunks that a rank may hold: zb-auto and v-half keep it, csv must").within(1, kMostCount));
  f("csv", s.csv, about("csv: the file with each rank's order of passes, as PyTorch's pipelining reads it").filled());
  f("overlap_rule", s.overlap_rule, about("name or file of a rule that overlaps forward and backward").filled());
}

template <class F>
void fields(F& f, In<F, DataParallelSpec>& d) {
  f("kind", d.kind, about("how replicas exchange gradients").one_of(kDataParallelKinds));
  f("bucket_bytes", d.bucket_bytes,
    about("least size of a gradient bucket (horovod: the most); null: 25 MiB, pytorch's first 1 MiB, horovod 128 MiB, zero 3 all of a unit")
        .at_least(1));
  f("prefetch", d.prefetch, about("zero 3: units (a layer, the embedding, the head) gathered ahead; null: 1").within(0, kMostCount));
  f("rate_limit", d.rate_limit, about("zero 3: units gathered or in use when the host waits; null: it never does").within(1, kMostCount));
  f("servers", d.servers, about("parameter-server: how many ranks add up for the others; null: all").within(1, kMostAxis));
  f("cycle", d.cycle, about("horovod: seconds between looks for ready gradients; null: a full bucket goes at once").within(0, 1e6));
  f("backward", d.backward, about("seconds of the last backward pass of a rank: cycle and priority place gradients in it").within(0, 1e6));
  f("reduction", d.reduction, about("priority: seconds of all reductions of a rank; null: more than the backward pass").within(0, 1e6));
  f("hierarchical", d.hierarchical, about("reduce inside nodes before reducing across them"));
  f("compression", d.compression, about("of gradients on the wire").one_of(kCompressions));
}

template <class F>
void fields(F& f, In<F, ShardingSpec>& s) {
  f("zero", s.zero, about("0 nothing, 1 optimizer state, 2 gradients too, 3 parameters too").within(0, 3));
  f("reshard_after_forward", s.reshard_after_forward,
    about("zero 3: gathered parameters are freed after each pass; false: kept from a step's first forward to its last backward"));
  f("reduce_every_microbatch", s.reduce_every_microbatch,
    about("zero 2 and 3: each micro-batch's gradients are scattered at once; false: whole gradients add up on each rank and are scattered once a "
          "step"));
  f("replicas", s.replicas,
    about("copies of the shard group: each holds the whole model's shards, and gradients are added up across them").within(1, kMostAxis));
}

template <class F>
void fields(F& f, In<F, RecomputeSpec>& r) {
  f("kind", r.kind, about("what the backward pass computes again").one_of(kRecomputeKinds));
  f("modules", r.modules, about("selective: these").one_of(kRecomputeModules));
  f("layers", r.layers, about("full: layers per group (uniform) or per stage (block)").within(1, kMostAxis));
  f("method", r.method, about("full: how layers are chosen").one_of(kRecomputeMethods));
}

template <class F>
void fields(F& f, In<F, PrecisionSpec>& p) {
  f("compute", p.compute, about("of matrix products").one_of(kFloats));
  f("recipe", p.recipe, about("how low-precision scales are chosen").one_of(kRecipes));
  f("params", p.params, about("stored working parameters").one_of(kFloats));
  f("grads", p.grads, about("gradient buffer and its reduction").one_of(kFloats));
  f("optimizer", p.optimizer, about("moments").one_of(kFloats));
  f("param_gather", p.param_gather, about("on the wire when parameters are gathered; null: as stored").one_of(kFloats));
}

template <class F>
void fields(F& f, In<F, OverlapSpec>& o) {
  f("grad_reduce", o.grad_reduce, about("gradient reduction under the backward pass"));
  f("param_gather", o.param_gather, about("parameter gathering under the forward pass"));
  f("tp", o.tp, about("tensor-parallel communication under matrix products"));
  f("ep", o.ep, about("expert dispatch and combine under other work"));
  f("p2p", o.p2p, about("pipeline transfers on their own streams"));
}

template <class F>
void fields(F& f, In<F, OffloadSpec>& o) {
  f("activations", o.activations, about("to host memory between forward and backward"));
  f("optimizer", o.optimizer, about("optimizer state to host memory"));
  f("details", o.details, about("free text or a file").filled());
}

template <class F>
void fields(F& f, In<F, MoeSpec>& m) {
  f("capacity_factor", m.capacity_factor, about("tokens an expert takes, relative to an even share; null: all").within(0, 1e6));
  f("drop", m.drop, about("drop tokens beyond the capacity"));
  f("load", m.load, about("how tokens spread over experts: balanced, zipf:A, dirichlet:A, file:PATH or counts:LINES").filled());
  f("room", m.room,
    about("memory for as many rows as routing could ask for, or as the load does; null: all on a CPU, load elsewhere").one_of(kRooms));
  f("expert_map", m.expert_map, about("which rank of ep holds an expert: linear, round-robin, file:PATH or places:LINES").filled());
}

template <class F>
void fields(F& f, In<F, RuntimeSpec>& r) {
  f("framework", r.framework, about("whose conventions the program follows").filled());
  f("attention", r.attention, about("flash: no score matrix is kept").one_of(kAttentions));
  f("cuda_graphs", r.cuda_graphs, about("launch from captured graphs"));
  f("compiled", r.compiled, about("element-wise operators fused by a compiler"));
  f("moe_dispatcher", r.moe_dispatcher, about("how tokens travel to experts").one_of(kDispatchers));
  f("moe_balanced", r.moe_balanced, about("routing forced to be even"));
  f("fused_cross_entropy", r.fused_cross_entropy, about("loss without a second copy of the logits"));
  f("fused_epilogues", r.fused_epilogues, about("activations without a gate at the end of the products beside them"));
}

template <class F>
void fields(F& f, In<F, OptimizerSpec>& o) {
  f("kind", o.kind, about("the optimizer").one_of(kOptimizers));
  f("lr", o.lr, about("learning rate").within(0, 1e6));
  f("betas", o.betas, about("decay rates of the moments").at_least(0).below(1));
  f("eps", o.eps, about("added to the root of the second moment").within(0, 1));
  f("weight_decay", o.weight_decay, about("decoupled").within(0, 1e6));
  f("clip", o.clip, about("global gradient norm; 0: no clipping").within(0, 1e30));
  f("post_validation", o.post_validation,
    about("stages update before the norm of all is known, and do it again in the next step's warm-up where they had to clip"));
  f("stochastic_rounding", o.stochastic_rounding,
    about("parameters narrower than fp32 have no fp32 copy and are rounded up or down at random, right in the mean"));
}

template <class F>
void fields(F& f, In<F, MtpSpec>& m) {
  f("weight", m.weight, about("of the prediction modules' mean loss beside the next token's").within(0, 1e6));
}

template <class F>
void fields(F& f, In<F, CheckpointSpec>& c) {
  f("every_steps", c.every_steps, about("null: no checkpoints").within(1, 1e12));
  f("mode", c.mode, about("async: written while training goes on").one_of(kCheckpointModes));
}

template <class F>
void fields(F& f, In<F, SegmentSpec>& s) {
  f("first_layer", s.first_layer, about("first decoder layer of the segment").must().within(0, kMostAxis));
  f("layers", s.layers, about("how many").must().within(1, kMostAxis));
  f("devices", s.devices, about("how many, after those of the segment before; null: tp x cp x pp").within(1, kMostCount));
  f("parallel", s.parallel, about("null: the plan's"));
  f("sharding", s.sharding, about("null: the plan's"));
  f("recompute", s.recompute, about("null: the plan's"));
  f("precision", s.precision, about("null: the plan's"));
  f("device", s.device, about("null: the cluster's").filled());
}

template <class F>
void fields(F& f, In<F, Plan>& p) {
  f("model", p.model, about("a name in models/, or a path to a config.json").must().filled());
  f("cluster", p.cluster, about("a name in topologies/clusters, name:devices, or a path").must().filled());
  f("preset", p.preset, about("the named system that this plan follows").filled());
  f("seed", p.seed, about("of everything random"));
  f("batch", p.batch, about("how much data a step takes").must());
  f("parallel", p.parallel, about("how ranks share the model and the data; dp follows from the cluster"));
  f("schedule", p.schedule, about("order of pipeline passes").one_of(kSchedules));
  f("schedule_args", p.schedule_args, about("parameters of the schedule"));
  f("stages", p.stages, about("decoder layers per stage in model order; null: balanced").within(0, kMostAxis));
  f("segments", p.segments, about("runs of layers that are split in their own way"));
  f("placement", p.placement, about("device of each rank; null: in order").within(0, kMostCount));
  f("data_parallel", p.data_parallel, about("between replicas"));
  f("sharding", p.sharding, about("of model state over replicas"));
  f("recompute", p.recompute, about("activations that are computed again instead of kept"));
  f("precision", p.precision, about("element types"));
  f("overlap", p.overlap, about("communication that runs under computation"));
  f("offload", p.offload, about("to host memory"));
  f("moe", p.moe, about("mixture of experts"));
  f("lora", p.lora, about("low-rank adapters; null: all parameters train").filled());
  f("runtime", p.runtime, about("how operators are run"));
  f("optimizer", p.optimizer, about("the update"));
  f("mtp", p.mtp, about("multi-token prediction, where the model has modules for it"));
  f("clocks", p.clocks, about("a file of clocks per stage; null: the device's own").filled());
  f("checkpoint", p.checkpoint, about("saving the state"));
}

Plan read_plan(std::string_view text, std::string_view file) { return schema::read_document<Plan>(text, file, kVersion); }
std::string write_plan(const Plan& plan) { return schema::write_document(plan, kVersion); }
std::vector<Field> plan_fields(const Plan& plan) { return schema::Lister::of(plan); }
Plan load_plan(const std::string& path, std::span<const Setting> settings) {
  return read_plan(apply_settings(read_text_file(path), path, settings), path);
}
std::string schema::plan_schema() { return schema_document<Plan>(kVersion, "Orrery plan"); }

const std::vector<std::string>& known_schedules() { return kSchedules; }
const std::vector<std::string>& recompute_modules() { return kRecomputeModules; }
const std::vector<std::string>& data_parallel_kinds() { return kDataParallelKinds; }

}  // namespace orrery
