#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "core/error.h"
#include "executor/kernels/cuda/launches.h"

namespace orrery::executor::cuda {

void check_cuda(int status, const char* what) {
  if (status == cudaSuccess) return;
  const auto error = static_cast<cudaError_t>(status);
  throw Error("cuda", fmt::format("{} failed: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error)),
              error == cudaErrorMemoryAllocation ? "use a smaller micro-batch, recompute or sharding" : "");
}

Scratch::Scratch(Stream stream, Index bytes) : stream_(stream) {
  if (bytes > 0) check_cuda(cudaMallocAsync(&data_, static_cast<std::size_t>(bytes), stream), "scratch memory");
}
Scratch::~Scratch() {
  if (data_) cudaFreeAsync(data_, stream_);
}

}  // namespace orrery::executor::cuda
