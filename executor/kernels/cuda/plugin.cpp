// The plugin's entry, its one exported symbol (plugin.map), and the devices, memory and streams behind it.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "executor/cuda.h"
#include "executor/kernels/cuda/cuda_kernels.h"

namespace orrery::executor::cuda {
namespace {

class Queue final : public CudaQueue {
 public:
  explicit Queue(int device) : device_(device) {
    check_cuda(cudaSetDevice(device_), "choosing a device");
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
  }
  ~Queue() override { cudaStreamDestroy(stream_); }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  void* stream() const override { return stream_; }
  void* allocate(std::int64_t bytes) override {
    check_cuda(cudaSetDevice(device_), "choosing a device");
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)));
    if (status == cudaErrorMemoryAllocation) {
      std::size_t free = 0, all = 0;
      cudaGetLastError();  // the failure is ours to report, not the next launch's
      cudaMemGetInfo(&free, &all);
      throw Error("cuda", fmt::format("{} bytes are wanted on device {}, and {} of {} are free", bytes, device_, free, all),
                  "use a smaller micro-batch, recompute or sharding; 'orrery plan' finds plans that fit");
    }
    check_cuda(status, "allocating");
    return memory;
  }
  void release(void* memory) override { check_cuda(cudaFree(memory), "giving memory back"); }
  void upload(void* device, const void* host, std::int64_t bytes) override { copy(device, host, bytes, cudaMemcpyHostToDevice); }
  void download(void* host, const void* device, std::int64_t bytes) override { copy(host, device, bytes, cudaMemcpyDeviceToHost); }
  void synchronise() override { check_cuda(cudaStreamSynchronize(stream_), "what was enqueued"); }

 private:
  void copy(void* to, const void* from, std::int64_t bytes, cudaMemcpyKind kind) {
    if (bytes > 0) check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, stream_), "a copy");
  }
  int device_;
  cudaStream_t stream_ = nullptr;
};

class Plugin final : public CudaPlugin {
 public:
  std::vector<std::string> devices() const override {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver) {
      int driver = 0, runtime = 0;
      cudaDriverGetVersion(&driver);
      cudaRuntimeGetVersion(&runtime);
      if (driver == 0) throw Error("cuda", "no NVIDIA driver is installed", "install one, or run with --device cpu");
      throw Error("cuda",
                  fmt::format("the NVIDIA driver is for CUDA {}.{}, and this build needs {}.{}", driver / 1000, driver % 1000 / 10, runtime / 1000,
                              runtime % 1000 / 10),
                  "install a newer driver, or run with --device cpu");
    }
    if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
      throw Error("cuda", "there is a driver, but no GPU that it can use", "look at CUDA_VISIBLE_DEVICES and nvidia-smi, or run with --device cpu");
    check_cuda(status, "asking for devices");
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) {
      cudaDeviceProp properties{};
      check_cuda(cudaGetDeviceProperties(&properties, i), "asking for a device");
      names.emplace_back(properties.name);
    }
    return names;
  }
  std::unique_ptr<CudaQueue> make_queue(int device) const override {
    require(device);
    return std::make_unique<Queue>(device);
  }
  std::unique_ptr<KernelSet> make_kernels(int device, void* stream, const CudaOptions& options) const override {
    require(device);
    check_cuda(cudaSetDevice(device), "choosing a device");
    // Scratch is asked for in every call: what is given back stays with the process rather than with the driver.
    cudaMemPool_t pool = nullptr;
    std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
    check_cuda(cudaDeviceGetDefaultMemPool(&pool, device), "asking for the memory pool");
    check_cuda(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep), "keeping the memory pool");
    return make_cuda_kernels(device, static_cast<Stream>(stream), options);
  }

 private:
  void require(int device) const {
    const std::vector<std::string> all = devices();
    if (device < 0 || static_cast<std::size_t>(device) >= all.size())
      throw Error("cuda", fmt::format("there is no device {}: this machine has {}, counted from 0", device, all.size()));
  }
};

}  // namespace
}  // namespace orrery::executor::cuda

extern "C" __attribute__((visibility("default"))) const orrery::executor::CudaPlugin* orrery_cuda_plugin(std::uint32_t version) {
  static const orrery::executor::cuda::Plugin plugin;  // has no state
  return version == orrery::executor::kCudaPluginVersion ? &plugin : nullptr;
}
