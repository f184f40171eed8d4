#include <gtest/gtest.h>

#include "support/kernels_under_test.h"

namespace orrery::executor {
namespace {

TEST(KernelSet, LeavesTheRuntimesOperatorsToTheRuntime) {
  for (std::size_t i = 0; i < program::kOperators; ++i) {
    program::Shape shape;
    shape.op = static_cast<program::Operator>(i);
    const bool runtime = program::is_communication(shape.op) || shape.op == program::Operator::wait || shape.op == program::Operator::load_tokens ||
                         shape.op == program::Operator::load_targets;
    if (runtime) {
      EXPECT_FALSE(kernels_under_test().has(shape)) << name(shape.op);
    }
  }
}

}  // namespace
}  // namespace orrery::executor
