#include <algorithm>
#include <array>
#include <cmath>

#include "executor/kernels/cpu/cpu.h"

namespace orrery::executor::cpu {
namespace {

// Calls visit(row, cosines, sines) for every token, as in rope.cpp: pairs are (i, i + rope/2), and the angle advances from position to position by
// one complex product in double.
template <class Visit>
void each_token(const LatentShape& shape, bool forward, Visit visit) {
  constexpr Index kPairs = 256;  // the widest rotated part that is taken; published models have 32
  const Index pairs = shape.rope / 2;
  const RopeAngles angles(shape.theta, shape.rope, shape.scaling);
  std::array<double, kPairs> cosine{}, sine{}, step_cosine{}, step_sine{};
  std::array<float, kPairs> c{}, s{};
  for (Index i = 0; i < pairs; ++i) {
    const auto n = static_cast<std::size_t>(i);
    const double angle = angles.per_position(i), sign = forward ? 1 : -1, amplitude = angles.amplitude();
    step_cosine[n] = std::cos(angle);
    step_sine[n] = sign * std::sin(angle);
    cosine[n] = amplitude * std::cos(angle * static_cast<double>(shape.first));
    sine[n] = sign * amplitude * std::sin(angle * static_cast<double>(shape.first));
  }
  for (Index t = 0; t < shape.tokens; t += shape.micro_batch) {
    for (Index i = 0; i < pairs; ++i) {
      const auto n = static_cast<std::size_t>(i);
      c[n] = static_cast<float>(cosine[n]);
      s[n] = static_cast<float>(sine[n]);
      const double next = cosine[n] * step_cosine[n] - sine[n] * step_sine[n];
      sine[n] = cosine[n] * step_sine[n] + sine[n] * step_cosine[n];
      cosine[n] = next;
    }
    for (Index row = t; row < std::min(t + shape.micro_batch, shape.tokens); ++row) visit(row, c.data(), s.data());
  }
}

void rotate(Index pairs, const float* c, const float* s, const float* from, float* to) {
  for (Index i = 0; i < pairs; ++i) {
    const float x = from[i], y = from[i + pairs];
    to[i] = x * c[i] - y * s[i];
    to[i + pairs] = y * c[i] + x * s[i];
  }
}

}  // namespace

void split_columns(Index rows, Index left, Index right, const float* x, float* a, float* b) {
  for (Index r = 0; r < rows; ++r) {
    const float* row = x + r * (left + right);
    std::copy_n(row, left, a + r * left);
    std::copy_n(row + left, right, b + r * right);
  }
}

void join_columns(Index rows, Index left, Index right, const float* a, const float* b, float* x) {
  for (Index r = 0; r < rows; ++r) {
    float* row = x + r * (left + right);
    std::copy_n(a + r * left, left, row);
    std::copy_n(b + r * right, right, row + left);
  }
}

void mla_pack_forward(const LatentShape& shape, const float* q, const float* kv, const float* k_rope, float* qkv) {
  const Index qk = shape.nope + shape.rope, heads = shape.heads;
  each_token(shape, true, [&](Index row, const float* c, const float* s) {
    const float* from = q + row * heads * qk;
    const float* pairs = kv + row * heads * (shape.nope + shape.v);
    float *queries = qkv + row * heads * (2 * qk + shape.v), *keys = queries + heads * qk, *values = keys + heads * qk;
    for (Index h = 0; h < heads; ++h) {
      std::copy_n(from + h * qk, shape.nope, queries + h * qk);
      rotate(shape.rope / 2, c, s, from + h * qk + shape.nope, queries + h * qk + shape.nope);
      std::copy_n(pairs + h * (shape.nope + shape.v), shape.nope, keys + h * qk);
      if (h == 0)
        rotate(shape.rope / 2, c, s, k_rope + row * shape.rope, keys + shape.nope);
      else
        std::copy_n(keys + shape.nope, shape.rope, keys + h * qk + shape.nope);
      std::copy_n(pairs + h * (shape.nope + shape.v) + shape.nope, shape.v, values + h * shape.v);
    }
  });
}

void mla_pack_backward(const LatentShape& shape, const float* d_qkv, float* d_q, float* d_kv, float* d_k_rope) {
  const Index qk = shape.nope + shape.rope, heads = shape.heads;
  each_token(shape, false, [&](Index row, const float* c, const float* s) {
    float* to = d_q + row * heads * qk;
    float* pairs = d_kv + row * heads * (shape.nope + shape.v);
    float* shared = d_k_rope + row * shape.rope;
    const float *queries = d_qkv + row * heads * (2 * qk + shape.v), *keys = queries + heads * qk, *values = keys + heads * qk;
    for (Index h = 0; h < heads; ++h) {
      std::copy_n(queries + h * qk, shape.nope, to + h * qk);
      rotate(shape.rope / 2, c, s, queries + h * qk + shape.nope, to + h * qk + shape.nope);
      std::copy_n(keys + h * qk, shape.nope, pairs + h * (shape.nope + shape.v));
      std::copy_n(values + h * shape.v, shape.v, pairs + h * (shape.nope + shape.v) + shape.nope);
    }
    // The heads' gradients are summed before they are turned back.
    std::copy_n(keys + shape.nope, shape.rope, shared);
    for (Index h = 1; h < heads; ++h) accumulate(shape.rope, keys + h * qk + shape.nope, shared);
    for (Index i = 0; i < shape.rope / 2; ++i) {
      const float x = shared[i], y = shared[i + shape.rope / 2];
      shared[i] = x * c[i] - y * s[i];
      shared[i + shape.rope / 2] = y * c[i] + x * s[i];
    }
  });
}

}  // namespace orrery::executor::cpu
