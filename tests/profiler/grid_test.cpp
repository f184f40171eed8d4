#include "profiler/grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "core/cluster_json.h"
#include "core/model_json.h"
#include "profiler/operands.h"
#include "program/compile.h"

namespace orrery::profiler {
namespace {

using program::Operator;
using program::Shape;

Shape shape(Operator op, std::array<std::int64_t, 9> dims) {
  Shape s;
  s.op = op;
  s.dims = dims;
  return s;
}

// A program of one role on tp = 4 that uses the given shapes once each, with the given counts of operands.
program::Program program_of(const std::vector<std::pair<Shape, std::uint8_t>>& used) {
  program::Program p;
  p.mesh = program::dense_mesh(4, 1, 1, 2);
  p.groups = {{program::mask(program::Axis::tp)}, {program::mask(program::Axis::pp)}};
  program::Role role;
  for (const auto& [s, operands] : used) {
    program::Instruction i;
    i.op = s.op;
    i.shape = static_cast<std::uint32_t>(p.shapes.size());
    i.access_count = operands;
    i.accesses = static_cast<std::uint32_t>(role.accesses.size());
    for (std::uint8_t k = 0; k < operands; ++k) {  // of one element, touched by nobody else
      role.accesses.push_back({static_cast<std::uint32_t>(role.buffers.size()), program::AccessMode::update});
      role.buffers.emplace_back();
      role.buffers.back().lifetime = program::Lifetime::persistent;
      role.buffers.back().elements = 1;
      role.buffers.back().bytes = 4;
    }
    p.shapes.push_back(s);
    role.instructions.push_back(i);
  }
  role.passes = {{"all", program::PassKind::forward, 0, 0, static_cast<std::uint32_t>(role.instructions.size())}};
  role.body = {{0, 0}};
  p.roles = {role};
  return p;
}

TEST(GridFor, HasEveryKernelsShapeOnceAndEveryCollective) {
  Shape reduce = shape(Operator::all_reduce, {100});
  reduce.group = 0;
  reduce.bytes = 400;
  Shape max = reduce;
  max.op = Operator::all_reduce_max;
  Shape send = shape(Operator::send, {50});
  send.group = 1;
  send.bytes = 200;
  Shape recv = send;
  recv.op = Operator::recv;
  const Shape linear = shape(Operator::linear_forward, {8, 16, 32}), tokens = shape(Operator::load_tokens, {8});
  Shape narrow = linear;
  narrow.dtype = DType::bf16;
  const std::vector programs{program_of({{linear, 3}, {reduce, 1}, {max, 1}, {send, 1}, {recv, 1}, {tokens, 1}, {narrow, 3}}),
                             program_of({{linear, 4}, {shape(Operator::norm_forward, {8, 16}), 4}})};
  const ProfileGrid grid = grid_for(programs, {});
  // bf16 has no CPU kernel; the linear's larger count of operands (with bias) stands for both uses. A few bytes are touched between two uses: the
  // least footprint stands for that.
  const std::vector<std::int64_t> near{kFootprints.front()};
  EXPECT_EQ(grid.operators, (std::vector<OperatorItem>{{linear, 4, near}, {tokens, 1, near}, {shape(Operator::norm_forward, {8, 16}), 4, near}}));
  // 4 ranks on tp; all_reduce_max is all_reduce; recv is its send, between two ranks.
  EXPECT_EQ(grid.collectives, (std::vector<CollectiveItem>{{Operator::all_reduce, 4, 400}, {Operator::send, 2, 200}}));
}

TEST(GridFor, AsksForTheFootprintsThatTheProgramsTouchesAreApart) {
  // 16 MiB are zeroed between two uses of some small buffers, and the other way round.
  program::Program p = program_of({{shape(Operator::copy, {8}), 2}, {shape(Operator::zero, {16 << 20}), 1}});
  p.roles[0].buffers.back().elements = 4 << 20;
  p.roles[0].buffers.back().bytes = 16 << 20;
  const ProfileGrid grid = grid_for(std::span(&p, 1), {});
  ASSERT_EQ(grid.operators.size(), 2U);
  EXPECT_EQ(grid.operators[0].footprints, std::vector<std::int64_t>{16 << 20});
  EXPECT_EQ(grid.operators[1].footprints, std::vector<std::int64_t>{16 << 20});
}

TEST(DefaultGrid, NamesEveryOperatorOfALlamaAndEachShapeOnce) {
  const ProfileGrid grid = default_grid();
  for (std::size_t i = 0; i < grid.operators.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(grid.operators[i].shape, grid.operators[j].shape);
  }
  const auto has = [&](Operator op) {
    return std::any_of(grid.operators.begin(), grid.operators.end(), [op](const OperatorItem& i) { return i.shape.op == op; });
  };
  const auto kernels = executor::make_cpu_kernels();
  for (std::size_t i = 0; i < program::kOperators; ++i) {
    const auto op = static_cast<Operator>(i);
    const bool shared_sequence = op >= Operator::attention_block_forward && op <= Operator::gather_columns;
    const bool not_llama = op == Operator::position_forward || op == Operator::position_backward || op == Operator::bias_grad || shared_sequence ||
                           op == Operator::linear_activation_forward || op == Operator::linear_activation_grad ||
                           (op >= Operator::split_columns && op <= Operator::expert_activation_backward);
    const bool load = op == Operator::load_tokens || op == Operator::load_targets;
    EXPECT_EQ(has(op), (kernels->has(shape(op, {})) && !not_llama) || load) << program::name(op);
  }
}

TEST(Operands, AreWhatTheAccessPatternAsksForAndKernelsStayFiniteOnThem) {
  // Every operator with every legal count of operands, called often enough for a value that grows without bound to show.
  const auto kernels = executor::make_cpu_kernels();
  ProfileGrid grid = default_grid();
  grid.operators = {{shape(Operator::position_forward, {8, 16}), 2},
                    {shape(Operator::position_backward, {8, 16}), 2},
                    {shape(Operator::bias_grad, {8, 16}), 2},
                    {shape(Operator::linear_forward, {8, 16, 4}), 4},
                    {shape(Operator::linear_weight_grad, {8, 16, 4}), 4},
                    {shape(Operator::residual_forward, {8, 16}), 3},
                    {shape(Operator::split_columns, {8, 3, 5}), 3},
                    {shape(Operator::join_columns, {8, 3, 5}), 3},
                    {shape(Operator::mla_pack_forward, {8, 2, 4, 2, 3}), 4},
                    {shape(Operator::mla_pack_backward, {8, 2, 4, 2, 3}), 4},
                    {shape(Operator::route_forward, {8, 6, 2, 3, 2, 0}), 3},
                    {shape(Operator::route_backward, {8, 6, 2, 3, 2, 0}), 4},
                    {shape(Operator::expert_sort, {8, 2, 6, 3, 2, 0}), 3},
                    {shape(Operator::expert_sort_received, {24, 4, 3}), 3},
                    {shape(Operator::expert_sort_gathered, {16, 2, 6, 3, 2, 0, 32}), 3},
                    {shape(Operator::expert_permute, {8, 2, 4, 16, 0}), 3},
                    {shape(Operator::expert_unpermute, {8, 2, 4, 16}), 3},
                    {shape(Operator::expert_linear_forward, {16, 2, 4, 6, 16}), 4},
                    {shape(Operator::expert_linear_input_grad, {16, 2, 4, 6, 16}), 4},
                    {shape(Operator::expert_linear_weight_grad, {16, 2, 4, 6, 16}), 4},
                    {shape(Operator::expert_activation_forward, {16, 6, 1, 2, 16}), 4},
                    {shape(Operator::expert_activation_backward, {16, 6, 1, 2, 16}), 6},
                    {shape(Operator::linear_forward, {8, 16, 4}), 3},
                    {shape(Operator::linear_input_grad, {8, 16, 4}), 3},
                    {shape(Operator::linear_weight_grad, {8, 16, 4}), 3},
                    {shape(Operator::residual_forward, {8, 16}), 2},
                    {shape(Operator::embedding_forward, {8, 16, 10}), 3},
                    {shape(Operator::embedding_backward, {8, 16, 10}), 3},
                    {shape(Operator::rope_forward, {8, 2, 1, 4}), 1},
                    {shape(Operator::rope_backward, {8, 2, 1, 4}), 1},
                    {shape(Operator::attention_forward, {2, 9, 4, 2, 4, 4, 1}), 3},
                    {shape(Operator::attention_backward, {2, 9, 4, 2, 4, 4, 1}), 5},
                    {shape(Operator::activation_forward, {8, 16, 1}), 2},
                    {shape(Operator::activation_backward, {8, 16, 0}), 3},
                    {shape(Operator::accumulate, {99}), 2},
                    {shape(Operator::copy, {99}), 2},
                    {shape(Operator::zero, {99}), 1},
                    {shape(Operator::cross_entropy_max, {8, 16}), 2},
                    {shape(Operator::cross_entropy_sum, {8, 16}), 4},
                    {shape(Operator::cross_entropy_grad, {8, 16}), 5},
                    {shape(Operator::gradient_norm, {99}), 2},
                    {shape(Operator::optimizer_step, {99}), 3},
                    {shape(Operator::optimizer_step, {99}), 4},
                    {shape(Operator::optimizer_step, {99}), 5},
                    {shape(Operator::optimizer_step, {99}), 6},
                    {shape(Operator::norm_forward, {8, 16}), 4},
                    {shape(Operator::norm_forward, {8, 16}), 5},
                    {shape(Operator::norm_backward, {8, 16}), 6},
                    {shape(Operator::norm_backward, {8, 16}), 7}};
  for (const OperatorItem& item : grid.operators) {
    executor::KernelSettings settings;
    const std::vector<Operand> operands = operands_of(item, settings);
    ASSERT_EQ(operands.size(), item.operands) << program::name(item.shape.op);
    Room room;
    OperandSets sets(operands, 0, 1, room);
    const executor::KernelSettings own = settings_for(item, settings);
    for (int i = 0; i < 300; ++i) kernels->run({item.shape, sets.next(), own});
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].fill == Fill::tokens || operands[i].fill == Fill::same || operands[i].bytes == 8) continue;
      for (std::int64_t k = 0; k < operands[i].bytes / 4; ++k) {
        float x = 0;
        std::memcpy(&x, static_cast<const char*>(sets.next()[i]) + 4 * k, 4);
        ASSERT_TRUE(x == 0 || std::isnormal(x)) << program::name(item.shape.op) << " operand " << i << " element " << k << " is " << x;
      }
    }
  }
}

TEST(Operands, AreOfTheTypesAndNoSmallerThanTheBuffersOfACompiledProgram) {
  // bf16 with fp32 gradients and optimizer states, and without masters: every operand that the compiler's buffers tell the type of.
  // In fp8 linears take quantised matrices, which have scales.
  struct Precision {
    const char* model;
    DType gradients;
    const char* recipe;
  };
  for (const auto& [name, gradients, recipe] : {Precision{"cpu-llama-tiny", DType::fp32, ""},
                                                {"cpu-llama-tiny", DType::bf16, ""},
                                                {"cpu-gpt-small", DType::fp32, ""},
                                                {"cpu-mixtral-tiny", DType::fp32, ""},
                                                {"cpu-deepseek-tiny", DType::bf16, ""},
                                                {"llama-3.2-1b", DType::fp32, "delayed"},
                                                {"llama-3.2-1b", DType::fp32, "current"},
                                                {"llama-3.2-1b", DType::fp32, "blockwise"}}) {
    const Model model = load_model(name);
    Plan plan;
    plan.precision.grads = gradients;
    if (*recipe) plan.precision.compute = DType::fp8, plan.precision.recipe = recipe;
    plan.batch.sequence = 256;
    Cluster cluster = load_cluster("dgx-h100:1");
    const auto refused = program::refusals(model, cluster, plan);
    ASSERT_TRUE(refused.empty()) << name << " " << recipe << ": " << (refused.empty() ? std::string() : refused.front().reason);
    const program::Program p = program::compile(model, cluster, plan);
    executor::KernelSettings settings = settings_of(model, plan);
    std::int64_t compared = 0;
    for (const program::Role& role : p.roles)
      for (const program::Instruction& in : role.instructions) {
        const Shape& s = p.shapes[in.shape];
        if (in.opcode != program::Opcode::compute || s.op == Operator::load_tokens || s.op == Operator::load_targets || s.op == Operator::wait)
          continue;
        const std::vector<Operand> operands = operands_of({s, in.access_count, {}}, settings);
        for (std::size_t i = 0; i < operands.size(); ++i) {
          const program::Buffer& b = role.buffers[role.accesses[in.accesses + i].buffer];
          EXPECT_EQ(operands[i].type, b.dtype) << name << " " << recipe << ": " << program::name(s.op) << " operand " << i;
          if (b.dtype == DType::fp8 && b.bytes > 0) {  // a view owns none
            EXPECT_LE(operands[i].bytes, b.bytes) << program::name(s.op);
          }
          ++compared;
        }
      }
    EXPECT_GT(compared, 100);
  }
}

TEST(GpuGrid, HasTheLayoutsOfEveryModelsProductsInBf16) {
  std::vector<Model> models;
  for (const std::string& name : grid_models()) models.push_back(load_model(name));
  class All final : public executor::KernelSet {
    bool has(const Shape& s) const override { return !program::is_communication(s.op) && s.op != Operator::wait; }
    void run(const executor::KernelContext&) const override {}
  };
  const ProfileGrid grid = gpu_grid(models, load_cluster("dgx-h200"), All{});
  const auto has = [&](Operator op, std::array<std::int64_t, 9> dims) {
    return std::any_of(grid.operators.begin(), grid.operators.end(),
                       [&](const OperatorItem& i) { return i.shape.op == op && i.shape.dtype == DType::bf16 && i.shape.dims == dims; });
  };
  // Llama 3.1 70B on 8: 4096 tokens, 8192 wide, 28672 / 8 columns of gate and of up; unsplit with two sequences; and the three layouts of it.
  for (const Operator op : {Operator::linear_forward, Operator::linear_input_grad, Operator::linear_weight_grad}) {
    EXPECT_TRUE(has(op, {4096, 8192, 2 * 28672 / 8})) << program::name(op);
    EXPECT_TRUE(has(op, {8192, 8192, 2 * 28672})) << program::name(op);
  }
  EXPECT_TRUE(has(Operator::attention_forward, {1, 4096, 8, 1, 128, 128, 1}));
  const auto operators = [&] {
    std::set<Operator> all;
    for (const OperatorItem& i : grid.operators) all.insert(i.shape.op);
    return all;
  }();
  for (const Operator op : {Operator::expert_linear_forward, Operator::route_backward, Operator::mla_pack_forward, Operator::optimizer_step,
                            Operator::gradient_norm, Operator::cross_entropy_grad, Operator::embedding_backward, Operator::load_tokens})
    EXPECT_TRUE(operators.count(op)) << program::name(op);
  EXPECT_EQ(grid.settings.parameters, DType::bf16);
  EXPECT_EQ(grid.settings.gradients, DType::fp32);
  EXPECT_GT(grid.operators.size(), 300U);
  EXPECT_LT(grid.operators.size(), 1500U);
}

TEST(Operands, SetsTakeTheirFootprintAndTurns) {
  // 3 operands of 256 B: 768 B a set; three sets come nearest to 2000 B
  const OperatorItem item{shape(Operator::linear_forward, {8, 8, 8}), 3, {}};
  Room room;
  OperandSets sets(operands_of(item, {}), 2000, 1, room);
  EXPECT_EQ(sets.bytes(), 3 * 768);
  EXPECT_EQ(OperandSets::bytes(operands_of(item, {}), 2000), 3 * 768);
  EXPECT_EQ(OperandSets::bytes(operands_of(item, {}), 1900), 2 * 768);
  EXPECT_EQ(OperandSets::bytes(operands_of(item, {}), 0), 768);
  const auto first = sets.next(), second = sets.next(), third = sets.next();
  EXPECT_NE(first, second);
  EXPECT_NE(second, third);
  EXPECT_EQ(sets.next(), first);
}

}  // namespace
}  // namespace orrery::profiler
