// What is to be measured: operators at shapes, and collectives at sizes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "executor/kernels/kernels.h"
#include "program/program.h"

namespace orrery::profiler {

// The states of the caches that are told apart: how many bytes all operands that are used in turn take together. Powers of four, since time changes
// little but where a cache ends: from a core's own to more than a core's share of any.
inline constexpr std::array<std::int64_t, 4> kFootprints{std::int64_t{1} << 20U, std::int64_t{1} << 22U, std::int64_t{1} << 24U,
                                                         std::int64_t{1} << 26U};

// One operator at one shape; `operands` is how many buffers it is called with, which says whether there is a bias, a beta, an optimizer state.
struct OperatorItem {
  program::Shape shape;
  std::uint8_t operands = 0;
  std::vector<std::int64_t> footprints{};  // ascending, of kFootprints; empty: all of them
  bool operator==(const OperatorItem&) const = default;
};

// One collective, or send (with its recv): `bytes` as in Shape::bytes.
struct CollectiveItem {
  program::Operator op = program::Operator::all_reduce;
  std::int64_t ranks = 2;
  std::int64_t bytes = 0;
  auto operator<=>(const CollectiveItem&) const = default;
};

struct ProfileGrid {
  std::vector<OperatorItem> operators;
  std::vector<CollectiveItem> collectives;
  executor::KernelSettings settings;  // kind of norm and of activation; the rest follows from each item
  bool operator==(const ProfileGrid&) const = default;
};

// What a model says to its kernels, as far as it changes their time.
executor::KernelSettings settings_of(const Model& model);

// Every distinct shape of the programs that the executor can run, so that a plan's simulation needs no interpolation: those of the CPU kernels, at
// the footprints for which cost::reuse says that at least a tenth of the bytes of a program's shape need them; load_tokens and load_targets; and what
// the communicator between threads does. all_reduce_max counts as all_reduce, and recv as its send; where a shape is used with and without a bias,
// the bias is measured.
ProfileGrid grid_for(std::span<const program::Program> programs, const executor::KernelSettings& settings);

// A declared grid over the operators of a Llama-like block, at all footprints: 128 to 2048 tokens, widths 128 to 1024, all collectives of 2 and 4
// ranks up to 16 MiB.
ProfileGrid default_grid();

}  // namespace orrery::profiler
