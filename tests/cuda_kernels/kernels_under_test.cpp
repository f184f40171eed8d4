// The conformance tests of kernels on the CUDA set: operands travel to the device before each call, whatever they hold, and back after it.
#include "support/kernels_under_test.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "cuda_under_test.h"
#include "support/needs_gpu.h"

namespace orrery::executor {
Device& device_under_test() {
  static const std::unique_ptr<Device> one = load_cuda_plugin(ORRERY_CUDA_PLUGIN).make_device(0, {});
  return *one;
}

const KernelSet& kernels_under_test() { return device_under_test().kernels(); }

void run_under_test(const KernelContext& context, std::span<const std::size_t> bytes) {
  Device& device = device_under_test();
  ASSERT_TRUE(device.kernels().has(context.shape));
  std::vector<std::byte*> there;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    there.push_back(device.allocate(static_cast<std::int64_t>(bytes[i])));
    device.upload(there.back(), context.buffers[i], static_cast<std::int64_t>(bytes[i]));
  }
  const std::vector<void*> operands(there.begin(), there.end());
  KernelContext moved{context};
  moved.buffers = operands;
  device.kernels().run(moved);
  for (std::size_t i = 0; i < bytes.size(); ++i) device.download(context.buffers[i], there[i], static_cast<std::int64_t>(bytes[i]));
  for (std::byte* memory : there) device.release(memory);
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
