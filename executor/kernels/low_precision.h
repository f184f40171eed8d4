// The CPU's stand-in for hardware that computes in 16 and 8 bits.
#pragma once

#include <memory>

#include "executor/kernels/kernels.h"

namespace orrery::executor {

// Runs shapes of bf16, fp16, tf32 and fp8 through `fp32`, which must live as long: operands are widened, and what an operator writes is rounded to
// nearest (ties to even) once, at its end, as tensor cores with fp32 accumulators do. What is fp32 altogether goes straight through. Results are
// those of low precision; times say nothing about hardware that has it.
std::unique_ptr<KernelSet> make_rounding_kernels(const KernelSet& fp32);

// Copies of elements of `type` (fp32, tf32, bf16 or fp16) as fp32, and back.
void widen(DType type, std::int64_t elements, const void* from, float* to);
void narrow(DType type, std::int64_t elements, const float* from, void* to);

}  // namespace orrery::executor
