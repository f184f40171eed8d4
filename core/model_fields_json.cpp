// A model's fields as data: names, kinds and values are those that write_model writes, explained here.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/json_edge.h"
#include "core/model_json.h"
#include "core/model_words.h"
#include "core/schema_tree.h"
#include "core/settings.h"

namespace orrery {
namespace {

using json::Node;

struct About {
  std::string_view name, text;
};

// Names, and what decides no work, are not among them.
constexpr std::array<About, 73> kAbout{{
    {"num_hidden_layers", "decoder layers"},
    {"hidden_size", "width of the residual stream"},
    {"intermediate_size", "width of the dense feed-forward"},
    {"num_attention_heads", "query heads"},
    {"num_key_value_heads", "key and value heads, which groups of query heads share"},
    {"head_dim", "width of a head"},
    {"vocab_size", "rows of the embedding table"},
    {"max_position_embeddings", "the longest sequence trained for; null: not said"},
    {"is_causal", "a token attends to those before it only"},
    {"normalization", "kind of norm"},
    {"norm_eps", "added to the variance in norms"},
    {"norm_bias", "LayerNorm has a bias"},
    {"hidden_act", "activation of the feed-forward"},
    {"mlp_gated", "three matrices in the feed-forward rather than two"},
    {"position_embedding_type", "how positions are told"},
    {"position_offset", "extra rows of a learned position table; null: none"},
    {"rope_theta", "base of the rotary angles"},
    {"partial_rotary_factor", "share of a head that is rotated"},
    {"rope_scaling.rope_type", "how rotary angles are stretched for longer contexts"},
    {"rope_scaling.factor", "by how much the context is stretched"},
    {"rope_scaling.original_max_position_embeddings", "context before it was stretched"},
    {"rope_scaling.low_freq_factor", "turns below which an angle is stretched whole"},
    {"rope_scaling.high_freq_factor", "turns above which an angle is left as it is"},
    {"rope_scaling.beta_slow", "turns below which an angle is stretched whole"},
    {"rope_scaling.beta_fast", "turns above which an angle is left as it is"},
    {"rope_scaling.attention_factor", "scale of the scores that goes with it"},
    {"rope_scaling.truncate", "the border between both is on whole pairs"},
    {"tie_word_embeddings", "the output projection is the embedding table"},
    {"qkv_bias", "biases on the linears of queries, keys and values"},
    {"attention_out_bias", "a bias on attention's output linear"},
    {"mlp_bias", "biases on the feed-forward's linears"},
    {"lm_head_bias", "a bias on the output projection"},
    {"qk_layernorm", "norms on queries and keys, or on the latents"},
    {"qk_norm_trained", "those norms have weights"},
    {"use_parallel_residual", "attention and feed-forward read the same input and are added together"},
    {"parallel_shared_norm", "the parallel block has one norm rather than two"},
    {"embedding_norm", "a norm right after the embedding"},
    {"post_norm", "norms after the residual instead of before the sublayer"},
    {"final_norm", "a norm before the output projection"},
    {"type_vocab_size", "rows of the segment embedding"},
    {"word_embed_proj_dim", "width of the embedding, with projections in and out; null: as hidden_size"},
    {"pooler", "BERT's pooler"},
    {"head_transform", "BERT's dense and norm in front of the masked-word head"},
    {"next_sentence_head", "BERT's classifier of the next sentence"},
    {"attention_sinks", "one trained logit per head in attention's softmax"},
    {"use_sliding_window", "attention looks back no further than sliding_window"},
    {"sliding_window", "tokens that attention looks back; null: all"},
    {"sliding_window_pattern", "every n-th layer attends to all; 0: none does, where there is a window"},
    {"attention_chunk_size", "layers attend within chunks of so many tokens; null: no chunks"},
    {"q_lora_rank", "width of the queries' latent; null: none"},
    {"kv_lora_rank", "width of the latent that keys and values share"},
    {"qk_nope_head_dim", "width of a head's part without positions"},
    {"qk_rope_head_dim", "width of a head's part with rotary positions"},
    {"v_head_dim", "width of a head's values"},
    {"num_experts", "routed experts of a mixture"},
    {"num_experts_per_tok", "experts that a token goes to"},
    {"moe_intermediate_size", "width of one routed expert"},
    {"moe_shared_expert_intermediate_size", "width of all shared experts together; 0: none"},
    {"shared_expert_gate", "a gate on the shared expert"},
    {"first_k_dense_replace", "layers before this one are dense"},
    {"moe_layer_freq", "from there on every n-th layer is a mixture"},
    {"moe_layer_offset", "the first of those n that is one"},
    {"moe_latent_size", "width that experts work in; 0: the hidden size"},
    {"num_nextn_predict_layers", "modules that predict further tokens, after the last layer"},
    {"mtp_use_repeated_layer", "one such module is run several times"},
    {"n_group", "groups of experts, of which a token uses some"},
    {"topk_group", "groups that a token uses"},
    {"router_bias", "a bias on the router's scores"},
    {"expert_bias", "biases on the experts' linears"},
    {"scoring_func", "how the router scores experts"},
    {"norm_topk_prob", "the chosen scores are divided by their sum"},
    {"routed_scaling_factor", "and then multiplied with this"},
    {"torch_dtype", "type of the published weights"},
}};

std::string_view about(std::string_view name) {
  for (const About& a : kAbout)
    if (a.name == name) return a.text;
  return {};
}

template <class T, std::size_t N>
std::vector<std::string> words_of(const std::array<std::pair<std::string_view, T>, N>& table) {
  std::vector<std::string> out;
  std::vector<T> values;  // the first word of each value is the one that is written
  for (const auto& [word, value] : table) {
    if (std::find(values.begin(), values.end(), value) != values.end()) continue;
    values.push_back(value);
    out.emplace_back(word);
  }
  return out;
}

std::vector<std::string> choices_of(std::string_view name) {
  using namespace model_words;
  if (name == "normalization") return words_of(kNormalizations);
  if (name == "hidden_act") return words_of(kActivations);
  if (name == "position_embedding_type") return words_of(kPositions);
  if (name == "scoring_func") return words_of(kScores);
  if (name == "torch_dtype") return words_of(kDTypes);
  return {};
}

void list(const Node& node, const std::string& path, std::vector<Field>& out) {
  if (node.kind == Node::Kind::object) {
    for (const Node& child : node.children) list(child, path.empty() ? child.key : path + "." + child.key, out);
    return;
  }
  Field field;
  field.path = path;
  field.about = about(path);
  if (field.about.empty()) return;
  field.null_means = meaning_of_null(field.about);
  field.nullable = node.kind == Node::Kind::null || !field.null_means.empty();
  switch (node.kind) {
    case Node::Kind::boolean:
      field.kind = FieldKind::yes_no;
      field.value = node.boolean ? "true" : "false";
      break;
    case Node::Kind::null:  // only sizes are
    case Node::Kind::integer:
      field.kind = FieldKind::whole;
      field.least = 0;
      field.value = node.kind == Node::Kind::null ? "null" : node.text;
      break;
    case Node::Kind::real:
      field.kind = FieldKind::number;
      field.value = node.text;
      break;
    default:
      field.choices = choices_of(path);
      field.kind = field.choices.empty() ? FieldKind::text : FieldKind::choice;
      field.value = setting_value(node.text);
  }
  // JSON has no telling 1.0 from 1.
  for (const std::string_view number :
       {"rope_theta", "partial_rotary_factor", "rope_scaling.factor", "routed_scaling_factor", "norm_eps", "rope_scaling.low_freq_factor",
        "rope_scaling.high_freq_factor", "rope_scaling.attention_factor", "rope_scaling.beta_slow", "rope_scaling.beta_fast"})
    if (path == number) field.kind = FieldKind::number;
  out.push_back(std::move(field));
}

}  // namespace

std::vector<Field> model_fields(const Model& model) {
  const std::string text = write_model(model);
  const json::Document document(text, "model");
  std::vector<Field> out;
  list(document.node(), "", out);
  // Read only where there are such modules, such layers, such norms.
  std::erase_if(out, [&](const Field& f) {
    return (f.path == "mtp_use_repeated_layer" && model.mtp_layers == 0) || (f.path == "intermediate_size" && model.intermediate == 0) ||
           (f.path == "qk_norm_trained" && model.mla);
  });
  return out;
}

}  // namespace orrery
