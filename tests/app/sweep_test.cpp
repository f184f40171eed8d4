// Grids of what-ifs as tables.
#include "app/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "core/error.h"

namespace orrery::app {
namespace {

using testing::ElementsAre;

PlanFlags base() {
  PlanFlags f;
  f.model = "cpu-llama-tiny";
  f.cluster = "dgx-h100:8";
  f.global_batch = 16;
  f.sequence = 128;
  return f;
}

std::string refusal(const std::string& text) {
  try {
    read_sweep(text, "s.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "was read";
}

TEST(SweepTable, VariesTheLastAxisFastestWhateverTheThreads) {
  Sweep grid{base(), {{"parallel.tp", {"1", "2"}}, {"schedule", {"gpipe", "1f1b"}}}};
  SweepOptions one, three;
  one.threads = 1;
  three.threads = 3;
  const SweepReport report = sweep(grid, one);
  ASSERT_EQ(report.rows.size(), 4U);
  EXPECT_THAT(report.rows[0].values, ElementsAre("1", "gpipe"));
  EXPECT_THAT(report.rows[1].values, ElementsAre("1", "1f1b"));
  EXPECT_THAT(report.rows[2].values, ElementsAre("2", "gpipe"));
  EXPECT_THAT(report.rows[3].values, ElementsAre("2", "1f1b"));
  for (const SweepRow& row : report.rows) EXPECT_EQ(row.status, "ok");
  EXPECT_EQ(to_csv(report), to_csv(sweep(grid, three)));
}

TEST(SweepTable, HoldsARowWithTheReasonForAnIllegalPoint) {
  const SweepReport report = sweep({base(), {{"parallel.tp", {"3", "2", "two"}}}});
  ASSERT_EQ(report.rows.size(), 3U);
  EXPECT_EQ(report.rows[0].status, "parallel: tp 3 x cp 1 x pp 1 = 3 ranks do not divide 8 devices");
  EXPECT_EQ(report.rows[0].step_time_s, 0);
  EXPECT_EQ(report.rows[1].status, "ok");
  EXPECT_EQ(report.rows[2].status, "--grid parallel.tp: 'two' is not a whole number");
  EXPECT_THAT(to_csv(report), testing::HasSubstr("\r\ntwo,--grid parallel.tp: 'two' is not a whole number,,,,,,,\r\n"));
}

TEST(SweepTable, IsAnErrorWhereNotOnePointCanBeRead) {
  EXPECT_THROW(sweep({base(), {{"paralel.tp", {"1", "2"}}}}), Error);
  EXPECT_THROW(sweep({{}, {{"parallel.tp", {"1", "2"}}}}), Error);
}

TEST(SweepTable, QuotesFieldsAsRfc4180Says) {
  SweepReport report;
  report.axes = {{"a,b", {}}};
  report.rows.push_back({{"says \"x\""}, "line\nbreak", 0, 0, 0, 0, 0, 0});
  report.rows.push_back({{"plain"}, "ok", 0.5, 1, 0.25, 0, 0, 7});
  // Fields with a comma, a quote or a line break stand in quotes; quotes within are doubled; lines end with CR LF.
  EXPECT_EQ(to_csv(report),
            "\"a,b\",status,step_time_s,tokens_per_s_per_gpu,mfu,bubble_fraction,exposed_communication_s,peak_memory_bytes,energy_j\r\n"
            "\"says \"\"x\"\"\",\"line\nbreak\",,,,,,,\r\n"
            "plain,ok,0.5,1,0.25,0,0,7,0\r\n");
}

// Also where the plan that is swept was written with sequence parallelism on.
TEST(SweepTable, TakesEveryTpOfAPlanThatHasSequenceParallelismOn) {
  PlanFlags f = base();
  f.settings = {"parallel.tp=4"};
  for (const char* sp : {"", "parallel.sp=true"}) {
    if (*sp != 0) f.settings.push_back(sp);
    const SweepReport report = sweep({f, {{"parallel.tp", {"1", "2"}}}});
    EXPECT_EQ(report.rows[0].status, *sp == 0 ? "ok" : "parallel.sp: sequence parallelism needs tp > 1, and tp is 1");
    EXPECT_EQ(report.rows[1].status, "ok");
  }
}

TEST(SweepTable, TellsAFaultOfTheFileAtTheFile) {
  const auto refused = [](const std::string& file) {
    Sweep s = read_sweep(file, "s.json");
    s.base.model = "cpu-llama-tiny";
    s.base.cluster = "dgx-h100:8";
    try {
      sweep(s);
    } catch (const Error& e) {
      return e.where();
    }
    return std::string("was swept");
  };
  EXPECT_EQ(refused(R"({"orrery": "sweep/1", "grid": {"paralel.tp": [1]}})"), "s.json: grid paralel.tp: paralel");
  EXPECT_EQ(refused(R"({"orrery": "sweep/1", "set": ["batch.micro=x"], "grid": {"seed": [1]}})"), "s.json: set batch.micro");
}

// Whatever goes wrong on a thread of the sweep costs its row, not the program.
TEST(SweepTable, HoldsARowForAnInternalError) {
  SweepOptions options;
  options.threads = 2;
  options.simulate = [](const Inputs& inputs) -> SimulateReport {
    if (inputs.plan.seed == 2) throw std::out_of_range("the reason");
    return simulate(inputs);
  };
  const SweepReport report = sweep({base(), {{"seed", {"1", "2", "3"}}}}, options);
  ASSERT_EQ(report.rows.size(), 3U);
  EXPECT_EQ(report.rows[0].status, "ok");
  EXPECT_EQ(report.rows[1].status, "internal error: the reason");
  EXPECT_EQ(report.rows[2].status, "ok");
  EXPECT_EQ(report.internal_errors, 1);
  EXPECT_FALSE(report.cancelled);
}

// Numbers of nine digits at most, so that both forms hold them exactly.
SweepReport any_report() {
  const auto text = [] { return *rc::gen::container<std::string>(rc::gen::element('a', '1', ',', '"', '\n', ' ', '.')); };
  const auto number = [] { return static_cast<double>(*rc::gen::inRange(1, 1'000'000'000)) / 1024; };
  SweepReport report;
  report.cancelled = *rc::gen::arbitrary<bool>();
  const auto axes = *rc::gen::inRange<std::size_t>(1, 4);
  for (std::size_t a = 0; a < axes; ++a) report.axes.push_back({"axis " + std::to_string(a), {}, "t"});
  for (int r = *rc::gen::inRange(0, 6); r > 0; --r) {
    SweepRow row;
    for (std::size_t a = 0; a < axes; ++a) {
      row.values.push_back(text());
      std::vector<std::string>& seen = report.axes[a].values;
      if (std::find(seen.begin(), seen.end(), row.values[a]) == seen.end()) seen.push_back(row.values[a]);
    }
    row.status = text();
    if (*rc::gen::arbitrary<bool>()) {
      for (double* figure :
           {&row.step_time_s, &row.tokens_per_s_per_gpu, &row.mfu, &row.bubble_fraction, &row.exposed_communication_s, &row.energy_j})
        *figure = std::stod(fmt::format("{:.9g}", number()));
      row.peak_memory_bytes = *rc::gen::inRange<std::int64_t>(0, 1LL << 50);
    }
    report.rows.push_back(std::move(row));
  }
  if (report.rows.empty()) report.axes.clear();  // which JSON does not tell then
  return report;
}

RC_GTEST_PROP(SweepTable, ReadsWhatItWrote, ()) {
  const SweepReport report = any_report();
  const SweepReport json = read_sweep_report(to_json(report), "t");
  RC_ASSERT(json.axes == report.axes);
  RC_ASSERT(json.rows == report.rows);
  RC_ASSERT(json.cancelled == report.cancelled);
  const SweepReport csv = read_sweep_report(to_csv(report), "t");
  RC_ASSERT(csv.axes == report.axes);
  RC_ASSERT(csv.rows == report.rows);
}

TEST(SweepTable, IsReadStrictly) {
  const auto refused = [](const std::string& text) {
    try {
      read_sweep_report(text, "t.csv");
    } catch (const Error& e) {
      return e.where() + ": " + e.message();
    }
    return std::string("was read");
  };
  EXPECT_EQ(refused(""), "t.csv:1: is not the table of a sweep: its header has no 'status'");
  EXPECT_EQ(refused("a,b\r\n1,2\r\n"), "t.csv:1: is not the table of a sweep: its header has no 'status'");
  EXPECT_EQ(refused("tp,status,step_time_s\r\n1,ok,0.5\r\n2,ok\r\n"), "t.csv:3: has 2 fields, and the header 3");
  EXPECT_EQ(refused("tp,status,step_time_s\n1,ok,fast\n"), "t.csv:2: step_time_s: 'fast' is not a number");
  EXPECT_EQ(refused("tp,status,speed\n1,ok,1\n"), "t.csv:1: 'speed' is no column of a sweep");
  EXPECT_EQ(refused("tp,status\n1,\"ok\n"), "t.csv:2: has a quoted field without an end");
  EXPECT_EQ(refused(R"({"orrery": "plan/1"})"), "t.csv:1: is not the table of a sweep");
  EXPECT_EQ(refused(R"({"orrery": "table/1", "rows": [{"tp": "1"}]})"), "t.csv:1: rows[0]: has no status");
  EXPECT_EQ(refused(R"({"orrery": "table/1", "rows": [{"tp": "1", "status": "ok"}, {"pp": "1", "pq": "1", "status": "ok"}]})"),
            "t.csv:1: rows[1]: has other axes than the first row");
  EXPECT_EQ(refused("{\"orrery\": \"table/1\", \"rows\": [\n{\"tp\": \"1\", \"status\": \"ok\",\n\"speed\": 1}]}"),
            "t.csv:3: rows[0].speed: 'speed' is no column of a sweep");
}

TEST(SweepTable, SaysTheSameAsJson) {
  const SweepReport report = sweep({base(), {{"parallel.tp", {"2", "3"}}}});
  const auto j = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(j["rows"][0]["parallel.tp"], "2");
  EXPECT_EQ(j["rows"][0]["step_time_s"].get<double>(), report.rows[0].step_time_s);
  EXPECT_FALSE(j["rows"][1].contains("step_time_s"));
  EXPECT_EQ(j["cancelled"], false);
}

TEST(SweepTable, KeepsTheRowsDoneWhenItIsCancelled) {
  std::atomic<bool> cancel{false};
  SweepOptions options;
  options.threads = 1;
  options.cancel = &cancel;
  options.progress = [&](std::int64_t done, std::int64_t) { cancel = done == 2; };
  const SweepReport report = sweep({base(), {{"seed", {"1", "2", "3", "4"}}}}, options);
  EXPECT_TRUE(report.cancelled);
  EXPECT_EQ(report.rows.size(), 2U);
}

TEST(SweepDocument, IsReadInItsOwnOrder) {
  const Sweep s = read_sweep(R"({"orrery": "sweep/1", "model": "m", "cluster": "c", "set": ["seed=3"],
 "grid": {"schedule": ["1f1b"], "parallel.tp": [1, 2.5, true]}})",
                             "s.json");
  EXPECT_EQ(s.base.model, "m");
  EXPECT_EQ(s.base.cluster, "c");
  EXPECT_THAT(s.base.settings, ElementsAre("seed=3"));
  EXPECT_THAT(s.axes, ElementsAre(SweepAxis{"schedule", {"1f1b"}, "s.json: grid"}, SweepAxis{"parallel.tp", {"1", "2.5", "true"}, "s.json: grid"}));
}

TEST(SweepDocument, IsReadStrictly) {
  EXPECT_EQ(refusal(R"({"orrery": "sweep/2", "grid": {}})"),
            "s.json:1: is not a sweep\n  hint: begin with \"orrery\": \"sweep/1\"; a plan to sweep goes after --plan");
  EXPECT_EQ(refusal(R"({"orrery": "sweep/1", "gird": {}})"), "s.json:1: gird: is not a known field\n  hint: did you mean 'grid'?");
  EXPECT_EQ(refusal(R"({"orrery": "sweep/1"})"), "s.json:1: has no grid to sweep\n  hint: e.g. \"grid\": {\"parallel.tp\": [1, 2, 4]}");
  EXPECT_EQ(refusal(R"({"orrery": "sweep/1", "grid": {"seed": []}})"), "s.json:1: grid.seed: has no values\n  hint: give at least one");
  EXPECT_EQ(refusal(R"({"orrery": "sweep/1", "grid": {"seed": [null]}})"),
            "s.json:1: grid.seed[0]: null is not a value to try\n  hint: a number, a text, true or false");
  EXPECT_EQ(refusal(R"({"orrery": "sweep/1", "grid": {"": [1]}})"), "s.json:1: grid.: is not a path to set\n  hint: write it like \"parallel.tp\"");
  EXPECT_EQ(refusal(R"({"orrery": "sweep/1", "set": ["seed"], "grid": {"seed": [1]}})"),
            "s.json:1: set[0]: 'seed' is not PATH=VALUE\n  hint: write it like batch.micro=2");
  EXPECT_EQ(refusal(R"({"orrery": "sweep/1", "grid": {"seed": 3}})"), "s.json:1: grid.seed: 3 is not a list");
}

TEST(SweepAxisText, IsAPathAndValues) {
  EXPECT_EQ(parse_axis("parallel.tp=1,2,4"), (SweepAxis{"parallel.tp", {"1", "2", "4"}}));
  EXPECT_EQ(parse_axis("a=b=c"), (SweepAxis{"a", {"b=c"}}));
  for (const char* text : {"", "a", "=1", "a=", "a=1,", "a=,1", "a=1,,2"}) EXPECT_THROW(parse_axis(text), Error) << text;
}

}  // namespace
}  // namespace orrery::app
