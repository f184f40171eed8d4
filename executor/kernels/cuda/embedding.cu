// Embeddings. Gradients of one table row are added by one block in the order of tokens: no atomics, the same bits every time.
#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

template <class T>
struct Look {
  const std::int32_t* token;
  Index offset, rows, hidden;
  Array table;
  T* x;
  template <int V>
  __device__ void at(Index t, Index c) const {
    const Index row = token[t] - offset;
    float v[V]{};
    if (row >= 0 && row < rows) load<V>(table, row * hidden + c, v);
    store<V>(x + t * hidden + c, v);
  }
};

template <class T>
struct AddPosition {
  Positions positions;
  Index micro_batch, hidden;
  Array table;
  T* x;
  template <int V>
  __device__ void at(Index t, Index c) const {
    float v[V], y[V];
    load<V>(table, positions.at(t / micro_batch) * hidden + c, v);
    load<V>(x + t * hidden + c, y);
#pragma unroll
    for (int j = 0; j < V; ++j) y[j] += v[j];
    store<V>(x + t * hidden + c, y);
  }
};

// A position's rows are the samples of the micro-batch, next to each other; no position comes twice.
template <class T>
struct PositionGradient {
  Positions positions;
  Index micro_batch, tokens, hidden;
  const T* dx;
  Array d_table;
  template <int V>
  __device__ void at(Index p, Index c) const {
    float sum[V]{};
    for (Index t = p * micro_batch; t < (p + 1) * micro_batch && t < tokens; ++t) {
      float v[V];
      load<V>(dx + t * hidden + c, v);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += v[j];
    }
    add<V>(d_table, positions.at(p) * hidden + c, sum);
  }
};

// Block (t, slice of columns) works if t is the first row of its token, and then adds up all rows of that token. Finding them reads the list of
// tokens, which the cache holds.
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, const T* dx, Array d_table) {
  __shared__ unsigned found[kThreads / 32];
  const Index mine = blockIdx.x;
  const std::int32_t wanted = token[mine];
  const Index row = wanted - offset;
  if (row < 0 || row >= rows) return;
  for (Index t = 0; t < mine; t += kThreads) {
    const Index i = t + threadIdx.x;
    if (__syncthreads_or(i < mine && token[i] == wanted)) return;
  }
  const Index c = (Index{blockIdx.y} * kThreads + threadIdx.x) * V;
  float sum[V]{};
  for (Index t = mine; t < tokens; t += kThreads) {
    const Index i = t + threadIdx.x;
    const unsigned of_warp = __ballot_sync(0xffffffffU, i < tokens && token[i] == wanted);
    if (!__syncthreads_or(of_warp != 0)) continue;
    if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = of_warp;
    __syncthreads();
    for (int w = 0; w < kThreads / 32; ++w)
      for (unsigned left = found[w]; left != 0; left &= left - 1) {
        if (c >= hidden) continue;
        float v[V];
        load<V>(dx + (t + w * 32 + __ffs(static_cast<int>(left)) - 1) * hidden + c, v);
#pragma unroll
        for (int j = 0; j < V; ++j) sum[j] += v[j];
      }
    __syncthreads();
  }
  if (c < hidden) add<V>(d_table, row * hidden + c, sum);
}

}  // namespace

void embedding_forward(Stream stream, DType type, Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, Array table,
                       void* x) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({table.data, x}, {hidden}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, tokens, hidden, Look<T>{token, offset, rows, hidden, table, static_cast<T*>(x)});
    });
  });
}

void embedding_backward(Stream stream, DType type, Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, const void* dx,
                        Array d_table) {
  if (tokens == 0 || hidden == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({dx, d_table.data}, {hidden}, [&](auto v) {
      constexpr int V = decltype(v)::value;
      const dim3 grid(static_cast<unsigned>(tokens), blocks(hidden, kThreads * V));
      ORRERY_LAUNCH((gradient_kernel<T, V>), grid, kThreads, 0, stream)(tokens, hidden, rows, offset, token, static_cast<const T*>(dx), d_table);
      launched();
    });
  });
}

void position_forward(Stream stream, DType type, Index tokens, Index hidden, Index micro_batch, const Positions& positions, Array table, void* x) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({table.data, x}, {hidden}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, tokens, hidden, AddPosition<T>{positions, micro_batch, hidden, table, static_cast<T*>(x)});
    });
  });
}

void position_backward(Stream stream, DType type, Index tokens, Index hidden, Index micro_batch, const Positions& positions, const void* dx,
                       Array d_table) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({dx, d_table.data}, {hidden}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, (tokens + micro_batch - 1) / micro_batch, hidden,
                                   PositionGradient<T>{positions, micro_batch, tokens, hidden, static_cast<const T*>(dx), d_table});
    });
  });
}

}  // namespace orrery::executor::cuda
