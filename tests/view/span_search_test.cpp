// Searching a timeline by words.
#include "gui/view/span_search.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "view/timelines.h"

namespace orrery::view {
namespace {

using testing::span;

// Rank 0: a product of micro-batch 1 in layer 12, attention run again, a send; rank 1: the same product, 2 ms long.
Timeline small() {
  Timeline t;
  t.streams = {"compute", "send-next"};
  t.ranks = {"pp0 tp0 dp0", "pp1 tp0 dp0"};
  t.kinds = testing::kinds_of_all_classes();
  t.kinds[testing::kind_of(WorkClass::gemm)].name = "linear_forward";
  t.kinds[testing::kind_of(WorkClass::norm)].name = "layernorm_forward";
  t.spans = {span(0, 0, 0, 1'000'000), span(0, 0, 2'000'000, 3'000'000, WorkClass::attention), span(0, 1, 5'000'000, 6'000'000, WorkClass::pp_comm),
             span(1, 0, 1'500'000, 2'001'500'000), span(1, 0, 2'001'500'000, 2'001'600'000, WorkClass::norm)};
  t.spans[0].microbatch = 1;
  t.spans[0].layer = 12;
  t.spans[1].recompute = true;
  t.spans[3].microbatch = 11;
  t.spans[4].waited = Picoseconds{5};
  return t;
}

std::vector<SpanId> found(const std::string& text) {
  const Timeline t = small();
  return find(t, parse_query(text, t));
}
using Ids = std::vector<SpanId>;

TEST(Search, FindsOperatorsClassesAndColours) {
  EXPECT_EQ(found("linear"), (Ids{0, 3}));
  EXPECT_EQ(found("LINEAR_Forward"), (Ids{0, 3}));
  EXPECT_EQ(found("attention"), (Ids{1}));
  EXPECT_EQ(found("pp_comm"), (Ids{2}));
  EXPECT_EQ(found("matrix"), (Ids{0, 3}));  // "matrix products"
  EXPECT_EQ(found("layernorm"), (Ids{4}));  // no number behind "layer": an operator
}

TEST(Search, FindsNumbersInOneWordOrTwo) {
  for (const char* text : {"mb 1", "mb1", "mb=1", "mb:1", "micro-batch 1", "microbatch 1", "MB 1"}) EXPECT_EQ(found(text), (Ids{0})) << text;
  EXPECT_EQ(found("layer 12"), (Ids{0}));
  EXPECT_EQ(found("rank 1"), (Ids{3, 4}));
  EXPECT_EQ(found("stream send-next"), (Ids{2}));
}

TEST(Search, FindsRanksByAWordOfTheirName) {
  EXPECT_EQ(found("pp1"), (Ids{3, 4}));
  EXPECT_EQ(found("pp1 tp0 linear"), (Ids{3}));
  EXPECT_EQ(found("pp0 pp1"), (Ids{}));
}

TEST(Search, FindsWhatIsRunAgainOrWaitedOrLong) {
  EXPECT_EQ(found("recompute"), (Ids{1}));
  EXPECT_EQ(found("waited"), (Ids{4}));
  EXPECT_EQ(found(">1ms"), (Ids{3}));
  EXPECT_EQ(found("> 1 ms linear"), (Ids{3}));
}

TEST(Search, SaysWhyNothingCanBeFound) {
  const Timeline t = small();
  EXPECT_EQ(parse_query("  ", t).problem, "nothing to look for");
  EXPECT_EQ(parse_query("linaer", t).problem, "no operator, class or rank here is called 'linaer'");
  EXPECT_EQ(parse_query("stream tp", t).problem, "no stream is called 'tp'");
  EXPECT_EQ(parse_query(">quick", t).problem, "after '>' stands a time, such as >1.5ms");
  EXPECT_TRUE(find(t, parse_query("linaer", t)).empty());
}

TEST(Search, GoesThroughMatchesInTimeAndRoundTheEnd) {
  const Timeline t = small();
  const Ids all{0, 1, 2, 3, 4};  // starts: 0, 2, 5, 1.5, 2001.5 us
  Ids order;
  SpanId at = kNoSpan;
  for (int i = 0; i < 6; ++i) order.push_back(at = next_match(all, t, at, true));
  EXPECT_EQ(order, (Ids{0, 3, 1, 2, 4, 0}));
  EXPECT_EQ(next_match(all, t, 0, false), 4U);
  EXPECT_EQ(next_match(all, t, kNoSpan, false), 4U);
  EXPECT_EQ(next_match({}, t, 0, true), kNoSpan);
}

// Walking forward through all matches is sorting them.
RC_GTEST_PROP(SearchLaw, NextVisitsEveryMatchOnce, ()) {
  const Timeline t = testing::any_timeline({{0, 0, *rc::gen::inRange(0, 60)}, {1, 1, *rc::gen::inRange(0, 60)}});
  const SpanQuery query = parse_query("layer 1", t);
  const std::vector<SpanId> matches = find(t, query);
  std::vector<SpanId> sorted;
  for (SpanId i = 0; i < t.spans.size(); ++i)
    if (t.spans[i].layer == 1 && t.spans[i].end > t.spans[i].start) sorted.push_back(i);
  RC_ASSERT(matches == sorted);
  std::stable_sort(sorted.begin(), sorted.end(), [&](SpanId a, SpanId b) { return t.spans[a].start < t.spans[b].start; });
  SpanId at = kNoSpan;
  for (const SpanId id : sorted) RC_ASSERT((at = next_match(matches, t, at, true)) == id);
  if (!sorted.empty()) RC_ASSERT(next_match(matches, t, at, true) == sorted.front());
}

}  // namespace
}  // namespace orrery::view
