#include "executor/device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "program/arena.h"

namespace orrery::executor {
namespace {

class HostDevice final : public Device {
 public:
  explicit HostDevice(const KernelSet& kernels) : kernels_(kernels) {}
  ~HostDevice() override {
    for (std::byte* p : blocks_) std::free(p);
  }
  HostDevice(const HostDevice&) = delete;
  HostDevice& operator=(const HostDevice&) = delete;

  std::string name() const override { return "cpu"; }
  bool immediate() const override { return true; }
  std::byte* allocate(std::int64_t bytes) override {
    constexpr std::int64_t kUnit = program::Arena::kAlignment;
    const auto rounded = static_cast<std::size_t>((std::max(bytes, kUnit) + kUnit - 1) / kUnit * kUnit);
    auto* p = static_cast<std::byte*>(std::aligned_alloc(kUnit, rounded));
    if (!p) throw std::bad_alloc();
    std::memset(p, 0, rounded);
    return blocks_.emplace_back(p);
  }
  void release(std::byte* memory) override {
    blocks_.erase(std::find(blocks_.begin(), blocks_.end(), memory));
    std::free(memory);
  }
  std::int64_t beside() const override { return 0; }
  const KernelSet& kernels() const override { return kernels_; }
  void fill(void* to, std::uint8_t value, std::int64_t bytes) override {
    if (bytes > 0) std::memset(to, value, static_cast<std::size_t>(bytes));
  }
  void upload(void* to, const void* from, std::int64_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
  void download(void* to, const void* from, std::int64_t bytes) override { upload(to, from, bytes); }
  Mark mark() override { return nullptr; }
  void wait(const Mark&) override {}
  void synchronise() override {}
  std::int64_t reached_ns(const Mark&) override { return 0; }

 private:
  const KernelSet& kernels_;
  std::vector<std::byte*> blocks_;
};

}  // namespace

std::unique_ptr<Device> make_host_device(const KernelSet& kernels) { return std::make_unique<HostDevice>(kernels); }

}  // namespace orrery::executor
