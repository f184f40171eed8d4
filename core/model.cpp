#include "core/model.h"

#include <algorithm>
#include <type_traits>

#include "core/error.h"

namespace orrery {
namespace {

// Counts in whole numbers, or in floating point for sizes that may not fit them.
template <class Number>
class Counter {
 public:
  explicit Counter(const Model& model) : m_(model) {}

  Number attention() const {
    const Number heads = num(m_.heads);
    const Number out = linear(heads * num(m_.v_dim()), num(m_.hidden), m_.attention_out_bias);
    const Number sinks = m_.attention_sinks ? heads : 0;
    if (m_.mla) {
      const Mla& a = *m_.mla;
      const Number queries = heads * num(m_.qk_dim());
      Number n = out + sinks;
      if (a.q_lora_rank > 0) {
        n += linear(num(m_.hidden), num(a.q_lora_rank), m_.qkv_bias) + linear(num(a.q_lora_rank), queries, false);
        if (a.latent_norm) n += norm(a.q_lora_rank);
      } else {
        n += linear(num(m_.hidden), queries, false);
      }
      n += linear(num(m_.hidden), num(a.kv_lora_rank) + num(a.qk_rope_head_dim), m_.qkv_bias);
      n += linear(num(a.kv_lora_rank), heads * (num(a.qk_nope_head_dim) + num(a.v_head_dim)), false);
      if (a.latent_norm) n += norm(a.kv_lora_rank);
      return n;
    }
    const Number width = (heads + 2 * num(m_.kv_heads)) * num(m_.head_dim);
    const Number qk_norms = m_.qk_norm && m_.qk_norm_trained ? 2 * norm(m_.head_dim) : 0;
    return linear(num(m_.hidden), width, m_.qkv_bias) + out + qk_norms + sinks;
  }

  // Two or three matrices from `width` to `inner` and back.
  Number feed_forward(std::int64_t width, std::int64_t inner, bool bias) const {
    return (m_.gated_mlp ? 2 : 1) * linear(num(width), num(inner), bias) + linear(num(inner), num(width), bias);
  }
  Number expert() const { return feed_forward(m_.moe->latent > 0 ? m_.moe->latent : m_.hidden, m_.moe->intermediate, m_.moe->expert_bias); }
  // Router, shared experts, and the way to the latent width and back.
  Number beside_experts() const {
    const Moe& e = *m_.moe;
    Number n = linear(num(m_.hidden), num(e.experts), false) + (e.router_bias ? num(e.experts) : 0);
    if (e.shared_intermediate > 0) n += feed_forward(m_.hidden, e.shared_intermediate, false);
    if (e.shared_gate) n += num(m_.hidden);
    if (e.latent > 0) n += 2 * linear(num(m_.hidden), num(e.latent), false);
    return n;
  }
  Number block_norms() const { return (m_.parallel_block && m_.parallel_shared_norm ? 1 : 2) * norm(m_.hidden); }

  // A layer without its routed experts.
  Number layer_rest(std::int64_t layer) const {
    return attention() + block_norms() + (m_.is_moe_layer(layer) ? beside_experts() : feed_forward(m_.hidden, m_.intermediate, m_.mlp_bias));
  }
  Number layer(std::int64_t l) const { return layer_rest(l) + (m_.is_moe_layer(l) ? num(m_.moe->experts) * expert() : 0); }

  Number embedding() const {
    Number n = num(m_.vocab) * num(m_.embedding_width > 0 ? m_.embedding_width : m_.hidden) + num(m_.token_types) * num(m_.hidden);
    if (m_.position == PositionEmbedding::learned) n += (num(m_.max_positions) + num(m_.position_offset.value_or(0))) * num(m_.hidden);
    return n;
  }
  Number head() const {
    if (m_.tie_embeddings) return 0;
    return num(m_.vocab) * num(m_.embedding_width > 0 ? m_.embedding_width : m_.hidden);
  }
  // What is neither a table, nor a layer, nor the output projection.
  Number around() const {
    const Number h = num(m_.hidden);
    Number n = 0;
    if (m_.embedding_width > 0) n += 2 * linear(num(m_.embedding_width), h, false);
    if (m_.embedding_norm) n += norm(m_.hidden);
    if (m_.final_norm) n += norm(m_.hidden);
    if (m_.pooler) n += linear(h, h, true);
    if (m_.next_sentence_head) n += linear(h, 2, true);
    if (m_.head_transform) n += linear(h, h, true) + norm(m_.hidden);
    if (m_.head_bias) n += num(m_.vocab);
    return n;
  }
  // DeepSeek-V3 (2.2): norms of the hidden state and of the next embedding, a projection of both to hidden, one layer, a norm before the head.
  Number mtp() const {
    if (m_.mtp_layers == 0) return 0;
    const Number module = 3 * norm(m_.hidden) + linear(2 * num(m_.hidden), num(m_.hidden), false) + layer(m_.layers - 1);
    return module * (m_.mtp_shared ? 1 : num(m_.mtp_layers));
  }
  Number total() const {
    Number n = embedding() + head() + around();
    for (std::int64_t l = 0; l < m_.layers; ++l) n += layer(l);
    return n;
  }

 private:
  static Number num(std::int64_t v) { return static_cast<Number>(v); }
  static Number linear(Number in, Number out, bool bias) { return in * out + (bias ? out : 0); }
  Number norm(std::int64_t width) const { return num(width) * (m_.norm == Normalization::layernorm && m_.norm_bias ? 2 : 1); }

  const Model& m_;
};

void refuse_unsupported(const Model& model) {
  if (!model.unsupported.empty()) throw Error("model " + model.name, "has no exact parameter count: " + model.unsupported);
}

}  // namespace

ParameterCount count_parameters(const Model& model) {
  refuse_unsupported(model);
  const Counter<std::int64_t> counter(model);
  ParameterCount count;
  count.total = counter.total();
  count.embedding = counter.embedding();
  count.head = counter.head();
  count.mtp = counter.mtp();
  count.active = count.total;
  for (std::int64_t l = 0; l < model.layers; ++l) {
    if (!model.is_moe_layer(l)) continue;
    count.experts += model.moe->experts * counter.expert();
    count.active -= (model.moe->experts - model.moe->experts_per_token) * counter.expert();
  }
  return count;
}

std::int64_t layer_parameters(const Model& model, std::int64_t layer) {
  refuse_unsupported(model);
  return Counter<std::int64_t>(model).layer(layer);
}

double estimate_parameters(const Model& model) {
  const Counter<double> counter(model);
  return counter.total() + counter.mtp();
}

std::string missing_kernels(const Model& model) {
  std::string reasons;
  const auto lacks = [&](bool yes, const char* reason) {
    if (yes) reasons += (reasons.empty() ? "" : ", ") + std::string(reason);
  };
  lacks(!model.causal, "attention that is not causal");
  if (model.moe) {
    lacks(model.moe->latent > 0, "experts in a latent width");
    lacks(model.moe->shared_gate, "gated shared experts");
    lacks(model.moe->expert_bias, "biases of experts");
  }
  // Its softmax is stretched too (DeepSeek's mscale), and the description does not say by how much.
  lacks(model.mla && model.rope_scaling.kind != RopeScaling::Kind::none, "latent attention with stretched positions");
  lacks(model.position == PositionEmbedding::alibi, "ALiBi");
  lacks(model.position == PositionEmbedding::rope && model.rope_scaling.kind == RopeScaling::Kind::other, "scaled rotary positions");
  lacks(model.parallel_block, "parallel block");
  lacks(model.qk_norm && !model.qk_norm_trained, "query and key norms without weights");
  lacks(model.attention_sinks, "attention sinks");
  lacks(model.sliding_window > 0, "sliding window");
  lacks(model.attention_chunk > 0, "chunked attention");
  lacks(model.post_norm, "norms after the sublayers");
  lacks(model.embedding_norm, "embedding norm");
  lacks(!model.final_norm, "no final norm");
  lacks(model.token_types > 0, "segment embedding");
  lacks(model.embedding_width > 0, "factored embedding");
  lacks(model.pooler || model.head_transform || model.next_sentence_head || model.head_bias, "masked-word head");
  return reasons;
}

}  // namespace orrery
