#include "program/check.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/program_fixtures.h"

namespace orrery::program {
namespace {

using namespace fixtures;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> lines(const Program& program) {
  std::vector<std::string> out;
  for (const Violation& v : check(program)) out.push_back(fmt::format("{}: {}", name(v.rule), v.what));
  return out;
}

TEST(Check, AGoodProgramHasNoViolation) { EXPECT_THAT(lines(two_stages()), IsEmpty()); }

// --- well_formed

TEST(Check, AnIndexOutOfRangeIsNamed) {
  Program p = two_stages();
  instruction(p, 0, kForward, 1).shape = 999;
  EXPECT_THAT(lines(p), ElementsAre("well_formed: stage 0's linear_forward (instruction 1 of forward) has shape 999, but there are 20"));
  p = two_stages();
  access(p, 1, kBackward, 0, 1).buffer = 77;
  EXPECT_THAT(lines(p), ElementsAre("well_formed: stage 1's linear_input_grad (instruction 0 of backward) touches buffer 77, but there are 6"));
  p = two_stages();
  p.roles[0].body[2].microbatch = 2;
  EXPECT_THAT(lines(p), ElementsAre("well_formed: stage 0 runs release of micro-batch 2, but a step has 2"));
  p = two_stages();
  instruction(p, 0, kForward, 2).group = 4;
  EXPECT_THAT(lines(p), ElementsAre("well_formed: stage 0's send (instruction 2 of forward) names group 4, but there are 1"));
  p = two_stages();
  instruction(p, 0, kForward, 2).stream = 9;
  EXPECT_THAT(lines(p), ElementsAre("well_formed: stage 0's send (instruction 2 of forward) is on stream 9, but there are 4"));
  p = two_stages();
  p.roles.pop_back();
  EXPECT_THAT(lines(p)[0], "well_formed: 1 roles for 2 pipeline stages");
}

TEST(Check, ADependencyOnALaterInstructionIsNamed) {
  Program p = two_stages();
  p.roles[0].dependencies[instruction(p, 0, kForward, 2).dependencies] = after(2);
  EXPECT_THAT(lines(p), ElementsAre("well_formed: stage 0's send (instruction 2 of forward) depends on instruction 2, which is issued later"));
}

TEST(Check, AccessesThatTheOperatorDoesNotDocumentAreNamed) {
  Program p = two_stages();
  access(p, 0, kForward, 1, 2).mode = AccessMode::update;
  EXPECT_THAT(
      lines(p),
      ElementsAre(
          "well_formed: stage 0's linear_forward (instruction 1 of forward) touches 3 buffers, not in the order that its operator documents"));
}

TEST(Check, ABufferTooSmallForItsOperatorIsNamed) {
  Program p = two_stages();
  p.roles[0].buffers[4].elements = 31;  // y, 4 tokens of 8
  EXPECT_THAT(lines(p), ElementsAre("well_formed: stage 0's linear_forward (instruction 1 of forward) needs 32 elements of y, which has 31",
                                    "well_formed: stage 0's send (instruction 2 of forward) needs 32 elements of y, which has 31"));
}

TEST(Check, AnAliasBeyondItsOwnerIsNamed) {
  Program p = two_stages();
  Buffer& y = p.roles[1].buffers[4];
  y.alias = 3;  // x
  y.alias_offset = 64;
  y.bytes = 0;
  EXPECT_THAT(lines(p)[0], "well_formed: stage 1's buffer y covers bytes 64 to 192 of x, which has 128");
  y.alias = 4;
  EXPECT_THAT(lines(p)[0], "well_formed: stage 1's buffer y is an alias of itself");
}

TEST(Check, AMarkOnAPersistentBufferIsNamed) {
  Program p = two_stages();
  access(p, 0, kForward, 1, 1).last = true;
  EXPECT_THAT(lines(p), ElementsAre("well_formed: stage 0 marks W as allocated or freed, but it is persistent"));
}

// --- matched_point_to_point

void make_wait(Instruction& it) {
  it.opcode = Opcode::wait;
  it.op = Operator::wait;
}

TEST(Check, ASendThatNobodyReceivesIsNamed) {
  Program p = two_stages();
  p.roles[1].body.erase(p.roles[1].body.begin() + 3, p.roles[1].body.begin() + 6);  // stage 1 runs micro-batch 0 only
  EXPECT_THAT(
      lines(p),
      ElementsAre("matched_point_to_point: stage 0's send (instruction 2 of forward of micro-batch 0 in step 2) sends to stage 1 on channel 0, "
                  "which never receives it: 4 sends for 2 receives",
                  "matched_point_to_point: stage 0's recv (instruction 0 of backward of micro-batch 0 in step 2) receives from stage 1 on "
                  "channel 0, which never sends it: 4 receives for 2 sends"));
}

TEST(Check, AChannelThatDiffersLeavesBothEndsAlone) {
  Program p = two_stages();
  instruction(p, 1, kForward, 0).channel = 1;
  const auto got = lines(p);
  ASSERT_EQ(got.size(), 2U);
  EXPECT_THAT(got[0], HasSubstr("stage 0's send (instruction 2 of forward of micro-batch 0) sends to stage 1 on channel 0, which never receives it"));
  EXPECT_THAT(got[1],
              HasSubstr("stage 1's recv (instruction 0 of forward of micro-batch 0) receives from stage 0 on channel 1, which never sends it"));
}

TEST(Check, EndsThatDisagreeOnBytesAreNamed) {
  Program p = two_stages();
  p.shapes[instruction(p, 1, kForward, 0).shape].bytes = 64;
  EXPECT_THAT(lines(p),
              ElementsAre("matched_point_to_point: stage 0's send (instruction 2 of forward of micro-batch 0) sends 128 bytes on channel 0, but "
                          "stage 1's recv (instruction 0 of forward of micro-batch 0) expects 64"));
}

// --- collective_order

TEST(Check, StagesThatReduceDifferentSizesAreNamed) {
  Program p = two_stages();
  p.shapes[instruction(p, 1, kStep, 2).shape].dims[0] = 2;
  p.roles[1].buffers[2].elements = 2;  // the norm
  p.roles[1].buffers[2].bytes = 16;
  for (const std::uint32_t i : {0U, 1U}) p.shapes[instruction(p, 1, kStep, i).shape].dims[0] = 2;
  EXPECT_THAT(lines(p),
              ElementsAre("collective_order: operation 0 in group 0 (pp) differs: stage 0's all_reduce (instruction 2 of step) has 1 elements, stage "
                          "1's all_reduce (instruction 2 of step) has 2 elements"));
}

TEST(Check, AStageThatDoesNotReduceIsNamed) {
  Program p = two_stages();
  make_wait(instruction(p, 1, kStep, 2));
  EXPECT_THAT(lines(p),
              ElementsAre("collective_order: operation 0 in group 0 (pp) differs: stage 0's all_reduce (instruction 2 of step) has 1 elements, stage "
                          "1 has none"));
}

TEST(Check, AStageOutsideTheEmbeddingGroupMayNotUseIt) {
  Program p = two_stages();
  p.roles.push_back(p.roles[1]);
  p.roles[2].name = "stage 2";
  p.roles[2].stage = 2;
  p.mesh = dense_mesh(1, 1, 1, 3);
  p.groups[0].part = Group::Part::ends;
  const auto got = lines(p);
  ASSERT_FALSE(got.empty());
  EXPECT_THAT(got, ::testing::Contains(
                       "collective_order: stage 1's all_reduce (instruction 2 of step) is in group 0 (embedding), to which stage 1 does not belong"));
}

// --- deadlock

TEST(Check, OrdersThatWaitForEachOtherAreADeadlock) {
  Program p = two_stages();
  // Stage 0 wants the gradient of micro-batch 0 before it sends micro-batch 1; stage 1 wants micro-batch 1 before it turns micro-batch 0 back.
  p.roles[0].body = {{kForward, 0}, {kBackward, 0}, {kRelease, 0}, {kForward, 1}, {kBackward, 1}, {kRelease, 1}, {kStep, 0}};
  p.roles[1].body = {{kForward, 0}, {kForward, 1}, {kBackward, 0}, {kBackward, 1}, {kRelease, 0}, {kRelease, 1}, {kStep, 0}};
  const std::string recv0 = "stage 0's recv (instruction 0 of backward of micro-batch 0)",
                    send1 = "stage 1's send (instruction 2 of backward of micro-batch 0)",
                    grad1 = "stage 1's linear_input_grad (instruction 0 of backward of micro-batch 0)",
                    linear1 = "stage 1's linear_forward (instruction 1 of forward of micro-batch 1)",
                    recv1 = "stage 1's recv (instruction 0 of forward of micro-batch 1)",
                    send0 = "stage 0's send (instruction 2 of forward of micro-batch 1)",
                    linear0 = "stage 0's linear_forward (instruction 1 of forward of micro-batch 1)",
                    grad0 = "stage 0's linear_weight_grad (instruction 1 of backward of micro-batch 0)";
  EXPECT_THAT(lines(p), ElementsAre(fmt::format(
                            "deadlock: {0} meets {1}; {1} waits for {2}; {2} comes on stream compute after {3}; {3} waits for {4}; {4} meets {5}; "
                            "{5} waits for {6}; {6} comes on stream compute after {7}; {7} waits for {0}",
                            recv0, send1, grad1, linear1, recv1, send0, linear0, grad0)));
}

// A second role list in which stage 0 receives the gradient of micro-batch 0, and makes a stream wait for it, before it sends micro-batch 1.
Program early_wait(Opcode opcode) {
  Program p = two_stages();
  RoleWriter w{&p, p.roles[0]};
  const std::uint16_t early = w.pass("early wait", PassKind::receive_backward);
  const std::uint32_t dy = 5;
  w.communicate(kRecv, 0, sized(Operator::recv, {32}), {first(write(dy))}, {on_stream(kComputeStream)}, 1);
  w.add(opcode, kRecv, {.op = Operator::wait}, {}, {after(0)});
  const std::uint16_t rest = w.pass("rest of backward", PassKind::backward);
  w.compute(sized(Operator::linear_weight_grad, {4, 8, 8}), {last(read(3)), last(read(dy)), update(1)}, {on_stream(kRecv)});
  w.role.body = {{kForward, 0}, {early, 0}, {kForward, 1}, {rest, 0}, {kRelease, 0}, {kBackward, 1}, {kRelease, 1}, {kStep, 0}};
  p.roles[0] = w.role;
  p.roles[1].body = {{kForward, 0}, {kForward, 1}, {kBackward, 0}, {kBackward, 1}, {kRelease, 0}, {kRelease, 1}, {kStep, 0}};
  return p;
}

TEST(Check, AThreadThatBlocksOnAWaitDeadlocksWhereStreamsDoNot) {
  const auto got = lines(early_wait(Opcode::wait));
  ASSERT_EQ(got.size(), 1U);
  EXPECT_THAT(got[0], HasSubstr("deadlock: with one blocking thread per rank: "));
  EXPECT_THAT(
      got[0],
      HasSubstr("stage 0's send (instruction 2 of forward of micro-batch 1) is not issued before stage 0's wait (instruction 1 of early wait of "
                "micro-batch 0)"));
}

TEST(Check, AHostWaitHoldsTheHostUnderStreamsToo) {
  const auto got = lines(early_wait(Opcode::host_wait));
  ASSERT_EQ(got.size(), 1U);
  EXPECT_THAT(got[0], HasSubstr("deadlock: stage "));
  EXPECT_THAT(got[0], HasSubstr("is not issued before stage 0's host_wait (instruction 1 of early wait of micro-batch 0)"));
}

// Both stages send to each other on one stream before they receive on the same stream: each send waits for a recv behind the other's send.
TEST(Check, SendsThatMeetHeadOnAreADeadlock) {
  Program p = two_stages();
  for (std::size_t stage : {0U, 1U}) {
    RoleWriter w{&p, p.roles[stage]};
    const std::uint32_t out = w.buffer("out", Lifetime::pass, 4), in = w.buffer("in", Lifetime::pass, 4);
    const std::int8_t peer = stage == 0 ? 1 : -1;
    const std::uint16_t exchange = w.pass("exchange", PassKind::forward);
    w.compute(sized(Operator::zero, {4}), {first(write(out))});
    w.communicate(kSend, 0, sized(Operator::send, {4}), {read(out)}, {after(0)}, peer, 7);
    w.communicate(kSend, 0, sized(Operator::recv, {4}), {first(write(in))}, {after(0)}, peer, 7);
    w.add(Opcode::wait, kComputeStream, {.op = Operator::wait}, {last(read(in)), last(read(out))}, {after(2)});
    w.role.body = {{exchange, 0}};
    p.roles[stage] = w.role;
  }
  EXPECT_THAT(lines(p),
              ElementsAre("deadlock: stage 0's send (instruction 1 of exchange of micro-batch 0) meets stage 1's recv (instruction 2 of exchange of "
                          "micro-batch 0); stage 1's recv (instruction 2 of exchange of micro-batch 0) comes on stream send after stage 1's send "
                          "(instruction 1 of exchange of micro-batch 0); stage 1's send (instruction 1 of exchange of micro-batch 0) meets stage 0's "
                          "recv (instruction 2 of exchange of micro-batch 0); stage 0's recv (instruction 2 of exchange of micro-batch 0) comes on "
                          "stream send after stage 0's send (instruction 1 of exchange of micro-batch 0)"));
}

// --- written_before_read

TEST(Check, ABufferReadBeforeItWasWrittenIsNamed) {
  Program p = two_stages();
  // Stage 0's forward reads x from the pass before it was zeroed: the mark moves with it.
  Role& role = p.roles[0];
  std::swap(instruction(p, 0, kForward, 0), instruction(p, 0, kForward, 1));
  role.dependencies[instruction(p, 0, kForward, 2).dependencies] = after(0);
  EXPECT_THAT(lines(p),
              ::testing::Contains(
                  "written_before_read: stage 0's linear_forward (instruction 0 of forward of micro-batch 0) reads x, which was never written"));
}

TEST(Check, ABufferWrittenInPartIsNotWritten) {
  Program p = two_stages();
  RoleWriter w{&p, p.roles[0]};
  const std::uint32_t half = w.view("half of x", 3, 0, 16);
  p.roles[0] = w.role;
  access(p, 0, kForward, 0, 0).buffer = half;
  p.shapes[instruction(p, 0, kForward, 0).shape].dims[0] = 16;
  EXPECT_THAT(
      lines(p),
      ElementsAre("written_before_read: stage 0's linear_forward (instruction 1 of forward of micro-batch 0) reads x, which was never written whole",
                  "written_before_read: stage 0's linear_weight_grad (instruction 1 of backward of micro-batch 0) reads x, which was never "
                  "written whole"));
}

TEST(Check, TwoHalvesWrittenMakeAWhole) {
  Program p = two_stages();
  RoleWriter w{&p, p.roles[0]};
  const std::uint32_t x = 3, low = w.view("low half of x", x, 0, 16), high = w.view("high half of x", x, 16, 16);
  const std::uint16_t forward = w.pass("forward in halves", PassKind::forward);
  w.compute(sized(Operator::zero, {16}), {first(write(low))});
  w.compute(sized(Operator::zero, {16}), {write(high)});
  w.compute(sized(Operator::linear_forward, {4, 8, 8}), {read(x), read(0), first(write(4))});
  w.communicate(kSend, 0, sized(Operator::send, {32}), {read(4)}, {after(2)}, 1).signal = 0;
  w.role.body[0].pass = w.role.body[1].pass = forward;
  p.roles[0] = w.role;
  EXPECT_THAT(lines(p), IsEmpty());
}

TEST(Check, AReadOfWhatAnotherStreamWritesNeedsADependency) {
  Program p = two_stages();
  instruction(p, 0, kBackward, 1).dependency_count = 0;
  const auto got = lines(p);
  EXPECT_THAT(
      got, ElementsAre(
               "written_before_read: stage 0's linear_weight_grad (instruction 1 of backward of micro-batch 0) reads dy, which stage 0's recv "
               "(instruction 0 of backward of micro-batch 0) writes on stream recv: nothing orders the two",
               "freed_once: stage 0's linear_weight_grad (instruction 1 of backward of micro-batch 0) frees dy while stage 0's recv (instruction 0 "
               "of backward of micro-batch 0) may still use it on stream recv"));
}

TEST(Check, AWriteOverWhatAnotherStreamReadsNeedsADependency) {
  Program p = two_stages();
  // The norm's reduction reads the gradient itself on its own stream, and the step that zeroes it does not wait.
  Instruction& reduce = instruction(p, 0, kStep, 2);
  access(p, 0, kStep, 2, 0).buffer = 1;
  instruction(p, 0, kStep, 3).dependency_count = 0;
  (void)reduce;
  EXPECT_THAT(lines(p), ::testing::Contains(HasSubstr(
                            "stage 0's optimizer_step (instruction 3 of step) reads dW, which stage 0's all_reduce (instruction 2 of step) writes "
                            "on stream reduce: nothing orders the two")));
}

TEST(Check, AnEventOrdersWhatCrossesTheEndOfAStep) {
  // The optimizer's update is gathered on another stream; the next step's forward must wait for it, and does so by an event.
  Program p = two_stages();
  RoleWriter w{&p, p.roles[0]};
  const std::uint16_t gathered = w.event("parameters gathered", false);
  const std::uint16_t gather = w.pass("gather", PassKind::optimizer);
  w.communicate(kReduce, 1, sized(Operator::broadcast, {64}), {update(0)}, {on_stream(kComputeStream)}).signal = gathered;
  w.role.body.push_back({gather, 0});
  p.groups.push_back({.axes = kDpAxes});
  p.group_class.push_back(WorkClass::dp_comm);
  p.roles[0] = w.role;
  EXPECT_THAT(
      lines(p),
      ElementsAre("written_before_read: stage 0's linear_forward (instruction 1 of forward of micro-batch 0 in step 2) reads W, which stage 0's "
                  "broadcast (instruction 0 of gather) writes on stream reduce: nothing orders the two"));
  Instruction& forward = instruction(p, 0, kForward, 1);
  forward.dependencies = static_cast<std::uint32_t>(p.roles[0].dependencies.size());
  forward.dependency_count = 1;
  p.roles[0].dependencies.push_back(on_event(gathered));
  EXPECT_THAT(lines(p), IsEmpty());
}

// --- freed_once

TEST(Check, ABufferFreedTwiceIsNamed) {
  Program p = two_stages();
  access(p, 1, kBackward, 0, 0).last = true;  // y, which the weight gradient reads and frees again
  EXPECT_THAT(lines(p), ElementsAre("freed_once: stage 1's linear_weight_grad (instruction 1 of backward of micro-batch 0) reads y, which stage 1's "
                                    "linear_input_grad (instruction 0 of backward of micro-batch 0) freed before"));
}

TEST(Check, ALeakIsNamed) {
  Program p = two_stages();
  access(p, 0, kBackward, 1, 1).last = false;  // dy
  EXPECT_THAT(
      lines(p),
      ElementsAre("freed_once: stage 0's recv (instruction 0 of backward of micro-batch 0) allocates dy, which nothing frees by the end of step 1"));
}

TEST(Check, AFreeWithoutAnAllocationIsNamed) {
  Program p = two_stages();
  access(p, 0, kForward, 1, 2).first = false;  // y
  EXPECT_THAT(lines(p),
              ElementsAre("freed_once: stage 0's linear_forward (instruction 1 of forward of micro-batch 0) writes y, which was never allocated",
                          "written_before_read: stage 0's send (instruction 2 of forward of micro-batch 0) reads y, which was never written",
                          "written_before_read: stage 0's wait (instruction 0 of release of micro-batch 0) reads y, which was never written",
                          "freed_once: stage 0's wait (instruction 0 of release of micro-batch 0) frees y, which was never allocated"));
}

TEST(Check, AnAllocationOverALiveInstanceIsNamed) {
  Program p = two_stages();
  access(p, 0, kForward, 1, 0).first = true;  // x, which the zero before it allocated
  EXPECT_THAT(lines(p), ::testing::Contains(
                            "freed_once: stage 0's linear_forward (instruction 1 of forward of micro-batch 0) allocates x, which stage 0's zero "
                            "(instruction 0 of forward of micro-batch 0) allocated and nothing freed since"));
}

TEST(Check, AFreeWaitsForTheUseOnAnotherStream) {
  Program p = two_stages();
  instruction(p, 1, kRelease, 0).dependency_count = 0;
  EXPECT_THAT(
      lines(p),
      ElementsAre(
          "freed_once: stage 1's wait (instruction 0 of release of micro-batch 0) frees dx while stage 1's send (instruction 2 of backward of "
          "micro-batch 0) may still use it on stream send"));
}

TEST(Check, AnAllocationWaitsForWhatMayStillUseFreedMemory) {
  Program p = two_stages();
  instruction(p, 0, kBackward, 0).dependency_count = 0;
  // Stage 0's first recv may be given the memory of y of micro-batch 0, which the compute stream frees.
  EXPECT_THAT(lines(p),
              ElementsAre("freed_once: stage 0's recv (instruction 0 of backward of micro-batch 0) allocates dy without waiting for stage 0's wait "
                          "(instruction 0 of release of micro-batch 0), which may still use memory that it frees"));
  p = two_stages();
  // Freed by the send itself, dx of stage 1 may come to the next allocation while it is still being sent.
  access(p, 1, kBackward, 2, 0).last = true;
  instruction(p, 1, kRelease, 0).access_count = 0;
  instruction(p, 1, kRelease, 0).dependency_count = 0;
  const auto got = lines(p);
  ASSERT_FALSE(got.empty());
  EXPECT_EQ(got[0],
            "freed_once: stage 1's recv (instruction 0 of forward of micro-batch 1) allocates x without waiting for stage 1's send (instruction 2 of "
            "backward of micro-batch 0), which may still use memory that it frees");
}

}  // namespace
}  // namespace orrery::program
