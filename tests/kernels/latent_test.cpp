#include <gtest/gtest.h>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;

struct Sizes {
  std::int64_t tokens, heads, nope, rope, v;
  std::int64_t qk() const { return nope + rope; }
  std::int64_t width() const { return heads * (2 * qk() + v); }
  std::array<std::int64_t, 9> dims() const { return {tokens, heads, nope, rope, v}; }
};

constexpr std::int64_t kMicro = 2, kFirst = 3;
constexpr double kTheta = 50;

executor::KernelSettings settings() {
  executor::KernelSettings s;
  s.rope_theta = kTheta;
  s.micro_batch = kMicro;
  return s;
}

// Rotates the pairs (i, i + n/2) of one row's part by position · theta^(-2i/n).
void turn(double* part, std::int64_t n, std::int64_t position) {
  for (std::int64_t i = 0; i < n / 2; ++i) {
    const double angle = static_cast<double>(position) * std::pow(kTheta, -2.0 * static_cast<double>(i) / static_cast<double>(n));
    const double x = part[i], y = part[i + n / 2];
    part[i] = x * std::cos(angle) - y * std::sin(angle);
    part[i + n / 2] = y * std::cos(angle) + x * std::sin(angle);
  }
}

Doubles pack(const Sizes& s, const Doubles& q, const Doubles& kv, const Doubles& k_rope) {
  Doubles out(at(s.tokens * s.width()));
  for (std::int64_t t = 0; t < s.tokens; ++t)
    for (std::int64_t h = 0; h < s.heads; ++h) {
      double *queries = &out[at(t * s.width() + h * s.qk())], *keys = &out[at(t * s.width() + (s.heads + h) * s.qk())],
             *values = &out[at(t * s.width() + 2 * s.heads * s.qk() + h * s.v)];
      for (std::int64_t i = 0; i < s.qk(); ++i) queries[i] = q[at((t * s.heads + h) * s.qk() + i)];
      for (std::int64_t i = 0; i < s.nope; ++i) keys[i] = kv[at((t * s.heads + h) * (s.nope + s.v) + i)];
      for (std::int64_t i = 0; i < s.rope; ++i) keys[s.nope + i] = k_rope[at(t * s.rope + i)];
      for (std::int64_t i = 0; i < s.v; ++i) values[i] = kv[at((t * s.heads + h) * (s.nope + s.v) + s.nope + i)];
      turn(queries + s.nope, s.rope, kFirst + t / kMicro);
      turn(keys + s.nope, s.rope, kFirst + t / kMicro);
    }
  return out;
}

class KernelLatent : public testing::TestWithParam<Sizes> {
 protected:
  const Sizes s = GetParam();
  const Floats q = random_floats(s.tokens * s.heads * s.qk(), 1), kv = random_floats(s.tokens * s.heads * (s.nope + s.v), 2),
               k_rope = random_floats(s.tokens * s.rope, 3);
};

TEST_P(KernelLatent, PacksAndTurnsQueriesAndTheSharedKey) {
  Floats qkv = poison(s.tokens * s.width());
  Call{Operator::mla_pack_forward, s.dims(), settings(), kFirst}(q, kv, k_rope, qkv);
  EXPECT_TRUE(close(qkv, pack(s, wide(q), wide(kv), wide(k_rope)), 1e-6));
}

TEST_P(KernelLatent, BackwardIsTheGradientOfFiniteDifferences) {
  const Floats d_qkv = random_floats(s.tokens * s.width(), 4);
  Floats dq = poison(s.tokens * s.heads * s.qk()), dkv = poison(s.tokens * s.heads * (s.nope + s.v)), dk = poison(s.tokens * s.rope);
  Call{Operator::mla_pack_backward, s.dims(), settings(), kFirst}(d_qkv, dq, dkv, dk);
  const auto loss = [&](const Doubles& a, const Doubles& b, const Doubles& c) { return weighted_sum(pack(s, a, b, c), d_qkv); };
  EXPECT_TRUE(close(dq, gradient([&](const Doubles& x) { return loss(x, wide(kv), wide(k_rope)); }, wide(q))));
  EXPECT_TRUE(close(dkv, gradient([&](const Doubles& x) { return loss(wide(q), x, wide(k_rope)); }, wide(kv))));
  EXPECT_TRUE(close(dk, gradient([&](const Doubles& x) { return loss(wide(q), wide(kv), x); }, wide(k_rope))));
}

INSTANTIATE_TEST_SUITE_P(Sizes, KernelLatent, testing::Values(Sizes{7, 3, 4, 2, 5}, Sizes{4, 1, 1, 8, 1}));

// More pairs than are turned at once. A rotation keeps lengths, so that the gradient is checked by turning back: pack, then unpack.
TEST(KernelLatentWide, TurnsAThousandElementsAndBack) {
  const Sizes s{3, 2, 1, 1024, 1};
  const Floats q = random_floats(s.tokens * s.heads * s.qk(), 1), kv = random_floats(s.tokens * s.heads * (s.nope + s.v), 2),
               k_rope = random_floats(s.tokens * s.rope, 3);
  Floats qkv = poison(s.tokens * s.width());
  Call{Operator::mla_pack_forward, s.dims(), settings(), kFirst}(q, kv, k_rope, qkv);
  EXPECT_TRUE(close(qkv, pack(s, wide(q), wide(kv), wide(k_rope)), 1e-6));
  Floats dq = poison(s.tokens * s.heads * s.qk()), dkv = poison(s.tokens * s.heads * (s.nope + s.v)), dk = poison(s.tokens * s.rope);
  Call{Operator::mla_pack_backward, s.dims(), settings(), kFirst}(qkv, dq, dkv, dk);
  Doubles of_both_heads = wide(k_rope);
  for (double& x : of_both_heads) x *= 2;
  EXPECT_TRUE(close(dq, wide(q), 1e-6));
  EXPECT_TRUE(close(dkv, wide(kv), 1e-6));
  EXPECT_TRUE(close(dk, of_both_heads, 1e-6));
}

TEST(KernelColumns, SplitAndJoinAreInverse) {
  const Floats x{1, 2, 3, 4, 5, 6};
  Floats a = poison(2), b = poison(4), back = poison(6);
  Call{Operator::split_columns, {2, 1, 2}}(x, a, b);
  EXPECT_EQ(a, (Floats{1, 4}));
  EXPECT_EQ(b, (Floats{2, 3, 5, 6}));
  Call{Operator::join_columns, {2, 1, 2}}(a, b, back);
  EXPECT_EQ(back, x);
}

}  // namespace
}  // namespace orrery
