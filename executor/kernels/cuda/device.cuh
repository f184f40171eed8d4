// What the kernels of this folder share: 16-byte accesses, sums in a fixed order, and launches over flat arrays and over rows.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cassert>
#include <initializer_list>

#include "executor/kernels/cuda/launches.h"

// Kernels are launched by a macro, so that tests/simt can run these very sources on the CPU, thread by thread.
#ifndef ORRERY_SIMT
#define ORRERY_LAUNCH(kernel, grid, block, bytes, stream) kernel<<<grid, block, bytes, stream>>>
#endif

namespace orrery::executor::cuda {

#ifndef ORRERY_SIMT
// A block's shared memory of the size that its launch says.
__device__ __forceinline__ float* dynamic_shared() {
  extern __shared__ float memory[];
  return memory;
}
#endif

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ float wide(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float wide(__half x) { return __half2float(x); }
template <class T>
__device__ __forceinline__ T narrow(float x) {
  if constexpr (sizeof(T) == sizeof(float))
    return x;
  else
    return T(x);
}

// V neighbouring elements, moved by accesses of up to 16 bytes: said in the types that have them, since a copy of 16-bit classes need not become one.
template <int kBytes>
struct Raw {
  using Type = uint4;
};
template <>
struct Raw<8> {
  using Type = uint2;
};
template <>
struct Raw<4> {
  using Type = std::uint32_t;
};
template <>
struct Raw<2> {
  using Type = std::uint16_t;
};
template <>
struct Raw<1> {
  using Type = std::uint8_t;
};
template <class T, int V>
struct Pack {
  using Word = typename Raw<static_cast<int>(sizeof(T)) * V>::Type;
  static constexpr int kWords = static_cast<int>(sizeof(T)) * V / static_cast<int>(sizeof(Word));
  Word words[kWords];
  Pack() = default;
  __device__ __forceinline__ explicit Pack(const T* from) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[i] = reinterpret_cast<const Word*>(from)[i];
  }
  __device__ __forceinline__ static Pack narrowed(const float (&from)[V]) {
    T x[V];
#pragma unroll
    for (int i = 0; i < V; ++i) x[i] = narrow<T>(from[i]);
    Pack p;
    memcpy(p.words, x, sizeof p.words);
    return p;
  }
  __device__ __forceinline__ void store(T* to) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) reinterpret_cast<Word*>(to)[i] = words[i];
  }
  __device__ __forceinline__ void widen(float (&to)[V]) const {
    T x[V];
    memcpy(x, words, sizeof words);
#pragma unroll
    for (int i = 0; i < V; ++i) to[i] = wide(x[i]);
  }
};
template <int V, class T>
__device__ __forceinline__ void load(const T* from, float (&to)[V]) {
  Pack<T, V>(from).widen(to);
}
template <int V, class T>
__device__ __forceinline__ void store(T* to, const float (&from)[V]) {
  Pack<T, V>::narrowed(from).store(to);
}
// The same bits, whatever they mean.
template <int V, class T>
__device__ __forceinline__ void move(const T* from, T* to) {
  Pack<T, V>(from).store(to);
}

// Of parameters and their gradients, whose type is not that of the activations. The branch is the same for all threads.
template <int V>
__device__ __forceinline__ void load(const Array& a, Index at, float (&to)[V]) {
  if (a.type == DType::bf16)
    load<V>(static_cast<const __nv_bfloat16*>(a.data) + at, to);
  else if (a.type == DType::fp16)
    load<V>(static_cast<const __half*>(a.data) + at, to);
  else
    load<V>(static_cast<const float*>(a.data) + at, to);
}
template <int V>
__device__ __forceinline__ void store(const Array& a, Index at, const float (&from)[V]) {
  if (a.type == DType::bf16)
    store<V>(static_cast<__nv_bfloat16*>(a.data) + at, from);
  else if (a.type == DType::fp16)
    store<V>(static_cast<__half*>(a.data) + at, from);
  else
    store<V>(static_cast<float*>(a.data) + at, from);
}
template <int V>
__device__ __forceinline__ void add(const Array& a, Index at, const float (&more)[V]) {
  float sum[V];
  load<V>(a, at, sum);
#pragma unroll
  for (int i = 0; i < V; ++i) sum[i] += more[i];
  store<V>(a, at, sum);
}

template <class T>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(T));

// Calls f(T{}) for the type that an activation has.
template <class F>
void by_type(DType type, F f) {
  switch (type) {
    case DType::bf16:
      return f(__nv_bfloat16{});
    case DType::fp16:
      return f(__half{});
    default:
      assert(type == DType::fp32 || type == DType::tf32);
      return f(float{});
  }
}

template <int N>
struct Number {
  static constexpr int value = N;
};
// Calls f(Number<V>{}) with V = kWide<T> where all pointers are so aligned and all widths such multiples, otherwise with 1.
template <class T, class F>
void by_width(std::initializer_list<const void*> pointers, std::initializer_list<Index> widths, F f) {
  const bool aligned = std::all_of(pointers.begin(), pointers.end(), [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }) &&
                       std::all_of(widths.begin(), widths.end(), [](Index w) { return w % kWide<T> == 0; });
  if (aligned) return f(Number<kWide<T>>{});
  f(Number<1>{});
}

inline void launched() { check_cuda(cudaGetLastError(), "a kernel's launch"); }

inline constexpr int kThreads = 256;
inline unsigned blocks(Index work, Index each = kThreads) {
  return static_cast<unsigned>(std::clamp<Index>((work + each - 1) / each, 1, Index{1} << 20));
}

// f.at<V>(i) for elements [i, i + V) of `n`, one by one at the end.
template <int V, class F>
__global__ void __launch_bounds__(kThreads) map_kernel(Index n, F f) {
  const Index thread = Index{blockIdx.x} * kThreads + threadIdx.x, threads = Index{gridDim.x} * kThreads;
  for (Index i = thread; i < n / V; i += threads) f.template at<V>(i * V);
  if constexpr (V > 1)
    if (thread < n % V) f.template at<1>(n - n % V + thread);
}
template <int V, class F>
void map(Stream stream, Index n, const F& f) {
  if (n == 0) return;
  ORRERY_LAUNCH((map_kernel<V>), blocks(n / V), kThreads, 0, stream)(n, f);
  launched();
}

// f.at<V>(row, column) for rows of `width`, a multiple of V. Without a division: a block is as wide as rows let it be.
template <int V, class F>
__global__ void __launch_bounds__(kThreads) rows_kernel(Index rows, Index width, F f) {
  for (Index row = Index{blockIdx.x} * blockDim.y + threadIdx.y; row < rows; row += Index{gridDim.x} * blockDim.y)
    for (Index column = (Index{blockIdx.y} * blockDim.x + threadIdx.x) * V; column < width; column += Index{gridDim.y} * blockDim.x * V)
      f.template at<V>(row, column);
}
template <int V, class F>
void map_rows(Stream stream, Index rows, Index width, const F& f) {
  if (rows == 0 || width == 0) return;
  unsigned x = 1;
  while (x < kThreads && Index{x} < width / V) x *= 2;
  const dim3 block(x, kThreads / x), grid(blocks(rows, block.y), static_cast<unsigned>(std::min<Index>(blocks(width / V, x), 1024)));
  ORRERY_LAUNCH((rows_kernel<V>), grid, block, 0, stream)(rows, width, f);
  launched();
}

// Sums over groups of kGroup neighbouring threads, a warp or a whole block; the order is the tree's, always the same. All threads get the sum.
template <class X>
__device__ __forceinline__ X warp_sum(X x) {
#pragma unroll
  for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffffU, x, d);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int d = 16; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, d));
  return x;
}
// `shared` has room for 32 values; threads of the block must all come here.
template <class X, class Combine>
__device__ __forceinline__ X block_combine(X of_warp, X nothing, X* shared, Combine combine) {
  const unsigned warps = blockDim.x * blockDim.y / 32, thread = threadIdx.y * blockDim.x + threadIdx.x;
  __syncthreads();  // whatever was there has been read
  if (thread % 32 == 0) shared[thread / 32] = of_warp;
  __syncthreads();
  X all = nothing;
  for (unsigned w = 0; w < warps; ++w) all = combine(all, shared[w]);
  return all;
}
template <class X>
__device__ __forceinline__ X block_sum(X x, X* shared) {
  return block_combine(warp_sum(x), X{0}, shared, [](X a, X b) { return a + b; });
}
template <int kGroup>
__device__ __forceinline__ float group_sum(float x, float* shared) {
  if constexpr (kGroup == 32)
    return warp_sum(x);
  else
    return block_sum(x, shared);
}

}  // namespace orrery::executor::cuda
