// What is told of a span: the figures follow from the program and its prices, and the reasons from the times of others.
#include "app/span_story.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fmt/format.h>

#include <algorithm>

#include "program/dimensions.h"
#include "program/quantised.h"
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

// When a run's host issued what, its prediction does not know.
TEST(SpanStory, DoesNotExplainARunByPredictedTimes) {
  test::Timed t;
  t.cost.issue = Picoseconds{100};
  t.pass(0);
  for (int i = 0; i < 3; ++i) t.compute(0, 10);
  t.body(0, {{0, 0}});
  const Explored e = explored(t);
  Timeline run = *e.report.timeline;
  run.origin = "measured";
  const SpanStory s = explain_span(e, run, find(e, 0, 0, 1));
  EXPECT_EQ(s.direction, "forward");  // it is the program's
  EXPECT_EQ(s.why, "Waited 90 ps for the host: it had not issued it yet.");
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

// The first span of every communication.
std::vector<SpanStory> communications(const Explored& e) {
  const Timeline& t = *e.report.timeline;
  std::vector<bool> known(t.kinds.size());
  std::vector<SpanStory> out;
  for (std::uint32_t i = 0; i < t.spans.size(); ++i) {
    const std::uint32_t kind = t.spans[i].kind;
    if (!is_communication(t.kinds[kind].work) || known[kind]) continue;
    known[kind] = true;
    out.push_back(explain_span(e, i));
  }
  return out;
}

// A ring through two nodes of eight crosses between them once each way, over eight adapters at a time: of 16 parts 15 pass every member, an eighth of
// that every adapter.
TEST(SpanStory, SaysWhatTheBusiestLinkCarriesAndWhichItIs) {
  const Explored e = small("llama-3.1-8b", "dgx-h100:16", {"sharding.zero=3", "batch.global=16", "batch.sequence=4096"});
  const std::vector<SpanStory> all = communications(e);
  const auto s = std::find_if(all.begin(), all.end(), [](const SpanStory& c) { return c.operation == "all_gather" && c.bytes > 100'000'000; });
  ASSERT_NE(s, all.end());
  EXPECT_EQ(s->group_ranks, 16);
  EXPECT_EQ(s->bandwidth_of, "infiniband");
  EXPECT_NEAR(s->wire_rate.v, s->byte_rate.v * 15 / 16 / 8, 1);
  EXPECT_NEAR(s->share_of_bandwidth, s->wire_rate.v / 50e9, 1e-9);  // an adapter of 400 Gbit/s
}

// Whatever carries it: sums in the switches, exchanges that cross to a node once, parameter servers, messages.
TEST(SpanStory, LetsNoLinkCarryMoreThanItCan) {
  const std::vector<std::string> batch{"batch.global=16", "batch.micro=1", "batch.sequence=1024"};
  const auto with = [&](std::vector<std::string> settings) {
    settings.insert(settings.end(), batch.begin(), batch.end());
    return settings;
  };
  const struct {
    const char *model, *cluster;
    std::vector<std::string> settings;
  } cases[] = {{"llama-3.1-8b", "dgx-h100:8", with({"parallel.tp=8", "parallel.sp=false"})},
               {"llama-3.1-8b", "dgx-h100:16", with({"sharding.zero=3"})},
               {"llama-3.1-8b", "dgx-h100:16", with({"parallel.tp=8", "parallel.pp=2"})},
               {"llama-3.1-8b", "dgx-h100:16", with({"sharding.zero=0", "data_parallel.kind=parameter-server"})},
               {"llama-3.1-8b", "dgx-h100:16", with({"sharding.zero=0", "data_parallel.kind=parameter-server", "data_parallel.servers=3"})},
               {"cpu-mixtral-tiny", "dgx-h100:32", {"parallel.ep=4", "batch.global=32", "batch.sequence=128"}},
               {"deepseek-v2", "dgx-h100:32", {"parallel.ep=32", "runtime.moe_dispatcher=hierarchical", "batch.global=32", "batch.sequence=4096"}}};
  for (const auto& c : cases) {
    const std::vector<SpanStory> all = communications(small(c.model, c.cluster, c.settings));
    EXPECT_FALSE(all.empty());
    for (const SpanStory& s : all) {
      EXPECT_GT(s.wire_rate.v, 0) << c.model << " " << s.operation << " " << s.group;
      EXPECT_LE(s.share_of_bandwidth, 1 + 1e-6) << c.model << " on " << c.cluster << ": " << s.operation << " " << s.group << " " << s.bandwidth_of;
    }
  }
}

// Two of the same stream of a run: the second's wait began when the first ended, which is no reason for it.
TEST(SpanStory, OfARunAloneDoesNotTakeTheBeginningOfAWaitForItsReason) {
  Timeline t;
  t.origin = "measured";
  t.step = Picoseconds{60};
  t.streams = {"compute", "tp"};
  t.ranks = {"tp0", "tp1"};
  t.kinds.resize(2);
  t.kinds[0].name = "all_reduce", t.kinds[0].work = WorkClass::tp_comm;
  t.kinds[1].name = "linear_forward", t.kinds[1].work = WorkClass::gemm;
  const auto span = [&](std::int64_t start, std::int64_t end, std::int64_t waited, std::uint32_t kind, std::uint16_t stream) {
    Span s;
    s.start = Picoseconds{start}, s.end = Picoseconds{end}, s.waited = Picoseconds{waited};
    s.kind = kind, s.stream = stream, s.cause = waited > 0 ? WaitCause::tp : WaitCause::none;
    t.spans.push_back(s);
  };
  span(0, 5, 0, 1, 0), span(50, 55, 45, 1, 0), span(0, 10, 0, 0, 1), span(30, 40, 20, 0, 1);
  const SpanStory s = explain_span(t, 3);
  ASSERT_NE(last(s), nullptr);
  EXPECT_EQ(last(s)->how, How::member);
  EXPECT_EQ(s.why, "Was ready at 10 ps, and waited for another member of its group: 20 ps in all.");
  // Compute waited for the collective that ended at 40, not for the compute that ended at 5.
  ASSERT_NE(last(explain_span(t, 1)), nullptr);
  EXPECT_EQ(last(explain_span(t, 1))->span, 3U);
  // Where no such collective is known, it is left at that.
  for (Span& other : t.spans)
    if (other.stream == 1) other.start += Picoseconds{60}, other.end += Picoseconds{60};
  EXPECT_EQ(last(explain_span(t, 1)), nullptr);
  EXPECT_EQ(explain_span(t, 1).why, "Waited 45 ps for tensor-parallel communication.");
}

// The last of 70 ranks keeps all others waiting, and all were recorded.
TEST(SpanStory, AsksAllMembersHoweverManyTheyAre) {
  test::Timed t{{70, 1, 1, 1}};
  const auto tp = t.group(program::kTpAxis, WorkClass::tp_comm);
  t.pass(0);
  t.compute(0, 10);
  const std::uint32_t light = t.shape({.duration = 10}), heavy = t.shape({.duration = 40});
  std::vector<std::uint32_t> shapes(69, light);
  shapes.push_back(heavy);
  t.program.loads.push_back({.axes = program::kTpAxis, .shapes = shapes});
  t.program.roles[0].instructions.back().load = 0;
  t.program.roles[0].instructions.back().shape = heavy;
  t.collective(0, tp, test::kSide, 7, {test::after(0)});
  t.wait(0, {test::after(1)});
  t.body(0, {{0, 0}});
  const Explored e = explored(t, {.unfold = true});
  const SpanStory s = explain_span(e, find(e, 0, 0, 1));
  ASSERT_NE(last(s), nullptr);
  ASSERT_NE(last(s)->span, kNoSpan) << s.why;
  EXPECT_EQ(e.report.timeline->spans[last(s)->span].rank, 69U);
  // Without the program nobody knows who the members are.
  const SpanStory alone = explain_span(*e.report.timeline, find(e, 0, 0, 1));
  EXPECT_NE(alone.why.find("waited for another member of its group"), std::string::npos) << alone.why;
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
  // The same operators on other amounts: one that differs is enough, whichever is asked about.
  for (const bool bytes : {true, false}) {
    other = *e.report.timeline;
    SpanKind& kind = other.kinds[other.spans[find(e, 0, 0, 0)].kind];
    if (bytes)
      kind.bytes += 1;
    else
      kind.flops += 1;
    EXPECT_TRUE(explain_span(e, other, find(e, 1, 0, 1)).direction.empty());
    EXPECT_TRUE(explain_span(e, other, find(e, 1, 0, 0)).direction.empty());
  }
  EXPECT_EQ(explain_span(e, Timeline(*e.report.timeline), find(e, 1, 0, 1)).direction, "forward");
}

TEST(Dimensions, HaveANameForEveryOperator) {
  for (std::size_t o = 0; o < program::kOperators; ++o) {
    const auto op = static_cast<program::Operator>(o);
    EXPECT_EQ(program::dimension_names(op)[0].empty(), op == program::Operator::wait) << program::name(op);
  }
  EXPECT_EQ(program::shape_text({.op = program::Operator::attention_forward, .dtype = DType::bf16, .dims = {1, 8192, 16, 1, 128, 128, 1}}),
            "1 sample x 8192 positions x 16 query heads x 1 kv head x 128 qk width x 128 v width, causal, bf16");
}

TEST(Dimensions, NameWhatNumbersOnlyStandFor) {
  const auto text = [](program::Operator op, std::array<std::int64_t, 4> dims) {
    program::Shape shape{.op = op, .dtype = DType::bf16};
    std::copy(dims.begin(), dims.end(), shape.dims.begin());
    return program::shape_text(shape);
  };
  EXPECT_EQ(text(program::Operator::linear_forward, {8, 16, 32, 0}), "8 tokens x 16 in x 32 out, bf16");
  EXPECT_EQ(text(program::Operator::linear_forward, {8, 16, 32, 1 + static_cast<int>(program::Scaling::current)}),
            "8 tokens x 16 in x 32 out, current scaling, bf16");
  const program::Quantisation gradient = program::Quantisation::of(program::Scaling::delayed, program::Role8::gradient);
  const program::Quantisation input = program::Quantisation::of(program::Scaling::blockwise, program::Role8::input);
  EXPECT_EQ(text(program::Operator::quantise, {8, 256, gradient.number(), static_cast<int>(program::Ways::plain)}),
            "8 rows x 256 columns, e5m2, bf16");
  EXPECT_EQ(text(program::Operator::quantise_delayed, {8, 256, input.number(), static_cast<int>(program::Ways::transposed)}),
            "8 rows x 256 columns, e4m3, a scale for 1 x 128, transposed, bf16");
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
