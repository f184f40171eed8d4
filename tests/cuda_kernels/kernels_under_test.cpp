// The conformance tests of kernels on the CUDA set: operands travel to the device before each call, whatever they hold, and back after it.
#include "support/kernels_under_test.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/error.h"
#include "cuda_under_test.h"

namespace orrery::executor {
namespace {

// What CTest takes for "skipped" (tests/CMakeLists.txt). GoogleTest would report tests that an environment skips as passed.
constexpr int kSkipped = 77;

// Ends the program where there is no GPU: these tests never pass there.
class NeedsGpu final : public testing::Environment {
 public:
  void SetUp() override {
    try {
      load_cuda_plugin(ORRERY_CUDA_PLUGIN).devices();
    } catch (const Error& e) {
      std::printf("not run on a GPU: %s\n", e.what());
      std::exit(kSkipped);
    }
  }
};
[[maybe_unused]] const testing::Environment* const kNeedsGpu = testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace

CudaUnderTest::CudaUnderTest()
    : queue(load_cuda_plugin(ORRERY_CUDA_PLUGIN).make_queue(0)), kernels(load_cuda_plugin(ORRERY_CUDA_PLUGIN).make_kernels(0, queue->stream(), {})) {}

CudaUnderTest& cuda_under_test() {
  static CudaUnderTest one;
  return one;
}

const KernelSet& kernels_under_test() { return *cuda_under_test().kernels; }

void run_under_test(const KernelContext& context, std::span<const std::size_t> bytes) {
  CudaUnderTest& cuda = cuda_under_test();
  ASSERT_TRUE(cuda.kernels->has(context.shape));
  std::vector<void*> device;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    device.push_back(cuda.queue->allocate(static_cast<std::int64_t>(bytes[i])));
    cuda.queue->upload(device.back(), context.buffers[i], static_cast<std::int64_t>(bytes[i]));
  }
  KernelContext there = context;
  there.buffers = device;
  cuda.kernels->run(there);
  for (std::size_t i = 0; i < bytes.size(); ++i) cuda.queue->download(context.buffers[i], device[i], static_cast<std::int64_t>(bytes[i]));
  cuda.queue->synchronise();
  for (void* memory : device) cuda.queue->release(memory);
}

namespace {

TEST(CudaKernels, HaveNoRotationsOfMoreElementsThanAKernelIsGiven) {
  program::Shape shape;
  shape.op = program::Operator::rope_forward;
  shape.dims = {1, 1, 1, 1024};
  EXPECT_TRUE(kernels_under_test().has(shape));
  shape.dims[3] = 1026;
  EXPECT_FALSE(kernels_under_test().has(shape));
}

}  // namespace
}  // namespace orrery::executor
