#include <algorithm>
#include <cmath>

#include "executor/kernels/cpu/cpu.h"

namespace orrery::executor::cpu {

double sum_of_squares(Index elements, const float* x) {
  const float* __restrict in = x;
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (Index i = 0; i < elements; ++i) s += static_cast<double>(in[i]) * static_cast<double>(in[i]);
  return s;
}

// AdamW as in Loshchilov & Hutter 2019 and torch.optim.AdamW. Gradients are left unscaled.
void optimizer_step(const OptimizerSettings& settings, Index step, Index elements, double norm_squared, const float* gradient, float* parameter,
                    float* m, float* v, float* master) {
  const auto clip = static_cast<float>(clip_coefficient(settings.clip, norm_squared));
  const auto decay = static_cast<float>(1 - settings.lr * settings.weight_decay);
  const float* __restrict g = gradient;
  float* __restrict p = master ? master : parameter;
  switch (settings.kind) {
    case OptimizerSettings::Kind::sgd: {
      const auto rate = static_cast<float>(settings.lr);
#pragma omp simd
      for (Index i = 0; i < elements; ++i) p[i] = p[i] * decay - rate * (clip * g[i]);
      break;
    }
    case OptimizerSettings::Kind::adamw: {
      float* __restrict m1 = m, * __restrict m2 = v;
      const auto t = static_cast<double>(step);
      const auto beta1 = static_cast<float>(settings.betas[0]), beta2 = static_cast<float>(settings.betas[1]);
      const auto keep1 = static_cast<float>(1 - settings.betas[0]), keep2 = static_cast<float>(1 - settings.betas[1]);
      const auto rate = static_cast<float>(settings.lr / (1 - std::pow(settings.betas[0], t)));
      const auto inverse2 = static_cast<float>(1 / std::sqrt(1 - std::pow(settings.betas[1], t)));
      const auto epsilon = static_cast<float>(settings.eps);
#pragma omp simd
      for (Index i = 0; i < elements; ++i) {
        const float d = clip * g[i];
        m1[i] = beta1 * m1[i] + keep1 * d;
        m2[i] = beta2 * m2[i] + keep2 * d * d;
        p[i] = p[i] * decay - rate * m1[i] / (std::sqrt(m2[i]) * inverse2 + epsilon);
      }
      break;
    }
  }
  if (master) std::copy_n(master, elements, parameter);
}

}  // namespace orrery::executor::cpu
