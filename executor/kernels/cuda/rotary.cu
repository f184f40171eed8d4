// Rotary positions, in place and on the way into the packed rows of latent attention. A block has one row: its cosines and sines are worked out once
// and used for all heads.
#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

// Fills `turns` for the position of `row`.
__device__ __forceinline__ void turn(Turn* turns, Index row, Index micro_batch, const Positions& positions, const Rotation& rotation, bool forward) {
  const auto position = static_cast<double>(positions.at(row / micro_batch));
  for (Index i = threadIdx.x; i < rotation.pairs; i += kThreads) {
    Turn t = Turn::by(position * rotation.per_position[i], rotation.amplitude);
    if (!forward) t.sine = -t.sine;
    turns[i] = t;
  }
  __syncthreads();
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(bool forward, Index heads, Index head_dim, Index width, Index micro_batch, const __grid_constant__ Positions positions,
                const __grid_constant__ Rotation rotation, T* qkv) {
  __shared__ Turn turns[Rotation::kMost];
  turn(turns, blockIdx.x, micro_batch, positions, rotation, forward);
  T* row = qkv + Index{blockIdx.x} * width;
  const int half = static_cast<int>(rotation.pairs), vectors = half / V, all = static_cast<int>(heads) * vectors;
  for (int i = static_cast<int>(threadIdx.x); i < all; i += kThreads) {
    const int head = i / vectors, pair = (i - head * vectors) * V;
    T* at = row + head * head_dim + pair;
    float a[V], b[V];
    load<V>(at, a);
    load<V>(at + half, b);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const Turn t = turns[pair + j];
      const float x = a[j], y = b[j];
      a[j] = t.low(x, y);
      b[j] = t.high(y, x);
    }
    store<V>(at, a);
    store<V>(at + half, b);
  }
}

// Elements [rotated, rotated + V) of x, which begins `rotated` elements after its rotated part does, turned.
template <int V, class T>
__device__ __forceinline__ void rotate(const T* x, int rotated, int half, const Turn* turns, float (&to)[V]) {
  float partner[V];
  const bool low = rotated < half;
  load<V>(x, to);
  load<V>(low ? x + half : x - half, partner);
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const Turn t = turns[(low ? rotated : rotated - half) + j];
    to[j] = low ? t.low(to[j], partner[j]) : t.high(to[j], partner[j]);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) pack_kernel(Latent shape, Index micro_batch, const __grid_constant__ Positions positions,
                                                        const __grid_constant__ Rotation rotation, const T* q, const T* kv, const T* k_rope, T* qkv) {
  __shared__ Turn turns[Rotation::kMost];
  const Index row = blockIdx.x;
  turn(turns, row, micro_batch, positions, rotation, true);
  q += row * shape.q_width(), kv += row * shape.kv_width(), k_rope += row * shape.rope, qkv += row * shape.packed_width();
  const int half = static_cast<int>(rotation.pairs);
  for (Index c = Index{threadIdx.x} * V; c < shape.packed_width(); c += kThreads * V) {
    const Latent::Source s = shape.source(c);
    const T* from = (s.part == Latent::Part::q ? q : s.part == Latent::Part::kv ? kv : k_rope) + s.column;
    float x[V];
    if (s.rotated < 0)
      load<V>(from, x);
    else
      rotate<V>(from, static_cast<int>(s.rotated), half, turns, x);
    store<V>(qkv + c, x);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) unpack_kernel(Latent shape, Index micro_batch, const __grid_constant__ Positions positions,
                                                          const __grid_constant__ Rotation rotation, const T* d_qkv, T* d_q, T* d_kv, T* d_k_rope) {
  __shared__ Turn turns[Rotation::kMost];
  __shared__ float shared_key[2 * Rotation::kMost];
  const Index row = blockIdx.x;
  turn(turns, row, micro_batch, positions, rotation, false);
  d_qkv += row * shape.packed_width(), d_q += row * shape.q_width(), d_kv += row * shape.kv_width(), d_k_rope += row * shape.rope;
  const int half = static_cast<int>(rotation.pairs);
  for (Index c = Index{threadIdx.x} * V; c < shape.q_width(); c += kThreads * V) {
    const Index rotated = shape.source(c).rotated;
    float x[V];
    if (rotated < 0)
      load<V>(d_qkv + c, x);
    else
      rotate<V>(d_qkv + c, static_cast<int>(rotated), half, turns, x);
    store<V>(d_q + c, x);
  }
  for (Index c = Index{threadIdx.x} * V; c < shape.kv_width(); c += kThreads * V) {
    float x[V];
    load<V>(d_qkv + shape.packed_of_kv(c), x);
    store<V>(d_kv + c, x);
  }
  // The heads' gradients are summed before they are turned back.
  for (Index i = threadIdx.x; i < shape.rope; i += kThreads) {
    float sum = 0;
    for (Index h = 0; h < shape.heads; ++h) sum += wide(d_qkv[shape.q_width() + h * shape.qk() + shape.nope + i]);
    shared_key[i] = sum;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kThreads) {
    const float low = shared_key[i], high = shared_key[i + half];
    d_k_rope[i] = narrow<T>(turns[i].low(low, high));
    d_k_rope[i + half] = narrow<T>(turns[i].high(high, low));
  }
}

}  // namespace

void rope(Stream stream, DType type, bool forward, Index tokens, Index q_heads, Index kv_heads, Index head_dim, Index micro_batch,
          const Positions& positions, const Rotation& rotation, void* qkv) {
  if (tokens == 0 || rotation.pairs == 0) return;
  const Index width = (q_heads + 2 * kv_heads) * head_dim;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({qkv}, {head_dim, rotation.pairs}, [&](auto v) {
      ORRERY_LAUNCH((rope_kernel<T, decltype(v)::value>), static_cast<unsigned>(tokens), kThreads, 0, stream)
      (forward, q_heads + kv_heads, head_dim, width, micro_batch, positions, rotation, static_cast<T*>(qkv));
      launched();
    });
  });
}

void mla_pack_forward(Stream stream, DType type, Index tokens, const Latent& shape, Index micro_batch, const Positions& positions,
                      const Rotation& rotation, const void* q, const void* kv, const void* k_rope, void* qkv) {
  if (tokens == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({q, kv, k_rope, qkv}, {shape.nope, rotation.pairs, shape.v}, [&](auto v) {
      ORRERY_LAUNCH((pack_kernel<T, decltype(v)::value>), static_cast<unsigned>(tokens), kThreads, 0, stream)
      (shape, micro_batch, positions, rotation, static_cast<const T*>(q), static_cast<const T*>(kv), static_cast<const T*>(k_rope),
       static_cast<T*>(qkv));
      launched();
    });
  });
}

void mla_pack_backward(Stream stream, DType type, Index tokens, const Latent& shape, Index micro_batch, const Positions& positions,
                       const Rotation& rotation, const void* d_qkv, void* d_q, void* d_kv, void* d_k_rope) {
  if (tokens == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({d_qkv, d_q, d_kv, d_k_rope}, {shape.nope, rotation.pairs, shape.v}, [&](auto v) {
      ORRERY_LAUNCH((unpack_kernel<T, decltype(v)::value>), static_cast<unsigned>(tokens), kThreads, 0, stream)
      (shape, micro_batch, positions, rotation, static_cast<const T*>(d_qkv), static_cast<T*>(d_q), static_cast<T*>(d_kv), static_cast<T*>(d_k_rope));
      launched();
    });
  });
}

}  // namespace orrery::executor::cuda
