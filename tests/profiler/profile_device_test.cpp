#include "profiler/profile_device.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/profile_json.h"
#include "profiler/device_operands.h"
#include "support/virtual_device.h"

namespace orrery::profiler {
namespace {

using program::Operator;

program::Shape shape(Operator op, std::array<std::int64_t, 9> dims, DType type = DType::bf16) {
  program::Shape s{op, type};
  s.dims = dims;
  return s;
}

DeviceFacts facts() {
  DeviceFacts f;
  f.device = "Virtual V1", f.part = "v1", f.driver = "1.0";
  f.memory = 16_GiB;
  f.cache = 50 << 20;
  return f;
}

ProfileGrid grid(std::vector<OperatorItem> operators) {
  ProfileGrid g;
  g.operators = std::move(operators);
  g.settings.parameters = DType::bf16;
  return g;
}

// An operator of every kind that is told apart. The norm's set is 2 · 16 MiB and a little, the residual's 2 · 2 MiB.
ProfileGrid small_grid() {
  return grid({{shape(Operator::norm_forward, {4096, 2048}), 4, {}},
               {shape(Operator::attention_forward, {1, 4096, 16, 16, 128, 128, 1}), 3, {}},
               {shape(Operator::linear_forward, {4096, 2048, 2048}), 3, {}},
               {shape(Operator::residual_forward, {1024, 1024}), 2, {}},
               {shape(Operator::load_tokens, {4096}, DType::int32), 1, {}}});
}

DeviceProfileOptions options(VirtualMachine& machine) {
  DeviceProfileOptions o;
  o.clock = machine.clock();
  o.commit = "abc";
  o.settle = Seconds{4e-3};
  return o;
}

const OperatorMeasurement* find(const Profile& p, Operator op, std::int64_t footprint = kGpuFootprints.back()) {
  for (const OperatorMeasurement& m : p.operators)
    if (m.op == program::name(op) && m.footprint.v == footprint) return &m;
  return nullptr;
}

// What the machine needs for one call whose operands are all out of the cache.
double cold(const VirtualMachine& machine, const OperatorItem& item, const executor::KernelSettings& settings) {
  std::int64_t bytes = 0;
  for (const Operand& o : operands_of(item, settings)) bytes += o.bytes;
  return machine.cold_time(item.shape, bytes) + machine.settings.gap;
}

TEST(ProfileDevice, FindsWhatEachKernelTakesHoweverLongTheHostNeedsToLaunchIt) {
  // The residual's 4 MiB take 1.4 us of the device at 3 TB/s (and 1 us to the next kernel), and 8 or 80 us of the host.
  for (const double issue : {8e-6, 80e-6}) {
    VirtualSettings s;
    s.issue = issue;
    VirtualMachine machine(s);
    VirtualDevice device(machine);
    const ProfileGrid g = small_grid();
    const Profile p = profile_device(device, facts(), g, nullptr, options(machine));
    for (const OperatorItem& item : g.operators) {
      if (item.shape.op == Operator::load_tokens) continue;
      const OperatorMeasurement* m = find(p, item.shape.op);
      ASSERT_TRUE(m) << program::name(item.shape.op);
      EXPECT_NEAR(m->median.v, cold(machine, item, g.settings), 2e-3 * m->median.v) << program::name(item.shape.op);
      EXPECT_EQ(m->dtype, DType::bf16);
      EXPECT_LT(m->spread, 1e-3);
    }
    EXPECT_TRUE(p.left_out.empty()) << p.left_out.front();
    EXPECT_NEAR(p.issue.v, issue, 0.1 * issue);
    EXPECT_NEAR(p.kernel.v, 1e-6, 2e-9);  // its 512 bytes take no time
    EXPECT_NEAR(p.kernel_recorded.v, 0.4e-6, 2e-9);
    EXPECT_NEAR(p.issue_recorded.v, 12.8e-6 / 256, 1e-9);
    EXPECT_NEAR(p.memory_bandwidth.v, 3e12, 0.01 * 3e12);
    EXPECT_NEAR(p.peak.v, 800e12, 0.01 * 800e12);
    EXPECT_EQ(device.live, 0);
    EXPECT_LE(device.most, facts().memory.v);
    EXPECT_EQ(read_profile(write_profile(p), "profile.json"), p);
  }
}

TEST(ProfileDevice, MeasuresWhatFitsInTheCacheThereToo) {
  VirtualMachine machine;
  VirtualDevice device(machine);
  const ProfileGrid g = small_grid();
  const Profile p = profile_device(device, facts(), g, nullptr, options(machine));
  // The residual's 4 MiB fit, and then only the gap is left; the norm's 33 MiB are more than the smaller footprint.
  const OperatorMeasurement* near = find(p, Operator::residual_forward, kGpuFootprints.front());
  ASSERT_TRUE(near);
  EXPECT_NEAR(near->median.v, 1e-6, 1e-8);
  EXPECT_FALSE(find(p, Operator::norm_forward, kGpuFootprints.front()));
  // Where the program's touches are never so near, the smaller one is not measured.
  ProfileGrid far = g;
  for (OperatorItem& i : far.operators) i.footprints = {kGpuFootprints.back()};
  const Profile q = profile_device(device, facts(), far, nullptr, options(machine));
  EXPECT_FALSE(find(q, Operator::residual_forward, kGpuFootprints.front()));
  EXPECT_TRUE(find(q, Operator::residual_forward));
}

TEST(ProfileDevice, TakesMoreSamplesOfWhatVaries) {
  const auto calls = [](double noise) {
    VirtualSettings s;
    s.noise = noise;
    VirtualMachine machine(s);
    VirtualDevice device(machine);
    DeviceProfileOptions o = options(machine);
    o.rule.most = 1000, o.rule.limit = Seconds{10};
    const Profile p = profile_device(device, facts(), grid({{shape(Operator::linear_forward, {8192, 8192, 8192}), 3, {}}}), nullptr, o);
    return find(p, Operator::linear_forward)->count;
  };
  EXPECT_EQ(calls(0), 8);  // one call of 1.4 ms is a sample, and eight samples are the least
  EXPECT_GT(calls(0.2), 20);
}

TEST(ProfileDevice, MeasuresProductsAndAttentionFirstAndNamesWhatThereWasNoTimeFor) {
  VirtualMachine machine;
  VirtualDevice device(machine);
  std::vector<std::string> order;
  DeviceProfileOptions o = options(machine);
  const ProfileGrid g = small_grid();
  profile_device(device, facts(), g, nullptr, o, [&](const ProfileProgress& now) { order.push_back(now.what); });
  const auto place = [&](const std::string& begins) {
    const auto at = std::find_if(order.begin(), order.end(), [&](const std::string& s) { return s.starts_with(begins); });
    EXPECT_NE(at, order.end()) << begins;
    return at - order.begin();
  };
  EXPECT_LT(place("launches"), place("linear_forward"));
  EXPECT_LT(place("linear_forward"), place("attention_forward"));
  EXPECT_LT(place("attention_forward"), place("upload"));
  EXPECT_LT(place("upload"), place("norm_forward"));
  EXPECT_LT(place("norm_forward"), place("residual_forward 1024x1024 in bf16, in the cache"));

  o.limit = Seconds{0.1};
  const double before = machine.now;
  const Profile p = profile_device(device, facts(), g, nullptr, o);
  EXPECT_TRUE(find(p, Operator::linear_forward));
  EXPECT_FALSE(p.left_out.empty());
  EXPECT_NE(p.left_out.back().find(": no time"), std::string::npos);
  EXPECT_LT(machine.now - before, 0.5);
}

TEST(ProfileDevice, IsContinuedWhereItWasInterrupted) {
  VirtualMachine machine;
  VirtualDevice device(machine);
  VirtualMeter meter(machine);
  const ProfileGrid g = small_grid();
  std::atomic<bool> cancel = false;
  const auto stop = [&](const ProfileProgress& now) {
    if (now.what.starts_with("upload")) cancel = true;
  };
  const Profile first = profile_device(device, facts(), g, &meter, options(machine), stop, &cancel);
  ASSERT_TRUE(find(first, Operator::linear_forward));
  EXPECT_FALSE(find(first, Operator::norm_forward));
  EXPECT_TRUE(first.left_out.empty());

  std::vector<std::string> begun;
  const Profile whole = profile_device(
      device, facts(), g, &meter, options(machine), [&](const ProfileProgress& now) { begun.push_back(now.what); }, nullptr, &first);
  for (const std::string& what : begun) EXPECT_FALSE(what.starts_with("linear_forward") || what.starts_with("attention_forward")) << what;
  EXPECT_EQ(*find(whole, Operator::linear_forward), *find(first, Operator::linear_forward));
  EXPECT_TRUE(find(whole, Operator::norm_forward));
  EXPECT_EQ(whole.states.size(), 4U);

  machine.by_operator.clear();
  const Profile again = profile_device(device, facts(), g, &meter, options(machine), {}, nullptr, &whole);
  EXPECT_EQ(machine.by_operator[Operator::linear_forward] + machine.by_operator[Operator::norm_forward], 0);
  EXPECT_EQ(again.operators, whole.operators);
  EXPECT_EQ(again.power, whole.power);
  EXPECT_EQ(again.device_calls, whole.device_calls);

  DeviceFacts other = facts();
  other.driver = "2.0";
  EXPECT_FALSE(can_continue(whole, other, g, "abc"));
  ProfileGrid narrow = g;
  narrow.settings.gradients = DType::bf16;
  EXPECT_FALSE(can_continue(whole, facts(), narrow, "abc"));
  Profile elsewhere = whole;
  elsewhere.transferred = Transfer{"another", 0.1, 0.1};
  EXPECT_FALSE(can_continue(elsewhere, facts(), g, "abc"));
  EXPECT_TRUE(can_continue(whole, facts(), g, "abc"));
  EXPECT_FALSE(can_continue(whole, facts(), g, "abd"));  // other kernels
  Profile unknown = whole;
  unknown.commit = "unknown";
  EXPECT_FALSE(can_continue(unknown, facts(), g, "unknown"));
}

TEST(ProfileDevice, MeasuresThePowerOfEachClassBetweenTheCountersSteps) {
  VirtualMachine machine;
  VirtualDevice device(machine);
  VirtualMeter meter(machine);
  const Profile p = profile_device(device, facts(), small_grid(), &meter, options(machine));
  std::map<std::string, double> power;
  for (const PowerMeasurement& m : p.power) {
    power[m.what] = m.power.v;
    EXPECT_GT(m.time.v, 0.5);
    EXPECT_EQ(m.of.empty(), m.what == "idle");
  }
  EXPECT_EQ(power.size(), 5U);  // idle, gemm, attention, norm, elementwise
  EXPECT_NEAR(power["idle"], 80, 1);
  EXPECT_NEAR(power["gemm"], 650, 7);
  EXPECT_NEAR(power["attention"], 400, 4);
  EXPECT_NEAR(power["norm"], 400, 4);
  ASSERT_EQ(p.states.size(), 2U);
  EXPECT_EQ(p.states[0].when, "begin");
  EXPECT_EQ(p.states[1].when, "end");
  EXPECT_EQ(p.clock, "1980 MHz");
}

TEST(ProfileDevice, TimesCopiesBetweenHostAndDevice) {
  VirtualMachine machine;
  VirtualDevice device(machine);
  const Profile p = profile_device(device, facts(), small_grid(), nullptr, options(machine));
  const auto of = [&](const char* what, std::int64_t bytes) {
    for (const DeviceCallMeasurement& m : p.device_calls)
      if (m.what == what && m.bytes.v == bytes) return m.median.v;
    return 0.0;
  };
  // 8 us of the host, 5 us and the bytes at 50 GB/s
  EXPECT_NEAR(of("upload", 1 << 20), 13e-6 + (1 << 20) / 50e9, 1e-8);
  EXPECT_NEAR(of("download", 16 << 20), 10e-6 + (16 << 20) / 25e9, 1e-8);
  EXPECT_NEAR(of("fill", 256 << 20), 8e-6 + (256 << 20) / 3e12, 1e-8);
  EXPECT_NEAR(of("allocate", 4 << 10), 1e-3, 1e-8);
  EXPECT_NEAR(of("release", 4 << 10), 0.5e-3, 1e-8);
  // A training step's tokens are uploaded behind a full queue: 16 KiB at 50 GB/s and 5 us.
  const OperatorMeasurement* load = find(p, Operator::load_tokens, 0);
  ASSERT_TRUE(load);
  EXPECT_NEAR(load->median.v, 5e-6 + 16384 / 50e9, 2e-9);
}

TEST(ProfileDevice, LeavesOutWhatIsTooLargeAndWhatFailsAndGoesOn) {
  VirtualMachine machine;
  VirtualDevice device(machine);
  machine.before_kernel = [](const program::Shape& s) {
    if (s.op == Operator::attention_forward) throw Error("cuda", "the kernel does not like this shape");
  };
  ProfileGrid g = small_grid();
  g.operators.push_back({shape(Operator::zero, {std::int64_t{10} << 30}), 1, {}});  // 20 GiB of 16
  const Profile p = profile_device(device, facts(), g, nullptr, options(machine));
  EXPECT_EQ(p.left_out, (std::vector<std::string>{"zero 10737418240 in bf16: too large",
                                                  "attention_forward 1x4096x16x16x128x128x1 in bf16: the kernel does not like this shape"}));
  EXPECT_TRUE(find(p, Operator::norm_forward));
}

TEST(ProfileDevice, SavesWhatItHasNowAndThenAndEndsWhereItIsCancelled) {
  VirtualMachine machine;
  VirtualDevice device(machine);
  VirtualMeter meter(machine);
  std::size_t saved = 0, at_once = 0;
  std::atomic<bool> cancel = false;
  DeviceProfileOptions o = options(machine);
  o.power = Seconds{4};
  o.save = [&](const Profile& p) {
    ++saved;
    EXPECT_FALSE(p.operators.empty());
  };
  profile_device(device, facts(), small_grid(), &meter, o);
  EXPECT_GT(saved, 2U);
  const Profile none = profile_device(
      device, facts(), small_grid(), &meter, o,
      [&](const ProfileProgress&) {
        cancel = true;
        ++at_once;
      },
      &cancel);
  EXPECT_TRUE(none.operators.empty());
  EXPECT_EQ(device.live, 0);
}

// The host as a device: what a GPU's operands hold can be looked at.
TEST(DeviceOperands, HoldTheSameKindsOfNumbersInEverySetAlsoWhereTheyAreMadeOnTheDevice) {
  const auto kernels = executor::make_cpu_kernels();
  const auto device = executor::make_host_device(*kernels);
  DeviceRoom room(*device, std::int64_t{1} << 30);
  executor::KernelSettings settings;
  settings.parameters = DType::bf16;
  const OperatorItem item{shape(Operator::linear_forward, {2048, 4096, 64}), 3, {}};  // x is 16 MiB: two blocks, and some
  const std::vector<Operand> operands = operands_of(item, settings);
  ASSERT_EQ(operands[0].type, DType::bf16);
  DeviceOperandSets sets(operands, 2 * DeviceOperandSets::set_bytes(operands), room);
  ASSERT_EQ(sets.count(), 2);
  const std::vector<void*> one = sets.next(), two = sets.next();
  EXPECT_NE(one[0], two[0]);
  double sum = 0, squares = 0;
  const std::int64_t n = 2048 * 4096;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, static_cast<const std::byte*>(one[0]) + 2 * i, 2);
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16U;
    float x = 0;
    std::memcpy(&x, &wide, 4);
    ASSERT_LE(std::abs(x), 0.5F);
    sum += static_cast<double>(x), squares += static_cast<double>(x) * static_cast<double>(x);
  }
  // Uniform in [-0.5, 0.5): mean 0, variance 1/12, of 8 million.
  EXPECT_NEAR(sum / static_cast<double>(n), 0, 1e-3);
  EXPECT_NEAR(squares / static_cast<double>(n), 1.0 / 12, 1e-3);
  EXPECT_EQ(std::memcmp(one[0], two[0], static_cast<std::size_t>(2 * n)), 0);
}

}  // namespace
}  // namespace orrery::profiler
