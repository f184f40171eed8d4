#include "core/rope.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/model_json.h"
#include "support/rope_definitions.h"

namespace orrery {
namespace {

using Kind = RopeScaling::Kind;

std::vector<double> angles(double theta, std::int64_t rotated, const RopeScaling& scaling) {
  const RopeAngles a(theta, rotated, scaling);
  std::vector<double> out;
  for (std::int64_t i = 0; i < rotated / 2; ++i) out.push_back(a.per_position(i));
  return out;
}

void expect_same(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i] / expected[i], 1, 1e-12) << "pair " << i;
}

TEST(Rope, WithoutScalingPairITurnsByThetaToTheMinusTwoIOverWidth) {
  expect_same(angles(10000, 8, {}), {1, 0.1, 0.01, 0.001});  // 10^4 to the powers 0, -2/8, -4/8, -6/8
  expect_same(angles(500000, 128, {}), reference::plain_angles(500000, 128));
}

TEST(Rope, LinearScalingDividesPositions) {
  expect_same(angles(10000, 8, {.kind = Kind::linear, .factor = 4}), {0.25, 0.025, 0.0025, 0.00025});
  expect_same(angles(10000, 64, {.kind = Kind::linear, .factor = 2.5}), reference::linear_angles(10000, 64, 2.5));
}

TEST(Rope, OfLlama31IsWhatMetaPublished) {
  const Model m = load_model("llama-3.1-8b");
  const std::vector<double> ours = angles(m.rope_theta, m.head_dim, m.rope_scaling);
  expect_same(ours, reference::llama3_angles(500000, 128, 8, 1, 4, 8192));
  // By hand: pair i makes 8192 / (2π · 500000^(i/64)) turns. Pair 28 makes 4.187 and keeps its angle; pair 29 makes 3.411, keeps (3.411 - 1)/3 =
  // 0.804 of it and an eighth of the rest: 0.828; pair 34 makes 1.224: 0.0745 + 0.9255/8 = 0.190; pair 35 makes 0.997: one eighth.
  const std::vector<double> plain = reference::plain_angles(500000, 128);
  EXPECT_NEAR(ours[28] / plain[28], 1, 1e-15);
  EXPECT_NEAR(ours[29] / plain[29], 0.828, 1e-3);
  EXPECT_NEAR(ours[34] / plain[34], 0.190, 1e-3);
  EXPECT_NEAR(ours[35] / plain[35], 0.125, 1e-15);
  const Model small = load_model("llama-3.2-1b");  // heads of 64, factor 32
  expect_same(angles(small.rope_theta, small.head_dim, small.rope_scaling), reference::llama3_angles(500000, 64, 32, 1, 4, 8192));
}

TEST(Rope, OfLlama4StepsWhereItsRampHasNoWidth) {
  const Model m = load_model("llama-4-scout");
  expect_same(angles(m.rope_theta, m.head_dim, m.rope_scaling), reference::llama3_angles(500000, 128, 16, 1, 1, 8192));
}

TEST(Rope, OfGptOssIsWhatOpenAiPublished) {
  const Model m = load_model("gpt-oss-20b");
  expect_same(angles(m.rope_theta, m.head_dim, m.rope_scaling), reference::yarn_angles(150000, 64, 32, 1, 32, 4096, false));
  EXPECT_NEAR(RopeAngles(m.rope_theta, m.head_dim, m.rope_scaling).amplitude(), 1.3465735902799727, 1e-15);  // 0.1 ln 32 + 1
}

TEST(Rope, OfDeepSeekIsWhatDeepSeekPublished) {
  const Model m = load_model("deepseek-v3");
  expect_same(angles(m.rope_theta, m.mla->qk_rope_head_dim, m.rope_scaling), reference::yarn_angles(10000, 64, 40, 1, 32, 4096, true));
  EXPECT_EQ(m.rope_scaling.attention_factor, 1);  // mscale = mscale_all_dim: the two cancel
}

TEST(Rope, RotatesWholePairsOfTheFirstPartOfAHead) {
  EXPECT_EQ(rotated_width(96, 0.25), 24);  // GPT-NeoX-20B
  EXPECT_EQ(rotated_width(128, 1), 128);
  EXPECT_EQ(rotated_width(10, 0.5), 4);  // 5 elements hold two pairs
  EXPECT_EQ(rotated_width(4, 0), 0);
}

RC_GTEST_PROP(Rope, StretchedAnglesLieBetweenThePlainOnesAndThoseDividedByTheFactor, ()) {
  const auto rotated = 2 * *rc::gen::inRange<std::int64_t>(1, 100);
  const double theta = 1 + *rc::gen::inRange(1, 1'000'000), low = *rc::gen::inRange(1, 10), factor = *rc::gen::inRange(1, 100);
  RopeScaling s;
  s.kind = *rc::gen::element(Kind::linear, Kind::llama3, Kind::yarn);
  s.factor = factor;
  s.low_turns = low;
  s.high_turns = low + *rc::gen::inRange(0, 40);
  s.original_positions = *rc::gen::inRange<std::int64_t>(1, 200'000);
  s.whole_pairs = *rc::gen::arbitrary<bool>();
  const std::vector<double> ours = angles(theta, rotated, s), plain = reference::plain_angles(theta, rotated);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    RC_ASSERT(ours[i] <= plain[i] * (1 + 1e-12));
    RC_ASSERT(ours[i] >= plain[i] / factor * (1 - 1e-12));
    if (i > 0 && s.kind != Kind::yarn) RC_ASSERT(ours[i] <= ours[i - 1]);  // slower pairs are stretched no less
  }
}

}  // namespace
}  // namespace orrery
