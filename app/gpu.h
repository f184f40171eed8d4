// GPUs of this machine: which one is meant, what it is called in topologies/, and what it was measured to do.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/version.h"
#include "core/profile.h"
#include "executor/cuda.h"
#include "profiler/grid.h"
#include "profiler/profile_device.h"

namespace orrery::app {

// "cuda" and "cuda:1" name a device by its number; nothing for "cpu". Throws Error for any other word.
std::optional<int> cuda_number(const std::string& device);

// The device of that number. Throws Error where there is none.
const executor::CudaDeviceInfo& cuda_device(const std::vector<executor::CudaDeviceInfo>& devices, int number);

// The name under topologies/devices of a GPU by CUDA's name and memory: "NVIDIA H200" is h200-sxm. Empty: none is known.
std::string part_of(const executor::CudaDeviceInfo& device);

// The shipped cluster of such devices that stands for `devices` of them in one machine, "dgx-h200:1". Throws Error where none is shipped.
std::string gpu_cluster(const executor::CudaDeviceInfo& device, std::int64_t devices);

// `cluster` with "this-machine" and "this-machine:N" replaced by gpu_cluster: N devices, or those that there are.
std::string gpu_cluster_for(const std::string& cluster, const std::vector<executor::CudaDeviceInfo>& devices, int number);

// The same for a device of this machine by its name; for "cpu" the cluster as it is.
std::string cluster_on(const std::string& device, const std::string& cluster);

// How kernels are chosen wherever Orrery uses a GPU, so that what is profiled is what runs: products' algorithms are timed when first seen and
// remembered in $XDG_CACHE_HOME/orrery or ~/.cache/orrery.
executor::CudaOptions cuda_options();

// What a profile of a GPU is made of. The grid is asked for with the kernels of the device.
struct GpuProfileSettings {
  std::function<profiler::ProfileGrid(const executor::KernelSet&)> grid;
  Seconds budget{360};
  std::optional<Profile> earlier;            // continued, where it is of this device
  std::function<void(const Profile&)> save;  // called now and then
  std::function<void(std::int64_t done, std::int64_t of, const std::string& note)> progress;
  std::function<void(const std::string&)> note;  // that power is not measured, and why; that nothing could be continued
  const std::atomic<bool>* cancel = nullptr;
  profiler::HostClock clock = profiler::steady_clock();
  std::string commit = app::commit();  // of the kernels: those of another are measured anew
};
Profile profile_gpu(const executor::CudaPlugin& plugin, int number, const GpuProfileSettings& settings);

}  // namespace orrery::app
