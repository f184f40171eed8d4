// The search for the best plan, and why the others were not chosen.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "core/profile.h"
#include "core/timeline.h"
#include "cost/cost.h"
#include "planner/space.h"
#include "sim/simulate.h"

namespace orrery::planner {

// A plan that was simulated.
struct Candidate {
  Plan plan;
  Picoseconds step;
  Bytes peak_memory;  // of the fullest stage
  Bytes capacity;
  double bubble_fraction = 0;
  Waterfall waterfall;
  Joules energy;  // of one step, all devices
};

// A plan that was not: the constraint that killed it, and its numbers in words.
struct Rejected {
  Plan plan;
  std::string constraint;    // "memory", "bound", or the name of a structural constraint
  std::string reason;        // "needs 93.1 GiB per device, has 80 GiB (activations 41.7 GiB)"
  double excess = 0;         // memory, bound: needed / available; structural: 0
  Bytes memory{};            // of its fullest device, or less: of states alone, or of a smaller micro-batch, where that is too much; 0: unknown
  Picoseconds least_time{};  // a step takes no less; 0: unknown
};

// Every plan of the space is one of: simulated, refused, pruned, not reached.
struct Outcome {
  std::vector<Candidate> ranked;  // fastest first; at most Options::top of those simulated, unless all are kept
  std::vector<Rejected> refused;  // no legal plan, or one that does not fit; in the order of the enumeration
  std::vector<Rejected> pruned;   // legal, but by its bound no faster than the plans kept; likewise
  std::int64_t enumerated = 0, simulated = 0, not_reached = 0;
  bool cancelled = false;  // before all were looked at
};

struct Options {
  std::size_t top = 10;
  unsigned threads = 0;                                              // 0: one per core
  std::function<void(std::int64_t done, std::int64_t of)> progress;  // called from one thread at a time
  const std::atomic<bool>* cancel = nullptr;
  bool keep_all = false;  // Outcome::ranked holds everything that was simulated; `top` only says what the bound prunes
  // Rejected::least_time also of plans that do not fit, which costs pricing them. Not of those whose states alone, or a smaller micro-batch, are too
  // much: they are not compiled.
  bool bound_refused = false;
};

// The energy of a step of all devices together: what they draw idle, and what the work takes above that.
Joules step_energy(const cost::Table& cost, const sim::Result& result, std::int64_t devices);
// What the cluster costs during a step; nothing where its price is not known.
std::optional<Dollars> step_price(const Cluster& cluster, Picoseconds step);

// Ranks the legal plans that fit by simulated step time; ties by their order in the enumeration. The result does not depend on the number of threads.
Outcome search(const Model& model, const Cluster& cluster, const Plan& base, const Space& space, const Profile* profile, const Options& options = {});

// Where nothing was ranked: "no plan fits", "no plan is legal" or that it was interrupted.
std::string why_none(const Outcome& outcome);

// "chose tp=8 pp=4 dp=16 …: 1.84 s/step" and a line for each of the next plans and of the nearest refused ones, with the numbers that decided.
std::string explain(const Cluster& cluster, const Outcome& outcome);

// "tp=8 pp=4 dp=16 micro=1 1f1b recompute=none zero=1"; vp after pp where it is above 1
std::string label(const Cluster& cluster, const Plan& plan);

// Plans that were not chosen for the same reason.
struct RefusalGroup {
  std::string constraint;
  std::vector<const Rejected*> plans;  // nearest first, those without numbers in the order of the enumeration
};
// The refused by constraint, the largest group first; then those that the bound pruned. Points into `outcome`.
std::vector<RefusalGroup> refusal_groups(const Outcome& outcome);

// What became of the plans that were not simulated, by constraint, largest first: "640 plans: 23 simulated, 412 refused: memory 300 (nearest: needs
// 81.2 GiB per device, has 80 GiB (…)); tp divides kv_heads 112 (e.g. …); 205 pruned by the bound (nearest: …)"
std::string refusal_line(const Outcome& outcome);

}  // namespace orrery::planner
