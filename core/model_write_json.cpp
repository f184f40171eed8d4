// A model as the config.json that read_model reads back.
#include <nlohmann/json.hpp>

#include "core/model_json.h"
#include "core/model_words.h"

namespace orrery {

using namespace model_words;

namespace {

nlohmann::ordered_json scaling_json(const RopeScaling& s) {
  using Kind = RopeScaling::Kind;
  if (s.kind == Kind::other) return {{"rope_type", "other"}};
  nlohmann::ordered_json j;
  j["rope_type"] = s.kind == Kind::linear ? "linear" : s.kind == Kind::llama3 ? "llama3" : "yarn";
  j["factor"] = s.factor;
  if (s.kind == Kind::linear) return j;
  const bool yarn = s.kind == Kind::yarn;
  j["original_max_position_embeddings"] = s.original_positions;
  j[yarn ? "beta_slow" : "low_freq_factor"] = s.low_turns;
  j[yarn ? "beta_fast" : "high_freq_factor"] = s.high_turns;
  if (yarn) {
    j["attention_factor"] = s.attention_factor;
    j["truncate"] = s.whole_pairs;
  }
  return j;
}

}  // namespace

std::string write_model(const Model& m) {
  nlohmann::ordered_json j;
  const auto or_null = [](std::int64_t v) { return v > 0 ? nlohmann::ordered_json(v) : nlohmann::ordered_json(nullptr); };
  j["_name_or_path"] = m.name;
  j["model_type"] = m.family;
  j["num_hidden_layers"] = m.layers;
  j["hidden_size"] = m.hidden;
  j["intermediate_size"] = or_null(m.intermediate);
  j["num_attention_heads"] = m.heads;
  j["num_key_value_heads"] = m.kv_heads;
  j["head_dim"] = m.head_dim;
  j["vocab_size"] = m.vocab;
  j["max_position_embeddings"] = or_null(m.max_positions);
  j["is_causal"] = m.causal;
  j["normalization"] = name_in(kNormalizations, m.norm);
  j["norm_eps"] = m.norm_epsilon;
  j["norm_bias"] = m.norm_bias;
  j["hidden_act"] = name_in(kActivations, m.activation);
  j["mlp_gated"] = m.gated_mlp;
  j["position_embedding_type"] = name_in(kPositions, m.position);
  j["position_offset"] = m.position_offset ? nlohmann::ordered_json(*m.position_offset) : nlohmann::ordered_json(nullptr);
  j["rope_theta"] = m.rope_theta;
  j["partial_rotary_factor"] = m.rope_fraction;
  if (m.rope_scaling.kind != RopeScaling::Kind::none) j["rope_scaling"] = scaling_json(m.rope_scaling);
  j["tie_word_embeddings"] = m.tie_embeddings;
  j["qkv_bias"] = m.qkv_bias;
  j["attention_out_bias"] = m.attention_out_bias;
  j["mlp_bias"] = m.mlp_bias;
  j["lm_head_bias"] = m.head_bias;
  j["qk_layernorm"] = m.mla ? m.mla->latent_norm : m.qk_norm;
  j["qk_norm_trained"] = m.qk_norm_trained;
  j["use_parallel_residual"] = m.parallel_block;
  j["parallel_shared_norm"] = m.parallel_shared_norm;
  j["embedding_norm"] = m.embedding_norm;
  j["post_norm"] = m.post_norm;
  j["final_norm"] = m.final_norm;
  j["type_vocab_size"] = m.token_types;
  j["word_embed_proj_dim"] = or_null(m.embedding_width);
  j["pooler"] = m.pooler;
  j["head_transform"] = m.head_transform;
  j["next_sentence_head"] = m.next_sentence_head;
  j["attention_sinks"] = m.attention_sinks;
  j["use_sliding_window"] = m.sliding_window > 0;
  j["sliding_window"] = or_null(m.sliding_window);
  j["sliding_window_pattern"] = m.sliding_window_pattern;
  j["attention_chunk_size"] = or_null(m.attention_chunk);
  if (m.mla) {
    j["q_lora_rank"] = or_null(m.mla->q_lora_rank);
    j["kv_lora_rank"] = m.mla->kv_lora_rank;
    j["qk_nope_head_dim"] = m.mla->qk_nope_head_dim;
    j["qk_rope_head_dim"] = m.mla->qk_rope_head_dim;
    j["v_head_dim"] = m.mla->v_head_dim;
  }
  if (m.moe) {
    const Moe& e = *m.moe;
    j["num_experts"] = e.experts;
    j["num_experts_per_tok"] = e.experts_per_token;
    j["moe_intermediate_size"] = e.intermediate;
    j["moe_shared_expert_intermediate_size"] = e.shared_intermediate;
    j["shared_expert_gate"] = e.shared_gate;
    j["first_k_dense_replace"] = e.first_dense;
    j["moe_layer_freq"] = e.every;
    j["moe_layer_offset"] = e.offset;
    j["moe_latent_size"] = e.latent;
    j["router_bias"] = e.router_bias;
    j["expert_bias"] = e.expert_bias;
    j["scoring_func"] = name_in(kScores, e.router_sigmoid);
    j["norm_topk_prob"] = e.router_normalized;
    j["routed_scaling_factor"] = e.router_scale;
    if (e.router_groups > 0) {
      j["n_group"] = e.router_groups;
      j["topk_group"] = e.router_topk_groups;
    }
  }
  j["num_nextn_predict_layers"] = m.mtp_layers;
  j["mtp_use_repeated_layer"] = m.mtp_shared;
  if (m.dtype) j["torch_dtype"] = name_in(kDTypes, *m.dtype);
  if (!m.unsupported.empty()) j["unsupported"] = m.unsupported;
  return j.dump(2) + "\n";
}

}  // namespace orrery
