// The CUDA plugin as the rest of the program sees it: a shared library that is loaded when it is asked for, so that one build serves machines with
// and without a GPU. No header of CUDA is needed here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "executor/kernels/kernels.h"

namespace orrery::executor {

struct CudaOptions {
  bool tune = false;       // time the best few algorithms of each product when it is first seen, which waits for the device
  std::string gemm_cache;  // file that remembers them; empty: none
  int sm_target = 0;       // multiprocessors that products may count on, where others communicate meanwhile; 0: all
  bool cudnn = true;       // attention by cuDNN where it has it
};

// A stream of one device and memory on that device.
class CudaQueue {
 public:
  virtual ~CudaQueue() = default;
  virtual void* stream() const = 0;  // cudaStream_t
  // Throws Error saying what was wanted and what was free.
  virtual void* allocate(std::int64_t bytes) = 0;
  virtual void release(void* memory) = 0;
  // Enqueued; the host's memory must live until synchronise().
  virtual void upload(void* device, const void* host, std::int64_t bytes) = 0;
  virtual void download(void* host, const void* device, std::int64_t bytes) = 0;
  // Waits for all that was enqueued; an error of the device ends here.
  virtual void synchronise() = 0;
};

// What the plugin offers. All methods throw Error where the driver, the device or memory is missing.
class CudaPlugin {
 public:
  virtual ~CudaPlugin() = default;
  // Names of the devices, in CUDA's order.
  virtual std::vector<std::string> devices() const = 0;
  virtual std::unique_ptr<CudaQueue> make_queue(int device) const = 0;
  // Kernels that are enqueued on `stream` (cudaStream_t, of `device`) and never wait: buffers are device pointers, scalars stay on the device.
  virtual std::unique_ptr<KernelSet> make_kernels(int device, void* stream, const CudaOptions& options) const = 0;
};

// The plugin's one exported symbol: const CudaPlugin* orrery_cuda_plugin(std::uint32_t version); null where the versions differ.
inline constexpr std::uint32_t kCudaPluginVersion = 1;
inline constexpr const char* kCudaPluginEntry = "orrery_cuda_plugin";

// Loads the plugin, which stays for as long as the process: `path`, or, where it is empty, $ORRERY_CUDA_PLUGIN, or liborrery_cuda.so beside the
// running program, in ../lib of it, or where the system looks for libraries. Throws Error, with the loader's own words, where it cannot be had.
const CudaPlugin& load_cuda_plugin(const std::string& path = {});

}  // namespace orrery::executor
