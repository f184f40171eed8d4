// A device and a host that live in a time of their own: what everything costs is known, so what a profiler measures of it can be, too.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "core/error.h"
#include "profiler/operands.h"
#include "profiler/profile_device.h"

namespace orrery::profiler {

class VirtualMachine;

struct VirtualMark final : executor::DeviceEvent {
  explicit VirtualMark(double t) : at(t) {}
  double at;
};

// What the machine is like. Times in seconds.
struct VirtualSettings {
  double issue = 8e-6, gap = 1e-6, recorded_gap = 0.4e-6;  // host time per kernel; from one kernel to the next, launched and recorded
  double memory = 3e12, arithmetic = 800e12, fill = 3e12;  // bytes and FLOPs per second
  std::int64_t cache = 50 << 20;                           // a byte touched again before so many others costs nothing
  double noise = 0;                                        // relative, of each kernel
  double idle_power = 80, gemm_power = 650, other_power = 400;
  double counter_step = 0.05;  // of the energy counter
};

// The host's clock, the device's queue and its energy.
class VirtualMachine {
 public:
  explicit VirtualMachine(VirtualSettings s = {}) : settings(s) {}

  VirtualSettings settings;
  double now = 1000, free_at = 0;  // the host's clock; when the queue is empty
  std::int64_t kernels = 0;        // run so far
  std::map<program::Operator, std::int64_t> by_operator;
  std::function<void(const program::Shape&)> before_kernel;  // may throw

  HostClock clock() {
    return {[this] { return now; }, [this](Seconds s) { now += s.v; }};
  }
  // Work of so many seconds, enqueued now.
  void enqueue(double seconds, double power) {
    const double begin = std::max(now, free_at);
    free_at = begin + seconds;
    busy_.push_back({begin, free_at, power});
  }
  // Bytes of these ranges that are not in the cache; they are then.
  std::int64_t touch(const void* at, std::int64_t bytes) {
    auto [known, fresh] = last_.try_emplace(at, 0);
    const bool cold = fresh || touched_ - known->second > settings.cache;
    touched_ += bytes;
    known->second = touched_;
    return cold ? bytes : 0;
  }
  // Time of a kernel whose operands are all cold, without the gap.
  double cold_time(const program::Shape& shape, std::int64_t bytes) const {
    return std::max(program::flops(shape).v / settings.arithmetic, static_cast<double>(bytes) / settings.memory);
  }
  double noisy(double seconds) { return seconds * (1 + settings.noise * (std::uniform_real_distribution<double>(0, 1)(random_))); }
  // Drawn until `t`, which never falls from call to call.
  double energy(double t) {
    const auto above = [&](const Busy& b) { return (b.power - settings.idle_power) * std::max(0.0, std::min(b.end, t) - std::min(b.begin, t)); };
    for (; !busy_.empty() && busy_.front().end <= t; busy_.pop_front()) over_ += above(busy_.front());
    double e = settings.idle_power * t + over_;
    for (auto b = busy_.begin(); b != busy_.end() && b->begin < t; ++b) e += above(*b);
    return e;
  }

 private:
  struct Busy {
    double begin, end, power;
  };
  std::deque<Busy> busy_;
  double over_ = 0;  // joules above idle of what is over and done with
  std::map<const void*, std::int64_t> last_;
  std::int64_t touched_ = 0;
  std::mt19937_64 random_{7};
};

class VirtualKernels final : public executor::KernelSet {
 public:
  explicit VirtualKernels(VirtualMachine& machine) : machine_(machine) {}
  bool has(const program::Shape& shape) const override { return shape.op != program::Operator::rope_forward && !program::is_communication(shape.op); }
  void run(const executor::KernelContext& c) const override {
    VirtualMachine& m = machine_;
    if (m.before_kernel) m.before_kernel(c.shape);
    const OperatorItem item{c.shape, static_cast<std::uint8_t>(c.buffers.size()), {}};
    const std::vector<Operand> operands = operands_of(item, c.settings);
    std::int64_t cold = 0;
    for (std::size_t i = 0; i < operands.size(); ++i) cold += m.touch(c.buffers[i], operands[i].bytes);
    const bool gemm = program::work_class(c.shape.op) == WorkClass::gemm;
    const double time = m.noisy(m.cold_time(c.shape, cold)), power = gemm ? m.settings.gemm_power : m.settings.other_power;
    ++m.kernels, ++m.by_operator[c.shape.op];
    if (recorded) {
      recorded->emplace_back(time + m.settings.recorded_gap, power);
      return;
    }
    m.now += m.settings.issue;
    m.enqueue(time + m.settings.gap, power);
  }
  mutable std::vector<std::pair<double, double>>* recorded = nullptr;

 private:
  VirtualMachine& machine_;
};

class VirtualDevice final : public executor::Device {
 public:
  explicit VirtualDevice(VirtualMachine& machine) : machine_(machine), kernels_(machine) {}
  std::string name() const override { return "virtual"; }
  bool immediate() const override { return false; }
  std::byte* allocate(std::int64_t bytes) override {
    machine_.now += 1e-3;
    auto* at = reinterpret_cast<std::byte*>(next_);  // never looked at
    next_ += static_cast<std::uintptr_t>((bytes + 255) / 256 * 256);
    live += bytes, most = std::max(most, live);
    sizes_[at] = bytes;
    return at;
  }
  void release(std::byte* memory) override {
    machine_.now += 0.5e-3;
    live -= sizes_.at(memory);
    sizes_.erase(memory);
  }
  std::int64_t beside() const override { return 0; }
  const executor::KernelSet& kernels() const override { return kernels_; }
  void fill(void* to, std::uint8_t, std::int64_t bytes) override {
    machine_.now += 8e-6;
    machine_.touch(to, bytes);
    machine_.enqueue(static_cast<double>(bytes) / machine_.settings.fill, machine_.settings.other_power);
  }
  void upload(void*, const void*, std::int64_t bytes) override {
    machine_.now += 8e-6;
    machine_.enqueue(5e-6 + static_cast<double>(bytes) / 50e9, machine_.settings.idle_power);
  }
  void download(void*, const void*, std::int64_t bytes) override {
    machine_.now = std::max(machine_.now, machine_.free_at) + 10e-6 + static_cast<double>(bytes) / 25e9;
  }
  executor::Mark mark() override { return std::make_shared<VirtualMark>(std::max(machine_.now, machine_.free_at)); }
  void wait(const executor::Mark&) override {}
  void synchronise() override { machine_.now = std::max(machine_.now, machine_.free_at); }
  std::int64_t reached_ns(const executor::Mark& mark) override {
    if (!mark) return 0;
    const double at = static_cast<const VirtualMark&>(*mark).at;
    machine_.now = std::max(machine_.now, at);
    return static_cast<std::int64_t>(std::llround(at * 1e9));
  }
  bool can_record() const override { return true; }
  void begin_recording() override {
    now_recorded_.clear();
    kernels_.recorded = &now_recorded_;
  }
  std::unique_ptr<executor::Recording> end_recording() override {
    kernels_.recorded = nullptr;
    auto r = std::make_unique<Recorded>();
    r->work = now_recorded_;
    return r;
  }
  void replay(const executor::Recording& recording) override {
    machine_.now += 12.8e-6;
    for (const auto& [seconds, power] : static_cast<const Recorded&>(recording).work) machine_.enqueue(seconds, power);
  }

  std::int64_t live = 0, most = 0;

 private:
  struct Recorded final : executor::Recording {
    std::byte* source(std::size_t) const override { return nullptr; }
    std::vector<std::pair<double, double>> work;
  };
  VirtualMachine& machine_;
  VirtualKernels kernels_;
  std::uintptr_t next_ = std::uintptr_t{1} << 40U;
  std::map<std::byte*, std::int64_t> sizes_;
  std::vector<std::pair<double, double>> now_recorded_;
};

class VirtualMeter final : public PowerMeter {
 public:
  explicit VirtualMeter(VirtualMachine& machine) : machine_(machine) {}
  std::optional<Joules> energy() override {
    const double step = machine_.settings.counter_step;
    return Joules{machine_.energy(std::floor(machine_.now / step) * step)};
  }
  DeviceState state() override {
    DeviceState s;
    s.clock = 1980, s.temperature = 40;
    return s;
  }

 private:
  VirtualMachine& machine_;
};

}  // namespace orrery::profiler
