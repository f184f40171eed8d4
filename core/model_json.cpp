#include "core/model_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/json_edge.h"
#include "core/model_words.h"

namespace orrery {
namespace fs = std::filesystem;
using namespace model_words;
namespace {

// What a model type means where its config says nothing: the defaults of the Hugging Face configuration class of that name, or of the paper.
struct Family {
  std::string_view name;
  Normalization norm = Normalization::rmsnorm;
  Activation activation = Activation::silu;
  bool gated = true;
  PositionEmbedding position = PositionEmbedding::rope;
  bool tied = false, bias = false;
  bool needs_experts = false;
};

constexpr std::array<Family, 23> kFamilies{{
    {"llama"},
    {"llama4_text", kRms, Activation::silu, true, kRope, false, false, true},
    {"mistral"},
    {"mixtral", kRms, Activation::silu, true, kRope, false, false, true},
    {"qwen2"},
    {"qwen2_moe", kRms, Activation::silu, true, kRope, false, false, true},
    {"qwen3"},
    {"qwen3_moe", kRms, Activation::silu, true, kRope, false, false, true},
    {"deepseek_v2"},
    {"deepseek_v3"},
    {"kimi_k2"},
    {"gpt2", kLayer, Activation::gelu_tanh, false, kLearned, true, true},
    {"gpt_neox", kLayer, Activation::gelu, false, kRope, false, true},
    {"gpt_oss", kRms, Activation::silu, true, kRope, false, true, true},
    {"mpt", kLayer, Activation::gelu, false, kLearned, true, false},
    {"bloom", kLayer, Activation::gelu_tanh, false, PositionEmbedding::alibi, true, true},
    {"opt", kLayer, Activation::relu, false, kLearned, true, true},
    {"bert", kLayer, Activation::gelu, false, kLearned, true, true},
    {"palm", kLayer, Activation::silu, true, kRope, true, false},  // Chowdhery et al. 2022, section 2
    {"nemotron", kLayer, Activation::relu_squared, false, kRope, false, false},
    {"nemotron_h", kRms, Activation::relu_squared, false, PositionEmbedding::none, false, false},
    {"megatron_moe", kLayer, Activation::gelu, false, kLearned, true, false, true},
    {"llama4", kRms, Activation::silu, true, kRope, false, false, true},
}};

// No published model is near these; they keep every product of two sizes within 64 bits.
constexpr std::int64_t kMostLayers = 100'000;
constexpr std::int64_t kMostWidth = std::int64_t{1} << 30U;
constexpr std::int64_t kMostHeads = std::int64_t{1} << 20U;
constexpr std::int64_t kMostPositions = std::int64_t{1} << 40U;
constexpr double kMostParameters = 1e15;

using Names = std::initializer_list<const char*>;

// The first of several spellings of one field that is given and not null.
std::optional<json::Value> first(json::Object& o, Names names) {
  std::optional<json::Value> found;
  for (const char* name : names) {
    std::optional<json::Value> value = o.optional(name);
    if (value && !found) found = value;
  }
  return found;
}

// The same for a size: two spellings must agree.
std::optional<json::Value> size_field(json::Object& o, Names names) {
  std::optional<json::Value> found;
  for (const char* name : names) {
    const std::optional<json::Value> value = o.optional(name);
    if (value && found && value->quoted() != found->quoted()) {
      value->fail(fmt::format("{} contradicts {} = {}", value->quoted(), found->path(), found->quoted()), "remove one of them");
    }
    if (!found) found = value;
  }
  return found;
}

std::int64_t required_size(json::Object& o, Names names, std::int64_t most) {
  if (const auto value = size_field(o, names)) return value->integer(1, most);
  return o.required(*names.begin()).integer(1, most);  // null or missing: says which
}

std::int64_t size_or(json::Object& o, Names names, std::int64_t otherwise, std::int64_t least, std::int64_t most) {
  const auto value = size_field(o, names);
  return value ? value->integer(least, most) : otherwise;
}

void flag(json::Object& o, Names names, bool& out) {
  if (const auto value = first(o, names)) out = value->boolean();
}

// Reads one config; the members are in the order in which later ones use earlier ones.
class ModelReader {
 public:
  ModelReader(json::Object& config, const Family& family) : o_(config), family_(family) {}

  Model read(std::string name) {
    m_.name = std::move(name);
    m_.family = family_.name;
    if (const auto path = o_.optional("_name_or_path"); path && !path->text().empty()) m_.name = path->text();
    sizes();
    kind();
    biases();
    attention();
    rope();
    experts();
    ends();
    limits();
    return m_;
  }

 private:
  bool is(Names families) const {
    return std::any_of(families.begin(), families.end(), [&](const char* name) { return family_.name == name; });
  }

  void sizes() {
    m_.layers = required_size(o_, {"num_hidden_layers", "n_layer", "n_layers", "num_layers"}, kMostLayers);
    m_.hidden = required_size(o_, {"hidden_size", "n_embd", "d_model", "n_embed"}, kMostWidth);
    m_.heads = required_size(o_, {"num_attention_heads", "n_head", "n_heads"}, kMostHeads);
    m_.vocab = required_size(o_, {"vocab_size", "padded_vocab_size"}, kMostWidth);
    m_.max_positions = size_or(o_, {"max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"}, 0, 1, kMostPositions);
    if (is({"bloom"})) m_.max_positions = size_or(o_, {"seq_length"}, m_.max_positions, 1, kMostPositions);
    m_.kv_heads = size_or(o_, {"num_key_value_heads", "num_kv_heads"}, m_.heads, 1, kMostHeads);
    if (const auto attention = o_.optional("attn_config")) mpt_attention(attention->object());
    if (m_.heads % m_.kv_heads != 0) {
      const auto kv = first(o_, {"num_key_value_heads", "num_kv_heads"});
      const std::string what = fmt::format("{} key and value heads cannot be shared evenly by {} heads", m_.kv_heads, m_.heads);
      kv ? kv->fail(what) : o_.fail(what);
    }
    const auto given = size_field(o_, {"head_dim", "attention_head_dim", "kv_channels"});
    if (given) m_.head_dim = given->integer(1, kMostWidth);
    mla();
    if (m_.mla) {
      m_.head_dim = m_.qk_dim();
    } else if (!given) {
      if (m_.hidden % m_.heads != 0) {
        o_.fail(fmt::format("hidden size {} is not a multiple of {} heads", m_.hidden, m_.heads), "give head_dim");
      }
      m_.head_dim = m_.hidden / m_.heads;
    }
  }

  void mpt_attention(json::Object a) {
    if (const auto kv = a.optional("kv_n_heads")) m_.kv_heads = kv->integer(1, kMostHeads);
    if (const auto type = a.optional("attn_type"); type && type->text() == "multiquery_attention") m_.kv_heads = 1;
    bool alibi = false, rope = false, qk_ln = false;
    flag(a, {"alibi"}, alibi);
    flag(a, {"rope"}, rope);
    flag(a, {"qk_ln"}, qk_ln);
    if (const auto theta = a.optional("rope_theta")) m_.rope_theta = theta->number(1, 1e12);
    if (alibi) mpt_position_ = PositionEmbedding::alibi;
    if (rope) mpt_position_ = PositionEmbedding::rope;
    if (qk_ln) m_.unsupported = "norms over all heads' queries and keys (qk_ln)";
  }

  void mla() {
    const bool deepseek = is({"deepseek_v2", "deepseek_v3", "kimi_k2"});
    if (!deepseek && !o_.optional("kv_lora_rank")) return;
    Mla a;
    a.kv_lora_rank = required_size(o_, {"kv_lora_rank"}, kMostWidth);
    a.q_lora_rank = size_or(o_, {"q_lora_rank"}, 0, 0, kMostWidth);
    a.qk_nope_head_dim = required_size(o_, {"qk_nope_head_dim"}, kMostWidth);
    a.qk_rope_head_dim = required_size(o_, {"qk_rope_head_dim"}, kMostWidth);
    a.v_head_dim = required_size(o_, {"v_head_dim"}, kMostWidth);
    m_.mla = a;
  }

  void kind() {
    m_.norm = family_.norm;
    if (const auto norm = o_.optional("normalization")) m_.norm = norm->choice(kNormalizations);
    m_.norm_epsilon = is({"bert"}) ? 1e-12 : m_.norm == kRms ? 1e-6 : 1e-5;  // what the Hugging Face classes take
    if (const auto eps = first(o_, {"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon", "layernorm_epsilon"})) {
      m_.norm_epsilon = eps->number(0, 1);
    }
    m_.norm_bias = !is({"palm"});

    m_.activation = family_.activation;
    m_.gated_mlp = family_.gated;
    if (const auto act = first(o_, {"hidden_act", "activation_function", "hidden_activation", "mlp_hidden_act"})) {
      m_.activation = act->choice(kActivations);
      if (act->text() == "swiglu" || act->text() == "geglu") m_.gated_mlp = true;
    }
    flag(o_, {"mlp_gated"}, m_.gated_mlp);

    m_.position = mpt_position_.value_or(family_.position);
    if (const auto position = o_.optional("position_embedding_type")) m_.position = position->choice(kPositions);
    if (is({"mpt"}) && m_.position == kLearned) {
      bool learned = true;
      flag(o_, {"learned_pos_emb"}, learned);
      if (!learned) m_.position = PositionEmbedding::none;
    }
    if (m_.position == kLearned && m_.max_positions == 0) {
      m_.max_positions = is({"gpt2"}) ? 1024 : is({"bert"}) ? 512 : is({"opt", "mpt"}) ? 2048 : 0;  // their classes' defaults
      if (m_.max_positions == 0) o_.required("max_position_embeddings").integer(1, kMostPositions);
    }
    if (m_.position == kLearned && m_.max_positions > kMostWidth) {
      o_.fail(fmt::format("a position table of {} rows is more than {}", m_.max_positions, kMostWidth));
    }
    if (is({"opt"})) m_.position_offset = 2;  // its table starts two rows late
    o_.read("position_offset", m_.position_offset, 0, kMostWidth);

    m_.causal = !is({"bert"});
    flag(o_, {"is_decoder"}, m_.causal);  // only BERT's is ever false, and only BERT's means this
    if (!is({"bert"})) m_.causal = true;
    flag(o_, {"is_causal"}, m_.causal);

    m_.parallel_block = is({"gpt_neox", "palm"});
    m_.parallel_shared_norm = is({"palm"});
    flag(o_, {"use_parallel_residual"}, m_.parallel_block);
    flag(o_, {"parallel_shared_norm"}, m_.parallel_shared_norm);
    m_.embedding_norm = is({"bloom", "bert"});
    m_.post_norm = is({"bert"});
    if (is({"opt"})) {
      bool before = true;
      flag(o_, {"do_layer_norm_before"}, before);
      m_.post_norm = !before;
    }
    m_.final_norm = !m_.post_norm;
    if (is({"opt"})) {
      bool removed = false;
      flag(o_, {"_remove_final_layer_norm"}, removed);
      if (removed) m_.final_norm = false;
    }
    flag(o_, {"embedding_norm"}, m_.embedding_norm);
    flag(o_, {"post_norm"}, m_.post_norm);
    flag(o_, {"final_norm"}, m_.final_norm);
    bool residual_from_norm = false;
    flag(o_, {"apply_residual_connection_post_layernorm"}, residual_from_norm);
    if (residual_from_norm) m_.unsupported = "residuals taken after the norm";
    bool encoder_decoder = false;
    flag(o_, {"is_encoder_decoder"}, encoder_decoder);
    if (encoder_decoder) m_.unsupported = "an encoder with a decoder";
    if (const auto pattern = o_.optional("hybrid_override_pattern"); pattern || is({"nemotron_h"})) {
      if (pattern && static_cast<std::int64_t>(pattern->text().size()) != m_.layers) {
        pattern->fail(fmt::format("names {} layers of {}", pattern->text().size(), m_.layers));
      }
      m_.unsupported = "a hybrid with Mamba layers";
    }
    if (const auto dtype = first(o_, {"dtype", "torch_dtype"}); dtype && dtype->text() != "auto") m_.dtype = dtype->choice(kDTypes);
  }

  void biases() {
    bool all = family_.bias;
    flag(o_, {"enable_bias"}, all);  // OPT
    if (is({"mpt"})) {
      bool none = !all;
      flag(o_, {"no_bias"}, none);
      all = !none;
    }
    flag(o_, {"add_bias_linear"}, all);
    m_.qkv_bias = m_.attention_out_bias = m_.mlp_bias = all;
    if (m_.mla) m_.qkv_bias = false;  // Megatron's latent attention has biases on the output alone
    if (is({"mpt"})) m_.norm_bias = all;
    if (is({"qwen2", "qwen2_moe"})) m_.qkv_bias = true;
    if (const auto bias = o_.optional("attention_bias"); bias && !is({"qwen2", "qwen2_moe"})) m_.qkv_bias = m_.attention_out_bias = bias->boolean();
    flag(o_, {"qkv_bias", "add_qkv_bias"}, m_.qkv_bias);
    flag(o_, {"attention_out_bias"}, m_.attention_out_bias);
    flag(o_, {"mlp_bias"}, m_.mlp_bias);
    flag(o_, {"norm_bias"}, m_.norm_bias);
    bool norm_weights = true;
    flag(o_, {"layer_norm_elementwise_affine"}, norm_weights);  // OPT
    if (!norm_weights) m_.unsupported = "norms without weights";
  }

  void attention() {
    if (m_.mla) {
      // DeepSeek's models always have the norms of the latents; Megatron's variant with LayerNorm has them only where it says so.
      m_.mla->latent_norm = m_.norm == kRms;
      flag(o_, {"qk_layernorm"}, m_.mla->latent_norm);
    } else {
      m_.qk_norm = is({"qwen3", "qwen3_moe"});
      flag(o_, {"qk_layernorm", "use_qk_norm"}, m_.qk_norm);
      m_.qk_norm_trained = !is({"llama4", "llama4_text"});
      flag(o_, {"qk_norm_trained"}, m_.qk_norm_trained);
    }
    m_.attention_sinks = is({"gpt_oss"});
    flag(o_, {"attention_sinks"}, m_.attention_sinks);

    bool window = !is({"qwen2", "qwen2_moe", "qwen3", "qwen3_moe"});
    flag(o_, {"use_sliding_window"}, window);
    const auto width = o_.optional("sliding_window");
    const auto written = o_.optional("sliding_window_pattern");
    if (width && window) m_.sliding_window = width->integer(1, kMostPositions);
    m_.attention_chunk = size_or(o_, {"attention_chunk_size"}, 0, 1, kMostPositions);
    if (m_.attention_chunk > 0) m_.sliding_window_pattern = 4;                    // Llama 4: every fourth layer is full
    if (m_.sliding_window > 0 && is({"gpt_oss"})) m_.sliding_window_pattern = 2;  // gpt-oss: every other
    if (written) m_.sliding_window_pattern = written->integer(0, kMostLayers);
    if (const auto types = o_.optional("layer_types")) layer_types(*types);
    if (m_.sliding_window == 0 && m_.attention_chunk == 0) m_.sliding_window_pattern = 0;
  }

  // One text per layer: "full_attention", "sliding_attention", "chunked_attention".
  void layer_types(const json::Value& types) {
    const std::vector<json::Value> list = types.list();
    if (static_cast<std::int64_t>(list.size()) != m_.layers) types.fail(fmt::format("names {} layers of {}", list.size(), m_.layers));
    std::int64_t pattern = 0;
    bool any_local = false, regular = true;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string& type = list[i].text();
      if (type == "full_attention") {
        if (pattern == 0) pattern = static_cast<std::int64_t>(i) + 1;
      } else if (type == "sliding_attention" || type == "chunked_attention") {
        any_local = true;
      } else {
        m_.unsupported = "layers that are not attention";
        return;
      }
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      const bool full = pattern > 0 && (static_cast<std::int64_t>(i) + 1) % pattern == 0;
      regular = regular && full == (list[i].text() == "full_attention");
    }
    if (!any_local) {
      m_.sliding_window = m_.attention_chunk = 0;
    } else if (regular) {
      m_.sliding_window_pattern = pattern;
    } else {
      m_.unsupported = "full and local attention in no regular order";
    }
  }

  void rope() {
    m_.rope_fraction = is({"gpt_neox"}) ? 0.25 : is({"nemotron"}) ? 0.5 : 1;
    if (const auto theta = first(o_, {"rope_theta", "rotary_emb_base"})) m_.rope_theta = theta->number(1, 1e12);
    if (const auto fraction = first(o_, {"partial_rotary_factor", "rotary_pct"})) m_.rope_fraction = fraction->number(0, 1);
    for (const char* name : {"rope_scaling", "rope_parameters"}) {
      const auto value = o_.optional(name);
      if (!value) continue;
      json::Object r = value->object();
      if (const auto full = r.optional("full_attention")) r = full->object();  // one set per type of layer: that of the full ones
      if (const auto theta = r.optional("rope_theta")) m_.rope_theta = theta->number(1, 1e12);
      if (const auto fraction = r.optional("partial_rotary_factor")) m_.rope_fraction = fraction->number(0, 1);
      if (const auto type = first(r, {"rope_type", "type"})) m_.rope_scaling = rope_scaling(r, *type);
    }
    if (m_.position == kRope && !m_.mla && m_.head_dim % 2 != 0) o_.fail(fmt::format("heads of {} cannot be rotated in pairs", m_.head_dim));
    if (m_.mla && m_.mla->qk_rope_head_dim % 2 != 0) {
      o_.required("qk_rope_head_dim").fail(fmt::format("heads of {} cannot be rotated in pairs", m_.mla->qk_rope_head_dim));
    }
  }

  // The fields and defaults of Hugging Face's modeling_rope_utils.
  RopeScaling rope_scaling(json::Object& r, const json::Value& type) const {
    using Kind = RopeScaling::Kind;
    constexpr double kMost = 1e9;
    RopeScaling s;
    const std::string& kind = type.text();
    if (kind == "default") return s;
    s.kind = kind == "linear" ? Kind::linear : kind == "llama3" ? Kind::llama3 : kind == "yarn" ? Kind::yarn : Kind::other;
    if (s.kind == Kind::other) return s;
    s.factor = r.required("factor").number(1, kMost);
    if (s.kind == Kind::linear) return s;
    const bool yarn = s.kind == Kind::yarn;
    const auto turns = [&](const char* name, double otherwise) {
      const auto value = yarn ? r.optional(name) : r.required(name);
      return value ? value->number(1e-9, kMost) : otherwise;
    };
    s.low_turns = turns(yarn ? "beta_slow" : "low_freq_factor", 1);
    s.high_turns = turns(yarn ? "beta_fast" : "high_freq_factor", 32);
    if (s.low_turns > s.high_turns) {
      r.required(yarn ? "beta_fast" : "high_freq_factor")
          .fail(fmt::format("{} is below {} = {}", s.high_turns, yarn ? "beta_slow" : "low_freq_factor", s.low_turns));
    }
    const auto original = r.optional("original_max_position_embeddings");
    s.original_positions = yarn && !original ? m_.max_positions : r.required("original_max_position_embeddings").integer(1, kMostPositions);
    if (!yarn) return s;
    if (s.original_positions == 0) r.required("original_max_position_embeddings");
    if (m_.rope_theta <= 1) type.fail(fmt::format("cannot stretch angles of rope_theta {}", m_.rope_theta), "give a rope_theta above 1");
    r.read("truncate", s.whole_pairs);
    const auto scale = [&](double m) { return s.factor <= 1 ? 1 : 0.1 * m * std::log(s.factor) + 1; };  // Peng et al. 2023, eq. 22
    const auto given = r.optional("attention_factor"), mscale = r.optional("mscale"), all = r.optional("mscale_all_dim");
    const double m = mscale ? mscale->number(0, kMost) : 0, a = all ? all->number(0, kMost) : 0;
    s.attention_factor = given ? given->number(0, kMost) : m > 0 && a > 0 ? scale(m) / scale(a) : scale(1);
    return s;
  }

  void experts() {
    const auto count = size_field(o_, {"num_experts", "num_local_experts", "n_routed_experts"});
    const bool llama4 = is({"llama4", "llama4_text"});
    if (count ? count->integer(0, kMostHeads) > 0 : family_.needs_experts) {
      Moe e;
      e.experts = count ? count->integer(1, kMostHeads) : o_.required(is({"mixtral", "gpt_oss"}) ? "num_local_experts" : "num_experts").integer(1);
      e.experts_per_token = required_size(o_, {"num_experts_per_tok", "experts_per_token", "moe_topk"}, kMostHeads);
      if (e.experts_per_token > e.experts) {
        o_.fail(fmt::format("{} experts per token are more than the {} that there are", e.experts_per_token, e.experts));
      }
      const auto width = size_field(o_, {"moe_intermediate_size", "moe_ffn_hidden_size"});
      const bool plain = is({"mixtral", "gpt_oss"}) || llama4;  // their intermediate_size is the experts'
      e.intermediate = width ? width->integer(1, kMostWidth) : required_size(o_, {plain ? "intermediate_size" : "moe_intermediate_size"}, kMostWidth);

      const std::int64_t shared = size_or(o_, {"n_shared_experts", "num_shared_experts"}, llama4 ? 1 : 0, 0, kMostHeads);
      e.shared_intermediate =
          size_or(o_, {"moe_shared_expert_intermediate_size", "shared_expert_intermediate_size"}, shared * e.intermediate, 0, kMostWidth);
      if (e.shared_intermediate > kMostWidth) o_.fail(fmt::format("shared experts {} wide are more than {}", e.shared_intermediate, kMostWidth));
      e.shared_gate = is({"qwen2_moe"});
      flag(o_, {"shared_expert_gate"}, e.shared_gate);

      e.first_dense = size_or(o_, {"first_k_dense_replace"}, 0, 0, m_.layers);
      e.every = size_or(o_, {"moe_layer_freq", "interleave_moe_layer_step", "decoder_sparse_step"}, 1, 1, kMostLayers);
      if (o_.has("interleave_moe_layer_step") || o_.has("decoder_sparse_step")) e.offset = e.every - 1;  // Llama 4, Qwen: layers n-1, 2n-1, …
      e.offset = size_or(o_, {"moe_layer_offset"}, e.offset, 0, e.every - 1);
      if (const auto dense = o_.optional("mlp_only_layers")) {
        for (const json::Value& layer : dense->list()) {
          if (layer.integer(0, m_.layers - 1) != e.first_dense) layer.fail("only leading layers can be dense here", "list 0, 1, … in order");
          ++e.first_dense;
        }
      }

      e.latent = size_or(o_, {"moe_latent_size"}, 0, 0, kMostWidth);
      e.router_bias = is({"gpt_oss", "deepseek_v3", "kimi_k2"});
      if (const auto method = o_.optional("topk_method")) e.router_bias = method->text() == "noaux_tc";  // DeepSeek-V3: e_score_correction_bias
      flag(o_, {"router_bias"}, e.router_bias);
      e.expert_bias = is({"gpt_oss"});
      flag(o_, {"expert_bias"}, e.expert_bias);
      const std::int64_t groups = size_or(o_, {"n_group"}, 1, 1, e.experts);
      if (groups > 1) {
        if (e.experts % groups != 0) o_.required("n_group").fail(fmt::format("{} experts cannot be in {} groups", e.experts, groups));
        e.router_groups = groups;
        e.router_topk_groups = required_size(o_, {"topk_group"}, groups);
      }
      const bool sigmoid = is({"deepseek_v3", "kimi_k2"});
      e.router_sigmoid = sigmoid || llama4;
      if (const auto scoring = first(o_, {"scoring_func", "moe_router_score_function"})) e.router_sigmoid = scoring->choice(kScores);
      e.router_normalized = !is({"deepseek_v2", "qwen2_moe"}) && !llama4;  // the default of their classes
      flag(o_, {"norm_topk_prob"}, e.router_normalized);
      e.router_scale = sigmoid ? 2.5 : 1;
      if (const auto scale = first(o_, {"routed_scaling_factor", "moe_router_topk_scaling_factor"})) e.router_scale = scale->number(0, 1e6);
      m_.moe = e;
    }

    bool any_dense = false;
    for (std::int64_t l = 0; l < m_.layers && !any_dense; ++l) any_dense = !m_.is_moe_layer(l);
    if (!any_dense) return;
    if (llama4) {
      if (const auto width = o_.optional("intermediate_size_mlp")) {
        m_.intermediate = width->integer(1, kMostWidth);
        return;
      }
    }
    if (const auto width = size_field(o_, {"intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"})) {
      m_.intermediate = width->integer(1, kMostWidth);
    } else if (is({"gpt2", "bloom", "mpt"})) {  // their classes' default is four times the hidden size
      const auto ratio = o_.optional("expansion_ratio");
      m_.intermediate = m_.hidden * (ratio ? ratio->integer(1, 1'000) : 4);
    } else {
      o_.required("intermediate_size").integer(1, kMostWidth);
    }
  }

  // What stands before the first layer and after the last.
  void ends() {
    m_.tie_embeddings = family_.tied;
    flag(o_, {"tie_word_embeddings"}, m_.tie_embeddings);
    if (is({"bert"})) {
      m_.token_types = 2;
      std::string head = "BertForMaskedLM";
      if (const auto architectures = o_.optional("architectures")) {
        const std::vector<json::Value> list = architectures->list();
        if (!list.empty()) head = list[0].text();
      }
      m_.pooler = head == "BertModel" || head == "BertForPreTraining";
      m_.head_transform = m_.head_bias = head != "BertModel";
      m_.next_sentence_head = head == "BertForPreTraining";
    }
    o_.read("type_vocab_size", m_.token_types, 0, kMostWidth);
    flag(o_, {"pooler"}, m_.pooler);
    flag(o_, {"head_transform"}, m_.head_transform);
    flag(o_, {"next_sentence_head"}, m_.next_sentence_head);
    flag(o_, {"lm_head_bias"}, m_.head_bias);
    m_.embedding_width = size_or(o_, {"word_embed_proj_dim"}, 0, 1, kMostWidth);
    if (m_.embedding_width == m_.hidden) m_.embedding_width = 0;
    m_.mtp_layers = size_or(o_, {"num_nextn_predict_layers", "mtp_num_layers"}, 0, 0, kMostLayers);
    if (m_.mtp_layers > 0) flag(o_, {"mtp_use_repeated_layer"}, m_.mtp_shared);
  }

  void limits() {
    if (m_.heads * m_.qk_dim() > kMostWidth || m_.heads * m_.v_dim() > kMostWidth) {
      o_.fail(fmt::format("{} heads of {} are wider than {}", m_.heads, std::max(m_.qk_dim(), m_.v_dim()), kMostWidth));
    }
    if (const double n = estimate_parameters(m_); n > kMostParameters) {
      o_.fail(fmt::format("has about {:.1e} parameters, more than {:.0e}", n, kMostParameters), "is one of the sizes mistyped?");
    }
    o_.read("unsupported", m_.unsupported);
    m_.simulate_only = missing_kernels(m_);
  }

  json::Object& o_;
  const Family& family_;
  Model m_;
  std::optional<PositionEmbedding> mpt_position_;
};

const Family& family_of(json::Object& config) {
  std::vector<std::string> names;
  names.reserve(kFamilies.size());
  for (const Family& family : kFamilies) names.emplace_back(family.name);
  return kFamilies[config.required("model_type").choice(names)];
}

// "…/llama/config.json" is called "llama", "models/x.json" "x".
std::string name_of(const fs::path& file) {
  if (file.filename() == "config.json" && file.has_parent_path()) {
    const fs::path folder = file.parent_path();
    return (folder.has_filename() ? folder : folder.parent_path()).filename().string();
  }
  return file.stem().string();
}

Model read_with_settings(std::string_view text, std::string_view file_name, std::span<const Setting> settings) {
  const std::string changed = apply_settings(text, file_name, settings);
  const json::Document document(changed, file_name);
  json::Object root = document.object();
  const auto inner = root.optional("text_config");  // a multimodal model: its language model
  const bool nested = inner && !root.has("num_hidden_layers");
  json::Object config = nested ? inner->object() : root;
  const Family& family = family_of(config);
  Model model = ModelReader(config, family).read(name_of(fs::path(file_name)));

  for (const Setting& setting : settings) {
    std::string_view path = setting.path;
    if (constexpr std::string_view kNested = "text_config."; nested && path.substr(0, kNested.size()) == kNested) path.remove_prefix(kNested.size());
    const std::string field(path.substr(0, path.find_first_of(".[")));
    if (config.asked().count(field) != 0) continue;
    const std::vector<std::string> known(config.asked().begin(), config.asked().end());
    const std::string near = nearest(field, known);
    throw Error("--set " + setting.path, fmt::format("is not a field that a {} model has", family.name),
                near.empty() ? "write it as the model's config.json does" : fmt::format("did you mean '{}'?", near));
  }
  return model;
}

}  // namespace

Model read_model(std::string_view text, std::string_view file_name) { return read_with_settings(text, file_name, {}); }

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(data_directory() / "models", ignored)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Model load_model(const std::string& name_or_path, std::span<const Setting> settings) {
  const std::vector<std::string> names = model_names();
  fs::path path = name_or_path;
  std::string name = name_or_path;
  if (std::binary_search(names.begin(), names.end(), name_or_path)) {
    path = data_directory() / "models" / (name_or_path + ".json");
  } else {
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) path /= "config.json";
    const bool looks_like_a_path = name_or_path.find('/') != std::string::npos || path.extension() == ".json";
    if (!fs::exists(path, ignored)) {
      if (!looks_like_a_path)
        throw Error("model", fmt::format("'{}' is neither a shipped model nor a file", name_or_path),
                    did_you_mean_of_many(name_or_path, names, "orrery show models"));
      if (path.extension() != ".json")  // "meta-llama/Llama-3.1-8B", as a hub spells it
        throw Error(name_or_path, "no such file or folder", did_you_mean_of_many(path.filename().string(), names, "orrery show models"));
    }
    name = name_of(path);
  }
  const std::string text = read_text_file(path), file = path.string();
  Model model = [&] {
    try {
      return read_with_settings(text, file, settings);
    } catch (const Error&) {
      // The file may call the field by another name, which contradicts the setting: all fields by their names in write_model, then.
      if (settings.empty()) throw;
      const std::string spelled_out = write_model(read_model(text, file));
      try {
        return read_with_settings(spelled_out, file, settings);
      } catch (const Error&) {
      }
      throw;
    }
  }();
  model.name = name;
  return model;
}

}  // namespace orrery
