#include "program/flops.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "program/compile.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

constexpr auto kHalf = FlopsConvention::causal_half, kFull = FlopsConvention::full, kSixN = FlopsConvention::six_n;

Model llama_8b() {
  Model m;
  m.name = "llama-3.1-8b", m.family = "llama";
  m.layers = 32, m.hidden = 4096, m.intermediate = 14336, m.heads = 32, m.kv_heads = 8, m.head_dim = 128, m.vocab = 128256, m.norm_bias = false;
  return m;
}

TEST(Flops, ConventionsAreNamed) {
  EXPECT_EQ(name(kHalf), "causal-half");
  EXPECT_EQ(name(kFull), "full");
  EXPECT_EQ(name(kSixN), "6n");
}

// Llama-3.1-8B at s = 8192. Per layer q and out 2·4096·4096, k and v 2·4096·1024, feed-forward 3·4096·14336: 218,103,808 elements; 32 layers and the
// head 4096·128256: 7,504,658,432 elements, 6 FLOPs each per token: 45,027,950,592. Attention forward per token and layer, causal: 2·32 heads·(128 +
// 128)·8192/2 = 67,108,864; three times that in 32 layers: 6,442,450,944; and twice that over all pairs.
TEST(Flops, OfLlama8bFollowByHand) {
  constexpr double kMatrices = 45'027'950'592.0, kAttention = 6'442'450'944.0;
  EXPECT_EQ(model_flops(llama_8b(), 1, 8192, kHalf), Flops{kMatrices + kAttention});
  EXPECT_EQ(model_flops(llama_8b(), 1, 8192, kFull), Flops{kMatrices + 2 * kAttention});
  // 8,030,261,248 parameters.
  EXPECT_EQ(model_flops(llama_8b(), 1, 8192, kSixN), Flops{6 * 8'030'261'248.0});
  // A batch of 16 sequences.
  EXPECT_EQ(model_flops(llama_8b(), 16 * 8192, 8192, kHalf), Flops{16 * 8192 * (kMatrices + kAttention)});
}

// Narayanan et al. 2021, equation 3, without its extra forward of recomputation (72 for 96): 72·b·s·l·h²·(1 + s/(6h) + V/(12·l·h)) for a GPT with
// feed-forward 4h. It counts all pairs.
TEST(Flops, OfAGptFollowThePublishedFormula) {
  Model m;
  m.layers = 96, m.hidden = 12288, m.intermediate = 4 * 12288, m.heads = m.kv_heads = 96, m.head_dim = 128, m.vocab = 51200, m.gated_mlp = false;
  const double b = 1536, s = 2048, l = 96, h = 12288, v = 51200;
  const double formula = 72 * b * s * l * h * h * (1 + s / (6 * h) + v / (12 * l * h));
  EXPECT_NEAR(model_flops(m, b * s, 2048, kFull) / Flops{formula}, 1, 1e-14);
}

// llm.c counts 6N + 6·L·C·T per token for GPT-2: causal, N without positions. 124M: L 12, C 768, T 1024; matrices 12·12·768² + 50257·768.
TEST(Flops, OfGpt2CountHalfOfTheAttention) {
  Model m;
  m.layers = 12, m.hidden = 768, m.intermediate = 3072, m.heads = m.kv_heads = 12, m.head_dim = 64, m.vocab = 50257, m.gated_mlp = false;
  const double matrices = 12.0 * 12 * 768 * 768 + 50257.0 * 768;
  EXPECT_DOUBLE_EQ(model_flops(m, 1, 1024, kHalf).v, 6 * matrices + 6.0 * 12 * 768 * 1024);
}

// Mixtral-like: of 8 experts a token uses 2. Per layer: attention 2·64² + 2·64·32 = 12,288; router 64·8; experts 2·3·64·96 = 36,864: 49,664. Two
// layers and a head of 64·100: 105,728 elements. Attention: 2·8 heads·(8 + 8)·16/2 per layer forward.
TEST(Flops, OfAMixtureCountTheExpertsThatATokenUses) {
  Model m = small_llama(2);
  m.hidden = 64, m.heads = 8, m.kv_heads = 4, m.head_dim = 8, m.vocab = 100, m.intermediate = 0;
  m.moe = Moe{.experts = 8, .experts_per_token = 2, .intermediate = 96};
  EXPECT_DOUBLE_EQ(model_flops(m, 1, 16, kHalf).v, 6 * 105'728.0 + 3 * 2 * (2 * 8 * 16 * 8));
}

// DeepSeek-V3's attention: q 7168·1536 + 1536·128·192, kv 7168·(512 + 64) + 512·128·(128 + 128), out 128·128·7168: 187,105,280 elements; a dense
// layer adds 3·7168·18432 = 396,361,728. Products 2·128·(192 + 128)·4096/2 per token, forward.
TEST(Flops, OfLatentAttentionFollowItsProjections) {
  Model m;
  m.layers = 1, m.hidden = 7168, m.intermediate = 18432, m.heads = m.kv_heads = 128, m.head_dim = 192, m.vocab = 1000;
  m.mla = Mla{.q_lora_rank = 1536, .kv_lora_rank = 512, .qk_nope_head_dim = 128, .qk_rope_head_dim = 64, .v_head_dim = 128};
  EXPECT_DOUBLE_EQ(model_flops(m, 1, 4096, kHalf).v, 6 * (187'105'280.0 + 396'361'728.0 + 7'168'000.0) + 3 * 2.0 * 128 * 320 * 2048);
}

// A window of 4 on 16 tokens: 4·16 − 4²/2 = 56 pairs for 128; every second layer is full: (56 + 128)/256 of all pairs. Chunks of 4: 16·4/2 = 32.
TEST(Flops, AWindowLeavesFewerPairs) {
  const Model plain = small_llama(2);
  Model window = plain, chunks = plain;
  window.sliding_window = chunks.attention_chunk = 4;
  window.sliding_window_pattern = chunks.sliding_window_pattern = 2;
  const auto attention = [&](const Model& m) { return model_flops(m, 16, 16, kHalf).v - model_flops(plain, 16, 16, kHalf).v; };
  const double pair = 3 * 2 * 8 * 4;  // three times, two FLOPs, 8 heads, 2 + 2 wide
  EXPECT_DOUBLE_EQ(attention(window), (56 - 128) * pair);
  EXPECT_DOUBLE_EQ(attention(chunks), (32 - 128) * pair);
  EXPECT_EQ(model_flops(window, 16, 16, kFull), model_flops(plain, 16, 16, kFull));
}

Program compiled(const Model& model, const Plan& plan, std::int64_t dp) { return compile(model, small_cluster(plan, dp), plan); }

double tokens_of(const Plan& plan) { return static_cast<double>(plan.batch.global * plan.batch.sequence); }

RC_GTEST_PROP(FlopsProperty, HardwareRunsTheModelsFlopsHoweverItIsSplit, ()) {
  Model model = *rc::gen::arbitrary<bool>() ? small_llama() : small_gpt2();
  model.vocab = 48;  // divides by every tp here, so nothing is padded
  const auto dp = *rc::gen::element<std::int64_t>(1, 2, 3);
  Plan plan =
      small_plan(*rc::gen::element<std::int64_t>(1, 2, 4), *rc::gen::element<std::int64_t>(1, 2, 4), dp, *rc::gen::inRange<std::int64_t>(1, 6));
  plan.parallel.sp = plan.parallel.tp > 1 && *rc::gen::arbitrary<bool>();
  plan.schedule = *rc::gen::element<std::string>("gpipe", "1f1b");
  plan.sharding.zero = *rc::gen::element<std::int64_t>(0, 1);
  const Program program = compiled(model, plan, dp);
  for (const FlopsConvention convention : {kHalf, kFull, kSixN})
    RC_ASSERT(hardware_flops(program, model, convention) == model_flops(model, tokens_of(plan), plan.batch.sequence, convention));
}

// As below: a module is a projection of 32·16 = 512 elements, a layer of 1920 and its attention of 256, and the head's 768 again. Per token and
// module forward 2·(512 + 1920 + 768) + 256 = 6656. Without sequence parallelism every rank of a tensor-parallel group runs the whole projection.
TEST(Flops, OfPredictionModulesAreAProjectionALayerAndTheHeadEach) {
  Model model = small_llama();
  model.vocab = 48, model.mtp_layers = 2;
  Plan plan = small_plan(2, 2, 2, 4);
  plan.parallel.sp = true;
  const double tokens = tokens_of(plan);
  EXPECT_EQ(model_flops(model, tokens, 8, kHalf), Flops{tokens * (53'760 + 2 * 3 * 6656)});
  EXPECT_EQ(hardware_flops(compiled(model, plan, 2), model, kHalf), model_flops(model, tokens, 8, kHalf));
  plan.parallel.sp = false;
  EXPECT_EQ(hardware_flops(compiled(model, plan, 2), model, kHalf).v - model_flops(model, tokens, 8, kHalf).v, tokens * 2 * 6 * 512);
}

// small_llama: hidden 16, 8 heads of 2, 4 kv heads, feed-forward 24, 4 layers, vocabulary 48, s = 8. Elements per layer: qkv 16·32, out 16·16, gate
// and up 16·48, down 24·16: 512 + 256 + 768 + 384 = 1920; head 768. Attention forward per token and layer 2·8·4·4 = 256. A layer's forward per token
// is 2·1920 + 256 = 4096, the head's 1536; the model's is 3·(4·4096 + 1536) = 53,760 per token. Full recomputation runs the layers' forward again,
// 4·4096 = 16,384 per token (1.305 times the model's FLOPs), or, where the last product of a layer is left out because no gradient needs it, 4·(4096
// − 2·384).
TEST(Flops, FullRecomputationAddsTheLayersForward) {
  Model model = small_llama();
  model.vocab = 48;
  Plan plan = small_plan(2, 2, 2, 4);
  plan.recompute.kind = "full";
  const double tokens = tokens_of(plan);
  plan.runtime.framework = "megatron-core";
  EXPECT_EQ(hardware_flops(compiled(model, plan, 2), model, kHalf), Flops{tokens * (53'760 + 16'384)});
  plan.runtime.framework = "orrery";
  EXPECT_EQ(hardware_flops(compiled(model, plan, 2), model, kHalf), Flops{tokens * (53'760 + 4 * (4096 - 768))});
  // Under 6n the recomputation is added to 6 parameters per token.
  EXPECT_EQ(hardware_flops(compiled(model, plan, 2), model, kSixN), Flops{model_flops(model, tokens, 8, kSixN).v + tokens * 4 * (4096 - 768)});
  EXPECT_EQ(model_flops(model, tokens, 8, kHalf), Flops{tokens * 53'760});
}

// A vocabulary of 50 on 4 ranks is padded to 52: two more rows of 16 in the head's three products.
TEST(Flops, HardwareRunsThePaddedVocabulary) {
  const Model model = small_llama();
  const Plan plan = small_plan(4);
  EXPECT_EQ(hardware_flops(compiled(model, plan, 1), model, kHalf).v - model_flops(model, tokens_of(plan), 8, kHalf).v, tokens_of(plan) * 6 * 2 * 16);
}

}  // namespace
}  // namespace orrery::program
