#include <gtest/gtest.h>

#include <algorithm>

#include "program/compile.h"
#include "program/memory.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

// What a micro-batch keeps of one layer from its forward to its backward pass, apart from fp32 vectors (statistics, log-sum-exp).
std::int64_t kept_bytes(const Program& p, std::uint16_t layer) {
  std::int64_t bytes = 0;
  for (const Buffer& b : p.roles[0].buffers)
    if (b.lifetime == Lifetime::microbatch && b.layer == layer && b.dtype == DType::bf16) bytes += b.bytes;
  return bytes;
}

Model gpt(std::int64_t layers) {
  Model m = small_gpt2(layers);
  m.intermediate = 4 * m.hidden;
  return m;
}

Plan half_precision(std::int64_t tp, bool sp) {
  Plan p = small_plan(tp);
  p.precision.compute = p.precision.params = DType::bf16;
  p.parallel.sp = sp;
  return p;
}

TEST(CompiledMemory, ALayerKeepsWhatKorthikantiCountsWithoutDropoutMasks) {
  constexpr std::int64_t kSbh = 8 * 1 * 16;
  // Korthikanti et al. 2022: sbh(34 + 5as/h), of which 5as/h goes with a fused attention, and 2 are dropout masks that we do not have.
  const Plan one = half_precision(1, false);
  EXPECT_EQ(kept_bytes(compile(gpt(2), small_cluster(one), one), 1), 32 * kSbh);
  // Tensor parallelism alone leaves both norms' inputs and results whole: sbh(10 + 24/t), less 2.
  const Plan two = half_precision(2, false);
  EXPECT_EQ(kept_bytes(compile(gpt(2), small_cluster(two), two), 1), 8 * kSbh + 24 * kSbh / 2);
  // With sequence parallelism all of it is split: sbh/t · 34, less 2/t.
  const Plan split = half_precision(2, true);
  EXPECT_EQ(kept_bytes(compile(gpt(2), small_cluster(split), split), 1), 32 * kSbh / 2);
}

TEST(CompiledMemory, FullRecomputationKeepsALayersInputOnly) {
  Plan p = half_precision(2, true);
  p.recompute.kind = "full";
  EXPECT_EQ(kept_bytes(compile(gpt(2), small_cluster(p), p), 1), 2 * 8 * 16 / 2);  // 2sbh/t
}

TEST(CompiledMemory, AStageHoldsAsManyMicrobatchesAsItsScheduleSays) {
  const auto held = [](const std::string& schedule, std::int64_t m, std::size_t stage) {
    Plan p = small_plan(1, 4, 1, m);
    p.schedule = schedule;
    const Program program = compile(small_llama(8), small_cluster(p), p);
    const MemoryReport report = memory(program, program.roles[stage]);
    const auto at = std::find_if(report.at_peak.begin(), report.at_peak.end(), [](const auto& b) { return b.name == "attention.result"; });
    return at == report.at_peak.end() ? 0 : at->instances / 2;  // two layers per stage
  };
  for (std::size_t r = 0; r < 4; ++r) {
    EXPECT_EQ(held("1f1b", 6, r), 4 - static_cast<std::int64_t>(r));  // min(p − r, m)
    EXPECT_EQ(held("1f1b", 2, r), std::min<std::int64_t>(4 - static_cast<std::int64_t>(r), 2));
    EXPECT_EQ(held("gpipe", 6, r), 6);  // m
  }
}

TEST(CompiledMemory, ModelStatesTakeEighteenBytesPerParameterAndShardTwelveOfThem) {
  // bf16 parameters 2, fp32 gradients 4, fp32 m, v and master 12: Megatron-LM's 18, or 6 + 12/d with its distributed optimizer.
  const auto per_parameter = [](std::int64_t zero) {
    Plan p = half_precision(1, false);
    p.batch.global = 8, p.sharding.zero = zero;
    const Program program = compile(gpt(2), small_cluster(p, 2), p);
    const Role& role = program.roles[0];
    std::int64_t bytes = 0;
    for (const Buffer& b : role.buffers)
      if (b.lifetime == Lifetime::persistent && b.kind != BufferKind::scalar) bytes += b.bytes;
    return static_cast<double>(bytes) / static_cast<double>(role.buffers[static_cast<std::size_t>(role.parameter_buffer)].elements);
  };
  EXPECT_DOUBLE_EQ(per_parameter(0), 18);
  EXPECT_DOUBLE_EQ(per_parameter(1), 6 + 12.0 / 2);
}

}  // namespace
}  // namespace orrery::program
