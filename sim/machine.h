// A Program laid out for the engine: per role flat arrays of steps with durations and addresses filled in, per rank who it meets.
#pragma once

#include <cstdint>
#include <vector>

#include "core/cluster.h"
#include "core/timeline.h"
#include "cost/cost.h"
#include "program/program.h"
#include "sim/cancel.h"
#include "sim/folding.h"

namespace orrery::sim {

// Times are picoseconds as bare integers here. A time that is not known yet is larger than any that is, so that max() carries it along.
inline constexpr std::int64_t kUnknown = INT64_MAX;
inline constexpr std::uint32_t kNoRecord = UINT32_MAX;

// What the engine does with an instruction. Collectives with one simulated member are work.
enum class StepKind : std::uint8_t {
  work,           // occupies its stream for its duration (waits: for none)
  shared_work,    // the same, at a rate that depends on what else runs on the node
  inline_work,    // runs on the issuing thread: issuing goes on when it has ended
  inline_shared,  // both
  meet,           // a collective with several simulated members
  send,
  recv,
  host_wait,
};

// An instruction as the engine sees it. Its index is that of the instruction in Role::instructions.
struct Step {
  std::int64_t duration = 0, issue = 0;
  std::uint32_t dependencies = 0;  // first of `dependency_count` in LoweredRole::dependencies
  std::uint32_t signal = 0;        // slot in `times`: signal + (micro-batch & signal_mask); the last slot is nobody's
  std::uint16_t signal_mask = 0;
  std::uint16_t link = 0;  // meet, send, recv: index into the rank's links
  std::uint8_t dependency_count = 0;
  std::uint8_t stream = 0;
  StepKind kind = StepKind::work;
  bool shared : 1 = false;  // its work is done by a core of the node
  bool second : 1 = false;  // of the pass's second micro-batch
};
static_assert(sizeof(Step) == 32);

struct StepDependency {
  std::uint32_t index = 0;  // local: in the pass; otherwise a slot in `times`: index + (micro-batch & mask)
  std::uint16_t mask = 0;
  std::uint16_t local = 0;
};

struct StepShares {
  std::uint32_t cores = 0, memory = 0;
};

// Slots in `times` of a rank: the streams (when the last instruction issued on each ends), then the events, then one that nobody reads.
struct LoweredRole {
  const program::Role* role = nullptr;
  std::vector<Step> steps;
  std::vector<StepDependency> dependencies;
  std::vector<StepShares> shares;     // by step; empty unless the machine is shared
  std::vector<WorkClass> classes;     // by step
  std::vector<std::uint32_t> shapes;  // by step, what it is on these ranks; empty where Instruction::shape says it
  std::uint32_t slots = 0;
  std::uint32_t prologue = 0, body = 0, epilogue = 0;  // instructions in each list, passes expanded
  std::vector<std::uint32_t> body_base;                // by pass instance of the body: number of instructions before it
  std::vector<double> pass_energy;                     // by pass, joules
};

struct SimulatedRank {
  std::int64_t rank = 0;
  std::uint32_t role = 0;
  std::int64_t weight = 1;             // ranks that it stands for
  std::uint32_t node = 0;              // index of its (class of) node
  std::uint32_t weight_on_node = 1;    // of the ranks that it stands for, how many are on one node
  std::vector<std::uint32_t> links{};  // by Step::link: index of the Channel or Meeting
};

// Everything about a run that does not change while it runs.
struct Machine {
  const program::Program* program = nullptr;
  const cost::Table* cost = nullptr;
  Folding folding;
  std::vector<LoweredRole> roles;  // by class of `folding`
  std::vector<SimulatedRank> ranks;
  std::uint32_t streams = 0;
  std::uint32_t channels = 0;               // point-to-point: one per (source, destination, channel)
  std::vector<std::uint32_t> meeting_size;  // by meeting: simulated members
  bool shared = false;                      // some steps share cores
  std::uint32_t cores = 0;                  // of a node
  std::uint32_t nodes = 0;
};

// Of an instruction, by its index.
std::uint32_t shape_of(const LoweredRole& role, std::uint32_t step);

// Where in a role's body its n-th instruction stands.
struct Position {
  std::uint32_t pass = 0;         // index of the pass instance
  std::uint32_t instruction = 0;  // index in the pass's template
  std::uint32_t step = 0;         // index in LoweredRole::steps
};
Position locate(const LoweredRole& role, std::uint32_t position);

// Ranks that cannot differ are laid out once, with their weight, unless `unfold`, or unless nodes with shared cores hold different mixes of roles,
// where they can differ. Throws Error when simulated time could overflow, Cancelled when told to.
Machine lay_out(const program::Program& program, const cost::Table& cost, const Cluster& cluster, bool unfold, std::int64_t periods,
                Cancel cancel = {});

}  // namespace orrery::sim
