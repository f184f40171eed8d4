#include "executor/kernels/cpu/cpu.h"
#include "executor/kernels/cpu/vector_math.h"

namespace orrery::executor::cpu {
namespace {

// A function and its derivative at one point.
struct Value {
  float f, d;
};

struct Silu {
  static Value at(float x) {
    const float s = sigmoid(x);
    return {x * s, s * (1.F + x * (1.F - s))};
  }
};
struct Gelu {
  static Value at(float x) {
    const Normal n = standard_normal(x);
    return {x * n.cumulative, n.cumulative + x * n.density};
  }
};
struct GeluTanh {  // ½ x (1 + tanh u) = x σ(2u), u = sqrt(2/π) (x + 0.044715 x³)
  static Value at(float x) {
    constexpr float kTwice = 2.F * 0.797884561F, kCube = 0.044715F, kSaturated = 30.F;  // beyond, σ is 0 or 1 and cubes might overflow
    float c = x < -kSaturated ? -kSaturated : x;
    c = c > kSaturated ? kSaturated : c;
    const float s = sigmoid(kTwice * (c + kCube * c * c * c));
    return {x * s, s + c * s * (1.F - s) * kTwice * (1.F + 3.F * kCube * c * c)};
  }
};
struct Relu {
  static Value at(float x) { return {x > 0 ? x : 0.F, x > 0 ? 1.F : 0.F}; }
};
struct ReluSquared {
  static Value at(float x) {
    const float r = x > 0 ? x : 0.F;
    return {r * r, 2.F * r};
  }
};

template <class F>
void forward(bool gated, Index tokens, Index width, const float* u, float* a) {
  if (!gated) {
    const float* __restrict in = u;
    float* __restrict out = a;
#pragma omp simd
    for (Index i = 0; i < tokens * width; ++i) out[i] = F::at(in[i]).f;
    return;
  }
  for (Index t = 0; t < tokens; ++t) {
    const float* __restrict gate = u + 2 * t * width, * __restrict up = gate + width;
    float* __restrict out = a + t * width;
#pragma omp simd
    for (Index i = 0; i < width; ++i) out[i] = F::at(gate[i]).f * up[i];
  }
}

template <class F>
void backward(bool gated, Index tokens, Index width, const float* u, const float* da, float* du) {
  if (!gated) {
    const float* __restrict in = u, * __restrict g = da;
    float* __restrict out = du;
#pragma omp simd
    for (Index i = 0; i < tokens * width; ++i) out[i] = F::at(in[i]).d * g[i];
    return;
  }
  for (Index t = 0; t < tokens; ++t) {
    const float* __restrict gate = u + 2 * t * width, * __restrict up = gate + width, * __restrict g = da + t * width;
    float* __restrict d_gate = du + 2 * t * width, * __restrict d_up = d_gate + width;
#pragma omp simd
    for (Index i = 0; i < width; ++i) {
      const Value v = F::at(gate[i]);
      d_gate[i] = g[i] * up[i] * v.d;
      d_up[i] = g[i] * v.f;
    }
  }
}

}  // namespace

void activation_forward(Activation kind, bool gated, Index tokens, Index width, const float* u, float* a) {
  switch (kind) {
    case Activation::silu:
      return forward<Silu>(gated, tokens, width, u, a);
    case Activation::gelu:
      return forward<Gelu>(gated, tokens, width, u, a);
    case Activation::gelu_tanh:
      return forward<GeluTanh>(gated, tokens, width, u, a);
    case Activation::relu:
      return forward<Relu>(gated, tokens, width, u, a);
    case Activation::relu_squared:
      return forward<ReluSquared>(gated, tokens, width, u, a);
  }
}

void activation_backward(Activation kind, bool gated, Index tokens, Index width, const float* u, const float* da, float* du) {
  switch (kind) {
    case Activation::silu:
      return backward<Silu>(gated, tokens, width, u, da, du);
    case Activation::gelu:
      return backward<Gelu>(gated, tokens, width, u, da, du);
    case Activation::gelu_tanh:
      return backward<GeluTanh>(gated, tokens, width, u, da, du);
    case Activation::relu:
      return backward<Relu>(gated, tokens, width, u, da, du);
    case Activation::relu_squared:
      return backward<ReluSquared>(gated, tokens, width, u, da, du);
  }
}

void residual_forward(Index tokens, Index width, const float* x, const float* bias, float* y) {
  if (!bias) return accumulate(tokens * width, x, y);
  const float* __restrict b = bias;
  for (Index t = 0; t < tokens; ++t) {
    const float* __restrict in = x + t * width;
    float* __restrict out = y + t * width;
#pragma omp simd
    for (Index i = 0; i < width; ++i) out[i] += in[i] + b[i];
  }
}

void bias_grad(Index tokens, Index width, const float* dy, float* d_bias) {
  for (Index t = 0; t < tokens; ++t) accumulate(width, dy + t * width, d_bias);
}

void accumulate(Index elements, const float* x, float* y) {
  const float* __restrict in = x;
  float* __restrict out = y;
#pragma omp simd
  for (Index i = 0; i < elements; ++i) out[i] += in[i];
}

}  // namespace orrery::executor::cpu
