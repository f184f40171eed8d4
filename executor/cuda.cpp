#include "executor/cuda.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cmath>
#include <mutex>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "executor/comm/threads.h"
#include "executor/plugins.h"

namespace orrery::executor {
namespace {

constexpr const char* kName = "liborrery_cuda.so";
constexpr const char* kHint =
    "build it by 'cmake --preset cuda' and 'cmake --build build/cuda --target orrery_cuda', and set ORRERY_CUDA_PLUGIN to its path";

class SharedGpuWorld final : public World {
 public:
  SharedGpuWorld(const CudaPlugin& plugin, int device, std::int64_t ranks, const CudaOptions& options)
      : plugin_(plugin),
        number_(device),
        ranks_(ranks),
        options_(options),
        memory_(plugin.devices().at(static_cast<std::size_t>(device)).memory),
        first_(plugin.make_device(device, options)),
        threads_(ranks, plugin.make_mover(device)) {}
  std::int64_t ranks() const override { return ranks_; }
  std::vector<std::int64_t> here() const override {
    std::vector<std::int64_t> all(static_cast<std::size_t>(ranks_));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    return all;
  }
  bool has(const program::Shape& shape) const override {
    const std::lock_guard lock(mutex_);
    if (!first_) first_ = plugin_.make_device(number_, options_);
    return first_->kernels().has(shape);
  }
  std::unique_ptr<Device> device(std::int64_t) override {
    {
      const std::lock_guard lock(mutex_);
      if (first_) return std::move(first_);
    }
    return plugin_.make_device(number_, options_);
  }
  std::unique_ptr<Communicator> communicator(std::int64_t rank, Device&) override { return threads_.communicator(rank); }
  void abort(const std::string& why) override { threads_.abort(why); }
  std::int64_t memory() const override { return memory_; }

 private:
  const CudaPlugin& plugin_;
  int number_;
  std::int64_t ranks_;
  CudaOptions options_;
  std::int64_t memory_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Device> first_;  // until a rank takes it
  ThreadsWorld threads_;
};

}  // namespace

std::unique_ptr<World> make_shared_gpu_world(const CudaPlugin& plugin, int device, std::int64_t ranks, const CudaOptions& options) {
  return std::make_unique<SharedGpuWorld>(plugin, device, ranks, options);
}

void refuse_unlike(const std::vector<CudaDeviceInfo>& devices) {
  const auto gib = [](const CudaDeviceInfo& d) { return static_cast<double>(d.memory) / static_cast<double>(std::int64_t{1} << 30U); };
  for (std::size_t i = 1; i < devices.size(); ++i) {
    const CudaDeviceInfo &a = devices.front(), &b = devices[i];
    // Memory that a driver keeps for itself may differ a little between cards of one kind.
    if (a.name == b.name && a.capability == b.capability && a.multiprocessors == b.multiprocessors && std::abs(gib(a) - gib(b)) < 0.02 * gib(a))
      continue;
    throw Error("cuda",
                fmt::format("the GPUs of this run are not alike: GPU 0 is {} ({} multiprocessors, {:.1f} GiB), GPU {} is {} ({}, {:.1f} GiB)", a.name,
                            a.multiprocessors, gib(a), i, b.name, b.multiprocessors, gib(b)),
                "choose GPUs of one kind by CUDA_VISIBLE_DEVICES: the slowest would hold up all others, and the smallest would run out of memory");
  }
}

const CudaPlugin& load_cuda_plugin(const std::string& path) {
  std::string reasons;
  for (const std::string& file : plugin_candidates(path, "ORRERY_CUDA_PLUGIN", kName)) {
    // Never closed: kernels and their streams may outlive whoever asked, and CUDA's libraries do not like to be unloaded.
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* reason = dlerror();
      reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", reason ? reason : "unknown reason");
      continue;
    }
    using Entry = const CudaPlugin* (*)(std::uint32_t);
    const auto entry = reinterpret_cast<Entry>(dlsym(library, kCudaPluginEntry));
    if (!entry) throw Error("cuda", fmt::format("'{}' is a library, but not Orrery's CUDA plugin", file), kHint);
    const CudaPlugin* plugin = entry(kCudaPluginVersion);
    if (!plugin) throw Error("cuda", fmt::format("'{}' was built for another version of Orrery", file), kHint);
    return *plugin;
  }
  throw Error("cuda", fmt::format("the CUDA plugin cannot be loaded: {}", reasons), kHint);
}

}  // namespace orrery::executor
