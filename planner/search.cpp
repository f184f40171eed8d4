#include "planner/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <thread>

#include "cost/cost.h"
#include "planner/bound.h"
#include "program/compile.h"
#include "program/memory.h"
#include "sim/simulate.h"

namespace orrery::planner {
namespace {

double gib(std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1LL << 30); }

// A plan on its way through the search. Compiling again is cheaper than keeping hundreds of programs.
struct Entry {
  std::size_t index = 0;
  Picoseconds bound;
  std::int64_t peak = 0;
};

Rejected too_large(const Plan& plan, std::int64_t needed, std::int64_t capacity, const std::string& of_what) {
  return {plan, "memory", fmt::format("needs {:.1f} GiB per device, has {:.1f} GiB ({})", gib(needed), gib(capacity), of_what),
          static_cast<double>(needed) / static_cast<double>(capacity)};
}

// The fullest stage and what its peak is made of, by kind of buffer.
std::pair<std::int64_t, std::string> fullest_stage(const program::Program& program) {
  std::int64_t peak = 0;
  std::string of_what;
  for (const program::Role& role : program.roles) {
    const program::MemoryReport report = program::memory(program, role);
    if (report.peak_live > peak) {
      peak = report.peak_live;
      of_what = fmt::format("states {:.1f} GiB, activations {:.1f} GiB", gib(report.persistent), gib(report.peak_live - report.persistent));
    }
  }
  return {peak, of_what};
}

// Runs task(i) for i in [0, n) on the given number of threads; the first exception is rethrown.
void parallel(std::size_t n, unsigned threads, const std::function<void(std::size_t)>& task) {
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    for (std::size_t i = next++; i < n; i = next++) {
      try {
        task(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    }
  };
  std::vector<std::thread> pool;
  for (unsigned t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

Outcome search(const Model& model, const Cluster& cluster, const Plan& base, const Space& space, const Profile* profile, const Options& options) {
  const std::vector<Plan> plans = enumerate(model, cluster, base, space);
  const unsigned threads = options.threads ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  const std::int64_t capacity = cluster.device.memory.v;
  const auto cancelled = [&] { return options.cancel && options.cancel->load(); };

  Outcome outcome;
  outcome.enumerated = static_cast<std::int64_t>(plans.size());
  std::vector<std::optional<Rejected>> rejected(plans.size());
  std::vector<std::optional<Entry>> entries(plans.size());
  std::mutex mutex;
  std::int64_t done = 0;
  const auto advance = [&] {
    const std::lock_guard lock(mutex);
    ++done;
    if (options.progress) options.progress(done, 2 * outcome.enumerated);
  };

  parallel(plans.size(), threads, [&](std::size_t i) {
    if (cancelled()) return;
    const Plan& plan = plans[i];
    if (const auto refusals = program::refusals(model, cluster, plan); !refusals.empty()) {
      rejected[i] = Rejected{plan, refusals.front().constraint, refusals.front().reason, 0};
    } else if (const Bytes least = memory_bound(model, cluster, plan); least.v > capacity) {
      rejected[i] = too_large(plan, least.v, capacity, "states alone");
    } else {
      const program::Program program = program::compile(model, cluster, plan);
      const auto [peak, of_what] = fullest_stage(program);
      if (peak > capacity)
        rejected[i] = too_large(plan, peak, capacity, of_what);
      else
        entries[i] = Entry{i, time_bound(program, cost::price(program, cluster, profile), cluster), peak};
    }
    advance();
  });

  std::vector<Entry> order;
  for (const std::optional<Entry>& entry : entries)
    if (entry) order.push_back(*entry);
  std::stable_sort(order.begin(), order.end(), [](const Entry& a, const Entry& b) { return a.bound < b.bound; });
  done = 2 * outcome.enumerated - static_cast<std::int64_t>(order.size());

  // In the order of their bounds, in rounds of a fixed size: what is pruned depends on the bounds alone, not on which thread was faster.
  constexpr std::size_t kRound = 8;
  std::vector<std::pair<std::size_t, Candidate>> kept;
  const auto faster = [](const auto& a, const auto& b) { return a.second.step != b.second.step ? a.second.step < b.second.step : a.first < b.first; };
  for (std::size_t begin = 0; begin < order.size() && !cancelled(); begin += kRound) {
    const std::size_t count = std::min(kRound, order.size() - begin);
    std::vector<std::optional<Candidate>> round(count);
    const bool full = kept.size() >= options.top;
    const Picoseconds worst_kept = full ? kept.back().second.step : Picoseconds{INT64_MAX};
    parallel(count, threads, [&](std::size_t k) {
      const Entry& entry = order[begin + k];
      const Plan& plan = plans[entry.index];
      if (!cancelled() && entry.bound <= worst_kept) {
        const program::Program program = program::compile(model, cluster, plan);
        const cost::Table cost = cost::price(program, cluster, profile);
        const sim::Result result = sim::simulate(program, cost, cluster);
        round[k] = Candidate{plan, result.step, Bytes{entry.peak}, cluster.device.memory, program.bubble_fraction, result.waterfall};
      }
      advance();
    });
    for (std::size_t k = 0; k < count; ++k) {
      const Entry& entry = order[begin + k];
      if (round[k]) {
        ++outcome.simulated;
        kept.emplace_back(entry.index, std::move(*round[k]));
      } else if (!cancelled()) {
        rejected[entry.index] = Rejected{plans[entry.index], "bound",
                                         fmt::format("cannot take less than {:.4g} s/step, and {} plans take at most {:.4g} s",
                                                     to_seconds(entry.bound).v, options.top, to_seconds(worst_kept).v),
                                         entry.bound / worst_kept};
      }
    }
    std::stable_sort(kept.begin(), kept.end(), faster);
    if (kept.size() > options.top) kept.resize(options.top);
  }
  for (auto& [index, candidate] : kept) outcome.ranked.push_back(std::move(candidate));
  for (std::optional<Rejected>& r : rejected)
    if (r) outcome.rejected.push_back(std::move(*r));
  outcome.cancelled = cancelled();
  return outcome;
}

std::string label(const Cluster& cluster, const Plan& plan) {
  return fmt::format("tp={} pp={} dp={} micro={} {} recompute={} zero={}", plan.parallel.tp, plan.parallel.pp, program::data_parallel(cluster, plan),
                     plan.batch.micro, plan.schedule, plan.recompute.kind, plan.sharding.zero);
}

std::string explain(const Cluster& cluster, const Outcome& outcome) {
  if (outcome.ranked.empty()) return fmt::format("no plan fits\n{}\n", refusal_line(outcome));
  const Candidate& best = outcome.ranked.front();
  std::string text = fmt::format("chose {}: {:.4g} s/step\n", label(cluster, best.plan), to_seconds(best.step).v);
  const auto share = [](Picoseconds part, const Candidate& c) { return 100.0 * (part / c.step); };
  for (std::size_t i = 1; i < outcome.ranked.size(); ++i) {
    const Candidate& other = outcome.ranked[i];
    // The part of the waterfall in which the other loses most time against the best.
    const auto mine = best.waterfall.parts(), theirs = other.waterfall.parts();
    std::size_t part = 0;
    for (std::size_t k = 1; k < mine.size(); ++k)
      if (theirs[k] - mine[k] > theirs[part] - mine[part]) part = k;
    text += fmt::format("  rejected {}: {:.4g} s/step ({} {:.1f} % > {:.1f} %)\n", label(cluster, other.plan), to_seconds(other.step).v,
                        Waterfall::names()[part], share(theirs[part], other), share(mine[part], best));
  }
  std::vector<const Rejected*> near;
  for (const Rejected& r : outcome.rejected)
    if (r.excess > 0) near.push_back(&r);
  std::stable_sort(near.begin(), near.end(), [](const Rejected* a, const Rejected* b) { return a->excess < b->excess; });
  for (std::size_t i = 0; i < std::min<std::size_t>(near.size(), 5); ++i)
    text += fmt::format("  rejected {}: {}\n", label(cluster, near[i]->plan), near[i]->reason);
  return text + refusal_line(outcome) + "\n";
}

std::string refusal_line(const Outcome& outcome) {
  std::map<std::string, std::pair<std::int64_t, const Rejected*>> by_constraint;
  for (const Rejected& r : outcome.rejected) {
    auto& [count, nearest] = by_constraint[r.constraint];
    ++count;
    if (!nearest || r.excess < nearest->excess) nearest = &r;
  }
  std::vector<std::pair<std::string, std::pair<std::int64_t, const Rejected*>>> sorted(by_constraint.begin(), by_constraint.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.first > b.second.first; });
  std::string text = fmt::format("{} plans: {} simulated, {} refused", outcome.enumerated, outcome.simulated, outcome.rejected.size());
  for (std::size_t i = 0; i < sorted.size(); ++i)
    text += fmt::format("{}{} {} (e.g. {})", i ? "; " : ": ", sorted[i].first, sorted[i].second.first, sorted[i].second.second->reason);
  return text;
}

}  // namespace orrery::planner
