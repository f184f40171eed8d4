// What lets one inline function be compiled by nvcc for both sides and by any other compiler for the host.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define ORRERY_PORTABLE __host__ __device__ __forceinline__
#else
#define ORRERY_PORTABLE inline
#endif

namespace orrery::executor::cuda {
using Index = std::int64_t;
}
