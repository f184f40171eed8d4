// What people are told when a GPU, its driver or a peer fails.
#include "executor/kernels/cuda/failures.h"

#include "executor/cuda.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace orrery::executor::cuda {
namespace {

TEST(Failures, OfTheGpuSayWhatHappenedAndWhatToDo) {
  EXPECT_STREQ(cuda_failure(214, "what was enqueued", "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered").what(),
               "cuda: what was enqueued failed: the GPU's memory has an error that its ECC could not correct: what was computed since is lost "
               "(cudaErrorECCUncorrectable: 214)\n"
               "  hint: look for Xid lines in dmesg and at nvidia-smi -q; take another GPU, and go on from the last checkpoint");
  EXPECT_THAT(cuda_failure(46, "a stream", "cudaErrorDevicesUnavailable", "").what(), testing::HasSubstr("held by another process, or is gone"));
  EXPECT_THAT(cuda_failure(700, "a copy", "cudaErrorIllegalAddress", "").what(), testing::HasSubstr("compute-sanitizer"));
  EXPECT_THAT(cuda_failure(702, "a copy", "cudaErrorLaunchTimeout", "").what(), testing::HasSubstr("use a GPU without a display"));
  EXPECT_THAT(cuda_failure(2, "scratch memory", "cudaErrorMemoryAllocation", "").what(), testing::HasSubstr("'orrery plan' finds plans that fit"));
  EXPECT_THAT(cuda_failure(209, "a kernel", "cudaErrorNoKernelImageForDevice", "").what(), testing::HasSubstr("-DCMAKE_CUDA_ARCHITECTURES=native"));
}

TEST(Failures, ThatNobodyKnowsAreToldInCudasWords) {
  EXPECT_STREQ(cuda_failure(914, "a launch", "cudaErrorInvalidResourceType", "invalid resource type").what(),
               "cuda: a launch failed: invalid resource type (cudaErrorInvalidResourceType: 914)");
}

TEST(Failures, OfPeersPointToTheirMessage) {
  EXPECT_STREQ(nccl_failure(6, "all_reduce of rank 3", "remote process exited or there was a network error").what(),
               "nccl: all_reduce of rank 3 failed: another rank ended or cannot be reached (remote process exited or there was a network error: 6)\n"
               "  hint: its own message says why; go on from the last checkpoint");
}

TEST(Failures, OfTheDriverSayWhichVersionsThereAre) {
  EXPECT_THAT(driver_failure(0, 13000).what(), testing::HasSubstr("no NVIDIA driver is installed"));
  EXPECT_THAT(driver_failure(12080, 13010).what(), testing::HasSubstr("the NVIDIA driver is for CUDA 12.8, and this build needs 13.1"));
}

TEST(Failures, OfGpusThatAreNotAlikeNameTheFirstThatDiffers) {
  CudaDeviceInfo h200;
  h200.name = "NVIDIA H200", h200.memory = 150'000'000'000, h200.multiprocessors = 132, h200.capability = 90;
  CudaDeviceInfo reserved = h200, h100 = h200;
  reserved.memory -= 1'000'000'000;  // 0.7 %
  h100.name = "NVIDIA H100", h100.memory = 85'000'000'000;
  refuse_unlike({h200, reserved});
  refuse_unlike({});
  try {
    refuse_unlike({h200, reserved, h100});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.message(),
              "the GPUs of this run are not alike: GPU 0 is NVIDIA H200 (132 multiprocessors, 139.7 GiB), GPU 2 is NVIDIA H100 (132, 79.2 GiB)");
    EXPECT_THAT(e.hint(), testing::HasSubstr("CUDA_VISIBLE_DEVICES"));
  }
}

TEST(Failures, AreEachKnownOnceWithAHint) {
  std::set<int> seen;
  for (const Failure& f : kCudaFailures) {
    EXPECT_TRUE(seen.insert(f.status).second) << f.status;
    EXPECT_FALSE(f.what.empty() || f.hint.empty()) << f.status;
  }
}

}  // namespace
}  // namespace orrery::executor::cuda
