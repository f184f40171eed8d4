// Where a role's trainable tensors lie in its flat buffers, and how the flat buffers are cut into buckets.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "program/builder.h"
#include "program/loads.h"
#include "program/program.h"

namespace orrery::program {

// Members of the groups that exchange heads (inner) and that pass on or gather keys and values (outer): inner · outer = cp.
struct ContextFactors {
  std::int64_t inner = 1, outer = 1;
  bool operator==(const ContextFactors&) const = default;
};

// A mixture of experts as one rank sees it. Its tokens' copies, one for each shard of each expert chosen, are `sent`; a rank expects `rows` for its
// own experts' shards and has room for `most`: exactly what comes where a capacity or a balanced router says how much that is, otherwise all that
// could.
// Where tokens are gathered instead, each rank sorts those of all ranks, `sent` is `most`, and it takes out the rows for its own experts.
struct ExpertDimensions {
  std::int64_t experts = 0, k = 0, groups = 1, chosen_groups = 1;
  std::int64_t ep = 1, etp = 1, local = 0;  // ranks that share the experts, shards of each; experts of this rank
  std::int64_t width = 0, up = 0;           // local widths of an expert's activation and of its fused up projection
  std::int64_t shared = 0, shared_up = 0;   // the same of the shared experts
  std::int64_t capacity = 0;                // rows of each expert from each rank; 0: as many as there are
  std::int64_t sent = 0, rows = 0, most = 0;
  bool balanced = false;
  bool gathered = false;
  std::int64_t sources() const { return ep * etp; }
  bool exchanged() const { return sources() > 1 && !gathered; }
};

// Sizes that one rank works with.
struct Dimensions {
  std::int64_t micro = 1, sequence = 1;
  ContextFactors context;       // members of the groups that share a sequence; each rank has sequence / (inner · outer · splits) positions of it
  bool gathers_kv = false;      // the outer group gathers keys and values rather than to pass them on
  std::int64_t splits = 1;      // passes that a sequence is split into
  std::int64_t rows = 1;        // tokens of a micro-batch (or of its split) that this rank holds
  std::int64_t local_rows = 1;  // of which outside the tensor-parallel regions: rows / t with sequence parallelism
  std::int64_t t = 1;
  bool sp = false;
  std::int64_t hidden = 0, head_dim = 0, q_heads = 0, kv_heads = 0;  // heads: local
  std::int64_t attention = 0, qkv = 0;                               // local widths of the attention's result and of the fused projection
  std::int64_t intermediate = 0, up = 0;                             // local widths of the activation's result and of the fused up projection
  std::int64_t vocab = 0, padded_vocab = 0;                          // vocab: local, of the padded table
  std::int64_t v_head_dim = 0;                                       // head_dim: of queries and keys
  ExpertDimensions experts;
  std::int64_t routed_rows() const { return experts.gathered ? local_rows * experts.sources() : local_rows; }  // tokens that a rank sorts by expert
};
// Requires parallel.cp_inner where cp_kind leaves it open. `cluster`: where devices give memory as routers ask for it; otherwise there is room for
// all. `splits`: of the schedule.
Dimensions dimensions(const Model& model, const Plan& plan, std::int64_t splits = 1, const Cluster* cluster = nullptr);

// By layer, the rows of its busiest rank under the plan's load of experts; of layers without experts none.
std::vector<BusiestRows> busiest_rows(const Model& model, const Plan& plan, const Dimensions& d);

// Gradients of a tensor on the ranks of a tensor-parallel group: each of its own shard; the same on all; or of a replicated tensor, each a part.
enum class Replication : std::uint8_t { sharded, equal, partial };

// The ranks that hold the same tensors and add up their gradients, in two factors: `inner` owns equal parts where something is sharded, or shares a
// node; `outer` holds the same part. kNone: one rank.
struct DataGroups {
  std::uint16_t all = kNone, inner = kNone, outer = kNone;
  std::int64_t ranks = 1, parts = 1;  // of `all`, of `inner`
};
DataGroups data_groups(Tables& tables, bool experts);

inline constexpr std::int32_t kAbsent = -1;

// What one operator uses as one weight: one or several parameters, contiguous.
struct Tensor {
  std::vector<Parameter> pieces;  // offsets are filled in by the layout
  std::uint16_t layer = kNone;
  std::string name;
  Replication replication = Replication::sharded;
  bool experts = false;                           // reduced among the ranks that hold the same experts
  std::uint16_t unit = 0;                         // of the model: 0 the embedding, then layer by layer, then the head
  std::uint16_t chunk = 0;                        // whose backward pass is the last to write its gradient
  bool shared = false;                            // a table of both ends that two chunks of this rank use
  std::uint16_t first_chunk = 0, head_chunk = 0;  // whose forward pass reads it first; whose backward pass is the first to write its gradient
  bool embedding_group = false;                   // a table of both ends whose other copy is on another stage
  bool copy = false;                              // another rank holds the same and counts it: that tied copy, or a stage of the mirrored pipeline
  std::uint32_t weight = 0, gradient = 0;         // views, where this rank keeps all of it
  std::uint16_t bucket = 0;
  std::int64_t within = 0;        // its first element in the bucket
  std::int32_t linear = kAbsent;  // of a layer's linear, other than a router's or an expert's: its number among them
  std::int64_t elements() const;
};

// Indices into Layout::tensors.
struct LayerTensors {
  std::int32_t norm1 = kAbsent, norm1_bias = kAbsent, qkv = kAbsent, qkv_bias = kAbsent, q_norm = kAbsent, k_norm = kAbsent, out = kAbsent,
               out_bias = kAbsent;
  // Latent attention; q_b is split by heads, and of the hidden state where queries have no latent.
  std::int32_t q_a = kAbsent, q_a_norm = kAbsent, q_b = kAbsent, kv_a = kAbsent, kv_a_norm = kAbsent, kv_b = kAbsent;
  std::int32_t norm2 = kAbsent, norm2_bias = kAbsent, up = kAbsent, up_bias = kAbsent, down = kAbsent, down_bias = kAbsent;
  // A mixture in place of up and down: the experts' are stacks of matrices.
  std::int32_t router = kAbsent, experts_up = kAbsent, experts_down = kAbsent, shared_up = kAbsent, shared_down = kAbsent;
};

// A module of multi-token prediction; its projection is of the embedding of a later token (first columns) and the hidden state.
struct ModuleTensors {
  std::int32_t embedding_norm = kAbsent, hidden_norm = kAbsent, projection = kAbsent, final_norm = kAbsent;
  LayerTensors layer;
};

struct ChunkTensors {
  std::int32_t embedding = kAbsent, position = kAbsent, embedding_norm = kAbsent, embedding_norm_bias = kAbsent;
  std::vector<LayerTensors> layers;
  std::int32_t final_norm = kAbsent, final_norm_bias = kAbsent, head = kAbsent, head_bias = kAbsent;
  // The last stage's, in the order in which they run: one more than once where they are shared. They read the embedding table, or a copy of it.
  std::vector<ModuleTensors> modules;
  std::int32_t next_embedding = kAbsent;
};

// The gradients that a chunk's backward pass writes, each as often as it writes it; `by_weight_grad`: those that its weight_grad writes where the
// backward is split.
struct GradientWrite {
  std::int32_t tensor = kAbsent;
  bool by_weight_grad = false;
};
std::vector<GradientWrite> gradient_writes(const ChunkTensors& chunk);

struct Layout {
  std::vector<Tensor> tensors;  // by chunk, in the order in which the forward pass first needs them
  std::vector<ChunkTensors> chunks;
  std::int32_t linears = 0;  // tensors that have such a number

  std::uint32_t parameters = 0, gradients = 0;  // the flat buffers
  struct BucketViews {
    // The whole bucket, where this rank keeps all of it.
    std::uint32_t parameter = 0, gradient = 0;
    // What this rank updates: the whole, or its part.
    std::uint32_t own_parameter = 0, own_gradient = 0;
    std::int32_t m = kAbsent, v = kAbsent, master = kAbsent;  // of the same
    std::uint32_t node_gradient = 0;                          // hierarchical: what this rank adds up across nodes
    bool experts = false;                                     // as Tensor::experts: all or none
    bool partial = false;                                     // all-reduce over tp first
    std::uint16_t copies = kNone;                             // the group of another rank that holds the same, to be reduced with
    std::uint16_t chunk = 0;                                  // as Tensor::chunk: a bucket never holds tensors of two
    std::uint16_t first_chunk = 0, head_chunk = 0;            // as Tensor's
    std::uint16_t unit = 0;                                   // sharded parameters: as Tensor::unit
    std::uint16_t tick = 0;                                   // horovod: the cycle at whose end it is reduced
    std::uint32_t next_use = 0;                               // earlier in the forward pass: less
    std::int64_t elements = 0, owned = 0;                     // of the whole; that this rank updates
    DataGroups groups;
    bool sharded_gradient = false, sharded_parameter = false;
  };
  std::vector<BucketViews> buckets;  // as Role::buckets
};

// What the layout depends on besides the model.
struct LayoutSettings {
  std::int64_t stages = 1;       // of the pipeline
  bool mirrored = false;         // another rank holds the same two stages
  bool splits = false;           // the schedule splits backward passes
  std::uint16_t last_chunk = 0;  // the chunk whose backward passes end last
};

// Lays the tensors out in the order in which the backward pass produces their gradients (replicated tensors last), declares the flat buffers and
// their views, and fills Role::parameters, buckets, parameter_buffer and gradient_buffer. Under ZeRO a bucket's optimizer state (1), gradients (2)
// and parameters (3) are those of the own part; with 3 a bucket holds tensors of one unit only. Where backward passes are split and gradients
// sharded, no bucket holds tensors of both halves, so that each half scatters its own.
Layout lay_out(Builder& b, const Model& model, const Plan& plan, const Dimensions& d, const LayoutSettings& settings);

}  // namespace orrery::program
