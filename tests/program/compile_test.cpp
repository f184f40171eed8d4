#include "program/compile.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

Program compiled(const Model& m, const Plan& p, std::int64_t dp = 1) { return compile(m, small_cluster(p, dp), p); }

std::int64_t count(const Program& program, const Role& role, const std::string& pass, Operator op) {
  for (const PassTemplate& t : role.passes)
    if (t.name == pass) {
      const auto first = role.instructions.begin() + t.first;
      return std::count_if(first, first + t.count, [&](const Instruction& i) { return program.shapes[i.shape].op == op && i.op == op; });
    }
  return -1;
}

TEST(Compile, OneRankRunsForwardBackwardAndOptimizerOnceEach) {
  const Program p = compiled(small_llama(2), small_plan(1, 1, 1, 1));
  ASSERT_EQ(p.roles.size(), 1U);
  const Role& role = p.roles[0];
  ASSERT_EQ(role.body.size(), 3U);
  EXPECT_EQ(role.passes[role.body[0].pass].kind, PassKind::forward);
  EXPECT_EQ(role.passes[role.body[1].pass].kind, PassKind::backward);
  EXPECT_EQ(role.passes[role.body[2].pass].kind, PassKind::optimizer);
  // 4 linears per layer and the head: 2 x 4 + 1, and each has two backward halves.
  EXPECT_EQ(count(p, role, "forward", Operator::linear_forward), 9);
  EXPECT_EQ(count(p, role, "backward", Operator::linear_input_grad), 9);
  EXPECT_EQ(count(p, role, "backward", Operator::linear_weight_grad), 9);
  EXPECT_TRUE(std::none_of(role.instructions.begin(), role.instructions.end(), [](const Instruction& i) { return i.stream != kComputeStream; }));
}

TEST(Compile, ABubbleOfOneForwardOneBackwardIsPMinusOneOverMPlusPMinusOne) {
  // p = 4, m = 4: 3 / 7
  EXPECT_DOUBLE_EQ(compiled(small_llama(), small_plan(1, 4, 1, 4)).bubble_fraction, 3.0 / 7);
}

TEST(Compile, AnIllegalPlanThrowsItsFirstRefusal) { EXPECT_THROW(compiled(small_llama(), small_plan(3)), Error); }

}  // namespace
}  // namespace orrery::program
