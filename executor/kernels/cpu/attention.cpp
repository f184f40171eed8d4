#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "executor/kernels/cpu/cpu.h"
#include "executor/kernels/cpu/gemm.h"
#include "executor/kernels/cpu/vector_math.h"

namespace orrery::executor::cpu {
namespace {

// Tiles of scores live on the stack: 2 · 64 · 64 · 4 B = 32 KiB, which fits L1 or L2 beside the operands' tiles.
constexpr Index kTile = 64;
using Tile = std::array<float, kTile * kTile>;
using Column = std::array<float, kTile>;

// Where one head's queries, keys and values lie in a packed buffer, for one sample.
struct Heads {
  Index stride;  // between positions
  Index q, k, v;
};

Heads locate(const AttentionShape& s, Index sample, Index q_head) {
  const Index width = (s.q_heads + s.kv_heads) * s.qk_dim + s.kv_heads * s.v_dim, base = sample * width;
  const Index kv_head = q_head / (s.q_heads / s.kv_heads);
  return {s.batch * width, base + q_head * s.qk_dim, base + (s.q_heads + kv_head) * s.qk_dim,
          base + (s.q_heads + s.kv_heads) * s.qk_dim + kv_head * s.v_dim};
}

void zero(Matrix m) {
  for (Index i = 0; i < m.rows; ++i) std::fill_n(m.data + i * m.stride, m.cols, 0.F);
}

// Keys of the tile at `first_key` that position `query` attends to.
Index attended(bool causal, Index query, Index first_key, Index keys) { return causal ? std::clamp<Index>(query + 1 - first_key, 0, keys) : keys; }

// x[i] = e^(x[i] - shift); returns the sum.
float exponentials(Index n, float* __restrict x, float shift) {
  float s = 0;
#pragma omp simd reduction(+ : s)
  for (Index i = 0; i < n; ++i) {
    x[i] = fast_exp(x[i] - shift);
    s += x[i];
  }
  return s;
}

void scale_row(Index n, float* __restrict x, float factor) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) x[i] *= factor;
}

float dot(Index n, const float* __restrict a, const float* __restrict b) {
  float s = 0;
#pragma omp simd reduction(+ : s)
  for (Index i = 0; i < n; ++i) s += a[i] * b[i];
  return s;
}

// ds = p ∘ (dp - d), in place over dp.
void softmax_gradient(Index n, const float* __restrict p, float* __restrict dp, float d) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) dp[i] = p[i] * (dp[i] - d);
}

}  // namespace

// Softmax online over tiles of keys (Milakov & Gimelshein 2018; Dao et al. 2022): memory beyond the operands is two tiles, whatever the sequence.
void attention_forward(const AttentionShape& s, const float* qkv, float* out, float* lse) {
  const float scale = 1.F / std::sqrt(static_cast<float>(s.qk_dim));
  const Index out_stride = s.batch * s.q_heads * s.v_dim;
  Tile scores;
  Column max, sum;
  for (Index sample = 0; sample < s.batch; ++sample) {
    for (Index head = 0; head < s.q_heads; ++head) {
      const Heads at = locate(s, sample, head);
      for (Index q0 = 0; q0 < s.sequence; q0 += kTile) {
        const Index queries = std::min(kTile, s.sequence - q0);
        const Matrix o{out + q0 * out_stride + (sample * s.q_heads + head) * s.v_dim, queries, s.v_dim, out_stride};
        zero(o);
        max.fill(-std::numeric_limits<float>::infinity());
        sum.fill(0);
        const Index end = s.causal ? q0 + queries : s.sequence;
        for (Index k0 = 0; k0 < end; k0 += kTile) {
          const Index keys = std::min(kTile, end - k0);
          std::fill_n(scores.data(), queries * keys, 0.F);
          multiply_nt(dense(scores.data(), queries, keys), {qkv + at.q + q0 * at.stride, queries, s.qk_dim, at.stride},
                      {qkv + at.k + k0 * at.stride, keys, s.qk_dim, at.stride}, scale);
          for (Index i = 0; i < queries; ++i) {
            const auto n = static_cast<std::size_t>(i);
            float* row = scores.data() + i * keys;
            const Index valid = attended(s.causal, q0 + i, k0, keys);
            const float previous = max[n];
            max[n] = maximum(valid, row, previous);
            const float correction = fast_exp(previous - max[n]);
            sum[n] = sum[n] * correction + exponentials(valid, row, max[n]);
            std::fill_n(row + valid, keys - valid, 0.F);
            if (k0 > 0 && correction != 1.F) scale_row(s.v_dim, o.data + i * out_stride, correction);
          }
          multiply_nn(o, dense(static_cast<const float*>(scores.data()), queries, keys), {qkv + at.v + k0 * at.stride, keys, s.v_dim, at.stride});
        }
        for (Index i = 0; i < queries; ++i) {
          const auto n = static_cast<std::size_t>(i);
          scale_row(s.v_dim, o.data + i * out_stride, 1.F / sum[n]);
          lse[(head * s.batch + sample) * s.sequence + q0 + i] = max[n] + std::log(sum[n]);
        }
      }
    }
  }
}

// Probabilities are recomputed tile by tile from lse (Dao et al. 2022, algorithm 4). Heads that share keys and values add up in head order.
void attention_backward(const AttentionShape& s, const float* qkv, const float* out, const float* lse, const float* d_out, float* d_qkv) {
  const float scale = 1.F / std::sqrt(static_cast<float>(s.qk_dim));
  const Index width = (s.q_heads + s.kv_heads) * s.qk_dim + s.kv_heads * s.v_dim, out_stride = s.batch * s.q_heads * s.v_dim;
  std::fill_n(d_qkv, s.sequence * s.batch * width, 0.F);
  Tile p, ds;
  for (Index sample = 0; sample < s.batch; ++sample) {
    for (Index head = 0; head < s.q_heads; ++head) {
      const Heads at = locate(s, sample, head);
      for (Index q0 = 0; q0 < s.sequence; q0 += kTile) {
        const Index queries = std::min(kTile, s.sequence - q0), at_out = q0 * out_stride + (sample * s.q_heads + head) * s.v_dim;
        const ConstMatrix q{qkv + at.q + q0 * at.stride, queries, s.qk_dim, at.stride}, d_o{d_out + at_out, queries, s.v_dim, out_stride};
        const Matrix dq{d_qkv + at.q + q0 * at.stride, queries, s.qk_dim, at.stride};
        Column d{};
        for (Index i = 0; i < queries; ++i) d[static_cast<std::size_t>(i)] = dot(s.v_dim, d_o.data + i * out_stride, out + at_out + i * out_stride);
        const Index end = s.causal ? q0 + queries : s.sequence;
        for (Index k0 = 0; k0 < end; k0 += kTile) {
          const Index keys = std::min(kTile, end - k0);
          const ConstMatrix k{qkv + at.k + k0 * at.stride, keys, s.qk_dim, at.stride}, v{qkv + at.v + k0 * at.stride, keys, s.v_dim, at.stride};
          const Matrix scores = dense(p.data(), queries, keys), gradient = dense(ds.data(), queries, keys);
          const ConstMatrix probabilities = dense(static_cast<const float*>(p.data()), queries, keys),
                            d_scores = dense(static_cast<const float*>(ds.data()), queries, keys);
          zero(scores);
          zero(gradient);
          multiply_nt(scores, q, k, scale);
          multiply_nt(gradient, d_o, v);
          for (Index i = 0; i < queries; ++i) {
            float *row = p.data() + i * keys, *d_row = ds.data() + i * keys;
            const Index valid = attended(s.causal, q0 + i, k0, keys);
            exponentials(valid, row, lse[(head * s.batch + sample) * s.sequence + q0 + i]);
            softmax_gradient(valid, row, d_row, d[static_cast<std::size_t>(i)]);
            std::fill_n(row + valid, keys - valid, 0.F);
            std::fill_n(d_row + valid, keys - valid, 0.F);
          }
          multiply_tn({d_qkv + at.v + k0 * at.stride, keys, s.v_dim, at.stride}, probabilities, d_o);
          multiply_nn(dq, d_scores, k, scale);
          multiply_tn({d_qkv + at.k + k0 * at.stride, keys, s.qk_dim, at.stride}, d_scores, q, scale);
        }
      }
    }
  }
}

}  // namespace orrery::executor::cpu
