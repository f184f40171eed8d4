#include "executor/comm/threads.h"

#include <gmock/gmock.h>

#include <exception>
#include <mutex>
#include <thread>

#include "comm/communicator_conformance.h"

namespace orrery::executor {
namespace {

struct Threads {
  void run(std::int64_t ranks, const std::function<void(Communicator&)>& body) {
    ThreadsWorld world(ranks);
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::exception_ptr first;
    for (std::int64_t r = 0; r < ranks; ++r)
      threads.emplace_back([&, r] {
        try {
          const auto communicator = world.communicator(r);
          body(*communicator);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
        }
      });
    for (std::thread& t : threads) t.join();
    if (first) std::rethrow_exception(first);
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Threads, CommunicatorConformance, Threads);

std::string failure(std::int64_t ranks, const std::function<void(Communicator&)>& body) {
  try {
    Threads{}.run(ranks, body);
  } catch (const Error& e) {
    return e.message();
  }
  return {};
}

CommOperation one_float(program::Operator op, std::span<const std::int64_t> members, float& x, std::uint8_t stream = 1) {
  CommOperation o;
  o.op = op;
  o.elements = 1;
  o.input = o.output = &x;
  o.members = members;
  o.stream = stream;
  return o;
}

TEST(ThreadsWorld, ADeadlockIsExplainedRankByRank) {
  const std::string what = failure(2, [](Communicator& c) {
    float x = 0;
    const std::int64_t pair[2] = {c.rank(), 1 - c.rank()};
    c.wait(c.start(one_float(program::Operator::recv, pair, x)));
  });
  EXPECT_EQ(what,
            "deadlock: rank 0 waits for recv of 1 elements from rank 1 on channel 0; rank 1 waits for recv of 1 elements from rank 0 on channel 0");
}

TEST(ThreadsWorld, WaitingForARankThatHasLeftIsADeadlockToo) {
  const std::string what = failure(3, [](Communicator& c) {
    float x = 0;
    const std::int64_t all[3] = {0, 1, 2};
    if (c.rank() != 1) c.wait(c.start(one_float(program::Operator::all_reduce, all, x)));
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
    c.wait(c.start(one_float(c.rank() == 0 ? program::Operator::all_reduce : program::Operator::broadcast, all, x)));
  });
  EXPECT_THAT(what, testing::HasSubstr("rank 0 starts all_reduce of 1 elements"));
  EXPECT_THAT(what, testing::HasSubstr("rank 1 starts broadcast of 1 elements"));
}

TEST(ThreadsWorld, ARankThatThrowsWithOperationsPendingDoesNotLeaveTheOthersWaiting) {
  std::atomic<int> told = 0;
  EXPECT_THROW(Threads{}.run(3,
                             [&](Communicator& c) {
                               float x = 0;
                               const std::int64_t all[3] = {0, 1, 2};
                               if (c.rank() == 0) {
                                 c.start(one_float(program::Operator::all_reduce, all, x, 1));
                                 throw std::runtime_error("out of luck");
                               }
                               try {
                                 c.wait(c.start(one_float(program::Operator::all_reduce, all, x, 2)));
                               } catch (const Error&) {
                                 ++told;
                                 throw;
                               }
                             }),
               std::exception);
  EXPECT_EQ(told, 2);
}

TEST(ThreadsWorld, RefusesWhatItCannotDo) {
  Threads{}.run(2, [](Communicator& c) {
    float x = 0;
    const std::int64_t all[2] = {0, 1}, other[1] = {1 - c.rank()}, absent[2] = {c.rank(), 7};
    EXPECT_THROW(c.start(one_float(program::Operator::all_reduce, other, x)), Error);
    EXPECT_THROW(c.start(one_float(program::Operator::send, absent, x)), Error);
    EXPECT_THROW(c.start(one_float(program::Operator::all_gather, all, x)), Error);  // one element has no two halves
    CommOperation o = one_float(program::Operator::all_reduce, all, x);
    o.dtype = DType::bf16;
    EXPECT_THROW(c.start(o), Error);
  });
}

TEST(ThreadsWorld, OldTicketsAreForgottenWithoutHarm) {
  Threads{}.run(1, [](Communicator& c) {
    float x = 1;
    const std::int64_t me[1] = {0};
    const Ticket first = c.start(one_float(program::Operator::all_reduce, me, x));
    for (int i = 0; i < 70000; ++i) c.start(one_float(program::Operator::all_reduce, me, x));
    EXPECT_EQ(c.wait(first).end_ns, 0);
    EXPECT_EQ(x, 1);
  });
}

}  // namespace
}  // namespace orrery::executor
