// The dense linears, by cuBLASLt.
#pragma once

#include <memory>

#include "executor/cuda.h"
#include "executor/kernels/cuda/launches.h"
#include "program/quantised.h"

namespace orrery::executor::cuda {

class GemmChoicesByDevice;

inline constexpr std::size_t kGemmWorkspace = std::size_t{32} << 20;  // bytes of each; what NVIDIA's libraries take on Hopper

// The products of one stream. Algorithms are the heuristic's first choice, or (options.tune) the fastest of its first few, timed when a shape is
// first seen: that one call waits for what is on its stream, so it belongs into a warm-up, before a graph is captured. What is chosen is remembered
// by shape in `choices`, and what was timed in options.gemm_cache, which later processes read. So ranks of one process that compute the same product,
// and a repeated run, get the same bits. Processes that run together do not tune, as each would come to its own choice: they are given one
// gemm_known.
class Gemm {
 public:
  Gemm(int device, Stream stream, const CudaOptions& options, const std::shared_ptr<GemmChoicesByDevice>& choices);
  ~Gemm();

  // Shapes and types as in program/operators.h: x, y, dx, dy are of `type`; weights, biases and gradients say theirs.
  void forward(DType type, Index tokens, Index in, Index out, const void* x, Array weight, Array bias, void* y) const;
  void input_grad(DType type, Index tokens, Index in, Index out, const void* dy, Array weight, void* dx) const;
  void weight_grad(DType type, Index tokens, Index in, Index out, const void* x, const void* dy, Array d_weight) const;
  // Ending with GELU (as tanh, which is cuBLASLt's) of u, which is written too; and with its derivative: du = (dy W) gelu'(u). False, and nothing
  // done, where types or places are not what the epilogue takes, or cuBLASLt has no algorithm for it.
  bool forward_gelu(DType type, Index tokens, Index in, Index out, const void* x, Array weight, Array bias, void* u, void* a) const;
  bool gelu_grad(DType type, Index tokens, Index in, Index out, const void* dy, Array weight, const void* u, void* du) const;
  // In 8 bits: operands are quantised matrices, as the shape says; results are bf16. Sizes are multiples of 16.
  void forward_8(const program::Shape& shape, const void* x, const void* weight, Array bias, void* y) const;
  void input_grad_8(const program::Shape& shape, const void* dy, const void* weight, void* dx) const;
  void weight_grad_8(const program::Shape& shape, const void* x, const void* dy, Array d_weight) const;

 private:
  void multiply_8(const program::QuantisedMatrix& a, const void* of_a, const program::QuantisedMatrix& b, const void* of_b, DType out, float beta,
                  Array bias, bool fast, void* c) const;
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
