// The report of `orrery simulate`: what it says, that its numbers follow from each other, and that the JSON carries them.
#include "app/simulate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <thread>

#include "program/flops.h"

namespace orrery::app {
namespace {

using Json = nlohmann::json;

// orrery simulate --model llama-3.1-405b --cluster dgx-h100:16384 --tp 8 --pp 16 --global-batch 2048 --micro-batch 1 --sequence 8192 --schedule 1f1b
PlanFlags acceptance() {
  PlanFlags flags;
  flags.model = "llama-3.1-405b";
  flags.cluster = "dgx-h100:16384";
  flags.tp = 8;
  flags.pp = 16;
  flags.global_batch = 2048;
  flags.micro_batch = 1;
  flags.sequence = 8192;
  flags.schedule = "1f1b";
  return flags;
}

const SimulateReport& accepted() {
  static const SimulateReport kReport = simulate(load_inputs(acceptance()));
  return kReport;
}

PlanFlags small(std::int64_t tp, std::int64_t pp) {
  PlanFlags flags;
  flags.model = "cpu-llama-tiny";
  flags.cluster = "dgx-h100:8";
  flags.tp = tp;
  flags.pp = pp;
  flags.global_batch = 16;
  flags.micro_batch = 1;
  flags.sequence = 128;
  return flags;
}

std::int64_t sum(const Waterfall& waterfall) {
  const auto parts = waterfall.parts();
  return std::accumulate(parts.begin(), parts.end(), std::int64_t{0}, [](std::int64_t s, Picoseconds p) { return s + p.v; });
}

TEST(SimulateReport, SaysWhatTheAcceptanceCommandAsksFor) {
  const Json j = Json::parse(to_json(accepted()));
  for (const char* key : {"step_time_s", "tokens_per_s_per_gpu", "tflops_per_gpu", "mfu", "bubble_fraction", "waterfall",
                          "peak_memory_bytes_by_stage", "fits", "exposed_communication_s"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_GT(j["step_time_s"].get<double>(), 0);
  EXPECT_EQ(j["dp"], 128);  // 16384 / (8 * 16)
  // 16 stages, 2048 / 128 = 16 micro-batches of 1 sequence: (p - 1) / (m + p - 1) = 15 / 31.
  EXPECT_EQ(j["bubble_fraction"].get<double>(), 15.0 / 31.0);
  EXPECT_EQ(j["peak_memory_bytes_by_stage"].size(), 16U);
  EXPECT_EQ(j["stages"].size(), 16U);
  const auto layers = j["stages"].get<std::vector<std::int64_t>>();
  EXPECT_EQ(std::accumulate(layers.begin(), layers.end(), std::int64_t{0}), 126);  // the layers of llama-3.1-405b
}

TEST(SimulateReport, HasAWaterfallWhosePartsAddUpToTheStepToThePicosecond) {
  const SimulateReport& r = accepted();
  EXPECT_EQ(sum(r.summary.waterfall), r.summary.step.v);
  EXPECT_EQ(r.summary.waterfall.step, r.summary.step);
  // The JSON says the same integers.
  const Json w = Json::parse(to_json(r))["waterfall"];
  std::int64_t written = 0;
  for (const std::string_view name : Waterfall::names()) written += w.at(std::string(name) + "_ps").get<std::int64_t>();
  EXPECT_EQ(written, w.at("step_ps").get<std::int64_t>());
  EXPECT_EQ(w.at("step_ps").get<std::int64_t>(), r.summary.step.v);
}

TEST(SimulateReport, RatesFollowFromTheStepTime) {
  const SimulateReport& r = accepted();
  const Inputs in = load_inputs(acceptance());
  const double tokens = 2048.0 * 8192.0, devices = 16384;
  EXPECT_NEAR(r.tokens_per_s * r.step_time.v, tokens, 1e-6 * tokens);
  EXPECT_NEAR(r.tokens_per_s_per_gpu * devices * r.step_time.v, tokens, 1e-6 * tokens);
  // MFU · peak · devices · step time = the model's FLOPs of one step; likewise the rate per device.
  const double flops = program::model_flops(in.model, tokens, 8192, program::FlopsConvention::causal_half).v;
  const double peak = in.cluster.device.peak_of(DType::bf16).v;
  EXPECT_NEAR(r.mfu * peak * devices * r.step_time.v, flops, 1e-9 * flops);
  EXPECT_NEAR(r.tflops_per_gpu * 1e12 * devices * r.step_time.v, flops, 1e-9 * flops);
  EXPECT_GE(r.hfu, r.mfu);
  EXPECT_LT(r.hfu, 1);
  // 6 · parameters · tokens, within a tenth: attention adds a little, the embedding takes a little.
  EXPECT_NEAR(flops / (6 * 405.85e9 * tokens), 1, 0.1);
}

TEST(SimulateReport, ExposedCommunicationIsWhatTheWaterfallSays) {
  const SimulateReport& r = accepted();
  const Json e = Json::parse(to_json(r))["exposed_communication_s"];
  const Waterfall& w = r.summary.waterfall;
  EXPECT_DOUBLE_EQ(e["tp"].get<double>(), static_cast<double>(w.exposed_tp.v) * 1e-12);
  EXPECT_DOUBLE_EQ(e["pp"].get<double>(), static_cast<double>(w.exposed_pp.v) * 1e-12);
  EXPECT_DOUBLE_EQ(e["dp"].get<double>(), static_cast<double>(w.exposed_dp.v) * 1e-12);
  EXPECT_NEAR(e["total"].get<double>(),
              e["tp"].get<double>() + e["cp"].get<double>() + e["ep"].get<double>() + e["pp"].get<double>() + e["dp"].get<double>(), 1e-15);
  EXPECT_GT(e["tp"].get<double>(), 0);
}

TEST(SimulateReport, TurnsTokensIntoDaysDeviceHoursAndMoney) {
  SimulateOptions options;
  options.tokens = 15.6e12;
  options.price_per_device_hour = 2;
  const SimulateReport r = simulate(load_inputs(small(2, 2)), options);
  ASSERT_TRUE(r.run);
  const double steps = 15.6e12 / (16.0 * 128.0);
  EXPECT_DOUBLE_EQ(r.run->steps, steps);
  EXPECT_NEAR(r.run->days / (steps * r.step_time.v / 86400), 1, 1e-12);
  EXPECT_NEAR(r.run->device_hours / (steps * r.step_time.v / 3600 * 8), 1, 1e-12);  // 8 devices
  EXPECT_NEAR(r.run->megawatt_hours / (r.energy.v * steps / 3.6e9), 1, 1e-12);      // 1 MWh = 3.6e9 J
  ASSERT_TRUE(r.run->dollars);
  EXPECT_NEAR(*r.run->dollars / (2 * r.run->device_hours), 1, 1e-12);
  // Between all devices idle and all at rated power, plus what no device can exceed.
  const Inputs in = load_inputs(small(2, 2));
  EXPECT_GE(r.energy.v, in.cluster.device.idle_power.v * 8 * r.step_time.v * (1 - 1e-9));
  EXPECT_LE(r.energy.v, in.cluster.device.tdp.v * 8 * r.step_time.v * (1 + 1e-9));
  EXPECT_EQ(Json::parse(to_json(r))["run"]["dollars"].get<double>(), *r.run->dollars);
}

TEST(SimulateReport, OfAPlanThatDoesNotFitSucceedsAndSaysByHowMuch) {
  PlanFlags flags = small(1, 1);
  flags.model = "llama-3.1-70b";
  const SimulateReport r = simulate(load_inputs(flags));
  EXPECT_FALSE(r.fits);
  EXPECT_LT(r.headroom.v, 0);
  EXPECT_GT(r.step_time.v, 0);
  const Json j = Json::parse(to_json(r));
  EXPECT_EQ(j["fits"], false);
  EXPECT_EQ(j["headroom_bytes"].get<std::int64_t>(),
            j["device_memory_bytes"].get<std::int64_t>() - j["peak_memory_bytes_by_stage"][0].get<std::int64_t>());
  // 70.55 G parameters at 16 bytes and more each (bf16 weight, fp32 gradient, fp32 master copy, two moments) on one device.
  EXPECT_GT(j["peak_memory_bytes_by_stage"][0].get<std::int64_t>(), std::int64_t{70'553'706'496} * 16);
}

TEST(SimulateReport, IsTheSameFoldedAndUnfolded) {
  const Inputs in = load_inputs(small(2, 2));
  SimulateOptions unfold;
  unfold.unfold = true;
  const SimulateReport folded = simulate(in), unfolded = simulate(in, unfold);
  EXPECT_LT(folded.simulated_ranks, unfolded.simulated_ranks);
  EXPECT_EQ(unfolded.simulated_ranks, 8);
  EXPECT_EQ(folded.summary.step, unfolded.summary.step);
  EXPECT_EQ(folded.summary.waterfall, unfolded.summary.waterfall);
  EXPECT_EQ(folded.summary.peak_memory_by_stage, unfolded.summary.peak_memory_by_stage);
  EXPECT_NEAR(folded.energy.v, unfolded.energy.v, 1e-9 * folded.energy.v);
  EXPECT_EQ(folded.mfu, unfolded.mfu);
}

TEST(SimulateReport, IsTheSameTwice) {
  const Inputs in = load_inputs(small(2, 4));
  const SimulateReport first = simulate(in), second = simulate(in);
  EXPECT_EQ(to_json(first), to_json(second));
  EXPECT_EQ(first.trace_hash, second.trace_hash);
}

TEST(Explore, KeepsWhatTheReportWasMadeFrom) {
  const Inputs in = load_inputs(small(2, 2));
  SimulateOptions options;
  const std::atomic<bool> cancel = false;
  options.cancel = &cancel;
  options.timeline = true;
  const std::optional<Explored> explored = explore(in, options);
  ASSERT_TRUE(explored);
  options.timeline = false;
  EXPECT_EQ(to_json(explored->report), to_json(simulate(in, options)));
  EXPECT_EQ(explored->inputs.plan, in.plan);
  EXPECT_EQ(explored->program, compile(in));
  EXPECT_EQ(explored->cost.entries.size(), explored->program.shapes.size());
  ASSERT_TRUE(explored->report.timeline);
  EXPECT_FALSE(explored->report.timeline->critical.empty());
}

TEST(Explore, IsEmptyOnceItIsCancelled) {
  const Inputs in = load_inputs(small(2, 2));
  SimulateOptions options;
  const std::atomic<bool> cancel = true;
  options.cancel = &cancel;
  EXPECT_FALSE(explore(in, options));
  EXPECT_GT(simulate(in, options).step_time.v, 0);  // which does not listen
}

TEST(SlowDevices, AreSettingsThatMakeTheOthersWait) {
  PlanFlags flags = small(2, 2);
  const SimulateReport even = simulate(load_inputs(flags));
  flags.settings = {R"(cluster.slow=[{"device":5,"factor":2}])"};
  const SimulateReport slow = simulate(load_inputs(flags));
  EXPECT_GT(slow.step_time.v, even.step_time.v);
  EXPECT_GT(slow.summary.waterfall.imbalance.v, even.summary.waterfall.imbalance.v);
  EXPECT_EQ(slow.summary.waterfall.ideal, even.summary.waterfall.ideal);
  EXPECT_GT(slow.energy.v, even.energy.v);
  SimulateOptions unfold;
  unfold.unfold = true;
  const SimulateReport unfolded = simulate(load_inputs(flags), unfold);
  EXPECT_EQ(slow.trace_hash, unfolded.trace_hash);
  EXPECT_EQ(slow.summary.waterfall, unfolded.summary.waterfall);
  flags.settings.push_back("cluster.slow[0].factor=1");  // as fast as the others
  EXPECT_EQ(simulate(load_inputs(flags)).trace_hash, even.trace_hash);
}

TEST(SlowDevices, AreTheSameFoldedAndUnfoldedWithExperts) {
  PlanFlags flags = small(2, 1);
  flags.model = "cpu-mixtral-tiny";
  flags.settings = {"parallel.ep=2", R"(cluster.slow=[{"device":3,"factor":1.5}])"};
  SimulateOptions unfold;
  unfold.unfold = true;
  const SimulateReport folded = simulate(load_inputs(flags)), unfolded = simulate(load_inputs(flags), unfold);
  EXPECT_EQ(folded.trace_hash, unfolded.trace_hash);
  EXPECT_EQ(folded.step_time, unfolded.step_time);
  EXPECT_EQ(folded.simulated_ranks, 8);
}

TEST(SlowDevices, AreRefusedByNameWhereTheyAreNoneOfTheCluster) {
  PlanFlags flags = small(2, 2);
  const auto refused = [&](const std::string& setting) {
    flags.settings = {setting};
    try {
      load_inputs(flags);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(refused(R"(cluster.slow=[{"device":8,"factor":2}])").find("8 is not one of the 8 devices"), std::string::npos);
  EXPECT_NE(refused(R"(cluster.slow=[{"device":1,"factor":2},{"device":1,"factor":3}])").find("named twice"), std::string::npos);
  EXPECT_NE(refused(R"(cluster.slow=[{"device":1,"factor":0.5}])"), "");
  flags.cluster = "this-machine:8";
  EXPECT_NE(refused(R"(cluster.slow=[{"device":1,"factor":2}])").find("share the cores of a node"), std::string::npos);
}

// At half the clock a product takes twice as long, but for its start and what it writes, at 0.5^2.5 = 0.18 of the power; what memory bounds stays as
// it is.
TEST(Clock, ScalesArithmeticAndItsEnergy) {
  PlanFlags flags;
  flags.model = "llama-3.1-8b";
  flags.cluster = "dgx-h100:8";
  flags.global_batch = 8;
  flags.sequence = 4096;
  const Explored nominal = *explore(load_inputs(flags));
  flags.settings = {"cluster.device.clock=0.5"};
  const Explored half = *explore(load_inputs(flags));
  ASSERT_EQ(half.program, nominal.program);
  std::size_t products = 0, norms = 0;
  for (std::size_t s = 0; s < half.program.shapes.size(); ++s) {
    const cost::Entry &a = nominal.cost.entries[s], &b = half.cost.entries[s];
    const WorkClass work = program::work_class(half.program.shapes[s].op);
    if (half.program.shapes[s].op == program::Operator::linear_forward) {
      ++products;
      EXPECT_NEAR(static_cast<double>(b.ideal.v), 2.0 * static_cast<double>(a.ideal.v), 2);
      const double longer = static_cast<double>(b.duration.v) / static_cast<double>(a.duration.v);
      EXPECT_NEAR(longer, 2, 0.15);
      EXPECT_NEAR(b.energy.v / a.energy.v, longer * std::pow(0.5, 2.5), 1e-6);
    } else if (work == WorkClass::norm || program::is_communication(half.program.shapes[s].op)) {
      ++norms;
      EXPECT_EQ(a.duration, b.duration);
      EXPECT_EQ(a.energy.v, b.energy.v);
    }
  }
  EXPECT_GT(products, 0U);
  EXPECT_GT(norms, 0U);
}

TEST(Explore, IsEmptyOrWholeWheneverItIsCancelled) {
  const Inputs in = load_inputs(small(2, 4));
  SimulateOptions options;
  options.timeline = true;
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  const SimulateReport whole = simulate(in, options);
  const Clock::duration time = Clock::now() - begin;
  constexpr int kRuns = 24;
  for (int i = 0; i < kRuns; ++i) {
    std::atomic<bool> cancel = false;
    options.cancel = &cancel;
    std::thread other([&, raise = Clock::now() + time * i / kRuns] {
      while (Clock::now() < raise) std::this_thread::yield();
      cancel = true;
    });
    const std::optional<Explored> explored = explore(in, options);
    other.join();
    if (!explored) continue;
    EXPECT_EQ(explored->report.trace_hash, whole.trace_hash);
    EXPECT_EQ(to_json(explored->report), to_json(whole));
    EXPECT_TRUE(explored->report.timeline && *explored->report.timeline == *whole.timeline);
  }
}

TEST(SimulateReport, NamesTheSourceOfEachPriceAndTheSharesAddUpToOne) {
  const SimulateReport& r = accepted();
  double sum_of_shares = 0;
  for (const SourceShare& s : r.sources) {
    EXPECT_FALSE(s.name.empty());
    sum_of_shares += s.share;
  }
  EXPECT_NEAR(sum_of_shares, 1, 1e-9);
}

}  // namespace
}  // namespace orrery::app
