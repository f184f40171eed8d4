// Cross entropy over a shard of the vocabulary, a block a token. Rows need no alignment: what precedes and follows the aligned middle goes element by
// element. Sums are of eight or fewer in fp32, then in double.
#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

// f.template at<V>(i) for elements [i, i + V) of row[0 … n), by all threads of the block.
template <class T, class F>
__device__ __forceinline__ void each(const T* row, Index n, F&& f) {
  constexpr int V = kWide<T>;
  const Index ahead = static_cast<Index>((16 - reinterpret_cast<std::uintptr_t>(row) % 16) % 16 / sizeof(T)), head = ahead < n ? ahead : n;
  const Index vectors = (n - head) / V, tail = head + vectors * V;
  if (threadIdx.x < head) f.template at<1>(Index{threadIdx.x});
  for (Index i = threadIdx.x; i < vectors; i += blockDim.x) f.template at<V>(head + i * V);
  for (Index i = tail + threadIdx.x; i < n; i += blockDim.x) f.template at<1>(i);
}

template <class T>
struct Max {
  const T* row;
  float& most;
  template <int V>
  __device__ __forceinline__ void at(Index i) {
    float x[V];
    load<V>(row + i, x);
#pragma unroll
    for (int j = 0; j < V; ++j) most = fmaxf(most, x[j]);
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads) max_kernel(Index columns, Index valid, const T* logits, float* max) {
  __shared__ float shared[32];
  const T* row = logits + Index{blockIdx.x} * columns;
  float most = -INFINITY;
  each(row, valid, Max<T>{row, most});
  const float all = block_combine(warp_max(most), -INFINITY, shared, [](float a, float b) { return fmaxf(a, b); });
  if (threadIdx.x == 0) max[blockIdx.x] = all;
}

template <class T>
struct Sum {
  const T* row;
  float shift;
  double& total;
  template <int V>
  __device__ __forceinline__ void at(Index i) {
    float x[V], s = 0;
    load<V>(row + i, x);
#pragma unroll
    for (int j = 0; j < V; ++j) s += expf(x[j] - shift);
    total += static_cast<double>(s);
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_kernel(Index columns, VocabularyShard shard, const T* logits, const float* max, const std::int32_t* target, float* sums) {
  __shared__ double shared[32];
  const T* row = logits + Index{blockIdx.x} * columns;
  double total = 0;
  each(row, shard.valid, Sum<T>{row, max[blockIdx.x], total});
  const double all = block_sum(total, shared);
  if (threadIdx.x > 0) return;
  const Index c = target[blockIdx.x] - shard.offset;
  sums[blockIdx.x] = static_cast<float>(all);
  sums[Index{gridDim.x} + blockIdx.x] = c >= 0 && c < shard.valid ? wide(row[c]) : 0.F;
}

template <class T>
struct Gradient {
  T* row;
  float shift, factor, weight;
  Index valid, target;  // valid 0: all are zero
  template <int V>
  __device__ __forceinline__ void at(Index i) {
    float x[V];
    load<V>(row + i, x);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = i + j < valid ? expf(x[j] - shift) * factor - (i + j == target ? weight : 0.F) : 0.F;
    store<V>(row + i, x);
  }
};

// A row without target (-1) has neither loss nor gradient.
template <class T>
__global__ void __launch_bounds__(kThreads) gradient_kernel(Index columns, VocabularyShard shard, float weight, const float* max, const float* sums,
                                                            const std::int32_t* target, T* logits, double* losses) {
  T* row = logits + Index{blockIdx.x} * columns;
  const float shift = max[blockIdx.x], sum = sums[blockIdx.x];
  const bool counts = target[blockIdx.x] >= 0;
  each(row, columns, Gradient<T>{row, shift, weight / sum, weight, counts ? shard.valid : 0, target[blockIdx.x] - shard.offset});
  if (threadIdx.x == 0)
    losses[blockIdx.x] =
        counts ? static_cast<double>(shift) - static_cast<double>(sums[Index{gridDim.x} + blockIdx.x]) + log(static_cast<double>(sum)) : 0;
}

__global__ void __launch_bounds__(1024) add_up_kernel(Index n, double weight, const double* x, double* to) {
  __shared__ double shared[32];
  double sum = 0;
  for (Index i = threadIdx.x; i < n; i += 1024) sum += x[i];
  const double all = block_sum(sum, shared);
  if (threadIdx.x == 0) *to += weight * all;
}

}  // namespace

void cross_entropy_max(Stream stream, DType type, Index tokens, Index columns, VocabularyShard shard, const void* logits, float* max) {
  if (tokens == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    ORRERY_LAUNCH((max_kernel<T>), static_cast<unsigned>(tokens), kThreads, 0, stream)(columns, shard.valid, static_cast<const T*>(logits), max);
    launched();
  });
}

void cross_entropy_sum(Stream stream, DType type, Index tokens, Index columns, VocabularyShard shard, const void* logits, const float* max,
                       const std::int32_t* target, float* sums) {
  if (tokens == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    ORRERY_LAUNCH((sum_kernel<T>), static_cast<unsigned>(tokens), kThreads, 0, stream)
    (columns, shard, static_cast<const T*>(logits), max, target, sums);
    launched();
  });
}

void cross_entropy_grad(Stream stream, DType type, Index tokens, Index columns, VocabularyShard shard, Index global_tokens, double loss_weight,
                        const float* max, const float* sums, const std::int32_t* target, void* logits, double* loss) {
  if (tokens == 0) return;
  const Scratch losses(stream, tokens * Index{sizeof(double)});
  const float weight = static_cast<float>(loss_weight) / static_cast<float>(global_tokens);
  by_type(type, [&](auto t) {
    using T = decltype(t);
    ORRERY_LAUNCH((gradient_kernel<T>), static_cast<unsigned>(tokens), kThreads, 0, stream)
    (columns, shard, weight, max, sums, target, static_cast<T*>(logits), losses.as<double>());
    launched();
  });
  ORRERY_LAUNCH(add_up_kernel, 1, 1024, 0, stream)(tokens, loss_weight, losses.as<double>(), loss);
  launched();
}

}  // namespace orrery::executor::cuda
