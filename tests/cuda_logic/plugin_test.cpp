// What a machine without the plugin is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "executor/cuda.h"
#include "support/temporary_folder.h"

namespace orrery::executor {
namespace {

std::string message(const std::string& path) {
  try {
    load_cuda_plugin(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "loaded";
}

TEST(CudaPlugin, ThatIsMissingIsNamedWithTheWayToGetIt) {
  const std::string said = message("/nowhere/liborrery_cuda.so");
  EXPECT_THAT(said, testing::StartsWith("cuda: the CUDA plugin cannot be loaded: /nowhere/liborrery_cuda.so: cannot open shared object file"));
  EXPECT_THAT(said, testing::HasSubstr("hint: build it by 'cmake --preset cuda'"));
}

TEST(CudaPlugin, ThatIsNoLibraryIsRefused) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "liborrery_cuda.so").string();
  std::ofstream(path) << "not a library";
  EXPECT_THAT(message(path), testing::HasSubstr("cannot be loaded"));
}

TEST(CudaPlugin, ThatIsAnotherLibraryIsRefused) {
  EXPECT_THAT(message("libm.so.6"), testing::HasSubstr("'libm.so.6' is a library, but not Orrery's CUDA plugin"));
}

}  // namespace
}  // namespace orrery::executor
