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
#include <numeric>
#include <thread>

#include "profiler/budget.h"
#include "profiler/machine.h"
#include "profiler/operands.h"
#include "profiler/runtime.h"

namespace orrery::profiler {
namespace {

using program::Operator;

// Calls are timed in groups of at least this long, so that reading the clock (about 0.2 µs) costs less than a percent.
constexpr double kLeastSample = 20e-6;
constexpr std::int64_t kMostCalls = 4096;

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
                std::uint64_t seed, Room& room)
      : kernels_(kernels), item_(item), settings_(settings_for(item, settings)), operands_(operands_of(item, settings), footprint, seed, room) {}

  // The first calls warm up the code and say how many calls make a sample.
  void warm_up() {
    call();
    const double begin = cpu_seconds();
    call();
    once_ = std::max(1e-9, cpu_seconds() - begin);
    calls_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(kLeastSample / once_)), 1, kMostCalls);
  }
  void begin(const StopRule& rule) { sampling_.emplace(rule); }
  void sample() {
    const double begin = seconds_now(), begin_cpu = cpu_seconds();
    for (std::int64_t i = 0; i < calls_; ++i) call();
    const double spent_cpu = cpu_seconds() - begin_cpu;
    sampling_->add(spent_cpu / static_cast<double>(calls_), Seconds{seconds_now() - begin});
  }
  const Sampling& sampling() const { return *sampling_; }
  std::int64_t calls() const { return calls_; }
  Seconds least() const { return Seconds{3 * static_cast<double>(calls_) * once_}; }  // of three samples

 private:
  void call() { kernels_.run({item_.shape, operands_.next(), settings_}); }

  const executor::KernelSet& kernels_;
  OperatorItem item_;
  executor::KernelSettings settings_;
  OperandSets operands_;
  std::optional<Sampling> sampling_;
  std::int64_t calls_ = 1;
  double once_ = 0;
};

struct Timed {
  MedianEstimate estimate;
  std::int64_t count = 0;  // calls
  Seconds least;           // what measuring it took at least
};

// `busy` threads run the operator at the same time until each of them knows its median; those that know it early go on, so that nobody's last samples
// are taken on an idle machine. The rule's end includes what goes before the first sample.
Timed measure(const executor::KernelSet& kernels, const OperatorItem& item, const executor::KernelSettings& settings, std::int64_t busy,
              std::int64_t footprint, const StopRule& rule, std::vector<Room>& rooms, const std::atomic<bool>* cancel) {
  const double began = seconds_now();
  rooms.resize(std::max(rooms.size(), static_cast<std::size_t>(busy)));
  std::vector<std::unique_ptr<OperatorTimer>> timers(static_cast<std::size_t>(busy));
  std::vector<Seconds> least(timers.size());
  std::atomic<std::int64_t> undecided = busy;
  std::barrier start(static_cast<std::ptrdiff_t>(busy));
  const auto work = [&](std::size_t i) {
    timers[i] = std::make_unique<OperatorTimer>(kernels, item, settings, footprint, i + 1, rooms[i]);
    timers[i]->warm_up();
    start.arrive_and_wait();
    const Seconds before{seconds_now() - began};
    least[i] = before + timers[i]->least();
    StopRule mine = rule;
    mine.limit = rule.limit - before;
    mine.end = rule.end - before;
    timers[i]->begin(mine);
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
  timed.least = *std::max_element(least.begin(), least.end());
  return timed;
}

OperatorItem square_product(std::int64_t n) {
  program::Shape shape;
  shape.op = Operator::linear_input_grad;
  shape.dims = {n, n, n};
  return {shape, 3, {}};
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

bool is_load(Operator op) { return op == Operator::load_tokens || op == Operator::load_targets; }

std::string describe(const program::Shape& shape, std::int64_t busy, std::int64_t footprint = 0) {
  std::string text = fmt::format("{} {}", program::name(shape.op), fmt::join(used_dims(shape), "x"));
  if (busy > 1) text += fmt::format(" on {} cores", busy);
  if (footprint > 0) text += fmt::format(", {:.3g} MiB in turn", static_cast<double>(footprint) / (1 << 20));
  return text;
}

std::string describe(const CollectiveItem& c) { return fmt::format("{} of {} bytes, {} ranks", program::name(c.op), c.bytes, c.ranks); }

// An operator of the grid on so many cores, at one footprint.
struct Job {
  std::size_t item = 0;
  std::int64_t busy = 1, footprint = 0;
  Seconds least{};  // expected
  std::optional<Timed> timed{};
  std::string describe(const ProfileGrid& grid) const { return profiler::describe(grid.operators[item].shape, busy, footprint); }
};

constexpr std::array<std::int64_t, 3> kProducts{256, 512, 1024};

// The measurement of a whole grid.
class Run {
 public:
  Run(const ProfileGrid& grid, const ProfileOptions& options, const std::function<void(const ProfileProgress&)>& progress,
      const std::atomic<bool>* cancel)
      : grid_(grid), options_(options), progress_(progress), cancel_(cancel), machine_(this_machine()), kernels_(executor::make_cpu_kernels()) {}

  Profile run() {
    profile_.device = machine_.device;
    profile_.clock = machine_.clock;
    profile_.driver = machine_.driver;
    profile_.date = machine_.date;
    profile_.commit = options_.commit;
    profile_.cores = options_.cores > 0 ? options_.cores : machine_.cores;
    profile_.memory = machine_.memory;
    list_jobs();
    const std::vector<CollectiveItem> collectives = in_order_of_size();
    const std::int64_t rounds = std::max<std::int64_t>(1, options_.rounds);
    now_.total = static_cast<std::int64_t>(kProducts.size()) + 2 + static_cast<std::int64_t>(jobs_.size()) * rounds +
                 static_cast<std::int64_t>(collectives.size());
    if (measure_machine() && measure_the_runtime()) {
      // What collectives take is set aside for them: their share, or twice their least, but a third at most.
      Seconds needed{};
      for (const CollectiveItem& c : collectives) needed += least(c);
      const Seconds share = options_.limit * (static_cast<double>(collectives.size()) / static_cast<double>(now_.total));
      const Seconds reserve = std::min(std::max(needed * 2, share), options_.limit * (1.0 / 3));
      if (measure_jobs(rounds, options_.limit - reserve)) measure_all_collectives(collectives);
    }
    take_results();
    if (!raised(cancel_)) {
      now_.done = now_.total;
      now_.what = "done";
      if (progress_) progress_(now_);
    }
    return std::move(profile_);
  }

 private:
  Seconds elapsed() const { return Seconds{seconds_now() - started_}; }

  // Says what begins; false when it must not.
  bool begin(std::string what) {
    now_.what = std::move(what);
    if (progress_) progress_(now_);
    ++now_.done;
    return !raised(cancel_);
  }

  void list_jobs() {
    for (std::size_t i = 0; i < grid_.operators.size(); ++i) {
      const OperatorItem& item = grid_.operators[i];
      if (is_load(item.shape.op)) continue;
      const std::vector<Operand> operands = operands_of(item, grid_.settings);
      std::vector<std::int64_t> footprints(kFootprints.begin(), kFootprints.end());
      if (!item.footprints.empty()) footprints = item.footprints;
      if (options_.footprint >= 0) footprints = {options_.footprint};
      std::int64_t last = 0;
      for (const std::int64_t footprint : footprints) {
        const std::int64_t bytes = OperandSets::bytes(operands, footprint);
        if (bytes == last) continue;  // one set is more than either
        last = bytes;
        if (bytes > machine_.memory.v / 4 / profile_.cores) {
          profile_.left_out.push_back(describe(item.shape, 1, bytes));
          continue;
        }
        for (std::int64_t busy = 1; busy <= profile_.cores; busy += std::max<std::int64_t>(1, profile_.cores - 1)) jobs_.push_back({i, busy, bytes});
      }
    }
  }

  // The machine's own limits, which the expectations follow from. At most a tenth of the time.
  bool measure_machine() {
    StopRule rule = options_.rule;
    rule.limit = std::min(rule.limit, options_.limit * (0.1 / static_cast<double>(kProducts.size() + 1)));
    for (const std::int64_t n : kProducts) {
      const OperatorItem item = square_product(n);
      if (!begin("peak: " + describe(item.shape, 1))) return false;
      take_rate(item.shape, measure(*kernels_, item, grid_.settings, 1, 0, rule, rooms_, cancel_).estimate);
    }
    if (!begin("memory bandwidth")) return false;
    profile_.memory_bandwidth = copy_bandwidth(rule, cancel_);
    return true;
  }

  bool measure_the_runtime() {
    if (!begin("the runtime")) return false;
    std::vector<program::Shape> loads;
    for (const OperatorItem& item : grid_.operators)
      if (is_load(item.shape.op)) loads.push_back(item.shape);
    RuntimeMeasurement runtime = measure_runtime(loads);
    profile_.issue = runtime.issue;
    loads_ = std::move(runtime.loads);
    return true;
  }

  // Time that a measurement takes at least: threads, operands to fill, two calls to warm up and three samples.
  Seconds least(const Job& job) const {
    const OperatorItem& item = grid_.operators[job.item];
    const auto one = static_cast<double>(set_bytes(operands_of(item, grid_.settings)));
    constexpr double kThread = 50e-6, kFilledPerSecond = 2e9;  // bytes of random numbers; assumed, and corrected on the way
    const double bandwidth = std::max(1.0, profile_.memory_bandwidth.v), peak = std::max(1.0, profile_.peak.v);
    const double once = std::max(program::flops(item.shape).v / peak, static_cast<double>(program::traffic(item.shape).v) / bandwidth);
    return Seconds{kThread * static_cast<double>(job.busy) + one / kFilledPerSecond + 2 * static_cast<double>(job.footprint) / bandwidth + 2 * once +
                   3 * std::max(once, kLeastSample)};
  }
  Seconds least(const CollectiveItem& c) const {
    constexpr double kMeeting = 20e-6;  // of threads, each; about ten in a batch; assumed, and corrected on the way
    const double moved = 2 * static_cast<double>(c.bytes) / std::max(1.0, profile_.memory_bandwidth.v);
    return Seconds{10 * static_cast<double>(c.ranks) * (kMeeting + moved)};
  }

  // False when it was cancelled.
  bool measure_jobs(std::int64_t rounds, Seconds until) {
    for (Job& job : jobs_) job.least = least(job);
    std::vector<std::size_t> order(jobs_.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return jobs_[a].least < jobs_[b].least; });
    std::vector<Seconds> expected;
    Seconds needed{};
    for (const std::size_t j : order) needed += expected.emplace_back(jobs_[j].least);
    for (std::int64_t round = 0; round < rounds; ++round) {
      // Rounds share the time equally, unless the first needs more to leave nothing out.
      const Seconds from = elapsed(), left = until - from, share = left * (1.0 / static_cast<double>(rounds - round));
      Budget budget(round == 0 ? std::max(share, std::min(left, needed * 4)) : share, expected);
      for (const std::size_t j : order) {
        Job& job = jobs_[j];
        if (!begin(job.describe(grid_))) return false;
        const std::optional<Seconds> granted = budget.next(elapsed() - from);
        if (!granted) continue;
        StopRule rule = options_.rule;
        rule.limit = std::min(rule.limit, *granted);
        rule.end = until - elapsed();
        const Timed timed = measure(*kernels_, grid_.operators[job.item], grid_.settings, job.busy, job.footprint, rule, rooms_, cancel_);
        if (raised(cancel_)) return false;
        budget.took_at_least(timed.least);
        const std::int64_t calls = timed.count + (job.timed ? job.timed->count : 0);
        if (!job.timed || timed.estimate.median < job.timed->estimate.median) job.timed = timed;
        job.timed->count = calls;
      }
    }
    return true;
  }

  void measure_all_collectives(const std::vector<CollectiveItem>& items) {
    const Seconds from = elapsed();
    std::vector<Seconds> expected;
    expected.reserve(items.size());
    for (const CollectiveItem& c : items) expected.push_back(least(c));
    Budget budget(options_.limit - from, expected);
    profile_.collectives = measure_collectives(
        items,
        [&](const CollectiveItem& c) -> std::optional<StopRule> {
          begin(describe(c));
          const std::optional<Seconds> granted = budget.next(elapsed() - from);
          if (!granted) {
            profile_.left_out.push_back(describe(c));
            return std::nullopt;
          }
          StopRule rule = options_.rule;
          rule.limit = std::min(rule.limit, *granted);
          return rule;
        },
        cancel_);
  }

  // By ranks, since items of as many share their threads, and then the smallest first.
  std::vector<CollectiveItem> in_order_of_size() const {
    std::vector<CollectiveItem> items;
    for (const CollectiveItem& c : grid_.collectives)
      if (c.ranks > 1) items.push_back(c);
    std::stable_sort(items.begin(), items.end(),
                     [](const CollectiveItem& a, const CollectiveItem& b) { return a.ranks != b.ranks ? a.ranks < b.ranks : a.bytes < b.bytes; });
    return items;
  }

  void take_rate(const program::Shape& shape, const MedianEstimate& e) {
    profile_.peak = std::max(profile_.peak, FlopsPerSecond{program::flops(shape).v / e.median});
  }

  // In the order of the grid.
  void take_results() {
    auto load = loads_.begin();
    auto job = jobs_.begin();
    for (std::size_t i = 0; i < grid_.operators.size(); ++i) {
      const OperatorItem& item = grid_.operators[i];
      if (is_load(item.shape.op) && load != loads_.end()) profile_.operators.push_back(*load++);
      for (; job != jobs_.end() && job->item == i; ++job) {
        if (!job->timed) {
          if (!raised(cancel_)) profile_.left_out.push_back(job->describe(grid_));
          continue;
        }
        OperatorMeasurement m;
        m.op = program::name(item.shape.op);
        m.dims = used_dims(item.shape);
        m.dtype = item.shape.dtype;
        m.busy = job->busy;
        m.median = Seconds{job->timed->estimate.median};
        m.spread = job->timed->estimate.spread;
        m.count = job->timed->count;
        m.footprint = Bytes{job->footprint};
        profile_.operators.push_back(std::move(m));
        if (job->busy == 1) take_rate(item.shape, job->timed->estimate);
      }
    }
  }

  const ProfileGrid& grid_;
  const ProfileOptions& options_;
  const std::function<void(const ProfileProgress&)>& progress_;
  const std::atomic<bool>* cancel_;
  const double started_ = seconds_now();
  Machine machine_;
  std::unique_ptr<executor::KernelSet> kernels_;
  std::vector<Room> rooms_;
  Profile profile_;
  ProfileProgress now_;
  std::vector<Job> jobs_;
  std::vector<OperatorMeasurement> loads_;
};

}  // namespace

Profile profile_cpu(const ProfileGrid& grid, const ProfileOptions& options, const std::function<void(const ProfileProgress&)>& progress,
                    const std::atomic<bool>* cancel) {
  return Run(grid, options, progress, cancel).run();
}

}  // namespace orrery::profiler
