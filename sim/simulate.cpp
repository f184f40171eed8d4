#include "sim/simulate.h"

#include "sim/account.h"
#include "sim/cancel.h"
#include "sim/engine.h"
#include "sim/machine.h"

namespace orrery::sim {
namespace {

Result run(const program::Program& program, const cost::Table& cost, const Cluster& cluster, const Options& options) {
  const Cancel cancel{options.cancel};
  const Machine machine = lay_out(program, cost, cluster, options.unfold, options.max_periods, cancel);
  Engine engine{machine, options.max_periods, options.shuffle, cancel};
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
    Engine alone{machine, 1, options.shuffle, cancel};
    alone.run();
    result.makespan = Picoseconds{alone.end(0) - alone.end(-1)};
    result.instructions += once + per_period;
  }
  Account{machine, engine, cancel}.write(options, result);
  return result;
}

}  // namespace

Result simulate(const program::Program& program, const cost::Table& cost, const Cluster& cluster, const Options& options) {
  try {
    return run(program, cost, cluster, options);
  } catch (const Cancelled&) {
    Result result;
    result.cancelled = true;
    return result;
  }
}

}  // namespace orrery::sim
