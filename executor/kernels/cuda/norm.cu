// RMSNorm and LayerNorm, and column sums. A row is read once: it stays in registers between its sums and its result. Sums over rows go through a
// fixed number of partial rows, added in order, so that they do not depend on how blocks are scheduled.
#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

constexpr int kKept = 2;            // vectors of a row that a thread holds in registers; going back, where there are four times as many of them, one
constexpr Index kMostParts = 256;   // partial rows of a sum over rows
constexpr Index kMostBlocks = 512;  // of the backward pass, each with partial rows: enough that their loads together hide the memory's latency

// kGroup threads have one row; a block has kBlock / kGroup of them.
template <int kGroup>
inline constexpr int kBlock = kGroup == 32 ? 256 : kGroup;

// Of a row of `width`, vector `k` of this thread.
template <int kGroup, int V>
__device__ __forceinline__ Index column(int k) {
  return (Index{threadIdx.x} + Index{k} * kGroup) * V;
}

template <class T, bool kLayerNorm, int kGroup, int V>
__global__ void __launch_bounds__(kBlock<kGroup>)
    forward_kernel(Index tokens, Index width, float epsilon, const T* x, Array gamma, Array beta, T* y, float* statistics) {
  __shared__ float shared[32];
  // The same number of turns for all groups of a block, which meet in sums.
  for (Index first = Index{blockIdx.x} * blockDim.y; first < tokens; first += Index{gridDim.x} * blockDim.y) {
    const Index row = first + threadIdx.y;
    const bool there = row < tokens;
    float kept[kKept][V];
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kKept; ++k) {
      const Index c = column<kGroup, V>(k);
      if (!there || c >= width) continue;
      load<V>(x + row * width + c, kept[k]);
#pragma unroll
      for (int j = 0; j < V; ++j) sum += kLayerNorm ? kept[k][j] : kept[k][j] * kept[k][j];
    }
    float mean = 0, square = group_sum<kGroup>(sum, shared);
    if constexpr (kLayerNorm) {
      mean = square / static_cast<float>(width);
      sum = 0;
#pragma unroll
      for (int k = 0; k < kKept; ++k) {
        if (!there || column<kGroup, V>(k) >= width) continue;
#pragma unroll
        for (int j = 0; j < V; ++j) sum += (kept[k][j] - mean) * (kept[k][j] - mean);
      }
      square = group_sum<kGroup>(sum, shared);
    }
    const float inverse = 1.F / sqrtf(square / static_cast<float>(width) + epsilon);
    if (there && threadIdx.x == 0) {
      statistics[row] = inverse;
      if constexpr (kLayerNorm) statistics[tokens + row] = mean;
    }
#pragma unroll
    for (int k = 0; k < kKept; ++k) {
      const Index c = column<kGroup, V>(k);
      if (!there || c >= width) continue;
      float g[V], b[V]{};
      load<V>(gamma, c, g);
      if (kLayerNorm && beta.data) load<V>(beta, c, b);
#pragma unroll
      for (int j = 0; j < V; ++j) kept[k][j] = (kept[k][j] - mean) * inverse * g[j] + b[j];
      store<V>(y + row * width + c, kept[k]);
    }
  }
}

// Block b has part b of the rows; its sums of columns go to row b of `gammas` and `betas`. All that is read of a row is asked for at once, before the
// sums over it.
template <class T, bool kLayerNorm, int kGroup, int V>
__global__ void __launch_bounds__(kBlock<kGroup>)
    backward_kernel(Index tokens, Index width, const T* dy, const T* x, Array gamma, const float* statistics, T* dx, float* gammas, float* betas) {
  __shared__ float shared[32];
  const PartRange rows = part_range(tokens, gridDim.x, blockIdx.x);
  const Index c = column<kGroup, V>(0);
  const bool inside = c < width;
  float g[V]{}, d_gamma[V]{}, d_beta[kLayerNorm ? V : 1]{};
  if (inside) load<V>(gamma, c, g);
  for (Index first = rows.begin; first < rows.end; first += blockDim.y) {
    const Index row = first + threadIdx.y, at = row * width + c;
    const bool there = inside && row < rows.end;
    const float inverse = there ? statistics[row] : 0, mean = kLayerNorm && there ? statistics[tokens + row] : 0;
    float scaled[V]{}, normed[V]{};
    Pack<T, V> d;
    if (there) {
      load<V>(dy + at, scaled);
      load<V>(x + at, normed);
      d = Pack<T, V>(dx + at);
    }
    float total = 0, dot = 0;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      normed[j] = (normed[j] - mean) * inverse;
      d_gamma[j] += scaled[j] * normed[j];
      if constexpr (kLayerNorm) d_beta[j] += scaled[j];
      scaled[j] *= g[j];
      total += scaled[j];
      dot += scaled[j] * normed[j];
    }
    const float mean_dot = group_sum<kGroup>(dot, shared) / static_cast<float>(width);
    const float mean_d = kLayerNorm ? group_sum<kGroup>(total, shared) / static_cast<float>(width) : 0;
    if (!there) continue;
    float sum[V];
    d.widen(sum);
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] += inverse * (scaled[j] - mean_d - normed[j] * mean_dot);
    store<V>(dx + at, sum);
  }
  // Groups of one block have rows of their own part rows.
  if (!inside) return;
  const Index to = (Index{blockIdx.x} * blockDim.y + threadIdx.y) * width + c;
  store<V>(gammas + to, d_gamma);
  if constexpr (kLayerNorm)
    if (betas) store<V>(betas + to, d_beta);
}

// Rows of any width, read again from the cache for each sum: a block a row.
template <class T, bool kLayerNorm>
__global__ void __launch_bounds__(kThreads)
    wide_forward_kernel(Index width, float epsilon, const T* x, Array gamma, Array beta, T* y, float* statistics) {
  __shared__ float shared[32];
  const Index row = blockIdx.x;
  x += row * width, y += row * width;
  float mean = 0, sum = 0;
  if constexpr (kLayerNorm) {
    for (Index c = threadIdx.x; c < width; c += kThreads) sum += wide(x[c]);
    mean = block_sum(sum, shared) / static_cast<float>(width);
    sum = 0;
  }
  for (Index c = threadIdx.x; c < width; c += kThreads) sum += (wide(x[c]) - mean) * (wide(x[c]) - mean);
  const float inverse = 1.F / sqrtf(block_sum(sum, shared) / static_cast<float>(width) + epsilon);
  if (threadIdx.x == 0) {
    statistics[row] = inverse;
    if constexpr (kLayerNorm) statistics[gridDim.x + row] = mean;
  }
  for (Index c = threadIdx.x; c < width; c += kThreads) {
    float g[1], b[1]{};
    load<1>(gamma, c, g);
    if (kLayerNorm && beta.data) load<1>(beta, c, b);
    y[c] = narrow<T>((wide(x[c]) - mean) * inverse * g[0] + b[0]);
  }
}

template <class T, bool kLayerNorm>
__global__ void __launch_bounds__(kThreads) wide_backward_kernel(Index width, const T* dy, const T* x, Array gamma, const float* statistics, T* dx) {
  __shared__ float shared[32];
  const Index row = blockIdx.x;
  dy += row * width, x += row * width, dx += row * width;
  const float inverse = statistics[row], mean = kLayerNorm ? statistics[gridDim.x + row] : 0;
  float total = 0, dot = 0, g[1];
  for (Index c = threadIdx.x; c < width; c += kThreads) {
    load<1>(gamma, c, g);
    const float scaled = wide(dy[c]) * g[0];
    total += scaled;
    dot += scaled * (wide(x[c]) - mean) * inverse;
  }
  const float mean_dot = block_sum(dot, shared) / static_cast<float>(width);
  const float mean_d = kLayerNorm ? block_sum(total, shared) / static_cast<float>(width) : 0;
  for (Index c = threadIdx.x; c < width; c += kThreads) {
    load<1>(gamma, c, g);
    dx[c] = narrow<T>(wide(dx[c]) + inverse * (wide(dy[c]) * g[0] - mean_d - (wide(x[c]) - mean) * inverse * mean_dot));
  }
}

// What is summed over rows.
template <class T>
struct Plain {
  const T* dy;
  template <int V>
  __device__ void at(Index row, Index width, Index c, float (&to)[V]) const {
    load<V>(dy + row * width + c, to);
  }
};
template <class T, bool kLayerNorm>
struct TimesNormed {
  const T *dy, *x;
  const float* statistics;
  Index tokens;
  template <int V>
  __device__ void at(Index row, Index width, Index c, float (&to)[V]) const {
    float in[V];
    load<V>(dy + row * width + c, to);
    load<V>(x + row * width + c, in);
    const float inverse = statistics[row], mean = kLayerNorm ? statistics[tokens + row] : 0;
#pragma unroll
    for (int j = 0; j < V; ++j) to[j] *= (in[j] - mean) * inverse;
  }
};

// Part blockIdx.y of the rows: threads of one column take rows in turn, and are added up in order.
template <class S, int V>
__global__ void __launch_bounds__(kThreads) column_kernel(Index rows, Index width, S source, float* partial) {
  __shared__ float shared[8][32 * V];
  const PartRange mine = part_range(rows, gridDim.y, blockIdx.y);
  const Index c = (Index{blockIdx.x} * 32 + threadIdx.x) * V;
  float sum[V]{};
  if (c < width)
    for (Index row = mine.begin + threadIdx.y; row < mine.end; row += 8) {
      float more[V];
      source.template at<V>(row, width, c, more);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += more[j];
    }
#pragma unroll
  for (int j = 0; j < V; ++j) shared[threadIdx.y][threadIdx.x * V + j] = sum[j];
  __syncthreads();
  if (threadIdx.y > 0 || c >= width) return;
  for (int y = 1; y < 8; ++y)
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] += shared[y][threadIdx.x * V + j];
#pragma unroll
  for (int j = 0; j < V; ++j) partial[Index{blockIdx.y} * width + c + j] = sum[j];
}

// to += the sum of the partial rows.
__global__ void __launch_bounds__(kThreads) fold_kernel(Index parts, Index width, const float* partial, Array to) {
  __shared__ float shared[8][32];
  const Index c = Index{blockIdx.x} * 32 + threadIdx.x;
  float sum = 0;
  const PartRange mine = part_range(parts, 8, threadIdx.y);
  if (c < width)
    for (Index p = mine.begin; p < mine.end; ++p) sum += partial[p * width + c];
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= width) return;
  for (int y = 1; y < 8; ++y) sum += shared[y][threadIdx.x];
  const float more[1]{sum};
  add<1>(to, c, more);
}

void fold(Stream stream, Index parts, Index width, const float* partial, Array to) {
  ORRERY_LAUNCH(fold_kernel, blocks(width, 32), dim3(32, 8), 0, stream)(parts, width, partial, to);
  launched();
}

template <class T, class S>
void sum_columns(Stream stream, Index rows, Index width, std::initializer_list<const void*> pointers, const S& source, Array to) {
  if (rows == 0 || width == 0) return;
  const Index parts = std::clamp<Index>(rows / 32, 1, kMostParts);
  const Scratch partial(stream, parts * width * Index{sizeof(float)});
  by_width<T>(pointers, {width}, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const dim3 grid(blocks(width, 32 * V), static_cast<unsigned>(parts));
    ORRERY_LAUNCH((column_kernel<S, V>), grid, dim3(32, 8), 0, stream)(rows, width, source, partial.as<float>());
    launched();
  });
  fold(stream, parts, width, partial.as<float>(), to);
}

// Calls f(Number<kGroup>{}) for the first of the groups whose registers hold a row, so many vectors a thread; false where none does.
template <int V, int kVectors, int... kGroups, class F>
bool by_group(Index width, F f) {
  const auto tried = [&](auto group) {
    if (width > decltype(group)::value * V * kVectors) return false;
    f(group);
    return true;
  };
  return (tried(Number<kGroups>{}) || ...);
}

template <class T, bool kLayerNorm>
void forward(Stream stream, Index tokens, Index width, float epsilon, const T* x, Array gamma, Array beta, T* y, float* statistics) {
  by_width<T>({x, y, gamma.data, beta.data}, {width}, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const bool done = by_group<V, kKept, 32, 128, 512>(width, [&](auto g) {
      constexpr int kGroup = decltype(g)::value;
      const dim3 block(kGroup, kBlock<kGroup> / kGroup);
      ORRERY_LAUNCH((forward_kernel<T, kLayerNorm, kGroup, V>), blocks(tokens, block.y), block, 0, stream)
      (tokens, width, epsilon, x, gamma, beta, y, statistics);
    });
    if (!done) ORRERY_LAUNCH((wide_forward_kernel<T, kLayerNorm>), static_cast<unsigned>(tokens), kThreads, 0, stream)
    (width, epsilon, x, gamma, beta, y, statistics);
    launched();
  });
}

template <class T, bool kLayerNorm>
void backward(Stream stream, Index tokens, Index width, const T* dy, const T* x, Array gamma, const float* statistics, T* dx, Array d_gamma,
              Array d_beta) {
  by_width<T>({dy, x, dx, gamma.data}, {width}, [&](auto v) {
    constexpr int V = decltype(v)::value;
    const bool done = by_group<V, 1, 32, 128, 256, 512, 1024>(width, [&](auto g) {
      constexpr int kGroup = decltype(g)::value;
      const dim3 block(kGroup, kBlock<kGroup> / kGroup);
      const Index each = block.y, grid = std::clamp<Index>((tokens + 8 * each - 1) / (8 * each), 1, kMostBlocks), parts = grid * each;
      const Scratch gammas(stream, parts * width * Index{sizeof(float)}), betas(stream, d_beta ? parts * width * Index{sizeof(float)} : 0);
      ORRERY_LAUNCH((backward_kernel<T, kLayerNorm, kGroup, V>), static_cast<unsigned>(grid), block, 0, stream)
      (tokens, width, dy, x, gamma, statistics, dx, gammas.as<float>(), betas.as<float>());
      launched();
      fold(stream, parts, width, gammas.as<float>(), d_gamma);
      if (d_beta) fold(stream, parts, width, betas.as<float>(), d_beta);
    });
    if (done) return;
    ORRERY_LAUNCH((wide_backward_kernel<T, kLayerNorm>), static_cast<unsigned>(tokens), kThreads, 0, stream)(width, dy, x, gamma, statistics, dx);
    launched();
    sum_columns<T>(stream, tokens, width, {dy, x}, TimesNormed<T, kLayerNorm>{dy, x, statistics, tokens}, d_gamma);
    if (d_beta) sum_columns<T>(stream, tokens, width, {dy}, Plain<T>{dy}, d_beta);
  });
}

}  // namespace

void norm_forward(Stream stream, DType type, bool layer_norm, Index tokens, Index width, float epsilon, const void* x, Array gamma, Array beta,
                  void* y, float* statistics) {
  if (tokens == 0 || width == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    const auto run = layer_norm ? forward<T, true> : forward<T, false>;
    run(stream, tokens, width, epsilon, static_cast<const T*>(x), gamma, beta, static_cast<T*>(y), statistics);
  });
}

void norm_backward(Stream stream, DType type, bool layer_norm, Index tokens, Index width, const void* dy, const void* x, Array gamma,
                   const float* statistics, void* dx, Array d_gamma, Array d_beta) {
  if (tokens == 0 || width == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    const auto run = layer_norm ? backward<T, true> : backward<T, false>;
    run(stream, tokens, width, static_cast<const T*>(dy), static_cast<const T*>(x), gamma, statistics, static_cast<T*>(dx), d_gamma, d_beta);
  });
}

void bias_grad(Stream stream, DType type, Index tokens, Index width, const void* dy, Array d_bias) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    sum_columns<T>(stream, tokens, width, {dy}, Plain<T>{static_cast<const T*>(dy)}, d_bias);
  });
}

}  // namespace orrery::executor::cuda
