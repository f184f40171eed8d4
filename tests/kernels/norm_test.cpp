#include <gtest/gtest.h>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;

constexpr double kEpsilon = 1e-3;  // large enough to show in the result

executor::KernelSettings settings(bool layer_norm) {
  executor::KernelSettings s;
  s.layer_norm = layer_norm;
  s.norm_epsilon = kEpsilon;
  return s;
}

class KernelNorm : public testing::TestWithParam<std::tuple<bool, bool, std::int64_t>> {  // LayerNorm, beta, width
 protected:
  const bool layer_norm = std::get<0>(GetParam()), with_beta = std::get<1>(GetParam());
  const std::int64_t tokens = 5, width = std::get<2>(GetParam()), statistics_size = layer_norm ? 2 * tokens : tokens;
  const Floats x = random_floats(tokens * width, 1), gamma = random_floats(width, 2), beta = random_floats(width, 3);

  Doubles reference_beta() const { return with_beta ? wide(beta) : Doubles{}; }
  void forward(Floats& y, Floats& statistics) const {
    const Call call{Operator::norm_forward, {tokens, width}, settings(layer_norm)};
    with_beta ? call(x, gamma, beta, y, statistics) : call(x, gamma, y, statistics);
  }
};

TEST_P(KernelNorm, ForwardIsTheDefinition) {
  Floats y = poison(tokens * width), statistics = poison(statistics_size);
  forward(y, statistics);
  EXPECT_TRUE(close(y, norm(layer_norm, wide(x), wide(gamma), reference_beta(), width, kEpsilon)));
}

TEST_P(KernelNorm, BackwardAddsTheGradientsOfFiniteDifferences) {
  Floats y = poison(tokens * width), statistics = poison(statistics_size);
  forward(y, statistics);
  const Floats dy = random_floats(tokens * width, 4), dx_before = random_floats(tokens * width, 5), gamma_before = random_floats(width, 6),
               beta_before = random_floats(width, 7);
  Floats dx = dx_before, d_gamma = gamma_before, d_beta = beta_before;
  const Call call{Operator::norm_backward, {tokens, width}, settings(layer_norm)};
  with_beta ? call(dy, x, gamma, statistics, dx, d_gamma, d_beta) : call(dy, x, gamma, statistics, dx, d_gamma);

  const auto loss = [&](const Doubles& a, const Doubles& g, const Doubles& b) {
    return weighted_sum(norm(layer_norm, a, g, b, width, kEpsilon), dy);
  };
  EXPECT_TRUE(close(dx, plus(gradient([&](const Doubles& a) { return loss(a, wide(gamma), reference_beta()); }, wide(x)), dx_before)));
  EXPECT_TRUE(close(d_gamma, plus(gradient([&](const Doubles& g) { return loss(wide(x), g, reference_beta()); }, wide(gamma)), gamma_before)));
  if (with_beta) {
    EXPECT_TRUE(close(d_beta, plus(gradient([&](const Doubles& b) { return loss(wide(x), wide(gamma), b); }, wide(beta)), beta_before)));
  } else {
    EXPECT_EQ(d_beta, beta_before);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, KernelNorm, testing::Combine(testing::Values(true), testing::Bool(), testing::Values<std::int64_t>(1, 7, 64, 131)));
INSTANTIATE_TEST_SUITE_P(Rms, KernelNorm,
                         testing::Combine(testing::Values(false), testing::Values(false), testing::Values<std::int64_t>(1, 7, 64, 131)));

TEST(KernelNormByHand, RmsOfThreeAndFour) {
  // mean of squares (9 + 16)/2 = 12.5, so x/σ = (3, 4)/3.5355339 = (0.8485281, 1.1313708)
  const Floats x{3, 4}, gamma{1, 10};
  Floats y = poison(2), statistics = poison(1);
  executor::KernelSettings s;
  s.norm_epsilon = 0;
  Call{Operator::norm_forward, {1, 2}, s}(x, gamma, y, statistics);
  EXPECT_NEAR(y[0], 0.8485281, 1e-6);
  EXPECT_NEAR(y[1], 11.313708, 1e-5);
  EXPECT_NEAR(statistics[0], 1 / 3.5355339, 1e-7);
}

}  // namespace
}  // namespace orrery
