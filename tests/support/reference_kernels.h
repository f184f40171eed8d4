// A second, naive implementation of the operators' mathematics in double, from their definitions: whole matrices, no tiles, no shards, no gradients.
// Gradients come from it by central differences, so that no derivation is trusted twice.
#pragma once

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

#include "support/kernels_under_test.h"

namespace orrery::reference {

using Doubles = std::vector<double>;
using Floats = std::vector<float>;

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

inline Floats random_floats(std::int64_t n, std::uint64_t seed, double stddev = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal(0, stddev);
  Floats x(at(n));
  for (float& v : x) v = static_cast<float>(normal(engine));
  return x;
}
inline std::vector<std::int32_t> random_tokens(std::int64_t n, std::int32_t vocab, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<std::int32_t> x(at(n));
  for (auto& v : x) v = static_cast<std::int32_t>(engine() % static_cast<std::uint64_t>(vocab));
  return x;
}
inline Doubles wide(const Floats& x) { return {x.begin(), x.end()}; }
// What an operator's output holds before the call: a kernel that reads it, or leaves an element out, cannot hide.
inline Floats poison(std::int64_t n) { return Floats(at(n), std::numeric_limits<float>::quiet_NaN()); }

inline double weighted_sum(const Doubles& y, const Floats& weight) {
  double s = 0;
  for (std::size_t i = 0; i < y.size(); ++i) s += y[i] * static_cast<double>(weight[i]);
  return s;
}

// d loss / d x by central differences with step 1e-5: truncation about 1e-10 of the third derivative, rounding about 1e-11 of the loss.
inline double derivative(const std::function<double(const Doubles&)>& loss, Doubles x, std::size_t i) {
  constexpr double kStep = 1e-5;
  const double x0 = x[i];
  x[i] = x0 + kStep;
  const double above = loss(x);
  x[i] = x0 - kStep;
  return (above - loss(x)) / (2 * kStep);
}
inline Doubles gradient(const std::function<double(const Doubles&)>& loss, const Doubles& x) {
  Doubles g(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) g[i] = derivative(loss, x, i);
  return g;
}

// Whether the largest deviation is below `tolerance` of the largest expected magnitude (1e-5 is about 100 roundings of fp32).
inline testing::AssertionResult close(const Floats& actual, const Doubles& expected, double tolerance = 1e-5) {
  if (actual.size() != expected.size()) return testing::AssertionFailure() << actual.size() << " elements, expected " << expected.size();
  double scale = 1e-30;
  for (const double e : expected) scale = std::max(scale, std::abs(e));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double off = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(off <= tolerance * scale)) {
      return testing::AssertionFailure() << "element " << i << " is " << actual[i] << ", expected " << expected[i] << " (off by " << off / scale
                                         << " of the largest)";
    }
  }
  return testing::AssertionSuccess();
}
inline Doubles plus(Doubles a, const Floats& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += static_cast<double>(b[i]);
  return a;
}

inline Doubles linear(const Doubles& x, const Doubles& weight, const Doubles& bias, std::int64_t tokens, std::int64_t in, std::int64_t out) {
  Doubles y(at(tokens * out));
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t o = 0; o < out; ++o) {
      double s = bias.empty() ? 0 : bias[at(o)];
      for (std::int64_t i = 0; i < in; ++i) s += x[at(t * in + i)] * weight[at(o * in + i)];
      y[at(t * out + o)] = s;
    }
  }
  return y;
}

inline Doubles norm(bool layer_norm, const Doubles& x, const Doubles& gamma, const Doubles& beta, std::int64_t width, double epsilon) {
  Doubles y(x.size());
  for (std::size_t row = 0; row < x.size(); row += at(width)) {
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < at(width); ++i) mean += layer_norm ? x[row + i] / static_cast<double>(width) : 0;
    for (std::size_t i = 0; i < at(width); ++i) square += (x[row + i] - mean) * (x[row + i] - mean) / static_cast<double>(width);
    for (std::size_t i = 0; i < at(width); ++i) {
      y[row + i] = (x[row + i] - mean) / std::sqrt(square + epsilon) * gamma[i] + (beta.empty() ? 0 : beta[i]);
    }
  }
  return y;
}

// Rotates every query and key head of packed rows by the angle of its row's position: pair i by `angles[i]` per position. Cosine and sine are
// multiplied by `amplitude`.
inline Doubles rope(Doubles qkv, std::int64_t q_heads, std::int64_t kv_heads, std::int64_t dim, std::int64_t first, std::int64_t micro,
                    const Doubles& angles, double amplitude) {
  const std::int64_t width = (q_heads + 2 * kv_heads) * dim, rotated = 2 * static_cast<std::int64_t>(angles.size());
  for (std::int64_t t = 0; t < static_cast<std::int64_t>(qkv.size()) / width; ++t) {
    for (std::int64_t h = 0; h < q_heads + kv_heads; ++h) {
      for (std::int64_t i = 0; i < rotated / 2; ++i) {
        const double angle = static_cast<double>(first + t / micro) * angles[at(i)];
        double &a = qkv[at(t * width + h * dim + i)], &b = qkv[at(t * width + h * dim + i + rotated / 2)];
        const double x = a, y = b;
        a = amplitude * (x * std::cos(angle) - y * std::sin(angle));
        b = amplitude * (x * std::sin(angle) + y * std::cos(angle));
      }
    }
  }
  return qkv;
}

struct Attention {
  std::int64_t batch, sequence, q_heads, kv_heads, qk_dim, v_dim;
  bool causal;
  std::int64_t width() const { return (q_heads + kv_heads) * qk_dim + kv_heads * v_dim; }
  std::int64_t rows() const { return batch * sequence; }
};
struct AttentionResult {
  Doubles out, lse;
};
inline AttentionResult attention(const Attention& s, const Doubles& qkv) {
  AttentionResult r{Doubles(at(s.rows() * s.q_heads * s.v_dim)), Doubles(at(s.q_heads * s.rows()))};
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t h = 0; h < s.q_heads; ++h) {
      const std::int64_t kv = h * s.kv_heads / s.q_heads;
      for (std::int64_t i = 0; i < s.sequence; ++i) {
        const std::int64_t keys = s.causal ? i + 1 : s.sequence;
        const double* q = &qkv[at((i * s.batch + b) * s.width() + h * s.qk_dim)];
        Doubles p(at(keys));
        double total = 0;
        for (std::int64_t j = 0; j < keys; ++j) {
          const double* k = &qkv[at((j * s.batch + b) * s.width() + (s.q_heads + kv) * s.qk_dim)];
          double score = 0;
          for (std::int64_t d = 0; d < s.qk_dim; ++d) score += q[d] * k[d];
          p[at(j)] = std::exp(score / std::sqrt(static_cast<double>(s.qk_dim)));
          total += p[at(j)];
        }
        r.lse[at((h * s.batch + b) * s.sequence + i)] = std::log(total);
        for (std::int64_t j = 0; j < keys; ++j) {
          const double* v = &qkv[at((j * s.batch + b) * s.width() + (s.q_heads + s.kv_heads) * s.qk_dim + kv * s.v_dim)];
          double* o = &r.out[at(((i * s.batch + b) * s.q_heads + h) * s.v_dim)];
          for (std::int64_t d = 0; d < s.v_dim; ++d) o[d] += p[at(j)] / total * v[d];
        }
      }
    }
  }
  return r;
}

inline double activation(Activation kind, double x) {
  switch (kind) {
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::relu_squared:
      return std::max(x, 0.0) * std::max(x, 0.0);
  }
  return 0;
}
inline Doubles activation(Activation kind, bool gated, const Doubles& u, std::int64_t width) {
  if (!gated) {
    Doubles a(u.size());
    std::transform(u.begin(), u.end(), a.begin(), [kind](double x) { return activation(kind, x); });
    return a;
  }
  Doubles a(u.size() / 2);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::size_t row = i / at(width), column = i % at(width);
    a[i] = activation(kind, u[row * 2 * at(width) + column]) * u[row * 2 * at(width) + at(width) + column];
  }
  return a;
}

// Sum over tokens of -log softmax(logits)[target]; `columns` per row, of which the first `vocab` count.
inline double cross_entropy(const Doubles& logits, const std::vector<std::int32_t>& target, std::int64_t columns, std::int64_t vocab) {
  double loss = 0;
  for (std::size_t t = 0; t < target.size(); ++t) {
    double total = 0;
    for (std::int64_t c = 0; c < vocab; ++c) total += std::exp(logits[t * at(columns) + at(c)]);
    loss += std::log(total) - logits[t * at(columns) + at(target[t])];
  }
  return loss;
}

// Runs one operator of the kernel set under test on vectors; `buffers` are the operands in access order.
struct Call {
  program::Operator op;
  std::array<std::int64_t, 9> dims{};
  executor::KernelSettings settings{};
  std::int64_t position_offset = 0, step = 1;
  bool counts = true;
  program::Runs rows{}, keys{};
  std::vector<std::int32_t> expert_places{};
  std::int64_t expert_rank = 0;
  double loss_weight = 1;
  DType dtype = DType::fp32;

  template <class... Buffers>
  void operator()(Buffers&&... buffers) const {
    const std::array<void*, sizeof...(Buffers)> operands{const_cast<void*>(static_cast<const void*>(buffers.data()))...};
    const std::array<std::size_t, sizeof...(Buffers)> bytes{buffers.size() * sizeof(*buffers.data())...};
    program::Shape shape;
    shape.op = op;
    shape.dims = dims;
    shape.dtype = dtype;
    executor::run_under_test({shape, operands, settings, position_offset, step, counts, rows, keys, expert_places, expert_rank, loss_weight}, bytes);
  }
};

}  // namespace orrery::reference
