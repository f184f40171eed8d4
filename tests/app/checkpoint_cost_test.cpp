#include "app/checkpoint_cost.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "app/simulate.h"
#include "core/error.h"

namespace orrery::app {
namespace {

Inputs llama(const std::string& cluster, const std::vector<std::string>& settings) {
  PlanFlags flags;
  flags.model = "llama-3.2-1b", flags.cluster = cluster, flags.sequence = 4096, flags.global_batch = 8, flags.precision = "bf16";
  flags.settings = settings;
  return load_inputs(flags);
}

SimulateReport simulated(const Inputs& inputs, std::optional<BytesPerSecond> storage = {}) {
  SimulateOptions options;
  options.checkpoints = true;
  options.storage = storage;
  return simulate(inputs, options);
}

TEST(CheckpointCost, IsTheStateOverTheBandwidths) {
  // 1,235,814,400 parameters (the published count) of 2 bytes, and masters, m and v of 4: 17.301 GB; copied at 55.06 GB/s in 0.3142 s; written at
  // 2 GB/s in 8.65 s.
  const CheckpointCost c = *simulated(llama("dgx-h200:1", {"checkpoint.every_steps=100"}), BytesPerSecond{2e9}).checkpoints;
  EXPECT_EQ(c.bytes.v, 1'235'814'400LL * 14);
  EXPECT_EQ(c.fullest, c.bytes);
  EXPECT_NEAR(c.copy.v, 17.3014 / 55.06, 1e-5);
  EXPECT_NEAR(c.write->v, 8.6507, 1e-4);
}

TEST(CheckpointCost, InTheBackgroundIsTheCopyAsLongAsStorageKeepsUp) {
  const Inputs in = llama("dgx-h200:1", {"checkpoint.every_steps=100"});
  const SimulateReport keeps_up = simulated(in, BytesPerSecond{2e9}), unknown = simulated(in);
  EXPECT_EQ(keeps_up.checkpoints->stall, keeps_up.checkpoints->copy);
  EXPECT_EQ(unknown.checkpoints->stall, unknown.checkpoints->copy);
  EXPECT_NEAR(unknown.checkpoints->step.v, unknown.step_time.v + unknown.checkpoints->copy.v / 100, 1e-12);
  EXPECT_NEAR(unknown.checkpoints->needed.v, 1'235'814'400.0 * 14 / (100 * unknown.step_time.v), 1);
  // At half of what is needed the next checkpoint waits for as long again.
  const SimulateReport late = simulated(in, BytesPerSecond{unknown.checkpoints->needed.v / 2});
  EXPECT_NEAR(late.checkpoints->stall.v, late.checkpoints->copy.v + 100 * late.step_time.v, 1e-6);
}

TEST(CheckpointCost, InModeSyncIsCopyAndWriting) {
  const SimulateReport r = simulated(llama("dgx-h200:1", {"checkpoint.every_steps=100", "checkpoint.mode=sync"}), BytesPerSecond{2e9});
  EXPECT_NEAR(r.checkpoints->stall.v, r.checkpoints->copy.v + r.checkpoints->write->v, 1e-12);
  try {
    simulated(llama("dgx-h200:1", {"checkpoint.every_steps=100", "checkpoint.mode=sync"}));
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("nothing says how fast that is"));
  }
}

TEST(CheckpointCost, RanksShareWhatTheyCopy) {
  // Eight replicas: each an eighth, whatever ZeRO does, to the element that does not divide.
  for (const char* zero : {"0", "1", "3"}) {
    const CheckpointCost c = *simulated(llama("dgx-h200:8", {"checkpoint.every_steps=10", std::string("sharding.zero=") + zero})).checkpoints;
    EXPECT_EQ(c.bytes.v, 1'235'814'400LL * 14) << zero;
    EXPECT_NEAR(static_cast<double>(c.fullest.v), static_cast<double>(c.bytes.v) / 8, 14.0 * 200) << zero;
  }
}

TEST(CheckpointCost, IsInTheLengthOfTheWholeRun) {
  SimulateOptions options;
  options.checkpoints = true;
  options.tokens = 1e9;
  const SimulateReport with = simulate(llama("dgx-h200:1", {"checkpoint.every_steps=1"}), options),
                       without = simulate(llama("dgx-h200:1", {}), options);
  EXPECT_EQ(with.step_time, without.step_time);
  EXPECT_NEAR(with.run->days / without.run->days, with.checkpoints->step.v / with.step_time.v, 1e-9);
}

TEST(CheckpointCost, OfAPipelineThatIsNeverEmptyIsRefused) {
  PlanFlags flags;
  flags.plan = (std::filesystem::path(ORRERY_SOURCE_DIR) / "examples" / "plans" / "llama-2-7b-pipedream-2bw.json").string();
  flags.settings = {"checkpoint.every_steps=10"};
  try {
    simulated(load_inputs(flags));
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("an asynchronous pipeline is not empty between steps"));
  }
}

}  // namespace
}  // namespace orrery::app
