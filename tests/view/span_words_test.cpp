// Spans in a line of words.
#include "gui/view/span_words.h"

#include <gtest/gtest.h>

#include "view/timelines.h"

namespace orrery::view {
namespace {

using testing::shared;
using testing::span;

Timeline one(Span s) {
  Timeline t;
  t.streams = {"compute"};
  t.ranks = {"pp0 tp0", ""};
  t.kinds = testing::kinds_of_all_classes();
  t.kinds[testing::kind_of(WorkClass::gemm)].name = "linear_forward";
  t.spans = {s};
  t.step = Picoseconds{10'000'000'000};
  return t;
}

TEST(SpanWords, SayWhatWhichWhenAndAfterWhichWait) {
  Span s = span(0, 0, 5'000'000'000, 6'200'000'000);  // 1.2 ms at 5 ms
  s.microbatch = 3;
  s.layer = 12;
  s.waited = Picoseconds{3'000'000'000};
  s.cause = WaitCause::tp;
  EXPECT_EQ(describe(one(s), 0), "linear_forward  ·  mb 3  ·  layer 12  ·  1.2 ms at 5.000 ms, after 3 ms waiting for tp communication");
  s.recompute = true;
  s.microbatch = s.layer = 0xffff;
  s.waited = {};
  EXPECT_EQ(describe(one(s), 0), "linear_forward (run again)  ·  1.2 ms at 5.000 ms");
}

TEST(SpanWords, SayHowTheOtherDiffers) {
  EXPECT_EQ(describe(Delta{Picoseconds{2'000'000}, Picoseconds{-50'000}}), "50 ns shorter, 2 us later");
  EXPECT_EQ(describe(Delta{Picoseconds{-1'000'000}, Picoseconds{0}}), "as long, 1 us earlier");
}

TEST(SpanWords, SayWhatIsWaitedForAndHowLong) {
  Span s = span(0, 0, 5'000'000, 6'000'000);
  s.waited = Picoseconds{3'000'000};
  s.cause = WaitCause::pp;
  EXPECT_EQ(describe_wait(SpanIndex(shared(one(s))), 0), "bubble: waiting for a pipeline peer, 3 us");
}

TEST(SpanWords, EveryCauseHasWords) {
  for (std::size_t cause = 0; cause < kWaitCauses; ++cause) EXPECT_FALSE(words(static_cast<WaitCause>(cause)).empty());
}

TEST(SpanWords, RanksWithoutNameHaveTheirNumber) {
  const Timeline t = one(span(0, 0, 0, 1));
  EXPECT_EQ(describe_row(t, 0, "compute"), "pp0 tp0 compute");
  EXPECT_EQ(rank_name(t, 1), "rank 1");
  EXPECT_EQ(rank_name(t, 9), "rank 9");
}

}  // namespace
}  // namespace orrery::view
