// Programs from the compiler, priced from the datasheet: what must hold whatever the figures are.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/model_json.h"
#include "program/compile.h"
#include "program/memory.h"
#include "sim/simulate.h"
#include "support/segmented_plans.h"

namespace orrery::sim {
namespace {

struct Compiled {
  Cluster cluster;
  program::Program program;
  cost::Table cost;

  explicit Compiled(const Plan& plan) : cluster(load_cluster(plan.cluster)) {
    program = program::compile(load_model(plan.model), cluster, plan);
    cost = cost::price(program, cluster, nullptr);
  }
  Result run(const Options& options = {}) const { return simulate(program, cost, cluster, options); }
  // One for each stage, and on the axes on which a load differs one for each place.
  std::size_t unlike_ranks() const {
    return static_cast<std::size_t>(program.mesh.extent(program::kPpAxis) * program.mesh.extent(program.loaded_axes()));
  }
};

Plan plan(const std::string& cluster, std::int64_t tp, std::int64_t pp, std::int64_t global, const std::string& schedule = "1f1b") {
  Plan p;
  p.model = "cpu-llama-tiny";
  p.cluster = cluster;
  p.parallel.tp = tp;
  p.parallel.sp = tp > 1;
  p.parallel.pp = pp;
  p.batch = {.global = global, .micro = 1, .sequence = 128};
  p.precision.compute = p.precision.params = DType::fp32;
  p.schedule = schedule;
  return p;
}

std::vector<Plan> plans() {
  std::vector<Plan> out;
  for (const char* cluster : {"dgx-h100:8", "this-machine:8"})
    for (const char* schedule : {"gpipe", "1f1b"})
      for (const auto& [tp, pp] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}, {1, 4}}) out.push_back(plan(cluster, tp, pp, 16, schedule));
  for (const char* cluster : {"dgx-h100:8", "this-machine:8"}) {
    out.push_back(plan(cluster, 2, 2, 8));
    out.back().recompute.kind = "full";
    out.push_back(plan(cluster, 1, 2, 8));
    out.back().sharding.zero = 1;
    for (const char* kind : {"allgather", "p2p", "a2a"})
      for (const bool balanced : {true, false}) {
        out.push_back(plan(cluster, 1, 2, 8));
        out.back().parallel.cp = 2, out.back().parallel.cp_kind = kind, out.back().parallel.cp_balanced = balanced;
      }
    out.push_back(plan(cluster, 1, 2, 8, "seq1f1b"));
    for (const char* dispatcher : {"alltoall", "allgather"}) {  // experts folded into tp 2 x cp 2 x dp 2
      out.push_back(plan(cluster, 2, 1, 4));
      Plan& p = out.back();
      p.model = "cpu-mixtral-tiny", p.parallel.cp = 2, p.parallel.ep = 2, p.parallel.etp = 2;
      p.runtime.moe_balanced = false, p.runtime.moe_dispatcher = dispatcher, p.moe.load = "zipf:1", p.moe.expert_map = "round-robin";
    }
  }
  return out;
}

// With consecutive chunks the last rank of n attends to (2n − 1)/n times the average, and the others wait for it.
TEST(ContextParallel, TakesAsLongAsItsBusiestRank) {
  for (const char* kind : {"allgather", "p2p"}) {
    Plan p = plan("dgx-h100:8", 1, 1, 1);
    p.model = "llama-3-8b", p.batch.sequence = 65536, p.precision.compute = p.precision.params = DType::bf16;
    p.parallel.cp = 8, p.parallel.cp_kind = kind;
    const double balanced = to_seconds(Compiled{p}.run().step).v;
    p.parallel.cp_balanced = false;
    const Compiled c{p};
    const Result uneven = c.run();
    EXPECT_GT(to_seconds(uneven.step).v, 1.2 * balanced) << kind;
    EXPECT_EQ(uneven.step, c.run({.unfold = true}).step) << kind;
  }
}

// A ring hides what it sends behind attention where attention takes longer.
TEST(ContextParallel, ARingHidesItsMessagesInALongSequence) {
  Plan p = plan("dgx-h100:8", 1, 1, 1);
  p.model = "llama-3-8b", p.batch.sequence = 65536, p.precision.compute = p.precision.params = DType::bf16;
  p.parallel.cp = 8, p.parallel.cp_kind = "p2p";
  const Seconds ring = to_seconds(Compiled{p}.run().waterfall.exposed_cp);
  p.parallel.cp_kind = "allgather";
  EXPECT_LT(ring.v, 0.5 * to_seconds(Compiled{p}.run().waterfall.exposed_cp).v);
}

// PyTorch's asynchronous tensor parallelism: 597 to 652 tokens/s on Llama 3 70B, 1.09 times, of which most hides what was exposed before.
TEST(TensorOverlap, HidesCollectivesBehindLinears) {
  Plan p = plan("dgx-h100:8", 8, 1, 1);
  p.model = "llama-3-70b", p.batch.sequence = 8192, p.precision.compute = p.precision.params = DType::bf16;
  const Result without = Compiled{p}.run();
  p.overlap.tp = true;
  const Result with = Compiled{p}.run();
  EXPECT_LT(to_seconds(with.waterfall.exposed_tp).v, 0.7 * to_seconds(without.waterfall.exposed_tp).v);
  EXPECT_LT(with.step, without.step);
}

// Of 8 experts and 2 for each token, however the ranks that share them are folded into the others: each rank's rows, counted rank by rank.
TEST(ExpertParallel, TakesAsLongAsItsBusiestRankHoweverItIsFolded) {
  const std::vector<std::int64_t> shares{7, 1, 1, 3, 2, 1, 1, 0};  // of 16 copies
  struct Folded {
    std::int64_t tp, cp, ep, etp;
  };
  for (const Folded& f : {Folded{1, 1, 8, 1}, {1, 1, 4, 2}, {2, 1, 4, 1}, {2, 2, 2, 2}, {1, 4, 2, 1}, {2, 1, 2, 4}})
    for (const char* dispatcher : {"alltoall", "allgather"})
      for (const bool in_turn : {false, true}) {
        Plan p = plan("dgx-h100:8", f.tp, 1, 8);
        p.model = "cpu-mixtral-tiny", p.parallel.cp = f.cp, p.parallel.ep = f.ep, p.parallel.etp = f.etp;
        p.runtime.moe_balanced = false, p.runtime.moe_dispatcher = dispatcher, p.moe.expert_map = in_turn ? "round-robin" : "linear";
        const Picoseconds even = Compiled{p}.run().step;
        p.moe.load = "counts:*";
        for (const std::int64_t n : shares) p.moe.load += " " + std::to_string(n);
        const Compiled c{p};
        const std::int64_t copies = 2 * f.ep * f.etp * 128 / (f.tp * f.cp);  // of the ranks that share the experts, each with its rows of 128
        std::int64_t busiest = 0;
        for (std::int64_t rank = 0; rank < 8; ++rank) {
          std::int64_t rows = 0;
          const std::int64_t place = rank / f.etp % f.ep;
          for (std::int64_t e = 0; e < 8; ++e)
            if ((in_turn ? e % f.ep : e / (8 / f.ep)) == place) rows += shares[static_cast<std::size_t>(e)] * copies / 16;
          busiest = std::max(busiest, rows);
        }
        for (const program::Instruction& in : c.program.roles[0].instructions) {
          if (in.op != program::Operator::expert_linear_forward) continue;
          const bool average = in.load == program::kNone;
          EXPECT_EQ(c.program.shapes[average ? in.shape : c.program.loads[in.load].shapes.front()].dims[0], busiest);
          EXPECT_EQ(c.program.shapes[in.shape].dims[4], busiest);  // and memory holds them
        }
        const Result folded = c.run(), unfolded = c.run({.unfold = true});
        EXPECT_EQ(folded.step, unfolded.step);
        EXPECT_EQ(folded.trace_hash, unfolded.trace_hash);
        EXPECT_GE(folded.step, even);
      }
}

TEST(CompiledPrograms, AreTheSameFoldedAndUnfolded) {
  for (const Plan& p : plans()) {
    const Compiled c{p};
    const Result folded = c.run(), unfolded = c.run({.unfold = true, .shuffle = 7});
    EXPECT_TRUE(folded.steady);
    EXPECT_EQ(folded.step, unfolded.step);
    EXPECT_EQ(folded.makespan, unfolded.makespan);
    EXPECT_EQ(folded.trace_hash, unfolded.trace_hash);
    EXPECT_EQ(folded.waterfall, unfolded.waterfall);
    EXPECT_EQ(folded.critical_path, unfolded.critical_path);
    EXPECT_EQ(folded.simulated_ranks.size(), c.unlike_ranks());
    EXPECT_EQ(unfolded.simulated_ranks.size(), 8U);
    const auto parts = folded.waterfall.parts();
    EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), Picoseconds{}), folded.step);
  }
}

Plan in_segments(const std::string& cluster, const std::vector<test::Split>& splits) {
  Plan p = plan(cluster, 1, 1, 16);
  p.batch.micro = 2;
  test::divide(p, load_model(p.model), splits);
  return p;
}

// At a boundary ranks of one stage wait for unlike peers, one after the other. What is left to fold: with dp 2 and 2 (or 4) one of two replicas, with
// tp 4 and 2 one of two shards, unless ranks of tp that have all rows deal them out to more.
TEST(Segments, AreTheSameFoldedAndUnfolded) {
  const std::pair<std::vector<test::Split>, std::size_t> cases[]{
      {{{.tp = 4, .sp = true}, {.dp = 2, .tp = 2, .sp = true}}, 4},  // 2 of 4 shards, and of each of 2 replicas one of 2 shards
      {{{.tp = 4, .sp = true}, {.dp = 2, .tp = 2}}, 8},
      {{{.dp = 2, .tp = 2, .sp = true}, {.dp = 4}}, 4},  // 2 shards of one replica, and 2 of 4 replicas
      {{{.tp = 2}, {.tp = 4}, {.dp = 2}}, 8},
      {{{.dp = 2, .tp = 2, .sp = true}, {.dp = 2, .tp = 2}}, 2},
      {{{.dp = 2, .pp = 2}, {.dp = 2, .tp = 2, .sp = true}}, 4},
      {{{.dp = 4}, {.dp = 2}, {.dp = 2}}, 4}};
  for (const char* cluster : {"dgx-h100:8", "this-machine:8"})
    for (const auto& [splits, simulated] : cases)
      for (const std::int64_t zero : {0, 1}) {
        Plan p = in_segments(cluster, splits);
        p.sharding.zero = zero, p.parallel.sp = false;
        const Compiled c{p};
        const Result folded = c.run(), unfolded = c.run({.unfold = true, .shuffle = 7});
        EXPECT_TRUE(folded.steady);
        EXPECT_EQ(folded.simulated_ranks.size(), simulated);
        EXPECT_EQ(unfolded.simulated_ranks.size(), 8U);
        EXPECT_EQ(std::accumulate(folded.weights.begin(), folded.weights.end(), std::int64_t{0}), 8);
        EXPECT_EQ(folded.step, unfolded.step);
        EXPECT_EQ(folded.makespan, unfolded.makespan);
        EXPECT_EQ(folded.trace_hash, unfolded.trace_hash);
        EXPECT_EQ(folded.waterfall, unfolded.waterfall);
        EXPECT_EQ(folded.critical_path, unfolded.critical_path);
      }
}

RC_GTEST_PROP(Segments, OfEveryLegalPlanAreTheSameFoldedAndUnfolded, ()) {
  const auto pick = [](const std::vector<std::int64_t>& values) { return values[*rc::gen::inRange<std::size_t>(0, values.size())]; };
  Plan p = plan("dgx-h100:16", 1, 1, 1, *rc::gen::element<std::string>("gpipe", "1f1b", "zb-h1"));
  Model model = load_model(p.model);
  model.layers = 9;
  const std::vector<test::Split> splits = test::draw_splits(16, pick);
  Cluster cluster = load_cluster(p.cluster);
  cluster.devices = test::divide(p, model, splits);
  cluster.node_size = pick({4, 8});
  p.batch.micro = pick({1, 2, 4}), p.batch.global = p.batch.micro * splits.front().dp * pick({1, 3, 6});
  p.sharding.zero = pick({0, 1, 3}), p.data_parallel.hierarchical = p.sharding.zero == 0 && pick({0, 1}) == 1;
  RC_PRE(program::refusals(model, cluster, p).empty());
  const program::Program program = program::compile(model, cluster, p);
  const cost::Table cost = cost::price(program, cluster, nullptr);
  const Result folded = simulate(program, cost, cluster, {}), unfolded = simulate(program, cost, cluster, {.unfold = true, .shuffle = 7});
  RC_ASSERT(folded.step == unfolded.step);
  RC_ASSERT(folded.trace_hash == unfolded.trace_hash);
  RC_ASSERT(folded.waterfall == unfolded.waterfall);
}

TEST(Segments, HaveAnArrowForEachMessage) {
  for (const char* cluster : {"dgx-h100:8", "this-machine:8"}) {
    const Compiled c{in_segments(cluster, {{.tp = 4, .sp = true}, {.dp = 2, .tp = 2}})};
    const Result r = c.run({.unfold = true, .record = true});
    const auto parts = r.waterfall.parts();
    EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), Picoseconds{}), r.step);
    // 8 micro-batches (of 16 sequences, 2 at once), forward and backward; tp 4 against tp 2 x dp 2: 2 messages each way on each of the four ranks.
    ASSERT_EQ(r.timeline->ranks.at(6), "pp1 dp1 tp0");
    EXPECT_EQ(r.timeline->flows.size(), 8U * 2U * 8U);
    for (const Flow& f : r.timeline->flows) {
      const Span &from = r.timeline->spans[f.from], &to = r.timeline->spans[f.to];
      EXPECT_EQ(from.end, to.end);
      EXPECT_EQ(from.microbatch, to.microbatch);
      EXPECT_NE(from.rank / 4, to.rank / 4);
    }
  }
}

// The same halves of the devices: a boundary moves as much as a pipeline between equal stages does, and no step gets faster for being cut unlike.
TEST(Segments, WithinANodeCostAboutWhatEqualStagesDo) {
  Plan plain = plan("dgx-h100:8", 2, 2, 32);
  const double equal = to_seconds(Compiled{plain}.run().step).v;
  Plan alike = plan("dgx-h100:8", 1, 1, 32);
  const test::Split half{.dp = 2, .tp = 2, .sp = true};
  test::divide(alike, load_model(alike.model), {half, half});
  EXPECT_NEAR(to_seconds(Compiled{alike}.run().step).v, equal, 0.01 * equal);
}

TEST(CompiledPrograms, OnAnAbsurdlySlowDeviceAreRefusedInOneLine) {
  Compiled c{plan("dgx-h100:8", 1, 1, 16)};
  for (const double peak : {1.0, 1e-300}) {  // operations per second; a step here has about 1e9
    for (auto& [type, rate] : c.cluster.device.peak) rate = FlopsPerSecond{peak};
    c.cost = cost::price(c.program, c.cluster, nullptr);
    try {
      c.run();
      ADD_FAILURE() << "no error at " << peak;
    } catch (const Error& e) {
      EXPECT_EQ(e.message(), "a step could take longer than simulated time can count (100 days for all simulated periods)");
    }
  }
}

TEST(CompiledPrograms, HaveInTheTimelineThePeakThatTheProgramHas) {
  for (const Plan& p : plans()) {
    const Compiled c{p};
    const Timeline timeline = *c.run({.record = true}).timeline;
    std::map<std::uint32_t, std::int64_t> peak;
    for (const MemorySample& s : timeline.memory) peak[s.rank] = std::max(peak[s.rank], s.bytes);
    for (const auto& [rank, bytes] : peak) EXPECT_EQ(bytes, program::memory(c.program, c.program.role_of(rank)).peak_live);
    EXPECT_EQ(peak.size(), c.unlike_ranks());
  }
}

TEST(CompiledPrograms, HaveASpanPerInstructionAndAnArrowPerMessage) {
  const Compiled c{plan("dgx-h100:8", 2, 4, 8)};
  const Timeline timeline = *c.run({.record = true}).timeline;
  std::size_t instructions = 0, messages = 0;
  for (const program::Role& role : c.program.roles)
    for (const program::PassInstance& p : role.body)
      for (std::uint32_t i = 0; i < role.passes[p.pass].count; ++i) {
        ++instructions;
        messages += role.instructions[role.passes[p.pass].first + i].opcode == program::Opcode::send ? 1 : 0;
      }
  EXPECT_EQ(timeline.spans.size(), instructions);
  EXPECT_EQ(timeline.flows.size(), messages);
  EXPECT_GT(messages, 0U);
  for (const Flow& f : timeline.flows) {
    EXPECT_EQ(timeline.kinds[timeline.spans[f.from].kind].name, "send");
    EXPECT_EQ(timeline.kinds[timeline.spans[f.to].kind].name, "recv");
    EXPECT_EQ(timeline.spans[f.from].end, timeline.spans[f.to].end);
    EXPECT_EQ(timeline.spans[f.from].microbatch, timeline.spans[f.to].microbatch);
  }
}

TEST(CompiledPrograms, RunNoStreamTwiceAtOnce) {
  for (const Plan& p : plans()) {
    const Timeline timeline = *Compiled{p}.run({.record = true}).timeline;
    for (std::size_t i = 1; i < timeline.spans.size(); ++i) {
      const Span &before = timeline.spans[i - 1], &now = timeline.spans[i];
      if (before.rank == now.rank && before.stream == now.stream) {
        EXPECT_LE(before.end, now.start);
      }
    }
  }
}

}  // namespace
}  // namespace orrery::sim
