// For test binaries that are worth nothing without a GPU.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "executor/cuda.h"

namespace orrery::executor {

// Ends the program where there is no GPU, with what CTest takes for "skipped" (tests/CMakeLists.txt): these tests never pass there. GoogleTest would
// report tests that an environment skips as passed.
class NeedsGpu final : public testing::Environment {
 public:
  void SetUp() override {
    constexpr int kSkipped = 77;
    try {
      load_cuda_plugin(ORRERY_CUDA_PLUGIN).devices();
    } catch (const Error& e) {
      std::printf("not run on a GPU: %s\n", e.what());
      std::exit(kSkipped);
    }
  }
};
[[maybe_unused]] inline testing::Environment* const kNeedsGpu = testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace orrery::executor
