#include <algorithm>

#include "executor/kernels/cpu/turning.h"

namespace orrery::executor::cpu {
namespace {

template <class Visit>
void each_position(const LatentShape& shape, bool forward, Visit visit) {
  const RopeAngles angles(shape.theta, shape.rope, shape.scaling);
  cpu::each_position(angles, shape.rope / 2, shape.tokens, shape.micro_batch, shape.first, forward, visit);
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
  const Index qk = shape.nope + shape.rope, heads = shape.heads, half = shape.rope / 2, width = heads * (2 * qk + shape.v);
  for (Index row = 0; row < shape.tokens; ++row) {
    const float *from = q + row * heads * qk, *pairs = kv + row * heads * (shape.nope + shape.v);
    float *queries = qkv + row * width, *keys = queries + heads * qk, *values = keys + heads * qk;
    for (Index h = 0; h < heads; ++h) {
      std::copy_n(from + h * qk, shape.nope, queries + h * qk);
      std::copy_n(pairs + h * (shape.nope + shape.v), shape.nope, keys + h * qk);
      std::copy_n(pairs + h * (shape.nope + shape.v) + shape.nope, shape.v, values + h * shape.v);
    }
  }
  each_position(shape, true, [&](const Turning& turning, Index first, Index rows) {
    for (Index row = first; row < first + rows; ++row) {
      float *queries = qkv + row * width + shape.nope, *keys = queries + heads * qk;
      for (Index h = 0; h < heads; ++h) turning.turn(q + (row * heads + h) * qk + shape.nope, queries + h * qk, half);
      turning.turn(k_rope + row * shape.rope, keys, half);
      for (const Index begin : {turning.begin(), turning.begin() + half})
        for (Index h = 1; h < heads; ++h) std::copy_n(keys + begin, turning.pairs(), keys + h * qk + begin);
    }
  });
}

void mla_pack_backward(const LatentShape& shape, const float* d_qkv, float* d_q, float* d_kv, float* d_k_rope) {
  const Index qk = shape.nope + shape.rope, heads = shape.heads, half = shape.rope / 2, width = heads * (2 * qk + shape.v);
  for (Index row = 0; row < shape.tokens; ++row) {
    const float *queries = d_qkv + row * width, *keys = queries + heads * qk, *values = keys + heads * qk;
    float *to = d_q + row * heads * qk, *pairs = d_kv + row * heads * (shape.nope + shape.v), *shared = d_k_rope + row * shape.rope;
    for (Index h = 0; h < heads; ++h) {
      std::copy_n(queries + h * qk, shape.nope, to + h * qk);
      std::copy_n(keys + h * qk, shape.nope, pairs + h * (shape.nope + shape.v));
      std::copy_n(values + h * shape.v, shape.v, pairs + h * (shape.nope + shape.v) + shape.nope);
    }
    // The heads' gradients are summed before they are turned back.
    std::copy_n(keys + shape.nope, shape.rope, shared);
    for (Index h = 1; h < heads; ++h) accumulate(shape.rope, keys + h * qk + shape.nope, shared);
  }
  each_position(shape, false, [&](const Turning& turning, Index first, Index rows) {
    for (Index row = first; row < first + rows; ++row) {
      for (Index h = 0; h < heads; ++h) turning.turn(d_qkv + row * width + h * qk + shape.nope, d_q + (row * heads + h) * qk + shape.nope, half);
      turning.turn(d_k_rope + row * shape.rope, d_k_rope + row * shape.rope, half);
    }
  });
}

}  // namespace orrery::executor::cpu
