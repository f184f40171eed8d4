// What ranks that share sequences send each other, and what they compute, against closed forms.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program/builder.h"
#include "program/compile.h"
#include "program/flops.h"
#include "program/memory.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

constexpr std::int64_t kSequence = 32, kMicro = 2;

Plan plan(std::int64_t cp, const std::string& kind, std::int64_t inner = 1) {
  Plan p = small_plan(1, 1, 1, 4);
  p.batch.micro = kMicro, p.batch.global = 2 * kMicro, p.batch.sequence = kSequence;
  p.parallel.cp = cp, p.parallel.cp_kind = kind;
  if (kind == "a2a+p2p") p.parallel.cp_inner = inner;
  return p;
}

// Elements that a rank sends on the context's stream in one pass of one layer: rings for gathering and scattering, everything but the own part for
// all-to-all.
std::int64_t sent(const Program& program, PassKind kind, std::uint16_t layer) {
  std::int64_t elements = 0;
  const Role& role = program.roles[0];
  for (const PassTemplate& pass : role.passes) {
    if (pass.kind != kind || pass.name.find("last micro-batch") != std::string::npos) continue;
    for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
      const Instruction& in = role.instructions[i];
      if (in.stream != kCp || in.layer != layer) continue;
      const std::int64_t n = group_size(program.mesh, program.groups[in.group]), whole = program.shapes[in.shape].dims[0];
      elements += in.op == Operator::rotate ? whole : whole * (n - 1) / n;
    }
  }
  return elements;
}

struct Volume {
  std::int64_t forward, backward;
  bool operator==(const Volume&) const = default;
};
void PrintTo(const Volume& v, std::ostream* out) { *out << v.forward << " forward, " << v.backward << " backward"; }
Volume volume(const Model& m, const Plan& p) {
  const Program program = compile(m, small_cluster(p), p);
  return {sent(program, PassKind::forward, 1), sent(program, PassKind::backward, 1)};
}

// s·b tokens; keys and values of 4 heads of 2, queries of 8.
constexpr std::int64_t kTokens = kSequence * kMicro, kKv = 2 * 4 * 2, kQ = 8 * 2;

TEST(ContextParallel, GatheringSendsAShareOfTheKeysToEveryOtherAndScattersTheirGradients) {
  for (const std::int64_t n : {2, 4, 8})
    EXPECT_EQ(volume(small_llama(), plan(n, "allgather")), (Volume{kTokens * kKv * (n - 1) / n, kTokens * kKv * (n - 1) / n}));
}

TEST(ContextParallel, ARingPassesBlocksOnOnceForwardAndWithTheirGradientsBackward) {
  // 2 · (s/P) · b · h_kv, P − 1 times; backward the same again, and as much of gradients.
  for (const std::int64_t n : {2, 4, 8})
    EXPECT_EQ(volume(small_llama(), plan(n, "p2p")), (Volume{kTokens / n * kKv * (n - 1), 2 * kTokens / n * kKv * (n - 1)}));
}

TEST(ContextParallel, ExchangingHeadsSendsQueriesKeysValuesAndResults) {
  // (3 s h / P + s h / P) · (P − 1) / P where keys have as many heads as queries, in each direction.
  for (const std::int64_t n : {2, 4, 8}) {
    const std::int64_t h = 8 * 2, each = 4 * kTokens * h / n * (n - 1) / n;
    EXPECT_EQ(volume(small_gpt2(), plan(n, "a2a")), (Volume{each, each}));
  }
  // Four key heads among eight ranks: each gets a whole one, so that eight are sent.
  const std::int64_t each = kTokens / 8 * (kQ + 2 * kKv + kQ) * 7 / 8;
  EXPECT_EQ(volume(small_llama(), plan(8, "a2a")), (Volume{each, each}));
}

TEST(ContextParallel, ARingOfGroupsThatExchangeHeadsPassesOnTheirShareOfTheHeads) {
  const std::int64_t inner = 2, outer = 2, exchanged = kTokens / 4 * (kQ + kKv + kQ) * (inner - 1) / inner;
  const std::int64_t ring = kTokens / outer * (kKv / inner) * (outer - 1);
  EXPECT_EQ(volume(small_llama(), plan(4, "a2a+p2p", inner)), (Volume{exchanged + ring, exchanged + 2 * ring}));
}

TEST(ContextParallel, EveryKindComputesTheSamePairs) {
  const Plan alone = plan(1, "allgather");
  for (const Model& m : {small_llama(), small_gpt2()})
    for (const FlopsConvention convention : {FlopsConvention::causal_half, FlopsConvention::full}) {
      const double expected = hardware_flops(compile(m, small_cluster(alone), alone), m, convention).v;
      for (const Plan& p : {plan(4, "allgather"), plan(4, "p2p"), plan(4, "a2a"), plan(4, "a2a+p2p", 2)})
        EXPECT_DOUBLE_EQ(hardware_flops(compile(m, small_cluster(p), p), m, convention).v, expected) << p.parallel.cp_kind;
      Plan split = alone;
      split.schedule = "seq1f1b", split.schedule_args.splits = 4;
      EXPECT_DOUBLE_EQ(hardware_flops(compile(m, small_cluster(split), split), m, convention).v, expected);
    }
}

TEST(ContextParallel, ABlockTravelsWhileTheOneBeforeItIsAttendedTo) {
  const Plan p = plan(4, "p2p");
  const Program program = compile(small_llama(), small_cluster(p), p);
  const Role& role = program.roles[0];
  for (const PassTemplate& pass : role.passes) {
    std::int64_t rotations = 0, attended = 0;
    for (std::uint32_t i = 0; i < pass.count; ++i) {
      const Instruction& in = role.instructions[pass.first + i];
      if (in.layer != 1) continue;
      if (in.op == Operator::rotate && role.buffers[role.accesses[in.accesses].buffer].name.find("gradient") == std::string::npos) ++rotations;
      if (in.op != Operator::attention_block_forward && in.op != Operator::attention_block_backward) continue;
      // Three blocks arrive; the rotation that brings the next one has been issued, and this attention does not wait for it.
      ++attended;
      EXPECT_EQ(rotations, std::min<std::int64_t>(attended, 3)) << pass.name;
      for (std::uint32_t d = in.dependencies; d < in.dependencies + in.dependency_count; ++d) {
        const Dependency& on = role.dependencies[d];
        ASSERT_EQ(on.kind, DependencyKind::local);
        const Instruction& other = role.instructions[pass.first + on.index];
        EXPECT_EQ(other.op, Operator::rotate);
        EXPECT_GE(attended, 2);  // the first block is the rank's own
      }
    }
  }
}

// Rank i of n that holds the i-th of n consecutive chunks of c positions attends to i whole chunks before it and to half of its own.
TEST(ContextParallel, ConsecutiveChunksAreALoadThatGrowsWithTheRank) {
  for (const std::string kind : {"allgather", "p2p"}) {
    Plan p = plan(4, kind);
    p.parallel.cp_balanced = false;
    const Program program = compile(small_llama(), small_cluster(p), p);
    const Role& role = program.roles[0];
    constexpr std::int64_t c = kSequence / 4;
    for (std::int64_t rank = 0; rank < 4; ++rank) {
      std::int64_t twice = 0;
      for (std::uint32_t i = 0; i < role.passes[0].count; ++i) {
        const Instruction& in = role.instructions[role.passes[0].first + i];
        if (in.layer == 1 && in.op == Operator::attention_block_forward)
          twice += program.shapes[program.shape_of(in, program.mesh.coordinates(rank))].dims[7];
      }
      EXPECT_EQ(twice, 2 * rank * c * c + c * c) << kind;
    }
    Plan balanced = p;
    balanced.parallel.cp_balanced = true;
    const Program even = compile(small_llama(), small_cluster(balanced), balanced);
    EXPECT_TRUE(even.loads.empty());
    EXPECT_DOUBLE_EQ(hardware_flops(program, small_llama(), FlopsConvention::causal_half).v,
                     hardware_flops(even, small_llama(), FlopsConvention::causal_half).v);
  }
}

// Seq1F1B, closed form: rank r holds min(p − r − 1 + q, m·q) splits; keys and values of whole sequences besides.
TEST(SequenceSplits, ARankHoldsAsManySplitsAsItsScheduleSays) {
  for (const std::int64_t q : {2, 4}) {
    Plan p = small_plan(1, 4, 1, 8);
    p.batch.sequence = 8, p.schedule = "seq1f1b", p.schedule_args.splits = q;
    const Program program = compile(small_llama(4), small_cluster(p), p);
    for (std::int64_t r = 0; r < 4; ++r) {
      const MemoryReport report = memory(program, program.roles[static_cast<std::size_t>(r)]);
      const auto held = [&](const std::string& name) {
        const auto at = std::find_if(report.at_peak.begin(), report.at_peak.end(), [&](const auto& b) { return b.name == name; });
        return at == report.at_peak.end() ? std::int64_t{0} : at->instances;
      };
      EXPECT_EQ(held("attention.result"), std::min(4 - r - 1 + q, 8 * q)) << "rank " << r << ", " << q << " splits";
    }
  }
}

}  // namespace
}  // namespace orrery::program
