// Proofs about any Program before it runs: what is wrong is said in words, by rank, pass and instruction.
#pragma once

#include <string>
#include <vector>

#include "program/program.h"

namespace orrery::program {

enum class Rule { matched_point_to_point, collective_order, deadlock, written_before_read, freed_once, well_formed };
std::string_view name(Rule rule);

struct Violation {
  Rule rule;
  std::string what;  // "stage 1 sends micro-batch 3 forward, stage 2 never receives it"
};

// Deadlock is checked twice: per stream (as the simulator and GPUs run) and with one blocking host thread per rank.
std::vector<Violation> check(const Program& program);

}  // namespace orrery::program
