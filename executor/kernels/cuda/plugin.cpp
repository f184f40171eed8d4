// The plugin's entry, its one exported symbol (plugin.map), and what it says of the machine.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdlib>

#include "core/error.h"
#include "executor/kernels/cuda/device.h"
#include "executor/kernels/cuda/failures.h"
#include "executor/kernels/cuda/gemm_cache.h"
#include "executor/kernels/cuda/launches.h"
#include "executor/kernels/cuda/nccl.h"

namespace orrery::executor::cuda {
namespace {

std::string uuid(const cudaUUID_t& id) {
  const auto at = [&](int i) { return static_cast<unsigned>(static_cast<unsigned char>(id.bytes[i])); };
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", at(i));
  return text;
}

class Plugin final : public CudaPlugin {
 public:
  std::vector<CudaDeviceInfo> devices() const override {
    int count = 0, driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver) throw driver_failure(driver, runtime);
    check_cuda(status == cudaSuccess && count == 0 ? cudaErrorNoDevice : status, "asking for devices");
    std::vector<CudaDeviceInfo> all;
    for (int i = 0; i < count; ++i) {
      cudaDeviceProp p{};
      check_cuda(cudaGetDeviceProperties(&p, i), "asking for a device");
      CudaDeviceInfo& d = all.emplace_back();
      d.name = p.name, d.uuid = uuid(p.uuid), d.memory = static_cast<std::int64_t>(p.totalGlobalMem), d.l2 = p.l2CacheSize;
      d.multiprocessors = p.multiProcessorCount, d.capability = 10 * p.major + p.minor, d.driver = driver, d.runtime = runtime;
    }
    return all;
  }
  std::unique_ptr<Device> make_device(int device, const CudaOptions& options) const override {
    require(device);
    return make_cuda_device(device, options, choices_);
  }
  std::unique_ptr<Mover> make_mover(int device) const override {
    require(device);
    return make_cuda_mover(device);
  }
  std::unique_ptr<NcclApi> make_nccl(int device) const override {
    require(device);
    return cuda::make_nccl(device);
  }
  int nccl_version() const override { return cuda::nccl_version(); }

 private:
  const std::shared_ptr<GemmChoicesByDevice> choices_ = std::make_shared<GemmChoicesByDevice>();

  void require(int device) const {
    const std::size_t count = devices().size();
    if (device < 0 || static_cast<std::size_t>(device) >= count)
      throw Error("cuda", fmt::format("there is no device {}: this machine has {}, counted from 0", device, count));
  }
};

}  // namespace
}  // namespace orrery::executor::cuda

extern "C" __attribute__((visibility("default"))) const orrery::executor::CudaPlugin* orrery_cuda_plugin(std::uint32_t version) {
  // As many as CUDA can have, before it starts: streams that share one of them would wait for each other's collectives.
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
  static const orrery::executor::cuda::Plugin plugin;  // has no state but what was found out about products
  return version == orrery::executor::kCudaPluginVersion ? &plugin : nullptr;
}
