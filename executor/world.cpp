#include "executor/world.h"

#include <unistd.h>

#include <numeric>

#include "executor/comm/threads.h"

namespace orrery::executor {
namespace {

class HostWorld final : public World {
 public:
  HostWorld(std::int64_t ranks, const KernelSet& kernels) : ranks_(ranks), kernels_(kernels), threads_(ranks) {}
  std::int64_t ranks() const override { return ranks_; }
  std::vector<std::int64_t> here() const override {
    std::vector<std::int64_t> all(static_cast<std::size_t>(ranks_));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    return all;
  }
  bool has(const program::Shape& shape) const override { return kernels_.has(shape); }
  bool emulates() const override { return true; }
  std::unique_ptr<Device> device(std::int64_t) override { return make_host_device(kernels_); }
  std::unique_ptr<Communicator> communicator(std::int64_t rank, Device&) override { return threads_.communicator(rank); }
  void abort(const std::string& why) override { threads_.abort(why); }
  std::int64_t memory() const override {
    return static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::int64_t>(sysconf(_SC_PAGESIZE));
  }

 private:
  std::int64_t ranks_;
  const KernelSet& kernels_;
  ThreadsWorld threads_;
};

}  // namespace

std::unique_ptr<World> make_host_world(std::int64_t ranks, const KernelSet& kernels) { return std::make_unique<HostWorld>(ranks, kernels); }

}  // namespace orrery::executor
