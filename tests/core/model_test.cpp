#include "core/model.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/model_json.h"

namespace orrery {
namespace {

std::int64_t total(const std::string& name) { return count_parameters(load_model(name)).total; }
Model read(const std::string& text) { return read_model(text, "m.json"); }
std::string complaint(const std::string& text) {
  try {
    (void)read(text);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// Counts as the Hugging Face hub shows them for the published weights (bytes of the safetensors by element width), where not said otherwise.
TEST(ParameterCounts, OfLlamasAreThePublishedOnes) {
  // Tables 2 V h (tied: V h), final norm h, per layer q and out 2 h·(heads·d), k and v 2 h·(kv·d), three of h·f, two norms.
  // 3.1-8B: 2·128256·4096 + 4096 + 32·(2·4096² + 2·4096·1024 + 3·4096·14336 + 2·4096)
  EXPECT_EQ(total("llama-3.1-8b"), 8'030'261'248);
  EXPECT_EQ(total("llama-3-8b"), 8'030'261'248);
  EXPECT_EQ(total("llama-3.1-70b"), 70'553'706'496);    // 2·128256·8192 + 8192 + 80·(2·8192² + 2·8192·1024 + 3·8192·28672 + 2·8192)
  EXPECT_EQ(total("llama-3.1-405b"), 405'853'388'800);  // 2·128256·16384 + 16384 + 126·(2·16384² + 2·16384·1024 + 3·16384·53248 + 2·16384)
  EXPECT_EQ(total("llama-2-7b"), 6'738'415'616);        // 2·32000·4096 + 4096 + 32·(4·4096² + 3·4096·11008 + 2·4096)
  EXPECT_EQ(total("llama-2-13b"), 13'015'864'320);      // 2·32000·5120 + 5120 + 40·(4·5120² + 3·5120·13824 + 2·5120)
  EXPECT_EQ(total("llama-2-70b"), 68'976'648'192);      // as 3.1-70B with 32000 rows: - 2·96256·8192
  EXPECT_EQ(total("llama-3.2-1b"), 1'235'814'400);      // 128256·2048 + 2048 + 16·(2·2048² + 2·2048·512 + 3·2048·8192 + 2·2048), tied
  EXPECT_EQ(total("llama-3.2-3b"), 3'212'749'824);      // 128256·3072 + 3072 + 28·(2·3072² + 2·3072·1024 + 3·3072·8192 + 2·3072), tied
  EXPECT_EQ(total("mistral-7b"), 7'241'732'096);        // as llama-3.1-8b with 32000 rows: - 2·96256·4096
}

TEST(ParameterCounts, OfQwensAreThePublishedOnes) {
  EXPECT_EQ(total("qwen2.5-0.5b"), 494'032'768);  // 151936·896 + 896 + 24·(2·896² + 2·896·128 + (896+256) biases + 3·896·4864 + 2·896), tied
  EXPECT_EQ(total("qwen2.5-7b"), 7'615'616'512);  // 2·152064·3584 + 3584 + 28·(2·3584² + 2·3584·512 + (3584+1024) + 3·3584·18944 + 2·3584)
  EXPECT_EQ(total("qwen2.5-72b"), 72'706'203'648);  // 2·152064·8192 + 8192 + 80·(2·8192² + 2·8192·1024 + (8192+2048) + 3·8192·29568 + 2·8192)
  EXPECT_EQ(total("qwen3-8b"), 8'190'735'360);  // 2·151936·4096 + 4096 + 36·(2·4096² + 2·4096·1024 + 2·128 qk norms + 3·4096·12288 + 2·4096)
  EXPECT_EQ(total("qwen3-32b"), 32'762'123'264);  // heads are wider than hidden: 64·128 = 8192 against 5120
  // 2·151936·2048 + 2048 + 48·(2·2048·4096 + 2·2048·512 + 2·128 + 2·2048 + router 2048·128 + 128·3·2048·768)
  EXPECT_EQ(total("qwen3-30b-a3b"), 30'532'122'624);
  EXPECT_EQ(total("qwen3-235b-a22b"), 235'093'634'560);
}

TEST(ParameterCounts, OfMixturesAreThePublishedOnesAndActiveOnesCountTheChosenExperts) {
  EXPECT_EQ(total("mixtral-8x7b"), 46'702'792'704);  // 2·32000·4096 + 4096 + 32·(2·4096² + 2·4096·1024 + 2·4096 + 4096·8 + 8·3·4096·14336)
  EXPECT_EQ(total("mixtral-8x22b"), 140'620'634'112);
  // Mixtral 8x7B less the 6 of 8 experts that a token does not see: 46,702,792,704 - 32·6·3·4096·14336
  EXPECT_EQ(count_parameters(load_model("mixtral-8x7b")).active, 12'879'925'248);
  // Per layer 64·64·2880 + 2·8·64·2880 + 64·64·2880, biases 4096 + 1024 + 2880, 64 sinks, 2 norms, router 2880·E + E, E·(3·2880² + 3·2880)
  EXPECT_EQ(total("gpt-oss-20b"), 20'914'757'184);
  EXPECT_EQ(total("gpt-oss-120b"), 116'829'156'672);
}

TEST(ParameterCounts, OfDeepSeeksAreThePublishedOnesWithoutTheirPredictionModules) {
  // V2: attention h·1536 + 1536 + 1536·128·192 + h·576 + 512 + 512·128·256 + 128·128·h; 59 layers of 160 experts and 2 shared, 1 dense
  EXPECT_EQ(total("deepseek-v2"), 235'741'434'880);
  // V3: 58 layers of 256 experts and 1 shared, with 256 score corrections each (e_score_correction_bias)
  const ParameterCount v3 = count_parameters(load_model("deepseek-v3"));
  EXPECT_EQ(v3.total, 671'026'419'200);
  // A module: layer 60 over again (attention 187,107,328, router 256·(7168+1), 257 experts of 3·7168·2048, 2 norms), 2·7168·7168, 3 norms of 7168
  EXPECT_EQ(v3.mtp, 187'107'328 + 256 * 7169 + 257LL * 3 * 7168 * 2048 + 2 * 7168 + 2LL * 7168 * 7168 + 3 * 7168);
  EXPECT_EQ(v3.experts, 58LL * 256 * 3 * 7168 * 2048);
  // Published: 671B, and 685B on Hugging Face, 14B of them the module with its own copies of embedding and head (README_WEIGHTS.md: 11.5B that it
  // does not share, 0.9B and 0.9B that it does). 671.03 + 11.61 + 2·129280·7168 = 1.85: 684.49.
  EXPECT_NEAR(static_cast<double>(v3.total + v3.mtp + v3.embedding + v3.head) * 1e-9, 685, 0.6);
  EXPECT_NEAR(static_cast<double>(v3.embedding) * 1e-9, 0.9, 0.05);
}

TEST(ParameterCounts, OfLlama4AlternateDenseLayersAndMixtures) {
  // Scout's language model: 2·202048·5120 + 5120 + 48·(5120·56·128 + 5120² + 2·5120 + router 5120·16 + (16+1)·3·5120·8192)
  EXPECT_EQ(total("llama-4-scout"), 107'769'861'120);
  const Model maverick = load_model("llama-4-maverick");
  EXPECT_FALSE(maverick.is_moe_layer(0));
  EXPECT_TRUE(maverick.is_moe_layer(1));
  EXPECT_EQ(layer_parameters(maverick, 0), 5120LL * 56 * 128 + 5120 * 5120 + 2 * 5120 + 3LL * 5120 * 16384);
  EXPECT_EQ(layer_parameters(maverick, 1), 5120LL * 56 * 128 + 5120 * 5120 + 2 * 5120 + 5120 * 128 + 129LL * 3 * 5120 * 8192);
}

TEST(ParameterCounts, OfOlderModelsAreThePublishedOnes) {
  // 12 h² + 13 h per layer with all biases; 4 h of these are the two LayerNorms
  EXPECT_EQ(total("gpt2"), 124'439'808);             // 50257·768 + 1024·768 + 12·(12·768² + 13·768) + 2·768
  EXPECT_EQ(total("gpt2-xl"), 1'557'611'200);        // 50257·1600 + 1024·1600 + 48·(12·1600² + 13·1600) + 2·1600
  EXPECT_EQ(total("bloom-176b"), 176'247'271'424);   // 250880·14336 + 2·14336 + 70·(12·14336² + 13·14336) + 2·14336
  EXPECT_EQ(total("gpt-neox-20b"), 20'554'567'680);  // 2·50432·6144 + 44·(12·6144² + 13·6144) + 2·6144
  EXPECT_EQ(total("mpt-7b"), 6'649'286'656);         // 50432·4096 + 32·(12·4096² + 2·4096) + 4096: no biases, not even in norms
  EXPECT_EQ(total("mpt-30b"), 29'957'200'896);       // 50432·7168 + 48·(12·7168² + 2·7168) + 7168
  EXPECT_EQ(total("opt-66b"), 65'719'701'504);       // 50272·9216 + (2048+2)·9216 + 64·(12·9216² + 13·9216) + 2·9216
  // OPT-125m: 50272·768 + 2050·768 + 12·(12·768² + 13·768) + 2·768
  const std::array small{Setting{"num_hidden_layers", "12"}, Setting{"hidden_size", "768"}, Setting{"intermediate_size", "3072"},
                         Setting{"num_attention_heads", "12"}, Setting{"word_embed_proj_dim", "768"}};
  EXPECT_EQ(count_parameters(load_model("opt-66b", small)).total, 125'239'296);
  // PaLM 540B: 256000·18432 + 18432 + 118·(18432·256·(48+2) + 48·256·18432 + 3·18432·73728 + 18432): the paper's 540.35 B
  EXPECT_EQ(total("palm-540b"), 540'356'474'880);
  EXPECT_EQ(total("gpt3-175b"), 174'604'259'328);  // 50257·12288 + 2048·12288 + 96·(12·12288² + 13·12288) + 2·12288
}

TEST(ParameterCounts, OfBertDependOnWhichHeadsAreOn) {
  const auto bert = [](const std::string& architecture) {
    return count_parameters(read(fmt::format(R"({{"model_type": "bert", "architectures": ["{}"], "num_hidden_layers": 12, "hidden_size": 768,
      "intermediate_size": 3072, "num_attention_heads": 12, "vocab_size": 30522, "max_position_embeddings": 512}})",
                                             architecture)))
        .total;
  };
  // BertModel: (30522 + 512 + 2)·768 + 2·768 + 12·(12·768² + 13·768) + pooler 768² + 768
  EXPECT_EQ(bert("BertModel"), 109'482'240);
  // without the pooler, with the transform 768² + 768 + 2·768 and 30522 biases on the output
  EXPECT_EQ(bert("BertForMaskedLM"), 109'482'240 - 590'592 + 590'592 + 1'536 + 30'522);
  EXPECT_EQ(bert("BertForPreTraining"), 110'106'428);  // bert-base-uncased as published: all of these and 2·768 + 2
  EXPECT_EQ(total("bert-large"), 336'226'108);
  EXPECT_FALSE(load_model("bert-large").causal);
}

TEST(ParameterCounts, FollowMegatronsOwnConventionWhereAConfigSaysSo) {
  // The GPT-3 shape as megatron/training/theoretical_memory_usage.py counts it: no biases of linears, no positions, LayerNorm of 2 h:
  // 96·(12·12288² + 4·12288) + 51200·12288 + 2·12288
  EXPECT_EQ(count_parameters(read(R"({"model_type": "gpt2", "num_hidden_layers": 96, "hidden_size": 12288, "intermediate_size": 49152,
      "num_attention_heads": 96, "vocab_size": 51200, "position_embedding_type": "none", "add_bias_linear": false})"))
                .total,
            174'580'064'256);
  // llm-foundry's MPT with learned positions and biases, sequence 2048: 50368·768 + 2048·768 + 12·(12·768² + 13·768) + 2·768
  const std::string mpt = R"({"model_type": "mpt", "num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
      "num_key_value_heads": 12, "head_dim": 64, "vocab_size": 50368, "tie_word_embeddings": true, "hidden_act": "gelu", "mlp_gated": false,
      "normalization": "layernorm", "position_embedding_type": "learned", "add_bias_linear": true, "max_position_embeddings": 2048})";
  EXPECT_EQ(count_parameters(read(mpt)).total, 125'311'488);
}

TEST(ParameterCounts, AreRefusedWhereTheDescriptionDoesNotReach) {
  const Model m = read(R"({"model_type": "nemotron_h", "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4,
      "num_key_value_heads": 2, "vocab_size": 256, "hidden_act": "relu2", "hybrid_override_pattern": "MEM*", "n_routed_experts": 4,
      "num_experts_per_tok": 2, "moe_intermediate_size": 64, "mtp_hybrid_override_pattern": null})");
  EXPECT_EQ(m.unsupported, "a hybrid with Mamba layers");
  EXPECT_THROW(count_parameters(m), Error);
}

TEST(Models, ThatAreShippedAllReadAndHoldWhatTheyWereNamedFor) {
  const std::vector<std::string> names = model_names();
  EXPECT_GE(names.size(), 23U);
  for (const std::string& name : names) {
    const Model m = load_model(name);
    EXPECT_EQ(m.name, name);
    EXPECT_EQ(m.unsupported, "") << name;
    EXPECT_GT(count_parameters(m).total, 0) << name;
    EXPECT_EQ(read_model(write_model(m), "w.json"), m) << name;
  }
}

TEST(Models, ForCpusSplitFourWaysAndHaveAllTheirKernels) {
  for (const char* name : {"cpu-llama-tiny", "cpu-llama-small", "cpu-gpt-small"}) {
    const Model m = load_model(name);
    EXPECT_EQ(m.simulate_only, "") << name;
    EXPECT_EQ(m.vocab, 256) << name;
    EXPECT_EQ(m.heads % 4, 0) << name;
    EXPECT_EQ(m.kv_heads % 4, 0) << name;
    EXPECT_EQ(m.intermediate % 16, 0) << name;
    EXPECT_GE(m.layers, 4) << name;
  }
}

TEST(Models, SayWhatTheExecutorLacks) {
  EXPECT_EQ(load_model("llama-2-7b").simulate_only, "");
  EXPECT_EQ(load_model("qwen2.5-7b").simulate_only, "");
  EXPECT_EQ(load_model("gpt2").simulate_only, "");
  EXPECT_EQ(load_model("mixtral-8x7b").simulate_only, "");
  EXPECT_EQ(load_model("llama-3.1-8b").simulate_only, "");
  EXPECT_EQ(load_model("opt-66b").simulate_only, "");
  EXPECT_EQ(load_model("deepseek-v2").simulate_only, "latent attention with stretched positions");
  EXPECT_EQ(load_model("mistral-7b").simulate_only, "sliding window");
  EXPECT_EQ(load_model("mpt-7b").simulate_only, "ALiBi");
  EXPECT_EQ(load_model("palm-540b").simulate_only, "parallel block");
}

TEST(ReadModel, TakesBothSpellingsOfRotaryPositionsAndElementTypes) {
  const std::string sizes = R"("model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 4,
      "vocab_size": 256, "max_position_embeddings": 128, "rms_norm_eps": 1e-05)";
  const Model old_way = read("{" + sizes + R"(, "rope_theta": 500000.0, "torch_dtype": "bfloat16",
      "rope_scaling": {"type": "linear", "factor": 2.0}})");
  const Model new_way =
      read("{" + sizes + R"(, "dtype": "bfloat16", "rope_parameters": {"rope_theta": 500000.0, "rope_type": "linear", "factor": 2.0}})");
  EXPECT_EQ(old_way, new_way);
  EXPECT_EQ(old_way.rope_theta, 500000);
  EXPECT_EQ(old_way.dtype, DType::bf16);
  EXPECT_EQ(old_way.rope_scaling, (RopeScaling{.kind = RopeScaling::Kind::linear, .factor = 2}));
  EXPECT_EQ(read("{" + sizes + R"(, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}})").rope_scaling, RopeScaling{});
}

TEST(ReadModel, TakesScaledRotaryPositionsAsPublished) {
  using Kind = RopeScaling::Kind;
  EXPECT_EQ(load_model("llama-3.1-8b").rope_scaling,
            (RopeScaling{.kind = Kind::llama3, .factor = 8, .original_positions = 8192, .low_turns = 1, .high_turns = 4}));
  EXPECT_EQ(load_model("gpt-oss-20b").rope_scaling, (RopeScaling{.kind = Kind::yarn,
                                                                 .factor = 32,
                                                                 .original_positions = 4096,
                                                                 .low_turns = 1,
                                                                 .high_turns = 32,
                                                                 .attention_factor = 0.1 * std::log(32.0) + 1,
                                                                 .whole_pairs = false}));
  const auto scaling = [](const std::string& fields) {
    return read(R"({"model_type": "qwen2", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 4,
        "vocab_size": 256, "max_position_embeddings": 32768, "rope_scaling": {)" +
                fields + "}}");
  };
  const auto says = [&](const std::string& fields) -> std::string {
    try {
      (void)scaling(fields);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  // What YaRN's config leaves out: the ramp from 1 to 32 turns, the model's own context, 0.1 ln 4 + 1 = 1.1386.
  const RopeScaling yarn = scaling(R"("type": "yarn", "factor": 4.0)").rope_scaling;
  EXPECT_EQ(yarn.original_positions, 32768);
  EXPECT_EQ(yarn.low_turns, 1);
  EXPECT_EQ(yarn.high_turns, 32);
  EXPECT_TRUE(yarn.whole_pairs);
  EXPECT_NEAR(yarn.attention_factor, 1.1386294, 1e-7);
  // mscale 0.707 over mscale_all_dim 1 at factor 40: (0.0707 ln 40 + 1) / (0.1 ln 40 + 1) = 1.260803 / 1.368888 = 0.921042
  const RopeScaling deepseek = scaling(R"("type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 1.0)").rope_scaling;
  EXPECT_NEAR(deepseek.attention_factor, 0.921042, 1e-6);
  EXPECT_EQ(scaling(R"("type": "yarn", "factor": 40, "attention_factor": 1.5)").rope_scaling.attention_factor, 1.5);
  // Angles that nobody here knows are simulated, not executed.
  const Model dynamic = scaling(R"("type": "dynamic", "factor": 2.0)");
  EXPECT_EQ(dynamic.rope_scaling.kind, Kind::other);
  EXPECT_EQ(dynamic.simulate_only, "scaled rotary positions");

  EXPECT_EQ(says(R"("type": "linear")"), "m.json:2: rope_scaling.factor: is missing");
  EXPECT_EQ(says(R"("type": "linear", "factor": 0.5)"), "m.json:2: rope_scaling.factor: 0.5 is less than 1");
  EXPECT_EQ(says(R"("rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1, "original_max_position_embeddings": 8192)"),
            "m.json:2: rope_scaling.high_freq_factor: 1 is below low_freq_factor = 4");
  EXPECT_EQ(says(R"("rope_type": "yarn", "factor": 8, "rope_theta": 1)"),
            "m.json:2: rope_scaling.rope_type: cannot stretch angles of rope_theta 1\n  hint: give a rope_theta above 1");
}

TEST(ReadModel, TakesTheFieldNamesOfEachFamily) {
  const Model gpt2 = read(R"({"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024, "n_ctx": 1024, "n_inner": null,
      "vocab_size": 50257, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "bos_token_id": 50256, "task_specific_params": {"a": [1]}})");
  EXPECT_EQ(count_parameters(gpt2).total, 124'439'808);
  const Model mpt = read(R"({"model_type": "mpt", "n_layers": 32, "d_model": 4096, "n_heads": 32, "expansion_ratio": 4, "max_seq_len": 2048,
      "vocab_size": 50432, "no_bias": true, "learned_pos_emb": true, "attn_config": {"alibi": true, "attn_impl": "torch"}})");
  EXPECT_EQ(count_parameters(mpt).total, 6'649'286'656);
  const Model bloom =
      read(R"({"model_type": "bloom", "n_layer": 70, "n_embed": 14336, "num_attention_heads": 112, "n_inner": null, "seq_length": 2048,
      "vocab_size": 250880})");
  EXPECT_EQ(count_parameters(bloom).total, 176'247'271'424);
  // OPT-350m: tables 512 wide with projections in and out, norms after the sublayers, no final norm; its published count
  const Model opt = read(R"({"model_type": "opt", "num_hidden_layers": 24, "hidden_size": 1024, "ffn_dim": 4096, "num_attention_heads": 16,
      "vocab_size": 50272, "max_position_embeddings": 2048, "word_embed_proj_dim": 512, "do_layer_norm_before": false})");
  EXPECT_EQ(count_parameters(opt).total, 331'196'416);  // 50272·512 + 2050·1024 + 2·512·1024 + 24·(12·1024² + 13·1024)
  const Model nested = read(R"({"model_type": "llama4", "vision_config": {"hidden_size": 1408}, "text_config": {"model_type": "llama4_text",
      "num_hidden_layers": 48, "hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16384, "num_attention_heads": 40,
      "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 202048, "num_local_experts": 16, "num_experts_per_tok": 1,
      "interleave_moe_layer_step": 1, "attention_chunk_size": 8192, "use_qk_norm": true}})");
  EXPECT_EQ(count_parameters(nested).total, 107'769'861'120);
  EXPECT_EQ(nested.attention_chunk, 8192);
  EXPECT_EQ(nested.sliding_window_pattern, 4);
}

TEST(ReadModel, FindsTheOrderOfFullAndSlidingLayers) {
  const auto with = [](const std::string& types) {
    return read(R"({"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 4,
      "vocab_size": 256, "sliding_window": 32, "layer_types": [)" +
                types + "]}");
  };
  const std::string f = "\"full_attention\"", s = "\"sliding_attention\"";
  EXPECT_EQ(with(fmt::format("{1},{0},{1},{0}", f, s)).sliding_window_pattern, 2);
  EXPECT_EQ(with(fmt::format("{1},{1},{1},{0}", f, s)).sliding_window_pattern, 4);
  EXPECT_EQ(with(fmt::format("{1},{1},{1},{1}", f, s)).sliding_window_pattern, 0);
  EXPECT_EQ(with(fmt::format("{0},{0},{0},{0}", f, s)).sliding_window, 0);
  EXPECT_EQ(with(fmt::format("{0},{1},{1},{0}", f, s)).unsupported, "full and local attention in no regular order");
}

TEST(ReadModel, RefusesWhatCannotBe) {
  const nlohmann::ordered_json good = nlohmann::ordered_json::parse(R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
      "intermediate_size": 176, "num_attention_heads": 4, "vocab_size": 256})");
  // The change to one field and the message; every value is on its own line, 2 + the field's place.
  const auto says = [&](const char* field, const nlohmann::ordered_json& value) {
    nlohmann::ordered_json j = good;
    j[field] = value;
    return complaint(j.dump(1));
  };
  const auto without = [&](const char* field) {
    nlohmann::ordered_json j = good;
    j.erase(field);
    return complaint(j.dump(1));
  };
  ASSERT_EQ(complaint(good.dump(1)), "");
  EXPECT_EQ(says("model_type", "lama"), "m.json:2: model_type: 'lama' is not known here\n  hint: did you mean 'llama'?");
  EXPECT_EQ(says("num_hidden_layers", -3), "m.json:3: num_hidden_layers: -3 is less than 1");
  EXPECT_EQ(says("num_hidden_layers", 0), "m.json:3: num_hidden_layers: 0 is less than 1");
  EXPECT_EQ(says("num_hidden_layers", "two"), "m.json:3: num_hidden_layers: 'two' is not a whole number");
  EXPECT_EQ(says("num_hidden_layers", 2.5), "m.json:3: num_hidden_layers: 2.5 is not a whole number");
  EXPECT_EQ(says("num_hidden_layers", nullptr), "m.json:3: num_hidden_layers: null is not a whole number");
  EXPECT_EQ(says("num_hidden_layers", 1'000'000'000), "m.json:3: num_hidden_layers: 1000000000 is more than 100000");
  EXPECT_EQ(says("hidden_size", 1e300), "m.json:4: hidden_size: 1e+300 is more than 1073741824");
  EXPECT_EQ(says("hidden_size", 66), "m.json:1: hidden size 66 is not a multiple of 4 heads\n  hint: give head_dim");
  // 2·(4·1e9² + 3·1e9·176) + …
  EXPECT_EQ(says("hidden_size", 1'000'000'000), "m.json:1: has about 8.0e+18 parameters, more than 1e+15\n  hint: is one of the sizes mistyped?");
  EXPECT_EQ(says("num_key_value_heads", 3), "m.json:8: num_key_value_heads: 3 key and value heads cannot be shared evenly by 4 heads");
  EXPECT_EQ(says("num_key_value_heads", 8), "m.json:8: num_key_value_heads: 8 key and value heads cannot be shared evenly by 4 heads");
  EXPECT_EQ(says("n_layer", 3), "m.json:8: n_layer: 3 contradicts num_hidden_layers = 2\n  hint: remove one of them");
  EXPECT_EQ(says("head_dim", 15), "m.json:1: heads of 15 cannot be rotated in pairs");
  EXPECT_EQ(says("hidden_act", "sliu"), "m.json:8: hidden_act: 'sliu' is not known here\n  hint: did you mean 'silu'?");
  EXPECT_EQ(says("rms_norm_eps", "1e-5"), "m.json:8: rms_norm_eps: '1e-5' is not a number");
  EXPECT_EQ(says("rope_theta", 0), "m.json:8: rope_theta: 0 is less than 1");
  EXPECT_EQ(says("rope_scaling", 8), "m.json:8: rope_scaling: 8 is not an object");
  EXPECT_EQ(says("tie_word_embeddings", "no"), "m.json:8: tie_word_embeddings: 'no' is neither true nor false");
  EXPECT_EQ(says("torch_dtype", "bflaot16"), "m.json:8: torch_dtype: 'bflaot16' is not known here\n  hint: did you mean 'bfloat16'?");
  EXPECT_EQ(says("num_experts", 4), "m.json:1: num_experts_per_tok: is missing");
  EXPECT_EQ(says("layer_types", {"full_attention"}), "m.json:8: layer_types: names 1 layers of 2");
  EXPECT_EQ(without("model_type"), "m.json:1: model_type: is missing");
  EXPECT_EQ(without("hidden_size"), "m.json:1: hidden_size: is missing");
  EXPECT_EQ(without("intermediate_size"), "m.json:1: intermediate_size: is missing");
  EXPECT_EQ(without("vocab_size"), "m.json:1: vocab_size: is missing");
  EXPECT_EQ(complaint("[]"), "m.json:1: a list is not an object");
}

TEST(LoadModel, FindsNamesFilesAndFoldersAndSuggestsTheNearestName) {
  EXPECT_EQ(load_model(ORRERY_SOURCE_DIR "/models/gpt2.json"), load_model("gpt2"));
  const auto says = [](const std::string& name) -> std::string {
    try {
      (void)load_model(name);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(says("llama3.1-8b"), "model: 'llama3.1-8b' is neither a shipped model nor a file\n  hint: did you mean 'llama-3.1-8b'?");
  EXPECT_EQ(says("no/such.json"), "no/such.json: no such file");
  EXPECT_EQ(says(ORRERY_SOURCE_DIR "/models"), ORRERY_SOURCE_DIR "/models/config.json: no such file");
}

TEST(LoadModel, AppliesSettingsAndRefusesThoseThatNobodyReads) {
  const std::array shorter{Setting{"num_hidden_layers", "4"}};
  Model expected = load_model("llama-3-8b");
  expected.layers = 4;
  EXPECT_EQ(load_model("llama-3-8b", shorter), expected);
  const auto says = [](const std::string& setting) -> std::string {
    try {
      (void)load_model("llama-3-8b", std::vector{parse_setting(setting)});
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(says("num_hiden_layers=4"), "--set num_hiden_layers: is not a field that a llama model has\n  hint: did you mean 'num_hidden_layers'?");
  EXPECT_EQ(says("colour=red"), "--set colour: is not a field that a llama model has\n  hint: write it as the model's config.json does");
  EXPECT_EQ(says("hidden_size=big"), ORRERY_SOURCE_DIR "/models/llama-3-8b.json:5: hidden_size: 'big' is not a whole number");
}

std::int64_t pick(std::int64_t least, std::int64_t most) { return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(least, most + 1)); }
bool coin() { return pick(0, 1) == 1; }

RopeScaling any_scaling() {
  using Kind = RopeScaling::Kind;
  RopeScaling s;
  s.kind = std::array{Kind::none, Kind::linear, Kind::llama3, Kind::yarn, Kind::other}[static_cast<std::size_t>(pick(0, 4))];
  if (s.kind == Kind::none || s.kind == Kind::other) return s;
  s.factor = static_cast<double>(pick(2, 100)) / 2;
  if (s.kind == Kind::linear) return s;
  s.original_positions = pick(1, 10'000);
  s.low_turns = static_cast<double>(pick(1, 8)) / 2;
  s.high_turns = s.low_turns + static_cast<double>(pick(0, 32));
  if (s.kind == Kind::yarn) {
    s.attention_factor = static_cast<double>(pick(1, 200)) / 100;
    s.whole_pairs = coin();
  }
  return s;
}

// Any model that a config can describe.
Model any_model() {
  static constexpr std::array kNames{"llama",       "llama4_text", "mistral", "mixtral",  "qwen2",      "qwen3",       "qwen3_moe", "qwen2_moe",
                                     "deepseek_v2", "deepseek_v3", "kimi_k2", "gpt2",     "gpt_neox",   "gpt_oss",     "mpt",       "bloom",
                                     "opt",         "bert",        "palm",    "nemotron", "nemotron_h", "megatron_moe"};
  static constexpr std::array kWithExperts{"llama4_text", "mixtral", "qwen3_moe", "qwen2_moe", "gpt_oss", "megatron_moe"};
  const auto one_of = [](const auto& list, const std::string& word) { return std::find(list.begin(), list.end(), word) != list.end(); };
  Model m;
  m.name = "a model";
  m.family = kNames[static_cast<std::size_t>(pick(0, kNames.size() - 1))];
  m.layers = pick(1, 9);
  m.hidden = pick(1, 300);
  m.kv_heads = pick(1, 5);
  m.heads = m.kv_heads * pick(1, 5);
  m.head_dim = 2 * pick(1, 40);
  m.vocab = pick(1, 1000);
  m.max_positions = pick(1, 1000);
  m.causal = coin();
  m.norm = coin() ? Normalization::rmsnorm : Normalization::layernorm;
  m.norm_epsilon = static_cast<double>(pick(0, 1000)) / 1001;
  m.norm_bias = coin();
  m.activation = static_cast<Activation>(pick(0, 4));
  m.gated_mlp = coin();
  m.position = static_cast<PositionEmbedding>(pick(0, 3));
  m.rope_theta = 1 + static_cast<double>(pick(1, 1'000'000)) / 7;
  m.rope_fraction = static_cast<double>(pick(0, 8)) / 8;
  m.rope_scaling = any_scaling();
  m.tie_embeddings = coin();
  m.qkv_bias = coin();
  m.attention_out_bias = coin();
  m.mlp_bias = coin();
  m.head_bias = coin();
  m.parallel_block = coin();
  m.parallel_shared_norm = coin();
  m.embedding_norm = coin();
  m.post_norm = coin();
  m.final_norm = coin();
  m.token_types = pick(0, 3);
  m.embedding_width = coin() ? 0 : m.hidden + 1;
  m.pooler = coin();
  m.head_transform = coin();
  m.next_sentence_head = coin();
  m.attention_sinks = coin();
  m.sliding_window = coin() ? 0 : pick(1, 100);
  m.attention_chunk = coin() ? 0 : pick(1, 100);
  m.sliding_window_pattern = m.sliding_window + m.attention_chunk > 0 ? pick(0, 4) : 0;
  if (coin()) m.position_offset = pick(0, 3);
  if (m.family.substr(0, 8) == "deepseek" || m.family == "kimi_k2" || pick(0, 4) == 0) {
    m.mla = Mla{pick(0, 50), pick(1, 50), pick(1, 50), 2 * pick(1, 20), pick(1, 50), coin()};
    m.head_dim = m.qk_dim();
  } else {
    m.qk_norm = coin();
    m.qk_norm_trained = coin();
  }
  if (one_of(kWithExperts, m.family) || coin()) {
    Moe e;
    e.router_groups = coin() ? 0 : pick(2, 4);
    e.experts = pick(1, 8) * std::max<std::int64_t>(e.router_groups, 1);
    e.router_topk_groups = e.router_groups > 0 ? pick(1, e.router_groups) : 0;
    e.experts_per_token = pick(1, e.experts);
    e.intermediate = pick(1, 100);
    e.shared_intermediate = pick(0, 2) * 50;
    e.first_dense = pick(0, m.layers);
    e.every = pick(1, 3);
    e.offset = pick(0, e.every - 1);
    e.latent = pick(0, 1) * 20;
    e.router_bias = coin();
    e.router_sigmoid = coin(), e.router_normalized = coin(), e.router_scale = static_cast<double>(pick(1, 9)) / 2;
    e.shared_gate = coin();
    e.expert_bias = coin();
    m.moe = e;
  }
  for (std::int64_t l = 0; l < m.layers; ++l) {
    if (!m.is_moe_layer(l)) m.intermediate = 176;
  }
  m.mtp_layers = pick(0, 2);
  m.mtp_shared = m.mtp_layers > 0 && coin();
  if (coin()) m.dtype = std::array{DType::fp32, DType::bf16, DType::fp16, DType::fp8}[static_cast<std::size_t>(pick(0, 3))];
  m.unsupported = m.family == "nemotron_h" || pick(0, 5) == 0 ? "something else" : "";
  m.simulate_only = missing_kernels(m);
  return m;
}

RC_GTEST_PROP(WriteModel, IsUndoneByReadModel, ()) {
  const Model m = any_model();
  RC_ASSERT(read_model(write_model(m), "w.json") == m);
}

RC_GTEST_PROP(ParameterCounts, AreTheSumOfTheirLayersAndTheirEnds, ()) {
  Model m = any_model();
  m.unsupported.clear();
  const ParameterCount count = count_parameters(m);
  std::int64_t layers = 0;
  for (std::int64_t l = 0; l < m.layers; ++l) layers += layer_parameters(m, l);
  RC_ASSERT(count.total >= layers + count.embedding + count.head);
  RC_ASSERT(count.active <= count.total);
  RC_ASSERT(count.experts <= layers);
  RC_ASSERT(static_cast<double>(count.total + count.mtp) == estimate_parameters(m));
  Model deeper = m;  // a layer more of the kind that comes next adds just that layer
  ++deeper.layers;
  if (deeper.is_moe_layer(m.layers) || m.intermediate > 0) {
    RC_ASSERT(count_parameters(deeper).total == count.total + layer_parameters(deeper, m.layers));
  }
}

}  // namespace
}  // namespace orrery
