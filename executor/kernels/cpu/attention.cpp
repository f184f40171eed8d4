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

// Floats between neighbours in a buffer of queries, keys or values.
struct Strides {
  Index position, sample, head;
};
struct Rows {
  const float* data;
  Strides stride;
  const float* at(Index row, Index sample, Index head) const { return data + row * stride.position + sample * stride.sample + head * stride.head; }
};
struct GradientRows {
  float* data;
  Strides stride;
  float* at(Index row, Index sample, Index head) const { return data + row * stride.position + sample * stride.sample + head * stride.head; }
};

Strides packed(Index batch, Index width, Index head) { return {batch * width, width, head}; }

// The keys, values and queries of packed rows [q heads | k heads | v heads], or [k heads | v heads].
Index packed_width(const AttentionBlock& s) { return (s.q_heads + s.kv_heads) * s.qk_dim + s.kv_heads * s.v_dim; }
Index kv_width(const AttentionBlock& s) { return s.kv_heads * (s.qk_dim + s.v_dim); }

// Calls visit(row, position, count) for the tiles of `runs`.
template <class Visit>
void each_tile(std::span<const program::Run> runs, Index tile, Visit visit) {
  Index row = 0;
  for (const program::Run& run : runs) {
    for (Index i = 0; i < run.count; i += tile) visit(row + i, run.first + i, std::min(tile, run.count - i));
    row += run.count;
  }
}

void zero(Matrix m) {
  for (Index i = 0; i < m.rows; ++i) std::fill_n(m.data + i * m.stride, m.cols, 0.F);
}

// Keys of the tile whose first position is `first_key` that position `query` attends to.
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

// Softmax online over tiles of keys (Milakov & Gimelshein 2018; Dao et al. 2022): memory beyond the operands is two tiles, whatever the sequence.
void forward(const AttentionBlock& s, const Rows& q, const Rows& k, const Rows& v, float* out, float* lse) {
  const float scale = 1.F / std::sqrt(static_cast<float>(s.qk_dim));
  const Index out_stride = s.batch * s.q_heads * s.v_dim;
  Tile scores;
  Column max, sum;
  for (Index sample = 0; sample < s.batch; ++sample) {
    for (Index head = 0; head < s.q_heads; ++head) {
      const Index kv_head = head / (s.q_heads / s.kv_heads);
      each_tile(s.query_runs, kTile, [&](Index q_row, Index query, Index queries) {
        const Matrix o{out + q_row * out_stride + (sample * s.q_heads + head) * s.v_dim, queries, s.v_dim, out_stride};
        zero(o);
        max.fill(-std::numeric_limits<float>::infinity());
        sum.fill(0);
        each_tile(s.key_runs, kTile, [&](Index k_row, Index key, Index in_tile) {
          const Index keys = attended(s.causal, query + queries - 1, key, in_tile);
          if (keys == 0) return;
          std::fill_n(scores.data(), queries * keys, 0.F);
          multiply_nt(dense(scores.data(), queries, keys), {q.at(q_row, sample, head), queries, s.qk_dim, q.stride.position},
                      {k.at(k_row, sample, kv_head), keys, s.qk_dim, k.stride.position}, scale);
          for (Index i = 0; i < queries; ++i) {
            const auto n = static_cast<std::size_t>(i);
            float* row = scores.data() + i * keys;
            const Index valid = attended(s.causal, query + i, key, keys);
            if (valid > 0) {
              const float previous = max[n];
              max[n] = maximum(valid, row, previous);
              const float correction = fast_exp(previous - max[n]);
              if (sum[n] > 0 && correction != 1.F) scale_row(s.v_dim, o.data + i * out_stride, correction);
              sum[n] = sum[n] * correction + exponentials(valid, row, max[n]);
            }
            std::fill_n(row + valid, keys - valid, 0.F);
          }
          multiply_nn(o, dense(static_cast<const float*>(scores.data()), queries, keys),
                      {v.at(k_row, sample, kv_head), keys, s.v_dim, v.stride.position});
        });
        for (Index i = 0; i < queries; ++i) {
          const auto n = static_cast<std::size_t>(i);
          if (sum[n] > 0) scale_row(s.v_dim, o.data + i * out_stride, 1.F / sum[n]);
          lse[(head * s.batch + sample) * s.queries + q_row + i] = max[n] + std::log(sum[n]);
        }
      });
    }
  }
}

// Probabilities are recomputed tile by tile from lse (Dao et al. 2022, algorithm 4). All gradients are added to; heads that share keys and values add
// up in head order.
void backward(const AttentionBlock& s, const Rows& q, const Rows& k, const Rows& v, const float* out, const float* lse, const float* d_out,
              const GradientRows& d_q, const GradientRows& d_k, const GradientRows& d_v) {
  const float scale = 1.F / std::sqrt(static_cast<float>(s.qk_dim));
  const Index out_stride = s.batch * s.q_heads * s.v_dim;
  Tile p, ds;
  for (Index sample = 0; sample < s.batch; ++sample) {
    for (Index head = 0; head < s.q_heads; ++head) {
      const Index kv_head = head / (s.q_heads / s.kv_heads);
      each_tile(s.query_runs, kTile, [&](Index q_row, Index query, Index queries) {
        const Index at_out = q_row * out_stride + (sample * s.q_heads + head) * s.v_dim;
        const ConstMatrix q_tile{q.at(q_row, sample, head), queries, s.qk_dim, q.stride.position}, d_o{d_out + at_out, queries, s.v_dim, out_stride};
        const Matrix dq{d_q.at(q_row, sample, head), queries, s.qk_dim, d_q.stride.position};
        Column d{};
        for (Index i = 0; i < queries; ++i) d[static_cast<std::size_t>(i)] = dot(s.v_dim, d_o.data + i * out_stride, out + at_out + i * out_stride);
        each_tile(s.key_runs, kTile, [&](Index k_row, Index key, Index in_tile) {
          const Index keys = attended(s.causal, query + queries - 1, key, in_tile);
          if (keys == 0) return;
          const ConstMatrix k_tile{k.at(k_row, sample, kv_head), keys, s.qk_dim, k.stride.position},
              v_tile{v.at(k_row, sample, kv_head), keys, s.v_dim, v.stride.position};
          const Matrix scores = dense(p.data(), queries, keys), gradient = dense(ds.data(), queries, keys);
          const ConstMatrix probabilities = dense(static_cast<const float*>(p.data()), queries, keys),
                            d_scores = dense(static_cast<const float*>(ds.data()), queries, keys);
          zero(scores);
          zero(gradient);
          multiply_nt(scores, q_tile, k_tile, scale);
          multiply_nt(gradient, d_o, v_tile);
          for (Index i = 0; i < queries; ++i) {
            float *row = p.data() + i * keys, *d_row = ds.data() + i * keys;
            const Index valid = attended(s.causal, query + i, key, keys);
            exponentials(valid, row, lse[(head * s.batch + sample) * s.queries + q_row + i]);
            softmax_gradient(valid, row, d_row, d[static_cast<std::size_t>(i)]);
            std::fill_n(row + valid, keys - valid, 0.F);
            std::fill_n(d_row + valid, keys - valid, 0.F);
          }
          multiply_tn({d_v.at(k_row, sample, kv_head), keys, s.v_dim, d_v.stride.position}, probabilities, d_o);
          multiply_nn(dq, d_scores, k_tile, scale);
          multiply_tn({d_k.at(k_row, sample, kv_head), keys, s.qk_dim, d_k.stride.position}, d_scores, q_tile, scale);
        });
      });
    }
  }
}

AttentionBlock whole(const AttentionShape& s, std::span<const program::Run> runs) {
  return {s.batch, s.sequence, s.sequence, s.q_heads, s.kv_heads, s.qk_dim, s.v_dim, 0, s.causal, runs, runs};
}

}  // namespace

void attention_forward(const AttentionShape& shape, const float* qkv, float* out, float* lse) {
  const program::Run run{0, shape.sequence};
  const AttentionBlock s = whole(shape, {&run, 1});
  const Index width = packed_width(s);
  const float *k = qkv + s.q_heads * s.qk_dim, *v = k + s.kv_heads * s.qk_dim;
  forward(s, {qkv, packed(s.batch, width, s.qk_dim)}, {k, packed(s.batch, width, s.qk_dim)}, {v, packed(s.batch, width, s.v_dim)}, out, lse);
}

void attention_backward(const AttentionShape& shape, const float* qkv, const float* out, const float* lse, const float* d_out, float* d_qkv) {
  const program::Run run{0, shape.sequence};
  const AttentionBlock s = whole(shape, {&run, 1});
  const Index width = packed_width(s), to_k = s.q_heads * s.qk_dim, to_v = to_k + s.kv_heads * s.qk_dim;
  const Strides keys = packed(s.batch, width, s.qk_dim), values = packed(s.batch, width, s.v_dim);
  std::fill_n(d_qkv, s.queries * s.batch * width, 0.F);
  backward(s, {qkv, keys}, {qkv + to_k, keys}, {qkv + to_v, values}, out, lse, d_out, {d_qkv, keys}, {d_qkv + to_k, keys}, {d_qkv + to_v, values});
}

void attention_block_forward(const AttentionBlock& s, const float* q, const float* kv, float* out, float* lse) {
  const Index width = kv_width(s);
  forward(s, {q, packed(s.batch, s.q_width, s.qk_dim)}, {kv, packed(s.batch, width, s.qk_dim)},
          {kv + s.kv_heads * s.qk_dim, packed(s.batch, width, s.v_dim)}, out, lse);
}

void attention_block_backward(const AttentionBlock& s, const float* q, const float* kv, const float* out, const float* lse, const float* d_out,
                              float* d_q, float* d_kv) {
  const Index width = kv_width(s), to_v = s.kv_heads * s.qk_dim;
  const Strides queries = packed(s.batch, s.q_width, s.qk_dim), keys = packed(s.batch, width, s.qk_dim), values = packed(s.batch, width, s.v_dim);
  std::fill_n(d_kv, s.keys * s.batch * width, 0.F);
  backward(s, {q, queries}, {kv, keys}, {kv + to_v, values}, out, lse, d_out, {d_q, queries}, {d_kv, keys}, {d_kv + to_v, values});
}

// Results of disjoint sets of keys, each weighted by its share of both sums of exponentials.
void attention_merge(Index batch, Index queries, Index heads, Index v_dim, const float* some, const float* some_lse, float* out, float* lse) {
  for (Index head = 0; head < heads; ++head) {
    for (Index row = 0; row < batch * queries; ++row) {
      const Index query = row / batch, sample = row % batch, at = (head * batch + sample) * queries + query;
      const float a = lse[at], b = some_lse[at], most = std::max(a, b);
      if (b == -std::numeric_limits<float>::infinity()) continue;
      const float mine = std::exp(a - most), theirs = std::exp(b - most), sum = mine + theirs;
      const float w = mine / sum, v = theirs / sum;
      float* __restrict y = out + (row * heads + head) * v_dim;
      const float* __restrict x = some + (row * heads + head) * v_dim;
#pragma omp simd
      for (Index i = 0; i < v_dim; ++i) y[i] = w * y[i] + v * x[i];
      lse[at] = most + std::log(sum);
    }
  }
}

void take_columns(Index rows, Index width, Index first, Index columns, const float* x, float* y) {
  for (Index i = 0; i < rows; ++i) std::copy_n(x + i * width + first, columns, y + i * columns);
}

void put_columns(Index rows, Index width, Index first, Index columns, const float* x, float* y) {
  for (Index i = 0; i < rows; ++i) std::copy_n(x + i * columns, columns, y + i * width + first);
}

void scatter_columns(Index rows, Index columns, Index parts, const float* x, float* y) {
  for (Index p = 0; p < parts; ++p) take_columns(rows, parts * columns, p * columns, columns, x, y + p * rows * columns);
}

void gather_columns(Index rows, Index columns, Index parts, const float* y, float* x) {
  for (Index p = 0; p < parts; ++p) put_columns(rows, parts * columns, p * columns, columns, y + p * rows * columns, x);
}

namespace {

// Calls visit(column of the packed row, column of the part's row, count) for what part `p` holds.
template <class Visit>
void each_piece(const HeadParts& s, Index p, Visit visit) {
  const Index q = s.q_heads / s.parts, kv = s.part_kv_heads(), first = p * s.kv_heads / s.parts;
  visit(p * q * s.qk_dim, Index{0}, q * s.qk_dim);
  visit(s.q_heads * s.qk_dim + first * s.qk_dim, q * s.qk_dim, kv * s.qk_dim);
  visit((s.q_heads + s.kv_heads) * s.qk_dim + first * s.v_dim, (q + kv) * s.qk_dim, kv * s.v_dim);
}

}  // namespace

void scatter_heads(const HeadParts& s, const float* x, float* y) {
  const Index width = s.packed_width(), part = s.part_width();
  for (Index p = 0; p < s.parts; ++p)
    for (Index row = 0; row < s.rows; ++row)
      each_piece(s, p, [&](Index from, Index to, Index n) { std::copy_n(x + row * width + from, n, y + (p * s.rows + row) * part + to); });
}

void gather_heads(const HeadParts& s, const float* y, float* x) {
  const Index width = s.packed_width(), part = s.part_width();
  std::fill_n(x, s.rows * width, 0.F);
  for (Index p = 0; p < s.parts; ++p)
    for (Index row = 0; row < s.rows; ++row)
      each_piece(s, p, [&](Index to, Index from, Index n) {
        float* __restrict a = x + row * width + to;
        const float* __restrict b = y + (p * s.rows + row) * part + from;
#pragma omp simd
        for (Index i = 0; i < n; ++i) a[i] += b[i];
      });
}

}  // namespace orrery::executor::cpu
