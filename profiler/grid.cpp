#include "profiler/grid.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>

#include "cost/reuse.h"
#include "program/compile.h"

namespace orrery::profiler {
namespace {

using program::Operator;
using program::Shape;

bool is_load(const Shape& s) { return s.op == Operator::load_tokens || s.op == Operator::load_targets; }

// A footprint that matters for fewer of a shape's bytes is left to its neighbours.
constexpr double kLeastShare = 0.1;

auto key(const Shape& s) { return std::make_tuple(s.op, s.dtype, s.dims); }

CollectiveItem item(Operator op, std::int64_t ranks, std::int64_t bytes) {
  if (program::is_point_to_point(op) || op == Operator::rotate) return {Operator::send, 2, bytes};
  if (op == Operator::all_to_all_by_count) op = Operator::all_to_all;
  return {op == Operator::all_reduce_max ? Operator::all_reduce : op, ranks, bytes};
}

}  // namespace

executor::KernelSettings settings_of(const Model& model) {
  executor::KernelSettings s;
  s.layer_norm = model.norm == Normalization::layernorm;
  s.norm_epsilon = model.norm_epsilon;
  s.rope_theta = model.rope_theta;
  s.rope_fraction = model.rope_fraction;
  s.activation = model.activation;
  return s;
}

executor::KernelSettings settings_of(const Model& model, const Plan& plan) {
  executor::KernelSettings s = settings_of(model);
  s.parameters = plan.precision.params;
  s.gradients = plan.precision.grads;
  return s;
}

ProfileGrid grid_for(std::span<const program::Program> programs, const executor::KernelSettings& settings) {
  return grid_for(programs, settings, *executor::make_cpu_kernels(), kFootprints);
}

ProfileGrid grid_for(std::span<const program::Program> programs, const executor::KernelSettings& settings, const executor::KernelSet& kernels,
                     std::span<const std::int64_t> told_apart) {
  ProfileGrid grid;
  grid.settings = settings;
  std::map<decltype(key(Shape{})), std::size_t> seen;
  std::set<CollectiveItem> collectives;
  std::vector<std::set<std::int64_t>> footprints;  // by operator of the grid
  const std::vector<double> distances(told_apart.begin(), told_apart.end());
  for (const program::Program& program : programs) {
    const std::vector<cost::Reuse> reuse = cost::reuse(program);
    for (const program::Role& role : program.roles) {
      for (const program::Instruction& i : role.instructions) {
        const Shape& shape = program.shapes[i.shape];
        if (program::is_communication(shape.op)) {
          const bool pair = program::is_point_to_point(shape.op);
          collectives.insert(item(shape.op, pair ? 2 : program::group_size(program, program.groups[shape.group]), shape.bytes));
        } else if (kernels.has(shape) || is_load(shape)) {
          const auto [at, is_new] = seen.try_emplace(key(shape), grid.operators.size());
          if (is_new) {
            grid.operators.push_back({shape, i.access_count});
            footprints.emplace_back();
          } else {
            std::uint8_t& operands = grid.operators[at->second].operands;
            operands = std::max(operands, i.access_count);
          }
          const std::vector<double> shares = reuse[i.shape].over(distances);
          for (std::size_t f = 0; f < shares.size(); ++f)
            if (shares[f] >= kLeastShare) footprints[at->second].insert(told_apart[f]);
        }
      }
    }
  }
  for (std::size_t i = 0; i < footprints.size(); ++i) grid.operators[i].footprints.assign(footprints[i].begin(), footprints[i].end());
  grid.collectives.assign(collectives.begin(), collectives.end());
  return grid;
}

ProfileGrid default_grid() {
  ProfileGrid grid;
  std::set<decltype(key(Shape{}))> seen;
  const auto add = [&](Operator op, std::uint8_t operands, std::array<std::int64_t, 9> dims) {
    Shape s;
    s.op = op;
    s.dims = dims;
    if (seen.insert(key(s)).second) grid.operators.push_back({s, operands, {}});
  };
  const auto linear = [&](std::int64_t tokens, std::int64_t in, std::int64_t out) {
    add(Operator::linear_forward, 3, {tokens, in, out});
    add(Operator::linear_input_grad, 3, {tokens, in, out});
    add(Operator::linear_weight_grad, 3, {tokens, in, out});
  };
  constexpr std::int64_t kHeadDim = 64, kSequence = 256, kVocabulary = 512;
  for (const std::int64_t tokens : {128, 512, 2048}) {
    for (const std::int64_t hidden : {128, 256, 512, 1024}) {
      const std::int64_t heads = hidden / kHeadDim, sequence = std::min(tokens, kSequence), elements = tokens * hidden;
      linear(tokens, hidden, hidden);
      linear(tokens, hidden, 3 * hidden);
      linear(tokens, 3 * hidden, hidden);
      linear(tokens, hidden, kVocabulary);
      add(Operator::attention_forward, 3, {tokens / sequence, sequence, heads, heads, kHeadDim, kHeadDim, 1});
      add(Operator::attention_backward, 5, {tokens / sequence, sequence, heads, heads, kHeadDim, kHeadDim, 1});
      add(Operator::rope_forward, 1, {tokens, heads, heads, kHeadDim});
      add(Operator::rope_backward, 1, {tokens, heads, heads, kHeadDim});
      add(Operator::norm_forward, 4, {tokens, hidden});
      add(Operator::norm_backward, 6, {tokens, hidden});
      add(Operator::activation_forward, 2, {tokens, 3 * hidden / 2, 1});
      add(Operator::activation_backward, 3, {tokens, 3 * hidden / 2, 1});
      add(Operator::residual_forward, 2, {tokens, hidden});
      add(Operator::embedding_forward, 3, {tokens, hidden, kVocabulary});
      add(Operator::embedding_backward, 3, {tokens, hidden, kVocabulary});
      for (const Operator op : {Operator::accumulate, Operator::copy, Operator::zero}) add(op, op == Operator::zero ? 1 : 2, {elements});
    }
    add(Operator::load_tokens, 1, {tokens});
    add(Operator::load_targets, 1, {tokens});
    add(Operator::cross_entropy_max, 2, {tokens, kVocabulary});
    add(Operator::cross_entropy_sum, 4, {tokens, kVocabulary});
    add(Operator::cross_entropy_grad, 5, {tokens, kVocabulary});
  }
  for (std::int64_t elements = 1 << 12; elements <= 1 << 22; elements *= 8) {
    add(Operator::gradient_norm, 2, {elements});
    add(Operator::optimizer_step, 5, {elements});
    add(Operator::zero, 1, {elements});
  }
  for (const std::int64_t ranks : {2, 4}) {
    for (std::int64_t bytes = 1024; bytes <= std::int64_t{16} << 20; bytes *= 8) {
      for (const Operator op : {Operator::all_reduce, Operator::reduce_scatter, Operator::all_gather, Operator::all_to_all, Operator::broadcast}) {
        grid.collectives.push_back(item(op, ranks, bytes));
      }
      if (ranks == 2) grid.collectives.push_back(item(Operator::send, 2, bytes));
    }
  }
  return grid;
}

const std::vector<std::string>& grid_models() {
  static const std::vector<std::string> kModels{"llama-3.2-1b", "llama-3.1-8b", "gpt2-xl",       "llama-3.1-70b",
                                                "mixtral-8x7b", "deepseek-v3",  "qwen3-30b-a3b", "llama-3.1-405b"};
  return kModels;
}

ProfileGrid gpu_grid(std::span<const Model> models, const Cluster& cluster, const executor::KernelSet& kernels) {
  constexpr std::int64_t kNode = 8, kLongest = 4096, kLayers = 4;  // DeepSeek-V3's first mixture is its fourth layer
  ProfileGrid grid;
  std::set<decltype(key(Shape{}))> seen;
  for (Model model : models) {
    model.layers = std::min(model.layers, kLayers);
    std::vector<program::Program> programs;
    Plan plan;
    plan.model = model.name, plan.cluster = cluster.name;
    plan.batch.sequence = model.max_positions > 0 ? std::min(model.max_positions, kLongest) : kLongest;
    const auto add = [&](std::int64_t tp, std::int64_t ep, std::int64_t micro) {
      Cluster c = cluster;
      c.devices = std::max(tp, ep);
      plan.parallel.tp = tp, plan.parallel.ep = ep, plan.parallel.sp = tp > 1;
      plan.batch.micro = micro, plan.batch.global = micro * c.devices / tp;
      if (c.devices <= kNode && program::refusals(model, c, plan).empty()) programs.push_back(program::compile(model, c, plan));
    };
    if (model.moe) {
      add(1, kNode, 1);
    } else {
      for (const std::int64_t tp : {1, 2, 4, 8}) add(tp, 1, 1);
      add(1, 1, 2);
    }
    ProfileGrid own = grid_for(programs, settings_of(model, plan), kernels, kGpuFootprints);
    if (grid.operators.empty()) grid.settings = own.settings;
    for (OperatorItem& item : own.operators)
      if (seen.insert(key(item.shape)).second) grid.operators.push_back(std::move(item));
  }
  return grid;
}

}  // namespace orrery::profiler
