// Stands in for CUDA's header of this name where kernels run on the CPU (tests/simt): its words, and what of its functions the kernels call.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "simt/simt.h"

#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
using dim3 = orrery::simt::Extent;

struct CUstream_st;
using cudaStream_t = CUstream_st*;
enum cudaError_t { cudaSuccess = 0 };
enum {
  cudaMemcpyDeviceToDevice,
  cudaFuncAttributeMaxDynamicSharedMemorySize,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor
};
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
template <class F>
cudaError_t cudaFuncSetAttribute(F, int, int) {
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t n, int, cudaStream_t) {
  std::memmove(to, from, n);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t n, cudaStream_t) {
  std::memset(to, value, n);
  return cudaSuccess;
}
// As an H200 answers.
inline cudaError_t cudaDeviceGetAttribute(int* value, int what, int) {
  *value = what == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 232448 : what == cudaDevAttrComputeCapabilityMajor ? 9 : 0;
  return cudaSuccess;
}

#define threadIdx orrery::simt::where().thread
#define blockIdx orrery::simt::where().block
#define blockDim orrery::simt::where().of_block
#define gridDim orrery::simt::where().of_grid
#define ORRERY_LAUNCH(kernel, grid, block, bytes, stream) \
  orrery::simt::Launch(grid, block, static_cast<std::size_t>(bytes)).of([&](const auto&... arguments) { kernel(arguments...); })

inline float* dynamic_shared() { return static_cast<float*>(orrery::simt::dynamic_memory()); }
inline void __syncthreads() { orrery::simt::sync_block(); }
inline int __syncthreads_or(int value) { return orrery::simt::sync_block_or(value != 0); }
inline void __syncwarp(unsigned = ~0U) { orrery::simt::sync_warp(); }
inline unsigned __ballot_sync(unsigned, bool value) { return orrery::simt::ballot(value); }
template <class X>
X __shfl_sync(unsigned, X x, int from) {
  static_assert(sizeof(X) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  bits = orrery::simt::exchange(bits, static_cast<unsigned>(from) % 32);
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
template <class X>
X __shfl_xor_sync(unsigned mask, X x, int distance) {
  return __shfl_sync(mask, x, static_cast<int>(orrery::simt::lane()) ^ distance);
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline void __threadfence_system() {}
