// The arithmetic of one element, for host and device alike: what tests/cuda_logic holds against definitions without a GPU.
#pragma once

#include <cmath>

#include "executor/kernels/cuda/portable.h"

namespace orrery::executor::cuda {

ORRERY_PORTABLE float sigmoid(float x) { return 1.F / (1.F + expf(-x)); }

// A function and its derivative at one point. Arguments of any size give finite results.
struct Value {
  float f, d;
};
struct Silu {
  ORRERY_PORTABLE static Value at(float x) {
    const float s = sigmoid(x);
    return {x * s, s * (1.F + x * (1.F - s))};
  }
};
struct Gelu {
  ORRERY_PORTABLE static Value at(float x) {
    const float cumulative = 0.5F * erfcf(-0.707106781F * x), density = 0.398942280F * expf(-0.5F * x * x);
    return {x * cumulative, cumulative + x * density};
  }
};
struct GeluTanh {  // ½ x (1 + tanh u) = x σ(2u), u = sqrt(2/π) (x + 0.044715 x³)
  ORRERY_PORTABLE static Value at(float x) {
    const float twice = 2.F * 0.797884561F, cube = 0.044715F, saturated = 30.F;  // beyond, σ is 0 or 1 and cubes might overflow
    const float c = fminf(fmaxf(x, -saturated), saturated);
    const float s = sigmoid(twice * (c + cube * c * c * c));
    return {x * s, s + c * s * (1.F - s) * twice * (1.F + 3.F * cube * c * c)};
  }
};
struct Relu {
  ORRERY_PORTABLE static Value at(float x) { return {x > 0 ? x : 0.F, x > 0 ? 1.F : 0.F}; }
};
struct ReluSquared {
  ORRERY_PORTABLE static Value at(float x) {
    const float r = x > 0 ? x : 0.F;
    return {r * r, 2.F * r};
  }
};

// Cosine and sine of a rotary angle, times an amplitude.
struct Turn {
  float cosine, sine;
  // Whole turns are taken off in double, so that an angle of 1e6 radians is as good as a small one: absolute error below 3e-7.
  ORRERY_PORTABLE static Turn by(double angle, double amplitude) {
    const double turns = angle * 0.15915494309189535;  // 1/(2π)
    const auto halves = static_cast<float>(2 * (turns - rint(turns)));
    float s = 0, c = 0;
#ifdef __CUDA_ARCH__
    sincospif(halves, &s, &c);
#else
    const double rest = 3.14159265358979323846 * static_cast<double>(halves);
    s = static_cast<float>(std::sin(rest)), c = static_cast<float>(std::cos(rest));
#endif
    const auto a = static_cast<float>(amplitude);
    return {a * c, a * s};
  }
  ORRERY_PORTABLE float low(float x, float partner) const { return x * cosine - partner * sine; }
  ORRERY_PORTABLE float high(float x, float partner) const { return x * cosine + partner * sine; }
};

// What gradients are multiplied with: clip / (norm + 1e-6) where that is below 1 (torch.nn.utils.clip_grad_norm_); NaN stays visible.
ORRERY_PORTABLE float clip_factor(double norm_squared, double clip) {
  if (!(clip > 0)) return 1.F;
  const double norm = sqrt(norm_squared), coefficient = clip / (norm + 1e-6);
  return static_cast<float>(coefficient < 1 ? coefficient : (norm != norm ? norm : 1.0));
}

// AdamW (Loshchilov & Hutter 2019; torch.optim.AdamW) with the step's constants worked out; sgd uses decay and rate alone.
struct Update {
  float decay = 1, rate = 0, beta1 = 0, beta2 = 0, keep1 = 1, keep2 = 1, inverse2 = 1, epsilon = 0;
  ORRERY_PORTABLE float adamw(float p, float d, float& m, float& v) const {
    m = beta1 * m + keep1 * d;
    v = beta2 * v + keep2 * d * d;
    return p * decay - rate * m / (sqrtf(v) * inverse2 + epsilon);
  }
  ORRERY_PORTABLE float sgd(float p, float d) const { return p * decay - rate * d; }
  // What AdamW's bias correction makes of a learning rate and its betas in step `t`, from 1.
  ORRERY_PORTABLE void correct(double lr, double first, double second, double t) {
    rate = static_cast<float>(lr / (1 - pow(first, t)));
    inverse2 = static_cast<float>(1 / sqrt(1 - pow(second, t)));
  }
};

// The shares of two results of attention, by their sums of exponentials; `b` is not -inf.
struct Shares {
  float of_a, of_b, lse;
  ORRERY_PORTABLE static Shares from(float a, float b) {
    const float most = fmaxf(a, b), x = expf(a - most), y = expf(b - most), sum = x + y;
    return {x / sum, y / sum, most + logf(sum)};
  }
};

// A total order of scores: the higher first, among equals the lower number; NaN counts as -inf, or no order would be total. The j-th best is the best
// of those after the (j-1)-th, so that choosing k needs no list of what has been chosen.
struct Ranked {
  double score;
  std::int32_t number;  // -1: none
  ORRERY_PORTABLE static double rank(double score) { return score == score ? score : -HUGE_VAL; }
  ORRERY_PORTABLE bool before(const Ranked& other) const {
    if (number < 0 || other.number < 0) return number >= 0;
    const double mine = rank(score), others = rank(other.score);
    return mine > others || (mine == others && number < other.number);
  }
};

// The sum of the `counted` best of scores[0 … size), the best first.
ORRERY_PORTABLE double sum_of_best(const double* scores, std::int32_t size, std::int32_t counted) {
  Ranked last{0, -1};
  double sum = 0;
  for (std::int32_t j = 0; j < counted; ++j) {
    Ranked best{0, -1};
    for (std::int32_t i = 0; i < size; ++i) {
      const Ranked r{scores[i], i};
      if ((last.number < 0 || last.before(r)) && r.before(best)) best = r;
    }
    sum += best.score;
    last = best;
  }
  return sum;
}

// Whether fewer than `wanted` of sums[0 … count) come before number i.
ORRERY_PORTABLE bool among_best(const double* sums, std::int32_t count, std::int32_t i, std::int32_t wanted) {
  std::int32_t ahead = 0;
  for (std::int32_t g = 0; g < count; ++g) ahead += Ranked{sums[g], g}.before({sums[i], i}) ? 1 : 0;
  return ahead < wanted;
}

}  // namespace orrery::executor::cuda
