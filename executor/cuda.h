// The CUDA plugin as the rest of the program sees it: a shared library that is loaded when it is asked for, so that one build serves machines with
// and without a GPU. No header of CUDA is needed here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "executor/comm/mover.h"
#include "executor/comm/nccl.h"
#include "executor/device.h"
#include "executor/world.h"

namespace orrery::executor {

struct CudaOptions {
  bool tune = false;       // time the best few algorithms of each product when it is first seen, which waits for the device
  std::string gemm_cache;  // file that remembers them; empty: none
  std::string gemm_known;  // what such a file says, instead of one
  int sm_target = 0;       // multiprocessors that products may count on, where others communicate meanwhile; 0: all
  bool cudnn = true;       // attention by cuDNN where it has it
};

struct CudaDeviceInfo {
  std::string name, uuid;   // "NVIDIA H200", "GPU-…"
  std::int64_t memory = 0;  // bytes
  std::int64_t l2 = 0;      // bytes of its last-level cache
  int multiprocessors = 0;
  int capability = 0;           // 90: 9.0
  int driver = 0, runtime = 0;  // versions of CUDA, 13000: 13.0
};

// What the plugin offers. All methods throw Error where the driver, the device or memory is missing.
class CudaPlugin {
 public:
  virtual ~CudaPlugin() = default;
  // In CUDA's order; at least one.
  virtual std::vector<CudaDeviceInfo> devices() const = 0;
  // A compute queue on device number `device`, with kernels.
  virtual std::unique_ptr<Device> make_device(int device, const CudaOptions& options) const = 0;
  // Queues on that device for communication between ranks that share it.
  virtual std::unique_ptr<Mover> make_mover(int device) const = 0;
  // NCCL for one rank on that device. Throws Error where it is missing or too old.
  virtual std::unique_ptr<NcclApi> make_nccl(int device) const = 0;
  // NCCL's version, 22809: 2.28.9; 0: there is none.
  virtual int nccl_version() const = 0;
};

// The plugin's one exported symbol: const CudaPlugin* orrery_cuda_plugin(std::uint32_t version); null where the versions differ.
inline constexpr std::uint32_t kCudaPluginVersion = 4;
inline constexpr const char* kCudaPluginEntry = "orrery_cuda_plugin";

// Throws Error where devices of one run are not alike, saying how they differ: its plan, prediction and memory are those of one kind.
void refuse_unlike(const std::vector<CudaDeviceInfo>& devices);

// Loads the plugin, which stays for as long as the process: `path`, or, where it is empty, $ORRERY_CUDA_PLUGIN, or liborrery_cuda.so beside the
// running program, in ../lib of it, or where the system looks for libraries. Throws Error, with the loader's own words, where it cannot be had.
const CudaPlugin& load_cuda_plugin(const std::string& path = {});

// Ranks that are threads of this process and share one GPU, whose number is `device`: for trying plans out, as they share its time as well.
std::unique_ptr<World> make_shared_gpu_world(const CudaPlugin& plugin, int device, std::int64_t ranks, const CudaOptions& options);

}  // namespace orrery::executor
