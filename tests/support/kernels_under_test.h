// How the conformance tests of kernels (tests/kernels) know an implementation: by the two functions that its test binary defines.
#pragma once

#include <cstddef>
#include <span>

#include "executor/kernels/kernels.h"

namespace orrery::executor {

// The kernel set under test. A binary for hardware that is not there skips its tests by a testing::Environment.
const KernelSet& kernels_under_test();

// Runs one call, for which the set `has` the shape (checked), on operands in this machine's memory, `bytes[i]` long. A set whose operands lie
// elsewhere copies all of them there, what they hold before the call included, and back.
void run_under_test(const KernelContext& context, std::span<const std::size_t> bytes);

}  // namespace orrery::executor
