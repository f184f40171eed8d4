#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "core/error.h"
#include "executor/kernels/cuda/failures.h"
#include "executor/kernels/cuda/launches.h"

namespace orrery::executor::cuda {

namespace {

// kCudaFailures, by name.
constexpr std::array<cudaError_t, kCudaFailures.size()> kNames{cudaErrorMemoryAllocation,
                                                               cudaErrorInitializationError,
                                                               cudaErrorStubLibrary,
                                                               cudaErrorInsufficientDriver,
                                                               cudaErrorCallRequiresNewerDriver,
                                                               cudaErrorDevicesUnavailable,
                                                               cudaErrorNoDevice,
                                                               cudaErrorInvalidDevice,
                                                               cudaErrorNoKernelImageForDevice,
                                                               cudaErrorECCUncorrectable,
                                                               cudaErrorNvlinkUncorrectable,
                                                               cudaErrorUnsupportedPtxVersion,
                                                               cudaErrorContained,
                                                               cudaErrorOperatingSystem,
                                                               cudaErrorIllegalAddress,
                                                               cudaErrorLaunchOutOfResources,
                                                               cudaErrorLaunchTimeout,
                                                               cudaErrorAssert,
                                                               cudaErrorHardwareStackError,
                                                               cudaErrorIllegalInstruction,
                                                               cudaErrorMisalignedAddress,
                                                               cudaErrorInvalidAddressSpace,
                                                               cudaErrorInvalidPc,
                                                               cudaErrorLaunchFailure,
                                                               cudaErrorSystemNotReady,
                                                               cudaErrorSystemDriverMismatch,
                                                               cudaErrorCompatNotSupportedOnDevice,
                                                               cudaErrorMpsConnectionFailed,
                                                               cudaErrorTimeout,
                                                               cudaErrorUnknown};
constexpr bool same_numbers() {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (static_cast<int>(kNames[i]) != kCudaFailures[i].status) return false;
  return true;
}
static_assert(same_numbers());

}  // namespace

void check_cuda(int status, const char* what) {
  if (status == cudaSuccess) return;
  const auto error = static_cast<cudaError_t>(status);
  throw cuda_failure(status, what, cudaGetErrorName(error), cudaGetErrorString(error));
}

Scratch::Scratch(Stream stream, Index bytes) : stream_(stream) {
  if (bytes > 0) check_cuda(cudaMallocAsync(&data_, static_cast<std::size_t>(bytes), stream), "scratch memory");
}
Scratch::~Scratch() {
  if (data_) cudaFreeAsync(data_, stream_);
}

}  // namespace orrery::executor::cuda
