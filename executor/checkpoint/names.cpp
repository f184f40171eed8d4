#include "executor/checkpoint/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <string_view>
#include <utility>

namespace orrery::executor {
namespace {

using Names = std::pair<std::string_view, std::string_view>;

// By the parameter's name within its layer ("attention.q"), or its whole name. "{}": the expert.
constexpr std::array<Names, 45> kLlama{{
    {"embedding.table", "model.embed_tokens.weight"},
    {"embedding.position", "model.embed_positions.weight"},
    {"embedding.norm", "model.embed_layernorm.weight"},
    {"embedding.norm_bias", "model.embed_layernorm.bias"},
    {"final_norm", "model.norm.weight"},
    {"final_norm_bias", "model.norm.bias"},
    {"head", "lm_head.weight"},
    {"head_bias", "lm_head.bias"},
    {"attention.norm", "input_layernorm.weight"},
    {"attention.norm_bias", "input_layernorm.bias"},
    {"attention.q", "self_attn.q_proj.weight"},
    {"attention.k", "self_attn.k_proj.weight"},
    {"attention.v", "self_attn.v_proj.weight"},
    {"attention.q_bias", "self_attn.q_proj.bias"},
    {"attention.k_bias", "self_attn.k_proj.bias"},
    {"attention.v_bias", "self_attn.v_proj.bias"},
    {"attention.q_norm", "self_attn.q_norm.weight"},
    {"attention.k_norm", "self_attn.k_norm.weight"},
    {"attention.out", "self_attn.o_proj.weight"},
    {"attention.out_bias", "self_attn.o_proj.bias"},
    {"attention.q_a", "self_attn.q_a_proj.weight"},
    {"attention.q_a_norm", "self_attn.q_a_layernorm.weight"},
    {"attention.kv_a", "self_attn.kv_a_proj_with_mqa.weight"},
    {"attention.kv_a_norm", "self_attn.kv_a_layernorm.weight"},
    {"attention.kv_b", "self_attn.kv_b_proj.weight"},
    {"mlp.norm", "post_attention_layernorm.weight"},
    {"mlp.norm_bias", "post_attention_layernorm.bias"},
    {"mlp.gate", "mlp.gate_proj.weight"},
    {"mlp.up", "mlp.up_proj.weight"},
    {"mlp.down", "mlp.down_proj.weight"},
    {"mlp.gate_bias", "mlp.gate_proj.bias"},
    {"mlp.up_bias", "mlp.up_proj.bias"},
    {"mlp.down_bias", "mlp.down_proj.bias"},
    {"mlp.router", "mlp.gate.weight"},
    {"mlp.shared.gate", "mlp.shared_experts.gate_proj.weight"},
    {"mlp.shared.up", "mlp.shared_experts.up_proj.weight"},
    {"mlp.shared.down", "mlp.shared_experts.down_proj.weight"},
    {"mlp.experts.gate", "mlp.experts.{}.gate_proj.weight"},
    {"mlp.experts.up", "mlp.experts.{}.up_proj.weight"},
    {"mlp.experts.down", "mlp.experts.{}.down_proj.weight"},
    {"mtp.embedding_norm", "enorm.weight"},
    {"mtp.hidden_norm", "hnorm.weight"},
    {"mtp.projection", "eh_proj.weight"},
    {"mtp.final_norm", "shared_head.norm.weight"},
    {"attention.q_b", "self_attn.q_b_proj.weight"},
}};
constexpr std::array<Names, 4> kMixtral{{
    {"mlp.router", "block_sparse_moe.gate.weight"},
    {"mlp.experts.gate", "block_sparse_moe.experts.{}.w1.weight"},
    {"mlp.experts.down", "block_sparse_moe.experts.{}.w2.weight"},
    {"mlp.experts.up", "block_sparse_moe.experts.{}.w3.weight"},
}};
constexpr std::array<Names, 14> kOpt{{
    {"embedding.table", "model.decoder.embed_tokens.weight"},
    {"embedding.position", "model.decoder.embed_positions.weight"},
    {"final_norm", "model.decoder.final_layer_norm.weight"},
    {"final_norm_bias", "model.decoder.final_layer_norm.bias"},
    {"attention.norm", "self_attn_layer_norm.weight"},
    {"attention.norm_bias", "self_attn_layer_norm.bias"},
    {"attention.out", "self_attn.out_proj.weight"},
    {"attention.out_bias", "self_attn.out_proj.bias"},
    {"mlp.norm", "final_layer_norm.weight"},
    {"mlp.norm_bias", "final_layer_norm.bias"},
    {"mlp.up", "fc1.weight"},
    {"mlp.up_bias", "fc1.bias"},
    {"mlp.down", "fc2.weight"},
    {"mlp.down_bias", "fc2.bias"},
}};
constexpr std::array<Names, 20> kGpt2{{
    {"embedding.table", "transformer.wte.weight"},
    {"embedding.position", "transformer.wpe.weight"},
    {"final_norm", "transformer.ln_f.weight"},
    {"final_norm_bias", "transformer.ln_f.bias"},
    {"attention.norm", "ln_1.weight"},
    {"attention.norm_bias", "ln_1.bias"},
    {"attention.q", "attn.c_attn.weight"},
    {"attention.k", "attn.c_attn.weight"},
    {"attention.v", "attn.c_attn.weight"},
    {"attention.q_bias", "attn.c_attn.bias"},
    {"attention.k_bias", "attn.c_attn.bias"},
    {"attention.v_bias", "attn.c_attn.bias"},
    {"attention.out", "attn.c_proj.weight"},
    {"attention.out_bias", "attn.c_proj.bias"},
    {"mlp.norm", "ln_2.weight"},
    {"mlp.norm_bias", "ln_2.bias"},
    {"mlp.up", "mlp.c_fc.weight"},
    {"mlp.up_bias", "mlp.c_fc.bias"},
    {"mlp.down", "mlp.c_proj.weight"},
    {"mlp.down_bias", "mlp.c_proj.bias"},
}};

template <std::size_t N>
std::string_view look_up(const std::array<Names, N>& names, std::string_view own) {
  const auto found = std::find_if(names.begin(), names.end(), [own](const Names& n) { return n.first == own; });
  return found == names.end() ? std::string_view{} : found->second;
}

std::string_view stored_name(const Model& model, std::string_view own) {
  std::string_view found;
  if (model.family == "mixtral") found = look_up(kMixtral, own);
  if (model.family == "opt") found = look_up(kOpt, own);
  if (model.family == "gpt2") found = look_up(kGpt2, own);
  if (found.empty()) found = look_up(kLlama, own);
  return found.empty() ? own : found;
}

}  // namespace

bool named_as_published(const Model& model) {
  constexpr std::array<std::string_view, 10> kKnown{"llama", "mistral",   "qwen2",       "qwen3",       "mixtral",
                                                    "gpt2",  "qwen3_moe", "deepseek_v2", "deepseek_v3", "opt"};
  return std::find(kKnown.begin(), kKnown.end(), model.family) != kKnown.end();
}

std::vector<StoredPlace> stored_places(const Model& model, const program::Parameter& p, std::int64_t begin, std::int64_t end) {
  std::string layer;
  std::string_view own = p.name;
  if (own.starts_with("layers.")) {
    const std::size_t dot = own.find('.', 7);
    assert(dot != std::string_view::npos);
    layer = own.substr(7, dot - 7);
    own.remove_prefix(dot + 1);
  }
  const std::string_view pattern = stored_name(model, own);
  std::string prefix;
  if (!layer.empty())
    prefix = fmt::format("{}.{}.", model.family == "gpt2" ? "transformer.h" : model.family == "opt" ? "model.decoder.layers" : "model.layers", layer);
  const auto shape = [&](std::int64_t rows) { return p.global_cols == 1 ? std::vector{rows} : std::vector{rows, p.global_cols}; };

  std::vector<StoredPlace> out;
  if (p.expert >= 0) {
    for (std::int64_t e = begin / p.expert_rows; e * p.expert_rows < end; ++e) {
      std::string tensor = prefix;
      const std::size_t hole = pattern.find("{}");
      if (hole == std::string_view::npos)
        tensor += fmt::format("{}.{}", pattern, e);
      else
        tensor += fmt::format("{}{}{}", pattern.substr(0, hole), e, pattern.substr(hole + 2));
      out.push_back({std::move(tensor), shape(p.expert_rows), e * p.expert_rows, p.expert_rows, 0, false});
    }
    return out;
  }
  StoredPlace place{prefix + std::string(pattern), shape(p.global_rows), 0, p.global_rows, 0, false};
  if (model.family == "gpt2" && !layer.empty()) {
    std::int64_t width = p.global_rows;
    if (pattern.starts_with("attn.c_attn")) {
      const std::int64_t q = model.heads * model.head_dim, kv = model.kv_heads * model.head_dim;
      width = q + 2 * kv;
      const char which = own[std::string_view("attention.").size()];
      place.first = which == 'q' ? 0 : which == 'k' ? q : q + kv;
    }
    place.transposed = p.global_cols > 1;
    place.shape = place.transposed ? std::vector{p.global_cols, width} : std::vector{width};
  }
  out.push_back(std::move(place));
  return out;
}

}  // namespace orrery::executor
