// What a status of CUDA or NCCL means for whoever runs a plan, and what to do about it. No header of theirs is needed here: the numbers are those of
// cudaError_t (driver_types.h, CUDA 13.0) and ncclResult_t (nccl.h 2.28), which scratch.cpp checks where it is compiled with them.
#pragma once

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>

#include "core/error.h"

namespace orrery::executor::cuda {

struct Failure {
  int status = 0;
  std::string_view what, hint;
};

inline constexpr std::string_view kLostHint =
    "look for Xid lines in dmesg and at nvidia-smi -q; take another GPU, and go on from the last checkpoint";
inline constexpr std::string_view kFaultHint =
    "a kernel of Orrery or of its libraries is wrong, or the GPU is: please report it, with what compute-sanitizer says of a short run";
inline constexpr std::string_view kMemoryHint = "use a smaller micro-batch, recompute or sharding; 'orrery plan' finds plans that fit";

// Of those that people meet. Whatever is not here is told in CUDA's own words.
inline constexpr std::array<Failure, 30> kCudaFailures{{
    {2, "the GPU has too little memory left", kMemoryHint},
    {3, "the NVIDIA driver does not start", "try nvidia-smi; in a container, run it with --gpus all"},
    {34, "libcuda is the stub that programs are linked with, not a driver", "take .../stubs out of LD_LIBRARY_PATH"},
    {35, "there is no NVIDIA driver, or it is older than this build needs", "install a newer driver, or run with --device cpu"},
    {36, "the NVIDIA driver is older than this build needs", "install a newer driver"},
    {46, "the GPU is held by another process, or is gone", "nvidia-smi says which; choose another by CUDA_VISIBLE_DEVICES"},
    {100, "there is a driver, but no GPU that it can use", "look at CUDA_VISIBLE_DEVICES and nvidia-smi, or run with --device cpu"},
    {101, "there is no GPU of that number", "nvidia-smi -L lists them, counted from 0"},
    {209, "the CUDA plugin was not built for this GPU", "build it here: cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=native"},
    {214, "the GPU's memory has an error that its ECC could not correct: what was computed since is lost", kLostHint},
    {220, "NVLink has an error that could not be corrected: what was computed since is lost", kLostHint},
    {222, "the NVIDIA driver is older than this build's code", "install a newer driver"},
    {226, "the GPU contained an error of its memory, and this process lost what it had there", kLostHint},
    {304, "the operating system refused the GPU's driver something", "look at dmesg, at ulimit -l and at the room in /dev/shm"},
    {700, "a kernel used memory that is not its own", kFaultHint},
    {701, "a kernel needs more registers or shared memory than this GPU has", kFaultHint},
    {702, "a kernel ran for longer than the GPU's watchdog allows, which guards GPUs that drive a display", "use a GPU without a display"},
    {710, "a kernel found what cannot be", kFaultHint},
    {714, "a kernel overran its stack", kFaultHint},
    {715, "a kernel has an instruction that this GPU does not know", kFaultHint},
    {716, "a kernel read or wrote at an address that is not aligned", kFaultHint},
    {717, "a kernel used an address of the wrong kind", kFaultHint},
    {718, "a kernel ran into nowhere", kFaultHint},
    {719, "a kernel failed", kFaultHint},
    {802, "the GPUs are not ready: on machines with NVSwitch their fabric manager must run first", "systemctl status nvidia-fabricmanager"},
    {803, "the driver's library and its kernel module are of different versions", "restart the machine, or the container with the host's libraries"},
    {804, "this GPU's driver is too old for the compatibility library that was loaded",
     "install a newer driver, or take .../compat out of LD_LIBRARY_PATH"},
    {805, "the MPS server cannot be reached", "start nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY"},
    {909, "the GPU did not answer in time", kLostHint},
    {999, "the GPU's driver failed for a reason that it does not know", kLostHint},
}};

inline constexpr std::array<Failure, 6> kNcclFailures{{
    {1, "NCCL met an error of CUDA", "run again with NCCL_DEBUG=INFO: the first line that says WARN has the cause"},
    {2, "NCCL was refused something by the system or the network",
     "look at ulimit -l, at the room in /dev/shm and at NCCL_SOCKET_IFNAME; NCCL_DEBUG=INFO says more"},
    {3, "NCCL failed within itself", "run again with NCCL_DEBUG=INFO, and report it"},
    {4, "NCCL was given an argument that it refuses", "please report it, with what NCCL_DEBUG=INFO says"},
    {5, "NCCL was used in a way that it refuses; so it does where two ranks share a GPU",
     "give each rank a GPU of its own; NCCL_DEBUG=INFO says more"},
    {6, "another rank ended or cannot be reached", "its own message says why; go on from the last checkpoint"},
}};

template <std::size_t N>
constexpr const Failure* find(const std::array<Failure, N>& failures, int status) {
  for (const Failure& f : failures)
    if (f.status == status) return &f;
  return nullptr;
}

// `doing`: "a copy"; `name` and `words`: CUDA's own of the status, as cudaGetErrorName and cudaGetErrorString give them.
inline Error cuda_failure(int status, std::string_view doing, std::string_view name, std::string_view words) {
  const Failure* known = find(kCudaFailures, status);
  return {"cuda", fmt::format("{} failed: {} ({}: {})", doing, known ? known->what : words, name, status), std::string(known ? known->hint : "")};
}
inline Error nccl_failure(int status, std::string_view doing, std::string_view words) {
  const Failure* known = find(kNcclFailures, status);
  return {"nccl", fmt::format("{} failed: {} ({}: {})", doing, known ? known->what : words, words, status), std::string(known ? known->hint : "")};
}

// Versions as CUDA counts them (13010: 13.1); driver 0: none.
inline Error driver_failure(int driver, int runtime) {
  if (driver == 0) return {"cuda", "no NVIDIA driver is installed", "install one, or run with --device cpu; in a container, run it with --gpus all"};
  return {"cuda",
          fmt::format("the NVIDIA driver is for CUDA {}.{}, and this build needs {}.{}", driver / 1000, driver % 1000 / 10, runtime / 1000,
                      runtime % 1000 / 10),
          "install a newer driver, or run with --device cpu"};
}

}  // namespace orrery::executor::cuda
