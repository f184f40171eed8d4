// The gradient's norm and the optimizer's step. The norm, and so the clip factor, never leaves the device.
#include "executor/kernels/cuda/device.cuh"
#include "executor/kernels/narrow.h"

namespace orrery::executor::cuda {
namespace {

constexpr Index kNormParts = 1024;  // partial sums, whatever the device, so that the result does not depend on it

template <int V>
__global__ void __launch_bounds__(kThreads) squares_kernel(Index n, Array x, double* partial) {
  __shared__ double shared[32];
  const Index thread = Index{blockIdx.x} * kThreads + threadIdx.x, threads = Index{gridDim.x} * kThreads;
  double sum = 0;
  for (Index i = thread; i < n / V; i += threads) {
    float v[V];
    load<V>(x, i * V, v);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += static_cast<double>(v[j]) * static_cast<double>(v[j]);
  }
  if constexpr (V > 1)
    if (thread < n % V) {
      float v[1];
      load<1>(x, n - n % V + thread, v);
      sum += static_cast<double>(v[0]) * static_cast<double>(v[0]);
    }
  const double all = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = all;
}

__global__ void __launch_bounds__(1024) add_up_kernel(Index n, const double* x, double* to) {
  __shared__ double shared[32];
  const double all = block_sum(static_cast<Index>(threadIdx.x) < n ? x[threadIdx.x] : 0.0, shared);
  if (threadIdx.x == 0) *to += all;
}

__global__ void correct_kernel(Update update, Correction c, Update* to) {
  update.correct(c.lr, c.beta1, c.beta2, static_cast<double>(*c.step_at));
  *to = update;
}

template <bool kAdam, bool kAtRandom>
struct Step {
  Update given;
  const Update* corrected;
  double clip;
  const double* norm;
  Array gradient, parameter;
  float *m, *v, *master;
  AtRandom at_random;
  template <int V>
  __device__ void at(Index i) const {
    const float factor = clip_factor(*norm, clip);
    const Update update = kAdam && corrected ? *corrected : given;
    float g[V], p[V];
    load<V>(gradient, i, g);
    if (master)
      load<V>(master + i, p);
    else
      load<V>(parameter, i, p);
    if constexpr (kAdam) {
      float m1[V], m2[V];
      load<V>(m + i, m1);
      load<V>(v + i, m2);
#pragma unroll
      for (int j = 0; j < V; ++j) p[j] = update.adamw(p[j], factor * g[j], m1[j], m2[j]);
      store<V>(m + i, m1);
      store<V>(v + i, m2);
    } else {
#pragma unroll
      for (int j = 0; j < V; ++j) p[j] = update.sgd(p[j], factor * g[j]);
    }
    if (master) store<V>(master + i, p);
    if constexpr (kAtRandom) {
      const std::uint64_t key = step_key(at_random.key, at_random.step_at ? *at_random.step_at : at_random.step);
      std::uint16_t codes[V];
#pragma unroll
      for (int j = 0; j < V; ++j) codes[j] = to_bf16_at_random(p[j], rounding_bits(key, at_random.first + i + j));
      Pack<std::uint16_t, V> pack;
      memcpy(pack.words, codes, sizeof codes);
      pack.store(static_cast<std::uint16_t*>(parameter.data) + i);
    } else {
      store<V>(parameter, i, p);
    }
  }
};

}  // namespace

void gradient_norm(Stream stream, Index elements, Array gradient, double* norm) {
  if (elements == 0) return;
  const Index parts = std::clamp<Index>(elements / (8 * kThreads), 1, kNormParts);
  const Scratch partial(stream, parts * Index{sizeof(double)});
  by_width<__half>({gradient.data}, {}, [&](auto v) {
    ORRERY_LAUNCH((squares_kernel<decltype(v)::value>), static_cast<unsigned>(parts), kThreads, 0, stream)(elements, gradient, partial.as<double>());
    launched();
  });
  ORRERY_LAUNCH(add_up_kernel, 1, 1024, 0, stream)(parts, partial.as<double>(), norm);
  launched();
}

void optimizer_step(Stream stream, Index elements, const Update& update, const Correction& correction, double clip, const double* norm,
                    Array gradient, Array parameter, float* m, float* v, float* master, const AtRandom& at_random) {
  assert(!at_random.on || parameter.type == DType::bf16);
  const bool on_device = m && correction.step_at;
  const Scratch corrected(stream, on_device ? Index{sizeof(Update)} : 0);
  if (on_device) {
    ORRERY_LAUNCH(correct_kernel, 1, 1, 0, stream)(update, correction, corrected.as<Update>());
    launched();
  }
  by_width<__half>({gradient.data, parameter.data, m, v, master}, {}, [&](auto width) {
    constexpr int V = decltype(width)::value;
    const auto step = [&](auto kind) {
      map<V>(stream, elements, decltype(kind){update, corrected.as<Update>(), clip, norm, gradient, parameter, m, v, master, at_random});
    };
    if (m)
      at_random.on ? step(Step<true, true>{}) : step(Step<true, false>{});
    else
      at_random.on ? step(Step<false, true>{}) : step(Step<false, false>{});
  });
}

}  // namespace orrery::executor::cuda
