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
  on_threads(0, ranks, [&](std::int64_t r) {
    const std::unique_ptr<Communicator> communicator = world.communicator(r);
    body(*communicator);
  });
}

}  // namespace orrery::executor
