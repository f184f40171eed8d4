// The plans that come with Orrery.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "app/inputs.h"
#include "program/check.h"
#include "program/compile.h"

namespace orrery::app {
namespace {

std::vector<std::string> examples() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(ORRERY_SOURCE_DIR) / "examples" / "plans"))
    if (entry.path().extension() == ".json") out.push_back(entry.path().string());
  return out;
}

TEST(ExamplePlans, AreLegalAndSoundPrograms) {
  EXPECT_GE(examples().size(), 10U);
  for (const std::string& file : examples()) {
    PlanFlags flags;
    flags.plan = file;
    const Inputs in = load_inputs(flags);
    ASSERT_TRUE(program::refusals(in.model, in.cluster, in.plan).empty()) << file;
    for (const program::Violation& v : program::check(program::compile(in.model, in.cluster, in.plan))) ADD_FAILURE() << file << ": " << v.what;
  }
}

}  // namespace
}  // namespace orrery::app
