// What is told of a span: the figures follow from the program and its prices, and the reasons from the times of others.
#include "app/span_story.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fmt/format.h>

#include <algorithm>

#include "program/dimensions.h"
#include "sim/simulate.h"
#include "support/arbitrary_programs.h"
#include "support/timed_programs.h"

namespace orrery::app {
namespace {

using How = Needed::How;

// A program with durations, run and recorded.
Explored explored(const test::Timed& t, const sim::Options& options = {}) {
  sim::Options record = options;
  record.record = true;
  sim::Result result = sim::simulate(t.program, t.cost, t.cluster, record);
  Explored out;
  out.inputs.cluster = t.cluster;
  out.program = t.program;
  out.cost = t.cost;
  out.report.steady = result.steady;
  out.report.timeline = std::move(result.timeline);
  return out;
}

std::uint32_t find(const Explored& e, std::uint32_t rank, std::uint32_t pass, std::uint32_t instruction) {
  const auto& spans = e.report.timeline->spans;
  for (std::uint32_t i = 0; i < spans.size(); ++i)
    if (spans[i].rank == rank && spans[i].pass == pass && spans[i].instruction == instruction) return i;
  return kNoSpan;
}

const Needed* last(const SpanStory& s) {
  const auto at = std::find_if(s.needed.begin(), s.needed.end(), [](const Needed& n) { return n.last; });
  return at == s.needed.end() ? nullptr : &*at;
}

std::string value(const SpanStory& s, const std::string& name) {
  for (const auto& [key, text] : lines(s))
    if (key == name) return text;
  return {};
}

// Two stages, forward 10, backward 20, a transfer 5: stage 0's forwards end at 10 and 20, so stage 1 has micro-batch 0 at 15. It ends its backward at
// 15 + 10 + 20 = 45 and stage 0 has the gradient at 50.
Explored two_stages() { return explored(test::one_f_one_b(2, 2, {.forward = {10, 10}, .backward = {20, 20}, .latency = 5})); }

TEST(SpanStory, NamesTheActivationsThatAForwardPassWaitedForAndWhoMadeThem) {
  const Explored e = two_stages();
  const SpanStory s = explain_span(e, find(e, 1, 0, 1));
  ASSERT_EQ(s.start.v, 15);
  EXPECT_EQ(s.operation, "linear_forward");
  EXPECT_EQ(s.rank, "pp1");
  EXPECT_EQ(s.pass, "forward of micro-batch 0");
  const Needed* n = last(s);
  ASSERT_NE(n, nullptr);
  EXPECT_EQ(n->how, How::instruction);
  EXPECT_EQ(n->at.v, 15);
  EXPECT_EQ(n->text, "receive of the activations of micro-batch 0 from pp0");
  EXPECT_EQ(s.why,
            "Waited 15 ps for the receive of the activations of micro-batch 0 from pp0: pp0's linear_forward in the forward of micro-batch 0 ended "
            "at 10 ps; "
            "5 ps of that was the transfer itself.");
}

TEST(SpanStory, TellsAReceiveThatItsSenderWasLate) {
  const Explored e = two_stages();
  const SpanStory s = explain_span(e, find(e, 1, 0, 0));
  EXPECT_EQ(s.start.v, 10);
  ASSERT_NE(last(s), nullptr);
  EXPECT_EQ(last(s)->how, How::message);
  EXPECT_EQ(e.report.timeline->spans[last(s)->span].rank, 0U);
  EXPECT_EQ(last(s)->at.v, 10);
  // A step takes 100, and in the one before the stage received last at 25.
  EXPECT_EQ(s.why, "Waited 85 ps for pp0, which was ready at 10 ps: pp0's linear_forward in the forward of micro-batch 0 ended at 10 ps.");
}

TEST(SpanStory, SaysSoWhereNothingWasWaitedFor) {
  const Explored e = two_stages();
  const SpanStory s = explain_span(e, find(e, 0, 1, 0));  // the second forward of stage 0, right after the first
  EXPECT_EQ(s.start.v, 10);
  ASSERT_NE(last(s), nullptr);
  EXPECT_EQ(last(s)->how, How::stream);
  EXPECT_EQ(s.why.rfind("Did not wait: it started as soon as its stream was free, after linear_forward", 0), 0U) << s.why;
}

// Of two ranks of tp one has 30 more to do before they meet at 40.
TEST(SpanStory, NamesTheMemberThatCameLastToACollective) {
  test::Timed t{{2, 1, 1, 1}};
  const auto tp = t.group(program::kTpAxis, WorkClass::tp_comm);
  t.pass(0);
  t.compute(0, 10);
  // The load decides: rank 0 has the first shape, rank 1 the second.
  const std::uint32_t light = t.shape({.duration = 10}), heavy = t.shape({.duration = 40});
  t.program.loads.push_back({.axes = program::kTpAxis, .shapes = {light, heavy}});
  t.program.roles[0].instructions.back().load = 0;
  t.program.roles[0].instructions.back().shape = heavy;
  t.collective(0, tp, test::kSide, 7, {test::after(0)});
  t.wait(0, {test::after(1)});
  t.body(0, {{0, 0}});
  const Explored e = explored(t);
  const SpanStory s = explain_span(e, find(e, 0, 0, 1));
  EXPECT_EQ(s.start.v, 40);
  EXPECT_EQ(s.group, "tp: 2 ranks");
  ASSERT_NE(last(s), nullptr);
  EXPECT_EQ(last(s)->how, How::member);
  EXPECT_EQ(e.report.timeline->spans[last(s)->span].rank, 1U);
  EXPECT_NE(s.why.find("for the last of its group, tp1, which was ready at 40 ps"), std::string::npos) << s.why;
  EXPECT_EQ(last(explain_span(e, find(e, 1, 0, 1)))->how, How::instruction);  // that one waited for its own work only
}

// An instruction takes the host 100, the device 10.
TEST(SpanStory, BlamesTheHostWhereItIssuesTooSlowly) {
  test::Timed t;
  t.cost.issue = Picoseconds{100};
  t.pass(0);
  for (int i = 0; i < 3; ++i) t.compute(0, 10);
  t.body(0, {{0, 0}});
  const Explored e = explored(t);
  const SpanStory s = explain_span(e, find(e, 0, 0, 1));
  ASSERT_NE(last(s), nullptr);
  EXPECT_EQ(last(s)->how, How::host);
  EXPECT_EQ(s.why, "Waited 90 ps for the host: it issues an instruction every 100 ps, and had not come to this one.");
}

Explored small(const std::string& model, const std::string& cluster, std::vector<std::string> settings) {
  PlanFlags flags;
  flags.model = model;
  flags.cluster = cluster;
  flags.settings = std::move(settings);
  SimulateOptions options;
  options.timeline = true;
  return std::move(*explore(load_inputs(flags), options));
}

TEST(SpanStory, HasEveryFigureOfAnOperator) {
  const Explored e = small("llama-3.1-8b", "dgx-h100:8", {"parallel.tp=4", "batch.global=4", "batch.sequence=4096"});
  const Timeline& t = *e.report.timeline;
  const auto at = std::find_if(t.spans.begin(), t.spans.end(), [&](const Span& s) { return t.kinds[s.kind].name == "linear_forward"; });
  ASSERT_NE(at, t.spans.end());
  const SpanStory s = explain_span(e, static_cast<std::uint32_t>(at - t.spans.begin()));
  // The first linear of a layer makes q, k and v: (32 + 2 x 8) heads x 128 of 4096, a quarter of them here.
  EXPECT_EQ(s.shape, "4096 tokens x 4096 in x 1536 out, bf16");
  EXPECT_EQ(s.flops, 2.0 * 4096 * 4096 * 1536);
  EXPECT_EQ(s.direction, "forward");
  EXPECT_EQ(s.layer, 0);
  EXPECT_EQ(s.microbatch, 0);
  EXPECT_DOUBLE_EQ(s.flop_rate.v, s.flops / to_seconds(s.duration).v);
  EXPECT_NEAR(s.share_of_peak, s.flop_rate.v / e.inputs.cluster.device.peak_of(DType::bf16).v, 1e-6);
  EXPECT_NEAR(s.share_of_bandwidth, static_cast<double>(s.bytes) / to_seconds(s.duration).v / e.inputs.cluster.device.memory_bandwidth.v, 1e-9);
  EXPECT_FALSE(s.source.empty());
  EXPECT_TRUE(s.grade && s.sigma && *s.sigma > 0);
  EXPECT_GT(s.energy.v, 0);
  EXPECT_EQ(s.stands_for, 8);
  EXPECT_NE(value(s, "Work").find("of peak"), std::string::npos);
  EXPECT_NE(value(s, "Rank").find("and 7 that did the same"), std::string::npos) << value(s, "Rank");
}

TEST(SpanStory, HasTheGroupOfACollectiveAndWhatItsLinksCarry) {
  const Explored e = small("llama-3.1-8b", "dgx-h100:8", {"parallel.tp=4", "parallel.sp=true", "batch.global=4", "batch.sequence=4096"});
  const Timeline& t = *e.report.timeline;
  const auto at = std::find_if(t.spans.begin(), t.spans.end(),
                               [&](const Span& s) { return t.kinds[s.kind].name == "all_gather" && t.kinds[s.kind].work == WorkClass::tp_comm; });
  ASSERT_NE(at, t.spans.end());
  const SpanStory s = explain_span(e, static_cast<std::uint32_t>(at - t.spans.begin()));
  EXPECT_EQ(s.group, "tp: 4 ranks over nvlink");
  EXPECT_EQ(s.group_ranks, 4);
  // Of what is gathered a rank's link carries 3/4.
  EXPECT_DOUBLE_EQ(s.wire_rate.v, s.byte_rate.v * 3 / 4);
  EXPECT_GT(s.share_of_bandwidth, 0);
  EXPECT_LE(s.share_of_bandwidth, 1);
  EXPECT_NE(value(s, "Payload").find("on the wire"), std::string::npos) << value(s, "Payload");
}

TEST(SpanStory, OfATraceAloneSaysWhatTheTraceSays) {
  const Explored e = two_stages();
  const Timeline& t = *e.report.timeline;
  const SpanStory s = explain_span(t, find(e, 1, 0, 1));
  EXPECT_EQ(s.operation, "linear_forward");
  EXPECT_EQ(s.pass, "micro-batch 0");
  EXPECT_TRUE(s.shape.empty());
  ASSERT_NE(last(s), nullptr);
  EXPECT_EQ(last(s)->how, How::seen);
  EXPECT_EQ(s.why, "Waited 15 ps for the pipeline: recv ended at 15 ps; 5 ps of that was the transfer itself.");
  // A message has its other end there too.
  EXPECT_EQ(last(explain_span(t, find(e, 1, 0, 0)))->how, How::message);
}

TEST(SpanStory, TakesATimelineOfAnotherProgramAlone) {
  const Explored e = two_stages();
  Timeline other = *e.report.timeline;
  for (SpanKind& k : other.kinds) k.name += " of another";
  const SpanStory s = explain_span(e, other, find(e, 1, 0, 1));
  EXPECT_EQ(s.operation, "linear_forward of another");
  EXPECT_TRUE(s.direction.empty());
}

TEST(Dimensions, HaveANameForEveryOperator) {
  for (std::size_t o = 0; o < program::kOperators; ++o) {
    const auto op = static_cast<program::Operator>(o);
    EXPECT_EQ(program::dimension_names(op)[0].empty(), op == program::Operator::wait) << program::name(op);
  }
  EXPECT_EQ(program::shape_text({.op = program::Operator::attention_forward, .dtype = DType::bf16, .dims = {1, 8192, 16, 1, 128, 128, 1}}),
            "1 sample x 8192 positions x 16 query heads x 1 kv head x 128 qk width x 128 v width, causal, bf16");
}

// Of a steady step every moment is accounted for: what a span needed was there before it started, and the last of it just then.
RC_GTEST_PROP(SpanStories, HaveTheirReasonsInTime, ()) {
  const Explored e = explored(test::arbitrary_program(), {.unfold = test::coin()});
  const Timeline& t = *e.report.timeline;
  for (std::uint32_t i = 0; i < t.spans.size(); ++i) {
    const SpanStory s = explain_span(e, i);
    RC_ASSERT(!s.why.empty());
    RC_ASSERT(std::count_if(s.needed.begin(), s.needed.end(), [](const Needed& n) { return n.last; }) <= 1);
    for (const Needed& n : s.needed) {
      RC_ASSERT(n.at <= s.start);
      const bool ends = n.span != kNoSpan && n.how != How::message && n.how != How::member;
      if (ends) RC_ASSERT(n.at == t.spans.at(n.span).end - (n.previous ? t.step : Picoseconds{}));
      RC_ASSERT(!n.previous || e.report.steady);
      RC_ASSERT(!n.text.empty());
    }
    const Needed* const decided = last(s);
    if (s.waited.v > 0 && e.report.steady && (!decided || decided->at != s.start)) RC_FAIL(fmt::format("{} [{}] on {}", s.operation, i, s.why));
  }
}

RC_GTEST_PROP(SpanStories, OfATraceAloneHaveTheirReasonsInTime, ()) {
  const Explored e = explored(test::arbitrary_program());
  const Timeline& t = *e.report.timeline;
  for (std::uint32_t i = 0; i < t.spans.size(); ++i) {
    const SpanStory s = explain_span(t, i);
    RC_ASSERT(!s.why.empty());
    for (const Needed& n : s.needed) RC_ASSERT(n.at <= s.start);
    if (s.waited.v == 0) RC_ASSERT(s.why.find("Waited") == std::string::npos);
  }
}

}  // namespace
}  // namespace orrery::app
