// The CUDA kernels behind the seam KernelSet.
#pragma once

#include <memory>

#include "executor/cuda.h"
#include "executor/kernels/cuda/launches.h"

namespace orrery::executor::cuda {

class GemmChoicesByDevice;

// `choices`: of all kernel sets of the process.
std::unique_ptr<KernelSet> make_cuda_kernels(int device, Stream stream, const CudaOptions& options,
                                             const std::shared_ptr<GemmChoicesByDevice>& choices);

}  // namespace orrery::executor::cuda
