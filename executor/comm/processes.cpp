#include "executor/comm/processes.h"

#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "executor/comm/messages.h"
#include "executor/comm/operations.h"

namespace orrery::executor {
namespace {

class ProcessesWorld final : public World {
 public:
  ProcessesWorld(std::unique_ptr<KeyStore> store, std::int64_t ranks, const KernelSet& kernels, std::int64_t local,
                 std::chrono::milliseconds deadline)
      : store_(std::move(store)), ranks_(ranks), local_(local), kernels_(kernels), messages_(*store_, ranks, deadline) {}

  std::int64_t ranks() const override { return ranks_; }
  std::vector<std::int64_t> here() const override {
    const std::int64_t first = first_rank(process(), ranks_, processes());
    std::vector<std::int64_t> all(static_cast<std::size_t>(first_rank(process() + 1, ranks_, processes()) - first));
    std::iota(all.begin(), all.end(), first);
    return all;
  }
  bool has(const program::Shape& shape) const override { return kernels_.has(shape); }
  bool emulates() const override { return true; }
  std::unique_ptr<Device> device(std::int64_t) override { return make_host_device(kernels_); }
  std::unique_ptr<Communicator> communicator(std::int64_t rank, Device&) override { return messages_.communicator(rank); }
  void abort(const std::string& why) override { messages_.abort(why); }
  std::int64_t memory() const override {
    return static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::int64_t>(sysconf(_SC_PAGESIZE)) / std::max<std::int64_t>(local_, 1);
  }
  std::int64_t process() const override { return store_->process(); }
  std::int64_t processes() const override { return store_->processes(); }
  std::vector<std::string> gather(const std::string& mine) override { return store_->gather("a step's end", mine); }
  std::vector<std::string> gather_at_first(const std::string& mine) override { return store_->gather("the run's end", mine, true); }
  std::int64_t clock_offset_ns() override { return store_->clock().offset_ns; }
  std::string failure() const override { return store_->failure(); }

 private:
  std::unique_ptr<KeyStore> store_;
  std::int64_t ranks_, local_;
  const KernelSet& kernels_;
  MessagesWorld messages_;
};

}  // namespace

std::unique_ptr<KeyStore> meet(const Launch& launch, std::chrono::milliseconds patience) {
  StoreSettings settings;
  settings.process = launch.process, settings.processes = launch.processes;
  if (!launch.address.empty()) settings.address = launch.address;
  settings.port = launch.port, settings.patience = patience;
  return std::make_unique<KeyStore>(settings);
}

std::unique_ptr<World> make_processes_world(std::unique_ptr<KeyStore> store, std::int64_t ranks, const KernelSet& kernels,
                                            std::int64_t local_processes, std::chrono::milliseconds deadline) {
  return std::make_unique<ProcessesWorld>(std::move(store), ranks, kernels, local_processes, deadline);
}

}  // namespace orrery::executor
