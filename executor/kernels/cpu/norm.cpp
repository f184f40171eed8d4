#include <cmath>

#include "executor/kernels/cpu/cpu.h"

namespace orrery::executor::cpu {
namespace {

float sum(Index n, const float* __restrict x) {
  float s = 0;
#pragma omp simd reduction(+ : s)
  for (Index i = 0; i < n; ++i) s += x[i];
  return s;
}

// Σ (x - shift)²
float squares(Index n, const float* __restrict x, float shift) {
  float s = 0;
#pragma omp simd reduction(+ : s)
  for (Index i = 0; i < n; ++i) s += (x[i] - shift) * (x[i] - shift);
  return s;
}

}  // namespace

void rms_norm_forward(Index tokens, Index width, float epsilon, const float* x, const float* gamma, float* y, float* statistics) {
  for (Index t = 0; t < tokens; ++t) {
    const float* __restrict in = x + t * width;
    float* __restrict out = y + t * width;
    const float inverse = 1.F / std::sqrt(squares(width, in, 0) / static_cast<float>(width) + epsilon);
    statistics[t] = inverse;
#pragma omp simd
    for (Index i = 0; i < width; ++i) out[i] = in[i] * inverse * gamma[i];
  }
}

void rms_norm_backward(Index tokens, Index width, const float* dy, const float* x, const float* gamma, const float* statistics, float* dx,
                       float* d_gamma) {
  float* __restrict dg = d_gamma;
  for (Index t = 0; t < tokens; ++t) {
    const float* __restrict g = dy + t * width;
    const float* __restrict in = x + t * width;
    float* __restrict d = dx + t * width;
    const float inverse = statistics[t];
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (Index i = 0; i < width; ++i) dot += g[i] * gamma[i] * in[i];
    const float mean = dot * inverse / static_cast<float>(width);  // of dŷ · x̂, with dŷ = dy γ and x̂ = x/σ
#pragma omp simd
    for (Index i = 0; i < width; ++i) {
      const float normed = in[i] * inverse;
      d[i] += inverse * (g[i] * gamma[i] - normed * mean);
      dg[i] += g[i] * normed;
    }
  }
}

void layer_norm_forward(Index tokens, Index width, float epsilon, const float* x, const float* gamma, const float* beta, float* y,
                        float* statistics) {
  for (Index t = 0; t < tokens; ++t) {
    const float* __restrict in = x + t * width;
    float* __restrict out = y + t * width;
    const float mean = sum(width, in) / static_cast<float>(width);
    const float inverse = 1.F / std::sqrt(squares(width, in, mean) / static_cast<float>(width) + epsilon);
    statistics[t] = inverse;
    statistics[tokens + t] = mean;
    if (beta) {
#pragma omp simd
      for (Index i = 0; i < width; ++i) out[i] = (in[i] - mean) * inverse * gamma[i] + beta[i];
    } else {
#pragma omp simd
      for (Index i = 0; i < width; ++i) out[i] = (in[i] - mean) * inverse * gamma[i];
    }
  }
}

void layer_norm_backward(Index tokens, Index width, const float* dy, const float* x, const float* gamma, const float* statistics, float* dx,
                         float* d_gamma, float* d_beta) {
  float* __restrict dg = d_gamma;
  for (Index t = 0; t < tokens; ++t) {
    const float* __restrict g = dy + t * width;
    const float* __restrict in = x + t * width;
    float* __restrict d = dx + t * width;
    const float inverse = statistics[t], mean = statistics[tokens + t];
    float total = 0, dot = 0;
#pragma omp simd reduction(+ : total, dot)
    for (Index i = 0; i < width; ++i) {
      const float scaled = g[i] * gamma[i];
      total += scaled;
      dot += scaled * (in[i] - mean);
    }
    const float mean_d = total / static_cast<float>(width), mean_dot = dot * inverse / static_cast<float>(width);
#pragma omp simd
    for (Index i = 0; i < width; ++i) {
      const float normed = (in[i] - mean) * inverse;
      d[i] += inverse * (g[i] * gamma[i] - mean_d - normed * mean_dot);
      dg[i] += g[i] * normed;
    }
    if (d_beta) accumulate(width, g, d_beta);
  }
}

}  // namespace orrery::executor::cpu
