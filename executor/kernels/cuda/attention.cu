// Attention that is correct for every shape and every share of a sequence: softmax online over tiles of 32 keys (Milakov & Gimelshein 2018; Dao et
// al. 2022), masked by positions, in fp32 without the matrix units. It is what cuDNN does not do, and what runs where cuDNN is not. A block has 32
// rows of one head, a warp four of them; lanes are first the tile's other rows, then columns of the result.
#include <type_traits>

#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

constexpr int kRows = AttentionTiles::kRows, kOfWarp = 4, kWarps = kRows / kOfWarp;
static_assert(kWarps * 32 == kThreads && sizeof(float) == 4 && sizeof(Index) == 8);

// Rows [first, first + kRows) of `width` elements into shared rows of `stride`, zero beyond `rows`.
template <class T>
__device__ __forceinline__ void fetch(const T* x, const Strides& s, Index sample, Index head, Index first, Index rows, int width, int stride,
                                      float factor, float* to) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = warp; i < kRows; i += kWarps)
    for (int j = lane; j < width; j += 32) to[i * stride + j] = first + i < rows ? factor * wide(x[s.at(first + i, sample, head) + j]) : 0.F;
}

// products[a] = the warp's row a of `mine` times the lane's row of `others`.
__device__ __forceinline__ void products(const float* mine, int width, const float* others, int stride, float (&to)[kOfWarp]) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int a = 0; a < kOfWarp; ++a) to[a] = 0;
  for (int j = 0; j < width; ++j) {
    const float other = others[lane * stride + j];
#pragma unroll
    for (int a = 0; a < kOfWarp; ++a) to[a] += mine[(warp * kOfWarp + a) * width + j] * other;
  }
}

// sums[a][c] += Σ over lanes of weights[a] times column lane + 32 c of that lane's row.
template <int kColumns>
__device__ __forceinline__ void add_rows(const float (&weights)[kOfWarp], const float* rows, int width, int stride,
                                         float (&sums)[kOfWarp][kColumns]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < 32; ++i) {
    float w[kOfWarp];
#pragma unroll
    for (int a = 0; a < kOfWarp; ++a) w[a] = __shfl_sync(0xffffffffU, weights[a], i);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = lane + 32 * c;
      const float x = column < width ? rows[i * stride + column] : 0.F;
#pragma unroll
      for (int a = 0; a < kOfWarp; ++a) sums[a][c] += w[a] * x;
    }
  }
}

__device__ __forceinline__ int warp_row(int a) { return static_cast<int>(threadIdx.x) / 32 * kOfWarp + a; }

// Positions of the block's own rows, -1 beyond the last; also the largest and the smallest.
struct Own {
  Index at[kRows];
  __device__ __forceinline__ void fill(const Positions& positions, Index first, Index rows) {
    if (threadIdx.x < kRows) at[threadIdx.x] = first + threadIdx.x < rows ? positions.at(first + threadIdx.x) : -1;
    __syncthreads();
  }
  __device__ __forceinline__ Index latest() const {
    Index most = -1;
    for (const Index p : at) most = p > most ? p : most;
    return most;
  }
  __device__ __forceinline__ Index earliest() const {
    Index least = INT64_MAX;
    for (const Index p : at) least = p >= 0 && p < least ? p : least;
    return least;
  }
};

template <class T, int kColumns>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const __grid_constant__ AttentionProblem s, float scale, const T* q, const T* k, const T* v, T* out, float* lse) {
  float* const memory = dynamic_shared();
  __shared__ Own own;
  const int d = static_cast<int>(s.qk_dim), dv = static_cast<int>(s.v_dim), lane = static_cast<int>(threadIdx.x) % 32;
  float *queries = memory, *keys = queries + kRows * d, *values = keys + kRows * (d + 1);
  const Index first = Index{blockIdx.x} * kRows, head = blockIdx.y, sample = blockIdx.z, kv_head = head / (s.q_heads / s.kv_heads);
  fetch(q, s.q, sample, head, first, s.queries, d, d, scale, queries);
  own.fill(s.query_positions, first, s.queries);
  const Index latest = own.latest();

  float most[kOfWarp], sum[kOfWarp], o[kOfWarp][kColumns]{};
#pragma unroll
  for (int a = 0; a < kOfWarp; ++a) most[a] = -INFINITY, sum[a] = 0;
  for (Index tile = 0; tile < s.keys; tile += kRows) {
    const bool there = tile + lane < s.keys;
    const Index position = there && s.causal ? s.key_positions.at(tile + lane) : 0;
    if (!__syncthreads_or(there && (!s.causal || position <= latest))) continue;
    fetch(k, s.k, sample, kv_head, tile, s.keys, d, d + 1, 1.F, keys);
    fetch(v, s.v, sample, kv_head, tile, s.keys, dv, dv, 1.F, values);
    __syncthreads();
    float p[kOfWarp];
    products(queries, d, keys, d + 1, p);
#pragma unroll
    for (int a = 0; a < kOfWarp; ++a) {
      const float score = there && (!s.causal || position <= own.at[warp_row(a)]) ? p[a] : -INFINITY;
      const float higher = fmaxf(most[a], warp_max(score));
      if (higher == -INFINITY) {
        p[a] = 0;
        continue;
      }
      const float correction = expf(most[a] - higher);
      p[a] = expf(score - higher);
      sum[a] = sum[a] * correction + warp_sum(p[a]);
      most[a] = higher;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) o[a][c] *= correction;
    }
    add_rows<kColumns>(p, values, dv, dv, o);
  }
#pragma unroll
  for (int a = 0; a < kOfWarp; ++a) {
    const Index row = first + warp_row(a);
    if (row >= s.queries) continue;
    const float inverse = sum[a] > 0 ? 1.F / sum[a] : 0.F;
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
      if (lane + 32 * c < dv) out[((row * s.batch + sample) * s.q_heads + head) * dv + lane + 32 * c] = narrow<T>(o[a][c] * inverse);
    if (lane == 0) lse[(head * s.batch + sample) * s.queries + row] = sum[a] > 0 ? most[a] + logf(sum[a]) : -INFINITY;
  }
}

// Σ d_out · out by row and head, a warp each.
template <class T>
__global__ void __launch_bounds__(kThreads) dot_kernel(Index batch, Index queries, Index heads, int dv, const T* out, const T* d_out, float* dots) {
  const Index at = Index{blockIdx.x} * kWarps + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (at >= batch * queries * heads) return;
  float sum = 0;
  for (Index j = lane; j < dv; j += 32) sum += wide(out[at * dv + j]) * wide(d_out[at * dv + j]);
  sum = warp_sum(sum);
  const Index row = at / heads, head = at - row * heads, query = row / batch, sample = row - query * batch;
  if (lane == 0) dots[(head * batch + sample) * queries + query] = sum;
}

// Probabilities are made again from lse (Dao et al. 2022, algorithm 4): p = e^(s - lse), ds = p (dp - Σ dO·O).
template <class T, int kColumns>
__global__ void __launch_bounds__(kThreads) d_q_kernel(const __grid_constant__ AttentionProblem s, float scale, const T* q, const T* k, const T* v,
                                                       const float* lse, const float* dots, const T* d_out, T* d_q, bool adds) {
  float* const memory = dynamic_shared();
  __shared__ Own own;
  const int d = static_cast<int>(s.qk_dim), dv = static_cast<int>(s.v_dim), lane = static_cast<int>(threadIdx.x) % 32;
  float *queries = memory, *d_outs = queries + kRows * d, *keys = d_outs + kRows * dv, *values = keys + kRows * (d + 1);
  const Index first = Index{blockIdx.x} * kRows, head = blockIdx.y, sample = blockIdx.z, kv_head = head / (s.q_heads / s.kv_heads);
  const Strides of_out{s.batch * s.q_heads * dv, s.q_heads * dv, dv};
  fetch(q, s.q, sample, head, first, s.queries, d, d, scale, queries);
  fetch(d_out, of_out, sample, head, first, s.queries, dv, dv, 1.F, d_outs);
  own.fill(s.query_positions, first, s.queries);
  const Index latest = own.latest();

  float of_row[kOfWarp], dot[kOfWarp], sums[kOfWarp][kColumns]{};
#pragma unroll
  for (int a = 0; a < kOfWarp; ++a) {
    const Index row = first + warp_row(a), at = (head * s.batch + sample) * s.queries + row;
    of_row[a] = row < s.queries ? lse[at] : INFINITY;
    dot[a] = row < s.queries ? dots[at] : 0.F;
  }
  for (Index tile = 0; tile < s.keys; tile += kRows) {
    const bool there = tile + lane < s.keys;
    const Index position = there && s.causal ? s.key_positions.at(tile + lane) : 0;
    if (!__syncthreads_or(there && (!s.causal || position <= latest))) continue;
    fetch(k, s.k, sample, kv_head, tile, s.keys, d, d + 1, 1.F, keys);
    fetch(v, s.v, sample, kv_head, tile, s.keys, dv, dv + 1, 1.F, values);
    __syncthreads();
    float p[kOfWarp], dp[kOfWarp];
    products(queries, d, keys, d + 1, p);
    products(d_outs, dv, values, dv + 1, dp);
#pragma unroll
    for (int a = 0; a < kOfWarp; ++a) {
      const bool attends = there && (!s.causal || position <= own.at[warp_row(a)]);
      p[a] = attends ? expf(p[a] - of_row[a]) * (dp[a] - dot[a]) * scale : 0.F;
    }
    add_rows<kColumns>(p, keys, d, d + 1, sums);
  }
#pragma unroll
  for (int a = 0; a < kOfWarp; ++a) {
    const Index row = first + warp_row(a);
    if (row >= s.queries) continue;
    T* to = d_q + s.q.at(row, sample, head);
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
      if (lane + 32 * c < d) to[lane + 32 * c] = narrow<T>(sums[a][c] + (adds ? wide(to[lane + 32 * c]) : 0.F));
  }
}

// A block has 32 keys of one kv head, and goes through the queries of the heads that share it, in order.
template <class T, int kColumns>
__global__ void __launch_bounds__(kThreads) d_kv_kernel(const __grid_constant__ AttentionProblem s, float scale, const T* q, const T* k, const T* v,
                                                        const float* lse, const float* dots, const T* d_out, T* d_k, T* d_v) {
  float* const memory = dynamic_shared();
  __shared__ Own own;
  const int d = static_cast<int>(s.qk_dim), dv = static_cast<int>(s.v_dim), lane = static_cast<int>(threadIdx.x) % 32;
  float *keys = memory, *values = keys + kRows * d, *queries = values + kRows * dv, *d_outs = queries + kRows * (d + 1);
  const Index first = Index{blockIdx.x} * kRows, kv_head = blockIdx.y, sample = blockIdx.z, shared_by = s.q_heads / s.kv_heads;
  const Strides of_out{s.batch * s.q_heads * dv, s.q_heads * dv, dv};
  fetch(k, s.k, sample, kv_head, first, s.keys, d, d, 1.F, keys);
  fetch(v, s.v, sample, kv_head, first, s.keys, dv, dv, 1.F, values);
  own.fill(s.key_positions, first, s.keys);
  const Index earliest = own.earliest();

  float of_k[kOfWarp][kColumns]{}, of_v[kOfWarp][kColumns]{};
  for (Index head = kv_head * shared_by; head < (kv_head + 1) * shared_by; ++head)
    for (Index tile = 0; tile < s.queries; tile += kRows) {
      const bool there = tile + lane < s.queries;
      const Index position = there && s.causal ? s.query_positions.at(tile + lane) : 0;
      if (!__syncthreads_or(there && (!s.causal || position >= earliest))) continue;
      fetch(q, s.q, sample, head, tile, s.queries, d, d + 1, 1.F, queries);
      fetch(d_out, of_out, sample, head, tile, s.queries, dv, dv + 1, 1.F, d_outs);
      const Index at = (head * s.batch + sample) * s.queries + tile + lane;
      const float of_row = there ? lse[at] : INFINITY, dot = there ? dots[at] : 0.F;
      __syncthreads();
      float p[kOfWarp], ds[kOfWarp];
      products(keys, d, queries, d + 1, p);
      products(values, dv, d_outs, dv + 1, ds);
#pragma unroll
      for (int a = 0; a < kOfWarp; ++a) {
        const Index key = own.at[warp_row(a)];
        const bool attends = there && key >= 0 && (!s.causal || key <= position);
        p[a] = attends ? expf(p[a] * scale - of_row) : 0.F;
        ds[a] = p[a] * (ds[a] - dot) * scale;
      }
      add_rows<kColumns>(p, d_outs, dv, dv + 1, of_v);
      add_rows<kColumns>(ds, queries, d, d + 1, of_k);
    }
#pragma unroll
  for (int a = 0; a < kOfWarp; ++a) {
    const Index row = first + warp_row(a);
    if (row >= s.keys) continue;
    T *to_k = d_k + s.k.at(row, sample, kv_head), *to_v = d_v + s.v.at(row, sample, kv_head);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (lane + 32 * c < d) to_k[lane + 32 * c] = narrow<T>(of_k[a][c]);
      if (lane + 32 * c < dv) to_v[lane + 32 * c] = narrow<T>(of_v[a][c]);
    }
  }
}

template <class T>
struct Merge {
  Index batch, queries, heads, v_dim;
  const T* some;
  const float* some_lse;
  T* out;
  const float* lse;
  template <int V>
  __device__ void at(Index at, Index c) const {
    const Index row = at / heads, head = at - row * heads, query = row / batch, place = (head * batch + row - query * batch) * queries + query;
    const float other = some_lse[place];
    if (other == -INFINITY) return;
    const Shares shares = Shares::from(lse[place], other);
    float x[V], y[V];
    load<V>(some + at * v_dim + c, x);
    load<V>(out + at * v_dim + c, y);
#pragma unroll
    for (int j = 0; j < V; ++j) y[j] = shares.of_a * y[j] + shares.of_b * x[j];
    store<V>(out + at * v_dim + c, y);
  }
};

struct MergeSums {
  const float* some;
  float* lse;
  template <int V>
  __device__ void at(Index i) const {
    if (some[i] != -INFINITY) lse[i] = Shares::from(lse[i], some[i]).lse;
  }
};

// Calls f(Number<N>{}) for as many columns a lane as heads of `width` need.
template <class F>
void by_columns(Index width, F f) {
  assert(width <= kMostHead);
  if (width <= 32) return f(Number<1>{});
  if (width <= 64) return f(Number<2>{});
  if (width <= 128) return f(Number<4>{});
  f(Number<8>{});
}

template <class... Arguments>
void launch(Stream stream, void (*kernel)(Arguments...), Index rows, Index heads, Index samples, Index floats, std::type_identity_t<Arguments>... a) {
  if (rows == 0 || heads == 0 || samples == 0) return;
  const auto bytes = static_cast<std::size_t>(floats) * sizeof(float);
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), "attention's shared memory");
  const dim3 grid(static_cast<unsigned>((rows + kRows - 1) / kRows), static_cast<unsigned>(heads), static_cast<unsigned>(samples));
  ORRERY_LAUNCH(kernel, grid, kThreads, bytes, stream)(a...);
  launched();
}

float scale_of(const AttentionProblem& s) { return 1.F / std::sqrt(static_cast<float>(s.qk_dim)); }

}  // namespace

void attention_forward(Stream stream, DType type, const AttentionProblem& s, const void* q, const void* k, const void* v, void* out, float* lse) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_columns(s.v_dim, [&](auto n) {
      launch(stream, forward_kernel<T, decltype(n)::value>, s.queries, s.q_heads, s.batch, AttentionTiles::forward_floats(s.qk_dim, s.v_dim), s,
             scale_of(s), static_cast<const T*>(q), static_cast<const T*>(k), static_cast<const T*>(v), static_cast<T*>(out), lse);
    });
  });
}

void attention_backward(Stream stream, DType type, const AttentionProblem& s, const void* q, const void* k, const void* v, const void* out,
                        const float* lse, const void* d_out, void* d_q, void* d_k, void* d_v, bool adds) {
  const Index rows = s.batch * s.queries * s.q_heads, floats = AttentionTiles::backward_floats(s.qk_dim, s.v_dim);
  const Scratch dots(stream, rows * Index{sizeof(float)});
  by_type(type, [&](auto t) {
    using T = decltype(t);
    const auto *of_q = static_cast<const T*>(q), *of_k = static_cast<const T*>(k), *of_v = static_cast<const T*>(v),
               *of_out = static_cast<const T*>(d_out);
    if (rows > 0) {
      ORRERY_LAUNCH((dot_kernel<T>), blocks(rows, kWarps), kThreads, 0, stream)
      (s.batch, s.queries, s.q_heads, static_cast<int>(s.v_dim), static_cast<const T*>(out), of_out, dots.as<float>());
      launched();
    }
    by_columns(s.qk_dim, [&](auto n) {
      launch(stream, d_q_kernel<T, decltype(n)::value>, s.queries, s.q_heads, s.batch, floats, s, scale_of(s), of_q, of_k, of_v, lse,
             dots.as<float>(), of_out, static_cast<T*>(d_q), adds);
    });
    by_columns(std::max(s.qk_dim, s.v_dim), [&](auto n) {
      launch(stream, d_kv_kernel<T, decltype(n)::value>, s.keys, s.kv_heads, s.batch, floats, s, scale_of(s), of_q, of_k, of_v, lse, dots.as<float>(),
             of_out, static_cast<T*>(d_k), static_cast<T*>(d_v));
    });
  });
}

void attention_merge(Stream stream, DType type, Index batch, Index queries, Index heads, Index v_dim, const void* some, const float* some_lse,
                     void* out, float* lse) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({some, out}, {v_dim}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, batch * queries * heads, v_dim,
                                   Merge<T>{batch, queries, heads, v_dim, static_cast<const T*>(some), some_lse, static_cast<T*>(out), lse});
    });
  });
  map<1>(stream, batch * queries * heads, MergeSums{some_lse, lse});
}

}  // namespace orrery::executor::cuda
