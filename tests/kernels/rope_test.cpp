#include <gtest/gtest.h>

#include "support/reference_kernels.h"
#include "support/rope_definitions.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;
using Kind = RopeScaling::Kind;

struct Rope {
  std::string name;
  std::int64_t tokens, q_heads, kv_heads, dim, first, micro;
  double theta, fraction;
  RopeScaling scaling;
  Doubles angles;  // the published ones
  double amplitude = 1;

  std::int64_t size() const { return tokens * (q_heads + 2 * kv_heads) * dim; }
  void call(Operator op, Floats& qkv) const {
    executor::KernelSettings s;
    s.rope_theta = theta;
    s.rope_fraction = fraction;
    s.rope_scaling = scaling;
    s.micro_batch = micro;
    Call{op, {tokens, q_heads, kv_heads, dim}, s, first}(qkv);
  }
  Doubles expected(const Doubles& qkv) const { return rope(qkv, q_heads, kv_heads, dim, first, micro, angles, amplitude); }
};

std::vector<Rope> ropes() {
  const RopeScaling linear{.kind = Kind::linear, .factor = 2.5};
  const RopeScaling llama3{.kind = Kind::llama3, .factor = 8, .original_positions = 64, .low_turns = 1, .high_turns = 4};
  const RopeScaling yarn{
      .kind = Kind::yarn, .factor = 4, .original_positions = 256, .low_turns = 1, .high_turns = 8, .attention_factor = 1.25, .whole_pairs = false};
  return {{"plain", 6, 2, 1, 8, 0, 2, 10000, 1, {}, plain_angles(10000, 8)},
          {"one pair", 5, 1, 1, 2, 3, 1, 500000, 1, {}, plain_angles(500000, 2)},
          {"a quarter", 4, 3, 3, 16, 100, 4, 10000, 0.25, {}, plain_angles(10000, 4)},
          {"far away", 300, 1, 1, 160, 4000, 1, 10000, 1, {}, plain_angles(10000, 160)},
          {"wide", 3, 1, 1, 1024, 9, 1, 10000, 1, {}, plain_angles(10000, 1024)},
          {"linear", 6, 2, 1, 8, 7, 2, 10000, 1, linear, linear_angles(10000, 8, 2.5)},
          {"llama3", 6, 2, 2, 16, 50, 1, 10000, 1, llama3, llama3_angles(10000, 16, 8, 1, 4, 64)},
          {"yarn", 6, 1, 1, 16, 90, 2, 10000, 1, yarn, yarn_angles(10000, 16, 4, 1, 8, 256, false), 1.25},
          {"half of llama3", 5, 2, 1, 16, 50, 1, 10000, 0.5, llama3, llama3_angles(10000, 8, 8, 1, 4, 64)}};
}

TEST(KernelRope, RotatesQueriesAndKeysByPositionAndLeavesValues) {
  for (const Rope& r : ropes()) {
    const Floats before = random_floats(r.size(), 1);
    Floats qkv = before;
    r.call(Operator::rope_forward, qkv);
    EXPECT_TRUE(close(qkv, r.expected(wide(before)), 1e-6)) << r.name;
  }
}

TEST(KernelRope, BackwardIsTheGradientOfFiniteDifferences) {
  for (const Rope& r : ropes()) {
    if (r.dim > 100) continue;  // hundreds of thousands of evaluations
    const Floats x = random_floats(r.size(), 1), dy = random_floats(r.size(), 2);
    Floats dx = dy;
    r.call(Operator::rope_backward, dx);
    EXPECT_TRUE(close(dx, gradient([&](const Doubles& a) { return weighted_sum(r.expected(a), dy); }, wide(x)))) << r.name;
  }
}

}  // namespace
}  // namespace orrery
