// A schedule on its own: costs as text, its JSON in the shape of the recorded replays, its picture, and the shipped documentation of them.
#include "app/schedule.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "support/temporary_folder.h"

namespace orrery::app {
namespace {

using Json = nlohmann::json;

ScheduleReport of(const std::string& name, std::int64_t ranks, std::int64_t microbatches, const std::string& costs = {}) {
  ScheduleRequest request;
  request.name = name, request.ranks = ranks, request.microbatches = microbatches, request.costs = costs;
  return schedule(request);
}

std::string refusal(const ScheduleRequest& request) {
  try {
    schedule(request);
  } catch (const Error& e) {
    return e.what();
  }
  return "was taken";
}

TEST(ParseCosts, MayBeFractionsAndLeaveOutWhatFollows) {
  EXPECT_EQ(parse_costs(""), (ScaledCosts{{.forward = 1, .input_grad = 1, .weight_grad = 1}, 1}));
  EXPECT_EQ(parse_costs("F=1,I=1.2,W=.8"), (ScaledCosts{{.forward = 5, .input_grad = 6, .weight_grad = 4}, 5}));  // fifths
  EXPECT_EQ(parse_costs("F=2,B=3"), (ScaledCosts{{.forward = 4, .input_grad = 3, .weight_grad = 3}, 2}));         // halves: I = W = 1.5
  EXPECT_EQ(parse_costs("B=3,I=1"), (ScaledCosts{{.forward = 1, .input_grad = 1, .weight_grad = 2}, 1}));
  EXPECT_EQ(parse_costs("B=3,W=1"), (ScaledCosts{{.forward = 1, .input_grad = 2, .weight_grad = 1}, 1}));
  EXPECT_EQ(parse_costs("F=10,I=12,W=8,FB=24,p2p=1"),
            (ScaledCosts{{.forward = 10, .input_grad = 12, .weight_grad = 8, .latency = 1, .forward_backward = 24}, 1}));
  EXPECT_EQ(parse_costs("F=0,I=0,W=0").costs.forward, 0);
}

TEST(ParseCosts, WhatIsNoTimeIsRefused) {
  const auto said = [](const std::string& text) {
    try {
      parse_costs(text);
    } catch (const Error& e) {
      return e.message();
    }
    return std::string("was taken");
  };
  EXPECT_EQ(said("F"), "'F' is not PASS=TIME");
  EXPECT_EQ(said("F=1,"), "'' is not PASS=TIME");
  EXPECT_EQ(said("G=1"), "'G' is not a pass");
  EXPECT_EQ(said("F=1,F=2"), "F is given twice");
  EXPECT_EQ(said("B=3,I=1,W=1"), "B is not I + W");
  EXPECT_EQ(said("B=1,I=2"), "B is not I + W");
  for (const char* time : {"", "-1", "1e3", "one", "1.2.3", ".", "1.0000001", "1000001", "99999999999999"})
    EXPECT_EQ(said(fmt::format("F={}", time)), fmt::format("F: '{}' is not a time", time));
}

// Golden values of the closed forms (tests/program/schedule_forms_test.cpp): 1F1B on 8 ranks with 32 micro-batches takes 32·3 + 7·3 = 117; ZB-H1
// 96 + 7·(1 + 1.2 − 0.8) = 105.8.
TEST(Schedule, TimesOfFractionsAreExact) {
  EXPECT_EQ(in_short(of("1f1b", 8, 32, "F=1,I=1.2,W=.8")),
            "makespan 117; at most 21 of it idle (17.9 %), 21 in the ranks' spans; activations 8 7 6 5 4 3 2 1");
  EXPECT_EQ(time_text(of("zb-h1", 8, 32, "F=1,I=1.2,W=.8"), of("zb-h1", 8, 32, "F=1,I=1.2,W=.8").replay.makespan), "105.8");
}

// Every recorded order and replay (tests/program/data) as one JSON case; its keys and their types are those of the recording.
TEST(Schedule, AsJsonHasTheShapeOfARecordedCase) {
  ScheduleRequest request;
  request.name = "dualpipe", request.ranks = 2, request.microbatches = 4, request.costs = "F=1,I=1,W=1,FB=3,p2p=0";
  const Json j = Json::parse(to_json(schedule(request)));
  EXPECT_EQ(j.at("schedule"), "dualpipe");
  EXPECT_EQ(j.at("P"), 2);
  EXPECT_EQ(j.at("M"), 4);
  EXPECT_EQ(j.at("chunks"), 1);
  EXPECT_EQ(j.at("args"), Json::array());
  EXPECT_EQ(j.at("stages"), 2);
  EXPECT_EQ(j.at("cost"), Json::parse(R"({"F": 1, "I": 1, "W": 1, "FB": 3, "p2p": 0})"));
  // The recorded line of rank 0, as recorded with these costs.
  EXPECT_EQ(j.at("ranks").at(0), Json::parse(R"([{"kind": "F", "items": [["F", 0, 0, 0]], "start": 0, "end": 1},
    {"kind": "F", "items": [["F", 1, 0, 1]], "start": 1, "end": 2}, {"kind": "F", "items": [["F", 0, 1, 0]], "start": 2, "end": 3},
    {"kind": "B", "items": [["B", 1, 0, 1]], "start": 3, "end": 5}, {"kind": "FB", "items": [["F", 1, 1, 1], ["B", 0, 0, 0]], "start": 5, "end": 8},
    {"kind": "B", "items": [["B", 1, 1, 1]], "start": 8, "end": 10}, {"kind": "I", "items": [["I", 0, 1, 0]], "start": 10, "end": 11},
    {"kind": "W", "items": [["W", 0, 1, 0]], "start": 11, "end": 12}])"));
  EXPECT_EQ(j.at("makespan"), 12);
  EXPECT_EQ(j.at("busy"), Json::parse("[12, 12]"));
  EXPECT_EQ(j.at("peak_until_W"), Json::parse("[3, 3]"));  // p + 1
  const Json split = Json::parse(to_json(of("seq1f1b", 2, 2)));
  EXPECT_EQ(split.at("ranks").at(0).at(1).at("items"), Json::parse(R"([["F", 0, 0, 0, 1]])"));  // the second split
  const Json fifths = Json::parse(to_json(of("1f1b", 1, 1, "F=1,I=1.2,W=.8")));
  EXPECT_EQ(fifths.at("cost").at("I"), 1.2);
  EXPECT_EQ(fifths.at("makespan"), 3);
}

// Under way, four ranks with one stage each are always busy; in stages of 2, 1 and 1 ranks the first two take turns, so that of four ranks three
// work.
TEST(Schedule, AsynchronousSchedulesHaveABubbleOfTheirSteadyState) {
  EXPECT_FALSE(of("1f1b", 4, 8).steady_bubble);
  EXPECT_DOUBLE_EQ(of("pipedream", 4, 8).steady_bubble.value(), 0);
  EXPECT_DOUBLE_EQ(of("pipedream-2bw", 4, 8, "F=1,I=1.2,W=.8").steady_bubble.value(), 0);
  ScheduleRequest r;
  r.name = "pipedream", r.ranks = 4, r.microbatches = 8, r.replicas = {2, 1, 1};
  EXPECT_DOUBLE_EQ(schedule(r).steady_bubble.value(), 0.25);
  EXPECT_DOUBLE_EQ(Json::parse(to_json(schedule(r))).at("steady_bubble"), 0.25);
}

TEST(Schedule, SaysWhichFlagIsAtFault) {
  ScheduleRequest r;
  r.name = "1f1";
  EXPECT_EQ(refusal(r), "orrery schedule: '1f1' is not a schedule\n  hint: did you mean '1f1b'?");
  r.name = "1f1b";
  EXPECT_EQ(refusal(r), "--ranks: schedule '1f1b' needs a number of ranks\n  hint: e.g. --ranks 4");
  r.ranks = 4;
  EXPECT_EQ(refusal(r), "--microbatches: schedule '1f1b' needs a number of microbatches\n  hint: e.g. --microbatches 8");
  r.microbatches = 8;
  r.splits = 2;
  EXPECT_EQ(refusal(r), "--splits: schedule '1f1b' has no sequence splits\n  hint: leave the splits out");
}

TEST(Schedule, AFaultOfAnOrderIsPartOfTheReport) {
  ScheduleRequest r;
  r.name = "1f1b", r.ranks = 4, r.microbatches = 8, r.memory_limit = 3;
  ASSERT_TRUE(schedule(r).fault);
  EXPECT_STREQ(schedule(r).fault->what(), "1f1b: rank 0 holds 4 activations at once, more than 3");
  const TemporaryFolder folder;
  folder.write("order.csv", "0F0,0F1,0B0,0B1\n1F0,1F1,1B1,1B0\n");
  r = {};
  r.name = (folder.path() / "order.csv").string();
  EXPECT_FALSE(schedule(r).fault);
  EXPECT_EQ(in_short(schedule(r)).substr(0, 12), "makespan 11;");  // 0F0 0F1 1F0 1F1 … 1B1 at 5, 1B0 at 7, 0B0 at 9, 0B1 at 11
  folder.write("order.csv", "0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1\n");
  ASSERT_TRUE(schedule(r).fault);
  EXPECT_EQ(schedule(r).fault->message().substr(0, 61), "deadlock: rank 0 in its pass 1 (backward of micro-batch 0) wa");
  folder.write("order.csv", "0F0,0F2,0B0,0B2\n1F0,1F2,1B0,1B2\n");
  ASSERT_TRUE(schedule(r).fault);
  EXPECT_EQ(schedule(r).fault->message(), "rank 0 never runs the forward of micro-batch 1");
  folder.write("order.csv", "0F0,0G0\n");
  EXPECT_NE(refusal(r).find("order.csv:1:2: '0G0': 'G' is not a type of action"), std::string::npos);
}

TEST(Schedule, AFileSaysItsSizesByItself) {
  const TemporaryFolder folder;
  folder.write("order.csv", "0F0,0B0\n1F0,1B0\n");
  ScheduleRequest r;
  r.name = (folder.path() / "order.csv").string();
  r.ranks = 2, r.microbatches = 1;
  EXPECT_EQ(refusal(r), "was taken");
  r.ranks = 3;
  EXPECT_NE(refusal(r).find("has 2 ranks, not 3"), std::string::npos);
  r.ranks = {}, r.group = 2;
  EXPECT_EQ(refusal(r), "--group: says nothing about a file, whose order is fixed\n  hint: leave it out");
}

// A cell for each pass that takes time, two for an overlapped pair, and one for the background; the legend has one for each kind.
TEST(Schedule, APictureHasACellForEveryPass) {
  const auto rectangles = [](const std::string& svg) {
    std::size_t n = 0;
    for (auto at = svg.find("<rect"); at != std::string::npos; at = svg.find("<rect", at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(rectangles(to_svg(of("1f1b", 4, 8))), 1 + 2 + 4 * 16U);
  EXPECT_EQ(rectangles(to_svg(of("1f1b", 4, 8, "F=0,I=1,W=1"))), 1 + 2 + 4 * 8U);
  EXPECT_EQ(rectangles(to_svg(of("zb-h1", 4, 8))), 1 + 3 + 4 * 24U);
  // 2 ranks, 4 micro-batches: the recorded rank has 7 passes and a pair.
  EXPECT_EQ(rectangles(to_svg(of("dualpipe", 2, 4))), 1 + 4 + 2 * 9U);
  EXPECT_THROW(to_svg(of("gpipe", 4, 30'000)), Error);
}

// "orrery schedule 1f1b --ranks 4 …" as docs/schedules.md has it.
ScheduleRequest request_of(const std::string& command) {
  std::istringstream words(command);
  ScheduleRequest r;
  std::string word, value;
  words >> word >> word >> r.name;
  while (words >> word >> value) {
    if (word == "--cost")
      r.costs = value;
    else if (word == "--ranks")
      r.ranks = std::stoll(value);
    else if (word == "--microbatches")
      r.microbatches = std::stoll(value);
    else if (word == "--chunks")
      r.chunks = std::stoll(value);
    else if (word == "--splits")
      r.splits = std::stoll(value);
    else if (word == "--memory-limit")
      r.memory_limit = std::stoll(value);
    else
      ADD_FAILURE() << word << " in " << command;
  }
  return r;
}

// After a change that is meant: tools/schedule_pictures, and the figures that this test prints.
TEST(Schedule, DocumentationShowsWhatTheProgramDraws) {
  const std::string folder = ORRERY_SOURCE_DIR "/docs/", text = read_text_file(folder + "schedules.md");
  std::istringstream lines(text);
  std::vector<std::string> shown;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("    orrery schedule ") || line.find("--csv") != std::string::npos) continue;
    const ScheduleRequest request = request_of(line);
    const ScheduleReport report = schedule(request);
    ASSERT_FALSE(report.fault) << line;
    shown.push_back(request.name);
    EXPECT_NE(text.find(line + "\n\n![](schedules/" + request.name + ".svg)\n\n" + in_short(report) + ".\n"), std::string::npos)
        << line << "\n"
        << in_short(report) << ".";
    EXPECT_TRUE(read_text_file(folder + "schedules/" + request.name + ".svg") == to_svg(report)) << line << ": draw the pictures again";
  }
  std::sort(shown.begin(), shown.end());
  EXPECT_EQ(shown, program::schedule_names());
}

}  // namespace
}  // namespace orrery::app
