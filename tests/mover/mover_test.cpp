// The conformance tests of communicators on ranks that share a (fake) device: its queues run in any order that the marks allow.
#include "support/communicator_under_test.h"
#include "support/fake_device.h"

namespace orrery::executor {

void run_on_ranks(std::int64_t ranks, const std::function<void(Communicator&)>& body) {
  static std::atomic<std::uint64_t> seed{1};
  FakeMachine machine(seed++);
  ThreadsWorld world(ranks, std::make_unique<FakeMover>(machine, true));
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::exception_ptr first;
  for (std::int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        const std::unique_ptr<Communicator> communicator = world.communicator(r);
        body(*communicator);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
      }
    });
  for (std::thread& t : threads) t.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace orrery::executor
