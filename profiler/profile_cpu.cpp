#include "profiler/profile_cpu.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <memory>
#include <thread>

#include "profiler/machine.h"
#include "profiler/operands.h"

namespace orrery::profiler {
namespace {

using program::Operator;

// Calls are timed in groups of at least this long, so that reading the clock (about 0.2 µs) costs less than a percent.
constexpr double kLeastSample = 20e-6;
constexpr std::int64_t kMostCalls = 4096;
constexpr Seconds kLeastLimit{2e-3};  // what a measurement gets when the time for the grid is spent

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Of this thread on its core. What an operator costs is counted so, since then neither a machine's other users nor ranks that share a core get into
// the figure: the simulator accounts for shared cores itself.
double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

bool raised(const std::atomic<bool>* cancel) { return cancel && cancel->load(std::memory_order_relaxed); }

// One thread's measurement of one operator.
class OperatorTimer {
 public:
  OperatorTimer(const executor::KernelSet& kernels, const OperatorItem& item, const executor::KernelSettings& settings, std::int64_t footprint,
                const StopRule& rule, std::uint64_t seed)
      : kernels_(kernels),
        item_(item),
        settings_(settings_for(item, settings)),
        operands_(operands_of(item, settings), footprint, seed),
        sampling_(rule) {}

  // The first calls warm up the code and say how many calls make a sample.
  void warm_up() {
    call();
    const double begin = cpu_seconds();
    call();
    const double once = std::max(1e-9, cpu_seconds() - begin);
    calls_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(kLeastSample / once)), 1, kMostCalls);
  }
  void sample() {
    const double begin = seconds_now(), begin_cpu = cpu_seconds();
    for (std::int64_t i = 0; i < calls_; ++i) call();
    const double spent_cpu = cpu_seconds() - begin_cpu;
    sampling_.add(spent_cpu / static_cast<double>(calls_), Seconds{seconds_now() - begin});
  }
  const Sampling& sampling() const { return sampling_; }
  std::int64_t calls() const { return calls_; }

 private:
  void call() { kernels_.run({item_.shape, operands_.next(), settings_}); }

  const executor::KernelSet& kernels_;
  OperatorItem item_;
  executor::KernelSettings settings_;
  OperandSets operands_;
  Sampling sampling_;
  std::int64_t calls_ = 1;
};

struct Timed {
  MedianEstimate estimate;
  std::int64_t count = 0;  // calls
};

// `busy` threads run the operator at the same time until each of them knows its median; those that know it early go on, so that nobody's last samples
// are taken on an idle machine.
Timed measure(const executor::KernelSet& kernels, const OperatorItem& item, const executor::KernelSettings& settings, std::int64_t busy,
              std::int64_t footprint, const StopRule& rule, const std::atomic<bool>* cancel) {
  std::vector<std::unique_ptr<OperatorTimer>> timers(static_cast<std::size_t>(busy));
  std::atomic<std::int64_t> undecided = busy;
  std::barrier start(static_cast<std::ptrdiff_t>(busy));
  const auto work = [&](std::size_t i) {
    timers[i] = std::make_unique<OperatorTimer>(kernels, item, settings, footprint, rule, i + 1);  // on its own thread: first touch
    timers[i]->warm_up();
    start.arrive_and_wait();
    bool decided = false;
    while (undecided.load() > 0) {
      timers[i]->sample();
      if (!decided && (timers[i]->sampling().done() || raised(cancel))) {
        decided = true;
        --undecided;
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < timers.size(); ++i) threads.emplace_back(work, i);
  work(0);
  for (std::thread& t : threads) t.join();

  std::vector<double> medians, spreads;
  Timed timed;
  for (const auto& timer : timers) {
    const MedianEstimate e = timer->sampling().result();
    medians.push_back(e.median);
    spreads.push_back(e.spread);
    timed.count += e.count * timer->calls();
  }
  timed.estimate = estimate_median(medians);
  timed.estimate.spread = *std::max_element(spreads.begin(), spreads.end());
  return timed;
}

OperatorItem square_product(std::int64_t n) {
  program::Shape shape;
  shape.op = Operator::linear_input_grad;
  shape.dims = {n, n, n};
  return {shape, 3};
}

// Read + written bytes per second of a copy far larger than any cache, by one thread alone.
BytesPerSecond copy_bandwidth(const StopRule& rule, const std::atomic<bool>* cancel) {
  constexpr std::int64_t kBytes = std::int64_t{64} << 20;
  std::vector<std::byte> from(static_cast<std::size_t>(kBytes), std::byte{1}), to(static_cast<std::size_t>(kBytes));
  Sampling sampling(rule);
  do {
    const double begin = seconds_now(), begin_cpu = cpu_seconds();
    std::memcpy(to.data(), from.data(), from.size());
    const double spent_cpu = cpu_seconds() - begin_cpu;
    from[static_cast<std::size_t>(sampling.count())] = to[0];  // the copy is read, so it is made
    sampling.add(spent_cpu, Seconds{seconds_now() - begin});
  } while (!sampling.done() && !raised(cancel));
  return BytesPerSecond{2.0 * static_cast<double>(kBytes) / sampling.result().median};
}

std::vector<std::int64_t> used_dims(const program::Shape& shape) {
  std::vector<std::int64_t> dims(shape.dims.begin(), shape.dims.end());
  while (dims.size() > 1 && dims.back() == 0) dims.pop_back();
  return dims;
}

std::string describe(const program::Shape& shape, std::int64_t busy) {
  return fmt::format("{} {}{}", program::name(shape.op), fmt::join(used_dims(shape), "x"), busy > 1 ? fmt::format(" on {} cores", busy) : "");
}

}  // namespace

Profile profile_cpu(const ProfileGrid& grid, const ProfileOptions& options, const std::function<void(const ProfileProgress&)>& progress,
                    const std::atomic<bool>* cancel) {
  const Machine machine = this_machine();
  const std::int64_t cores = options.cores > 0 ? options.cores : machine.cores;
  const std::int64_t footprint = options.footprint >= 0 ? options.footprint : std::max(4 * machine.core_cache, machine.shared_cache / cores);
  const auto kernels = executor::make_cpu_kernels();

  Profile profile;
  profile.device = machine.device;
  profile.clock = machine.clock;
  profile.driver = machine.driver;
  profile.date = machine.date;
  profile.commit = options.commit;
  profile.cores = cores;
  profile.memory = machine.memory;

  constexpr std::array<std::int64_t, 3> kProducts{256, 512, 1024};
  ProfileProgress now;
  now.total = static_cast<std::int64_t>(grid.operators.size()) * (cores > 1 ? 2 : 1) + static_cast<std::int64_t>(grid.collectives.size()) +
              static_cast<std::int64_t>(kProducts.size()) + 1;
  StopRule rule = options.rule;
  const double started = seconds_now();
  const auto begin = [&](std::string what) {
    now.what = std::move(what);
    if (progress) progress(now);
    const Seconds left{options.limit.v - (seconds_now() - started)};
    rule.limit = std::min(options.rule.limit, std::max(kLeastLimit, left * (1.0 / static_cast<double>(now.total - now.done))));
    ++now.done;
    return !raised(cancel);
  };
  const auto rate = [](const program::Shape& shape, const MedianEstimate& e) { return FlopsPerSecond{program::flops(shape).v / e.median}; };

  for (const std::int64_t n : kProducts) {
    const OperatorItem item = square_product(n);
    if (!begin("peak: " + describe(item.shape, 1))) return profile;
    profile.peak = std::max(profile.peak, rate(item.shape, measure(*kernels, item, grid.settings, 1, 0, rule, cancel).estimate));
  }
  if (!begin("memory bandwidth")) return profile;
  profile.memory_bandwidth = copy_bandwidth(rule, cancel);

  for (const OperatorItem& item : grid.operators) {
    const std::int64_t bytes = set_bytes(operands_of(item, grid.settings));
    for (std::int64_t busy = 1; busy <= cores; busy += std::max<std::int64_t>(1, cores - 1)) {
      if (!begin(describe(item.shape, busy))) return profile;
      if (bytes > machine.memory.v / 4 / cores) continue;
      const Timed timed = measure(*kernels, item, grid.settings, busy, footprint, rule, cancel);
      if (raised(cancel)) return profile;
      OperatorMeasurement m;
      m.op = program::name(item.shape.op);
      m.dims = used_dims(item.shape);
      m.dtype = item.shape.dtype;
      m.busy = busy;
      m.median = Seconds{timed.estimate.median};
      m.spread = timed.estimate.spread;
      m.count = timed.count;
      profile.operators.push_back(std::move(m));
      if (busy == 1) profile.peak = std::max(profile.peak, rate(item.shape, timed.estimate));
    }
  }

  profile.collectives = measure_collectives(
      grid.collectives,
      [&](const CollectiveItem& c) {
        begin(fmt::format("{} of {} bytes, {} ranks", program::name(c.op), c.bytes, c.ranks));
        return rule;
      },
      cancel);
  now.done = now.total;
  now.what = "done";
  if (progress && !raised(cancel)) progress(now);
  return profile;
}

}  // namespace orrery::profiler
