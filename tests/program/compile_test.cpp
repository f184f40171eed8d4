#include "program/compile.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "core/error.h"
#include "core/model_json.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

Program compiled(const Model& m, const Plan& p, std::int64_t dp = 1) { return compile(m, small_cluster(p, dp), p); }

const PassTemplate& pass(const Role& role, const std::string& called) {
  for (const PassTemplate& t : role.passes)
    if (t.name == called) return t;
  throw std::out_of_range(called);
}

// How often a pass has an operator, and how many elements its shapes name in dims[0].
struct Sum {
  std::int64_t count = 0, elements = 0;
  bool operator==(const Sum&) const = default;
};
template <class Filter>
Sum sum(const Program& program, const Role& role, const std::string& called, Operator op, Filter filter) {
  Sum out;
  const PassTemplate& t = pass(role, called);
  for (std::uint32_t n = t.first; n < t.first + t.count; ++n)
    if (const Instruction& i = role.instructions[n]; i.op == op && filter(i)) ++out.count, out.elements += program.shapes[i.shape].dims[0];
  return out;
}
Sum sum(const Program& program, const Role& role, const std::string& called, Operator op) {
  return sum(program, role, called, op, [](const Instruction&) { return true; });
}
Sum in_layers(const Program& program, const Role& role, const std::string& called, Operator op) {
  return sum(program, role, called, op, [](const Instruction& i) { return i.layer != kNone; });
}
void PrintTo(const Sum& s, std::ostream* out) { *out << s.count << " with " << s.elements << " elements"; }

// --- Work ----------------------------------------------------------------------------------------------------------------------------------------

TEST(Compile, OneRankRunsForwardBackwardAndOptimizerOnceEach) {
  const Program p = compiled(small_llama(2), small_plan(1, 1, 1, 1));
  ASSERT_EQ(p.roles.size(), 1U);
  const Role& role = p.roles[0];
  ASSERT_EQ(role.body.size(), 3U);
  EXPECT_EQ(role.passes[role.body[0].pass].kind, PassKind::forward);
  EXPECT_EQ(role.passes[role.body[1].pass].kind, PassKind::backward);
  EXPECT_EQ(role.passes[role.body[2].pass].kind, PassKind::optimizer);
  // 4 linears per layer and the head: 2 x 4 + 1, and each has two backward halves.
  EXPECT_EQ(sum(p, role, "forward", Operator::linear_forward).count, 9);
  EXPECT_EQ(sum(p, role, "backward", Operator::linear_input_grad).count, 9);
  EXPECT_EQ(sum(p, role, "backward", Operator::linear_weight_grad).count, 9);
  EXPECT_TRUE(std::none_of(role.instructions.begin(), role.instructions.end(), [](const Instruction& i) { return i.stream != kComputeStream; }));
}

TEST(Compile, ABubbleOfOneForwardOneBackwardIsPMinusOneOverMPlusPMinusOne) {
  // p = 4, m = 4: 3 / 7
  EXPECT_DOUBLE_EQ(compiled(small_llama(), small_plan(1, 4, 1, 4)).bubble_fraction, 3.0 / 7);
}

double flops_of(const Program& program, bool with_recompute) {
  double total = 0;
  for (const Role& role : program.roles)
    for (const PassInstance& instance : role.body) {
      const PassTemplate& t = role.passes[instance.pass];
      for (std::uint32_t n = t.first; n < t.first + t.count; ++n)
        if (const Instruction& i = role.instructions[n]; with_recompute || !(i.flags & kRecompute)) total += flops(program.shapes[i.shape]).v;
    }
  return total * static_cast<double>(program.mesh.ranks() / program.mesh.size[static_cast<std::size_t>(Axis::pp)]);
}

RC_GTEST_PROP(Compile, SplittingTheModelDoesNotChangeItsWork, ()) {
  const std::int64_t tp = *rc::gen::element(1, 2), pp = *rc::gen::element(1, 2, 3), dp = *rc::gen::element(1, 2);  // 50 rows need no padding for tp 2
  Plan p = small_plan(tp, pp, dp, 4);
  p.batch.global = 8;
  p.parallel.sp = tp > 1 && *rc::gen::arbitrary<bool>();
  p.recompute.kind = *rc::gen::element<std::string>("none", "full");
  Plan one = small_plan(1, 1, 1, 8);
  RC_ASSERT(flops_of(compiled(small_llama(), p, dp), false) == flops_of(compiled(small_llama(), one), false));
}

TEST(Compile, FullRecomputationRunsForwardsAgainUpToTheLastNeededActivation) {
  Plan p = small_plan(1, 1, 1, 1);
  p.recompute.kind = "full";
  const Program stops = compiled(small_llama(2), p);
  p.runtime.framework = "megatron-core";
  const Program whole = compiled(small_llama(2), p);
  // Per layer and 8 tokens: attention's half of the pairs 2·2·8²/2·2·8 heads = 2048; linears 2·8·(16·32 + 16·16 + 16·48 [+ 24·16]).
  EXPECT_DOUBLE_EQ(flops_of(stops, true) - flops_of(stops, false), 2 * (2048 + 16 * (512 + 256 + 768)));
  EXPECT_DOUBLE_EQ(flops_of(whole, true) - flops_of(whole, false), 2 * (2048 + 16 * (512 + 256 + 768 + 384)));
}

// --- Communication -------------------------------------------------------------------------------------------------------------------------------

TEST(TensorParallel, ALayerReducesTwiceInEachDirection) {
  const Program p = compiled(small_llama(3), small_plan(2));
  const Role& role = p.roles[0];
  // s·b·h = 8·1·16 = 128 elements each, 2 per layer and direction (facts: Megatron-LM, Shoeybi et al. 2019, figure 4).
  EXPECT_EQ(in_layers(p, role, "forward", Operator::all_reduce), (Sum{6, 768}));
  EXPECT_EQ(in_layers(p, role, "backward", Operator::all_reduce), (Sum{6, 768}));
}

TEST(TensorParallel, SequenceParallelismGathersAndScattersInsteadAndGathersInputsAgainInBackward) {
  Plan plan = small_plan(2);
  plan.parallel.sp = true;
  const Program p = compiled(small_llama(3), plan);
  const Role& role = p.roles[0];
  // Forward 2 + 2 per layer; backward 2 + 2 and one more gather per column-parallel linear (Korthikanti et al. 2022, section 4.2.2).
  EXPECT_EQ(in_layers(p, role, "forward", Operator::all_gather), (Sum{6, 768}));
  EXPECT_EQ(in_layers(p, role, "forward", Operator::reduce_scatter), (Sum{6, 768}));
  EXPECT_EQ(in_layers(p, role, "backward", Operator::all_gather), (Sum{12, 1536}));
  EXPECT_EQ(in_layers(p, role, "backward", Operator::reduce_scatter), (Sum{6, 768}));
  EXPECT_EQ(in_layers(p, role, "forward", Operator::all_reduce), Sum{});
}

TEST(TensorParallel, RecomputationRepeatsTheForwardCollectivesThatItNeeds) {
  Plan plan = small_plan(2);
  plan.recompute.kind = "full";
  // The sum after attention comes again, the one after the feed-forward feeds nothing: 3 layers x (2 backward + 1).
  EXPECT_EQ(in_layers(compiled(small_llama(3), plan), compiled(small_llama(3), plan).roles[0], "backward", Operator::all_reduce), (Sum{9, 1152}));
}

TEST(TensorParallel, TheLossSumsTwoNumbersPerTokenAndNeverTheLogits) {
  const Program p = compiled(small_llama(1), small_plan(2));
  const auto outside = [](const Instruction& i) { return i.layer == kNone; };
  EXPECT_EQ(sum(p, p.roles[0], "forward", Operator::all_reduce_max), (Sum{1, 8}));
  // The embedding's s·b·h = 128 and the loss's 2 x 8.
  EXPECT_EQ(sum(p, p.roles[0], "forward", Operator::all_reduce, outside), (Sum{2, 144}));
}

TEST(Pipeline, EachBoundaryCarriesEachMicrobatchOnceForwardAndOnceBack) {
  for (const bool sp : {false, true}) {
    Plan plan = small_plan(2, 3, 1, 5);
    plan.parallel.sp = sp;
    const Program p = compiled(small_llama(3), plan);
    for (const Role& role : p.roles) {
      std::map<std::pair<Opcode, int>, std::int64_t> messages;
      for (const PassInstance& instance : role.body) {
        const PassTemplate& t = role.passes[instance.pass];
        for (std::uint32_t n = t.first; n < t.first + t.count; ++n)
          if (const Instruction& i = role.instructions[n]; is_point_to_point(i.op)) {
            ++messages[{i.opcode, i.channel}];
            EXPECT_EQ(p.shapes[i.shape].bytes, 4 * 128 / (sp ? 2 : 1));  // fp32; s·b·h, over t with sequence parallelism
          }
      }
      const std::int64_t not_last = role.stage < 2 ? 5 : 0, not_first = role.stage > 0 ? 5 : 0;
      EXPECT_EQ((messages[{Opcode::send, 0}]), not_last);
      EXPECT_EQ((messages[{Opcode::recv, 0}]), not_first);
      EXPECT_EQ((messages[{Opcode::send, 1}]), not_first);
      EXPECT_EQ((messages[{Opcode::recv, 1}]), not_last);
    }
  }
}

TEST(Pipeline, OverlapIssuesReceivesOnePassAheadAndKeepsTwoSendsInFlight) {
  Plan plan = small_plan(1, 2, 1, 3);
  const auto body = [&](std::size_t stage) {
    const Program p = compiled(small_llama(), plan);
    std::vector<std::string> out;
    for (const PassInstance& i : p.roles[stage].body) out.push_back(fmt::format("{} {}", p.roles[stage].passes[i.pass].name, i.microbatch));
    return out;
  };
  using testing::ElementsAre;
  // 1F1B: stage 0 runs F0 F1 B0 F2 B1 B2, stage 1 runs F0 B0 F1 B1 F2 B2.
  EXPECT_THAT(body(0),
              ElementsAre("forward 0", "receive gradient 0", "forward 1", "backward 0", "receive gradient 1", "release activations 0", "forward 2",
                          "receive gradient 2", "backward 1", "backward 2", "release activations 1", "release activations 2", "optimizer 0"));
  EXPECT_THAT(body(1),
              ElementsAre("receive activations 0", "forward 0", "receive activations 1", "backward 0", "forward 1", "receive activations 2",
                          "backward 1", "forward 2", "release gradient 0", "backward 2", "release gradient 1", "release gradient 2", "optimizer 0"));
  // Not overlapped: what comes next is received, what went out has arrived, before the next pass begins.
  plan.overlap.p2p = false;
  EXPECT_THAT(body(0),
              ElementsAre("forward 0", "release activations 0", "forward 1", "receive gradient 0", "release activations 1", "backward 0", "forward 2",
                          "receive gradient 1", "release activations 2", "backward 1", "receive gradient 2", "backward 2", "optimizer 0"));
}

// --- Data parallelism ----------------------------------------------------------------------------------------------------------------------------

RC_GTEST_PROP(DataParallel, EveryGradientElementIsInExactlyOneBucketAndEveryBucketDividesByDp, ()) {
  const std::int64_t tp = *rc::gen::element(1, 2, 4), pp = *rc::gen::element(1, 2), dp = *rc::gen::element(1, 2, 3);
  Plan p = small_plan(tp, pp, dp);
  p.parallel.sp = tp > 1 && *rc::gen::arbitrary<bool>();
  p.data_parallel.bucket_bytes = *rc::gen::inRange(1, 20000);
  Model m = *rc::gen::arbitrary<bool>() ? small_llama() : small_gpt2();
  m.tie_embeddings = *rc::gen::arbitrary<bool>();
  const Program program = compiled(m, p, dp);
  for (const Role& role : program.roles) {
    std::int64_t at = 0;
    for (const Bucket& bucket : role.buckets) {
      RC_ASSERT(bucket.offset == at);
      RC_ASSERT(bucket.elements % dp == 0);
      at += bucket.elements;
    }
    RC_ASSERT(role.buffers[static_cast<std::size_t>(role.gradient_buffer)].elements == at);
    RC_ASSERT(role.buffers[static_cast<std::size_t>(role.parameter_buffer)].elements == at);
    // Parameters do not overlap and none straddles a bucket.
    std::vector<Parameter> sorted = role.parameters;
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
    std::int64_t end = 0;
    for (const Parameter& x : sorted) {
      RC_ASSERT(x.offset >= end);
      end = x.offset + x.rows * x.cols;
      RC_ASSERT(std::any_of(role.buckets.begin(), role.buckets.end(),
                            [&](const Bucket& b) { return b.offset <= x.offset && end <= b.offset + b.elements; }));
    }
    RC_ASSERT(end <= at);
  }
}

std::int64_t elements_in(const Program& program, const Role& role, Operator op, std::uint8_t stream) {
  std::int64_t n = 0;
  for (const PassInstance& instance : role.body) {
    const PassTemplate& t = role.passes[instance.pass];
    for (std::uint32_t i = t.first; i < t.first + t.count; ++i)
      if (role.instructions[i].op == op && role.instructions[i].stream == stream && program.shapes[role.instructions[i].shape].dtype != DType::fp64)
        n += program.shapes[role.instructions[i].shape].dims[0];
  }
  return n;
}

TEST(DataParallel, AStepReducesEveryGradientOnceAndZeroOneScattersAndGathersAsMuch) {
  for (const bool overlap : {false, true}) {
    Plan plan = small_plan(1, 2, 4);
    plan.overlap.grad_reduce = plan.overlap.param_gather = overlap;
    const Program all = compiled(small_llama(), plan, 4);
    plan.sharding.zero = 1;
    const Program shards = compiled(small_llama(), plan, 4);
    for (std::size_t s = 0; s < 2; ++s) {
      const std::int64_t whole = all.roles[s].buffers[static_cast<std::size_t>(all.roles[s].gradient_buffer)].elements;
      EXPECT_EQ(elements_in(all, all.roles[s], Operator::all_reduce, 2), whole);
      EXPECT_EQ(elements_in(shards, shards.roles[s], Operator::reduce_scatter, 2), whole);
      EXPECT_EQ(elements_in(shards, shards.roles[s], Operator::all_gather, 2), whole);
      EXPECT_EQ(elements_in(shards, shards.roles[s], Operator::all_reduce, 2), 0);
      // Each rank updates a quarter, and keeps as much of Adam's state.
      EXPECT_EQ(elements_in(shards, shards.roles[s], Operator::optimizer_step, 0), whole / 4);
      EXPECT_EQ(elements_in(all, all.roles[s], Operator::optimizer_step, 0), whole);
      for (const Buffer& b : shards.roles[s].buffers) {
        if (b.name == "adam.m" || b.name == "adam.v") {
          EXPECT_EQ(b.elements, whole / 4);
        }
      }
    }
  }
}

TEST(DataParallel, BucketsAreReducedInsideTheBackwardPassOnlyWhenOverlapped) {
  Plan plan = small_plan(1, 1, 2);
  const auto computes_after_first_reduction = [](const Program& p) {
    const Role& role = p.roles[0];
    const PassTemplate& t = pass(role, "backward, last micro-batch");
    std::int64_t n = -1;
    for (std::uint32_t i = t.first; i < t.first + t.count; ++i) {
      if (role.instructions[i].op == Operator::all_reduce && n < 0) n = 0;
      if (role.instructions[i].stream == kComputeStream && n >= 0) ++n;
    }
    return n;
  };
  EXPECT_GT(computes_after_first_reduction(compiled(small_llama(), plan, 2)), 0);
  plan.overlap.grad_reduce = false;
  EXPECT_EQ(computes_after_first_reduction(compiled(small_llama(), plan, 2)), 0);
}

// By name, as a whole model has it: rows and columns put together from one rank of each tensor-parallel coordinate.
std::map<std::string, std::int64_t> whole_parameters(const Program& p) {
  std::map<std::string, std::int64_t> out;
  const std::int64_t t = p.mesh.size[static_cast<std::size_t>(Axis::tp)];
  for (const Role& role : p.roles)
    for (const Parameter& x : role.parameters) {
      const std::int64_t rows = x.rows * (x.split == Parameter::Split::rows ? t : 1), cols = x.cols * (x.split == Parameter::Split::cols ? t : 1);
      EXPECT_EQ(cols, x.global_cols) << x.name;
      EXPECT_GE(rows, x.global_rows) << x.name;
      EXPECT_LT(rows - x.global_rows, t) << x.name;
      out[x.name] = x.global_rows * x.global_cols;
    }
  return out;
}

TEST(Parameters, NamesAndSizesDoNotDependOnHowTheModelIsSplit) {
  for (const Model& m : {small_llama(), small_gpt2()}) {
    const auto one = whole_parameters(compiled(m, small_plan()));
    for (const std::int64_t tp : {1, 2, 4})
      for (const std::int64_t pp : {1, 2, 4}) EXPECT_EQ(whole_parameters(compiled(m, small_plan(tp, pp))), one);
  }
}

std::int64_t total(const std::map<std::string, std::int64_t>& parameters) {
  return std::accumulate(parameters.begin(), parameters.end(), std::int64_t{0}, [](std::int64_t n, const auto& p) { return n + p.second; });
}

TEST(Parameters, AddUpToTheModel) {
  // Per layer: q 16², k and v 8·16 each, out 16², two norms 16, three matrices 24·16: 1952. Two tables of 50·16, one norm.
  EXPECT_EQ(total(whole_parameters(compiled(small_llama(4), small_plan()))), 4 * 1952 + 2 * 800 + 16);
  // q, k, v, out 16² + 16, up and down 24·16 and biases 24 + 16, two norms 32: 2032 − … per layer; table 50·16 once, positions 64·16, norm 32.
  EXPECT_EQ(total(whole_parameters(compiled(small_gpt2(4), small_plan(2, 2)))), 4 * (4 * (256 + 16) + 2 * 384 + 40 + 64) + 800 + 1024 + 32);
}

TEST(Parameters, OfEveryShippedModelAddUpToItsCount) {
  std::int64_t compiled_models = 0;
  for (const std::string& called : model_names()) {
    const Model m = load_model(called);
    Plan p = small_plan(4, 2);
    p.batch.sequence = 512;
    if (!refusals(m, small_cluster(p), p).empty()) continue;
    ++compiled_models;
    EXPECT_EQ(total(whole_parameters(compiled(m, p))), count_parameters(m).total + count_parameters(m).mtp) << called;
  }
  EXPECT_GE(compiled_models, 20);
}

// --- Layers per stage ----------------------------------------------------------------------------------------------------------------------------

TEST(StageLayers, ABalancedSplitGivesTheStageWithTheHeadFewer) {
  // Llama 3.1 405B: per token a layer's weights are 16384·(16384 + 2·1024 + 16384 + 3·53248) = 3.19e9, its attention over 8192 tokens
  // 2·16384·4096 = 0.13e9; the head's 128256·16384 = 2.10e9 is 0.63 of a layer. No split of 126 has its largest stage below 8 layers
  // (15 stages of 7 and 7 + 0.63 hold 112); the two layers short of 16 x 8 are missing where that leaves the second largest smallest: at the end.
  Model m = small_llama(126);
  m.hidden = 16384, m.intermediate = 53248, m.heads = 128, m.kv_heads = 8, m.head_dim = 128, m.vocab = 128256;
  Plan p = small_plan(8, 16);
  p.batch.sequence = 8192;
  EXPECT_THAT(stage_layers(m, p), testing::ElementsAre(8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7));
}

TEST(StageLayers, EarlierStagesGetMoreOfWhatDoesNotDivide) {
  Model m = small_llama(18);
  m.vocab = 1;
  EXPECT_THAT(stage_layers(m, small_plan(1, 4)), testing::ElementsAre(5, 5, 4, 4));
}

// Llama's layer of the test below is 16·120 + 128 = 2048 units, the head of 64 rows 1024; a prediction module 2·256 + 2048 + 1024 = 3584. Beside the
// 4608 of the last stage, the 8 layers are 3, 3 and 2 with 2048·2 + 4608 = 8704, or 4, 3 and 1 with 6656 and the first 8192: less.
TEST(StageLayers, PredictionModulesAreTheLastStages) {
  Model m = small_llama(8);
  m.vocab = 64;
  EXPECT_THAT(stage_layers(m, small_plan(1, 3)), testing::ElementsAre(3, 3, 2));
  m.mtp_layers = 1;
  EXPECT_THAT(stage_layers(m, small_plan(1, 3)), testing::ElementsAre(4, 3, 1));
}

RC_GTEST_PROP(StageLayers, NoSplitHasASmallerLargestStage, ()) {
  Model m = small_llama(*rc::gen::inRange<std::int64_t>(3, 12));
  m.vocab = *rc::gen::inRange<std::int64_t>(1, 1000);
  const Plan p = small_plan(1, 3);
  // In multiples of a layer's work: (16·(16 + 16 + 16 + 72) + 16·8) per token, halved; the head's 16·vocab. (q, k + v, out, three matrices of 24.)
  const double layer = 16 * (16 + 16 + 16 + 72) + 32 * 8 * 0.5, head = 16.0 * static_cast<double>(m.vocab);
  const auto largest = [&](std::int64_t a, std::int64_t b, std::int64_t c) {
    return std::max({layer * static_cast<double>(a), layer * static_cast<double>(b), layer * static_cast<double>(c) + head});
  };
  const auto got = stage_layers(m, p);
  RC_ASSERT(got[0] + got[1] + got[2] == m.layers);
  for (std::int64_t a = 1; a < m.layers - 1; ++a)
    for (std::int64_t b = 1; a + b < m.layers; ++b) RC_ASSERT(largest(got[0], got[1], got[2]) <= largest(a, b, m.layers - a - b));
}

// Copies convert nothing, so that their bytes are those of one type: here parameters are wider than activations. A parallel block adds two biases.
TEST(Compile, CopiesAreOfTheTypeOfWhatTheyCopy) {
  Model parallel = small_gpt2();
  parallel.parallel_block = true;
  for (const Model& model : {small_llama(), small_gpt2(), parallel}) {
    Plan p = small_plan(2, 2);
    p.precision.compute = DType::bf16, p.schedule = "zb-h1", p.recompute.kind = "full";
    const Program program = compile(model, small_cluster(p), p);
    for (const Role& role : program.roles)
      for (const Instruction& in : role.instructions)
        for (std::uint32_t a = in.accesses; a < in.accesses + in.access_count && (in.op == Operator::copy || in.op == Operator::accumulate); ++a) {
          const Buffer& buffer = role.buffers[role.accesses[a].buffer];
          EXPECT_EQ(buffer.dtype, program.shapes[in.shape].dtype) << role.name << ": " << buffer.name;
        }
  }
}

}  // namespace
}  // namespace orrery::program
