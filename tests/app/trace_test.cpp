// A trace as a viewer sees it: Chrome's JSON with named processes and threads, arrows between spans, and a memory counter.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "app/simulate.h"
#include "core/schema.h"
#include "core/timeline_json.h"
#include "support/json_schema.h"

namespace orrery::app {
namespace {

using Json = nlohmann::json;

bool valid(const Json& value, const Json& schema) { return schema_mismatch(schema, value).empty(); }

class Trace : public testing::Test {
 protected:
  // 2 x 2 x 2 ranks: sends between stages, all-reduces within tp and dp.
  static const std::string& text() {
    static const std::string kText = [] {
      PlanFlags flags;
      flags.model = "cpu-llama-tiny";
      flags.cluster = "dgx-h100:8";
      flags.tp = 2;
      flags.pp = 2;
      flags.global_batch = 8;
      flags.micro_batch = 1;
      flags.sequence = 128;
      SimulateOptions options;
      options.timeline = true;
      options.unfold = true;
      return write_chrome_trace(*simulate(load_inputs(flags), options).timeline);
    }();
    return kText;
  }
  static const Json& events() {
    static const Json kTrace = Json::parse(text());
    return kTrace.at("traceEvents");
  }
};

TEST_F(Trace, KeepsItsOwnSchema) {
  const Json schema = Json::parse(json_schema("timeline"));
  const Json& of_event = schema["properties"]["traceEvents"]["items"];
  std::size_t bad = 0;
  for (const Json& event : events())
    if (!valid(event, of_event) && ++bad <= 3) ADD_FAILURE() << event.dump();
  EXPECT_EQ(bad, 0U);
  EXPECT_TRUE(valid(Json::parse(text()), schema));
  EXPECT_FALSE(valid(Json::parse(R"({"traceEvents": [{"ph": "X"}]})"), schema));  // the validator can say no
}

TEST_F(Trace, NamesEveryProcessAndThreadThatHasSpans) {
  std::set<std::int64_t> processes;
  std::set<std::pair<std::int64_t, std::int64_t>> threads;
  for (const Json& e : events()) {
    if (e["name"] == "process_name" && !e["args"]["name"].get<std::string>().empty()) processes.insert(e["pid"].get<std::int64_t>());
    if (e["name"] == "thread_name" && !e["args"]["name"].get<std::string>().empty())
      threads.insert({e["pid"].get<std::int64_t>(), e["tid"].get<std::int64_t>()});
  }
  EXPECT_EQ(processes.size(), 8U);
  for (const Json& e : events()) {
    if (e["ph"] != "X") continue;
    EXPECT_TRUE(processes.count(e["pid"].get<std::int64_t>()));
    EXPECT_TRUE((threads.count({e["pid"].get<std::int64_t>(), e["tid"].get<std::int64_t>()})));
  }
}

TEST_F(Trace, HasSpansThatLastAndDoNotOverlapOnOneStream) {
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::pair<std::int64_t, std::int64_t>>> spans;
  for (const Json& e : events()) {
    if (e["ph"] != "X") continue;
    const std::int64_t start = e["args"]["ps"][0].get<std::int64_t>(), end = e["args"]["ps"][1].get<std::int64_t>();
    EXPECT_GE(e["dur"].get<double>(), 0);
    EXPECT_NEAR(e["ts"].get<double>(), static_cast<double>(start) * 1e-6, 1e-6);  // microseconds
    EXPECT_NEAR(e["dur"].get<double>(), static_cast<double>(end - start) * 1e-6, 1e-6);
    spans[{e["pid"].get<std::int64_t>(), e["tid"].get<std::int64_t>()}].push_back({start, end});
  }
  EXPECT_GE(spans.size(), 16U);  // eight ranks, compute and communication
  for (auto& [stream, list] : spans) {
    std::sort(list.begin(), list.end());
    for (std::size_t i = 1; i < list.size(); ++i) EXPECT_LE(list[i - 1].second, list[i].first) << stream.first << "/" << stream.second;
  }
}

TEST_F(Trace, HasArrowsThatStartInASpanAndEndInALaterOne) {
  struct End {
    std::int64_t pid = 0, tid = 0;
    double ts = 0;
  };
  std::map<std::int64_t, End> starts, ends;
  for (const Json& e : events()) {
    if (e["ph"] != "s" && e["ph"] != "f") continue;
    auto& side = e["ph"] == "s" ? starts : ends;
    EXPECT_TRUE(
        side.insert({e["id"].get<std::int64_t>(), {e["pid"].get<std::int64_t>(), e["tid"].get<std::int64_t>(), e["ts"].get<double>()}}).second);
  }
  EXPECT_GT(starts.size(), 0U);
  ASSERT_EQ(starts.size(), ends.size());
  const auto inside = [](const End& at) {
    return std::any_of(events().begin(), events().end(), [&](const Json& e) {
      return e["ph"] == "X" && e["pid"] == at.pid && e["tid"] == at.tid && e["ts"].get<double>() <= at.ts + 1e-9 &&
             at.ts <= e["ts"].get<double>() + e["dur"].get<double>() + 1e-9;
    });
  };
  for (const auto& [id, from] : starts) {
    ASSERT_TRUE(ends.count(id)) << id;
    EXPECT_LE(from.ts, ends[id].ts) << id;
    EXPECT_NE(from.pid, ends[id].pid) << id;  // from one rank to another
    EXPECT_TRUE(inside(from)) << id;
    EXPECT_TRUE(inside(ends[id])) << id;
  }
}

TEST_F(Trace, CountsTheMemoryOfEveryRank) {
  std::map<std::int64_t, std::int64_t> most;
  for (const Json& e : events()) {
    if (e["ph"] != "C") continue;
    EXPECT_EQ(e["name"], "memory");
    EXPECT_GE(e["args"]["bytes"].get<std::int64_t>(), 0);
    std::int64_t& m = most[e["pid"].get<std::int64_t>()];
    m = std::max(m, e["args"]["bytes"].get<std::int64_t>());
  }
  EXPECT_EQ(most.size(), 8U);
  for (const auto& [rank, bytes] : most) EXPECT_GT(bytes, 0) << rank;
}

}  // namespace
}  // namespace orrery::app
