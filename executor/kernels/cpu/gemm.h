// Matrix products on row-major fp32 blocks with strides: the only place of the executor that includes Eigen, whose types never leave gemm.cpp.
#pragma once

#include <cstdint>

namespace orrery::executor::cpu {

// A row-major block: element (i, j) is data[i * stride + j].
struct ConstMatrix {
  const float* data;
  std::int64_t rows, cols, stride;
};
struct Matrix {
  float* data;
  std::int64_t rows, cols, stride;
};

inline ConstMatrix dense(const float* data, std::int64_t rows, std::int64_t cols) { return {data, rows, cols, cols}; }
inline Matrix dense(float* data, std::int64_t rows, std::int64_t cols) { return {data, rows, cols, cols}; }

// c += scale · a b, scale · a bᵀ, scale · aᵀ b. Blocks must not overlap.
void multiply_nn(Matrix c, ConstMatrix a, ConstMatrix b, float scale = 1);
void multiply_nt(Matrix c, ConstMatrix a, ConstMatrix b, float scale = 1);
void multiply_tn(Matrix c, ConstMatrix a, ConstMatrix b, float scale = 1);

}  // namespace orrery::executor::cpu
