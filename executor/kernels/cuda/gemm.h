// The dense linears, by cuBLASLt.
#pragma once

#include <memory>

#include "executor/cuda.h"
#include "executor/kernels/cuda/launches.h"

namespace orrery::executor::cuda {

// The products of one stream. Algorithms are the heuristic's first choice, or (options.tune) the fastest of its first few, timed when a shape is
// first seen: that one call waits for the device, so it belongs into a warm-up, before a graph is captured. What is chosen is remembered by shape,
// and what was timed in options.gemm_cache between processes, so that a repeated run gives the same bits.
class Gemm {
 public:
  Gemm(int device, Stream stream, const CudaOptions& options);
  ~Gemm();

  // Shapes and types as in program/operators.h: x, y, dx, dy are of `type`; weights, biases and gradients say theirs.
  void forward(DType type, Index tokens, Index in, Index out, const void* x, Array weight, Array bias, void* y) const;
  void input_grad(DType type, Index tokens, Index in, Index out, const void* dy, Array weight, void* dx) const;
  void weight_grad(DType type, Index tokens, Index in, Index out, const void* x, const void* dy, Array d_weight) const;

 private:
  class Library;
  std::unique_ptr<Library> library_;
};

// `from` itself where it is of `type`, otherwise a copy of that type in `room`.
class Converted {
 public:
  Converted(Stream stream, Index elements, Array from, DType type);
  const void* data() const { return data_; }

 private:
  Scratch room_;
  const void* data_;
};

// Whether two types are the same in memory.
constexpr bool same_bits(DType a, DType b) {
  const auto stored = [](DType t) { return t == DType::tf32 ? DType::fp32 : t; };
  return stored(a) == stored(b);
}

}  // namespace orrery::executor::cuda
