#include "executor/comm/threads.h"

#include <gmock/gmock.h>

#include <exception>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "support/communicator_under_test.h"

namespace orrery::executor {

// The implementation that this binary tests.
void run_on_ranks(std::int64_t ranks, const std::function<void(Communicator&)>& body) {
  ThreadsWorld world(ranks);
  on_threads(0, ranks, [&](std::int64_t r) {
    const auto communicator = world.communicator(r);
    body(*communicator);
  });
}

namespace {

std::string failure(std::int64_t ranks, const std::function<void(Communicator&)>& body) {
  try {
    run_on_ranks(ranks, body);
  } catch (const Error& e) {
    return e.message();
  }
  return {};
}

TEST(ThreadsWorld, ADeadlockIsExplainedRankByRank) {
  const std::string what = failure(2, [](Communicator& c) {
    float x = 0;
    const std::int64_t pair[2] = {c.rank(), 1 - c.rank()};
    c.wait(c.start(operation(program::Operator::recv, pair, x)));
  });
  EXPECT_EQ(what,
            "deadlock: rank 0 waits for recv of 1 elements from rank 1 on channel 0; rank 1 waits for recv of 1 elements from rank 0 on channel 0");
}

TEST(ThreadsWorld, WaitingForARankThatHasLeftIsADeadlockToo) {
  const std::string what = failure(3, [](Communicator& c) {
    float x = 0;
    const std::int64_t all[3] = {0, 1, 2};
    if (c.rank() != 1) c.wait(c.start(operation(program::Operator::all_reduce, all, x)));
  });
  EXPECT_EQ(
      what,
      "deadlock: rank 0 waits for all_reduce of 1 elements among ranks 0,1,2 on stream 1; rank 2 waits for all_reduce of 1 elements among ranks "
      "0,1,2 on stream 1");
}

TEST(ThreadsWorld, MembersThatStartDifferentOperationsAreNamed) {
  const std::string what = failure(2, [](Communicator& c) {
    float x = 0;
    const std::int64_t all[2] = {0, 1};
    c.wait(c.start(operation(c.rank() == 0 ? program::Operator::all_reduce : program::Operator::broadcast, all, x)));
  });
  EXPECT_THAT(what, testing::HasSubstr("rank 0 starts all_reduce of 1 elements"));
  EXPECT_THAT(what, testing::HasSubstr("rank 1 starts broadcast of 1 elements"));
}

TEST(ThreadsWorld, ARankThatThrowsWithOperationsPendingDoesNotLeaveTheOthersWaiting) {
  std::atomic<int> told = 0;
  EXPECT_THROW(run_on_ranks(3,
                            [&](Communicator& c) {
                              float x = 0;
                              const std::int64_t all[3] = {0, 1, 2};
                              if (c.rank() == 0) {
                                c.start(operation(program::Operator::all_reduce, all, x, 1));
                                throw std::runtime_error("out of luck");
                              }
                              try {
                                c.wait(c.start(operation(program::Operator::all_reduce, all, x, 2)));
                              } catch (const Error&) {
                                ++told;
                                throw;
                              }
                            }),
               std::exception);
  EXPECT_EQ(told, 2);
}

TEST(ThreadsWorld, RefusesWhatItCannotDo) {
  run_on_ranks(2, [](Communicator& c) {
    float x = 0;
    const std::int64_t all[2] = {0, 1}, other[1] = {1 - c.rank()}, absent[2] = {c.rank(), 7};
    EXPECT_THROW(c.start(operation(program::Operator::all_reduce, other, x)), Error);
    EXPECT_THROW(c.start(operation(program::Operator::send, absent, x)), Error);
    EXPECT_THROW(c.start(operation(program::Operator::all_gather, all, x)), Error);  // one element has no two halves
    CommOperation o = operation(program::Operator::all_reduce, all, x);
    o.dtype = DType::fp8;
    EXPECT_THROW(c.start(o), Error);
  });
}

TEST(ThreadsWorld, OldTicketsAreForgottenWithoutHarm) {
  run_on_ranks(1, [](Communicator& c) {
    float x = 1;
    const std::int64_t me[1] = {0};
    const Ticket first = c.start(operation(program::Operator::all_reduce, me, x));
    for (int i = 0; i < 70000; ++i) c.start(operation(program::Operator::all_reduce, me, x));
    EXPECT_EQ(c.wait(first).end_ns, 0);
    EXPECT_EQ(x, 1);
  });
}

}  // namespace
}  // namespace orrery::executor
