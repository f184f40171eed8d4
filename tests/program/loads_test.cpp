#include "program/loads.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace orrery::program {
namespace {

std::int64_t sum(const std::vector<std::int64_t>& v) { return std::accumulate(v.begin(), v.end(), std::int64_t{0}); }

// DeepSeek-V3: 256 experts, 8 for each token, 64 GPUs on 8 nodes, groups of experts on nodes, 4 of 8 chosen. The formula and these values:
// E[distinct] = n (1 - C(E - E/n, k)/C(E, k)); Monte Carlo agrees within 0.2 %.
TEST(DistinctPlaces, OfDeepSeeksShapeAreThoseOfTheClosedForm) {
  EXPECT_NEAR(distinct_places(256, 8, 8), 5.295, 5e-4);
  EXPECT_NEAR(distinct_places(256, 8, 8) * 7 / 8, 4.633, 5e-4);
  EXPECT_NEAR(distinct_places(256, 8, 64), 7.676, 5e-4);
  EXPECT_NEAR(distinct_places_in_groups(256, 8, 8, 8, 4), 3.629, 5e-4);
  EXPECT_NEAR(distinct_places_in_groups(256, 8, 64, 8, 4), 7.359, 5e-4);
  // One group per place and all chosen is no restriction; on one place every token is.
  EXPECT_NEAR(distinct_places_in_groups(256, 8, 8, 8, 8), distinct_places(256, 8, 8), 1e-12);
  EXPECT_NEAR(distinct_places_in_groups(64, 4, 2, 8, 8), distinct_places(64, 4, 2), 1e-12);
  EXPECT_DOUBLE_EQ(distinct_places(64, 4, 1), 1);
}

TEST(ExpertRows, LimitEachExpertToAllTokensAndSpreadTheRest) {
  // 10 tokens, 2 each: 20 copies; 0.8 of them would be 16, so expert 0 gets 10, and 10 are spread 0.1 : 0.1 -> 5 and 5.
  EXPECT_EQ(expert_rows({0.8, 0.1, 0.1}, 10, 2), (std::vector<std::int64_t>{10, 5, 5}));
  // 7 copies over three equals: 2.33 each; the first has the remainder.
  EXPECT_EQ(expert_rows({1, 1, 1}, 7, 1), (std::vector<std::int64_t>{3, 2, 2}));
  EXPECT_EQ(expert_rows({0.5, 0.5}, 3, 2), (std::vector<std::int64_t>{3, 3}));
}

RC_GTEST_PROP(ExpertRows, AddUpAndNoneIsAboveTheTokens, ()) {
  const std::int64_t experts = *rc::gen::inRange(1, 40), k = *rc::gen::inRange<std::int64_t>(1, experts + 1), tokens = *rc::gen::inRange(0, 500);
  ExpertLoad load;
  load.kind = *rc::gen::element(ExpertLoad::Kind::balanced, ExpertLoad::Kind::zipf, ExpertLoad::Kind::dirichlet);
  load.alpha = *rc::gen::element(0.05, 0.3, 1.0, 2.5);
  const auto shares = expert_shares(load, experts, *rc::gen::arbitrary<std::uint64_t>(), *rc::gen::inRange(0, 99));
  const std::vector<std::int64_t> rows = expert_rows(shares, tokens, k);
  RC_ASSERT(sum(rows) == tokens * k);
  RC_ASSERT(*std::max_element(rows.begin(), rows.end()) <= tokens);
  RC_ASSERT(*std::min_element(rows.begin(), rows.end()) >= 0);
}

TEST(ExpertLoads, DifferFromLayerToLayerAndFromSeedToSeed) {
  const ExpertLoad zipf = expert_load("zipf:1"), dirichlet = expert_load("dirichlet:0.5");
  EXPECT_EQ(expert_shares(zipf, 16, 1, 3), expert_shares(zipf, 16, 1, 3));
  EXPECT_NE(expert_shares(zipf, 16, 1, 3), expert_shares(zipf, 16, 1, 4));
  EXPECT_NE(expert_shares(dirichlet, 16, 1, 3), expert_shares(dirichlet, 16, 1, 4));
  EXPECT_NE(expert_shares(dirichlet, 16, 1, 3), expert_shares(dirichlet, 16, 2, 3));
  // 1/(1 + 1/2 + 1/3 + 1/4) = 0.48, and half, a third and a quarter of it.
  std::vector<double> shares = expert_shares(zipf, 4, 1, 0);
  std::sort(shares.rbegin(), shares.rend());
  EXPECT_NEAR(shares[0], 0.48, 1e-12);
  EXPECT_NEAR(shares[3], 0.12, 1e-12);
}

// The mean share of each of n is 1/n, the variance (n - 1) / (n² (n α + 1)): 4 experts, α 0.5: 3 / (16 · 3) = 0.0625.
TEST(ExpertLoads, DirichletHasItsMeanAndVariance) {
  const ExpertLoad load = expert_load("dirichlet:0.5");
  double mean = 0, square = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double s = expert_shares(load, 4, 9, i)[1];
    mean += s / kDraws, square += s * s / kDraws;
  }
  EXPECT_NEAR(mean, 0.25, 0.006);  // three standard errors: 3 · 0.25 / sqrt(20000) = 0.0053
  EXPECT_NEAR(square - mean * mean, 0.0625, 0.002);
}

TEST(ExpertLoads, TheBusiestRankHasTheMostRowsOfItsExperts) {
  ExpertLoad load;
  EXPECT_EQ(busiest_rows(load, 64, 2, 8, 4, 1, 0), (BusiestRows{32, 32}));
  load.kind = ExpertLoad::Kind::recorded;
  load.lines = {{-1, {1, 1, 1, 1, 1, 1, 1, 1}}, {2, {3, 1, 0, 0, 1, 1, 1, 1}}};
  EXPECT_EQ(busiest_rows(load, 64, 2, 8, 4, 1, 2), (BusiestRows{64, 64}));  // 128 copies: 48 + 16, 0, 32, 32
  EXPECT_EQ(busiest_rows(load, 64, 2, 8, 4, 1, 1), (BusiestRows{32, 32}));
  // Experts 0, 4 | 1, 5 | 2, 6 | 3, 7: 48 + 16, 16 + 16, 0 + 16, 0 + 16; with 0, 2 | 4, 5 | 1, 3 | 6, 7 it is 48, 32, 16, 32.
  EXPECT_EQ(busiest_rows(load, 64, 2, 8, 4, 1, 2, std::vector<std::int32_t>{0, 4, 1, 5, 2, 6, 3, 7}), (BusiestRows{64, 64}));
  EXPECT_EQ(busiest_rows(load, 64, 2, 8, 4, 1, 2, std::vector<std::int32_t>{0, 2, 4, 5, 1, 3, 6, 7}), (BusiestRows{48, 48}));
}

TEST(ExpertLoads, OfSeveralDispatchesHaveABusiestRankEach) {
  const ExpertLoad load = expert_load("counts:# 8 tokens, 1 expert each\n0 4 1 2 1; 0 1 1 1 5\n1,2,2,2,2");
  // Ranks of two experts: 5 and 3, then 2 and 6: 5.5 in the mean, rounded up.
  EXPECT_EQ(busiest_rows(load, 8, 1, 4, 2, 1, 0), (BusiestRows{6, 6}));
  EXPECT_EQ(busiest_rows(load, 16, 1, 4, 2, 1, 0), (BusiestRows{11, 12}));  // 10 and 12
  EXPECT_EQ(busiest_rows(load, 8, 1, 4, 2, 1, 1), (BusiestRows{4, 4}));
  EXPECT_EQ(expert_shares(load, 4, 1, 0), (std::vector<double>{5.0 / 16, 2.0 / 16, 3.0 / 16, 6.0 / 16}));
  const ExpertLoad again = expert_load("counts:" + write_expert_load(load.lines));
  EXPECT_EQ(again, load);
}

// What is counted of any routing is what its busiest rank gets, to the row: experts' counts added up rank by rank.
RC_GTEST_PROP(ExpertLoads, RecordedAreThoseOfTheBusiestRankToTheRow, ()) {
  const std::int64_t ep = *rc::gen::element(1, 2, 4), local = *rc::gen::inRange(1, 5), experts = ep * local, tokens = *rc::gen::inRange(1, 200);
  const std::int64_t k = *rc::gen::inRange<std::int64_t>(1, experts + 1), dispatches = *rc::gen::inRange(1, 6);
  ExpertLoad load;
  load.kind = ExpertLoad::Kind::recorded;
  std::int64_t most = 0, sum = 0;
  for (std::int64_t d = 0; d < dispatches; ++d) {
    std::vector<double> counts(static_cast<std::size_t>(experts), 0);
    for (std::int64_t t = 0; t < tokens; ++t) {  // k different experts: consecutive from anywhere
      const auto first = *rc::gen::inRange<std::int64_t>(0, experts);
      for (std::int64_t j = 0; j < k; ++j) ++counts[static_cast<std::size_t>((first * first + j) % experts)];
    }
    std::int64_t busiest = 0;
    for (std::int64_t r = 0; r < ep; ++r) {
      double rows = 0;
      for (std::int64_t e = r * local; e < (r + 1) * local; ++e) rows += counts[static_cast<std::size_t>(e)];
      busiest = std::max(busiest, static_cast<std::int64_t>(rows));
    }
    most = std::max(most, busiest), sum += busiest;
    load.lines.push_back({7, counts});
  }
  RC_ASSERT(busiest_rows(load, tokens, k, experts, ep, 1, 7) == (BusiestRows{(sum + dispatches / 2) / dispatches, most}));
}

TEST(ExpertLoads, SayWhatIsWrongWithThem) {
  const auto message = [](const char* text) -> std::string {
    try {
      expert_load(text);
    } catch (const Error& e) {
      return e.message();
    }
    return "accepted";
  };
  EXPECT_EQ(message("even"), "'even' is not a load of experts");
  EXPECT_EQ(message("zipf:x"), "'zipf:x' has no positive number after the colon");
  EXPECT_EQ(message("dirichlet:-1"), "'dirichlet:-1' has no positive number after the colon");
  EXPECT_EQ(message("zipf:0.8"), "accepted");
  EXPECT_NE(message("file:/nowhere/at/all"), "accepted");
}

}  // namespace
}  // namespace orrery::program
