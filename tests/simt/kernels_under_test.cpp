// The CUDA kernels' own sources on the CPU (simt.h), with the CPU's kernels in place of cuBLASLt. Operands lie between guards.
#include "support/kernels_under_test.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "core/error.h"
#include "executor/kernels/cuda/cuda_kernels.h"
#include "executor/kernels/cuda/gemm.h"
#include "executor/kernels/low_precision.h"

namespace orrery::executor {
namespace cuda {

using program::Operator;

void check_cuda(int status, const char* what) {
  if (status != 0) throw Error("cuda", what);
}

Scratch::Scratch(Stream, Index bytes) : stream_(nullptr) {
  if (bytes <= 0) return;
  const std::size_t rounded = (static_cast<std::size_t>(bytes) + 255) / 256 * 256;
  data_ = std::aligned_alloc(256, rounded);
  std::memset(data_, 0xff, rounded);
}
Scratch::~Scratch() { std::free(data_); }

namespace {

void multiply(Operator op, DType type, std::array<std::int64_t, 9> dims, std::vector<void*> operands, DType parameters, DType gradients) {
  static const std::unique_ptr<KernelSet> fp32 = make_cpu_kernels(), set = make_rounding_kernels(*fp32);
  program::Shape shape;
  shape.op = op, shape.dtype = type, shape.dims = dims;
  KernelSettings settings;
  settings.parameters = parameters, settings.gradients = gradients;
  set->run({shape, operands, settings});
}
void* mutable_(const void* p) { return const_cast<void*>(p); }
std::vector<void*> forward_operands(const void* x, const void* weight, Array bias, void* y) {
  std::vector<void*> operands{mutable_(x), mutable_(weight)};
  if (bias) operands.push_back(bias.data);
  operands.push_back(y);
  return operands;
}

}  // namespace

class Gemm::Library {};
Gemm::Gemm(int, Stream, const CudaOptions&, const std::shared_ptr<GemmChoicesByDevice>&) {}
Gemm::~Gemm() = default;

Converted::Converted(Stream stream, Index elements, Array from, DType type)
    : room_(stream, same_bits(from.type, type) || !from ? 0 : bytes_of(type, elements)), data_(from.data) {
  if (!room_.as<void>()) return;
  cast(stream, elements, from, {room_.as<void>(), type});
  data_ = room_.as<void>();
}

void Gemm::forward(DType type, Index tokens, Index in, Index out, const void* x, Array weight, Array bias, void* y) const {
  multiply(Operator::linear_forward, type, {tokens, in, out}, forward_operands(x, weight.data, bias, y), weight.type, DType::fp32);
}
void Gemm::input_grad(DType type, Index tokens, Index in, Index out, const void* dy, Array weight, void* dx) const {
  multiply(Operator::linear_input_grad, type, {tokens, in, out}, {mutable_(dy), weight.data, dx}, weight.type, DType::fp32);
}
void Gemm::weight_grad(DType type, Index tokens, Index in, Index out, const void* x, const void* dy, Array d_weight) const {
  multiply(Operator::linear_weight_grad, type, {tokens, in, out}, {mutable_(x), mutable_(dy), d_weight.data}, DType::fp32, d_weight.type);
}
bool Gemm::forward_gelu(DType, Index, Index, Index, const void*, Array, Array, void*, void*) const { return false; }
bool Gemm::gelu_grad(DType, Index, Index, Index, const void*, Array, const void*, void*) const { return false; }
void Gemm::forward_8(const program::Shape& shape, const void* x, const void* weight, Array bias, void* y) const {
  multiply(shape.op, shape.dtype, shape.dims, forward_operands(x, weight, bias, y), bias ? bias.type : DType::bf16, DType::fp32);
}
void Gemm::input_grad_8(const program::Shape& shape, const void* dy, const void* weight, void* dx) const {
  multiply(shape.op, shape.dtype, shape.dims, {mutable_(dy), mutable_(weight), dx}, DType::bf16, DType::fp32);
}
void Gemm::weight_grad_8(const program::Shape& shape, const void* x, const void* dy, Array d_weight) const {
  multiply(shape.op, shape.dtype, shape.dims, {mutable_(x), mutable_(dy), d_weight.data}, DType::bf16, d_weight.type);
}

}  // namespace cuda

const KernelSet& kernels_under_test() {
  static const std::unique_ptr<KernelSet> set = cuda::make_cuda_kernels(0, nullptr, {}, nullptr);
  return *set;
}

void run_under_test(const KernelContext& context, std::span<const std::size_t> bytes) {
  ASSERT_TRUE(kernels_under_test().has(context.shape));
  constexpr std::size_t kGuard = 256;
  constexpr std::byte kMark{0xa5};
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::vector<std::unique_ptr<std::byte, Free>> rooms;
  std::vector<void*> operands;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t size = (bytes[i] + 2 * kGuard + 255) / 256 * 256;
    rooms.emplace_back(static_cast<std::byte*>(std::aligned_alloc(256, size)));
    std::memset(rooms.back().get(), static_cast<int>(kMark), size);
    operands.push_back(rooms.back().get() + kGuard);
    std::memcpy(operands.back(), context.buffers[i], bytes[i]);
  }
  KernelContext there = context;
  there.buffers = operands;
  kernels_under_test().run(there);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::byte* room = rooms[i].get();
    for (std::size_t k = 0; k < kGuard; ++k)
      ASSERT_TRUE(room[k] == kMark && room[kGuard + bytes[i] + k] == kMark) << name(context.shape.op) << " writes beside operand " << i;
    std::memcpy(context.buffers[i], operands[i], bytes[i]);
  }
}

}  // namespace orrery::executor
