#include "sim/simulate.h"

#include "sim/account.h"
#include "sim/engine.h"
#include "sim/machine.h"

namespace orrery::sim {

Result simulate(const program::Program& program, const cost::Table& cost, const Cluster& cluster, const Options& options) {
  const Machine machine = lay_out(program, cost, cluster, options.unfold, options.max_periods);
  Engine engine{machine, options.max_periods, options.shuffle};
  engine.run();

  Result result;
  result.periods = engine.periods();
  result.steady = engine.steady();
  result.step = Picoseconds{engine.end(engine.periods() - 1) - engine.end(engine.periods() - 2)};
  result.makespan = Picoseconds{engine.end(0) - engine.end(-1)};
  std::uint64_t per_period = 0, once = 0;
  for (const SimulatedRank& r : machine.ranks) {
    per_period += machine.roles[r.role].body;
    once += machine.roles[r.role].prologue;
  }
  result.instructions = once + per_period * static_cast<std::uint64_t>(engine.periods());
  if (machine.shared && engine.periods() > 1) {
    // Where cores are shared, the next step's beginning slows down this one's end; without it, it is a run of its own.
    Engine alone{machine, 1, options.shuffle};
    alone.run();
    result.makespan = Picoseconds{alone.end(0) - alone.end(-1)};
    result.instructions += once + per_period;
  }
  Account{machine, engine}.write(options, result);
  return result;
}

}  // namespace orrery::sim
