// GPUs as a World: one rank per GPU with NCCL, in one process or many, or all ranks on one GPU.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "executor/comm/store.h"
#include "executor/cuda.h"
#include "executor/launch.h"
#include "executor/world.h"
#include "program/program.h"

namespace orrery::executor {

struct CudaWorldSettings {
  CudaOptions options;
  std::vector<int> devices;                                       // this process's; empty: its share of those that it sees
  bool mixed = false;                                             // GPUs may differ, as a plan with segments on different devices has it
  std::chrono::milliseconds deadline = std::chrono::minutes(10);  // for an operation of NCCL's that its members have come to
};

// Which of `visible` GPUs a process with `ranks` ranks has when it is the `local`-th of `locals` processes of its machine: its own part of them, or,
// where whoever started it shows each process its own GPUs, the first. Throws Error where there are too few.
std::vector<int> share_of_devices(std::int64_t visible, std::int64_t ranks, std::int64_t local, std::int64_t locals);

// The most ranks that have one GPU. Throws Error where two have the same, unless they may share it, or, unless `mixed`, where GPUs are not alike
// (refuse_unlike). `devices`: by rank; ones with the same uuid are the same, but an empty uuid says nothing.
std::int64_t check_devices(const std::vector<CudaDeviceInfo>& devices, bool mixed, bool may_share);

// Multiprocessors that products may count on (CudaOptions::sm_target), of `all` that a GPU has: 0, all of them, or what a collective of NCCL's leaves
// where most of the products' work stands beside communication that its own pass waits for (of tensor parallelism in parts, of parameters that are
// gathered layer by layer, of experts beside another micro-batch). What is only waited for later, as gradients' sums are, may be over long before.
int multiprocessors_of_products(const program::Program& program, int all);

// Numbers of the GPUs that the ranks of this process of `launch` compute on, in the ranks' order, as make_cuda_world gives them out. Throws Error
// where there are too few.
std::vector<int> devices_of_ranks(const CudaPlugin& plugin, std::int64_t ranks, const std::vector<int>& named, const Launch& launch);

// Of a program, in this process of `launch`: consecutive ranks. Several processes meet in `store`, and all make it at the same time; a single one
// needs none. One process with one GPU, or whose settings name one, has all ranks there (make_shared_gpu_world); otherwise each rank has a GPU of its
// own, or, where NCCL is 2.30 or later, shares one with others by NCCL_MULTI_RANK_GPU_ENABLE. Several processes do not time products
// (CudaOptions::tune): they use what process 0's gemm_cache says. `plugin` and `program` must live as long. Not run on a GPU yet.
std::unique_ptr<World> make_cuda_world(const CudaPlugin& plugin, const program::Program& program, const CudaWorldSettings& settings,
                                       std::unique_ptr<KeyStore> store = nullptr, const Launch& launch = {});

}  // namespace orrery::executor
