#include "executor/comm/messages.h"

#include <gmock/gmock.h>

#include "executor/comm/operations.h"
#include "processes.h"
#include "support/communicator_under_test.h"

namespace orrery::executor {

// The implementation that this binary tests: up to three processes (here they are threads, each with a store's end and sockets of its own), with
// consecutive ranks.
void run_on_ranks(std::int64_t ranks, const std::function<void(Communicator&)>& body) {
  std::mutex mutex;
  std::exception_ptr first;
  in_threads(std::min<std::int64_t>(ranks, 3), [&](KeyStore& store) {
    MessagesWorld world(store, ranks);
    std::vector<std::thread> threads;
    for (std::int64_t r = first_rank(store.process(), ranks, store.processes()); r < first_rank(store.process() + 1, ranks, store.processes()); ++r)
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
    return std::string();
  });
  if (first) std::rethrow_exception(first);
}

namespace {

using program::Operator;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Operations, RanksLieInProcessesOneAfterAnother) {
  for (std::int64_t processes = 1; processes <= 7; ++processes)
    for (std::int64_t ranks = processes; ranks <= 20; ++ranks) {
      EXPECT_EQ(first_rank(0, ranks, processes), 0);
      EXPECT_EQ(first_rank(processes, ranks, processes), ranks);
      for (std::int64_t p = 0; p < processes; ++p) {
        const std::int64_t count = first_rank(p + 1, ranks, processes) - first_rank(p, ranks, processes);
        EXPECT_GE(count, ranks / processes);
        EXPECT_LE(count, ranks / processes + 1);
        for (std::int64_t r = first_rank(p, ranks, processes); r < first_rank(p + 1, ranks, processes); ++r)
          EXPECT_EQ(process_of(r, ranks, processes), p);
      }
    }
}

TEST(MessagesWorld, WhoDoesNotComeIsNamedWithTheOperation) {
  const auto results = in_threads(2, [](KeyStore& store) {
    MessagesWorld world(store, 2, std::chrono::milliseconds{store.process() == 0 ? 100 : 19'000});
    const auto c = world.communicator(store.process());
    float x = 0;
    const std::int64_t all[2] = {0, 1};
    c->wait(c->start(operation(Operator::all_reduce, all, x, store.process() == 0 ? 1 : 2)));
    return std::string();
  });
  EXPECT_THAT(results, ElementsAre("communicator: rank 0: all_reduce of 1 elements among ranks 0,1 on stream 1: rank 1 did not come within 0.1 s",
                                   "communicator: rank 0: all_reduce of 1 elements among ranks 0,1 on stream 1: rank 1 did not come within 0.1 s"));
}

TEST(MessagesWorld, TheDeathOfAProcessEndsTheOthers) {
  const auto results = in_processes(3, [](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    KeyStore store(settings, meeting);
    MessagesWorld world(store, 3);
    const auto c = world.communicator(settings.process);
    const std::int64_t all[3] = {0, 1, 2};
    float x = 1;
    c->wait(c->start(operation(Operator::all_reduce, all, x)));
    if (x != 3) return std::string("wrong");
    if (settings.process == 1) _exit(9);
    c->wait(c->start(operation(Operator::all_reduce, all, x)));
    return std::string("came to an end");
  });
  EXPECT_THAT(results, ElementsAre("communicator: process 1 of 3 has died", "", "communicator: process 1 of 3 has died"));
}

TEST(MessagesWorld, LeavingWithOperationsPendingAbortsTheOthers) {
  const auto results = in_threads(2, [](KeyStore& store) {
    MessagesWorld world(store, 2);
    const auto c = world.communicator(store.process());
    float x = 0, y = 0;
    const std::int64_t all[2] = {0, 1}, pair[2] = {1, 0};
    if (store.process() == 1) {
      c->start(operation(Operator::recv, pair, y));
      return std::string();
    }
    c->wait(c->start(operation(Operator::all_reduce, all, x)));
    return std::string();
  });
  EXPECT_THAT(results, ElementsAre("communicator: rank 1 left with operations pending", ""));
}

TEST(MessagesWorld, MembersWhoDoDifferentThingsAreTold) {
  const auto results = in_threads(2, [](KeyStore& store) {
    MessagesWorld world(store, 2);
    const auto c = world.communicator(store.process());
    std::vector<float> x(8);
    const std::int64_t all[2] = {0, 1};
    c->wait(c->start(operation(Operator::all_reduce, all, store.process() == 0 ? 4 : 8, x.data(), x.data())));
    return std::string();
  });
  EXPECT_THAT(results[0] + results[1], HasSubstr("are wanted: it does another operation"));
}

TEST(MessagesWorld, MoreProcessesThanRanksAreRefused) {
  const auto results = in_threads(2, [](KeyStore& store) {
    MessagesWorld world(store, 1);
    return std::string();
  });
  EXPECT_EQ(results[0], "processes: 2 processes were started, and there are 1 ranks\n  hint: start no more processes than ranks");
}

}  // namespace
}  // namespace orrery::executor
