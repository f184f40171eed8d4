// What is to be measured: operators at shapes, and collectives at sizes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "executor/kernels/kernels.h"
#include "program/program.h"

namespace orrery::profiler {

// The states of the caches that are told apart: how many bytes all operands that are used in turn take together. Powers of four, since time changes
// little but where a cache ends: from a core's own to more than a core's share of any.
inline constexpr std::array<std::int64_t, 4> kFootprints{std::int64_t{1} << 20U, std::int64_t{1} << 22U, std::int64_t{1} << 24U,
                                                         std::int64_t{1} << 26U};

// The same for a GPU: a quarter to a third of its last-level cache, and several times that (A100, H100, H200: 40 to 60 MB; B200: 126 MB). The second
// stands for "not in the cache" and is what counts where a program says nothing.
inline constexpr std::array<std::int64_t, 2> kGpuFootprints{std::int64_t{1} << 24U, std::int64_t{1} << 28U};

// One operator at one shape; `operands` is how many buffers it is called with, which says whether there is a bias, a beta, an optimizer state.
struct OperatorItem {
  program::Shape shape;
  std::uint8_t operands = 0;
  std::vector<std::int64_t> footprints{};  // ascending, of kFootprints or kGpuFootprints; empty: all of them
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

// What a model says to its kernels, as far as it changes their time; and a plan: the types of parameters and gradients.
executor::KernelSettings settings_of(const Model& model);
executor::KernelSettings settings_of(const Model& model, const Plan& plan);

// Every distinct shape of the programs that the executor can run, so that a plan's simulation needs no interpolation: those of the CPU kernels, at
// the footprints for which cost::reuse says that at least a tenth of the bytes of a program's shape need them; load_tokens and load_targets; and what
// the communicator between threads does. all_reduce_max counts as all_reduce, and recv as its send; where a shape is used with and without a bias,
// the bias is measured.
ProfileGrid grid_for(std::span<const program::Program> programs, const executor::KernelSettings& settings);
// The same of any kernels, at these footprints.
ProfileGrid grid_for(std::span<const program::Program> programs, const executor::KernelSettings& settings, const executor::KernelSet& kernels,
                     std::span<const std::int64_t> footprints);

// A declared grid over the operators of a Llama-like block, at all footprints: 128 to 2048 tokens, widths 128 to 1024, all collectives of 2 and 4
// ranks up to 16 MiB.
ProfileGrid default_grid();

// The shapes of training these models in bf16 with fp32 gradients and optimizer states on devices of `cluster`'s kind, which is to have at least 8 in
// a node: dense ones split by tp = 1, 2, 4 and 8 with one sequence a micro-batch, and unsplit with two; mixtures with their experts on 8 ranks. Of
// each model a few layers stand for all: shapes are the same. Models that the compiler refuses are left out.
ProfileGrid gpu_grid(std::span<const Model> models, const Cluster& cluster, const executor::KernelSet& kernels);
// The names of shipped models that stand for the others' shapes, most wanted first.
const std::vector<std::string>& grid_models();

}  // namespace orrery::profiler
