// Attention of some positions to some others: shares of a sequence, merged, are attention to the whole of it.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using program::Runs;
using namespace reference;

struct Block {
  std::int64_t batch, q_heads, kv_heads, qk_dim, v_dim;
  bool causal;
  std::int64_t q_width = q_heads * qk_dim;
  std::int64_t kv_width() const { return kv_heads * (qk_dim + v_dim); }
  std::int64_t out_width() const { return q_heads * v_dim; }
  std::array<std::int64_t, 9> dims(const Runs& queries, const Runs& keys) const {
    return {batch,  program::length(queries), program::length(keys), q_heads, kv_heads, qk_dim, v_dim, twice_attended_pairs(queries, keys, causal),
            q_width};
  }
};

// From the definition: whole rows of scores in double, positions one by one.
AttentionResult naive(const Block& s, const Runs& queries, const Runs& keys, const Doubles& q, const Doubles& kv) {
  const auto list = [](const Runs& runs) {
    std::vector<std::int64_t> positions;
    for (const program::Run& run : runs)
      for (std::int64_t i = 0; i < run.count; ++i) positions.push_back(run.first + i);
    return positions;
  };
  const std::vector<std::int64_t> of_q = list(queries), of_k = list(keys);
  const auto n = static_cast<std::int64_t>(of_q.size());
  AttentionResult r{Doubles(at(n * s.batch * s.out_width())), Doubles(at(n * s.batch * s.q_heads))};
  for (std::int64_t b = 0; b < s.batch; ++b)
    for (std::int64_t h = 0; h < s.q_heads; ++h)
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t kv_head = h * s.kv_heads / s.q_heads;
        double total = 0;
        double* o = &r.out[at((i * s.batch + b) * s.out_width() + h * s.v_dim)];
        for (std::int64_t j = 0; j < static_cast<std::int64_t>(of_k.size()); ++j) {
          if (s.causal && of_k[at(j)] > of_q[at(i)]) continue;
          double score = 0;
          for (std::int64_t d = 0; d < s.qk_dim; ++d)
            score += q[at((i * s.batch + b) * s.q_width + h * s.qk_dim + d)] * kv[at((j * s.batch + b) * s.kv_width() + kv_head * s.qk_dim + d)];
          const double p = std::exp(score / std::sqrt(static_cast<double>(s.qk_dim)));
          total += p;
          for (std::int64_t d = 0; d < s.v_dim; ++d)
            o[d] += p * kv[at((j * s.batch + b) * s.kv_width() + s.kv_heads * s.qk_dim + kv_head * s.v_dim + d)];
        }
        for (std::int64_t d = 0; d < s.v_dim && total > 0; ++d) o[d] /= total;
        r.lse[at((h * s.batch + b) * n + i)] = std::log(total);
      }
  return r;
}

struct Case {
  Block block;
  Runs queries, keys;
};
// A zigzag share against all keys; the diagonal; keys that come later; a split against its prefix; many tiles; q within wider rows; no mask.
std::vector<Case> cases() {
  Block wide_rows{2, 4, 2, 3, 5, true};
  wide_rows.q_width = 4 * 3 + 7;
  return {{{1, 2, 1, 4, 4, true}, {{2, 2}, {12, 2}}, {{0, 2}, {14, 2}, {2, 2}, {12, 2}}},
          {{2, 4, 4, 3, 3, true}, {{8, 8}}, {{8, 8}}},
          {{1, 2, 2, 4, 4, true}, {{0, 4}}, {{4, 9}}},
          {{1, 3, 1, 4, 4, true}, {{0, 4}, {20, 4}}, {{4, 4}, {16, 4}}},
          {{1, 2, 1, 4, 6, true}, {{130, 70}}, {{0, 200}}},
          {wide_rows, {{3, 5}, {90, 70}}, {{0, 3}, {40, 90}}},
          {{1, 2, 2, 4, 4, false}, {{5, 5}}, {{9, 70}, {0, 3}}}};
}

struct Operands {
  Floats q, kv, d_out;
  explicit Operands(const Case& c)
      : q(random_floats(program::length(c.queries) * c.block.batch * c.block.q_width, 1)),
        kv(random_floats(program::length(c.keys) * c.block.batch * c.block.kv_width(), 2)),
        d_out(random_floats(program::length(c.queries) * c.block.batch * c.block.out_width(), 3)) {}
};

Call call(Operator op, const Case& c) {
  Call out{op, c.block.dims(c.queries, c.keys)};
  out.rows = c.queries, out.keys = c.keys;
  return out;
}

TEST(KernelAttentionBlock, MasksByPositionAndGivesTheNaiveSoftmax) {
  for (const Case& c : cases()) {
    const Operands o(c);
    Floats out = poison(static_cast<std::int64_t>(o.d_out.size())), lse = poison(static_cast<std::int64_t>(o.d_out.size()) / c.block.v_dim);
    call(Operator::attention_block_forward, c)(o.q, o.kv, out, lse);
    const AttentionResult expected = naive(c.block, c.queries, c.keys, wide(o.q), wide(o.kv));
    EXPECT_TRUE(close(out, expected.out));
    for (std::size_t i = 0; i < lse.size(); ++i) {
      if (std::isinf(expected.lse[i]))
        EXPECT_EQ(lse[i], -std::numeric_limits<float>::infinity());
      else
        EXPECT_NEAR(lse[i], expected.lse[i], 1e-5);
    }
  }
}

TEST(KernelAttentionBlock, BackwardIsTheGradientOfFiniteDifferences) {
  for (const Case& c : cases()) {
    const Operands o(c);
    Floats out = o.d_out, lse = poison(static_cast<std::int64_t>(o.d_out.size()) / c.block.v_dim);
    call(Operator::attention_block_forward, c)(o.q, o.kv, out, lse);
    Floats d_q(o.q.size(), 1.F), d_kv = poison(static_cast<std::int64_t>(o.kv.size()));  // d_q is added to
    call(Operator::attention_block_backward, c)(o.q, o.kv, out, lse, o.d_out, d_q, d_kv);
    const auto of_q = [&](const Doubles& x) { return weighted_sum(naive(c.block, c.queries, c.keys, x, wide(o.kv)).out, o.d_out); };
    const auto of_kv = [&](const Doubles& x) { return weighted_sum(naive(c.block, c.queries, c.keys, wide(o.q), x).out, o.d_out); };
    for (const auto& [x, dx, loss, base] : {std::tuple{&o.q, &d_q, std::function<double(const Doubles&)>(of_q), 1.0}, {&o.kv, &d_kv, of_kv, 0.0}}) {
      Floats seen;
      Doubles expected;
      const std::size_t stride = std::max<std::size_t>(1, x->size() / 60) | 1U;  // odd: visits all heads, positions and samples
      for (std::size_t i = 0; i < x->size(); i += stride) {
        seen.push_back((*dx)[i]);
        expected.push_back(base + derivative(loss, wide(*x), i));
      }
      EXPECT_TRUE(close(seen, expected));
    }
  }
}

// What the ranks of a context compute from their shares is what attention to the whole sequence gives: `reference` of packed rows, positions in
// order.
RC_GTEST_PROP(KernelAttentionBlock, BlocksOfARingMergeToTheWhole, ()) {
  program::ContextShare share;
  share.outer = *rc::gen::inRange(1, 5), share.balanced = *rc::gen::arbitrary<bool>();
  share.sequence = 2 * share.outer * *rc::gen::inRange(1, 20);
  const std::int64_t batch = *rc::gen::inRange(1, 3), heads = 2, kv_heads = 1, dim = 4;
  const Block block{batch, heads, kv_heads, dim, dim, *rc::gen::arbitrary<bool>()};
  const Attention whole{batch, share.sequence, heads, kv_heads, dim, dim, block.causal};
  const Floats qkv = random_floats(whole.rows() * whole.width(), 4), d_out = random_floats(whole.rows() * heads * dim, 5);
  Floats all_out = poison(whole.rows() * heads * dim), all_lse = poison(whole.rows() * heads), all_d = poison(whole.rows() * whole.width());
  Call{Operator::attention_forward, {batch, share.sequence, heads, kv_heads, dim, dim, block.causal}}(qkv, all_out, all_lse);
  Call{Operator::attention_backward, {batch, share.sequence, heads, kv_heads, dim, dim, block.causal}}(qkv, all_out, all_lse, d_out, all_d);

  // Rows of positions, out of packed rows of all.
  const auto rows = [&](const Floats& x, const Runs& runs, std::int64_t width) {
    Floats y;
    for (const program::Run& run : runs)
      y.insert(y.end(), x.begin() + run.first * batch * width, x.begin() + (run.first + run.count) * batch * width);
    return y;
  };
  const std::int64_t width = whole.width(), kv_width = block.kv_width(), q_width = heads * dim;
  std::vector<Floats> kv, d_kv;
  for (std::int64_t r = 0; r < share.outer; ++r) {
    const Floats own = rows(qkv, positions(share, r), width);
    kv.push_back(poison(static_cast<std::int64_t>(own.size()) / width * kv_width));
    Call{Operator::take_columns, {static_cast<std::int64_t>(own.size()) / width, width, q_width, kv_width}}(own, kv.back());
    d_kv.emplace_back(kv.back().size(), 0.F);
  }
  Block strided = block;
  strided.q_width = width;
  std::vector<Floats> d_qkv;
  for (std::int64_t r = 0; r < share.outer; ++r) {
    const Runs mine = positions(share, r);
    const Floats own = rows(qkv, mine, width), d_own = rows(d_out, mine, q_width);
    Floats out = poison(static_cast<std::int64_t>(d_own.size())), lse = poison(static_cast<std::int64_t>(d_own.size()) / dim);
    for (std::int64_t step = 0; step < share.outer; ++step) {
      const std::int64_t source = (r - step + share.outer) % share.outer;
      const Case c{strided, mine, positions(share, source)};
      Floats part = poison(static_cast<std::int64_t>(out.size())), part_lse = poison(static_cast<std::int64_t>(lse.size()));
      call(Operator::attention_block_forward, c)(own, kv[at(source)], step == 0 ? out : part, step == 0 ? lse : part_lse);
      if (step > 0) Call{Operator::attention_merge, {batch, program::length(mine), heads, dim}}(part, part_lse, out, lse);
    }
    RC_ASSERT(close(out, wide(rows(all_out, mine, q_width))));
    d_qkv.emplace_back(own.size(), 0.F);
    for (std::int64_t source = 0; source < share.outer; ++source) {
      const Case c{strided, mine, positions(share, source)};
      Floats d = poison(static_cast<std::int64_t>(kv[at(source)].size()));
      call(Operator::attention_block_backward, c)(own, kv[at(source)], out, lse, d_own, d_qkv.back(), d);
      for (std::size_t i = 0; i < d.size(); ++i) d_kv[at(source)][i] += d[i];
    }
  }
  for (std::int64_t r = 0; r < share.outer; ++r) {
    Floats& d = d_qkv[at(r)];
    Call{Operator::put_columns, {static_cast<std::int64_t>(d.size()) / width, width, q_width, kv_width}}(d_kv[at(r)], d);
    RC_ASSERT(close(d, wide(rows(all_d, positions(share, r), width))));
  }
}

TEST(KernelHeads, PartsHoldTheirShareOfTheHeadsOfEveryRow) {
  // Two rows of [q0 q1 q2 q3 | k0 k1 | v0 v1] with one number per head: two parts get two q heads and one kv head each.
  const Floats x{0, 1, 2, 3, 10, 11, 20, 21, 100, 101, 102, 103, 110, 111, 120, 121};
  Floats y = poison(16), back = poison(16);
  Call{Operator::scatter_heads, {2, 4, 2, 1, 1, 2}}(x, y);
  EXPECT_EQ(y, (Floats{0, 1, 10, 20, 100, 101, 110, 120, 2, 3, 11, 21, 102, 103, 111, 121}));
  Call{Operator::gather_heads, {2, 4, 2, 1, 1, 2}}(y, back);
  EXPECT_EQ(back, x);
}

TEST(KernelColumns, PartsHoldTheirColumnsOfEveryRow) {
  // Two rows of three parts of two columns.
  const Floats x{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15};
  Floats y = poison(12), back = poison(12);
  Call{Operator::scatter_columns, {2, 2, 3}}(x, y);
  EXPECT_EQ(y, (Floats{0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15}));
  Call{Operator::gather_columns, {2, 2, 3}}(y, back);
  EXPECT_EQ(back, x);
}

TEST(KernelHeads, AKeyHeadThatSeveralPartsShareIsCopiedAndItsGradientsAreAdded) {
  // One row, four q heads, one kv head, two parts.
  const Floats x{0, 1, 2, 3, 10, 20};
  Floats y = poison(8), back = poison(6);
  Call{Operator::scatter_heads, {1, 4, 1, 1, 1, 2}}(x, y);
  EXPECT_EQ(y, (Floats{0, 1, 10, 20, 2, 3, 10, 20}));
  Call{Operator::gather_heads, {1, 4, 1, 1, 1, 2}}(y, back);
  EXPECT_EQ(back, (Floats{0, 1, 2, 3, 20, 40}));
}

TEST(KernelPositions, RotateAndAddByTheRowsOwnPositions) {
  // Rows of positions 2, 3 and 7 get what they get in a whole sequence of 8.
  const Runs runs{{2, 2}, {7, 1}};
  executor::KernelSettings settings;
  settings.micro_batch = 2;
  const std::int64_t width = 3 * 4;
  Floats whole = random_floats(8 * 2 * width, 6), some, table = random_floats(8 * width, 7);
  const auto rows = [&](const Floats& x) {
    Floats y;
    for (const program::Run& run : runs) y.insert(y.end(), x.begin() + run.first * 2 * width, x.begin() + (run.first + run.count) * 2 * width);
    return y;
  };
  some = rows(whole);
  const auto apply = [&](Operator op, std::array<std::int64_t, 9> dims, Floats& x, bool of_some) {
    Call c{op, dims, settings};
    if (of_some) c.rows = runs;
    if (op == Operator::rope_forward)
      c(x);
    else
      c(table, x);
  };
  for (const Operator op : {Operator::rope_forward, Operator::position_forward}) {
    const bool rope = op == Operator::rope_forward;
    apply(op, rope ? std::array<std::int64_t, 9>{16, 1, 1, 4} : std::array<std::int64_t, 9>{16, width}, whole, false);
    apply(op, rope ? std::array<std::int64_t, 9>{6, 1, 1, 4} : std::array<std::int64_t, 9>{6, width}, some, true);
    EXPECT_TRUE(close(some, wide(rows(whole))));
  }
}

}  // namespace
}  // namespace orrery
