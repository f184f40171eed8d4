#include "core/timeline_json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "support/generators.h"

namespace orrery {
namespace {

// Two ranks: rank 0 computes for 2.5 us and sends to rank 1, which waited for it.
Timeline two_ranks() {
  Timeline t;
  t.origin = "simulated";
  t.step = Picoseconds{5'000'000};
  t.streams = {"compute", "send-forward"};
  t.ranks = {"pp0 tp0 dp0", "pp1 tp0 dp0"};
  t.kinds = {{"linear_forward", WorkClass::gemm, Picoseconds{1'000'000}, 2e9, 4096, "datasheet", Joules{0.125}},
             {"send", WorkClass::pp_comm, Picoseconds{}, 0, 1024, ""}};
  Span a;
  a.end = Picoseconds{2'500'001};
  a.layer = 3, a.microbatch = 0;
  Span b = a;
  b.rank = 1, b.start = Picoseconds{3'000'000}, b.end = Picoseconds{5'000'000}, b.waited = Picoseconds{3'000'000}, b.transfer = Picoseconds{499'999},
  b.cause = WaitCause::pp;
  Span c;
  c.stream = 1, c.kind = 1, c.start = Picoseconds{2'500'001}, c.end = Picoseconds{3'000'000};
  t.spans = {a, c, b};
  t.flows = {{1, 2}};
  t.critical = {0, 1, 2};
  t.memory = {{Picoseconds{0}, 0, 1 << 20}, {Picoseconds{2'500'001}, 0, 0}};
  return t;
}

TEST(ChromeTrace, HasNamedProcessesAndThreadsCompleteEventsArrowsAndAMemoryCounter) {
  const nlohmann::json trace = nlohmann::json::parse(write_chrome_trace(two_ranks()));
  std::map<std::string, int> count;
  for (const auto& e : trace["traceEvents"]) ++count[e["ph"].get<std::string>() + " " + e["name"].get<std::string>()];
  EXPECT_EQ(count["M process_name"], 2);
  EXPECT_EQ(count["M thread_name"], 3);  // rank 1 never used its second stream
  EXPECT_EQ(count["X linear_forward"], 2);
  EXPECT_EQ(count["X send"], 1);
  EXPECT_EQ(count["s flow"], 1);
  EXPECT_EQ(count["f flow"], 1);
  EXPECT_EQ(count["C memory"], 2);
  for (const auto& e : trace["traceEvents"]) {
    if (e["ph"] == "X" && e["name"] == "send") {
      EXPECT_EQ(e["pid"], 0);
      EXPECT_EQ(e["tid"], 1);
      EXPECT_DOUBLE_EQ(e["ts"].get<double>(), 2.500001);  // us
      EXPECT_DOUBLE_EQ(e["dur"].get<double>(), 0.499999);
      EXPECT_EQ(e["cat"], "pp_comm");
    }
    if (e["ph"] == "X" && e["pid"] == 1) {
      EXPECT_EQ(e["args"]["wait"], "pp");
      EXPECT_EQ(e["args"]["layer"], 3);
      EXPECT_EQ(e["args"]["flops"], 2e9);
      EXPECT_EQ(e["args"]["source"], "datasheet");
    }
  }
}

TEST(ChromeTrace, StartsWithTheKeyThatViewersLookForAndPutsEachEventOnALine) {
  const std::string text = write_chrome_trace(two_ranks());
  EXPECT_EQ(text.rfind("{\"traceEvents\":[\n{\"ph\":\"M\",\"name\":\"orrery\"", 0), 0U);
  EXPECT_NE(text.find("\n{\"ph\":\"X\",\"name\":\"send\",\"cat\":\"pp_comm\",\"pid\":0,\"tid\":1,\"ts\":2.500001,\"dur\":0.499999,"),
            std::string::npos)
      << text;
}

TEST(ReadTimeline, GivesBackExactlyWhatWasWritten) {
  EXPECT_EQ(read_timeline(write_chrome_trace(two_ranks()), "t.json"), two_ranks());
  Timeline empty;
  empty.origin = "measured";
  EXPECT_EQ(read_timeline(write_chrome_trace(empty), "t.json"), empty);
}

TEST(ReadTimeline, ReadsTracesFromBeforeEnergyAndTheCriticalPathStoodInThem) {
  std::string text = write_chrome_trace(two_ranks());
  for (const std::string key : {",\"energy_j\":0.125", ",\"critical\":true"})
    for (auto at = text.find(key); at != std::string::npos; at = text.find(key)) text.erase(at, key.size());
  Timeline old = two_ranks();
  old.kinds[0].energy = Joules{};
  old.critical.clear();
  EXPECT_EQ(read_timeline(text, "t.json"), old);
}

TEST(ReadTimeline, SortsSpansByRankStreamAndStartWithWhatNamesThem) {
  const Timeline sorted = two_ranks();  // a, c, b: c sends to b, and all are critical in that order
  Timeline shuffled = sorted;
  shuffled.spans = {sorted.spans[2], sorted.spans[0], sorted.spans[1]};
  shuffled.flows = {{2, 0}};
  shuffled.critical = {1, 2, 0};
  EXPECT_EQ(read_timeline(write_chrome_trace(shuffled), "t.json"), sorted);
  // Of the same start, as they stand in the file.
  Timeline ties = sorted;
  ties.spans = {sorted.spans[2], sorted.spans[0], sorted.spans[0], sorted.spans[1]};
  ties.spans[2].pass = 7;
  ties.flows = {{3, 2}};
  ties.critical.clear();
  const Timeline read = read_timeline(write_chrome_trace(ties), "t.json");
  EXPECT_EQ(read.spans, (std::vector<Span>{ties.spans[1], ties.spans[2], ties.spans[3], ties.spans[0]}));
  EXPECT_EQ(read.flows, (std::vector<Flow>{{2, 1}}));
}

TEST(ReadTimeline, RefusesTracesOfOtherProgramsWithAHint) {
  for (const char* text : {R"([{"ph":"X","ts":0,"dur":1,"pid":0,"tid":0,"name":"a"}])", R"({"schemaVersion":1,"traceEvents":[]})",
                           R"({"traceEvents":[]})", R"({"traceEvents":[{"ph":"X","name":"ncclKernel","pid":0,"tid":7,"ts":1,"dur":2}]})"}) {
    try {
      read_timeline(text, "kineto.json");
      FAIL() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.where(), "kineto.json:1");
      EXPECT_EQ(e.message(), "is not a trace that Orrery wrote");
    }
  }
}

TEST(ReadTimeline, GivesTheLineAndThePlaceOfWhatIsWrong) {
  std::string text = write_chrome_trace(two_ranks());
  const std::string good = "\"kind\":1";
  text.replace(text.find(good), good.size(), "\"kind\":7");
  try {
    read_timeline(text, "t.json");
    FAIL();
  } catch (const Error& e) {
    // Line 1 is the opening; the header takes lines 2 to 6; 2 x (process name, order) and 3 x (thread name, order) are ten lines; the send is the
    // second span.
    EXPECT_STREQ(e.what(), "t.json:19: traceEvents[12].args.kind: 7 is not one of the 2 kinds\n  hint: they are counted from 0");
  }
}

RC_GTEST_PROP(ChromeTrace, IsReadBackAsTheSameTimeline, ()) {
  const Timeline timeline = gen::timeline();
  RC_ASSERT(read_timeline(write_chrome_trace(timeline), "t.json") == timeline);
}

}  // namespace
}  // namespace orrery
