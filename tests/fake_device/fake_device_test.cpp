// The conformance tests of communicators and of devices on ranks that share a device that is not there: its queues run in any order that marks allow.
#include "support/fake_device.h"
#include "executor/kernels/low_precision.h"
#include "support/communicator_under_test.h"
#include "support/world_under_test.h"

namespace orrery::executor {

std::unique_ptr<World> world_under_test(std::int64_t ranks) {
  static const std::unique_ptr<KernelSet> fp32 = make_cpu_kernels(), kernels = make_rounding_kernels(*fp32);
  static std::atomic<std::uint64_t> seed{1};
  return std::make_unique<FakeWorld>(ranks, *kernels, seed++);
}

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
