// What a rank keeps from step to step, in words that do not depend on how a plan divides it: stretches of parameters, and where these are stored.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "executor/checkpoint/names.h"
#include "program/program.h"

namespace orrery::executor {

// A role's persistent flat buffers; -1: it has none.
struct StateBuffers {
  std::int32_t parameters = -1, m = -1, v = -1, master = -1;
};
StateBuffers state_buffers(const program::Role& role);

// `count` elements, row-major, of what a rank holds of a parameter, beginning at its local element `first`: they lie together at element `at` of a
// flat buffer.
struct Stretch {
  const program::Parameter* parameter = nullptr;
  program::Origin origin;  // of the rank's whole part of the parameter
  std::int64_t first = 0, count = 0, at = 0;
};

// What the parameter buffer of a rank has.
std::vector<Stretch> held_parameters(const program::Program& program, std::int64_t rank);

// What the rank owns of the optimizer's states (m, v and master are alike). `at` is in them, `in_parameters` where the same elements stand in the
// parameter buffer.
struct OwnedStretch : Stretch {
  std::int64_t in_parameters = 0;
};
// All of it, or (`share`) what remains when ranks that own the same divide it among themselves: over all ranks every element once, but for padding.
std::vector<OwnedStretch> owned_states(const program::Program& program, std::int64_t rank, bool share);

// Visits the parts of a stretch that stand together in a stored tensor: their first element there, their first element counted from the stretch's
// begin, how many there are, and how far apart these are in the stretch (1: together). Padding is never visited.
using VisitRun = std::function<void(std::int64_t stored, std::int64_t element, std::int64_t count, std::int64_t step)>;
void for_each_run(const Stretch& stretch, const StoredPlace& place, const VisitRun& visit);

// What a role keeps beside parameters and their states, equal on all of its ranks: the scales of delayed scaling. By the layers that it has: other
// stages begin with none.
struct KeptScales {
  std::int32_t buffer = -1;
  std::string tensor;  // "fp8.history of layers 0-3"
  std::int64_t elements = 0;
};
std::vector<KeptScales> kept_scales(const program::Role& role);

// The rows of the whole parameter that a stretch touches.
struct Rows {
  std::int64_t begin = 0, end = 0;
};
Rows rows_of(const Stretch& stretch);

}  // namespace orrery::executor
