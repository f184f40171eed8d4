// Everything that a training run needs, as one document. `dp` is never stored: it follows from the cluster and the other axes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace orrery {

struct BatchSpec {
  std::int64_t global = 1, micro = 1, sequence = 1;  // sequences per step, sequences per micro-batch, tokens per sequence
  bool operator==(const BatchSpec&) const = default;
};

struct ParallelSpec {
  std::int64_t tp = 1;
  bool sp = false;
  std::int64_t cp = 1;
  std::string cp_kind = "allgather";     // allgather | p2p | a2a | a2a+p2p
  std::optional<std::int64_t> cp_inner;  // a2a+p2p: ranks that exchange heads; null: as many of a node as the heads allow
  bool cp_balanced = true;               // rank i of n holds chunks i and 2n - 1 - i of 2n; false: the i-th of n
  std::int64_t pp = 1, vp = 1, ep = 1, etp = 1;
  std::string order = "tp-cp-ep-dp-pp";  // fastest-varying axis first
  bool operator==(const ParallelSpec&) const = default;
};

// What a chunk's passes take, in any unit of time, for schedules that place passes by their duration.
struct PassCostSpec {
  std::int64_t forward = 1, input_grad = 1, weight_grad = 1, latency = 0;
  bool operator==(const PassCostSpec&) const = default;
};

struct ScheduleArgs {
  std::optional<std::int64_t> group, splits;
  bool rounds = false;                       // PyTorch's groups
  std::optional<PassCostSpec> costs;         // zb-auto
  std::optional<std::int64_t> memory_limit;  // activations of chunks on a rank
  std::optional<std::string> csv, overlap_rule;
  bool operator==(const ScheduleArgs&) const = default;
};

struct DataParallelSpec {
  std::string kind = "ddp";
  std::optional<std::int64_t> bucket_bytes, prefetch, rate_limit, servers;
  std::optional<double> cycle, backward, reduction;  // seconds: what an order in time needs and only a run or a simulation knows
  bool hierarchical = false;
  std::optional<std::string> compression;
  bool operator==(const DataParallelSpec&) const = default;
};

struct ShardingSpec {
  std::int64_t zero = 0;
  bool reshard_after_forward = true;
  bool reduce_every_microbatch = true;
  std::int64_t replicas = 1;
  bool operator==(const ShardingSpec&) const = default;
};

struct RecomputeSpec {
  std::string kind = "none";  // none | selective | full
  std::vector<std::string> modules;
  std::optional<std::int64_t> layers;
  std::optional<std::string> method;  // uniform | block
  bool operator==(const RecomputeSpec&) const = default;
};

struct PrecisionSpec {
  DType compute = DType::bf16;
  std::optional<std::string> recipe;
  DType params = DType::bf16, grads = DType::fp32, optimizer = DType::fp32;
  std::optional<DType> param_gather;
  bool operator==(const PrecisionSpec&) const = default;
};

struct OverlapSpec {
  bool grad_reduce = true, param_gather = true, tp = false, ep = false, p2p = true;
  bool operator==(const OverlapSpec&) const = default;
};

struct OffloadSpec {
  bool activations = false, optimizer = false;
  std::optional<std::string> details;
  bool operator==(const OffloadSpec&) const = default;
};

struct MoeSpec {
  std::optional<double> capacity_factor;
  bool drop = false;
  std::string load = "balanced";          // zipf:A | dirichlet:A | file:PATH | counts:LINES
  std::optional<std::string> room;        // all | load; null: all on a CPU, load elsewhere
  std::optional<std::string> expert_map;  // linear | round-robin | file:PATH | places:LINES; null: linear
  bool operator==(const MoeSpec&) const = default;
};

struct RuntimeSpec {
  std::string framework = "orrery";
  std::string attention = "flash";  // flash | unfused
  bool cuda_graphs = false, compiled = false;
  std::optional<std::string> moe_dispatcher;
  bool moe_balanced = true;
  bool fused_cross_entropy = true;
  bool fused_epilogues = false;  // activations without a gate at the end of the products beside them (cuBLASLt's epilogues)
  bool operator==(const RuntimeSpec&) const = default;
};

struct OptimizerSpec {
  std::string kind = "adamw";  // adamw | sgd
  double lr = 3e-4;
  std::array<double, 2> betas{0.9, 0.95};
  double eps = 1e-8, weight_decay = 0.1;
  double clip = 1.0;  // global gradient norm; 0: no clipping
  // Stages update before they know the norm of all, and make up for it in the next step where that was wrong.
  bool post_validation = false;
  // Narrow parameters have no fp32 copy: each update rounds them up or down at random, so that their mean is right (llm.c without master weights).
  bool stochastic_rounding = false;
  bool operator==(const OptimizerSpec&) const = default;
};

// Multi-token prediction (DeepSeek-V3, arXiv 2412.19437, 2.2).
struct MtpSpec {
  double weight = 0.3;  // of the modules' mean loss beside the next token's; 4.2: 0.3 for the first 10T tokens, then 0.1
  bool operator==(const MtpSpec&) const = default;
};

struct CheckpointSpec {
  std::optional<std::int64_t> every_steps;
  std::string mode = "async";
  bool operator==(const CheckpointSpec&) const = default;
};

// One run of layers on devices of its own, split in its own way. Segments follow each other in layers and in devices, and one pipeline runs through
// all of them; `schedule`, `optimizer` and all else is the plan's.
struct SegmentSpec {
  std::int64_t first_layer = 0, layers = 0;
  std::optional<std::int64_t> devices;  // null: those of one replica, tp · cp · pp
  std::optional<ParallelSpec> parallel;
  std::optional<ShardingSpec> sharding;
  std::optional<RecomputeSpec> recompute;
  std::optional<PrecisionSpec> precision;
  std::optional<std::string> device;
  bool operator==(const SegmentSpec&) const = default;
};

struct Plan {
  std::string model;    // a name in models/, or a path
  std::string cluster;  // "dgx-h100:64", or a path
  std::optional<std::string> preset;
  std::uint64_t seed = 1;
  BatchSpec batch;
  ParallelSpec parallel;
  std::string schedule = "1f1b";
  ScheduleArgs schedule_args;
  std::optional<std::vector<std::int64_t>> stages;  // decoder layers per stage; null: balanced
  std::optional<std::vector<SegmentSpec>> segments;
  std::optional<std::vector<std::int64_t>> placement;  // rank -> device; null: identity
  DataParallelSpec data_parallel;
  ShardingSpec sharding;
  RecomputeSpec recompute;
  PrecisionSpec precision;
  OverlapSpec overlap;
  OffloadSpec offload;
  MoeSpec moe;
  std::optional<std::string> lora;
  RuntimeSpec runtime;
  OptimizerSpec optimizer;
  MtpSpec mtp;
  std::optional<std::string> clocks;
  CheckpointSpec checkpoint;
  bool operator==(const Plan&) const = default;

  // Ranks of one data-parallel replica.
  std::int64_t model_ranks() const { return parallel.tp * parallel.cp * parallel.pp; }
  // How a segment's ranks share it.
  const ParallelSpec& parallel_of(const SegmentSpec& segment) const { return segment.parallel ? *segment.parallel : parallel; }
};

}  // namespace orrery
