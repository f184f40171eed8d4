#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;

struct Loss {
  std::vector<double> by_shard;
  Floats d_logits;  // put together again
};

// Runs the three kernels on every shard, with the reductions that a tensor-parallel group would make between them.
Loss sharded(const Floats& logits, const std::vector<std::int32_t>& target, std::int64_t columns, std::int64_t vocab, std::int64_t shards,
             std::int64_t global_tokens) {
  const auto tokens = static_cast<std::int64_t>(target.size()), local = columns / shards;
  const std::array<std::int64_t, 9> dims{tokens, local};
  Floats max(at(tokens), -std::numeric_limits<float>::infinity()), sums(at(2 * tokens), 0.F);
  std::vector<Floats> parts;
  std::vector<executor::KernelSettings> settings(at(shards));
  for (std::int64_t s = 0; s < shards; ++s) {
    settings[at(s)].vocab = vocab;
    settings[at(s)].vocab_offset = s * local;
    settings[at(s)].global_tokens = global_tokens;
    Floats part, m = poison(tokens);
    for (std::int64_t t = 0; t < tokens; ++t) {
      part.insert(part.end(), logits.begin() + t * columns + s * local, logits.begin() + t * columns + (s + 1) * local);
    }
    Call{Operator::cross_entropy_max, dims, settings[at(s)]}(part, m);
    for (std::size_t t = 0; t < at(tokens); ++t) max[t] = std::max(max[t], m[t]);
    parts.push_back(part);
  }
  for (std::int64_t s = 0; s < shards; ++s) {
    Floats part = poison(2 * tokens);
    Call{Operator::cross_entropy_sum, dims, settings[at(s)]}(parts[at(s)], max, target, part);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += part[i];
  }
  Loss r{{}, Floats(logits.size())};
  for (std::int64_t s = 0; s < shards; ++s) {
    std::vector<double> loss{100};  // accumulated into, so not to be overwritten
    Call{Operator::cross_entropy_grad, dims, settings[at(s)]}(max, sums, target, parts[at(s)], loss);
    r.by_shard.push_back(loss[0] - 100);
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::copy_n(parts[at(s)].begin() + t * local, local, r.d_logits.begin() + t * columns + s * local);
    }
  }
  return r;
}

TEST(KernelCrossEntropy, TwoEvenLogitsCostLogTwo) {
  // softmax (1/2, 1/2): loss ln 2 for each of 3 tokens; d = (1/2 - 1, 1/2)/global tokens (6), alternating with the target
  const Loss r = sharded({5, 5, -3, -3, 0, 0}, {0, 1, 0}, 2, 2, 1, 6);
  EXPECT_NEAR(r.by_shard[0], 3 * std::numbers::ln2, 1e-6);
  EXPECT_TRUE(close(r.d_logits, {-0.5 / 6, 0.5 / 6, 0.5 / 6, -0.5 / 6, -0.5 / 6, 0.5 / 6}));
}

// The second row predicts nothing. The first as above, with a weight of 0.5: loss ln 2 / 2, d = (1/2 - 1, 1/2) / 2 / global tokens (4).
TEST(KernelCrossEntropy, ARowWithoutTargetHasNeitherLossNorGradientAndAModulesWeightIsInBoth) {
  Floats logits{5, 5, -3, 1}, max = poison(2), sums = poison(4);
  const std::vector<std::int32_t> target{0, -1};
  executor::KernelSettings settings;
  settings.vocab = 2, settings.global_tokens = 4;
  const std::array<std::int64_t, 9> dims{2, 2};
  std::vector<double> loss{100};
  Call{Operator::cross_entropy_max, dims, settings}(logits, max);
  Call{Operator::cross_entropy_sum, dims, settings}(logits, max, target, sums);
  Call grad{Operator::cross_entropy_grad, dims, settings};
  grad.loss_weight = 0.5;
  grad(max, sums, target, logits, loss);
  EXPECT_NEAR(loss[0], 100 + std::numbers::ln2 / 2, 1e-6);
  EXPECT_TRUE(close(logits, {-0.25 / 4, 0.25 / 4, 0, 0}));
}

TEST(KernelCrossEntropy, ShardsAgreeWithTheWholeAndWithFiniteDifferences) {
  const std::int64_t tokens = 9, columns = 56, global_tokens = 36;
  for (const std::int64_t vocab : {56, 50, 40}) {  // no padding; padding in the last shard; the last of four shards all padding
    Floats logits = random_floats(tokens * columns, 1, 3);
    const auto target = random_tokens(tokens, static_cast<std::int32_t>(vocab), 2);
    const auto loss = [&](const Doubles& x) { return cross_entropy(x, target, columns, vocab) / static_cast<double>(global_tokens); };
    const Doubles expected = gradient(loss, wide(logits));
    const double expected_loss = cross_entropy(wide(logits), target, columns, vocab);
    for (std::int64_t t = 0; t < tokens; ++t) {  // whatever stands in the padding has no say
      for (std::int64_t c = vocab; c < columns; ++c) logits[at(t * columns + c)] = std::numeric_limits<float>::quiet_NaN();
    }
    for (const std::int64_t shards : {1, 2, 4}) {
      const Loss r = sharded(logits, target, columns, vocab, shards, global_tokens);
      for (const double l : r.by_shard) EXPECT_NEAR(l, expected_loss, 1e-6 * expected_loss) << vocab << " tokens, " << shards << " shards";
      EXPECT_TRUE(close(r.d_logits, expected)) << vocab << " tokens, " << shards << " shards";
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t c = vocab; c < columns; ++c) EXPECT_EQ(r.d_logits[at(t * columns + c)], 0.F);
      }
    }
  }
}

RC_GTEST_PROP(KernelCrossEntropy, AShiftOfAllLogitsChangesNothing, ()) {
  const std::int64_t tokens = *rc::gen::inRange(1, 6), vocab = *rc::gen::inRange(1, 3000);
  const auto shift = static_cast<float>(*rc::gen::inRange(-4000, 4000));
  Floats logits = random_floats(tokens * vocab, 3);
  for (float& l : logits) l = std::round(l * 256) / 256;  // so that adding a shift below 4096 is exact in fp32
  const auto target = random_tokens(tokens, static_cast<std::int32_t>(vocab), 4);
  const Loss before = sharded(logits, target, vocab, vocab, 1, tokens);
  for (float& l : logits) l += shift;
  const Loss after = sharded(logits, target, vocab, vocab, 1, tokens);
  RC_ASSERT(std::abs(before.by_shard[0] - after.by_shard[0]) <= 1e-9 * (1 + std::abs(before.by_shard[0])));
  RC_ASSERT(before.d_logits == after.d_logits);
}

}  // namespace
}  // namespace orrery
