#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <set>

#include "core/error.h"
#include "core/overlap_rule.h"
#include "program/compile.h"
#include "program/expert_map.h"
#include "program/loads.h"
#include "program/transforms/context_parallel.h"

namespace orrery::program {
namespace {

// Collects what a plan breaks.
class Refusals {
 public:
  void add(std::string constraint, std::string field, std::string reason, std::string hint) {
    out.push_back({std::move(constraint), std::move(field), std::move(reason), std::move(hint)});
  }
  // What the schema has and the compiler does not.
  void not_built(bool used, const std::string& what, const std::string& field, const std::string& hint) {
    if (used) add("not built yet: " + what, field, fmt::format("not built yet: {}", what), hint);
  }
  // False, and refused, where `value` is not positive.
  bool positive(const std::string& field, std::int64_t value) {
    if (value >= 1) return true;
    add(fmt::format("{} is positive", field), field, fmt::format("{} is {}, not a positive number", field, value), "write 1 or more");
    return false;
  }
  std::vector<Refusal> out;
};

// The legal values nearest to `value` on both sides, in words: "nearest legal: 4 or 8".
template <class Legal>
std::string nearest_legal(std::int64_t value, Legal legal) {
  constexpr std::int64_t kFar = 4096;  // further up nobody would look
  std::int64_t below = value, above = value;
  while (below > 1 && !legal(below)) --below;
  while (above < value + kFar && !legal(above)) ++above;
  return legal(above) ? fmt::format("nearest legal: {} or {}", below, above) : fmt::format("nearest legal: {}", below);
}

void model_refusals(Refusals& r, const Model& model, const Plan& plan) {
  if (!model.unsupported.empty()) r.add("model can be described", "model", fmt::format("{}: {}", model.name, model.unsupported), "");
  const auto lacks = [&](bool has, const char* what) { r.not_built(has, what, "model", "'orrery show models' says which can be simulated"); };
  if (model.moe) {
    lacks(model.moe->latent > 0, "experts in a width of their own");
    lacks(model.moe->shared_gate, "gated shared experts");
    lacks(model.moe->expert_bias, "biases of experts");
    lacks(model.parallel_block, "mixtures in a parallel block");
    lacks(model.moe->router_topk_groups * (model.moe->experts / std::max<std::int64_t>(1, model.moe->router_groups)) < model.moe->experts_per_token &&
              model.moe->router_groups > 1,
          "more experts per token than the chosen groups have");
  }
  if (model.mla) {
    lacks(model.norm != Normalization::rmsnorm, "latent attention with LayerNorm");
    lacks(model.qkv_bias, "latent attention with biases");
    lacks(model.parallel_block, "latent attention in a parallel block");
    lacks(model.position != PositionEmbedding::rope, "latent attention without rotary positions");
    lacks(model.kv_heads != model.heads, "latent attention with shared key and value heads");
  }
  if (model.mtp_layers > 0) {
    lacks(model.norm != Normalization::rmsnorm, "multi-token prediction with LayerNorm");
    lacks(model.position == PositionEmbedding::learned, "multi-token prediction with learned positions");
    lacks(model.embedding_norm, "multi-token prediction with a norm of the embedding");
    lacks(model.parallel_block, "multi-token prediction with a parallel block");
    constexpr std::int64_t kMostModules = 127;  // Instruction::peer
    if (model.mtp_layers > kMostModules)
      r.add("at most 127 prediction modules", "model", fmt::format("{} prediction modules are more than {}", model.mtp_layers, kMostModules),
            "use a model with fewer");
  }
  r.not_built(model.mtp_layers > 0 && plan.data_parallel.rate_limit, "a rate limit with prediction modules, which use what was gathered again",
              "data_parallel.rate_limit", "leave data_parallel.rate_limit null");
  lacks(model.post_norm, "norms after the residual");
  lacks(!model.final_norm, "a model without a final norm");
  lacks(model.token_types > 0, "segment embeddings");
  lacks(model.embedding_width != 0 && model.embedding_width != model.hidden, "an embedding narrower than the hidden width");
  lacks(model.pooler || model.head_transform, "BERT's pooler and head transform");
  lacks(model.attention_sinks, "attention sinks");
  lacks(model.sliding_window > 0 && plan.batch.sequence > model.sliding_window, "sliding-window attention over sequences longer than the window");
}

bool is_built(const std::string& schedule) {
  const std::vector<std::string> known = schedule_names();
  return schedule == "csv" || std::find(known.begin(), known.end(), schedule) != known.end();
}

void feature_refusals(Refusals& r, const Plan& plan) {
  try {
    if (expert_load(plan.moe.load).kind != ExpertLoad::Kind::balanced) {
      if (plan.runtime.moe_balanced)
        r.add("a load is of routers that are free", "runtime.moe_balanced",
              fmt::format("the router is forced to balance, but the load is {}", plan.moe.load),
              "write runtime.moe_balanced false, or moe.load balanced");
      if (plan.moe.capacity_factor)
        r.add("a capacity is what every expert gets", "moe.load",
              fmt::format("every expert's capacity is filled or padded, but the load is {}", plan.moe.load),
              "write moe.load balanced, or leave moe.capacity_factor null");
    }
  } catch (const Error& e) {
    r.add("moe.load is known", "moe.load", e.where() == "moe.load" ? e.message() : e.where() + ": " + e.message(), e.hint());
  }
  try {
    (void)expert_map(plan.moe.expert_map.value_or("linear"));
  } catch (const Error& e) {
    r.add("moe.expert_map is known", "moe.expert_map", e.where() == "moe.expert_map" ? e.message() : e.where() + ": " + e.message(), e.hint());
  }
  const std::string dispatcher = plan.runtime.moe_dispatcher.value_or("alltoall");
  r.not_built(dispatcher != "alltoall" && dispatcher != "hierarchical" && dispatcher != "allgather", fmt::format("the dispatcher '{}'", dispatcher),
              "runtime.moe_dispatcher", "use alltoall, hierarchical or allgather");
  if (plan.moe.room && (plan.moe.capacity_factor || plan.runtime.moe_balanced))
    r.add("room is for routers that are free", "moe.room",
          fmt::format("{} says how many rows there are", plan.moe.capacity_factor ? "a capacity" : "a router that is forced to balance"),
          "leave moe.room null");
  if (plan.moe.capacity_factor && !(*plan.moe.capacity_factor > 0 && *plan.moe.capacity_factor <= 1024))
    r.add("capacity factor is positive", "moe.capacity_factor", fmt::format("{} is not a capacity factor", *plan.moe.capacity_factor),
          "write a positive number, or null for as many tokens as there are");
  if (plan.moe.drop != plan.moe.capacity_factor.has_value())
    r.add("tokens are dropped beyond a capacity", "moe.drop",
          plan.moe.drop ? "tokens are dropped, but no capacity says when" : "a capacity without drops would have to hold all tokens anyway",
          plan.moe.drop ? "give moe.capacity_factor, or write drop false" : "write drop true, or leave moe.capacity_factor null");
  r.not_built(plan.recompute.kind == "selective", "selective recomputation", "recompute.kind", "use none or full");
  if (plan.recompute.kind != "none" && plan.recompute.kind != "full" && plan.recompute.kind != "selective") {
    const std::vector<std::string> known{"none", "selective", "full"};
    r.add("recompute kind is known", "recompute.kind", fmt::format("'{}' is not a kind of recomputation", plan.recompute.kind),
          did_you_mean(plan.recompute.kind, known));
  }
  r.not_built(plan.recompute.kind == "full" && (plan.recompute.layers || plan.recompute.method), "full recomputation of some layers only",
              plan.recompute.layers ? "recompute.layers" : "recompute.method", "leave recompute.layers and recompute.method null");
  r.not_built(plan.placement.has_value(), "placement", "placement", "leave placement null: rank r runs on device r");
  r.not_built(plan.preset.has_value(), "presets", "preset", "leave preset null");
  r.not_built(plan.offload.activations || plan.offload.optimizer || plan.offload.details, "offloading", "offload", "leave offload out");
  r.not_built(plan.lora.has_value(), "LoRA", "lora", "leave lora null");
  r.not_built(plan.clocks.has_value(), "clock schedules", "clocks", "leave clocks null");
  // The executor makes them between the steps of a program that knows nothing of it (app/run.cpp).
  r.not_built(plan.checkpoint.every_steps.has_value(), "checkpoints where plans are compared, whose steps are predicted without them",
              "checkpoint.every_steps", "leave checkpoint.every_steps null; orrery simulate says what they take, orrery run makes them");
  if (plan.overlap.tp && plan.parallel.tp > 1 && !plan.parallel.sp && !plan.segments)
    r.add("overlapped tensor parallelism needs sp", "overlap.tp", "overlap.tp takes linears apart by the rows that sp shards, and sp is off",
          "use sp true, or overlap.tp false");
  r.not_built(plan.runtime.attention != "flash", fmt::format("attention '{}'", plan.runtime.attention), "runtime.attention", "use flash");
  r.not_built(!plan.runtime.fused_cross_entropy, "an unfused cross-entropy", "runtime.fused_cross_entropy", "use true");
  const auto one_of = [&](DType t, std::initializer_list<DType> known, const char* field, const char* hint) {
    if (std::find(known.begin(), known.end(), t) == known.end())
      r.add(fmt::format("built types of {}", field), field, fmt::format("not built yet: {}-bit {}", bits(t), field), hint);
  };
  one_of(plan.precision.compute, {DType::fp32, DType::tf32, DType::bf16, DType::fp16, DType::fp8}, "precision.compute",
         "use fp8, bf16, fp16, tf32 or fp32");
  one_of(plan.precision.params, {DType::fp32, DType::bf16, DType::fp16}, "precision.params", "use bf16, fp16 or fp32");
  one_of(plan.precision.grads, {DType::fp32, DType::bf16, DType::fp16}, "precision.grads", "use fp32, bf16 or fp16");
  one_of(plan.precision.optimizer, {DType::fp32}, "precision.optimizer", "use fp32");
  r.not_built(plan.precision.param_gather.has_value(), "gathering parameters in another type", "precision.param_gather",
              "leave precision.param_gather null");
  r.not_built(plan.optimizer.kind != "adamw" && plan.optimizer.kind != "sgd", fmt::format("optimizer '{}'", plan.optimizer.kind), "optimizer.kind",
              "use adamw or sgd");
  if (const std::vector<std::string> known = schedule_names(); !is_built(plan.schedule))
    r.add("schedule is built", "schedule", fmt::format("not built yet: schedule '{}'", plan.schedule), did_you_mean(plan.schedule, known));
}

// Of a dimension of a product in 8 bits: cuBLASLt takes rows that begin at multiples of 16 bytes.
constexpr std::int64_t kRow8 = 16;

// Linears in 8 bits, and updates that are rounded at random.
void low_precision_refusals(Refusals& r, const Model& model, const Plan& plan) {
  const PrecisionSpec& p = plan.precision;
  if (plan.optimizer.stochastic_rounding && p.params != DType::bf16)
    r.add("updates of bf16 are rounded at random", "optimizer.stochastic_rounding",
          fmt::format("updates are rounded at random where parameters are bf16, and precision.params is {}", name(p.params)),
          "use precision.params bf16, or stochastic_rounding false");
  if (plan.runtime.fused_epilogues && model.gated_mlp)
    r.add("epilogues have no gate", "runtime.fused_epilogues", fmt::format("{}'s feed-forward has a gate, which no product ends with", model.name),
          "use false");
  r.not_built(plan.runtime.fused_epilogues && (p.compute == DType::fp8 || plan.overlap.tp),
              "fused epilogues with fp8 or overlapped tensor parallelism", "runtime.fused_epilogues", "use false");
  if (p.recipe && (*p.recipe == "mxfp8" || *p.recipe == "nvfp4"))
    return r.not_built(true, fmt::format("recipe '{}', which needs Blackwell", *p.recipe), "precision.recipe", "use delayed, current or blockwise");
  if (p.recipe && p.compute != DType::fp8)
    r.add("a recipe is of fp8", "precision.recipe",
          fmt::format("a recipe says how 8-bit numbers are scaled, and precision.compute is {}", name(p.compute)),
          "use precision.compute fp8, or leave precision.recipe null");
  if (p.compute != DType::fp8) return;
  if (!p.recipe) {
    r.add("fp8 has a recipe", "precision.recipe", "numbers of 8 bits need scales, and no recipe says which",
          "use delayed, current or blockwise (what is not a linear inside a layer runs in bf16)");
    return;
  }
  r.not_built(model.moe.has_value(), "experts in fp8", "precision.compute", "use bf16");
  r.not_built(plan.overlap.tp && plan.parallel.tp > 1, "fp8 with overlapped tensor parallelism", "overlap.tp", "use overlap.tp false");
  r.not_built(plan.optimizer.post_validation && *p.recipe == "delayed", "delayed scaling with post-validation", "optimizer.post_validation",
              "use post_validation false, or recipe current or blockwise");
}

// A plan of one segment: the sizes that products in 8 bits have on a rank.
void sizes_in_8_bits(Refusals& r, const Model& model, const Plan& plan, const std::string& field) {
  if (plan.precision.compute != DType::fp8 || !plan.precision.recipe || model.moe) return;
  const ParallelSpec& p = plan.parallel;
  const auto check = [&](const char* what, std::int64_t size) {
    if (size % kRow8 != 0)
      r.add("fp8 products have sizes that are multiples of 16", field,
            fmt::format("{} is {} on a rank, and products in fp8 take multiples of {}", what, size, kRow8),
            "use another tp, micro-batch or sequence, or precision.compute bf16");
  };
  const std::int64_t rows = plan.batch.micro * (plan.batch.sequence / p.cp);
  check("the hidden size", model.hidden);
  check("the feed-forward's width", model.intermediate / p.tp);
  check("the width of attention's result", model.heads * model.v_dim() / p.tp);
  if (model.mla) {
    for (const std::int64_t width : {model.mla->q_lora_rank, model.mla->kv_lora_rank, model.mla->kv_lora_rank + model.mla->qk_rope_head_dim,
                                     model.heads * model.qk_dim() / p.tp, model.heads * (model.mla->qk_nope_head_dim + model.mla->v_head_dim) / p.tp})
      check("a width of latent attention", width);
    check("the number of rows", p.sp ? rows / p.tp : rows);
  } else {
    check("the width of queries, keys and values", (model.heads + 2 * model.kv_heads) / p.tp * model.head_dim);
    check("the number of rows", rows);
  }
}

// What data parallelism and sharding ask for that does not go together.
void data_parallel_refusals(Refusals& r, const Plan& plan) {
  const DataParallelSpec& dp = plan.data_parallel;
  const ShardingSpec& s = plan.sharding;
  const auto refuse = [&](bool broken, const char* constraint, const char* field, std::string reason, const char* hint) {
    if (broken) r.add(constraint, field, std::move(reason), hint);
  };
  refuse(s.zero < 0 || s.zero > 3, "zero is 0 to 3", "sharding.zero", fmt::format("there is no ZeRO stage {}", s.zero), "use zero 0, 1, 2 or 3");
  const std::vector<std::string> kinds{"ddp", "fsdp", "horovod", "parameter-server", "priority"};
  r.not_built(std::find(kinds.begin(), kinds.end(), dp.kind) == kinds.end(), fmt::format("data-parallel kind '{}'", dp.kind), "data_parallel.kind",
              "use ddp, fsdp, horovod, parameter-server or priority");
  const bool whole = dp.kind == "horovod" || dp.kind == "parameter-server" || dp.kind == "priority";
  refuse(dp.kind == "fsdp" && s.zero != 3, "fsdp shards parameters", "data_parallel.kind",
         fmt::format("fsdp shards parameters, and sharding.zero is {}", s.zero), "use sharding.zero 3, or data_parallel.kind ddp");
  refuse(whole && s.zero != 0, "its kind reduces whole gradients", "data_parallel.kind",
         fmt::format("'{}' reduces whole gradients, and sharding.zero is {}", dp.kind, s.zero), "use sharding.zero 0, or data_parallel.kind ddp");
  refuse(dp.hierarchical && s.zero != 0, "hierarchical reductions are of whole gradients", "data_parallel.hierarchical",
         fmt::format("a reduction in two levels is of whole gradients, and sharding.zero is {}", s.zero),
         "use sharding.replicas, which scatters inside a group and adds up across groups");
  refuse(dp.hierarchical && dp.kind == "parameter-server", "servers are one level", "data_parallel.hierarchical",
         "parameter servers add up for all ranks alike", "use hierarchical false, or data_parallel.kind ddp");
  r.not_built(dp.compression.has_value(), "gradient compression", "data_parallel.compression", "leave data_parallel.compression null");
  if (dp.bucket_bytes) r.positive("data_parallel.bucket_bytes", *dp.bucket_bytes);
  refuse(dp.prefetch && (s.zero != 3 || !plan.overlap.param_gather), "only sharded parameters are gathered ahead", "data_parallel.prefetch",
         "gathers ahead of their use are of sharded parameters, overlapped", "use sharding.zero 3 and overlap.param_gather, or leave it null");
  refuse(dp.prefetch && *dp.prefetch < 0, "prefetch is not negative", "data_parallel.prefetch", "units gathered ahead cannot be fewer than none",
         "use 0 or more");
  refuse(dp.rate_limit && s.zero != 3, "only sharded parameters have a rate limit", "data_parallel.rate_limit",
         "the limit is one of gathers of sharded parameters", "use sharding.zero 3, or leave it null");
  const std::int64_t ahead = plan.overlap.param_gather ? dp.prefetch.value_or(1) : 0;
  refuse(dp.rate_limit && s.zero == 3 && *dp.rate_limit <= ahead, "rate limit leaves room for what is gathered ahead", "data_parallel.rate_limit",
         fmt::format("{} units gathered or in use are fewer than one in use and {} gathered ahead", dp.rate_limit.value_or(0), ahead),
         "use data_parallel.prefetch + 1 or more");
  refuse(dp.servers && dp.kind != "parameter-server", "servers are of the parameter-server kind", "data_parallel.servers",
         fmt::format("'{}' has no servers", dp.kind), "use data_parallel.kind parameter-server, or leave it null");
  if (dp.servers) r.positive("data_parallel.servers", *dp.servers);
  refuse(dp.cycle && dp.kind != "horovod", "a cycle is Horovod's", "data_parallel.cycle", fmt::format("'{}' has no cycle", dp.kind),
         "use data_parallel.kind horovod, or leave it null");
  refuse(dp.cycle && !dp.backward, "a cycle needs times", "data_parallel.cycle", "when gradients are ready is not known",
         "say in data_parallel.backward how many seconds a backward pass takes, as a simulation shows it");
  refuse(dp.backward && dp.kind != "horovod" && dp.kind != "priority", "times are for an order in time", "data_parallel.backward",
         fmt::format("'{}' does not depend on times", dp.kind), "leave it null");
  refuse(dp.reduction && (dp.kind != "priority" || !dp.backward), "the time of reductions orders them by priority", "data_parallel.reduction",
         "it orders reductions by priority, together with data_parallel.backward", "use kind priority and give both times, or leave it null");
  refuse(s.replicas != 1 && s.zero == 0, "replicas are of shards", "sharding.replicas",
         fmt::format("{} copies of the shards, and sharding.zero 0 makes none", s.replicas), "use 1, or sharding.zero 1, 2 or 3");
}

// Sequences that are worked on split by split.
void split_refusals(Refusals& r, const Model& model, const Plan& plan, const Schedule& schedule) {
  const std::int64_t q = schedule.splits, sequence = plan.batch.sequence;
  if (q == 1) return;
  if (!model.causal)
    r.add("splits need causal attention", "schedule",
          fmt::format("schedule '{}' runs a sequence's splits one after the other, but {} attends forwards too", plan.schedule, model.name),
          "use another schedule");
  const ParallelSpec& p = plan.parallel;
  const std::int64_t unit = std::max<std::int64_t>(1, q * p.cp * std::lcm<std::int64_t>(p.cp > 1 ? 2 : 1, p.sp ? p.tp : 1));
  if (sequence % unit != 0)
    r.add("splits divide the sequence", "schedule_args.splits", fmt::format("sequence {} does not divide into {} splits of whole rows", sequence, q),
          fmt::format("use a sequence that is a multiple of {}", unit));
  const bool rings = plan.parallel.cp > 1 && (plan.parallel.cp_kind == "p2p" || plan.parallel.cp_kind == "a2a+p2p");
  r.not_built(rings, fmt::format("schedule '{}' with keys passed around a ring", plan.schedule), "parallel.cp_kind", "use allgather or a2a");
  if (schedule.microbatches * q > std::numeric_limits<std::uint16_t>::max())
    r.add("at most 65535 splits per step", "schedule_args.splits",
          fmt::format("{} micro-batches of {} splits are more than 65535", schedule.microbatches, q), "use fewer splits");
}

// How the ranks of a context share sequences and heads.
void context_refusals(Refusals& r, const Model& model, const Plan& plan) {
  const ParallelSpec& p = plan.parallel;
  if (p.cp == 1) return;
  const bool exchanges = p.cp_kind == "a2a" || p.cp_kind == "a2a+p2p", rings = p.cp_kind == "p2p" || p.cp_kind == "a2a+p2p";
  const std::vector<std::string> known{"allgather", "p2p", "a2a", "a2a+p2p"};
  if (std::find(known.begin(), known.end(), p.cp_kind) == known.end())
    r.add("cp kind is known", "parallel.cp_kind", fmt::format("'{}' is not a kind of context parallelism", p.cp_kind),
          did_you_mean(p.cp_kind, known));
  const std::int64_t inner = p.cp_kind == "a2a" ? p.cp : p.cp_inner.value_or(1);
  if (p.cp_kind == "a2a+p2p" && (inner < 1 || p.cp % inner != 0))
    r.add("cp_inner divides cp", "parallel.cp_inner", fmt::format("cp_inner {} does not divide cp {}", inner, p.cp),
          nearest_legal(std::max<std::int64_t>(inner, 1), [&](std::int64_t n) { return p.cp % n == 0; }));
  else if (exchanges && model.heads % p.tp == 0 && model.kv_heads % p.tp == 0 && !can_exchange_heads(model, plan, inner))
    r.add("heads divide among the ranks that exchange them", p.cp_kind == "a2a" ? "parallel.cp" : "parallel.cp_inner",
          fmt::format("{} ranks cannot share {} query and {} key heads (of each of tp {})", inner, model.heads / p.tp, model.kv_heads / p.tp, p.tp),
          nearest_legal(inner, [&](std::int64_t n) { return can_exchange_heads(model, plan, n); }));
  if (rings && p.cp > 127 * inner)
    r.add("at most 127 ranks in a ring", "parallel.cp", fmt::format("a ring of {} ranks is longer than 127", p.cp / inner),
          "use a2a+p2p with a larger cp_inner");
  // Two chunks per rank of the ring; rows of a rank divide by tp under sequence parallelism.
  const std::int64_t unit = p.cp * std::lcm<std::int64_t>(2, p.sp ? p.tp : 1);
  if (plan.batch.sequence % unit != 0)
    r.add("the context's chunks divide the sequence", "batch.sequence",
          fmt::format("sequence {} is no multiple of {}: cp {} ranks of two chunks{}", plan.batch.sequence, unit, p.cp,
                      p.sp ? ", each of rows that tp divides" : ""),
          fmt::format("use a sequence that is a multiple of {}", unit));
}

// What the schedule does not take, and what of it the compiler cannot write yet.
void schedule_refusals(Refusals& r, const Model& model, const Plan& plan, std::int64_t microbatches) {
  try {
    const Schedule schedule = plan_schedule(plan, microbatches);
    const auto has = [&](auto what) {
      return std::any_of(schedule.order.begin(), schedule.order.end(), [&](const auto& rank) { return std::any_of(rank.begin(), rank.end(), what); });
    };
    const std::string named = fmt::format("schedule '{}'", plan.schedule);
    if (plan.overlap.ep && !model.moe)
      r.add("overlap of experts needs experts", "overlap.ep", fmt::format("{} has no experts whose exchange could be overlapped", model.name),
            "use false");
    if (plan.overlap.ep && schedule.update_every > 0) r.not_built(true, named + " with overlapped experts", "overlap.ep", "use false");
    if (plan.schedule_args.overlap_rule) {
      (void)overlap_rule(*plan.schedule_args.overlap_rule, "schedule_args.overlap_rule");
      if (!has([](const Pass& p) { return p.kind == PassKind::forward_backward; }))
        r.add("an overlap rule has passes to overlap", "schedule_args.overlap_rule", named + " overlaps no forward with a backward pass",
              "leave schedule_args.overlap_rule null, or use dualpipe or dualpipev");
    }
    split_refusals(r, model, plan, schedule);
    if (plan.optimizer.post_validation) {
      if (schedule.update_every > 0)
        r.add("post-validation is of synchronous schedules", "optimizer.post_validation", named + " has no norm of all stages to validate",
              "use false");
      else if (schedule.ranks == 1)
        r.add("post-validation needs stages", "optimizer.post_validation", "one stage knows the norm of all gradients at once",
              "use false, or pp 2 or more");
      else
        r.not_built(schedule.chunks > 1, named + " with post-validation on ranks of several stages", "optimizer.post_validation",
                    "use false, or a schedule of one stage per rank: 1f1b, gpipe, zb-h1, zb-h2, zb-auto, seq1f1b");
    }
    if (schedule.update_every > 0) {
      if (plan.optimizer.clip > 0)
        r.add("asynchronous stages do not clip", "optimizer.clip",
              named + " updates each stage when its own gradients are there, and a norm of all would make it wait for the others", "use clip 0");
      r.not_built(plan.sharding.zero > 1, named + " with sharded gradients", "sharding.zero", "use zero 0 or 1");
      if (schedule.ranks > microbatches)
        r.add("micro-batches fill an asynchronous pipeline", "batch.global",
              fmt::format("{} micro-batches per step are fewer than the {} ranks that hold one each", microbatches, schedule.ranks),
              "use a larger batch or fewer stages");
      if ((model.tie_embeddings || model.mtp_layers > 0) && schedule.ranks > 1)
        r.add("asynchronous stages share no weights", "schedule",
              fmt::format("{} would update the two copies of {} at different times", named,
                          model.tie_embeddings ? "a tied table" : "the embedding that prediction modules share"),
              "use a synchronous schedule, or an untied model without prediction modules");
      if (3 * microbatches > std::numeric_limits<std::uint16_t>::max())
        r.add("at most 21845 micro-batches", "batch.global", fmt::format("{} micro-batches per step are more than 21845", microbatches),
              "use a larger micro-batch");
    }
    constexpr std::int64_t kMostChunks = 127;  // Instruction::channel has two numbers for each
    if (schedule.chunks > kMostChunks)
      r.add("at most 127 chunks per rank", "parallel.vp", fmt::format("{} chunks per rank are more than {}", schedule.chunks, kMostChunks),
            fmt::format("use vp {} or less", kMostChunks));
  } catch (const Error& e) {
    r.add("schedule takes the plan", e.where(), e.message(), e.hint());
  }
}

void expert_refusals(Refusals& r, const Model& model, const Plan& plan, std::int64_t dp) {
  const ParallelSpec& p = plan.parallel;
  if (!model.moe) {
    for (const auto& [field, value] : {std::pair{"parallel.ep", p.ep}, {"parallel.etp", p.etp}})
      if (value > 1)
        r.add("expert parallelism needs experts", field, fmt::format("{} has no experts to spread over {} ranks", model.name, value), "use 1");
    return;
  }
  const Moe& m = *model.moe;
  if (m.experts % p.ep != 0)
    r.add("ep divides experts", "parallel.ep", fmt::format("ep {} does not divide {} experts", p.ep, m.experts),
          nearest_legal(p.ep, [&](std::int64_t n) { return m.experts % n == 0; }));
  if (m.intermediate % p.etp != 0)
    r.add("etp divides the experts' width", "parallel.etp", fmt::format("etp {} does not divide the experts' width {}", p.etp, m.intermediate),
          nearest_legal(p.etp, [&](std::int64_t n) { return m.intermediate % n == 0; }));
  if (m.shared_intermediate % p.tp != 0)
    r.add("tp divides the shared experts", "parallel.tp",
          fmt::format("tp {} does not divide the shared experts' width {}", p.tp, m.shared_intermediate),
          nearest_legal(p.tp, [&](std::int64_t n) { return m.shared_intermediate % n == 0; }));
  if (const std::int64_t ranks = p.tp * p.cp * dp; dp >= 1 && ranks % (p.ep * p.etp) != 0)
    r.add("experts fold into the ranks of a stage", "parallel.ep",
          fmt::format("etp {} x ep {} = {} does not divide the tp {} x cp {} x dp {} = {} ranks of a stage", p.etp, p.ep, p.etp * p.ep, p.tp, p.cp,
                      dp, ranks),
          "use fewer ranks for experts, or more devices");
  if (m.experts % p.ep == 0) {
    try {
      const ExpertMap map = expert_map(plan.moe.expert_map.value_or("linear"));
      const ExpertLoad load = expert_load(plan.moe.load);
      for (std::int64_t l = 0; l < model.all_layers(); ++l) {
        if (!model.is_moe_layer(l)) continue;
        (void)experts_by_place(map, m.experts, p.ep, model.weights_of(l));
        (void)expert_shares(load, m.experts, plan.seed, l);
      }
      if (map.kind != ExpertMap::Kind::linear && plan.runtime.moe_dispatcher == "hierarchical" && m.router_groups > 1)
        r.add("groups of experts are on places of their own", "moe.expert_map",
              "how many nodes a token goes to is known only where each of the router's groups of experts has its own", "leave moe.expert_map null");
    } catch (const Error& e) {
      // What cannot be read at all was said before.
      if (std::none_of(r.out.begin(), r.out.end(), [&](const Refusal& said) { return said.field == "moe.load" || said.field == "moe.expert_map"; }))
        r.add("experts' loads and places fit the model", e.where(), e.message(), e.hint());
    }
  }
  if (p.tp > 1 && !p.sp)
    r.add("experts under tp need sp", "parallel.sp", "with tp and without sp every rank of a group would route all of its tokens again",
          "use sp true");
}

void structure_refusals(Refusals& r, const Model& model, const Cluster& cluster, const Plan& plan) {
  const ParallelSpec& p = plan.parallel;
  const BatchSpec& b = plan.batch;
  bool sound = true;
  for (const auto& [field, value] : {std::pair{"parallel.tp", p.tp},
                                     {"parallel.cp", p.cp},
                                     {"parallel.pp", p.pp},
                                     {"parallel.vp", p.vp},
                                     {"parallel.ep", p.ep},
                                     {"parallel.etp", p.etp},
                                     {"sharding.replicas", plan.sharding.replicas},
                                     {"batch.global", b.global},
                                     {"batch.micro", b.micro},
                                     {"batch.sequence", b.sequence},
                                     {"cluster.devices", cluster.devices},
                                     {"model.layers", model.layers},
                                     {"model.hidden", model.hidden},
                                     {"model.heads", model.heads},
                                     {"model.kv_heads", model.kv_heads},
                                     {"model.vocab", model.vocab}})
    sound = r.positive(field, value) && sound;
  // Far beyond every machine and model, and small enough that products of a few stay below 2^63.
  constexpr std::int64_t kMost = std::int64_t{1} << 20U;
  for (const auto& [field, value] :
       {std::pair{"parallel.tp", p.tp}, {"parallel.cp", p.cp}, {"parallel.pp", p.pp}, {"parallel.vp", p.vp}, {"batch.micro", b.micro}})
    if (value > kMost) {
      r.add(fmt::format("{} is at most 2^20", field), field, fmt::format("{} is {}, beyond {}", field, value, kMost), "write less");
      sound = false;
    }
  // The Program counts bytes in 63 bits and layers in 16; a pass's instructions in 16 bits too (Builder::end counts).
  const double tokens = static_cast<double>(b.micro) * static_cast<double>(b.sequence);
  const double width = static_cast<double>(std::max({model.vocab, 2 * model.intermediate, 3 * model.hidden}));
  if (sound && (tokens * width > 0x1p56 || static_cast<double>(model.hidden) * width * static_cast<double>(model.layers) > 0x1p56)) {
    r.add("sizes can be counted", "batch", fmt::format("{} tokens of width {} are more than can be counted", tokens, width), "write less");
    sound = false;
  }
  constexpr std::int64_t kMostLayers = 800;
  if (sound && (model.layers + p.pp - 1) / p.pp > kMostLayers) {
    r.add("at most 800 layers per stage", "parallel.pp",
          fmt::format("{} layers on pp {} are more than {} per stage", model.layers, p.pp, kMostLayers), "use more stages");
    sound = false;
  }
  if (!sound) return;

  std::set<std::string> axes;
  for (std::size_t from = 0; from <= p.order.size();) {
    const std::size_t to = std::min(p.order.find('-', from), p.order.size());
    axes.insert(p.order.substr(from, to - from));
    from = to + 1;
  }
  if (axes != std::set<std::string>{"tp", "cp", "ep", "dp", "pp"} || p.order.size() != 14)
    r.add("order names each axis once", "parallel.order", fmt::format("'{}' is not an order of tp, cp, ep, dp and pp", p.order),
          "write each axis once, fastest-varying first: tp-cp-ep-dp-pp");

  const std::int64_t ranks = plan.model_ranks();
  const std::int64_t dp = cluster.devices / ranks;
  if (dp < 1 || cluster.devices % ranks != 0)
    r.add("devices divide into replicas", "parallel",
          fmt::format("tp {} x cp {} x pp {} = {} ranks do not divide {} devices", p.tp, p.cp, p.pp, ranks, cluster.devices),
          dp < 1 ? fmt::format("use at most {} ranks per replica, or more devices", cluster.devices)
                 : fmt::format("use {} or {} devices, or other axes", dp * ranks, (dp + 1) * ranks));
  if (dp >= 1 && dp % plan.sharding.replicas != 0)
    r.add("replicas divide dp", "sharding.replicas", fmt::format("{} replicas of the shards do not divide dp {}", plan.sharding.replicas, dp),
          nearest_legal(plan.sharding.replicas, [dp](std::int64_t n) { return dp % n == 0; }));
  if (dp >= 1 && b.global % (b.micro * dp) != 0) {
    const std::int64_t unit = b.micro * dp, below = b.global / unit * unit;
    r.add("micro-batches divide the global batch", "batch.global",
          fmt::format("global batch {} is no multiple of micro {} x dp {} = {}", b.global, b.micro, dp, unit),
          below > 0 ? fmt::format("nearest legal: {} or {}", below, below + unit) : fmt::format("nearest legal: {}", unit));
  } else if (dp >= 1 && b.global / (b.micro * dp) > std::numeric_limits<std::uint16_t>::max()) {
    r.add("at most 65535 micro-batches", "batch.global", fmt::format("{} micro-batches per rank are more than 65535", b.global / (b.micro * dp)),
          "use a larger micro-batch");
  }

  if (dp >= 1 && b.global % (b.micro * dp) == 0 && b.global / (b.micro * dp) <= std::numeric_limits<std::uint16_t>::max() && is_built(plan.schedule))
    schedule_refusals(r, model, plan, b.global / (b.micro * dp));

  if (p.tp > 1) {
    const std::array<std::pair<const char*, std::int64_t>, 4> divided{
        {{"heads", model.heads}, {"kv_heads", model.kv_heads}, {"intermediate", model.intermediate}, {"sequence", p.sp ? b.sequence : 0}}};
    const auto legal = [&](std::int64_t t) { return std::all_of(divided.begin(), divided.end(), [t](const auto& d) { return d.second % t == 0; }); };
    for (const auto& [what, value] : divided)
      if (value % p.tp != 0)
        r.add(fmt::format("tp divides {}", what), "parallel.tp", fmt::format("tp {} does not divide {} {}", p.tp, value, what),
              nearest_legal(p.tp, legal));
  }
  context_refusals(r, model, plan);
  if (p.sp && p.tp == 1) r.add("sp needs tp", "parallel.sp", "sequence parallelism needs tp > 1, and tp is 1", "use sp false, or tp 2 or more");

  expert_refusals(r, model, plan, dp);

  const std::int64_t stages = p.pp * p.vp;
  if (!plan.stages && stages > model.layers)
    r.add("a layer per stage", "parallel.pp", fmt::format("pp {} x vp {} = {} stages for {} layers", p.pp, p.vp, stages, model.layers),
          fmt::format("use at most {} stages, or say where the layers are: the first and the last stage may hold none", model.layers));
  if (plan.stages) {
    const auto& given = *plan.stages;
    std::int64_t sum = 0;
    bool possible = true;
    for (std::size_t i = 0; i < given.size(); ++i) {
      const bool at_an_end = i == 0 || i + 1 == given.size();  // which has the embedding or the head to do
      possible = possible && given[i] >= (at_an_end ? 0 : 1) && given[i] <= model.layers, sum += possible ? given[i] : 0;
    }
    if (static_cast<std::int64_t>(given.size()) != stages)
      r.add("stages has one entry per stage", "stages",
            fmt::format("stages has {} entries, pp {} x vp {} needs {}", given.size(), p.pp, p.vp, stages),
            fmt::format("write {} numbers, or null", stages));
    else if (!possible)
      r.add("a layer per stage", "stages", fmt::format("each stage holds 1 to {} layers, the first and the last 0 or more", model.layers),
            "write such numbers, or null");
    else if (sum != model.layers)
      r.add("stages hold all layers", "stages", fmt::format("stages add up to {} layers, the model has {}", sum, model.layers),
            fmt::format("add {} to the entries, or write null", model.layers - sum));
  }
  if (model.position == PositionEmbedding::learned && b.sequence > model.max_positions)
    r.add("positions cover the sequence", "batch.sequence",
          fmt::format("sequence {} is longer than the {} learned positions", b.sequence, model.max_positions),
          fmt::format("use at most {}", model.max_positions));
  sizes_in_8_bits(r, model, plan, "parallel.tp");
}

// --- Segments ------------------------------------------------------------------------------------------------------------------------------------

// What one segment says, and the plan for it: as a plan of its own layers on its own devices.
void one_segment_refusals(Refusals& r, const Model& model, const Cluster& cluster, const Plan& plan, const PlanSegment& segment, std::size_t i) {
  const SegmentSpec& spec = (*plan.segments)[i];
  const std::string here = fmt::format("segments[{}]", i);
  r.not_built(spec.sharding.has_value(), "sharding of one segment only", here + ".sharding", "write sharding for the whole plan");
  r.not_built(spec.precision.has_value(), "element types of one segment only", here + ".precision", "write precision for the whole plan");
  r.not_built(spec.device.has_value(), "devices of several kinds", here + ".device", "leave device null");
  if (spec.recompute && spec.recompute->kind != "none" && (spec.recompute->kind != "full" || spec.recompute->layers || spec.recompute->method))
    r.not_built(true, "such recomputation", here + ".recompute", "use kind none or full, without layers and method");
  if (plan.overlap.tp && segment.plan.parallel.tp > 1 && !segment.plan.parallel.sp)
    r.add("overlapped tensor parallelism needs sp", "overlap.tp",
          fmt::format("overlap.tp takes linears apart by the rows that sp shards, and {} has tp without sp", here),
          "use sp true, or overlap.tp false");
  r.not_built(segment.plan.parallel.vp > 1, "several stages on each rank of a segment", here + ".parallel.vp", "use vp 1");

  Model part = model;
  part.layers = segment.layers;
  Cluster own = cluster;
  own.devices = segment.devices;
  Plan alone = segment.plan;
  alone.schedule = "1f1b", alone.schedule_args = {}, alone.parallel.vp = 1, alone.overlap.ep = false, alone.optimizer.post_validation = false;
  Refusals of_part;
  structure_refusals(of_part, part, own, alone);
  for (Refusal& refusal : of_part.out) {
    // What does not depend on the segment was said for the first.
    if (i > 0 && !refusal.field.starts_with("parallel") && refusal.field != "stages" && refusal.field != "sharding.replicas" &&
        refusal.field != "batch")
      continue;
    if (refusal.field == "parallel" || (i > 0 && refusal.field == "sharding.replicas")) refusal.field = here + ".devices";
    if (refusal.field.starts_with("parallel.") && spec.parallel) refusal.field = here + "." + refusal.field;
    r.out.push_back(std::move(refusal));
  }
}

// Whether two segments can hand activations to each other.
void boundary_refusals(Refusals& r, const Plan& plan, const PlanSegment& a, const PlanSegment& b, std::size_t i) {
  const ParallelSpec &p = a.plan.parallel, &q = b.plan.parallel;
  const std::string here = fmt::format("segments[{}]", i);
  const auto divide = [&](const char* what, std::int64_t x, std::int64_t y, const std::string& field) {
    const std::int64_t small = std::min(x, y), large = std::max(x, y);
    if (large % small == 0) return;
    r.add(fmt::format("{} of neighbouring segments divide each other", what), field,
          fmt::format("{} {} after {} {}: rows would be cut unevenly between the ranks of both", what, y, what, x),
          nearest_legal(y, [x](std::int64_t n) { return std::max(x, n) % std::min(x, n) == 0; }));
  };
  divide("tp", p.tp, q.tp, here + ".parallel.tp");
  divide("dp", a.dp, b.dp, here + ".devices");
  const bool alike =
      p.cp == q.cp && (p.cp == 1 || (p.cp_kind == q.cp_kind && p.cp_inner == q.cp_inner && p.cp_balanced == q.cp_balanced && p.order == q.order));
  r.not_built(!alike, "contexts shared in unlike ways between segments", here + ".parallel.cp",
              "use the same cp, of the same kind and order, in all");
  const std::int64_t tp = std::max(p.tp, q.tp), unit = p.cp * tp;
  if (alike && plan.batch.sequence % unit != 0)
    r.add("a boundary divides positions", "batch.sequence",
          fmt::format("sequence {} is no multiple of cp {} x tp {}, the ranks that share its rows at the boundary before {}", plan.batch.sequence,
                      p.cp, tp, here),
          fmt::format("use a sequence that is a multiple of {}", unit));
  constexpr std::int64_t kMost = 127;  // Instruction::peer
  const std::int64_t dp = std::max(a.dp, b.dp), most = std::max(dp / a.dp * (tp / p.tp), dp / b.dp * (tp / q.tp));
  if (most > kMost)
    r.add("at most 127 messages per rank at a boundary", here + ".parallel", fmt::format("a rank would exchange rows with {} others", most),
          "change tp and dp by smaller factors from segment to segment");
}

void segment_refusals(Refusals& r, const Model& model, const Cluster& cluster, const Plan& plan) {
  const std::vector<SegmentSpec>& given = *plan.segments;
  constexpr std::size_t kMostSegments = 255;
  if (given.empty() || given.size() > kMostSegments)
    return r.add("1 to 255 segments", "segments", fmt::format("there are {} segments", given.size()), "leave segments null, or name some");
  bool sound = r.positive("batch.micro", plan.batch.micro) && r.positive("batch.global", plan.batch.global);
  std::int64_t layer = 0, devices = 0;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const ParallelSpec& p = plan.parallel_of(given[i]);
    const std::string here = fmt::format("segments[{}]", i);
    for (const auto& [field, value] : {std::pair{".parallel.tp", p.tp}, {".parallel.cp", p.cp}, {".parallel.pp", p.pp}, {".layers", given[i].layers}})
      sound = r.positive(here + field, value) && sound;
    if (given[i].devices) sound = r.positive(here + ".devices", *given[i].devices) && sound;
    if (!sound) return;
    if (given[i].first_layer != layer) {
      r.add("segments follow each other", here + ".first_layer",
            fmt::format("begins with layer {}, and those before it end before layer {}", given[i].first_layer, layer),
            fmt::format("write {}", layer));
      sound = false;
    }
    layer = given[i].first_layer + given[i].layers;
    devices += given[i].devices.value_or(p.tp * p.cp * p.pp);
  }
  if (sound && layer != model.layers) {
    r.add("segments hold all layers", "segments", fmt::format("segments end with {} layers, the model has {}", layer, model.layers),
          "give the last one those that are left");
    sound = false;
  }
  if (devices != cluster.devices) {
    r.add("segments have all devices", "segments", fmt::format("segments have {} devices, the cluster {}", devices, cluster.devices),
          fmt::format("write devices that add up to {}", cluster.devices));
    sound = false;
  }
  if (!sound) return;

  const bool several = given.size() > 1;
  r.not_built(several && model.moe.has_value(), "segments of a mixture of experts", "segments", "leave segments null");
  r.not_built(several && model.tie_embeddings, "a tied table whose copies are in two segments", "segments", "use an untied model");
  r.not_built(several && model.mtp_layers > 0, "prediction modules of another segment than the embedding", "segments", "leave segments null");
  r.not_built(several && plan.optimizer.post_validation, "post-validation across segments", "optimizer.post_validation", "use false");
  if (plan.stages && std::ssize(*plan.stages) != pipeline_ranks(plan))
    return r.add("stages has one entry per stage", "stages",
                 fmt::format("stages has {} entries, the segments' pp add up to {}", plan.stages->size(), pipeline_ranks(plan)),
                 fmt::format("write {} numbers, or null", pipeline_ranks(plan)));
  std::vector<PlanSegment> segments = plan_segments(model, cluster, plan);
  const std::int64_t at_once = plan.batch.micro * segments.front().dp;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const PlanSegment& s = segments[i];
    const bool whole = s.dp < 1 || (s.plan.batch.micro >= 1 && s.plan.batch.micro * s.dp == at_once);
    if (!whole)
      r.add("segments divide the micro-batch", fmt::format("segments[{}].devices", i),
            fmt::format("{} sequences of a micro-batch (batch.micro {} x dp {}) do not divide among dp {}", at_once, plan.batch.micro,
                        segments.front().dp, s.dp),
            fmt::format("use a batch.micro such that batch.micro x {} is a multiple of {}", segments.front().dp, s.dp));
    else
      one_segment_refusals(r, model, cluster, plan, s, i);
  }
  if (plan.stages && several)
    if (std::count(plan.stages->begin(), plan.stages->end(), 0) > (plan.stages->front() == 0 ? 1 : 0) + (plan.stages->back() == 0 ? 1 : 0))
      r.add("a layer per stage", "stages", "only the first and the last stage of all segments may hold no layer", "write such numbers, or null");
  if (!r.out.empty()) return;
  resolve_contexts(model, cluster, segments);
  for (std::size_t i = 1; i < segments.size(); ++i) boundary_refusals(r, plan, segments[i - 1], segments[i], i);
  const std::int64_t microbatches = plan.batch.global / at_once;
  schedule_refusals(r, model, several ? plan : segments.front().plan, microbatches);
  if (!several || !r.out.empty()) return;
  const Schedule schedule = plan_schedule(plan, microbatches);
  r.not_built(schedule.placement != Placement::loop || schedule.chunks > 1 || schedule.splits > 1 || schedule.update_every > 0,
              fmt::format("schedule '{}' with segments", plan.schedule), "schedule", "use gpipe, 1f1b, zb-h1, zb-h2 or zb-auto");
}

}  // namespace

std::vector<Refusal> refusals(const Model& model, const Cluster& cluster, const Plan& plan) {
  Refusals r;
  model_refusals(r, model, plan);
  feature_refusals(r, plan);
  low_precision_refusals(r, model, plan);
  data_parallel_refusals(r, plan);
  if (plan.segments)
    segment_refusals(r, model, cluster, plan);
  else
    structure_refusals(r, model, cluster, plan);
  return r.out;
}

}  // namespace orrery::program
