// Plans whose linears are in 8 bits: what is quantised, what it takes of memory, and that every program still passes every check.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

#include "program/check.h"
#include "program/compile.h"
#include "program/memory.h"
#include "program/quantised.h"
#include "program/race_finder.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

// Widths that are multiples of 16, also split over 4 ranks.
Model wide_llama(std::int64_t layers = 2) {
  Model m = small_llama(layers);
  m.hidden = 64, m.intermediate = 128, m.heads = 8, m.kv_heads = 4, m.head_dim = 8;
  return m;
}
Plan fp8_plan(const std::string& recipe, std::int64_t tp = 1, std::int64_t pp = 1, std::int64_t dp = 1, std::int64_t microbatches = 4) {
  Plan p = small_plan(tp, pp, dp, microbatches);
  p.batch.sequence = 64, p.precision.compute = DType::fp8, p.precision.recipe = recipe, p.precision.params = DType::bf16;
  return p;
}
Program compiled(const Model& m, const Plan& p, std::int64_t dp = 1) { return compile(m, small_cluster(p, dp), p); }

const PassTemplate& pass(const Role& role, PassKind kind) {
  for (const PassTemplate& p : role.passes)
    if (p.kind == kind) return p;
  throw std::out_of_range("no such pass");
}
std::map<Operator, int> counts(const Program& program, const Role& role, PassKind kind, std::optional<DType> type = {}) {
  std::map<Operator, int> out;
  const PassTemplate& p = pass(role, kind);
  for (std::uint32_t i = p.first; i < p.first + p.count; ++i) {
    const Instruction& in = role.instructions[i];
    if (!type || program.shapes[in.shape].dtype == *type) ++out[in.op];
  }
  return out;
}

TEST(Fp8Programs, QuantiseBothOperandsOfEachProductOfALayer) {
  const Program program = compiled(wide_llama(), fp8_plan("blockwise"));
  const Role& role = program.roles[0];
  auto forward = counts(program, role, PassKind::forward), backward = counts(program, role, PassKind::backward);
  // Two layers of four linears; the head stays in bf16.
  EXPECT_EQ(forward[Operator::quantise], 2 * 4 * 2);
  EXPECT_EQ(backward[Operator::quantise], 2 * 4 * 3);  // a gradient both ways at once
  EXPECT_EQ(counts(program, role, PassKind::forward, DType::fp8)[Operator::linear_forward], 8);
  EXPECT_EQ(counts(program, role, PassKind::forward, DType::bf16)[Operator::linear_forward], 1);
  EXPECT_EQ(counts(program, role, PassKind::backward, DType::fp8)[Operator::linear_weight_grad], 8);
  EXPECT_EQ(forward[Operator::attention_forward], 2);
  EXPECT_EQ(counts(program, role, PassKind::forward, DType::bf16)[Operator::attention_forward], 2);
}

TEST(Fp8Programs, LookAtCurrentlyScaledMatricesFirst) {
  const Program program = compiled(wide_llama(), fp8_plan("current"));
  auto backward = counts(program, program.roles[0], PassKind::backward);
  EXPECT_EQ(backward[Operator::amax], backward[Operator::quantise]);
  EXPECT_EQ(backward[Operator::amax], 2 * 4 * 3);
}

TEST(Fp8Programs, AgreeOnDelayedScalesOnceAStep) {
  const Program program = compiled(wide_llama(), fp8_plan("delayed", 2, 1, 2), 2);
  const Role& role = program.roles[0];
  auto forward = counts(program, role, PassKind::forward), optimizer = counts(program, role, PassKind::optimizer);
  EXPECT_EQ(forward[Operator::quantise_delayed], 2 * 4 * 2);
  EXPECT_EQ(forward[Operator::amax], 0);
  EXPECT_EQ(optimizer[Operator::update_scales], 1);
  EXPECT_EQ(optimizer[Operator::all_reduce_max], 1);
  for (const Instruction& in : role.instructions)
    if (in.op == Operator::all_reduce_max && in.flags & kOptimizer) {
      EXPECT_EQ(group_size(program, program.groups[in.group]), 4);  // tp x dp
    }
}

// Operands of e4m3 and e5m2 meet as cuBLASLt takes them: never two of e5m2.
TEST(Fp8Programs, MakeGradientsOfTheWiderRange) {
  for (const Scaling s : {Scaling::delayed, Scaling::current}) {
    EXPECT_EQ(Quantisation::of(s, Role8::gradient).format, Fp8::e5m2);
    EXPECT_EQ(Quantisation::of(s, Role8::weight).format, Fp8::e4m3);
  }
  EXPECT_EQ(Quantisation::of(Scaling::blockwise, Role8::gradient), (Quantisation{Fp8::e4m3, 1, 128}));
  EXPECT_EQ(Quantisation::of(Scaling::blockwise, Role8::weight), (Quantisation{Fp8::e4m3, 128, 128}));
  for (const Scaling s : {Scaling::delayed, Scaling::current, Scaling::blockwise})
    for (const Role8 role : {Role8::input, Role8::weight, Role8::gradient})
      EXPECT_EQ(Quantisation::numbered(Quantisation::of(s, role).number()), Quantisation::of(s, role));
}

TEST(Fp8Programs, CountCodesAndScalesToTheByte) {
  // 130 x 200 in blocks of 1 x 128: 26000 codes, to 16 bytes 26000; 2 blocks of columns x 132 rows of scales.
  const QuantisedMatrix rows{130, 200, {Fp8::e4m3, 1, 128}};
  EXPECT_EQ(rows.bytes(), 26000 + 4 * 2 * 132);
  EXPECT_EQ(rows.scale_of(129, 130), 132 + 129);
  // In squares: 2 x 2 of them, rows of blocks padded to 4.
  const QuantisedMatrix squares{130, 200, {Fp8::e4m3, 128, 128}};
  EXPECT_EQ(squares.bytes(), 26000 + 4 * 2 * 4);
  EXPECT_EQ(squares.scale_of(129, 130), 5);
  EXPECT_EQ((QuantisedMatrix{3, 3, {Fp8::e5m2, 0, 0}}.bytes()), 16 + 4);

  Plan p = fp8_plan("blockwise");
  const Program program = compiled(wide_llama(1), p);
  std::map<std::string, std::int64_t> bytes;
  for (const Buffer& b : program.roles[0].buffers) bytes[b.name] = b.bytes;
  EXPECT_EQ(bytes.at("layers.0.mlp.down.input.fp8"), 64 * 128 + 4 * 64);              // 64 tokens of width 128
  EXPECT_EQ(bytes.at("layers.0.mlp.down.input.transposed.fp8"), 64 * 128 + 4 * 128);  // 128 rows of 64 tokens
  EXPECT_EQ(bytes.at("layers.0.mlp.down.weight.fp8"), 64 * 128 + 4 * 4);
  // Delayed: three matrices of each of four linears; what is expected and seen, and 1024 steps.
  const Program delayed = compiled(wide_llama(1), fp8_plan("delayed"));
  const Program without = compiled(wide_llama(1), [] {
    Plan q = fp8_plan("delayed");
    q.precision.compute = DType::bf16, q.precision.recipe.reset();
    return q;
  }());
  EXPECT_EQ(memory(delayed, delayed.roles[0]).persistent - memory(without, without.roles[0]).persistent, 12 * 4 * (2 + 1024));
}

TEST(Fp8Programs, AddBiasesUpBeforeTheyAreQuantised) {
  Model m = small_gpt2(1);
  m.hidden = 64, m.intermediate = 128, m.heads = m.kv_heads = 8, m.head_dim = 8;
  const Program program = compiled(m, fp8_plan("current"));
  for (const Instruction& in : program.roles[0].instructions)
    if (in.op == Operator::linear_weight_grad && program.shapes[in.shape].dtype == DType::fp8) {
      EXPECT_EQ(in.access_count, 3);
    }
  auto backward = counts(program, program.roles[0], PassKind::backward);
  EXPECT_EQ(backward[Operator::bias_grad], 4);
}

TEST(Fp8Programs, TrafficIsThatOfBytes) {
  Shape s;
  s.op = Operator::quantise, s.dtype = DType::bf16, s.dims = {128, 256, Quantisation{Fp8::e4m3, 1, 128}.number(), 0};
  EXPECT_EQ(traffic(s), Bytes{2 * 128 * 256 + 128 * 256 + 4 * 2 * 128});
  s.op = Operator::linear_forward, s.dtype = DType::fp8, s.dims = {128, 256, 512, 1 + static_cast<std::int64_t>(Scaling::current)};
  // codes and a scale each, results in bf16
  EXPECT_EQ(traffic(s), Bytes{128 * 256 + 4 + 512 * 256 + 4 + 2 * 128 * 512});
  EXPECT_EQ(operand_type(s, 0, DType::bf16, DType::fp32), DType::fp8);
  EXPECT_EQ(operand_type(s, 1, DType::bf16, DType::fp32), DType::fp8);
  EXPECT_EQ(operand_type(s, 3, DType::bf16, DType::fp32), DType::bf16);
}

TEST(StochasticRounding, LeavesTheMasterCopyOut) {
  Plan p = small_plan();
  p.precision.params = DType::bf16, p.precision.compute = DType::bf16;
  const Model m = small_llama();
  const Program mastered = compiled(m, p);
  const std::int64_t with = memory(mastered, mastered.roles[0]).persistent;
  p.optimizer.stochastic_rounding = true;
  const Program program = compiled(m, p);
  EXPECT_EQ(program.roles[0].master_buffer, -1);
  std::int64_t elements = 0;
  for (const Bucket& b : program.roles[0].buckets) elements += b.elements;
  EXPECT_EQ(with - memory(program, program.roles[0]).persistent, 4 * elements);
  for (const Instruction& in : program.roles[0].instructions)
    if (in.op == Operator::optimizer_step) {
      EXPECT_EQ(program.shapes[in.shape].dims[1], 1);
      EXPECT_EQ(in.access_count, 5);
    }
}

std::vector<std::string> problems(const Model& model, const Plan& plan, std::int64_t dp) {
  const Program program = compile(model, small_cluster(plan, dp), plan);
  std::vector<std::string> all;
  for (const Violation& v : check(program)) all.push_back(fmt::format("{}: {}", name(v.rule), v.what));
  for (const Role& role : program.roles)
    for (const std::string& problem : RaceFinder(program, role).run()) all.push_back(fmt::format("{}: {}", role.name, problem));
  return all;
}

RC_GTEST_PROP(Fp8Programs, PassEveryCheck, ()) {
  const std::int64_t tp = *rc::gen::element(1, 2, 4), pp = *rc::gen::element(1, 2), dp = *rc::gen::element(1, 2, 3);
  Plan p = fp8_plan(*rc::gen::element<std::string>("delayed", "current", "blockwise"), tp, pp, dp, *rc::gen::inRange(1, 7));
  p.schedule = *rc::gen::element<std::string>("1f1b", "gpipe", "zb-h1", "interleaved");
  p.parallel.vp = pp > 1 && p.schedule == "interleaved" ? 2 : 1;
  if (pp == 1) p.schedule = "1f1b";
  if (p.parallel.vp > 1) p.batch.global = 4 * dp;
  p.sharding.zero = *rc::gen::inRange(0, 4), p.parallel.sp = tp > 1 && *rc::gen::arbitrary<bool>();
  p.recompute.kind = *rc::gen::element<std::string>("none", "full");
  p.overlap.grad_reduce = *rc::gen::arbitrary<bool>(), p.overlap.param_gather = *rc::gen::arbitrary<bool>();
  p.precision.params = *rc::gen::element(DType::fp32, DType::bf16);
  p.optimizer.stochastic_rounding = p.precision.params == DType::bf16 && *rc::gen::arbitrary<bool>();
  p.data_parallel.bucket_bytes = *rc::gen::inRange(1000, 100000);
  Model m = wide_llama(4);
  m.parallel_block = *rc::gen::arbitrary<bool>(), m.parallel_shared_norm = *rc::gen::arbitrary<bool>();
  m.mlp_bias = m.qkv_bias = *rc::gen::arbitrary<bool>();
  if (!m.parallel_block && !m.mlp_bias && *rc::gen::arbitrary<bool>()) {
    m.mla = Mla{*rc::gen::element<std::int64_t>(0, 16), 16, 16, 16, 16, *rc::gen::arbitrary<bool>()};
    m.kv_heads = m.heads, m.head_dim = m.qk_dim();
  }
  RC_LOG() << p.schedule << " tp " << tp << " pp " << pp << " dp " << dp << " zero " << p.sharding.zero << '\n';
  RC_ASSERT(problems(m, p, dp) == std::vector<std::string>{});
}

}  // namespace
}  // namespace orrery::program
