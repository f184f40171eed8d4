// Mixtures of experts and latent attention beside what equivalence_test.cpp compares: gradients against the loss itself, forced balance, capacities.
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "core/error.h"
#include "program/loads.h"
#include "program/memory.h"
#include "run/runs.h"

namespace orrery::executor {
namespace {

// The same eight windows in every step.
class SameBatch final : public TokenSource {
 public:
  std::string description() const override { return "the same batch"; }
  std::int64_t vocabulary() const override { return 61; }
  void window(std::int64_t sample, std::span<std::int32_t> tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<std::int32_t>((static_cast<std::size_t>(sample % 8) * 7 + i * i * 3 + i) % 61);
  }
};

Plan descent(const Layout& l, double lr) {
  Plan p = plan_of(l);
  p.optimizer.kind = "sgd", p.optimizer.lr = lr, p.optimizer.clip = 0, p.optimizer.weight_decay = 0;
  return p;
}

RunResult steps(const Model& model, const Layout& l, const Plan& plan, std::int64_t n) {
  RunOptions o;
  o.steps = n;
  o.keep_parameters = o.poison = true;
  return run_layout(model, l, plan, SameBatch{}, o);
}

// To first order in the step the loss falls by lr · |g|², and no parameter has a gradient of zero.
TEST(Gradients, ASmallStepLowersTheLossByItsLengthTimesTheNorm) {
  for (const Model& model : {tiny_latent(12), tiny_latent(0), tiny_mixture(), tiny_deepseek()}) {
    const Layout even{.balanced = true};  // a router's choice is a jump
    const double lr = 1e-3;
    const RunResult r = steps(model, even, descent(even, lr), 2);
    const double expected = lr * r.steps[0].gradient_norm * r.steps[0].gradient_norm, fell = r.steps[0].loss - r.steps[1].loss;
    EXPECT_NEAR(fell / expected, 1, 0.03) << model.name << ": fell by " << fell << ", expected " << expected;
    // A step so large that the smallest gradient, of a gain of 1, does not vanish in it.
    const RunResult before = steps(model, even, descent(even, 0), 1), after = steps(model, even, descent(even, 100), 1);
    for (const auto& [name, values] : after.parameters) EXPECT_NE(values, before.parameters.at(name)) << model.name << " " << name;
  }
}

void expect_same_steps(const Model& model, const Layout& a, const Layout& b) {
  const RunResult x = steps(model, a, plan_of(a), 5), y = steps(model, b, plan_of(b), 5);
  for (std::size_t s = 0; s < x.steps.size(); ++s) {
    EXPECT_LE(relative(x.steps[s].loss, y.steps[s].loss), 1e-5) << name(b) << " step " << s;
    EXPECT_LE(relative(x.steps[s].gradient_norm, y.steps[s].gradient_norm), 1e-5) << name(b) << " step " << s;
  }
  EXPECT_EQ(y.replica_difference, 0);
}

TEST(Experts, ForcedBalanceIsThatOfTheWholeMicroBatchWhoeverHoldsItsRows) {
  for (const Layout& l : {Layout{.dp = 2, .ep = 2, .balanced = true}, Layout{.dp = 2, .tp = 2, .sp = true, .ep = 4, .balanced = true},
                          Layout{.tp = 2, .sp = true, .recompute = true, .micro = 2, .etp = 2, .balanced = true}})
    expect_same_steps(tiny_deepseek(), {.micro = l.micro, .balanced = true}, l);
}

struct Wide {
  const char* what;
  Layout layout;
  std::int64_t cp = 1;
  const char* kind = "allgather";
  const char* order = "tp-cp-ep-dp-pp";
};

// Routers choose by token alone, so that neither who holds a sequence's positions nor how the experts' ranks are folded into the others matters.
TEST(Experts, UnderContextParallelismAndFoldedComputeWhatOneRankComputes) {
  const Wide cases[]{
      {"context alone", {}, 2},
      {"experts on the ranks of a context", {.ep = 4}, 4, "p2p"},
      {"exchanged heads, experts over context and data", {.dp = 2, .ep = 4}, 2, "a2a"},
      {"gathered tokens of a context", {.dp = 2, .data = "gathered", .ep = 4}, 2},
      {"shards of experts across tp and cp", {.tp = 2, .sp = true, .ep = 2, .etp = 2}, 2},
      {"experts within tp, their copies over cp and dp", {.dp = 2, .tp = 2, .sp = true, .zero = 1, .ep = 2}, 2},
      {"other orders", {.dp = 2, .tp = 2, .sp = true, .ep = 2, .etp = 2}, 2, "allgather", "pp-dp-ep-cp-tp"},
      {"other orders, gathered", {.dp = 2, .tp = 2, .sp = true, .data = "gathered_robin", .ep = 2, .etp = 2}, 2, "p2p", "dp-ep-tp-cp-pp"}};
  for (const Model& model : {tiny_mixture(), tiny_deepseek()}) {
    const RunResult alone = steps(model, {}, plan_of({}), 5);
    for (const Wide& wide : cases) {
      SCOPED_TRACE(model.name + ": " + wide.what);
      Plan p = plan_of(wide.layout);
      p.parallel.cp = wide.cp, p.parallel.cp_kind = wide.kind, p.parallel.order = wide.order;
      const program::Program program = compiled(model, p, wide.layout.dp);
      RunOptions o;
      o.steps = 5, o.keep_parameters = o.poison = true;
      const RunResult r = run(program, model, p, SameBatch{}, o);
      for (std::size_t s = 0; s < alone.steps.size(); ++s) {
        EXPECT_LE(relative(alone.steps[s].loss, r.steps[s].loss), 1e-5) << "step " << s;
        EXPECT_LE(relative(alone.steps[s].gradient_norm, r.steps[s].gradient_norm), 1e-5) << "step " << s;
      }
      EXPECT_EQ(r.replica_difference, 0);
      for (std::int64_t rank = 0; rank < program.mesh.ranks(); ++rank) {
        const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
        EXPECT_EQ(r.memory[static_cast<std::size_t>(rank)].peak_live, predicted.peak_live);
        EXPECT_EQ(r.memory[static_cast<std::size_t>(rank)].arena, predicted.arena);
      }
    }
  }
}

// A map moves experts among ranks, and with them their parameters.
TEST(Experts, MappedToRanksByAListComputeTheSame) {
  const Layout l{.dp = 4, .zero = 1, .ep = 4};
  Plan p = plan_of(l);
  p.moe.expert_map = "places:* 3 0 1 2 1 0 2 3; 2 0 0 3 3 1 1 2 2";
  const RunResult alone = steps(tiny_mixture(), {}, plan_of({}), 5), mapped = steps(tiny_mixture(), l, p, 5);
  for (std::size_t s = 0; s < alone.steps.size(); ++s) EXPECT_LE(relative(alone.steps[s].loss, mapped.steps[s].loss), 1e-5) << "step " << s;
  EXPECT_EQ(mapped.replica_difference, 0);
  ASSERT_EQ(mapped.parameters.size(), alone.parameters.size());
  for (const auto& [name, values] : mapped.parameters)
    for (const float v : values) ASSERT_FALSE(std::isnan(v)) << name;  // every expert is on some rank
}

// --- Recorded routing ----------------------------------------------------------------------------------------------------------------------------

// Shapes of the experts' up projections in the forward pass, by layer: the rows of the rank that others wait for.
std::map<std::int64_t, std::int64_t> busiest_of(const program::Program& program, std::int64_t up) {
  std::map<std::int64_t, std::int64_t> out;
  for (const program::Role& role : program.roles)
    for (const program::Instruction& in : role.instructions) {
      const program::Shape& shape = program.shapes[in.load == program::kNone ? in.shape : program.loads[in.load].shapes.front()];
      if (in.op == program::Operator::expert_linear_forward && shape.dims[3] == up) out[in.layer] = shape.dims[0];
    }
  return out;
}

TEST(Routing, RecordedAndReplayedGivesItsMemoryToTheByteAndItsBusiestRank) {
  const std::int64_t ep = 2, etp = 2, tokens = 4 * 16 / 2;  // of the four ranks that share experts: tp halves the 16 rows of each of 2 sequences
  const Layout l{.dp = 2, .tp = 2, .sp = true, .ep = ep, .etp = etp};
  for (const bool gathered : {false, true}) {
    const Model model = tiny_mixture();
    Plan p = plan_of(l);
    if (gathered) p.runtime.moe_dispatcher = "allgather";
    RunOptions o;
    o.steps = 3, o.poison = true;
    const RunResult learned = run(compiled(model, p, l.dp), model, p, SameBatch{}, o);
    // A line for each layer, step and micro-batch: 4 · 3 · 4, of one group of four ranks. Each counts all copies.
    ASSERT_EQ(learned.expert_load.size(), 48U);
    std::map<std::int64_t, std::pair<double, double>> rows;  // by layer: sum and maximum of the busiest rank's
    for (const program::LayerLine& line : learned.expert_load) {
      EXPECT_EQ(std::accumulate(line.numbers.begin(), line.numbers.end(), 0.0), static_cast<double>(tokens * 2));
      const double first = line.numbers[0] + line.numbers[1] + line.numbers[2] + line.numbers[3];
      const double busiest = std::max(first, static_cast<double>(tokens * 2) - first);
      rows[line.layer].first += busiest, rows[line.layer].second = std::max(rows[line.layer].second, busiest);
    }

    Plan replay = p;
    replay.moe.load = "counts:" + program::write_expert_load(learned.expert_load), replay.moe.room = "load";
    const program::Program program = compiled(model, replay, l.dp);
    std::int64_t most = 0;
    for (const auto& [layer, busiest] : busiest_of(program, model.moe->intermediate * 2 / etp)) {
      EXPECT_EQ(busiest, std::lround(rows[layer].first / 12)) << "layer " << layer;
      most = std::max(most, static_cast<std::int64_t>(rows[layer].second));
    }
    EXPECT_LT(most, tokens * 2);  // what there is room for otherwise
    const std::vector<program::Buffer>& buffers = program.roles[0].buffers;
    const auto weights = std::find_if(buffers.begin(), buffers.end(), [](const program::Buffer& b) { return b.name == "experts.weights"; });
    ASSERT_NE(weights, buffers.end());
    EXPECT_EQ(weights->elements, most);
    const RunResult again = run(program, model, replay, SameBatch{}, o);
    for (std::size_t s = 0; s < again.steps.size(); ++s) EXPECT_EQ(again.steps[s].loss, learned.steps[s].loss) << "step " << s;
    EXPECT_EQ(again.expert_load, learned.expert_load);
    for (std::int64_t rank = 0; rank < program.mesh.ranks(); ++rank) {
      const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
      const RankMemory& measured = again.memory[static_cast<std::size_t>(rank)];
      EXPECT_EQ(measured.peak_live, predicted.peak_live);
      EXPECT_EQ(measured.arena, predicted.arena);
      EXPECT_LT(measured.peak_live, learned.memory[static_cast<std::size_t>(rank)].peak_live);
    }

    // Another seed routes otherwise, and what was recorded has no room for that.
    Plan other = replay;
    other.moe.load = "counts:* 1 1 1 1 1 1 1 1";  // a perfect balance
    try {
      run(compiled(model, other, l.dp), model, other, SameBatch{}, o);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.message()).find("room for 32"), std::string::npos) << e.message();
      EXPECT_NE(std::string(e.message()).find("moe.room 'all'"), std::string::npos) << e.message();
    }
  }
}

// Each rank's tokens fill capacities of their own, so what is dropped does not depend on where the experts are.
TEST(Experts, CapacitiesDropTheSameTokensWhereverTheExpertsAre) {
  const Layout together{.dp = 2, .capacity = 0.75};
  expect_same_steps(tiny_mixture(), together, {.dp = 2, .ep = 2, .capacity = 0.75});
  expect_same_steps(tiny_mixture(), together, {.dp = 2, .data = "gathered", .ep = 2, .capacity = 0.75});
  const RunResult some = steps(tiny_mixture(), together, plan_of(together), 1), all = steps(tiny_mixture(), {.dp = 2}, plan_of({.dp = 2}), 1);
  EXPECT_NE(some.steps[0].loss, all.steps[0].loss);
}

}  // namespace
}  // namespace orrery::executor
