// Transcendental functions as straight-line code that compilers vectorise. Internal linkage on purpose: the kernel sources may be built for another
// instruction set than the rest, and the linker must not pick one copy for all.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace orrery::executor::cpu {
namespace {

// e^x with relative error below 2e-7 for x in [-87.3, 88.3]; 0 below (so that e^-inf = 0), e^88.3 above, NaN for NaN. Cody-Waite reduction to
// |r| <= ln2/2, then the degree-6 minimax polynomial of Cephes' expf (Moshier 1989).
inline float fast_exp(float x) {
  constexpr float kLowest = -87.3F, kHighest = 88.3F;
  constexpr float kLog2E = 1.44269504F, kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.F;  // 1.5 · 2^23: adding it rounds to the nearest integer and leaves that in the low mantissa bits
  float clamped = x < kLowest ? kLowest : x;
  clamped = clamped > kHighest ? kHighest : clamped;
  const float shifted = clamped * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float mantissa = (p * r * r + r) + 1.F;
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound) + 127U;
  const float result = mantissa * std::bit_cast<float>(exponent << 23U);
  return x < kLowest ? 0.F : result;
}

inline float sigmoid(float x) { return 1.F / (1.F + fast_exp(-x)); }

// The standard normal's distribution function and density at once, since they share the exponential. Absolute error of the former below 2e-7:
// Abramowitz & Stegun 1964, 7.1.26 (|ε| <= 1.5e-7 for erf, so half of that here), rounding included.
struct Normal {
  float cumulative, density;
};
inline Normal standard_normal(float x) {
  constexpr float kSqrtHalf = 0.707106781F, kInvSqrt2Pi = 0.398942280F;
  const float z = (x < 0 ? -x : x) * kSqrtHalf;
  const float t = 1.F / (1.F + 0.3275911F * z);
  const float e = fast_exp(-z * z);
  const float poly = ((((1.061405429F * t - 1.453152027F) * t + 1.421413741F) * t - 0.284496736F) * t + 0.254829592F) * t;
  const float tail = 0.5F * poly * e;
  return {x < 0 ? tail : 1.F - tail, kInvSqrt2Pi * e};
}

// The largest of `start` and x[0 … n). With a vector type by hand: compilers will not reorder a maximum by themselves, since NaN makes it depend on
// order.
inline float maximum(std::int64_t n, const float* x, float start) {
  constexpr std::int64_t kLanes = 16;
  using Vector __attribute__((vector_size(kLanes * sizeof(float)))) = float;  // GCC and clang; split where registers are narrower
  Vector lanes = start - Vector{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vector v;
    std::memcpy(&v, x + i, sizeof v);
    lanes = v > lanes ? v : lanes;
  }
  float m = start;
  for (; i < n; ++i) m = x[i] > m ? x[i] : m;
  for (std::int64_t j = 0; j < kLanes; ++j) m = lanes[j] > m ? lanes[j] : m;
  return m;
}

}  // namespace
}  // namespace orrery::executor::cpu
