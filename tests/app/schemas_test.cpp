// The schemas of what app reads and writes: real documents conform, and what the reader refuses does not.
#include "app/schemas.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "app/details.h"
#include "app/schedule.h"
#include "app/simulate.h"
#include "app/sweep.h"
#include "core/error.h"
#include "support/generators.h"
#include "support/json_schema.h"

namespace orrery::app {
namespace {

using Json = nlohmann::json;

std::string check(const std::string& document, const Json& value) {
  static std::map<std::string, Json> schemas;
  Json& known = schemas[document];
  if (known.is_null()) known = Json::parse(schema(document));
  return schema_mismatch(known, value);
}

PlanFlags small(std::int64_t tp) {
  PlanFlags f;
  f.model = "cpu-llama-tiny";
  f.cluster = "dgx-h100:8";
  f.tp = tp;
  f.pp = 2;
  f.global_batch = 16;
  f.sequence = 128;
  return f;
}

TEST(Schemas, AreThereForEveryDocumentAndNothingElse) {
  for (const std::string& name : schema_names()) EXPECT_EQ(Json::parse(schema(name))["type"], "object") << name;
  try {
    schema("sweap");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "schema sweap: is not known\n  hint: did you mean 'sweep'?");
  }
}

TEST(Schemas, AcceptWhatSchedulePrints) {
  for (const char* name : {"1f1b", "interleaved", "seq1f1b", "zb-h1", "dualpipe", "pipedream"}) {
    ScheduleRequest request;
    request.name = name, request.ranks = 4, request.microbatches = 8, request.costs = "F=1,I=1.2,W=.8,p2p=.1";
    EXPECT_EQ(check("schedule", Json::parse(to_json(schedule(request)))), "") << name;
  }
}

TEST(Schemas, AcceptWhatSimulatePrints) {
  SimulateOptions options;
  options.operators = true;
  for (const std::int64_t tp : {1, 2}) {
    const Json j = Json::parse(to_json(simulate(load_inputs(small(tp)), options)));
    EXPECT_EQ(check("simulation", j), "");
    EXPECT_EQ(check("summary", j["summary"]), "");
    EXPECT_EQ(check("plan", j["plan"]), "");
    EXPECT_GT(j["summary"]["operators"].size(), 5U);
  }
  options.tokens = 1e9;
  Json j = Json::parse(to_json(simulate(load_inputs(small(2)), options)));
  EXPECT_EQ(j["run"]["dollars"], nullptr);
  EXPECT_EQ(check("simulation", j), "");
  options.price_per_device_hour = 2;
  EXPECT_EQ(check("simulation", Json::parse(to_json(simulate(load_inputs(small(2)), options)))), "");
  PlanFlags kept = small(2);
  kept.settings = {"checkpoint.every_steps=10"};
  options.checkpoints = options.timeline = true;
  const Explored explored = *explore(load_inputs(kept), options);
  j = Json::parse(to_json(explored.report, details(explored), moment(explored, Picoseconds{explored.report.timeline->step.v / 2})));
  EXPECT_EQ(check("simulation", j), "");
  // Each key is known, and each is needed, what only some plans and flags bring apart.
  const std::set<std::string> some{"run", "checkpoints", "details", "moment"};
  j["another"] = 1;
  EXPECT_EQ(check("simulation", j), "$.another: is not a property");
  j.erase("another");
  const Json whole = j;
  for (const auto& [key, ignored] : whole.items()) {
    j.erase(key);
    EXPECT_EQ(check("simulation", j), some.contains(key) ? "" : "$: " + key + " is required");
    j[key] = whole[key];
  }
}

RC_GTEST_PROP(Schemas, AcceptEverySummary, ()) {
  Summary s;
  s.label = "l", s.origin = "measured";
  s.step = Picoseconds{gen::whole(0, INT64_MAX - 1)};
  s.waterfall.step = s.step;
  s.waterfall.bubble = Picoseconds{gen::whole(-1000, INT64_MAX - 1)};
  for (std::int64_t i = gen::whole(0, 3); i > 0; --i) s.classes.push_back({"gemm", Picoseconds{gen::whole(-5, 1000)}, 0.5});
  for (std::int64_t i = gen::whole(0, 3); i > 0; --i) s.peak_memory_by_stage.push_back(gen::whole(0, INT64_MAX - 1));
  RC_ASSERT(check("summary", Json::parse(write_summary(s))) == "");
}

TEST(Schemas, AcceptWhatSweepPrints) {
  const SweepReport report = sweep({small(2), {{"schedule", {"gpipe", "1f1b"}}, {"parallel.tp", {"2", "3"}}}});
  const Json j = Json::parse(to_json(report));
  EXPECT_EQ(check("table", j), "");
  EXPECT_EQ(j["rows"].size(), 4U);
  EXPECT_TRUE(j["rows"][0].contains("mfu"));
  EXPECT_FALSE(j["rows"][1].contains("mfu"));
}

TEST(Schemas, AgreeWithTheReaderAboutSweeps) {
  const auto reads = [](const std::string& text) {
    try {
      read_sweep(text, "s.json");
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  for (
      const std::string good :
      {R"({"orrery": "sweep/1", "grid": {"parallel.tp": [1, 2, 4], "schedule": ["1f1b"], "overlap.p2p": [true, false], "optimizer.lr": [1e-3]}})",
       R"({"orrery": "sweep/1", "plan": "p.json", "model": null, "cluster": null, "profile": "x.json", "set": ["batch.micro=2", "schedule=a=b"], "grid": {"seed": [1]}})",
       R"({"orrery": "sweep/1", "set": null, "grid": {}})", R"({"orrery": "sweep/1", "set": ["lora="], "grid": {}})"}) {
    EXPECT_TRUE(reads(good)) << good;
    EXPECT_EQ(check("sweep", Json::parse(good)), "") << good;
  }
  for (const std::string bad :
       {R"({"grid": {}})", R"({"orrery": "sweep/2", "grid": {}})", R"({"orrery": "sweep/1"})", R"({"orrery": "sweep/1", "grid": null})",
        R"({"orrery": "sweep/1", "grid": {"seed": []}})", R"({"orrery": "sweep/1", "grid": {"seed": 1}})",
        R"({"orrery": "sweep/1", "grid": {"seed": [null]}})", R"({"orrery": "sweep/1", "grid": {"seed": [[1]]}})",
        R"({"orrery": "sweep/1", "grid": {"": [1]}})", R"({"orrery": "sweep/1", "grid": {"a=b": [1]}})",
        R"({"orrery": "sweep/1", "grid": {}, "set": ["seed"]})", R"({"orrery": "sweep/1", "grid": {}, "set": "seed=1"})",
        R"({"orrery": "sweep/1", "grid": {}, "gird": {}})", R"({"orrery": "sweep/1", "grid": {}, "model": 3})"}) {
    EXPECT_FALSE(reads(bad)) << bad;
    EXPECT_NE(check("sweep", Json::parse(bad)), "") << bad;
  }
}

}  // namespace
}  // namespace orrery::app
