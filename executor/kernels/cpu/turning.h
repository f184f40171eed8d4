// Cosines and sines of rotary positions, from position to position. For the files of this folder only.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "executor/kernels/cpu/cpu.h"

namespace orrery::executor::cpu {

// How one position after the other turns a block of pairs, (i, i + rotated/2) as in Hugging Face: pair i by position · RopeAngles::per_position(i).
// The angle's cosine and sine advance from position to position by one complex product in double, which loses about 1e-16 per step and needs neither
// a table nor a sine per element.
class Turning {
 public:
  static constexpr Index kMost = 64;  // pairs at once, so that scratch does not grow with the width

  // Of pairs [begin, begin + kMost) as far as there are `all`; the first position to come is `first`.
  Turning(const RopeAngles& angles, Index begin, Index all, Index first, bool forward) : begin_(begin), pairs_(std::min(kMost, all - begin)) {
    const double sign = forward ? 1 : -1, amplitude = angles.amplitude();
    for (Index i = 0; i < pairs_; ++i) {
      const auto n = static_cast<std::size_t>(i);
      const double angle = angles.per_position(begin + i);
      step_cosine_[n] = std::cos(angle);
      step_sine_[n] = sign * std::sin(angle);
      next_cosine_[n] = amplitude * std::cos(angle * static_cast<double>(first));
      next_sine_[n] = sign * amplitude * std::sin(angle * static_cast<double>(first));
    }
  }

  // To the next position.
  void advance() {
    for (std::size_t n = 0; n < static_cast<std::size_t>(kMost); ++n) {
      cosine_[n] = static_cast<float>(next_cosine_[n]);
      sine_[n] = static_cast<float>(next_sine_[n]);
      const double next = next_cosine_[n] * step_cosine_[n] - next_sine_[n] * step_sine_[n];
      next_sine_[n] = next_cosine_[n] * step_sine_[n] + next_sine_[n] * step_cosine_[n];
      next_cosine_[n] = next;
    }
  }

  Index begin() const { return begin_; }
  Index pairs() const { return pairs_; }

  // Turns the block's pairs of one head: `from` and `to`, which may be the same, are where its rotated part of 2 · `half` elements begins.
  void turn(const float* from, float* to, Index half) const {
    const float *a = from + begin_, *b = a + half, *c = cosine_.data(), *s = sine_.data();
    float *u = to + begin_, *v = u + half;
#pragma omp simd
    for (Index i = 0; i < pairs_; ++i) {
      const float x = a[i], y = b[i];
      u[i] = x * c[i] - y * s[i];
      v[i] = y * c[i] + x * s[i];
    }
  }

 private:
  using Doubles = std::array<double, kMost>;
  Index begin_, pairs_;
  Doubles next_cosine_{}, next_sine_{}, step_cosine_{}, step_sine_{};
  std::array<float, kMost> cosine_{}, sine_{};
};

// Calls visit(turning, first row, rows) for each block of pairs and each position from `first` on; a position has `micro_batch` rows.
template <class Visit>
void each_position(const RopeAngles& angles, Index pairs, Index tokens, Index micro_batch, Index first, bool forward, Visit visit) {
  for (Index begin = 0; begin < pairs; begin += Turning::kMost) {
    Turning turning(angles, begin, pairs, first, forward);
    for (Index t = 0; t < tokens; t += micro_batch) {
      turning.advance();
      visit(std::as_const(turning), t, std::min(micro_batch, tokens - t));
    }
  }
}

}  // namespace orrery::executor::cpu
