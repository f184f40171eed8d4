// Residuals and activations.
#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

template <class T>
struct Accumulate {
  const T* x;
  T* y;
  template <int V>
  __device__ void at(Index i) const {
    float a[V], b[V];
    load<V>(x + i, a);
    load<V>(y + i, b);
#pragma unroll
    for (int j = 0; j < V; ++j) b[j] += a[j];
    store<V>(y + i, b);
  }
};

struct AccumulateDouble {
  const double* x;
  double* y;
  template <int V>
  __device__ void at(Index i) const {
    y[i] += x[i];
  }
};

template <class T>
struct Residual {
  const T* x;
  Array bias;
  Index width;
  T* y;
  template <int V>
  __device__ void at(Index row, Index c) const {
    float a[V], b[V], more[V];
    load<V>(x + row * width + c, a);
    load<V>(bias, c, more);
    load<V>(y + row * width + c, b);
#pragma unroll
    for (int j = 0; j < V; ++j) b[j] += a[j] + more[j];
    store<V>(y + row * width + c, b);
  }
};

// One row's part of an activation; gated: u = [gate | up].
template <class F, bool kGated, int V, class T>
__device__ __forceinline__ void forward(const T* u, Index width, Index c, float (&a)[V]) {
  load<V>(u + c, a);
#pragma unroll
  for (int j = 0; j < V; ++j) a[j] = F::at(a[j]).f;
  if constexpr (kGated) {
    float up[V];
    load<V>(u + width + c, up);
#pragma unroll
    for (int j = 0; j < V; ++j) a[j] *= up[j];
  }
}

// du from the gradient `g` of the result; also gives the result in `a`.
template <class F, bool kGated, int V, class T>
__device__ __forceinline__ void backward(const T* u, Index width, Index c, const float (&g)[V], T* du, float (&a)[V]) {
  float x[V], d[V];
  load<V>(u + c, x);
  if constexpr (kGated) {
    float up[V], d_up[V];
    load<V>(u + width + c, up);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const Value v = F::at(x[j]);
      d[j] = g[j] * up[j] * v.d;
      d_up[j] = g[j] * v.f;
      a[j] = v.f * up[j];
    }
    store<V>(du + width + c, d_up);
  } else {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const Value v = F::at(x[j]);
      d[j] = g[j] * v.d;
      a[j] = v.f;
    }
  }
  store<V>(du + c, d);
}

template <class T, class F, bool kGated>
struct Forward {
  const T* u;
  Index width;
  T* a;
  template <int V>
  __device__ void at(Index row, Index c) const {
    float y[V];
    forward<F, kGated>(u + row * width * (kGated ? 2 : 1), width, c, y);
    store<V>(a + row * width + c, y);
  }
};

template <class T, class F, bool kGated>
struct Backward {
  const T *u, *da;
  Index width;
  T* du;
  template <int V>
  __device__ void at(Index row, Index c) const {
    const Index at = row * width * (kGated ? 2 : 1);
    float g[V], a[V];
    load<V>(da + row * width + c, g);
    backward<F, kGated>(u + at, width, c, g, du + at, a);
  }
};

__device__ __forceinline__ Index sum_of_counts(const std::int32_t* counts, Index experts) {
  Index rows = 0;
  for (Index e = 0; e < experts; ++e) rows += counts[e];
  return rows;
}

// Rows that are there: the sum of the experts' counts.
template <class T, class F, bool kGated, int V>
__global__ void __launch_bounds__(kThreads)
    expert_forward_kernel(Index experts, Index width, const T* u, const std::int32_t* counts, const float* weights, T* a) {
  const Index rows = sum_of_counts(counts, experts);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const float weight = weights[row];
    for (Index c = Index{threadIdx.x} * V; c < width; c += kThreads * V) {
      float y[V];
      forward<F, kGated>(u + row * width * (kGated ? 2 : 1), width, c, y);
#pragma unroll
      for (int j = 0; j < V; ++j) y[j] *= weight;
      store<V>(a + row * width + c, y);
    }
  }
}

template <class T, class F, bool kGated, int V>
__global__ void __launch_bounds__(kThreads) expert_backward_kernel(Index experts, Index width, const T* u, const std::int32_t* counts,
                                                                   const float* weights, const T* da, T* du, float* d_weights) {
  __shared__ double shared[32];
  const Index rows = sum_of_counts(counts, experts);
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const float weight = weights[row];
    const Index at = row * width * (kGated ? 2 : 1);
    double sum = 0;
    for (Index c = Index{threadIdx.x} * V; c < width; c += kThreads * V) {
      float g[V], scaled[V], a[V], part = 0;
      load<V>(da + row * width + c, g);
#pragma unroll
      for (int j = 0; j < V; ++j) scaled[j] = weight * g[j];
      backward<F, kGated>(u + at, width, c, scaled, du + at, a);
#pragma unroll
      for (int j = 0; j < V; ++j) part += g[j] * a[j];
      sum += static_cast<double>(part);
    }
    const double whole = block_sum(sum, shared);
    if (threadIdx.x == 0) d_weights[row] = static_cast<float>(whole);
  }
}

template <bool kGated>
struct Gated {
  static constexpr bool value = kGated;
};
// Calls f(F{}, Gated<…>{}) for the activation.
template <class F>
void by_activation(Activation kind, bool gated, F f) {
  const auto of = [&](auto function) {
    if (gated)
      f(function, Gated<true>{});
    else
      f(function, Gated<false>{});
  };
  switch (kind) {
    case Activation::silu:
      return of(Silu{});
    case Activation::gelu:
      return of(Gelu{});
    case Activation::gelu_tanh:
      return of(GeluTanh{});
    case Activation::relu:
      return of(Relu{});
    case Activation::relu_squared:
      return of(ReluSquared{});
  }
}

unsigned row_blocks(Index most) { return static_cast<unsigned>(std::clamp<Index>(most, 1, 1 << 16)); }

}  // namespace

void accumulate(Stream stream, DType type, Index elements, const void* x, void* y) {
  if (type == DType::fp64) return map<1>(stream, elements, AccumulateDouble{static_cast<const double*>(x), static_cast<double*>(y)});
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({x, y}, {}, [&](auto v) { map<decltype(v)::value>(stream, elements, Accumulate<T>{static_cast<const T*>(x), static_cast<T*>(y)}); });
  });
}

void residual_forward(Stream stream, DType type, Index tokens, Index width, const void* x, Array bias, void* y) {
  if (!bias) return accumulate(stream, type, tokens * width, x, y);
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({x, y, bias.data}, {width}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, tokens, width, Residual<T>{static_cast<const T*>(x), bias, width, static_cast<T*>(y)});
    });
  });
}

void activation_forward(Stream stream, DType type, Activation kind, bool gated, Index tokens, Index width, const void* u, void* a) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_activation(kind, gated, [&](auto function, auto gate) {
      using F = decltype(function);
      constexpr bool kGated = decltype(gate)::value;
      by_width<T>({u, a}, {width}, [&](auto v) {
        map_rows<decltype(v)::value>(stream, tokens, width, Forward<T, F, kGated>{static_cast<const T*>(u), width, static_cast<T*>(a)});
      });
    });
  });
}

void activation_backward(Stream stream, DType type, Activation kind, bool gated, Index tokens, Index width, const void* u, const void* da, void* du) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_activation(kind, gated, [&](auto function, auto gate) {
      using F = decltype(function);
      constexpr bool kGated = decltype(gate)::value;
      by_width<T>({u, da, du}, {width}, [&](auto v) {
        map_rows<decltype(v)::value>(stream, tokens, width,
                                     Backward<T, F, kGated>{static_cast<const T*>(u), static_cast<const T*>(da), width, static_cast<T*>(du)});
      });
    });
  });
}

void expert_activation_forward(Stream stream, DType type, Activation kind, bool gated, Index experts, Index width, Index most, const void* u,
                               const std::int32_t* counts, const float* weights, void* a) {
  if (most == 0 || width == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_activation(kind, gated, [&](auto function, auto gate) {
      using F = decltype(function);
      constexpr bool kGated = decltype(gate)::value;
      by_width<T>({u, a}, {width}, [&](auto v) {
        ORRERY_LAUNCH((expert_forward_kernel<T, F, kGated, decltype(v)::value>), row_blocks(most), kThreads, 0, stream)
        (experts, width, static_cast<const T*>(u), counts, weights, static_cast<T*>(a));
        launched();
      });
    });
  });
}

void expert_activation_backward(Stream stream, DType type, Activation kind, bool gated, Index experts, Index width, Index most, const void* u,
                                const std::int32_t* counts, const float* weights, const void* da, void* du, float* d_weights) {
  if (most == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_activation(kind, gated, [&](auto function, auto gate) {
      using F = decltype(function);
      constexpr bool kGated = decltype(gate)::value;
      by_width<T>({u, da, du}, {width}, [&](auto v) {
        ORRERY_LAUNCH((expert_backward_kernel<T, F, kGated, decltype(v)::value>), row_blocks(most), kThreads, 0, stream)
        (experts, width, static_cast<const T*>(u), counts, weights, static_cast<const T*>(da), static_cast<T*>(du), d_weights);
        launched();
      });
    });
  });
}

}  // namespace orrery::executor::cuda
