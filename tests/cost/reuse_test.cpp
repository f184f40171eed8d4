#include "cost/reuse.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <numeric>

#include "core/cluster.h"
#include "support/program_fixtures.h"

namespace orrery::cost {
namespace {

using namespace program::fixtures;
using program::Lifetime;
using program::Operator;
using program::Program;

constexpr std::int64_t kMiB = std::int64_t{1} << 20, kElements = kMiB / 4;  // of fp32

std::size_t bin_of(std::int64_t mib) { return Reuse::bin(mib * kMiB); }

double total(const Reuse& r) { return std::accumulate(r.share.begin(), r.share.end(), 0.0); }

TEST(ReuseDistance, CountsDistinctBytesFromTheLastTouchToThisOne) {
  Program p;
  p.streams = {{"compute", program::StreamKind::compute}};
  RoleWriter w{&p, {}};
  const auto a = w.buffer("a", Lifetime::persistent, kElements), b = w.buffer("b", Lifetime::persistent, kElements);
  const auto c = w.buffer("c", Lifetime::persistent, 4 * kElements);
  w.pass("all", program::PassKind::forward);
  w.compute(sized(Operator::zero, {kElements}), {write(a)});
  w.compute(sized(Operator::zero, {4 * kElements}), {write(c)});
  w.compute(sized(Operator::copy, {kElements}), {read(a), write(b)});
  w.role.body = {{0, 0}};
  p.roles = {w.role};
  const std::vector<Reuse> r = reuse(p);
  ASSERT_EQ(r.size(), 3U);
  // a was last touched by the copy of the step before, and nothing since: the copy's 2 MiB
  EXPECT_EQ(r[0].share[bin_of(2)], 1);
  // c: 4 MiB of its own, and a and b: 6 MiB, which is nearer to 8 than to 4 (log2 6 = 2.58)
  EXPECT_EQ(r[1].share[bin_of(8)], 1);
  // the copy: a after a and c, 5 MiB, nearer to 4 (log2 5 = 2.32); b after a, b and c, 6 MiB
  EXPECT_EQ(r[2].share[bin_of(4)], 0.5);
  EXPECT_EQ(r[2].share[bin_of(8)], 0.5);
}

TEST(ReuseDistance, GoesByAddressesSoThatAFreedBuffersPlaceIsWarm) {
  // x and y live one after the other in the same 2 MiB: y's first touch finds what x left there.
  Program p;
  p.streams = {{"compute", program::StreamKind::compute}};
  RoleWriter w{&p, {}};
  const auto x = w.buffer("x", Lifetime::pass, 2 * kElements), y = w.buffer("y", Lifetime::pass, 2 * kElements);
  w.pass("all", program::PassKind::forward);
  w.compute(sized(Operator::zero, {2 * kElements}), {first(last(write(x)))});
  w.compute(sized(Operator::zero, {2 * kElements}), {first(last(write(y)))});
  w.role.body = {{0, 0}};
  p.roles = {w.role};
  for (const Reuse& r : reuse(p)) EXPECT_EQ(r.share[bin_of(2)], 1);
}

RC_GTEST_PROP(ReuseDistance, IsTheLruStackDistanceOfEveryBlock, ()) {
  // Random touches of random parts, against a count block by block of 64 KiB.
  constexpr std::int64_t kBlock = std::int64_t{1} << 16;
  Program p;
  p.streams = {{"compute", program::StreamKind::compute}};
  RoleWriter w{&p, {}};
  const int buffers = *rc::gen::inRange(1, 6), instructions = *rc::gen::inRange(1, 12);
  std::vector<std::int64_t> blocks, begin{0};
  for (int b = 0; b < buffers; ++b) {
    blocks.push_back(*rc::gen::inRange(1, 40));
    begin.push_back(begin.back() + blocks.back());
    w.buffer("b", Lifetime::persistent, blocks.back() * kBlock / 4);
  }
  w.pass("all", program::PassKind::forward);
  std::vector<std::pair<int, int>> touched;
  for (int i = 0; i < instructions; ++i) {
    touched.emplace_back(*rc::gen::inRange(0, buffers), *rc::gen::inRange(0, buffers));
    w.compute(sized(Operator::accumulate, {1}),
              {read(static_cast<std::uint32_t>(touched.back().first)), update(static_cast<std::uint32_t>(touched.back().second))});
  }
  w.role.body = {{0, 0}};
  p.roles = {w.role};
  const std::vector<Reuse> r = reuse(p);

  std::vector<int> last(static_cast<std::size_t>(begin.back()), -1);
  for (int step = 0, time = 0; step < 2; ++step) {
    for (int i = 0; i < instructions; ++i, ++time) {
      Reuse expected;
      std::vector<std::size_t> mine;
      for (std::size_t b = 0; b < blocks.size(); ++b)
        if (static_cast<int>(b) == touched[static_cast<std::size_t>(i)].first || static_cast<int>(b) == touched[static_cast<std::size_t>(i)].second)
          for (std::int64_t k = begin[b]; k < begin[b + 1]; ++k) mine.push_back(static_cast<std::size_t>(k));
      for (const std::size_t k : mine) {
        std::int64_t since = 0;
        for (const int l : last) since += l >= last[k] && l >= 0 ? kBlock : 0;
        expected.share[Reuse::bin(since)] += 1.0 / static_cast<double>(mine.size());
      }
      if (step == 1)
        for (std::size_t b = 0; b < Reuse::kBins; ++b) RC_ASSERT(std::abs(r[static_cast<std::size_t>(i)].share[b] - expected.share[b]) < 1e-9);
      for (const std::size_t k : mine) last[k] = time;
    }
  }
}

TEST(ReuseDistance, OfShapesThatNothingComputesIsUnknown) {
  Program p;
  p.shapes = {sized(Operator::copy, {8})};
  EXPECT_FALSE(reuse(p)[0].known());
}

TEST(ReuseOver, SharesADistanceBetweenItsNeighbours) {
  Reuse r;
  r.share[bin_of(2)] = 0.5;  // half-way between 1 and 4 in logarithms
  r.share[bin_of(16)] = 0.5;
  const std::vector<double> shares = r.over({1.0 * kMiB, 4.0 * kMiB});
  EXPECT_DOUBLE_EQ(shares[0], 0.25);
  EXPECT_DOUBLE_EQ(shares[1], 0.75);
  EXPECT_EQ(Reuse{}.over({1.0, 2.0}), (std::vector<double>{0, 1}));
}

RC_GTEST_PROP(ReuseOver, LosesNothing, ()) {
  Reuse r;
  double sum = 0;
  for (double& s : r.share) sum += s = *rc::gen::inRange(0, 9);
  RC_PRE(sum > 0);
  for (double& s : r.share) s /= sum;
  std::vector<double> at;
  for (int i = *rc::gen::inRange(1, 6); i > 0; --i) at.push_back((at.empty() ? 1e4 : at.back()) * *rc::gen::inRange(2, 50));
  const std::vector<double> shares = r.over(at);
  RC_ASSERT(std::abs(std::accumulate(shares.begin(), shares.end(), 0.0) - 1) < 1e-12);
  RC_ASSERT(std::abs(total(r) - 1) < 1e-12);
  for (const double s : shares) RC_ASSERT(s >= 0);
}

}  // namespace
}  // namespace orrery::cost
