#include "support/kernels_under_test.h"

#include <gtest/gtest.h>

namespace orrery::executor {

const KernelSet& kernels_under_test() {
  static const std::unique_ptr<KernelSet> set = make_cpu_kernels();
  return *set;
}

void run_under_test(const KernelContext& context, std::span<const std::size_t>) {
  ASSERT_TRUE(kernels_under_test().has(context.shape));
  kernels_under_test().run(context);
}

namespace {

TEST(CpuKernels, ComputeInFp32AndMoveAnything) {
  for (std::size_t i = 0; i < program::kOperators; ++i) {
    program::Shape shape;
    shape.op = static_cast<program::Operator>(i);
    shape.dtype = DType::bf16;
    const bool moves = shape.op == program::Operator::copy || shape.op == program::Operator::zero;
    EXPECT_EQ(kernels_under_test().has(shape), moves) << name(shape.op);
  }
}

}  // namespace
}  // namespace orrery::executor
