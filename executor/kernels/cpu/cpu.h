// The CPU kernels by name: plain pointers and sizes, so that no type of a library crosses translation units.
#pragma once

#include <cstdint>
#include <span>

#include "core/model.h"
#include "executor/kernels/kernels.h"
#include "program/positions.h"

namespace orrery::executor::cpu {

using Index = std::int64_t;

// The columns of a logits shard that are tokens: [0, valid); the first of them is token `offset`.
struct VocabularyShard {
  Index offset, valid;
};

// attention_*: dims as in operators.h. Rows of one sequence are `batch` rows apart.
struct AttentionShape {
  Index batch, sequence, q_heads, kv_heads, qk_dim, v_dim;
  bool causal;
};

// attention_block_*: dims as in operators.h. Row of a query or key -> position by runs; `causal` only where the mask hides something.
struct AttentionBlock {
  Index batch, queries, keys, q_heads, kv_heads, qk_dim, v_dim, q_width;
  bool causal;
  std::span<const program::Run> query_runs, key_runs;
};

// scatter_heads, gather_heads.
struct HeadParts {
  Index rows, q_heads, kv_heads, qk_dim, v_dim, parts;
  Index part_kv_heads() const { return kv_heads == 0 ? 0 : kv_heads < parts ? 1 : kv_heads / parts; }
  Index packed_width() const { return q_heads * qk_dim + kv_heads * (qk_dim + v_dim); }
  Index part_width() const { return q_heads / parts * qk_dim + part_kv_heads() * (qk_dim + v_dim); }
};

// embedding.cpp
void embedding_forward(Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, const float* table, float* x);
void embedding_backward(Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, const float* dx, float* d_table);
void position_forward(Index tokens, Index hidden, Index first, Index micro_batch, const float* table, float* x);
void position_backward(Index tokens, Index hidden, Index first, Index micro_batch, const float* dx, float* d_table);

// norm.cpp; beta, d_beta may be null
void rms_norm_forward(Index tokens, Index width, float epsilon, const float* x, const float* gamma, float* y, float* statistics);
void rms_norm_backward(Index tokens, Index width, const float* dy, const float* x, const float* gamma, const float* statistics, float* dx,
                       float* d_gamma);
void layer_norm_forward(Index tokens, Index width, float epsilon, const float* x, const float* gamma, const float* beta, float* y, float* statistics);
void layer_norm_backward(Index tokens, Index width, const float* dy, const float* x, const float* gamma, const float* statistics, float* dx,
                         float* d_gamma, float* d_beta);

// linear.cpp; bias, d_bias may be null
void linear_forward(Index tokens, Index in, Index out, const float* x, const float* weight, const float* bias, float* y);
void linear_input_grad(Index tokens, Index in, Index out, const float* dy, const float* weight, float* dx);
void linear_weight_grad(Index tokens, Index in, Index out, const float* x, const float* dy, float* d_weight, float* d_bias);

// rope.cpp; rotates by +angle forwards and by -angle backwards
struct RopeShape {
  Index tokens, q_heads, kv_heads, head_dim, first, micro_batch;
  double theta, fraction;
  RopeScaling scaling;
};
void rope(const RopeShape& shape, bool forward, float* qkv);

// attention.cpp
void attention_forward(const AttentionShape& shape, const float* qkv, float* out, float* lse);
void attention_backward(const AttentionShape& shape, const float* qkv, const float* out, const float* lse, const float* d_out, float* d_qkv);
void attention_block_forward(const AttentionBlock& shape, const float* q, const float* kv, float* out, float* lse);
void attention_block_backward(const AttentionBlock& shape, const float* q, const float* kv, const float* out, const float* lse, const float* d_out,
                              float* d_q, float* d_kv);
void attention_merge(Index batch, Index queries, Index heads, Index v_dim, const float* some, const float* some_lse, float* out, float* lse);
void take_columns(Index rows, Index width, Index first, Index columns, const float* x, float* y);
void put_columns(Index rows, Index width, Index first, Index columns, const float* x, float* y);
void scatter_columns(Index rows, Index columns, Index parts, const float* x, float* y);
void gather_columns(Index rows, Index columns, Index parts, const float* y, float* x);
void scatter_heads(const HeadParts& shape, const float* x, float* y);
void gather_heads(const HeadParts& shape, const float* y, float* x);

// latent.cpp
struct LatentShape {
  Index tokens, heads, nope, rope, v, first, micro_batch;
  double theta;
  RopeScaling scaling;
};
void split_columns(Index rows, Index left, Index right, const float* x, float* a, float* b);
void join_columns(Index rows, Index left, Index right, const float* a, const float* b, float* x);
void mla_pack_forward(const LatentShape& shape, const float* q, const float* kv, const float* k_rope, float* qkv);
void mla_pack_backward(const LatentShape& shape, const float* d_qkv, float* d_q, float* d_kv, float* d_k_rope);

// experts.cpp
struct Routing {
  Index tokens, experts, k, groups, chosen_groups;
  bool balanced;
  Index first_row;  // balanced: of the micro-batch
  RouterSettings settings;
};
void route_forward(const Routing& routing, const float* logits, float* weights, std::int32_t* chosen);
void route_backward(const Routing& routing, const float* d_weights, const float* logits, const std::int32_t* chosen, float* d_logits);
struct ExpertPlaces {
  Index experts, ep, etp, capacity;
  std::span<const std::int32_t> of;  // by expert; empty: its number
  Index operator()(std::int32_t expert) const { return of.empty() ? expert : of[static_cast<std::size_t>(expert)]; }
};
void expert_sort(Index tokens, Index k, const ExpertPlaces& places, const std::int32_t* chosen, std::int32_t* index, std::int32_t* counts);
// The copies for the experts at places [first, first + local), of tokens of so many sources in turn.
void expert_sort_gathered(Index tokens, Index k, const ExpertPlaces& places, Index first, Index local, Index sources, const std::int32_t* chosen,
                          std::int32_t* index, std::int32_t* counts);
void expert_sort_received(Index rows, Index sources, Index experts, const std::int32_t* counts, std::int32_t* index, std::int32_t* sums);
// zeroed: so many rows are set to zero first
void expert_permute(Index tokens, Index k, Index width, Index zeroed, const float* x, const std::int32_t* index, float* rows);
void expert_unpermute(Index tokens, Index k, Index width, const float* rows, const std::int32_t* index, float* x);
void expert_linear_forward(Index experts, Index in, Index out, const float* x, const std::int32_t* counts, const float* weight, float* y);
void expert_linear_input_grad(Index experts, Index in, Index out, const float* dy, const std::int32_t* counts, const float* weight, float* dx);
void expert_linear_weight_grad(Index experts, Index in, Index out, const float* x, const float* dy, const std::int32_t* counts, float* d_weight);
void expert_activation_forward(Activation kind, bool gated, Index experts, Index width, const float* u, const std::int32_t* counts,
                               const float* weights, float* a);
void expert_activation_backward(Activation kind, bool gated, Index experts, Index width, const float* u, const std::int32_t* counts,
                                const float* weights, const float* da, float* du, float* d_weights);

// elementwise.cpp; bias may be null
void activation_forward(Activation kind, bool gated, Index tokens, Index width, const float* u, float* a);
void activation_backward(Activation kind, bool gated, Index tokens, Index width, const float* u, const float* da, float* du);
void residual_forward(Index tokens, Index width, const float* x, const float* bias, float* y);
void bias_grad(Index tokens, Index width, const float* dy, float* d_bias);
void accumulate(Index elements, const float* x, float* y);

// loss.cpp
void cross_entropy_max(Index tokens, Index columns, VocabularyShard shard, const float* logits, float* max);
void cross_entropy_sum(Index tokens, Index columns, VocabularyShard shard, const float* logits, const float* max, const std::int32_t* target,
                       float* sums);
void cross_entropy_grad(Index tokens, Index columns, VocabularyShard shard, Index global_tokens, double loss_weight, const float* max,
                        const float* sums, const std::int32_t* target, float* logits, double* loss);

// optimizer.cpp; m, v (sgd) and master may be null
double sum_of_squares(Index elements, const float* x);
void optimizer_step(const OptimizerSettings& settings, Index step, Index elements, double norm_squared, const float* gradient, float* parameter,
                    float* m, float* v, float* master);

}  // namespace orrery::executor::cpu
