#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "core/error.h"
#include "executor/device.h"
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

void check_memory(int status, std::size_t wanted, const char* what) {
  if (status != cudaErrorMemoryAllocation) return check_cuda(status, what);
  const auto gib = [](std::size_t bytes) { return static_cast<double>(bytes) / static_cast<double>(std::size_t{1} << 30U); };
  cudaGetLastError();  // the failure is ours to report, not the next launch's
  int device = 0;
  std::size_t free = 0, all = 0;
  cudaDeviceProp properties{};
  if (cudaGetDevice(&device) == cudaSuccess) cudaGetDeviceProperties(&properties, device);
  cudaMemGetInfo(&free, &all);
  throw OutOfMemory("cuda",
                    fmt::format("{}: {:.2f} GiB are wanted on device {} ({}), and {:.2f} of {:.2f} GiB are free", what, gib(wanted), device,
                                std::string_view(properties.name), gib(free), gib(all)),
                    std::string(kMemoryHint), static_cast<std::int64_t>(wanted), static_cast<std::int64_t>(free));
}

void trim_scratch(int device) {
  cudaMemPool_t pool = nullptr;
  std::uint64_t none = 0;
  check_cuda(cudaDeviceGetDefaultMemPool(&pool, device), "asking for the memory pool");
  check_cuda(cudaMemPoolTrimTo(pool, 0), "giving scratch memory back");
  check_cuda(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReservedMemHigh, &none), "watching the memory pool");
  check_cuda(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &none), "watching the memory pool");
}

Scratch::Scratch(Stream stream, Index bytes) : stream_(stream) {
  const auto wanted = static_cast<std::size_t>(bytes);
  if (bytes > 0) check_memory(cudaMallocAsync(&data_, wanted, stream), wanted, "scratch memory");
}
Scratch::~Scratch() {
  if (data_) cudaFreeAsync(data_, stream_);
}

}  // namespace orrery::executor::cuda
