// Tensor parallelism that overlaps its collectives with the linears before and after them.
#include <gtest/gtest.h>

#include <map>

#include "program/builder.h"
#include "program/compile.h"
#include "program/flops.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

Plan plan(bool overlap) {
  Plan p = small_plan(4, 1, 1, 2);
  p.batch.sequence = 16, p.parallel.sp = true, p.overlap.tp = overlap;
  return p;
}
Program compiled(bool overlap) { return compile(small_llama(), small_cluster(plan(overlap)), plan(overlap)); }

// Elements that a rank sends to its tensor-parallel group in one layer of a pass.
std::int64_t sent(const Program& program, PassKind kind) {
  std::int64_t elements = 0;
  const Role& role = program.roles[0];
  for (const PassTemplate& pass : role.passes) {
    if (pass.kind != kind || pass.name.find("last micro-batch") != std::string::npos) continue;
    for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
      const Instruction& in = role.instructions[i];
      if (in.stream != kTp || in.layer != 1) continue;
      const std::int64_t whole = program.shapes[in.shape].dims[0];
      elements += in.op == Operator::rotate ? whole : whole * 3 / 4;
    }
  }
  return elements;
}

TEST(TensorOverlap, SendsAndComputesWhatIsSentAndComputedWithoutIt) {
  const Program with = compiled(true), without = compiled(false);
  // Two gathers and two sums of s·h forward; backward the same, and the inputs of both column-parallel linears gathered again: (t − 1)/t of each.
  constexpr std::int64_t kGathered = 16 * 16 * 3 / 4;
  EXPECT_EQ(sent(without, PassKind::forward), 4 * kGathered);
  EXPECT_EQ(sent(with, PassKind::forward), 4 * kGathered);
  EXPECT_EQ(sent(without, PassKind::backward), 6 * kGathered);
  EXPECT_EQ(sent(with, PassKind::backward), 6 * kGathered);
  EXPECT_DOUBLE_EQ(hardware_flops(with, small_llama(), FlopsConvention::causal_half).v,
                   hardware_flops(without, small_llama(), FlopsConvention::causal_half).v);
}

// The k-th block of rows waits for the k-th step of the ring and for none after it; a part's sum waits for that part alone.
TEST(TensorOverlap, LetsALinearBeginWithTheRowsThatAreThere) {
  const Program program = compiled(true);
  const Role& role = program.roles[0];
  const PassTemplate& pass = role.passes[0];
  ASSERT_EQ(pass.kind, PassKind::forward);
  std::vector<std::uint32_t> rotations, sums, parts;
  std::map<std::uint32_t, std::vector<std::uint32_t>> waits;
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t i = 0; i < pass.count; ++i) {
    const Instruction& in = role.instructions[pass.first + i];
    if (in.layer != 1) continue;
    for (std::uint32_t d = in.dependencies; d < in.dependencies + in.dependency_count; ++d)
      if (role.dependencies[d].kind == DependencyKind::local) waits[i].push_back(role.dependencies[d].index);
    if (in.op == Operator::rotate) rotations.push_back(i);
    if (in.op == Operator::reduce_scatter) sums.push_back(i);
    if (in.op == Operator::linear_forward) (program.shapes[in.shape].dims[0] == 4 ? blocks : parts).push_back(i);
  }
  // Two linears of four blocks each on gathered rows, and two of four parts each.
  ASSERT_EQ(rotations.size(), 6U);
  ASSERT_EQ(blocks.size(), 8U);
  ASSERT_EQ(sums.size(), 8U);
  ASSERT_EQ(parts.size(), 8U);
  for (std::size_t linear = 0; linear < 2; ++linear)
    for (std::size_t k = 0; k < 4; ++k)
      EXPECT_EQ(waits[blocks[4 * linear + k]], k == 0 ? std::vector<std::uint32_t>{} : std::vector<std::uint32_t>{rotations[3 * linear + k - 1]});
  for (std::size_t k = 0; k < 8; ++k) {
    ASSERT_EQ(waits[sums[k]].size(), k % 4 == 0 ? 0U : 1U);  // the first allocates, and so waits for all that was issued
    if (k % 4 > 0) {
      EXPECT_EQ(waits[sums[k]].front(), parts[k]);
    }
  }
}

}  // namespace
}  // namespace orrery::program
