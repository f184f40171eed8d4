// Small models and plans that are run, and how runs are compared.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "executor/data/tokens.h"
#include "executor/run.h"
#include "program/compile.h"

namespace orrery::executor {

// Llama's shape: RMSNorm, rotary positions, grouped queries, SwiGLU, an untied head; a vocabulary that two and four ranks must pad.
inline Model tiny_llama() {
  Model m;
  m.name = "tiny-llama", m.family = "llama";
  m.layers = 4, m.hidden = 32, m.intermediate = 48, m.heads = 8, m.kv_heads = 4, m.head_dim = 4, m.vocab = 61, m.max_positions = 64;
  m.norm_bias = false;
  return m;
}

// GPT-2's shape: LayerNorm with bias, learned positions, GELU, biases everywhere, one table for both ends.
inline Model tiny_gpt2() {
  Model m = tiny_llama();
  m.name = "tiny-gpt2", m.family = "gpt2";
  m.kv_heads = m.heads, m.norm = Normalization::layernorm, m.norm_bias = true, m.activation = Activation::gelu_tanh, m.gated_mlp = false;
  m.position = PositionEmbedding::learned, m.tie_embeddings = true, m.qkv_bias = m.attention_out_bias = m.mlp_bias = true;
  return m;
}

// OPT's: a position table that begins two rows late, and ReLU.
inline Model tiny_opt() {
  Model m = tiny_gpt2();
  m.name = "tiny-opt", m.family = "opt";
  m.activation = Activation::relu, m.position_offset = 2;
  return m;
}

// Llama 3.1's stretched angles, so strongly that 16 positions see them, on the first half of each head only; a gate of GELU.
inline Model tiny_stretched() {
  Model m = tiny_llama();
  m.name = "tiny-stretched";
  m.head_dim = 8, m.rope_theta = 100, m.rope_fraction = 0.5, m.activation = Activation::gelu;
  m.rope_scaling = {.kind = RopeScaling::Kind::llama3, .factor = 8, .original_positions = 16, .low_turns = 1, .high_turns = 4};
  return m;
}

// DeepSeek's attention: queries and keys from normed latents, 6 + 2 wide, values 5 wide.
inline Model tiny_latent(std::int64_t q_lora_rank) {
  Model m = tiny_llama();
  m.name = "tiny-latent", m.family = "deepseek_v3";
  m.kv_heads = m.heads, m.mla = Mla{q_lora_rank, 10, 6, 2, 5, true}, m.head_dim = m.qk_dim();
  return m;
}

// Mixtral's feed-forward: eight experts, two for each token, by softmax.
inline Model tiny_mixture() {
  Model m = tiny_llama();
  m.name = "tiny-mixture", m.family = "mixtral";
  m.moe = Moe{};
  m.moe->experts = 8, m.moe->experts_per_token = 2, m.moe->intermediate = 24;
  return m;
}

// DeepSeek's: latent attention, one dense layer, scores by sigmoids, groups of experts, a shared expert.
inline Model tiny_deepseek() {
  Model m = tiny_latent(12);
  m.name = "tiny-deepseek";
  m.moe = Moe{};
  Moe& e = *m.moe;
  e.experts = 8, e.experts_per_token = 2, e.intermediate = 16, e.shared_intermediate = 16, e.first_dense = 1;
  e.router_groups = 4, e.router_topk_groups = 2, e.router_sigmoid = true, e.router_scale = 2.5;
  return m;
}

struct Layout {
  std::int64_t dp = 1, tp = 1, pp = 1;
  bool sp = false;
  std::string schedule = "1f1b";
  std::int64_t zero = 0;
  bool recompute = false;
  std::int64_t micro = 1;
  bool overlap = true;
  std::int64_t vp = 1;
  std::string data = "";  // what data parallelism does otherwise: words joined by '_', see plan_of
  bool has(std::string_view word) const { return ("_" + data + "_").find("_" + std::string(word) + "_") != std::string::npos; }
  std::int64_t ep = 1, etp = 1;
  bool balanced = false;
  double capacity = 0;
  std::int64_t cp = 1;
  std::string cp_kind = "allgather";
  std::int64_t cp_inner = 1;  // of a2a+p2p
  bool cp_balanced = true;
  std::int64_t splits = 1;
  bool overlap_tp = false;
};

// As a test's name may be: of letters, digits and underscores.
inline std::string name(const Layout& l) {
  std::string schedule = l.schedule, kind = l.cp_kind;
  std::replace(schedule.begin(), schedule.end(), '-', '_');
  std::replace(kind.begin(), kind.end(), '+', '_');
  const std::string context = l.cp == 1 ? ""
                                        : fmt::format("cp{}_{}{}{}_", l.cp, kind, l.cp_kind == "a2a+p2p" ? std::to_string(l.cp_inner) : "",
                                                      l.cp_balanced ? "" : "_contiguous");
  return (l.splits == 1 ? "" : fmt::format("splits{}_", l.splits)) + context +
         fmt::format("dp{}_tp{}{}_pp{}_{}_zero{}{}{}{}", l.dp, l.tp, l.sp ? "sp" : "", l.pp, schedule, l.zero, l.recompute ? "_recompute" : "",
                     l.micro == 1 ? "" : fmt::format("_micro{}", l.micro), l.overlap ? "" : "_sync") +
         (l.vp == 1 ? "" : fmt::format("_vp{}", l.vp)) + (l.data.empty() ? "" : "_" + l.data) +
         (l.ep * l.etp == 1 ? "" : fmt::format("_ep{}_etp{}", l.ep, l.etp)) + (l.balanced ? "_balanced" : "") + (l.capacity > 0 ? "_capacity" : "") +
         (l.overlap_tp ? "_overlapped" : "");
}

inline Plan plan_of(const Layout& l, std::int64_t global = 8, std::int64_t sequence = 16) {
  Plan p;
  p.batch = {.global = global, .micro = l.micro, .sequence = sequence};
  p.parallel.tp = l.tp, p.parallel.pp = l.pp, p.parallel.sp = l.sp, p.parallel.vp = l.vp;
  p.parallel.cp = l.cp, p.parallel.cp_kind = l.cp_kind, p.parallel.cp_balanced = l.cp_balanced;
  if (l.cp_kind == "a2a+p2p") p.parallel.cp_inner = l.cp_inner;
  p.schedule = l.schedule;
  if (l.splits > 1) p.schedule_args.splits = l.splits;
  p.overlap.tp = l.overlap_tp;
  p.parallel.ep = l.ep, p.parallel.etp = l.etp;
  p.runtime.moe_balanced = l.balanced;
  if (l.capacity > 0) p.moe.capacity_factor = l.capacity, p.moe.drop = true;
  p.sharding.zero = l.zero;
  p.recompute.kind = l.recompute ? "full" : "none";
  p.precision.compute = p.precision.params = p.precision.grads = p.precision.optimizer = DType::fp32;
  p.data_parallel.bucket_bytes = 8192;  // several buckets even here
  p.overlap.grad_reduce = p.overlap.param_gather = p.overlap.p2p = l.overlap;
  p.optimizer.lr = 1e-3;
  if (l.has("replicas")) p.sharding.replicas = 2;
  if (l.has("kept")) p.sharding.reshard_after_forward = false;
  if (l.has("once")) p.sharding.reduce_every_microbatch = false;
  if (l.has("ahead")) p.data_parallel.prefetch = 3;
  if (l.has("limited")) p.data_parallel.rate_limit = p.data_parallel.prefetch.value_or(1) + 1;
  if (l.has("units")) p.data_parallel.bucket_bytes.reset();
  if (l.has("levels")) p.data_parallel.hierarchical = true;
  if (l.has("horovod")) p.data_parallel.kind = "horovod";
  if (l.has("cycle")) p.data_parallel.cycle = 0.3, p.data_parallel.backward = 1;
  if (l.has("servers")) p.data_parallel.kind = "parameter-server", p.data_parallel.servers = 2;
  if (l.has("priority")) p.data_parallel.kind = "priority";
  if (l.has("gathered")) p.runtime.moe_dispatcher = "allgather";
  if (l.has("robin")) p.moe.expert_map = "round-robin";
  if (l.has("outside")) p.parallel.order = "dp-tp-cp-ep-pp";
  return p;
}

inline Cluster cores(std::int64_t ranks) {
  Cluster c;
  c.name = "cores", c.devices = c.node_size = ranks;
  c.device.kind = DeviceKind::cpu_core;
  return c;
}

inline Cluster cluster_of(const Plan& plan, std::int64_t dp) {
  Cluster cluster = cores(plan.model_ranks() * dp);
  if (plan.data_parallel.hierarchical) cluster.node_size = 2;
  return cluster;
}

inline program::Program compiled(const Model& model, const Plan& plan, std::int64_t dp) {
  return program::compile(model, cluster_of(plan, dp), plan);
}

inline RunResult run_layout(const Model& model, const Layout& l, const Plan& plan, const TokenSource& source, RunOptions options) {
  return run(compiled(model, plan, l.dp), model, plan, source, options);
}

inline double relative(double a, double b) { return std::abs(a - b) / std::max({std::abs(a), std::abs(b), 1e-30}); }

}  // namespace orrery::executor
