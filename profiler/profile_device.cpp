#include "profiler/profile_device.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <thread>
#include <tuple>

#include "core/error.h"
#include "profiler/budget.h"
#include "profiler/device_operands.h"
#include "profiler/machine.h"

namespace orrery::profiler {
namespace {

using program::Operator;

constexpr std::int64_t kNear = kGpuFootprints.front(), kFar = kGpuFootprints.back();
// Groups of calls are at least this long, so that a mark's resolution (about half a microsecond on CUDA) is a few thousandths of it, …
constexpr double kLeastSample = 200e-6;
// … but not more calls than queues of launches hold (1024 on CUDA), with several kernels each.
constexpr std::int64_t kMostCalls = 64;
constexpr int kTries = 3;                // of a group whose begin was reached before it was enqueued
constexpr std::int64_t kFlush = kFar;    // bytes that are filled before a group, at least
constexpr double kAssumedIssue = 10e-6;  // seconds of host time per call, until it was seen
constexpr double kMostSaves = 5;         // seconds between two calls of `save`
constexpr double kShareOfMemory = 0.9;   // of the free memory
constexpr std::int64_t kLaunches = 256;  // smallest kernels in a row
constexpr std::int64_t kProduct = 8192;  // edge of the product that says the peak
constexpr std::array<std::int64_t, 5> kCopied{4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20};  // bytes

constexpr auto kNothing = [] {};

bool raised(const std::atomic<bool>* cancel) { return cancel && cancel->load(std::memory_order_relaxed); }
bool is_load(Operator op) { return op == Operator::load_tokens || op == Operator::load_targets; }

std::vector<std::int64_t> used_dims(const program::Shape& shape) {
  std::vector<std::int64_t> dims(shape.dims.begin(), shape.dims.end());
  while (dims.size() > 1 && dims.back() == 0) dims.pop_back();
  return dims;
}
std::string describe(const program::Shape& shape) {
  return fmt::format("{} {} in {}", program::name(shape.op), fmt::join(used_dims(shape), "x"), orrery::name(shape.dtype));
}

// What a profile tells two measurements apart by.
using Key = std::tuple<std::string, std::vector<std::int64_t>, DType, std::int64_t>;
Key key(const OperatorMeasurement& m) { return {m.op, m.dims, m.dtype, m.footprint.v}; }

// The order in which classes are measured.
int rank_of(WorkClass work) { return work == WorkClass::gemm ? 0 : work == WorkClass::attention ? 1 : 4; }
constexpr int kCallsRank = 2, kPowerRank = 3, kSecondFootprint = 5;

enum class Kind : std::uint8_t { operation, load, call, power };

struct Job {
  Kind kind = Kind::operation;
  int rank = 0;
  OperatorItem item;           // operation, load
  std::int64_t footprint = 0;  // operation
  std::string what;            // call: as DeviceCallMeasurement::what; power: the class
  std::int64_t bytes = 0;      // call
  Seconds least{};
  std::string describe() const {
    if (kind == Kind::power) return "power: " + what;
    if (kind == Kind::call) return fmt::format("{} of {} bytes", what, bytes);
    std::string text = profiler::describe(item.shape);
    if (kind == Kind::operation && footprint < kFar) text += ", in the cache";
    return text;
  }
};

Job operator_job(Kind kind, int rank, const OperatorItem& item, std::int64_t footprint) {
  Job j;
  j.kind = kind, j.rank = rank, j.item = item, j.footprint = footprint;
  return j;
}
Job other_job(Kind kind, int rank, std::string what, std::int64_t bytes = 0) {
  Job j;
  j.kind = kind, j.rank = rank, j.what = std::move(what), j.bytes = bytes;
  return j;
}

struct Timed {
  MedianEstimate estimate;
  std::int64_t count = 0;  // calls
  double issue = 0;        // seconds of host time per call
};

class Run {
 public:
  Run(executor::Device& device, const DeviceFacts& facts, const ProfileGrid& grid, PowerMeter* meter, const DeviceProfileOptions& options,
      const std::function<void(const ProfileProgress&)>& progress, const std::atomic<bool>* cancel)
      : device_(device),
        facts_(facts),
        grid_(grid),
        meter_(meter),
        options_(options),
        progress_(progress),
        cancel_(cancel),
        room_(device, static_cast<std::int64_t>(kShareOfMemory * static_cast<double>(facts.memory.v)) - kFlush) {}
  ~Run() {
    if (scratch_) device_.release(scratch_);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Profile run(const Profile* earlier) {
    describe_device();
    if (earlier && can_continue(*earlier, facts_, grid_, options_.commit)) take(*earlier);
    scratch_ = device_.allocate(kFlush);
    note_state("begin");
    now_.total = 2;
    if (begin("launches")) measure_launches();
    if (begin("peak and memory bandwidth")) measure_machine();
    std::vector<Job> jobs = list_jobs();
    now_.total += static_cast<std::int64_t>(jobs.size());
    measure(jobs);
    finish();
    note_state("end");
    if (!raised(cancel_)) {
      now_.done = now_.total;
      now_.what = "done";
      if (progress_) progress_(now_);
    }
    return std::move(profile_);
  }

 private:
  double clock() const { return options_.clock.now(); }
  Seconds elapsed() const { return Seconds{clock() - started_}; }

  bool begin(std::string what) {
    now_.what = std::move(what);
    if (progress_) progress_(now_);
    ++now_.done;
    return !raised(cancel_);
  }

  void describe_device() {
    profile_.device = facts_.device, profile_.part = facts_.part, profile_.kind = DeviceKind::gpu;
    profile_.clock = facts_.clock, profile_.driver = facts_.driver, profile_.date = this_machine().date, profile_.commit = options_.commit;
    profile_.memory = facts_.memory;
    profile_.parameters = grid_.settings.parameters, profile_.gradients = grid_.settings.gradients;
  }

  // What an earlier profile of this device has. Its states stay: they say when the clocks were what.
  void take(const Profile& earlier) {
    profile_.operators = earlier.operators;
    profile_.device_calls = earlier.device_calls;
    profile_.power = earlier.power;
    profile_.states = earlier.states;
    profile_.collectives = earlier.collectives;
    profile_.interference = earlier.interference;
    profile_.peak = earlier.peak, profile_.memory_bandwidth = earlier.memory_bandwidth;
    profile_.issue = earlier.issue, profile_.issue_recorded = earlier.issue_recorded;
    profile_.kernel = earlier.kernel, profile_.kernel_recorded = earlier.kernel_recorded;
    for (const OperatorMeasurement& m : earlier.operators) known_.insert(std::make_pair(key(m), m.median.v));
  }

  void note_state(const char* when) {
    if (!meter_) return;
    DeviceState state = meter_->state();
    state.when = when;
    if (profile_.clock == "unknown" && state.clock > 0) profile_.clock = fmt::format("{:.0f} MHz", state.clock);
    profile_.states.push_back(std::move(state));
  }

  // Keeps the device busy for so long, and flushes its caches; returns at once.
  void keep_busy(double seconds) {
    const double once = fill_time_ > 0 ? fill_time_ : static_cast<double>(kFlush) / 1e12;
    const auto times = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(seconds / once)));
    for (std::int64_t i = 0; i < times; ++i) device_.fill(scratch_, static_cast<std::uint8_t>(i), kFlush);
  }

  struct Group {
    double time = 0, issued = 0;  // seconds: of the device, and of the host to enqueue it
  };
  // How long the device needs for what `enqueue` enqueues, behind a queue that is full; `before` is enqueued before the first mark. `expected` is
  // what the host is given for it, and corrected. Where that was too little it is tried again; the last time counts whatever it is.
  template <class Before, class Enqueue>
  Group time_group(double& expected, Before before, Enqueue enqueue) {
    Group group;
    for (int attempt = 1;; ++attempt) {
      keep_busy(1.5 * expected + 20e-6);
      before();
      const executor::Mark first = device_.mark();
      const double from = clock();
      enqueue();
      const double to = clock();
      const executor::Mark last = device_.mark();
      const std::int64_t begin = device_.reached_ns(first), end = device_.reached_ns(last);
      group = {static_cast<double>(end - begin) * 1e-9, to - from};
      // Both clocks are the same: all was enqueued when the first mark was reached, or something may have waited for the host.
      const bool ahead = static_cast<double>(begin) * 1e-9 >= to;
      expected = ahead ? std::max(group.issued, expected / 2) : std::max(1.5 * group.issued, 2 * expected);
      if (ahead || attempt == kTries) return group;
    }
  }

  Timed time_operator(const OperatorItem& item, std::int64_t footprint, const StopRule& rule) {
    const double began = clock();
    const std::vector<Operand> operands = operands_of(item, grid_.settings);
    const executor::KernelSettings settings = settings_for(item, grid_.settings);
    DeviceOperandSets sets(operands, footprint, room_);
    const auto call = [&] { device_.kernels().run({item.shape, sets.next(), settings}); };
    call();  // choices of algorithms, code that is loaded
    device_.synchronise();
    double expected = kAssumedIssue;
    const double once = std::max(1e-7, time_group(expected, kNothing, call).time);
    if (options_.settle.v > 0) settle(call, once);
    const auto calls = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(kLeastSample / once)), 1, kMostCalls);
    expected *= static_cast<double>(calls);
    const auto group = [&] {
      for (std::int64_t i = 0; i < calls; ++i) call();
    };
    const auto round = [&] {
      if (footprint < kFar)
        for (std::int64_t i = 0; i < sets.count(); ++i) call();
    };
    StopRule mine = rule;
    mine.limit = rule.limit - Seconds{clock() - began};
    Sampling sampling(mine);
    std::vector<double> issues;
    while (!sampling.done() && (sampling.count() == 0 || !raised(cancel_))) {
      const double from = clock();
      const Group timed = time_group(expected, round, group);
      issues.push_back(timed.issued / static_cast<double>(calls));
      sampling.add(timed.time / static_cast<double>(calls), Seconds{clock() - from});
    }
    Timed out;
    out.estimate = sampling.result();
    out.count = out.estimate.count * calls;
    out.issue = estimate_median(issues).median;
    return out;
  }

  // Runs it until the clocks have settled.
  template <class Call>
  void settle(Call call, double once) {
    const auto calls = std::clamp<std::int64_t>(static_cast<std::int64_t>(options_.settle.v / once), 1, kMostCalls * 16);
    for (std::int64_t i = 0; i < calls; i += kMostCalls) {
      for (std::int64_t k = i; k < std::min(calls, i + kMostCalls); ++k) call();
      if (raised(cancel_)) break;
    }
    device_.synchronise();
  }

  void measure_launches() {
    fill_time_ = 0;
    device_.fill(scratch_, 0, kFlush);
    device_.synchronise();
    {
      const executor::Mark a = device_.mark();
      for (int i = 0; i < 4; ++i) device_.fill(scratch_, 0, kFlush);
      const executor::Mark b = device_.mark();
      const std::int64_t begin = device_.reached_ns(a);
      fill_time_ = std::max(1e-6, static_cast<double>(device_.reached_ns(b) - begin) * 1e-9 / 4);
    }
    if (profile_.kernel.v > 0) return;  // known
    program::Shape shape;
    shape.op = Operator::accumulate;
    shape.dims[0] = 64;
    const OperatorItem item{shape, 2, {}};
    DeviceOperandSets sets(operands_of(item, grid_.settings), 0, room_);
    const auto group = [&] {
      for (std::int64_t i = 0; i < kLaunches; ++i) device_.kernels().run({shape, sets.next(), grid_.settings});
    };
    group();
    device_.synchronise();
    const auto per_kernel = [](double seconds) { return seconds / static_cast<double>(kLaunches); };
    Sampling kernel(options_.rule), issue(options_.rule);
    double expected = kAssumedIssue * static_cast<double>(kLaunches);
    while (!kernel.done() && !raised(cancel_)) {
      const double from = clock();
      const Group timed = time_group(expected, kNothing, group);
      kernel.add(per_kernel(timed.time), Seconds{clock() - from});
      issue.add(per_kernel(timed.issued), Seconds{});
    }
    if (kernel.count() == 0) return;
    profile_.kernel = Seconds{kernel.result().median};
    profile_.issue = Seconds{issue.result().median};  // of the smallest kernel; the operators' own, once they were seen
    if (!device_.can_record()) return;
    device_.begin_recording();
    group();
    const std::unique_ptr<executor::Recording> recording = device_.end_recording();
    device_.replay(*recording);
    device_.synchronise();
    Sampling recorded(options_.rule), replayed(options_.rule);
    expected = kAssumedIssue;
    while (!recorded.done() && !raised(cancel_)) {
      const double from = clock();
      const Group timed = time_group(expected, kNothing, [&] { device_.replay(*recording); });
      recorded.add(per_kernel(timed.time), Seconds{clock() - from});
      replayed.add(per_kernel(timed.issued), Seconds{});
    }
    device_.synchronise();  // before the recording goes
    if (recorded.count() == 0) return;
    profile_.kernel_recorded = Seconds{recorded.result().median};
    profile_.issue_recorded = Seconds{replayed.result().median};
  }

  // The best rate of a product, and of a copy. The expectations of all others follow from them.
  void measure_machine() {
    StopRule rule = options_.rule;
    rule.limit = std::min(rule.limit, options_.limit * 0.05);
    program::Shape copy;
    copy.op = Operator::copy;
    copy.dims[0] = 1 << 28;
    while (copy.dims[0] > (1 << 20) && !room_.fits(2 * 4 * copy.dims[0])) copy.dims[0] /= 2;
    if (profile_.memory_bandwidth.v <= 0 && room_.fits(2 * 4 * copy.dims[0])) {
      const Timed t = time_operator({copy, 2, {}}, kFar, rule);
      profile_.memory_bandwidth = BytesPerSecond{8.0 * static_cast<double>(copy.dims[0]) / t.estimate.median};
    }
    DType type = grid_.settings.parameters;
    for (const OperatorItem& i : grid_.operators)
      if (i.shape.op == Operator::linear_forward) type = i.shape.dtype;
    program::Shape product;
    product.op = Operator::linear_forward;
    product.dtype = type;
    product.dims = {kProduct, kProduct, kProduct};
    const OperatorItem item{product, 3, {}};
    if (profile_.peak.v <= 0 && device_.kernels().has(product) && room_.fits(DeviceOperandSets::bytes(operands_of(item, grid_.settings), kFar)))
      take_rate(product, time_operator(item, kFar, rule).estimate.median);
  }

  void take_rate(const program::Shape& shape, double seconds) {
    if (program::work_class(shape.op) == WorkClass::gemm) profile_.peak = std::max(profile_.peak, FlopsPerSecond{program::flops(shape).v / seconds});
  }

  std::vector<Job> list_jobs() {
    std::vector<Job> jobs;
    std::map<WorkClass, bool> classes;
    for (const OperatorItem& item : grid_.operators) {
      if (is_load(item.shape.op)) {
        jobs.push_back(operator_job(Kind::load, kCallsRank, item, 0));
        continue;
      }
      const std::vector<Operand> operands = operands_of(item, grid_.settings);
      const std::int64_t one = DeviceOperandSets::set_bytes(operands);
      classes[program::work_class(item.shape.op)] = true;
      for (const std::int64_t footprint : kGpuFootprints) {
        const bool far = footprint == kFar;
        // What does not fit in the cache is not in it; the flushed state is measured of all.
        if (!far && (one > kNear || (!item.footprints.empty() && std::count(item.footprints.begin(), item.footprints.end(), footprint) == 0)))
          continue;
        Job job = operator_job(Kind::operation, far ? rank_of(program::work_class(item.shape.op)) : kSecondFootprint, item, footprint);
        if (!room_.fits(DeviceOperandSets::bytes(operands, footprint))) {
          profile_.left_out.push_back(job.describe() + ": too large");
          continue;
        }
        jobs.push_back(std::move(job));
      }
    }
    for (const char* what : {"upload", "download", "fill", "allocate", "release"})
      for (const std::int64_t bytes : kCopied)
        if (room_.fits(bytes)) jobs.push_back(other_job(Kind::call, kCallsRank, what, bytes));
    if (meter_ && meter_->energy()) {
      jobs.push_back(other_job(Kind::power, kPowerRank, "idle"));
      for (const auto& [work, there] : classes)
        if (work != WorkClass::control) jobs.push_back(other_job(Kind::power, kPowerRank, std::string(orrery::name(work))));
    }
    jobs.erase(std::remove_if(jobs.begin(), jobs.end(), [this](const Job& j) { return is_known(j); }), jobs.end());
    for (Job& j : jobs) j.least = least(j);
    std::stable_sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.rank != b.rank ? a.rank < b.rank : a.least < b.least; });
    return jobs;
  }

  bool is_known(const Job& j) const {
    switch (j.kind) {
      case Kind::operation:
      case Kind::load:
        return known_.count({std::string(program::name(j.item.shape.op)), used_dims(j.item.shape), j.item.shape.dtype,
                             j.kind == Kind::load ? 0 : j.footprint}) > 0;
      case Kind::call:
        return std::any_of(profile_.device_calls.begin(), profile_.device_calls.end(),
                           [&](const DeviceCallMeasurement& m) { return m.what == j.what && m.bytes.v == j.bytes; });
      case Kind::power:
        return std::any_of(profile_.power.begin(), profile_.power.end(), [&](const PowerMeasurement& m) { return m.what == j.what; });
    }
    return false;
  }

  double once(const program::Shape& shape) const {
    const double peak = std::max({1.0, profile_.peak.v, facts_.peak.v}),
                 bandwidth = std::max({1.0, profile_.memory_bandwidth.v, facts_.memory_bandwidth.v});
    return std::max(program::flops(shape).v / peak, static_cast<double>(program::traffic(shape).v) / bandwidth) + profile_.kernel.v;
  }

  // Operands to fill, the settling, eight groups with what keeps the device busy meanwhile.
  Seconds least(const Job& j) const {
    const double bandwidth = std::max({1e9, profile_.memory_bandwidth.v, facts_.memory_bandwidth.v});
    switch (j.kind) {
      case Kind::operation: {
        const std::vector<Operand> operands = operands_of(j.item, grid_.settings);
        const double call = once(j.item.shape), group = std::max(call, std::min(kLeastSample, call * static_cast<double>(kMostCalls)));
        const double flush = fill_time_ + kAssumedIssue * std::min(static_cast<double>(kMostCalls), kLeastSample / call);
        return Seconds{2 * static_cast<double>(DeviceOperandSets::bytes(operands, j.footprint)) / bandwidth + options_.settle.v + 2 * call +
                       static_cast<double>(options_.rule.least) * (group + flush)};
      }
      case Kind::load:
        return Seconds{5e-3};
      case Kind::call:
        return Seconds{static_cast<double>(options_.rule.least) * (static_cast<double>(j.bytes) / 1e10 + 20e-6)};
      case Kind::power:
        return options_.power * 1.3;
    }
    return {};
  }

  void measure(const std::vector<Job>& jobs) {
    std::vector<Seconds> expected;
    expected.reserve(jobs.size());
    for (const Job& j : jobs) expected.push_back(j.least);
    const Seconds from = elapsed();
    Budget budget(options_.limit - from, expected);
    double saved = clock();
    for (const Job& j : jobs) {
      if (!begin(j.describe())) return;
      const std::optional<Seconds> granted = budget.next(elapsed() - from);
      if (!granted) {
        profile_.left_out.push_back(j.describe() + ": no time");
        continue;
      }
      StopRule rule = options_.rule;
      rule.limit = std::min(rule.limit, *granted);
      rule.end = options_.limit - elapsed();
      const double began = clock();
      try {
        measure_one(j, rule);
      } catch (const Error& e) {
        device_.synchronise();  // what is lost is so for all that follow, and says so here
        profile_.left_out.push_back(j.describe() + ": " + e.message());
      }
      // A measurement takes what it was given: what it needed at least is not seen, only that it was no more.
      budget.took_at_least(std::min(j.least, Seconds{clock() - began}));
      if (options_.save && clock() - saved > kMostSaves) {
        saved = clock();
        finish();
        options_.save(profile_);
      }
    }
  }

  void measure_one(const Job& j, const StopRule& rule) {
    switch (j.kind) {
      case Kind::operation: {
        const Timed t = time_operator(j.item, j.footprint, rule);
        if (raised(cancel_)) return;
        add_operator(j, t);
        take_rate(j.item.shape, t.estimate.median);
        issues_.push_back(t.issue);
        return;
      }
      case Kind::load: {
        const std::int64_t bytes = 4 * std::max<std::int64_t>(1, j.item.shape.dims[0]);
        std::byte* to = room_.get(bytes);
        const std::vector<std::byte> from(static_cast<std::size_t>(bytes), std::byte{1});
        Sampling sampling(rule);
        double expected = kAssumedIssue;
        while (!sampling.done() && !raised(cancel_)) {
          const double at = clock();
          const double time = time_group(expected, kNothing, [&] { device_.upload(to, from.data(), bytes); }).time;
          sampling.add(std::max(1e-9, time), Seconds{clock() - at});
        }
        if (sampling.count() > 0 && !raised(cancel_)) add_operator(j, {sampling.result(), sampling.count(), 0});
        return;
      }
      case Kind::call:
        return measure_call(j, rule);
      case Kind::power:
        return measure_power(j.what);
    }
  }

  void add_operator(const Job& j, const Timed& t) {
    OperatorMeasurement m;
    m.op = program::name(j.item.shape.op);
    m.dims = used_dims(j.item.shape);
    m.dtype = j.item.shape.dtype;
    m.median = Seconds{t.estimate.median};
    m.spread = t.estimate.spread;
    m.count = t.count;
    m.footprint = Bytes{j.kind == Kind::load ? 0 : j.footprint};
    known_[key(m)] = m.median.v;
    profile_.operators.push_back(std::move(m));
  }

  // From an idle device: what the host waits for until it is done.
  void measure_call(const Job& j, const StopRule& rule) {
    if (j.what == "upload" || j.what == "download") host_.resize(std::max(host_.size(), static_cast<std::size_t>(j.bytes)), std::byte{1});
    const bool memory = j.what == "allocate" || j.what == "release";
    std::byte* at = memory ? nullptr : room_.get(j.bytes);
    Sampling sampling(rule);
    while (!sampling.done() && !raised(cancel_)) {
      if (j.what == "release") at = device_.allocate(j.bytes);
      device_.synchronise();
      const double from = clock();
      double to = 0;
      if (j.what == "upload") {
        device_.upload(at, host_.data(), j.bytes);
        to = static_cast<double>(device_.reached_ns(device_.mark())) * 1e-9;
      } else if (j.what == "download") {
        device_.download(host_.data(), at, j.bytes);
        to = clock();
      } else if (j.what == "fill") {
        device_.fill(at, 1, j.bytes);
        to = static_cast<double>(device_.reached_ns(device_.mark())) * 1e-9;
      } else if (j.what == "allocate") {
        at = device_.allocate(j.bytes);
        to = clock();
      } else {
        device_.release(at);
        to = clock();
      }
      if (j.what == "allocate") device_.release(at);
      sampling.add(std::max(1e-9, to - from), Seconds{clock() - from});
    }
    if (sampling.count() == 0 || raised(cancel_)) return;
    const MedianEstimate e = sampling.result();
    profile_.device_calls.push_back({j.what, Bytes{j.bytes}, Seconds{e.median}, e.spread, e.count});
  }

  // The measured operator of a class that has the most work, as long as it is no longer than a twentieth of the window.
  const OperatorItem* representative(const std::string& work) const {
    const OperatorItem* best = nullptr;
    double most = 0;
    for (const OperatorItem& item : grid_.operators) {
      if (is_load(item.shape.op) || orrery::name(program::work_class(item.shape.op)) != work) continue;
      if (!room_.fits(DeviceOperandSets::bytes(operands_of(item, grid_.settings), kFar))) continue;
      const double time = once(item.shape);
      if (time > most && time < options_.power.v / 20) most = time, best = &item;
    }
    return best;
  }

  void measure_power(const std::string& what) {
    PowerMeasurement m;
    m.what = what;
    if (what == "idle") {
      device_.synchronise();
      options_.clock.pause(options_.power * 0.3);  // for the clocks to fall
      observe(m, [&] { options_.clock.pause(options_.power * 0.01); });
    } else {
      const OperatorItem* item = representative(what);
      if (!item) return;
      m.of = describe(item->shape);
      DeviceOperandSets sets(operands_of(*item, grid_.settings), kFar, room_);
      const executor::KernelSettings settings = settings_for(*item, grid_.settings);
      const auto call = [&] { device_.kernels().run({item->shape, sets.next(), settings}); };
      double expected = kAssumedIssue;
      const double time = std::max(1e-6, time_group(expected, kNothing, call).time);
      const auto calls = std::clamp<std::int64_t>(static_cast<std::int64_t>(options_.power.v / 200 / time), 1, kMostCalls);
      // Two batches are under way, so that the device never waits.
      executor::Mark before;
      const auto batch = [&] {
        for (std::int64_t i = 0; i < calls; ++i) call();
        const executor::Mark mark = device_.mark();
        device_.reached_ns(before);
        before = mark;
      };
      const double until = clock() + options_.power.v * 0.2;
      while (clock() < until && !raised(cancel_)) batch();
      observe(m, batch);
      device_.synchronise();
    }
    if (m.time.v > 0 && !raised(cancel_)) profile_.power.push_back(std::move(m));
  }

  // Power between the counter's first step and its last within the window: it stands still for tens of milliseconds at a time.
  template <class Work>
  void observe(PowerMeasurement& m, Work work) {
    const std::optional<Joules> start = meter_->energy();
    if (!start) return;
    const double from = clock();
    Joules last = *start, first{};
    double first_at = 0, last_at = from;
    bool stepped = false;
    while (clock() - from < options_.power.v && !raised(cancel_)) {
      work();
      const std::optional<Joules> e = meter_->energy();
      if (!e || *e <= last) continue;
      last = *e, last_at = clock();
      if (!stepped) first = last, first_at = last_at;
      stepped = true;
    }
    if (stepped && last_at > first_at) {
      m.power = Watts{(last - first).v / (last_at - first_at)};
      m.time = Seconds{last_at - first_at};
    }
  }

  // What follows from all that is there so far.
  void finish() {
    if (!issues_.empty()) profile_.issue = Seconds{estimate_median(issues_).median};
  }

  executor::Device& device_;
  const DeviceFacts& facts_;
  const ProfileGrid& grid_;
  PowerMeter* meter_;
  const DeviceProfileOptions& options_;
  const std::function<void(const ProfileProgress&)>& progress_;
  const std::atomic<bool>* cancel_;
  const double started_ = options_.clock.now();
  DeviceRoom room_;
  std::byte* scratch_ = nullptr;
  std::vector<std::byte> host_;  // what is copied to the device, or from it
  double fill_time_ = 0;         // of the scratch, seconds
  Profile profile_;
  ProfileProgress now_;
  std::map<Key, double> known_;
  std::vector<double> issues_;  // host time per call, by operator
};

}  // namespace

HostClock steady_clock() {
  return {[] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); },
          [](Seconds s) { std::this_thread::sleep_for(std::chrono::duration<double>(s.v)); }};
}

bool can_continue(const Profile& earlier, const DeviceFacts& facts, const ProfileGrid& grid, const std::string& commit) {
  return earlier.kind == DeviceKind::gpu && !earlier.transferred && earlier.device == facts.device && earlier.driver == facts.driver &&
         earlier.commit == commit && commit != "unknown" && earlier.parameters == grid.settings.parameters &&
         earlier.gradients == grid.settings.gradients;
}

Profile profile_device(executor::Device& device, const DeviceFacts& facts, const ProfileGrid& grid, PowerMeter* meter,
                       const DeviceProfileOptions& options, const std::function<void(const ProfileProgress&)>& progress,
                       const std::atomic<bool>* cancel, const Profile* earlier) {
  assert(!device.immediate());
  return Run(device, facts, grid, meter, options, progress, cancel).run(earlier);
}

}  // namespace orrery::profiler
