#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;

std::array<std::int64_t, 9> dims(const Attention& s) { return {s.batch, s.sequence, s.q_heads, s.kv_heads, s.qk_dim, s.v_dim, s.causal ? 1 : 0}; }

struct Results {
  Floats out, lse, d_qkv;
};
Results run(const Attention& s, const Floats& qkv, const Floats& d_out) {
  Results r{poison(s.rows() * s.q_heads * s.v_dim), poison(s.rows() * s.q_heads), poison(s.rows() * s.width())};
  Call{Operator::attention_forward, dims(s)}(qkv, r.out, r.lse);
  Call{Operator::attention_backward, dims(s)}(qkv, r.out, r.lse, d_out, r.d_qkv);
  return r;
}

// One key; fewer keys than a tile; exactly one tile; one more than a tile; several tiles; grouped and single key heads; v narrower than q and k.
constexpr std::array kShapes{Attention{1, 1, 1, 1, 4, 4, true},    Attention{2, 5, 4, 2, 3, 3, true},   Attention{1, 64, 2, 1, 8, 8, true},
                             Attention{1, 65, 2, 2, 8, 5, true},   Attention{3, 33, 6, 2, 5, 7, false}, Attention{1, 130, 4, 4, 16, 16, true},
                             Attention{2, 129, 3, 1, 6, 6, false}, Attention{1, 7, 8, 8, 2, 2, false}};

TEST(KernelAttention, TilesGiveTheNaiveSoftmax) {
  for (const Attention& s : kShapes) {
    const Floats qkv = random_floats(s.rows() * s.width(), 1), d_out = random_floats(s.rows() * s.q_heads * s.v_dim, 2);
    const Results r = run(s, qkv, d_out);
    const AttentionResult expected = attention(s, wide(qkv));
    EXPECT_TRUE(close(r.out, expected.out)) << "sequence " << s.sequence;
    EXPECT_TRUE(close(r.lse, expected.lse)) << "sequence " << s.sequence;
  }
}

TEST(KernelAttention, BackwardIsTheGradientOfFiniteDifferences) {
  for (const Attention& s : kShapes) {
    const Floats qkv = random_floats(s.rows() * s.width(), 3), d_out = random_floats(s.rows() * s.q_heads * s.v_dim, 4);
    const Results r = run(s, qkv, d_out);
    const auto loss = [&](const Doubles& x) { return weighted_sum(attention(s, x).out, d_out); };
    // Differences for all elements would take minutes at the larger sizes; a stride prime to every width visits all heads, positions and samples.
    const std::int64_t stride = std::max<std::int64_t>(1, s.rows() * s.width() / 40) | 1;
    Floats seen;
    Doubles expected;
    for (std::int64_t i = 0; i < s.rows() * s.width(); i += stride) {
      seen.push_back(r.d_qkv[at(i)]);
      expected.push_back(derivative(loss, wide(qkv), at(i)));
    }
    EXPECT_TRUE(close(seen, expected)) << "sequence " << s.sequence;
    for (const float d : r.d_qkv) EXPECT_FALSE(std::isnan(d));
  }
}

TEST(KernelAttention, LargeScoresDoNotOverflow) {
  // Scores of ±2e4 / sqrt(4): exponentials overflow unless the maximum is taken out first; the softmax then picks the largest key alone.
  const Attention s{1, 2, 1, 1, 4, 4, false};
  const Floats qkv{100, 100, 100, 100, -100, -100, -100, -100, 1, 2, 3, 4,  // key of position 0: -100
                   100, 100, 100, 100, 100,  100,  100,  100,  5, 6, 7, 8};
  const Results r = run(s, qkv, Floats(8, 1.F));
  EXPECT_EQ(r.out, (Floats{5, 6, 7, 8, 5, 6, 7, 8}));
  EXPECT_FLOAT_EQ(r.lse[0], 20000.F);  // 4 · 100 · 100 / sqrt(4)
}

RC_GTEST_PROP(KernelAttention, ACausalOutputDoesNotSeeTheFuture, ()) {
  const Attention s{*rc::gen::inRange(1, 3), *rc::gen::inRange(2, 140), 2, 1, 4, 4, true};
  const std::int64_t cut = *rc::gen::inRange<std::int64_t>(1, s.sequence);
  Floats qkv = random_floats(s.rows() * s.width(), 5);
  const Floats d_out = random_floats(s.rows() * s.q_heads * s.v_dim, 6), other = random_floats(s.rows() * s.width(), 7);
  const Results before = run(s, qkv, d_out);
  std::copy(other.begin() + cut * s.batch * s.width(), other.end(), qkv.begin() + cut * s.batch * s.width());
  const Results after = run(s, qkv, d_out);
  const auto past = cut * s.batch * s.q_heads * s.v_dim;
  RC_ASSERT(std::equal(before.out.begin(), before.out.begin() + past, after.out.begin()));
}

RC_GTEST_PROP(KernelAttention, SamplesAreIndependent, ()) {
  // Two samples interleaved by position give, bit for bit, what each gives alone.
  const std::int64_t sequence = *rc::gen::inRange(1, 80);
  const Attention one{1, sequence, 4, 2, 4, 4, *rc::gen::arbitrary<bool>()};
  Attention two = one;
  two.batch = 2;
  const Floats a = random_floats(one.rows() * one.width(), 8), b = random_floats(one.rows() * one.width(), 9);
  const std::int64_t out_width = one.q_heads * one.v_dim;
  const Floats d_out = random_floats(one.rows() * out_width, 10);
  const auto interleave = [&](const Floats& x, const Floats& y, std::int64_t width) {
    Floats z;
    for (std::int64_t p = 0; p < sequence; ++p) {
      z.insert(z.end(), x.begin() + p * width, x.begin() + (p + 1) * width);
      z.insert(z.end(), y.begin() + p * width, y.begin() + (p + 1) * width);
    }
    return z;
  };
  const Results first = run(one, a, d_out), second = run(one, b, d_out);
  const Results both = run(two, interleave(a, b, one.width()), interleave(d_out, d_out, out_width));
  RC_ASSERT(both.out == interleave(first.out, second.out, out_width));
  RC_ASSERT(both.d_qkv == interleave(first.d_qkv, second.d_qkv, one.width()));
}

}  // namespace
}  // namespace orrery
