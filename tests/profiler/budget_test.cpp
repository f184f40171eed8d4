#include "profiler/budget.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace orrery::profiler {
namespace {

TEST(Budget, GivesEachItsLeastAndAnEqualPartOfTheRest) {
  Budget b(Seconds{10}, {Seconds{1}, Seconds{3}});
  // Twice the 1 + 3 s are expected, 2 s are left over: 2 + 2/2.
  EXPECT_NEAR(b.next(Seconds{0})->v, 3, 1e-9);
  b.took_at_least(Seconds{1});  // just what was expected
  // 7 s are left, of which the last needs a little more than 3: it may have them all.
  EXPECT_NEAR(b.next(Seconds{3})->v, 7, 1e-9);
}

TEST(Budget, LeavesOutWhatCannotBeDoneInTime) {
  Budget b(Seconds{1}, {Seconds{0.1}, Seconds{10}, Seconds{20}});
  EXPECT_TRUE(b.next(Seconds{0}));
  EXPECT_FALSE(b.next(Seconds{0.2}));
  EXPECT_FALSE(b.next(Seconds{0.2}));
}

RC_GTEST_PROP(Budget, IsKeptWithinATenthHoweverWrongTheExpectationsAre, ()) {
  // Measurements that take as long as they are allowed to, or what they need at least if that is more; expectations are wrong by a common factor and
  // by up to 30 % each. No single one needs more than a twentieth of the limit.
  const double factor = *rc::gen::elementOf(std::vector<double>{0.5, 1, 2, 4, 8});
  const int n = *rc::gen::inRange(1, 300);
  std::vector<Seconds> expected;
  for (int i = 0; i < n; ++i) expected.push_back(Seconds{1e-3 * *rc::gen::inRange(1, 50)});
  std::sort(expected.begin(), expected.end());
  const Seconds limit{20 * 0.05 * 8 * 1.3};
  Budget budget(limit, expected);
  Seconds now{};
  for (const Seconds e : expected) {
    const Seconds needs = e * (factor * 0.01 * *rc::gen::inRange(70, 130));
    const auto granted = budget.next(now);
    if (!granted) continue;
    now += std::max(needs, std::min(*granted, Seconds{0.1}));
    budget.took_at_least(needs);
  }
  RC_ASSERT(now <= limit * 1.1);
}

RC_GTEST_PROP(Budget, LeavesNothingOutThatThereIsTimeFor, ()) {
  const int n = *rc::gen::inRange(1, 100);
  std::vector<Seconds> expected;
  Seconds all{};
  for (int i = 0; i < n; ++i) all += expected.emplace_back(Seconds{1e-3 * *rc::gen::inRange(1, 50)});
  std::sort(expected.begin(), expected.end());
  Budget budget(all * 2, expected);  // twice as much: what is expected at first
  Seconds now{};
  for (const Seconds e : expected) {
    const auto granted = budget.next(now);
    RC_ASSERT(granted.has_value());
    now += *granted;
    budget.took_at_least(e);
  }
}

}  // namespace
}  // namespace orrery::profiler
