// The CUDA kernels by name, as the dispatcher sees them: each enqueues on a stream and returns. No header of CUDA is needed to include this.
#pragma once

#include <span>

#include "core/dtype.h"
#include "core/model.h"
#include "executor/kernels/cuda/indexing.h"
#include "executor/kernels/cuda/scalar_math.h"
#include "executor/kernels/kernels.h"

struct CUstream_st;

namespace orrery::executor::cuda {

using Stream = CUstream_st*;  // cudaStream_t

// Elements of fp32 (or tf32, which is stored so), bf16 or fp16 on the device.
struct Array {
  void* data = nullptr;
  DType type = DType::fp32;
  explicit operator bool() const { return data != nullptr; }
};

// Throws Error unless `status` (a cudaError_t) is success.
void check_cuda(int status, const char* what);
// The same of an allocation of `wanted` bytes on the current device; OutOfMemory where it has not so much left.
void check_memory(int status, std::size_t wanted, const char* what);

// Device memory that is given back in the stream's order; neither end waits for the device.
class Scratch {
 public:
  Scratch(Stream stream, Index bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Stream stream_;
  void* data_ = nullptr;
};
// Gives what no Scratch holds back to the device, and begins anew to watch how much they take at most.
void trim_scratch(int device);

// memory.cu
void cast(Stream stream, Index elements, Array from, Array to);
void copy_bytes(Stream stream, Index bytes, const void* from, void* to);
void zero_bytes(Stream stream, Index bytes, void* to);
// rows x `columns` elements of `type`'s width, from column `from_first` of rows of `from_width` to column `to_first` of rows of `to_width`.
void copy_columns(Stream stream, DType type, Index rows, Index columns, const void* from, Index from_width, Index from_first, void* to,
                  Index to_width, Index to_first);
void scatter_heads(Stream stream, DType type, Index rows, const HeadParts& shape, const void* x, void* y);
void gather_heads(Stream stream, DType type, Index rows, const HeadParts& shape, const void* y, void* x);
void broadcast_row(Stream stream, DType type, Index rows, Index width, Array row, void* y);

// elementwise.cu
// also of fp64
void accumulate(Stream stream, DType type, Index elements, const void* x, void* y);
void residual_forward(Stream stream, DType type, Index tokens, Index width, const void* x, Array bias, void* y);
void activation_forward(Stream stream, DType type, Activation kind, bool gated, Index tokens, Index width, const void* u, void* a);
void activation_backward(Stream stream, DType type, Activation kind, bool gated, Index tokens, Index width, const void* u, const void* da, void* du);
void expert_activation_forward(Stream stream, DType type, Activation kind, bool gated, Index experts, Index width, Index most, const void* u,
                               const std::int32_t* counts, const float* weights, void* a);
void expert_activation_backward(Stream stream, DType type, Activation kind, bool gated, Index experts, Index width, Index most, const void* u,
                                const std::int32_t* counts, const float* weights, const void* da, void* du, float* d_weights);

// norm.cu
void norm_forward(Stream stream, DType type, bool layer_norm, Index tokens, Index width, float epsilon, const void* x, Array gamma, Array beta,
                  void* y, float* statistics);
void norm_backward(Stream stream, DType type, bool layer_norm, Index tokens, Index width, const void* dy, const void* x, Array gamma,
                   const float* statistics, void* dx, Array d_gamma, Array d_beta);
void bias_grad(Stream stream, DType type, Index tokens, Index width, const void* dy, Array d_bias);

// embedding.cu
void embedding_forward(Stream stream, DType type, Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, Array table,
                       void* x);
void embedding_backward(Stream stream, DType type, Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, const void* dx,
                        Array d_table);
void position_forward(Stream stream, DType type, Index tokens, Index hidden, Index micro_batch, const Positions& positions, Array table, void* x);
void position_backward(Stream stream, DType type, Index tokens, Index hidden, Index micro_batch, const Positions& positions, const void* dx,
                       Array d_table);

// rotary.cu
struct Rotation {
  static constexpr Index kMost = 512;  // pairs
  Index pairs = 0;
  double amplitude = 1;
  double per_position[kMost]{};
};
void rope(Stream stream, DType type, bool forward, Index tokens, Index q_heads, Index kv_heads, Index head_dim, Index micro_batch,
          const Positions& positions, const Rotation& rotation, void* qkv);
void mla_pack_forward(Stream stream, DType type, Index tokens, const Latent& shape, Index micro_batch, const Positions& positions,
                      const Rotation& rotation, const void* q, const void* kv, const void* k_rope, void* qkv);
void mla_pack_backward(Stream stream, DType type, Index tokens, const Latent& shape, Index micro_batch, const Positions& positions,
                       const Rotation& rotation, const void* d_qkv, void* d_q, void* d_kv, void* d_k_rope);

// loss.cu: columns [0, valid) are tokens, the first of them `offset`
struct VocabularyShard {
  Index offset, valid;
};
void cross_entropy_max(Stream stream, DType type, Index tokens, Index columns, VocabularyShard shard, const void* logits, float* max);
void cross_entropy_sum(Stream stream, DType type, Index tokens, Index columns, VocabularyShard shard, const void* logits, const float* max,
                       const std::int32_t* target, float* sums);
void cross_entropy_grad(Stream stream, DType type, Index tokens, Index columns, VocabularyShard shard, Index global_tokens, double loss_weight,
                        const float* max, const float* sums, const std::int32_t* target, void* logits, double* loss);

// optimizer.cu; m and v are null for sgd, master may be. At random: of bf16 parameters, by the numbers that are `key`'s from `first` on.
struct AtRandom {
  bool on = false;
  std::uint64_t key = 0;
  Index first = 0, step = 1;
  const Index* step_at = nullptr;  // where it is not null, of the step
};
void gradient_norm(Stream stream, Index elements, Array gradient, double* norm);
// AdamW's bias correction, where the device finds the step's number; step_at null: `update` has it already.
struct Correction {
  double lr, beta1, beta2;
  const std::int64_t* step_at;
};
void optimizer_step(Stream stream, Index elements, const Update& update, const Correction& correction, double clip, const double* norm,
                    Array gradient, Array parameter, float* m, float* v, float* master, const AtRandom& at_random);

// quantise.cu: rows x columns of x into codes, or turned into columns x rows of them, or both; columns are a multiple of 8 and, to be turned, rows of
// 16. Scales are of block_rows x 128 of each result, 0: of all (program/quantised.h).
struct Quantised {
  Index rows, columns;
  bool e5m2;
  Index block_rows;
  std::uint8_t* plain = nullptr;  // null: not asked for
  float* plain_scales = nullptr;
  std::uint8_t* turned = nullptr;
  float* turned_scales = nullptr;
};
void largest(Stream stream, DType type, Index elements, const void* x, float* to);
void quantise(Stream stream, DType type, const Quantised& q, const void* x, const float* amax);
void quantise_delayed(Stream stream, DType type, const Quantised& q, const void* x, const float* expected, float* seen);
void update_scales(Stream stream, Index matrices, Index steps, float* seen, float* history, float* expected);

// experts.cu; at most ExpertPlaces::kMost experts
inline constexpr Index kMostRouterGroups = 64;
struct Routing {
  Index tokens, experts, k, groups, chosen_groups;
  bool balanced, sigmoid, normalize;
  double scale;
  Index micro_batch;
};
void route_forward(Stream stream, DType type, const Routing& routing, const Positions& positions, const void* logits, float* weights,
                   std::int32_t* chosen);
void route_backward(Stream stream, DType type, const Routing& routing, const float* d_weights, const void* logits, const std::int32_t* chosen,
                    void* d_logits);
void expert_sort(Stream stream, Index tokens, Index k, const ExpertPlaces& places, const std::int32_t* chosen, std::int32_t* index,
                 std::int32_t* counts);
// The copies for the experts at places [first, first + local), of tokens of so many sources in turn.
void expert_sort_gathered(Stream stream, Index tokens, Index k, const ExpertPlaces& places, Index first, Index local, Index sources,
                          const std::int32_t* chosen, std::int32_t* index, std::int32_t* counts);
void expert_sort_received(Stream stream, Index rows, Index sources, Index experts, const std::int32_t* counts, std::int32_t* index,
                          std::int32_t* sums);
void expert_permute(Stream stream, DType type, Index tokens, Index k, Index width, Index zeroed, const void* x, const std::int32_t* index,
                    void* rows);
void expert_unpermute(Stream stream, DType type, Index tokens, Index k, Index width, const void* rows, const std::int32_t* index, void* x);

// grouped.cu: products by expert, whose rows only the device knows. Weights are of `type`.
void expert_linear_forward(Stream stream, DType type, Index experts, Index in, Index out, Index most, const void* x, const std::int32_t* counts,
                           const void* weight, void* y);
void expert_linear_input_grad(Stream stream, DType type, Index experts, Index in, Index out, Index most, const void* dy, const std::int32_t* counts,
                              const void* weight, void* dx);
void expert_linear_weight_grad(Stream stream, DType type, Index experts, Index in, Index out, const void* x, const void* dy,
                               const std::int32_t* counts, Array d_weight);

// sharing.cu: communication between ranks that share a GPU
inline constexpr int kMostSharing = 64;
struct Ends {
  const void* in[kMostSharing];
  void* out[kMostSharing];
  int members;
};
struct EndCounts {
  const std::int32_t* of[kMostSharing];
  std::int64_t room[kMostSharing];  // rows; -1: enough
  std::int32_t rank[kMostSharing];
  Index per_rank, row_bytes;
};
// What was sent to a rank and did not fit: written by the device into the host's memory, `rank` last.
struct Overflow {
  std::int32_t rank;  // + 1; 0: everything fitted
  std::int64_t rows, room;
};
// In member order, in double, rounded once. `shard`: elements of each member's part, which it alone gets; 0: everybody gets all.
void reduce_shared(Stream stream, DType type, const Ends& ends, Index elements, Index shard, bool greatest);
// `overflows`: kMostSharing of them, by rank modulo that.
void move_by_count(Stream stream, const Ends& ends, const EndCounts& counts, Overflow* overflows);

// attention.cu: correct for every shape with heads of at most kMostHead; what cuDNN does not do, or where it is not there
inline constexpr Index kMostHead = 256;
struct AttentionProblem {
  Index batch, queries, keys, q_heads, kv_heads, qk_dim, v_dim;
  bool causal;
  Strides q, k, v;
  Positions query_positions, key_positions;
};
void attention_forward(Stream stream, DType type, const AttentionProblem& problem, const void* q, const void* k, const void* v, void* out,
                       float* lse);
// The gradients' strides are the operands'. d_q is added to if `adds`; d_k and d_v are written whole.
void attention_backward(Stream stream, DType type, const AttentionProblem& problem, const void* q, const void* k, const void* v, const void* out,
                        const float* lse, const void* d_out, void* d_q, void* d_k, void* d_v, bool adds);
void attention_merge(Stream stream, DType type, Index batch, Index queries, Index heads, Index v_dim, const void* some, const float* some_lse,
                     void* out, float* lse);

}  // namespace orrery::executor::cuda
