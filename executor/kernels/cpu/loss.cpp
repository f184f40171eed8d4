#include <algorithm>
#include <cmath>
#include <limits>

#include "executor/kernels/cpu/cpu.h"
#include "executor/kernels/cpu/vector_math.h"

namespace orrery::executor::cpu {
namespace {

constexpr Index kBlock = 1024;  // columns summed in fp32 before they are added up in double: keeps a large vocabulary's sum exact to about 1e-7

// Column of `target` in this shard, or -1.
Index column(VocabularyShard shard, std::int32_t target) {
  const Index c = target - shard.offset;
  return c >= 0 && c < shard.valid ? c : -1;
}

}  // namespace

void cross_entropy_max(Index tokens, Index columns, VocabularyShard shard, const float* logits, float* max) {
  for (Index t = 0; t < tokens; ++t) {
    // stays -inf where the shard is all padding; the reduction over shards mends it
    max[t] = maximum(shard.valid, logits + t * columns, -std::numeric_limits<float>::infinity());
  }
}

void cross_entropy_sum(Index tokens, Index columns, VocabularyShard shard, const float* logits, const float* max, const std::int32_t* target,
                       float* sums) {
  for (Index t = 0; t < tokens; ++t) {
    const float* __restrict row = logits + t * columns;
    const float shift = max[t];
    double total = 0;
    for (Index begin = 0; begin < shard.valid; begin += kBlock) {
      const Index end = std::min(shard.valid, begin + kBlock);
      float s = 0;
#pragma omp simd reduction(+ : s)
      for (Index i = begin; i < end; ++i) s += fast_exp(row[i] - shift);
      total += static_cast<double>(s);
    }
    sums[t] = static_cast<float>(total);
    const Index c = column(shard, target[t]);
    sums[tokens + t] = c < 0 ? 0.F : row[c];
  }
}

void cross_entropy_grad(Index tokens, Index columns, VocabularyShard shard, Index global_tokens, double loss_weight, const float* max,
                        const float* sums, const std::int32_t* target, float* logits, double* loss) {
  const float weight = static_cast<float>(loss_weight) / static_cast<float>(global_tokens);
  double total = 0;
  for (Index t = 0; t < tokens; ++t) {
    float* __restrict row = logits + t * columns;
    if (target[t] < 0) {  // nothing follows: neither loss nor gradient
      std::fill_n(row, columns, 0.F);
      continue;
    }
    total += static_cast<double>(max[t]) - static_cast<double>(sums[tokens + t]) + std::log(static_cast<double>(sums[t]));
    const float shift = max[t], factor = weight / sums[t];
#pragma omp simd
    for (Index i = 0; i < shard.valid; ++i) row[i] = fast_exp(row[i] - shift) * factor;
    std::fill_n(row + shard.valid, columns - shard.valid, 0.F);
    const Index c = column(shard, target[t]);
    if (c >= 0) row[c] -= weight;
  }
  *loss += loss_weight * total;
}

}  // namespace orrery::executor::cpu
