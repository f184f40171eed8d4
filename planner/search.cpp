#include "planner/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/quantity_text.h"
#include "cost/cost.h"
#include "planner/bound.h"
#include "program/compile.h"
#include "program/memory.h"
#include "sim/simulate.h"

namespace orrery::planner {
namespace {

// A plan on its way through the search. Compiling again is cheaper than keeping hundreds of programs.
struct Entry {
  std::size_t index = 0;
  Picoseconds bound;
  std::int64_t peak = 0;
};

Rejected too_large(const Plan& plan, std::int64_t needed, std::int64_t capacity, const std::string& of_what) {
  return {plan, "memory", fmt::format("needs {} per device, has {} ({})", format_bytes(Bytes{needed}), format_bytes(Bytes{capacity}), of_what),
          static_cast<double>(needed) / static_cast<double>(capacity), Bytes{needed}};
}

// The fullest stage and what its peak is made of, by kind of buffer.
std::pair<std::int64_t, std::string> fullest_stage(const program::Program& program) {
  std::int64_t peak = 0;
  std::string of_what;
  for (const program::Role& role : program.roles) {
    const program::MemoryReport report = program::memory(program, role);
    if (report.peak_live > peak) {
      peak = report.peak_live;
      of_what =
          fmt::format("states {}, activations {}", format_bytes(Bytes{report.persistent}), format_bytes(Bytes{report.peak_live - report.persistent}));
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

Joules step_energy(const cost::Table& cost, const sim::Result& result, std::int64_t devices) {
  Joules energy = cost.idle * to_seconds(result.step) * static_cast<double>(devices);
  for (std::size_t r = 0; r < result.simulated_ranks.size(); ++r) energy += result.energy[r] * static_cast<double>(result.weights[r]);
  return energy;
}

std::optional<Dollars> step_price(const Cluster& cluster, Picoseconds step) {
  if (!(cluster.price_per_device_hour > 0)) return std::nullopt;
  return Dollars{cluster.price_per_device_hour * static_cast<double>(cluster.devices) * to_seconds(step).v / 3600};
}

Outcome search(const Model& model, const Cluster& cluster, const Plan& base, const Space& space, const Profile* profile, const Options& options) {
  const std::vector<Plan> plans = enumerate(model, cluster, base, space);
  const unsigned threads = options.threads ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  const std::int64_t capacity = cluster.device.memory.v;
  const auto cancelled = [&] { return options.cancel && options.cancel->load(); };

  Outcome outcome;
  outcome.enumerated = static_cast<std::int64_t>(plans.size());
  std::vector<std::optional<Rejected>> refused(plans.size()), pruned(plans.size());
  std::vector<std::optional<Entry>> entries(plans.size());
  std::mutex mutex;
  std::int64_t done = 0;
  const auto advance = [&] {
    const std::lock_guard lock(mutex);
    ++done;
    if (options.progress) options.progress(done, 2 * outcome.enumerated);
  };

  // Runs of plans that differ in the micro-batch only, by their first. A larger one needs no less memory: it holds as many sequences' activations in
  // as many or fewer pieces, and works on more of them at a time. So where one does not fit, the larger ones need not be compiled.
  std::vector<std::size_t> runs;
  const auto apart_from_micro = [](Plan a, const Plan& b) {
    a.batch.micro = b.batch.micro;
    return a != b;
  };
  for (std::size_t i = 0; i < plans.size(); ++i)
    if (i == 0 || apart_from_micro(plans[i], plans[i - 1])) runs.push_back(i);

  parallel(runs.size(), threads, [&](std::size_t run) {
    const Rejected* least = nullptr;  // the smallest micro-batch of the run that does not fit
    for (std::size_t i = runs[run]; i < (run + 1 < runs.size() ? runs[run + 1] : plans.size()); ++i) {
      if (cancelled()) return;
      const Plan& plan = plans[i];
      if (const auto refusals = program::refusals(model, cluster, plan); !refusals.empty()) {
        refused[i] = Rejected{plan, refusals.front().constraint, refusals.front().reason, 0};
      } else if (least && plan.batch.micro > least->plan.batch.micro) {
        refused[i] =
            Rejected{plan, "memory", fmt::format("already micro={} {}", least->plan.batch.micro, least->reason), least->excess, least->memory};
      } else if (const Bytes states = memory_bound(model, cluster, plan); states.v > capacity) {
        refused[i] = too_large(plan, states.v, capacity, "states alone");
      } else {
        const program::Program program = program::compile(model, cluster, plan);
        const auto [peak, of_what] = fullest_stage(program);
        const auto bound = [&] { return time_bound(program, cost::price(program, cluster, profile), cluster); };
        if (peak > capacity) {
          refused[i] = too_large(plan, peak, capacity, of_what);
          if (options.bound_refused) refused[i]->least_time = bound();
        } else {
          entries[i] = Entry{i, bound(), peak};
        }
      }
      if (refused[i] && refused[i]->constraint == "memory" && (!least || plan.batch.micro < least->plan.batch.micro)) least = &*refused[i];
      advance();
    }
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
    const Picoseconds worst_kept = full ? kept[options.top - 1].second.step : Picoseconds{INT64_MAX};
    parallel(count, threads, [&](std::size_t k) {
      if (cancelled()) return;
      const Entry& entry = order[begin + k];
      const Plan& plan = plans[entry.index];
      if (entry.bound > worst_kept) {
        pruned[entry.index] = Rejected{plan,
                                       "bound",
                                       fmt::format("cannot take less than {:.4g} s/step, and {} plan{} at most {:.4g} s", to_seconds(entry.bound).v,
                                                   options.top, options.top == 1 ? " takes" : "s take", to_seconds(worst_kept).v),
                                       entry.bound / worst_kept,
                                       Bytes{entry.peak},
                                       entry.bound};
      } else {
        try {
          const program::Program program = program::compile(model, cluster, plan);
          const cost::Table cost = cost::price(program, cluster, profile);
          const sim::Result result = sim::simulate(program, cost, cluster);
          round[k] = Candidate{plan,
                               result.step,
                               Bytes{entry.peak},
                               cluster.device.memory,
                               program.bubble_fraction,
                               result.waterfall,
                               step_energy(cost, result, program.ranks())};
        } catch (const Error& e) {  // e.g. a step longer than simulated time can count
          refused[entry.index] = Rejected{plan, "can be simulated", e.message(), 0, Bytes{entry.peak}, entry.bound};
        }
      }
      advance();
    });
    for (std::size_t k = 0; k < count; ++k) {
      if (!round[k]) continue;
      ++outcome.simulated;
      kept.emplace_back(order[begin + k].index, std::move(*round[k]));
    }
    std::stable_sort(kept.begin(), kept.end(), faster);
    if (kept.size() > options.top && !options.keep_all) kept.resize(options.top);
  }
  for (auto& [index, candidate] : kept) outcome.ranked.push_back(std::move(candidate));
  for (std::optional<Rejected>& r : refused)
    if (r) outcome.refused.push_back(std::move(*r));
  for (std::optional<Rejected>& r : pruned)
    if (r) outcome.pruned.push_back(std::move(*r));
  outcome.not_reached =
      outcome.enumerated - outcome.simulated - static_cast<std::int64_t>(outcome.refused.size()) - static_cast<std::int64_t>(outcome.pruned.size());
  outcome.cancelled = outcome.not_reached > 0;
  return outcome;
}

std::string label(const Cluster& cluster, const Plan& plan) {
  const auto unless_one = [](const char* axis, std::int64_t n) { return n > 1 ? fmt::format(" {}={}", axis, n) : ""; };
  if (plan.segments && plan.segments->size() > 1) {
    std::string split;
    for (const program::PlanSegment& s : program::plan_segments({}, cluster, plan))
      split += fmt::format("{}tp={}{} pp={} dp={}{}", split.empty() ? "" : " | ", s.plan.parallel.tp, unless_one("cp", s.plan.parallel.cp),
                           s.plan.parallel.pp, s.dp, s.plan.recompute == plan.recompute ? "" : " recompute=" + s.plan.recompute.kind);
    return fmt::format("{} micro={} {} recompute={} zero={}", split, plan.batch.micro, plan.schedule, plan.recompute.kind, plan.sharding.zero);
  }
  const ParallelSpec& p = plan.parallel;
  return fmt::format("tp={}{} pp={}{} dp={}{}{} micro={} {} recompute={} zero={}", p.tp, unless_one("cp", p.cp), p.pp, unless_one("vp", p.vp),
                     program::data_parallel(cluster, plan), unless_one("ep", p.ep), unless_one("etp", p.etp), plan.batch.micro, plan.schedule,
                     plan.recompute.kind, plan.sharding.zero);
}

std::string why_none(const Outcome& outcome) {
  if (outcome.cancelled) return "interrupted before a plan was simulated";
  const bool memory = std::any_of(outcome.refused.begin(), outcome.refused.end(), [](const Rejected& r) { return r.constraint == "memory"; });
  return memory ? "no plan fits" : "no plan is legal";
}

std::string explain(const Cluster& cluster, const Outcome& outcome) {
  if (outcome.ranked.empty()) return fmt::format("{}\n{}\n", why_none(outcome), refusal_line(outcome));
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
  for (const std::vector<Rejected>* list : {&outcome.refused, &outcome.pruned})
    for (const Rejected& r : *list)
      if (r.excess > 0 && !r.reason.starts_with("already ")) near.push_back(&r);
  std::stable_sort(near.begin(), near.end(), [](const Rejected* a, const Rejected* b) { return a->excess < b->excess; });
  for (std::size_t i = 0; i < std::min<std::size_t>(near.size(), 5); ++i)
    text += fmt::format("  rejected {}: {}\n", label(cluster, near[i]->plan), near[i]->reason);
  return text + refusal_line(outcome) + "\n";
}

std::vector<RefusalGroup> refusal_groups(const Outcome& outcome) {
  std::map<std::string, RefusalGroup> by_constraint;
  for (const Rejected& r : outcome.refused) {
    RefusalGroup& group = by_constraint[r.constraint];
    group.constraint = r.constraint;
    group.plans.push_back(&r);
  }
  std::vector<RefusalGroup> groups;
  for (auto& [constraint, group] : by_constraint) groups.push_back(std::move(group));
  std::stable_sort(groups.begin(), groups.end(), [](const RefusalGroup& a, const RefusalGroup& b) { return a.plans.size() > b.plans.size(); });
  if (!outcome.pruned.empty()) {
    groups.push_back({"bound", {}});
    groups.back().plans.reserve(outcome.pruned.size());
    for (const Rejected& r : outcome.pruned) groups.back().plans.push_back(&r);
  }
  for (RefusalGroup& group : groups)
    std::stable_sort(group.plans.begin(), group.plans.end(), [](const Rejected* a, const Rejected* b) { return a->excess < b->excess; });
  return groups;
}

std::string refusal_line(const Outcome& outcome) {
  // How many, and the one that came nearest; without numbers, the first.
  const auto example = [](const RefusalGroup& group) {
    const Rejected& r = *group.plans.front();
    return fmt::format("({} {})", r.excess > 0 ? "nearest:" : "e.g.", r.reason);
  };
  std::string text = fmt::format("{} plans: {} simulated, {} refused", outcome.enumerated, outcome.simulated, outcome.refused.size());
  bool first = true;
  for (const RefusalGroup& group : refusal_groups(outcome)) {
    const std::size_t count = group.plans.size();
    if (group.constraint == "bound")
      text += fmt::format("; {} pruned by the bound, by {:.1f} % and more {}", count, 100 * (group.plans.front()->excess - 1), example(group));
    else
      text += fmt::format("{}{} {} {}", first ? ": " : "; ", group.constraint, count, example(group));
    first = false;
  }
  if (outcome.not_reached > 0) text += fmt::format("; {} not reached", outcome.not_reached);
  return text;
}

}  // namespace orrery::planner
