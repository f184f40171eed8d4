// A transformer's architecture, read from a Hugging Face config.json: the numbers that decide work, memory and traffic, nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/rope.h"

namespace orrery {

enum class Normalization : std::uint8_t { rmsnorm, layernorm };
enum class Activation : std::uint8_t { silu, gelu, gelu_tanh, relu, relu_squared };
enum class PositionEmbedding : std::uint8_t { rope, learned, alibi, none };

// Multi-head latent attention (DeepSeek-V2): queries and keys are nope + rope wide, values v wide, K and V share a low-rank latent.
struct Mla {
  std::int64_t q_lora_rank = 0;  // 0: full query projection
  std::int64_t kv_lora_rank = 0;
  std::int64_t qk_nope_head_dim = 0;
  std::int64_t qk_rope_head_dim = 0;
  std::int64_t v_head_dim = 0;
  bool latent_norm = true;  // a norm on each latent
  bool operator==(const Mla&) const = default;
};

// A mixture-of-experts feed-forward; which layers carry it is Model::is_moe_layer.
struct Moe {
  std::int64_t experts = 0;
  std::int64_t experts_per_token = 0;
  std::int64_t intermediate = 0;         // width of one routed expert
  std::int64_t shared_intermediate = 0;  // total width of the shared experts; 0: none
  std::int64_t first_dense = 0;          // layers before this one are dense
  std::int64_t every = 1;                // then every n-th layer is a mixture: layer l is one iff l >= first_dense and l % every == offset
  std::int64_t offset = 0;
  std::int64_t latent = 0;   // experts work in this width instead of hidden; 0: hidden
  bool router_bias = false;  // `experts` numbers added to the router's scores (GPT-OSS: trained; DeepSeek-V3: steered by the load)
  bool shared_gate = false;  // Qwen2-MoE: a hidden x 1 gate on the shared expert
  bool expert_bias = false;  // biases on the experts' linears (GPT-OSS)
  std::int64_t router_groups = 0, router_topk_groups = 0;  // node-limited routing (DeepSeek); 0: unrestricted
  bool router_sigmoid = false;                             // scores of the experts by a sigmoid each (DeepSeek-V3), rather than by a softmax over all
  bool router_normalized = true;                           // the chosen scores are divided by their sum
  double router_scale = 1;                                 // and then multiplied with this
  bool operator==(const Moe&) const = default;
};

struct Model {
  std::string name;    // how the user called it, e.g. "llama-3.1-8b"
  std::string family;  // Hugging Face model_type, e.g. "llama"

  std::int64_t layers = 0, hidden = 0, intermediate = 0;  // intermediate: the dense feed-forward's width, 0 where every layer is a mixture
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t vocab = 0;          // rows of the embedding table as published; Plan may pad it
  std::int64_t max_positions = 0;  // rows of a learned position table; otherwise the longest sequence trained for
  bool causal = true;

  Normalization norm = Normalization::rmsnorm;
  double norm_epsilon = 1e-5;
  Activation activation = Activation::silu;
  bool gated_mlp = true;  // three matrices (SwiGLU and kin) rather than two
  PositionEmbedding position = PositionEmbedding::rope;
  double rope_theta = 10000;
  double rope_fraction = 1;  // share of head_dim that is rotated (GPT-NeoX: rotary_pct)
  RopeScaling rope_scaling;  // angles stretched for longer contexts: the same work

  bool tie_embeddings = false;
  bool qkv_bias = false, attention_out_bias = false, mlp_bias = false, head_bias = false, norm_bias = true;  // norm_bias: LayerNorm only
  bool qk_norm = false;               // a norm of head_dim on queries and on keys
  bool qk_norm_trained = true;        // false: that norm has no weights (Llama 4)
  bool parallel_block = false;        // attention and feed-forward read the same normed input and are added together
  bool parallel_shared_norm = false;  // the parallel block has one norm rather than two (PaLM; GPT-NeoX has two)
  bool embedding_norm = false;        // BLOOM, BERT: a norm right after the embedding
  bool post_norm = false;             // BERT, OPT-350m: norms after the residual instead of before the sublayer
  bool final_norm = true;
  std::int64_t token_types = 0;                                 // BERT: rows of the segment embedding
  std::int64_t embedding_width = 0;                             // OPT-350m: word_embed_proj_dim, with projections in and out; 0: hidden
  bool pooler = false, head_transform = false;                  // BERT: the pooler, and the dense+norm in front of the masked-word head
  bool next_sentence_head = false;                              // BERT: a hidden x 2 classifier on the pooler
  bool attention_sinks = false;                                 // GPT-OSS: one trained logit per head
  std::int64_t sliding_window = 0, sliding_window_pattern = 0;  // every n-th layer is full attention; 0 with a window: none is
  std::int64_t attention_chunk = 0;             // Llama 4: layers that are not full attend within chunks of this many tokens; 0: no chunks
  std::optional<std::int64_t> position_offset;  // OPT: its learned table has this many extra rows

  std::optional<Mla> mla;
  std::optional<Moe> moe;
  std::int64_t mtp_layers = 0;  // multi-token-prediction modules after the last layer; their layers are numbered on, and are of its kind
  bool mtp_shared = false;      // one physical module run mtp_layers times

  std::optional<DType> dtype;  // of the published weights

  // Why this model can be simulated but not executed ("mixture of experts", …); empty when every operator has a kernel.
  std::string simulate_only;
  // What cannot even be simulated from this description (a hybrid's Mamba layers, …); empty when nothing.
  std::string unsupported;

  bool operator==(const Model&) const = default;

  std::int64_t all_layers() const { return layers + mtp_layers; }
  // The layer whose parameters it has: prediction modules may share one's.
  std::int64_t weights_of(std::int64_t layer) const { return mtp_shared && layer > layers ? layers : layer; }
  bool is_moe_layer(std::int64_t layer) const {
    const std::int64_t l = layer < layers ? layer : layers - 1;
    return moe && l >= moe->first_dense && l % moe->every == moe->offset % moe->every;
  }
  std::int64_t qk_dim() const { return mla ? mla->qk_nope_head_dim + mla->qk_rope_head_dim : head_dim; }
  std::int64_t v_dim() const { return mla ? mla->v_head_dim : head_dim; }
};

// Trainable parameters by where they sit. `total` is what a published count means: every parameter once, tied tables once.
struct ParameterCount {
  std::int64_t total = 0;
  std::int64_t active = 0;     // used by one token: routed experts count experts_per_token of experts
  std::int64_t embedding = 0;  // word, position and segment tables
  std::int64_t head = 0;       // output projection where it is not tied
  std::int64_t experts = 0;    // routed experts only
  std::int64_t mtp = 0;        // multi-token-prediction modules; not in `total` (Hugging Face counts leave them out)
  bool operator==(const ParameterCount&) const = default;
};

// Exact to the last digit for every family that read_model knows. Throws Error for a model that is `unsupported`.
ParameterCount count_parameters(const Model& model);

// Parameters of one decoder layer, norms and biases included. Throws Error for a model that is `unsupported`.
std::int64_t layer_parameters(const Model& model, std::int64_t layer);

// Roughly `total`, in floating point, so that sizes that cannot hold are seen before they overflow.
double estimate_parameters(const Model& model);

// What the executor has no kernels for, as Model::simulate_only says it: "mixture of experts, sliding window"; empty when it has all.
std::string missing_kernels(const Model& model);

}  // namespace orrery
