#include <algorithm>
#include <array>
#include <cmath>

#include "executor/kernels/cpu/cpu.h"

namespace orrery::executor::cpu {

// Pairs are (i, i + rotated/2), as in Hugging Face; pair i turns by position · RopeAngles::per_position(i). The angle's cosine and sine advance from
// position to position by one complex product in double, which loses about 1e-16 per step and needs neither a table nor a sine per element.
void rope(const RopeShape& shape, bool forward, float* qkv) {
  constexpr Index kPairs = 64;  // frequencies handled at once, so that scratch does not grow with head_dim
  const Index rotated = rotated_width(shape.head_dim, shape.fraction), half = rotated / 2;
  const RopeAngles angles(shape.theta, rotated, shape.scaling);
  const Index heads = shape.q_heads + shape.kv_heads, width = (heads + shape.kv_heads) * shape.head_dim;
  for (Index begin = 0; begin < half; begin += kPairs) {
    const Index pairs = std::min(kPairs, half - begin);
    std::array<double, kPairs> cosine{}, sine{}, step_cosine{}, step_sine{};
    std::array<float, kPairs> c{}, s{};
    for (Index i = 0; i < pairs; ++i) {
      const auto n = static_cast<std::size_t>(i);
      const double angle = angles.per_position(begin + i), sign = forward ? 1 : -1, amplitude = angles.amplitude();
      step_cosine[n] = std::cos(angle);
      step_sine[n] = sign * std::sin(angle);
      cosine[n] = amplitude * std::cos(angle * static_cast<double>(shape.first));
      sine[n] = sign * amplitude * std::sin(angle * static_cast<double>(shape.first));
    }
    for (Index t = 0; t < shape.tokens; t += shape.micro_batch) {
      for (Index i = 0; i < kPairs; ++i) {
        const auto n = static_cast<std::size_t>(i);
        c[n] = static_cast<float>(cosine[n]);
        s[n] = static_cast<float>(sine[n]);
        const double next = cosine[n] * step_cosine[n] - sine[n] * step_sine[n];
        sine[n] = cosine[n] * step_sine[n] + sine[n] * step_cosine[n];
        cosine[n] = next;
      }
      const Index rows = std::min(shape.micro_batch, shape.tokens - t);
      for (Index block = 0; block < rows * heads; ++block) {
        float* __restrict a = qkv + (t + block / heads) * width + (block % heads) * shape.head_dim + begin;
        float* __restrict b = a + half;
        const float* __restrict cs = c.data(), * __restrict sn = s.data();
#pragma omp simd
        for (Index i = 0; i < pairs; ++i) {
          const float x = a[i], y = b[i];
          a[i] = x * cs[i] - y * sn[i];
          b[i] = y * cs[i] + x * sn[i];
        }
      }
    }
  }
}

}  // namespace orrery::executor::cpu
