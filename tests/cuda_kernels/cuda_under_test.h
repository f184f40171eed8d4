// The device that the tests of this folder run on.
#pragma once

#include <memory>

#include "executor/cuda.h"

namespace orrery::executor {

struct CudaUnderTest {
  std::unique_ptr<CudaQueue> queue;
  std::unique_ptr<KernelSet> kernels;
  CudaUnderTest();
};
CudaUnderTest& cuda_under_test();

}  // namespace orrery::executor
