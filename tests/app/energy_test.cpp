// Energy of steps by meters that are made up.
#include "app/energy.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/run.h"

namespace orrery::app {
namespace {

// Draws `watts`, counted in steps of 50 ms, by the clock of the test.
struct FakeMeter final : profiler::PowerMeter {
  FakeMeter(const double& time, double drawn, bool has_counter = true) : now(time), watts(drawn), counts(has_counter) {}
  std::optional<Joules> energy() override {
    if (!counts) return std::nullopt;
    return Joules{1e6 + watts * 0.05 * static_cast<double>(static_cast<std::int64_t>(now / 0.05 + 1e-9))};
  }
  DeviceState state() override { return {}; }
  const double& now;
  double watts;
  bool counts;
};

PowerMeters meters(const double& now, std::vector<double> watts, std::int64_t ranks, bool counts = true) {
  PowerMeters m;
  for (const double w : watts) m.list.push_back(std::make_unique<FakeMeter>(now, w, counts));
  m.ranks = ranks, m.gpus = static_cast<std::int64_t>(watts.size());
  return m;
}

StepEnergy after(PowerMeters m, double& now, int steps, double period) {
  EnergyCount count(std::move(m), 2, {[&] { return now; }, {}});
  for (int i = 0; i < steps; ++i) {
    now += i < 2 ? 7 : period;  // the first ones are slow
    count.step_done();
  }
  return count.result(Joules{400}, 4);
}

TEST(EnergyCount, IsTheMeanOverTheStepsAfterWarmUpOfAllGpusTogether) {
  double now = 100;
  // 10 steps of 0.2 s at 600 and 500 W: 1100 · 0.2 = 220 J each; of 400 J predicted on 4 GPUs, these 2 have 200.
  const StepEnergy e = after(meters(now, {600, 500}, 2), now, 12, 0.2);
  ASSERT_TRUE(e.per_step) << e.why;
  EXPECT_NEAR(e.per_step->v, 220, 1e-6);
  EXPECT_NEAR(e.window.v, 2, 1e-9);
  EXPECT_EQ(e.gpus, 2);
  ASSERT_TRUE(e.predicted);
  EXPECT_NEAR(e.predicted->v, 200, 1e-9);
}

TEST(EnergyCount, SaysWhyThereIsNone) {
  double now = 100;
  const StepEnergy fast = after(meters(now, {600}, 1), now, 12, 0.05);  // 0.5 s
  EXPECT_FALSE(fast.per_step);
  EXPECT_NE(fast.why.find("run more steps"), std::string::npos) << fast.why;
  EXPECT_NE(after(meters(now, {600}, 1), now, 2, 1).why.find("no step after"), std::string::npos);
  EXPECT_NE(after(meters(now, {600}, 1, false), now, 9, 1).why.find("does not count"), std::string::npos);
  PowerMeters none;
  none.why = "no library";
  const StepEnergy e = after(std::move(none), now, 9, 1);
  EXPECT_FALSE(e.per_step || e.predicted);
  EXPECT_EQ(e.why, "no library");
  PowerMeters unread;
  unread.why = "no library", unread.ranks = unread.gpus = 1;
  EXPECT_NEAR(after(std::move(unread), now, 9, 1).predicted.value_or(Joules{}).v, 100, 1e-9);  // of 4 GPUs one
}

TEST(EnergyCount, HasNoPredictionWhereRanksShareAGpu) {
  double now = 100;
  const StepEnergy e = after(meters(now, {600}, 2), now, 12, 0.2);
  EXPECT_TRUE(e.per_step);
  EXPECT_FALSE(e.predicted);
}

TEST(Run, ReportsTheEnergyThatItsMetersCountedBesideThePrediction) {
  PlanFlags flags;
  flags.model = "cpu-llama-tiny", flags.cluster = "this-machine:1", flags.sequence = 32, flags.global_batch = 2;
  RunSettings settings;
  settings.data = "markov";
  settings.steps = 7;
  const auto document = [&] { return nlohmann::json::parse(to_json(run(load_inputs(flags), settings)))["energy_per_step_joules"]; };
  const nlohmann::json none = document();
  EXPECT_TRUE(none["measured"].is_null());
  EXPECT_FALSE(none["not_measured"].get<std::string>().empty());
  double now = 100;
  settings.meters = [&] { return meters(now, {300}, 1); };
  settings.clock = {[&] { return now; }, {}};
  settings.progress = [&](const executor::StepReport&) { now += 0.5; };  // 300 W for half a second are 150 J
  const nlohmann::json some = document();
  EXPECT_NEAR(some["measured"].get<double>(), 150, 1e-6);
  EXPECT_NEAR(some["window_s"].get<double>(), 2.5, 1e-9);  // 7 steps less 2
  EXPECT_EQ(some["gpus"], 1);
  EXPECT_TRUE(some["predicted"].is_number());
  EXPECT_EQ(some["predicted_grade"], "assumed");
  EXPECT_TRUE(some["not_measured"].is_null());
}

}  // namespace
}  // namespace orrery::app
