// How the passes of a stream are told apart and named.
#include "gui/view/passes.h"

#include <gtest/gtest.h>

#include <vector>

#include "view/timelines.h"

namespace orrery::view {
namespace {

using testing::span;

// One kind for each name.
struct Stream {
  Timeline timeline;

  std::uint32_t kind(const std::string& name, WorkClass work) {
    SpanKind k;
    k.name = name;
    k.work = work;
    timeline.kinds.push_back(k);
    return static_cast<std::uint32_t>(timeline.kinds.size() - 1);
  }
  void add(std::uint32_t kind, std::uint32_t pass, std::uint16_t microbatch, std::int64_t start, std::int64_t end) {
    Span s = span(0, 0, start, end);
    s.kind = kind;
    s.pass = pass;
    s.microbatch = microbatch;
    timeline.spans.push_back(s);
  }
  std::vector<Pass> passes() const {
    PassFinder finder(timeline);
    for (const Span& s : timeline.spans) finder.add(s, {s.start, s.end});
    std::vector<Pass> found;
    finder.finish(found);
    return found;
  }
};

TEST(Passes, AreToldByTheirOperators) {
  Stream s;
  const auto forward = s.kind("linear_forward", WorkClass::gemm), backward = s.kind("attention_backward", WorkClass::attention);
  const auto update = s.kind("adamw", WorkClass::optimizer);
  s.add(forward, 0, 3, 0, 10);
  s.add(forward, 0, 3, 10, 20);
  s.add(backward, 1, 2, 20, 40);
  s.add(update, 2, 0xffff, 50, 60);
  const std::vector<Pass> passes = s.passes();
  ASSERT_EQ(passes.size(), 3U);
  EXPECT_EQ(letter(passes[0].kind), "F");
  EXPECT_EQ(passes[0].microbatch, 3);
  EXPECT_EQ(passes[0].range, (TimeRange{Picoseconds{0}, Picoseconds{20}}));
  EXPECT_EQ(letter(passes[1].kind), "B");
  EXPECT_EQ(letter(passes[2].kind), "update");
}

TEST(Passes, OfBothWaysAreBothUnlessOneIsEightTimesTheOther) {
  Stream s;
  const auto forward = s.kind("linear_forward", WorkClass::gemm), backward = s.kind("linear_backward", WorkClass::gemm);
  s.add(forward, 0, 0, 0, 10);
  s.add(backward, 0, 0, 10, 20);
  s.add(forward, 1, 0, 20, 100);  // 80 : 9
  s.add(backward, 1, 0, 100, 109);
  s.add(forward, 2, 0, 200, 281);  // 81 : 10 is more than 8
  s.add(backward, 2, 0, 281, 291);
  const std::vector<Pass> passes = s.passes();
  EXPECT_EQ(letter(passes[0].kind), "F+B");
  EXPECT_EQ(letter(passes[1].kind), "F");
  EXPECT_EQ(letter(passes[2].kind), "F");
}

TEST(Passes, OfWeightGradientsAloneAreW) {
  Stream s;
  const auto weights = s.kind("linear_weight_grad", WorkClass::gemm), inputs = s.kind("linear_input_grad", WorkClass::gemm);
  s.add(weights, 0, 0, 0, 10);
  s.add(inputs, 1, 0, 10, 20);
  const std::vector<Pass> passes = s.passes();
  EXPECT_EQ(letter(passes[0].kind), "W");
  EXPECT_EQ(letter(passes[1].kind), "B");
}

TEST(Passes, WhatIsRunAgainSaysNothingOfTheWay) {
  Stream s;
  const auto forward = s.kind("linear_forward", WorkClass::gemm), backward = s.kind("linear_backward", WorkClass::gemm);
  s.add(forward, 0, 0, 0, 1000);
  s.timeline.spans.back().recompute = true;
  s.add(backward, 0, 0, 1000, 1010);
  ASSERT_EQ(s.passes().size(), 1U);
  EXPECT_EQ(letter(s.passes()[0].kind), "B");
}

TEST(Passes, WaitsAndInstantsBelongToNone) {
  Stream s;
  s.add(s.kind("wait", WorkClass::control), 0, 0, 0, 10);
  s.add(s.kind("linear_forward", WorkClass::gemm), 1, 0, 10, 10);
  EXPECT_TRUE(s.passes().empty());
}

TEST(Passes, OfAnotherStreamBeginAnew) {
  Stream s;
  s.add(s.kind("linear_forward", WorkClass::gemm), 7, 1, 0, 10);
  PassFinder finder(s.timeline);
  std::vector<Pass> found;
  for (int stream = 0; stream < 2; ++stream) {
    finder.add(s.timeline.spans[0], {Picoseconds{0}, Picoseconds{10}});
    finder.finish(found);
  }
  EXPECT_EQ(found.size(), 2U);
}

}  // namespace
}  // namespace orrery::view
