#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;
using Integers = std::vector<std::int32_t>;

// --- Routing -------------------------------------------------------------------------------------------------------------------------------------

struct Router {
  bool sigmoid, normalize;
  double scale;
};

Doubles scores(const Router& r, const Doubles& logits) {
  Doubles s(logits.size());
  double sum = 0;
  for (std::size_t e = 0; e < s.size(); ++e) {
    s[e] = r.sigmoid ? 1 / (1 + std::exp(-logits[e])) : std::exp(logits[e]);
    sum += s[e];
  }
  if (!r.sigmoid)
    for (double& x : s) x /= sum;
  return s;
}

Doubles weights(const Router& r, const Doubles& logits, const Integers& chosen, std::int64_t experts, std::int64_t k) {
  Doubles out(chosen.size());
  for (std::size_t t = 0; t < chosen.size() / at(k); ++t) {
    const Doubles s =
        scores(r, Doubles(logits.begin() + static_cast<std::ptrdiff_t>(t) * experts, logits.begin() + static_cast<std::ptrdiff_t>(t + 1) * experts));
    double sum = 0;
    for (std::size_t j = 0; j < at(k); ++j) sum += s[at(chosen[t * at(k) + j])];
    for (std::size_t j = 0; j < at(k); ++j) out[t * at(k) + j] = r.scale * s[at(chosen[t * at(k) + j])] / (r.normalize ? sum : 1);
  }
  return out;
}

class KernelRoute : public testing::TestWithParam<Router> {
 protected:
  const Router router = GetParam();
  const std::int64_t tokens = 5, experts = 6, k = 2;
  executor::KernelSettings settings() const {
    executor::KernelSettings s;
    s.router = {router.sigmoid, router.normalize, router.scale};
    return s;
  }
};

TEST_P(KernelRoute, ChoosesTheHighestAndWeighsThemByTheirScores) {
  const Floats logits = random_floats(tokens * experts, 1);
  Floats w = poison(tokens * k);
  Integers chosen(at(tokens * k), -1);
  Call{Operator::route_forward, {tokens, experts, k, 1, 1, 0}, settings()}(logits, w, chosen);
  for (std::size_t t = 0; t < at(tokens); ++t) {
    std::vector<std::int32_t> order(at(experts));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return logits[t * at(experts) + at(a)] > logits[t * at(experts) + at(b)]; });
    for (std::size_t j = 0; j < at(k); ++j) EXPECT_EQ(chosen[t * at(k) + j], order[j]);
  }
  EXPECT_TRUE(close(w, weights(router, wide(logits), chosen, experts, k), 1e-6));
}

TEST_P(KernelRoute, BackwardIsTheGradientOfFiniteDifferences) {
  const Floats logits = random_floats(tokens * experts, 2), dw = random_floats(tokens * k, 3);
  Floats w = poison(tokens * k), d = poison(tokens * experts);
  Integers chosen(at(tokens * k), -1);
  Call{Operator::route_forward, {tokens, experts, k, 1, 1, 0}, settings()}(logits, w, chosen);
  Call{Operator::route_backward, {tokens, experts, k, 1, 1, 0}, settings()}(dw, logits, chosen, d);
  const Doubles expected = gradient([&](const Doubles& x) { return weighted_sum(weights(router, x, chosen, experts, k), dw); }, wide(logits));
  EXPECT_TRUE(close(d, expected));
}

// Row 1 has one logit that is NaN, row 3 nothing else. By softmax all scores of both are NaN, by sigmoids one and all; NaN comes after all numbers,
// and the lower expert first. Weights show it; no other row does.
TEST_P(KernelRoute, NaNStaysInItsRowAndChoosesNoExpertThatIsNotThere) {
  Floats logits = random_floats(tokens * experts, 4), w = poison(tokens * k), clean = poison(tokens * k), d = poison(tokens * experts);
  Integers chosen(at(tokens * k), -1), clean_chosen = chosen, index(at(tokens * k), -9), counts(at(experts), -9);
  logits[at(experts) + 4] = 9;  // would be chosen
  Call{Operator::route_forward, {tokens, experts, k, 1, 1, 0}, settings()}(logits, clean, clean_chosen);
  logits[at(experts) + 4] = std::numeric_limits<float>::quiet_NaN();
  std::fill_n(logits.begin() + 3 * experts, experts, std::numeric_limits<float>::quiet_NaN());
  Call{Operator::route_forward, {tokens, experts, k, 1, 1, 0}, settings()}(logits, w, chosen);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::size_t row = i / at(k), j = i % at(k);
    if (row == 3 || (row == 1 && !router.sigmoid)) {
      EXPECT_EQ(chosen[i], static_cast<std::int32_t>(j));
      EXPECT_TRUE(std::isnan(w[i]));
    } else if (row == 1) {
      EXPECT_TRUE(chosen[i] >= 0 && chosen[i] < experts && chosen[i] != 4) << chosen[i];
      EXPECT_TRUE(std::isfinite(w[i]));
    } else {
      EXPECT_EQ(chosen[i], clean_chosen[i]);
      EXPECT_EQ(w[i], clean[i]);
    }
  }
  EXPECT_NE(chosen[at(k)], chosen[at(k) + 1]);
  Call{Operator::expert_sort, {tokens, k, experts, 1, 1, 0}}(chosen, index, counts);
  std::sort(index.begin(), index.end());
  for (std::size_t i = 0; i < index.size(); ++i) EXPECT_EQ(index[i], static_cast<std::int32_t>(i));  // every copy has a row of its own
  Call{Operator::route_backward, {tokens, experts, k, 1, 1, 0}, settings()}(random_floats(tokens * k, 5), logits, chosen, d);
  for (std::size_t i = 0; i < d.size(); ++i) {
    const std::size_t row = i / at(experts), e = i % at(experts);
    EXPECT_EQ(std::isnan(d[i]), row == 3 || (row == 1 && (!router.sigmoid || e == 4))) << row << ", " << e;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, KernelRoute,
                         testing::Values(Router{false, true, 1}, Router{false, false, 16}, Router{true, true, 2.5}, Router{true, false, 1}));

TEST(KernelRouteGroups, OnlyTheBestGroupsAreChosenFrom) {
  // Groups {0,1}, {2,3}, {4,5}; k 2 in one group: two counted scores each. Logits 3 and -9 add up to less than 1 and 1 (as softmax scores: e³ + e⁻⁹ =
  // 20.09 against 2e = 5.4: more!), so with sigmoids: 0.953 + 0.0001 against 2 · 0.731: the second group is chosen, though 0 has the highest score.
  const Floats logits{3, -9, 1, 1, 0, 0};
  Floats w = poison(2);
  Integers chosen(2, -1);
  executor::KernelSettings s;
  s.router = {.sigmoid = true};
  Call{Operator::route_forward, {1, 6, 2, 3, 1, 0}, s}(logits, w, chosen);
  EXPECT_EQ(chosen, (Integers{2, 3}));
  EXPECT_EQ(w, (Floats{0.5F, 0.5F}));
  Call{Operator::route_forward, {1, 6, 2, 3, 1, 0}}(logits, w, chosen);
  EXPECT_EQ(chosen, (Integers{0, 1}));
}

TEST(KernelRouteGroups, AGroupWithNaNAmongItsBestComesLast) {
  // By sigmoids, two scores of each group counted: the first sum is NaN, the second 2 · 0.5, the third 2 · 0.27. All NaN: the first group.
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Floats w = poison(4);
  Integers chosen(4, -1);
  executor::KernelSettings s;
  s.router = {.sigmoid = true};
  Call{Operator::route_forward, {2, 6, 2, 3, 1, 0}, s}(Floats{nan, 9, 0, 0, -1, -1, nan, nan, nan, nan, nan, nan}, w, chosen);
  EXPECT_EQ(chosen, (Integers{2, 3, 0, 1}));
  EXPECT_TRUE(w[0] == 0.5F && w[1] == 0.5F && std::isnan(w[2]) && std::isnan(w[3]));
}

TEST(KernelRouteBalanced, GoesRoundAllExpertsWhateverTheLogits) {
  // Rows 4 … 7 (position 2 of micro-batches of two sequences), three experts each of five: 12 13 14 15 … 23 modulo 5.
  const Floats logits = random_floats(4 * 5, 7);
  Floats w = poison(12);
  Integers chosen(12, -1);
  executor::KernelSettings s;
  s.micro_batch = 2;
  Call{Operator::route_forward, {4, 5, 3, 1, 1, 1}, s, 2}(logits, w, chosen);
  EXPECT_EQ(chosen, (Integers{2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3}));
  EXPECT_TRUE(close(w, weights({false, true, 1}, wide(logits), chosen, 5, 3), 1e-6));
}

// --- Moves ---------------------------------------------------------------------------------------------------------------------------------------

TEST(KernelExpertSort, PutsCopiesByExpertInOrderOfTokens) {
  // Three tokens with two experts of four each: expert 0: copies 1, 2; expert 1: 4; expert 2: 0, 5; expert 3: 3.
  const Integers chosen{2, 0, 0, 3, 1, 2};
  Integers index(6, -9), counts(4, -9);
  Call{Operator::expert_sort, {3, 2, 4, 2, 1, 0}}(chosen, index, counts);
  EXPECT_EQ(counts, (Integers{2, 1, 2, 1}));
  EXPECT_EQ(index, (Integers{3, 0, 1, 5, 2, 4}));
}

TEST(KernelExpertSort, SendsEachCopyToEveryShardOfItsExpert) {
  // Two experts on two ranks, each in two shards: rows for (rank 0, shard 0), (0, 1), (1, 0), (1, 1).
  const Integers chosen{1, 0, 1};
  Integers index(6, -9), counts(4, -9);
  Call{Operator::expert_sort, {3, 1, 2, 2, 2, 0}}(chosen, index, counts);
  EXPECT_EQ(counts, (Integers{1, 1, 2, 2}));
  EXPECT_EQ(index, (Integers{2, 4, 0, 1, 3, 5}));
}

TEST(KernelExpertSort, DropsWhatIsBeyondTheCapacityAndPadsWhatIsBelow) {
  const Integers chosen{0, 0, 0, 1};
  Integers index(4, -9), counts(2, -9);
  Call{Operator::expert_sort, {4, 1, 2, 1, 1, 2}}(chosen, index, counts);
  EXPECT_EQ(counts, (Integers{2, 2}));
  EXPECT_EQ(index, (Integers{0, 1, -1, 2}));
  const Floats x{1, 2, 3, 4};
  Floats rows = poison(4), back = poison(4);
  Call{Operator::expert_permute, {4, 1, 1, 4, 1}}(x, index, rows);
  EXPECT_EQ(rows, (Floats{1, 2, 4, 0}));
  Call{Operator::expert_unpermute, {4, 1, 1, 4}}(rows, index, back);
  EXPECT_EQ(back, (Floats{1, 2, 0, 4}));
}

// Experts 2 and 0 on rank 0, 3 and 1 on rank 1: expert e is at place {1, 3, 0, 2}[e].
TEST(KernelExpertSort, FollowsTheMapOfExpertsToRanks) {
  const Integers chosen{2, 0, 0, 3, 1, 2};  // places 0 1 1 2 3 0
  Integers index(6, -9), counts(4, -9);
  Call call{Operator::expert_sort, {3, 2, 4, 2, 1, 0}};
  call.expert_places = {1, 3, 0, 2};
  call(chosen, index, counts);
  EXPECT_EQ(counts, (Integers{2, 2, 1, 1}));
  EXPECT_EQ(index, (Integers{0, 2, 3, 4, 5, 1}));
}

TEST(KernelExpertSort, OfAllTokensKeepsTheCopiesForOnesOwnExperts) {
  // Rank 1 of two has experts 2 and 3: expert 2 has copies 0 and 5, expert 3 copy 3.
  const Integers chosen{2, 0, 0, 3, 1, 2};
  Integers index(6, -9), counts(2, -9);
  Call call{Operator::expert_sort_gathered, {3, 2, 4, 2, 1, 0, 6}};
  call.expert_rank = 1;
  call(chosen, index, counts);
  EXPECT_EQ(counts, (Integers{2, 1}));
  EXPECT_EQ(index, (Integers{0, -1, -1, 2, -1, 1}));
  call.expert_places = {1, 3, 0, 2};  // rank 1 has 3 and 1: copies 3, and 4
  call(chosen, index, counts);
  EXPECT_EQ(counts, (Integers{1, 1}));
  EXPECT_EQ(index, (Integers{-1, -1, -1, 0, 1, -1}));
}

TEST(KernelExpertSort, OfAllTokensDropsBeyondTheCapacityOfEachSource) {
  // Two sources of three tokens, two rows of each for each of two experts: rows 0 1 | 2 3 of expert 0, 4 5 | 6 7 of expert 1.
  const Integers chosen{0, 0, 0, 1, 0, 1};
  Integers index(6, -9), counts(2, -9);
  Call{Operator::expert_sort_gathered, {6, 1, 2, 2, 2, 2, 8}}(chosen, index, counts);
  EXPECT_EQ(counts, (Integers{4, 4}));
  EXPECT_EQ(index, (Integers{0, 1, -1, 6, 2, 7}));
}

TEST(KernelExpertSort, ReceivedRowsGoFromSourcesToExperts) {
  // From source 0: 1 row for expert 0, 2 for expert 1; from source 1: 2 and 0. Expert 0 has rows 0, 3, 4; expert 1 rows 1, 2.
  const Integers counts{1, 2, 2, 0};
  Integers index(7, -9), sums(2, -9);
  Call{Operator::expert_sort_received, {7, 2, 2}}(counts, index, sums);
  EXPECT_EQ(sums, (Integers{3, 2}));
  EXPECT_EQ(index, (Integers{0, 3, 4, 1, 2, -1, -1}));
}

TEST(KernelExpertMoves, UnpermuteIsTheTransposeOfPermute) {
  const std::int64_t tokens = 5, k = 3, width = 4, rows = tokens * k;
  const Floats x = random_floats(tokens * width, 1), g = random_floats(rows * width, 2);
  Integers index(at(rows));
  std::iota(index.begin(), index.end(), 0);
  std::shuffle(index.begin(), index.end(), std::mt19937(3));
  Floats y = poison(rows * width), back = poison(tokens * width);
  Call{Operator::expert_permute, {tokens, k, width, rows, 0}}(x, index, y);
  Call{Operator::expert_unpermute, {tokens, k, width, rows}}(g, index, back);
  EXPECT_NEAR(weighted_sum(wide(y), g), weighted_sum(wide(x), back), 1e-4);  // <P x, g> = <x, Pᵀ g>
}

// --- Experts -------------------------------------------------------------------------------------------------------------------------------------

class KernelExperts : public testing::Test {
 protected:
  const std::int64_t experts = 3, in = 5, out = 4, rows = 7, most = 9;
  const Integers counts{3, 0, 4};
  Integers expert_of() const { return {0, 0, 0, 2, 2, 2, 2}; }
  Floats some(std::int64_t width, std::uint64_t seed) const {  // rows beyond those that are there hold anything
    Floats x = random_floats(most * width, seed);
    for (std::int64_t i = rows * width; i < most * width; ++i) x[at(i)] = std::numeric_limits<float>::quiet_NaN();
    return x;
  }
  Doubles first(const Floats& x, std::int64_t width) const { return wide(Floats(x.begin(), x.begin() + rows * width)); }
  Floats head(const Floats& x, std::int64_t width) const { return {x.begin(), x.begin() + rows * width}; }
  Doubles product(const Doubles& x, const Doubles& w) const {
    Doubles y(at(rows * out));
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i) y[at(r * out + o)] += x[at(r * in + i)] * w[at((expert_of()[at(r)] * out + o) * in + i)];
    return y;
  }
};

TEST_F(KernelExperts, LinearsAreEachExpertsOwn) {
  const Floats x = some(in, 1), w = random_floats(experts * in * out, 2), dy = some(out, 3), before = random_floats(experts * in * out, 4);
  Floats y = poison(most * out), dx = poison(most * in), dw = before;
  Call{Operator::expert_linear_forward, {rows, experts, in, out, most}}(x, counts, w, y);
  Call{Operator::expert_linear_input_grad, {rows, experts, in, out, most}}(dy, counts, w, dx);
  Call{Operator::expert_linear_weight_grad, {rows, experts, in, out, most}}(x, dy, counts, dw);
  EXPECT_TRUE(close(head(y, out), product(first(x, in), wide(w))));
  const auto loss = [&](const Doubles& a, const Doubles& b) { return weighted_sum(product(a, b), head(dy, out)); };
  EXPECT_TRUE(close(head(dx, in), gradient([&](const Doubles& a) { return loss(a, wide(w)); }, first(x, in))));
  EXPECT_TRUE(close(dw, plus(gradient([&](const Doubles& b) { return loss(first(x, in), b); }, wide(w)), before)));
}

TEST_F(KernelExperts, ActivationsAreWeighedRowByRow) {
  for (const bool gated : {true, false}) {
    const std::int64_t wide_rows = gated ? 2 * in : in;
    const Floats u = some(wide_rows, 1), w = some(1, 2), da = some(in, 3);
    Floats a = poison(most * in), du = poison(most * wide_rows), dw = poison(most);
    const std::array<std::int64_t, 9> dims{rows, in, gated ? 1 : 0, experts, most};
    Call{Operator::expert_activation_forward, dims}(u, counts, w, a);
    Call{Operator::expert_activation_backward, dims}(u, counts, w, da, du, dw);
    const auto weighed = [&](const Doubles& x, const Doubles& factors) {
      Doubles y = activation(Activation::silu, gated, x, in);
      for (std::size_t i = 0; i < y.size(); ++i) y[i] *= factors[i / at(in)];
      return y;
    };
    EXPECT_TRUE(close(head(a, in), weighed(first(u, wide_rows), first(w, 1)), 1e-6));
    const auto loss = [&](const Doubles& x, const Doubles& f) { return weighted_sum(weighed(x, f), head(da, in)); };
    EXPECT_TRUE(close(head(du, wide_rows), gradient([&](const Doubles& x) { return loss(x, first(w, 1)); }, first(u, wide_rows))));
    EXPECT_TRUE(close(head(dw, 1), gradient([&](const Doubles& f) { return loss(first(u, wide_rows), f); }, first(w, 1))));
  }
}

}  // namespace
}  // namespace orrery
