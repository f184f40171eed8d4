// Small models, clusters and plans that the compiler's tests draw on.
#pragma once

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"

namespace orrery::program {

inline Model small_llama(std::int64_t layers = 4) {
  Model m;
  m.name = "small", m.family = "llama";
  m.layers = layers, m.hidden = 16, m.intermediate = 24, m.heads = 8, m.kv_heads = 4, m.head_dim = 2, m.vocab = 50, m.max_positions = 64;
  m.norm_bias = false;
  return m;
}

// LayerNorm with bias, biases everywhere, learned positions, two-matrix feed-forward, tied table.
inline Model small_gpt2(std::int64_t layers = 4) {
  Model m = small_llama(layers);
  m.family = "gpt2";
  m.kv_heads = 8, m.norm = Normalization::layernorm, m.norm_bias = true, m.activation = Activation::gelu_tanh, m.gated_mlp = false;
  m.position = PositionEmbedding::learned, m.tie_embeddings = true, m.qkv_bias = m.attention_out_bias = m.mlp_bias = true;
  return m;
}

inline Plan small_plan(std::int64_t tp = 1, std::int64_t pp = 1, std::int64_t dp = 1, std::int64_t microbatches = 4) {
  Plan p;
  p.batch = {.global = microbatches * dp, .micro = 1, .sequence = 8};
  p.parallel.tp = tp, p.parallel.pp = pp;
  p.precision.compute = p.precision.params = DType::fp32;
  p.data_parallel.bucket_bytes = 2048;  // several buckets even here
  return p;
}

inline Cluster small_cluster(const Plan& plan, std::int64_t dp = 1) {
  Cluster c;
  c.name = "small";
  c.devices = plan.model_ranks() * dp;
  c.device.kind = DeviceKind::cpu_core;
  return c;
}

}  // namespace orrery::program
