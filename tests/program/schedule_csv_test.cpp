// Schedules as CSV files: what is written is read back the same, and what is wrong is said at its cell.
#include "program/schedules/csv.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/error.h"
#include "program/schedules/replay.h"
#include "tests/program/any_schedule.h"

namespace orrery::program {
namespace {

Schedule read(const std::string& text) { return read_schedule_csv(text, "order.csv"); }

// What a reader says about a text that it refuses.
std::string refusal(const std::string& text) {
  try {
    (void)read(text);
  } catch (const Error& e) {
    return e.what();
  }
  return "was taken";
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const auto at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what << " in\n" << text;
  return at == std::string::npos ? text : text.replace(at, what.size(), by);
}

// The form has no words for these.
bool can_be_written(const Schedule& s) { return s.placement != Placement::mirrored && s.splits == 1 && s.versions.empty() && s.replicas.empty(); }

RC_GTEST_PROP(ScheduleCsv, WhatIsWrittenIsReadBackTheSame, ()) {
  Schedule s = testing::any_schedule();
  RC_PRE(can_be_written(s));
  s.name = "csv";
  if (s.ranks == 1) s.placement = Placement::loop;  // where a vee is the same
  for (const CsvForm form : {CsvForm::compute, CsvForm::full}) {
    const std::string text = write_schedule_csv(s, form);
    const Schedule again = read(text);
    RC_ASSERT(again == s);
    RC_ASSERT(write_schedule_csv(again, form) == text);
  }
}

// Random damage to a full file is found, or leaves a file that says the same passes: nothing else.
RC_GTEST_PROP(ScheduleCsv, ADroppedActionOfTheFullFormIsFound, ()) {
  Schedule s = testing::any_schedule();
  RC_PRE(can_be_written(s) && s.ranks > 1);
  const std::string text = write_schedule_csv(s, CsvForm::full);
  std::vector<std::pair<std::size_t, std::size_t>> cells;  // begin, length with a separator
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = text.find_first_of(",\n", from);
    cells.emplace_back(from, to - from);
    from = to + 1;
  }
  const auto [from, length] = *rc::gen::elementOf(cells);
  const std::string cell = text.substr(from, length);
  std::string damaged = text;
  damaged.erase(from, length);
  if (cell.ends_with("RESHARD")) {  // parameters may stay, unless they come again
    return;
  }
  try {
    check(read(damaged));
    RC_FAIL(cell + " is not missed in\n" + damaged);
  } catch (const Error& e) {
    RC_ASSERT(!e.message().empty());
  }
}

// The grid by hand: F0 of rank 1 needs F0 of rank 0 done in an earlier step, B0 of rank 0 that of rank 1.
//   rank 0:  F0 F1 .  B0 .  B1
//   rank 1:  .  F0 B0 F1 B1
TEST(ScheduleCsv, TheComputeOnlyFormIsDrawnOnTheGridOfSteps) {
  const Schedule s = make_schedule("1f1b", {.ranks = 2, .microbatches = 2});
  EXPECT_EQ(write_schedule_csv(s, CsvForm::compute), "0F0,0F1,,0B0,,0B1\n,1F0,1B0,1F1,1B1\n");
}

// Each message directly after the pass that makes it, and in the other's line at the same time (rank 0's F1 is in the step of rank 1's F0, and of a
// lower rank); gradients after the last backward.
TEST(ScheduleCsv, TheFullFormNamesEveryMessage) {
  const Schedule s = make_schedule("1f1b", {.ranks = 2, .microbatches = 2});
  EXPECT_EQ(write_schedule_csv(s, CsvForm::full),
            "0UNSHARD,0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD,0RESHARD\n"
            "1RECV_F0,1RECV_F1,1UNSHARD,1F0,1B0,1SEND_B0,1F1,1B1,1SEND_B1,1REDUCE_GRAD,1RESHARD\n");
}

TEST(ScheduleCsv, AnOverlappedPairIsOneCell) {
  const Schedule s = make_schedule("dualpipev", {.ranks = 2, .microbatches = 4, .chunks = 2});
  const std::string text = write_schedule_csv(s, CsvForm::compute);
  EXPECT_NE(text.find("(3F2;0B0)OVERLAP_F_B"), std::string::npos) << text;
  Schedule again = read(text);
  again.name = s.name;
  EXPECT_EQ(again, s);
}

// As PyTorch's csv module writes on other systems: CRLF, quotes, spaces, no line break at the end.
TEST(ScheduleCsv, ReadsWhatOtherWritersWrite) {
  const Schedule expected = read("0F0,0F1,,0B0,,0B1\n,1F0,1B0,1F1,1B1\n");
  EXPECT_EQ(read("0F0,0F1,,0B0,,0B1\r\n\"\",1F0,1B0,\"1F1\", 1B1 ,,\r\n"), expected);
  EXPECT_EQ(read("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1"), expected);
}

TEST(ScheduleCsv, AStageIsOnTheRankThatRunsIt) {
  const Schedule vee = read("0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n");
  EXPECT_EQ(vee.placement, Placement::vee);
  EXPECT_EQ(vee.chunks, 2);
  EXPECT_EQ(vee.microbatches, 1);
  const Schedule loop = read("0F0,2F0,2B0,0B0\n1F0,3F0,3B0,1B0\n");
  EXPECT_EQ(loop.placement, Placement::loop);
  EXPECT_EQ(loop.chunks, 2);
}

TEST(ScheduleCsv, WhatIsNoActionIsRefusedAtItsCell) {
  const std::string rest = "\n1F0,1B0\n";
  EXPECT_EQ(refusal(""), "order.csv: is empty\n  hint: one line per rank, e.g. 0F0,0F1,0B0,0B1");
  EXPECT_EQ(refusal("0F0,,0X0" + rest), "order.csv:1:3: '0X0': 'X' is not a type of action\n  hint: did you mean 'F'?");
  EXPECT_EQ(refusal("0F0,0SEND_G0" + rest), "order.csv:1:2: '0SEND_G0': 'SEND_G' is not a type of action\n  hint: did you mean 'SEND_F'?");
  EXPECT_EQ(refusal("F0" + rest), "order.csv:1:1: 'F0' is not an action\n  hint: write stage, type and micro-batch, e.g. 2F4");
  EXPECT_EQ(refusal("0F0B0" + rest), "order.csv:1:1: '0F0B0' is not an action\n  hint: write stage, type and micro-batch, e.g. 2F4");
  EXPECT_EQ(refusal("0F-1" + rest), "order.csv:1:1: '0F-1': 'F-' is not a type of action\n  hint: did you mean 'F'?");
  EXPECT_EQ(refusal("0F" + rest), "order.csv:1:1: '0F' names no micro-batch\n  hint: write stage, type and micro-batch, e.g. 2F4");
  EXPECT_EQ(refusal("0F0,0UNSHARD3" + rest), "order.csv:1:2: '0UNSHARD3': UNSHARD is of a stage, not of a micro-batch\n  hint: write 0UNSHARD");
  EXPECT_EQ(refusal("0F70000" + rest), "order.csv:1:1: 70000 is more than 65534");
  EXPECT_EQ(refusal("0F99999999999999999999" + rest), "order.csv:1:1: 99999999999999999999 is more than 65534");
  const std::string pair = "\n  hint: write an overlapped pair like (7F4;0B0)OVERLAP_F_B";
  EXPECT_EQ(refusal("(0F0;0B0" + rest), "order.csv:1:1: '(0F0;0B0' has no closing bracket" + pair);
  EXPECT_EQ(refusal("(0F0)OVERLAP_F_B" + rest), "order.csv:1:1: '(0F0)OVERLAP_F_B' is not a pair" + pair);
  EXPECT_EQ(refusal("(0F0;0B0)OVERLAP" + rest), "order.csv:1:1: 'OVERLAP' is not what a pair can be" + pair);
  EXPECT_EQ(refusal("(0B0;0F0)OVERLAP_F_B" + rest), "order.csv:1:1: overlaps other passes than a forward and a whole backward, in this order" + pair);
  EXPECT_EQ(refusal("0F0,0B0\n\n1F0,1B0\n"), "order.csv:2: has no passes: every rank has at least one stage\n  hint: one line per rank");
}

TEST(ScheduleCsv, StagesThatNoPlacementHasAreRefused) {
  EXPECT_EQ(refusal("0F0,0B0\n1F0,0F1\n"), "order.csv:2:2: stage 0 is rank 1's here and rank 0's in line 1\n  hint: every stage is on one rank");
  EXPECT_EQ(refusal("0F0,0B0\n2F0,2B0\n"), "schedule: no rank runs stage 1, and there is a stage 2");
  EXPECT_EQ(refusal("0F0,0B0\n1F0,2F0,2B0,1B0\n"),
            "schedule: 3 stages on 2 ranks: some ranks have more than others\n  hint: every rank has as many stages");
  EXPECT_EQ(
      refusal("0F0,1F0,1B0,0B0\n2F0,3F0,3B0,2B0\n"),
      "order.csv:1:2: stage 1 is on rank 0\n  hint: built are stages in turn, which puts it on rank 1, and two on each rank in a vee (stage s, and "
      "stage 3 - s)");
}

// Completeness is told as check() tells it: by rank and micro-batch. A few cells that name a great many passes cost nothing.
TEST(ScheduleCsv, AMissingPassIsToldByRankAndMicroBatch) {
  EXPECT_EQ(refusal("0F0,0F2,0B0,0B2\n1F0,1F2,1B0,1B2\n"), "schedule: rank 0 never runs the forward of micro-batch 1");
  EXPECT_EQ(refusal("0F65534\n1F65534\n"), "schedule: rank 0 never runs the forward of micro-batch 0");
  const Schedule s = read("0F0,0F1,0B0\n1F0,1B0,1F1,1B1\n");
  try {
    check(s);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "rank 0 never runs the backward of micro-batch 1");
  }
}

// What is wrong with communication and data-parallel actions, in a file that is right otherwise.
TEST(ScheduleCsv, TheActionsOfTheFullFormAreChecked) {
  const std::string good = write_schedule_csv(make_schedule("1f1b", {.ranks = 2, .microbatches = 2}), CsvForm::full);
  //  cells:  1        2   3        4   5        6        7   8        9   10           11
  // rank 0:  0UNSHARD,0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD,0RESHARD
  // rank 1:  1RECV_F0,1RECV_F1,1UNSHARD,1F0,1B0,1SEND_B0,1F1,1B1,1SEND_B1,1REDUCE_GRAD,1RESHARD
  const auto with = [&](const std::string& what, const std::string& by) { return refusal(replaced(good, what, by)); };
  EXPECT_EQ(refusal(good), "was taken");
  EXPECT_EQ(with("0UNSHARD,", ""), "order.csv:1:1: 0F0 needs the parameters of stage 0, which are not there\n  hint: put 0UNSHARD before it");
  EXPECT_EQ(with("0F1,", "0UNSHARD,0F1,"), "order.csv:1:4: 0UNSHARD: the parameters are there already");
  EXPECT_EQ(with("0F1,", "0RESHARD,0F1,"), "order.csv:1:5: 0F1 needs the parameters of stage 0, which are not there\n  hint: put 0UNSHARD before it");
  EXPECT_EQ(with("0RESHARD", "0RESHARD,0RESHARD"), "order.csv:1:12: 0RESHARD: the parameters are not there");
  EXPECT_EQ(with("0UNSHARD", "1UNSHARD"), "order.csv:1:1: 1UNSHARD: rank 0 has no stage 1");
  EXPECT_EQ(with(",0REDUCE_GRAD", ""), "order.csv:1: the gradients of stage 0 are never reduced\n  hint: put 0REDUCE_GRAD after its last backward");
  EXPECT_EQ(with("0B1,0REDUCE_GRAD", "0REDUCE_GRAD,0B1"), "order.csv:1:9: 0REDUCE_GRAD comes before the last backward of stage 0, in cell 10");
  EXPECT_EQ(with("0REDUCE_GRAD", "0REDUCE_GRAD,0REDUCE_GRAD"), "order.csv:1:11: 0REDUCE_GRAD comes twice");
  EXPECT_EQ(with("0F0,0SEND_F0", "0SEND_F0,0F0"), "order.csv:1:2: 0SEND_F0 comes before the pass that makes what it sends");
  EXPECT_EQ(with("0SEND_F0,", ""), "order.csv:1:2: what it makes is never sent to rank 1\n  hint: put 0SEND_F0 after it");
  EXPECT_EQ(with("0SEND_F0", "0SEND_F0,0SEND_F0"), "order.csv:1:4: 0SEND_F0 comes twice");
  EXPECT_EQ(with("0SEND_F0", "0SEND_B0,0SEND_F0"), "order.csv:1:3: 0SEND_B0: there is no stage -1");
  EXPECT_EQ(with("0SEND_F0", "0SEND_F7,0SEND_F0"), "order.csv:1:3: 0SEND_F7: there are 2 micro-batches");
  EXPECT_EQ(with("1RECV_F0,", ""), "order.csv:2:3: 1F0 has not received what it needs\n  hint: put 1RECV_F0 before it");
  EXPECT_EQ(with("0RECV_B0,0B0", "0B0,0RECV_B0"), "order.csv:1:6: 0B0 has not received what it needs\n  hint: put 0RECV_B0 before it");
  // Both received before both are used, but not in the order in which rank 0 sends them.
  EXPECT_EQ(refusal(replaced(replaced(good, "1RECV_F1,", ""), "1RECV_F0", "1RECV_F1,1RECV_F0")),
            "order.csv:2:1: receives the result of 0F1 as message 1 from rank 0, which sends that of 0F0 (order.csv:1:3)\n"
            "  hint: both ends name their messages in the same order");
}

// Two neighbouring stages on one rank send nothing to each other.
TEST(ScheduleCsv, NothingIsSentWithinARank) {
  const std::string good = write_schedule_csv(make_schedule("zbv", {.ranks = 2, .microbatches = 3, .chunks = 2}), CsvForm::full);
  EXPECT_EQ(good.find("1SEND_F"), std::string::npos) << good;  // stages 1 and 2 are rank 1's
  EXPECT_EQ(refusal(replaced(good, "1F0,", "1F0,1SEND_F0,")).substr(0, 10), "order.csv:");
  EXPECT_NE(refusal(replaced(good, "1F0,", "1F0,1SEND_F0,")).find("1SEND_F0: stage 2 is on this rank too"), std::string::npos);
}

TEST(ScheduleCsv, WhatTheFormHasNoWordsForIsRefused) {
  const auto refused = [](const std::string& name, const ScheduleInput& input) {
    try {
      (void)write_schedule_csv(make_schedule(name, input), CsvForm::compute);
    } catch (const Error& e) {
      return e.message();
    }
    return std::string("was written");
  };
  EXPECT_EQ(refused("dualpipe", {.ranks = 2, .microbatches = 4}),
            "schedule 'dualpipe' has each stage on two ranks, and PyTorch's CSV has no words for that");
  EXPECT_EQ(refused("seq1f1b", {.ranks = 2, .microbatches = 4}), "schedule 'seq1f1b' has sequence splits, and PyTorch's CSV has no words for that");
  EXPECT_EQ(refused("pipedream", {.ranks = 2, .microbatches = 4}),
            "schedule 'pipedream' has several weight versions, and PyTorch's CSV has no words for that");
}

}  // namespace
}  // namespace orrery::program
