#include <algorithm>
#include <cstring>

#include "executor/kernels/cpu/cpu.h"

namespace orrery::executor::cpu {

void embedding_forward(Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, const float* table, float* x) {
  for (Index t = 0; t < tokens; ++t) {
    const Index row = token[t] - offset;
    float* to = x + t * hidden;
    if (row >= 0 && row < rows) {
      std::copy_n(table + row * hidden, hidden, to);
    } else {
      std::fill_n(to, hidden, 0.F);
    }
  }
}

void embedding_backward(Index tokens, Index hidden, Index rows, Index offset, const std::int32_t* token, const float* dx, float* d_table) {
  for (Index t = 0; t < tokens; ++t) {
    const Index row = token[t] - offset;
    if (row >= 0 && row < rows) accumulate(hidden, dx + t * hidden, d_table + row * hidden);
  }
}

void position_forward(Index tokens, Index hidden, Index first, Index micro_batch, const float* table, float* x) {
  for (Index t = 0; t < tokens; ++t) accumulate(hidden, table + (first + t / micro_batch) * hidden, x + t * hidden);
}

void position_backward(Index tokens, Index hidden, Index first, Index micro_batch, const float* dx, float* d_table) {
  for (Index t = 0; t < tokens; ++t) accumulate(hidden, dx + t * hidden, d_table + (first + t / micro_batch) * hidden);
}

}  // namespace orrery::executor::cpu
