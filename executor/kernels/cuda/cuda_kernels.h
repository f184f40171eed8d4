// The CUDA kernels behind the seam KernelSet.
#pragma once

#include <memory>

#include "executor/cuda.h"
#include "executor/kernels/cuda/launches.h"

namespace orrery::executor::cuda {

std::unique_ptr<KernelSet> make_cuda_kernels(int device, Stream stream, const CudaOptions& options);

}  // namespace orrery::executor::cuda
