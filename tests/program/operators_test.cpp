#include "program/operators.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>
#include <vector>

namespace orrery::program {
namespace {

Shape shape(Operator op, std::array<std::int64_t, 9> dims, DType dtype = DType::bf16) { return {.op = op, .dtype = dtype, .dims = dims}; }

TEST(Operators, NamesAreUniqueAndReadBack) {
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < kOperators; ++i) {
    const auto op = static_cast<Operator>(i);
    EXPECT_TRUE(seen.insert(name(op)).second) << name(op);
    EXPECT_EQ(operator_named(name(op)), op);
  }
  EXPECT_EQ(name(Operator::linear_weight_grad), "linear_weight_grad");
  EXPECT_EQ(name(Operator::cross_entropy_grad), "cross_entropy_grad");
  EXPECT_EQ(name(Operator::wait), "wait");
  EXPECT_THROW(operator_named("linear"), std::out_of_range);
}

TEST(Operators, AccessPatternsListReadsBeforeWhatIsWritten) {
  EXPECT_EQ(access_pattern(Operator::attention_backward), "rrrrw");
  EXPECT_EQ(access_pattern(Operator::norm_backward), "rrrruuU");
  EXPECT_EQ(access_pattern(Operator::wait), "");
}

TEST(Operators, AnAbsentOperandInTheMiddleMovesThoseBehindIt) {
  const auto positions = [](Operator op, std::size_t count) {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(operand_position(op, i, count));
    return out;
  };
  using Positions = std::vector<std::size_t>;
  EXPECT_EQ(positions(Operator::linear_forward, 4), (Positions{0, 1, 2, 3}));  // x, W, bias, y
  EXPECT_EQ(positions(Operator::linear_forward, 3), (Positions{0, 1, 3}));     // x, W, y
  EXPECT_EQ(positions(Operator::norm_forward, 4), (Positions{0, 1, 3, 4}));    // x, gamma, y, statistics
  EXPECT_EQ(positions(Operator::residual_forward, 2), (Positions{0, 2}));      // x, y
  EXPECT_EQ(positions(Operator::norm_backward, 6), (Positions{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(positions(Operator::optimizer_step, 4), (Positions{0, 1, 2, 3}));
  EXPECT_EQ(positions(Operator::attention_backward, 5), (Positions{0, 1, 2, 3, 4}));
}

TEST(Operators, EachOfALinearsThreeProductsIsTwoTokensInOut) {
  for (const Operator op : {Operator::linear_forward, Operator::linear_input_grad, Operator::linear_weight_grad, Operator::linear_activation_forward,
                            Operator::linear_activation_grad})
    EXPECT_EQ(flops(shape(op, {10, 20, 30})), Flops{2.0 * 10 * 20 * 30});
}

// Llama-3.1-8B, one sequence of 8192: 32 heads of 128, pairs 8192²/2 = 33,554,432, two products of 2·128 each: 32 · 33,554,432 · 512 =
// 549,755,813,888.
TEST(Operators, CausalAttentionCountsHalfOfThePairs) {
  EXPECT_EQ(flops(shape(Operator::attention_forward, {1, 8192, 32, 8, 128, 128, 1})), Flops{549'755'813'888.0});
  EXPECT_EQ(flops(shape(Operator::attention_forward, {1, 8192, 32, 8, 128, 128, 0})), Flops{2 * 549'755'813'888.0});
}

// Five products against two: 2.5 times. With DeepSeek-V3's 192-wide keys and 128-wide values: (3·192 + 2·128) / (192 + 128) = 832/320 = 2.6.
TEST(Operators, AttentionBackwardRunsFiveProductsAgainstTwo) {
  const auto ratio = [](std::int64_t qk, std::int64_t v) {
    return flops(shape(Operator::attention_backward, {2, 64, 4, 2, qk, v, 1})) / flops(shape(Operator::attention_forward, {2, 64, 4, 2, qk, v, 1}));
  };
  EXPECT_DOUBLE_EQ(ratio(128, 128), 2.5);
  EXPECT_DOUBLE_EQ(ratio(192, 128), 2.6);
}

TEST(Operators, OnlyMatrixWorkHasFlops) {
  for (std::size_t i = 0; i < kOperators; ++i) {
    const auto op = static_cast<Operator>(i);
    const WorkClass work = work_class(op);
    EXPECT_EQ(flops(shape(op, {2, 2, 2, 2, 2, 2, 0, 2, 2})).v > 0, work == WorkClass::gemm || work == WorkClass::attention) << name(op);
  }
}

TEST(Operators, TrafficCountsEveryOperandOnce) {
  // x 10×20, W 30×20, y 10×30 in bf16: 2·(200 + 600 + 300) = 2200.
  EXPECT_EQ(traffic(shape(Operator::linear_forward, {10, 20, 30})), Bytes{2200});
  // x and dy in bf16, dW in fp32 read and written: 2·(200 + 300) + 2·4·600 = 5800.
  EXPECT_EQ(traffic(shape(Operator::linear_weight_grad, {10, 20, 30})), Bytes{5800});
  // The same in fp32: 4·(200 + 300) + 4800 = 6800.
  EXPECT_EQ(traffic(shape(Operator::linear_weight_grad, {10, 20, 30}, DType::fp32)), Bytes{6800});
  // x and y 8×16 in bf16, gamma 16, one fp32 statistic per row: 2·256 + 32 + 32 = 576.
  EXPECT_EQ(traffic(shape(Operator::norm_forward, {8, 16})), Bytes{576});
  // 2 samples of 8: qkv rows 4·16 + 2·(16 + 16) = 128 wide, out 64 wide, lse 4 per row: 16·(2·128 + 2·64 + 4·4) = 6400.
  EXPECT_EQ(traffic(shape(Operator::attention_forward, {2, 8, 4, 2, 16, 16, 1})), Bytes{6400});
  // qkv, d_qkv, out, d_out, lse: 16·(2·2·128 + 2·2·64 + 16) = 12544.
  EXPECT_EQ(traffic(shape(Operator::attention_backward, {2, 8, 4, 2, 16, 16, 1})), Bytes{12544});
  // Gated: u is 2·8 wide, a is 8 wide: 10·24·2 = 480; backward reads u and da and writes du: 10·40·2 = 800.
  EXPECT_EQ(traffic(shape(Operator::activation_forward, {10, 8, 1})), Bytes{480});
  EXPECT_EQ(traffic(shape(Operator::activation_backward, {10, 8, 1})), Bytes{800});
  // Ten rows of three parts of 5 columns, read and written in bf16: 2·2·150 = 600.
  EXPECT_EQ(traffic(shape(Operator::scatter_columns, {10, 5, 3})), Bytes{600});
  // Ten tokens look up ten rows of 8 (40 + 160 + 160), or all five of a table of five (40 + 80 + 160).
  EXPECT_EQ(traffic(shape(Operator::embedding_forward, {10, 8, 1000})), Bytes{360});
  EXPECT_EQ(traffic(shape(Operator::embedding_forward, {10, 8, 5})), Bytes{280});
}

// AdamW per parameter: fp32: gradient, m, v and the parameter, 4 bytes read and 4 written each: 32. bf16 with an fp32 master: 4·8 + 2·2 = 36. And the
// norm, 8 bytes.
TEST(Operators, AnOptimizerStepMovesItsStatesTwice) {
  EXPECT_EQ(traffic(shape(Operator::optimizer_step, {100}, DType::fp32)), Bytes{3208});
  EXPECT_EQ(traffic(shape(Operator::optimizer_step, {100}, DType::bf16)), Bytes{3608});
}

TEST(Operators, EveryOperatorThatComputesMovesBytesAndCommunicationMovesNone) {
  for (std::size_t i = 0; i < kOperators; ++i) {
    const auto op = static_cast<Operator>(i);
    EXPECT_EQ(traffic(shape(op, {4, 4, 4, 4, 4, 4, 1})).v > 0, !is_communication(op) && op != Operator::wait) << name(op);
  }
}

TEST(Operators, CommunicationBelongsToTheAxisThatCausesIt) {
  EXPECT_EQ(work_class(Operator::all_reduce, WorkClass::dp_comm), WorkClass::dp_comm);
  EXPECT_EQ(work_class(Operator::send, WorkClass::pp_comm), WorkClass::pp_comm);
  EXPECT_EQ(work_class(Operator::gradient_norm, WorkClass::dp_comm), WorkClass::optimizer);
  EXPECT_EQ(work_class(Operator::wait), WorkClass::control);
}

// Only pairs that attend: 2 samples · 4 heads · 15 pairs · 2 · (16 + 8), and backward 2 · (3 · 16 + 2 · 8).
TEST(Operators, AnAttentionBlockWorksOnThePairsThatItsMaskLeaves) {
  EXPECT_EQ(flops(shape(Operator::attention_block_forward, {2, 3, 5, 4, 2, 16, 8, 30, 100})), Flops{5760});
  EXPECT_EQ(flops(shape(Operator::attention_block_backward, {2, 3, 5, 4, 2, 16, 8, 30, 100})), Flops{15360});
  // A block of all positions is the whole attention: 8192² / 2 pairs.
  EXPECT_EQ(flops(shape(Operator::attention_block_forward, {1, 8192, 8192, 32, 8, 128, 128, 8192 * 8192, 6144})),
            flops(shape(Operator::attention_forward, {1, 8192, 32, 8, 128, 128, 1})));
}

TEST(Operators, OperandsHaveTheSizesThatTheDimsSay) {
  const auto sizes = [](const Shape& of, std::int64_t group = 1) {
    std::vector<std::int64_t> out;
    for (std::size_t i = 0; i < access_pattern(of.op).size(); ++i) out.push_back(operand_elements(of, i, group));
    return out;
  };
  using Sizes = std::vector<std::int64_t>;
  // x, W, bias, y
  EXPECT_EQ(sizes(shape(Operator::linear_forward, {10, 20, 30})), (Sizes{200, 600, 30, 300}));
  // x, dy, dW, d_bias
  EXPECT_EQ(sizes(shape(Operator::linear_weight_grad, {10, 20, 30})), (Sizes{200, 300, 600, 30}));
  // qkv of 4 + 2·2 heads of 16 on 2·8 tokens, out, lse
  EXPECT_EQ(sizes(shape(Operator::attention_forward, {2, 8, 4, 2, 16, 16, 1})), (Sizes{2048, 1024, 64}));
  // 3 queries of 2 samples in rows of 100, 5 keys of 2 heads of 16 + 8, results and log-sum-exps of 4 heads; gradients of the first two
  EXPECT_EQ(sizes(shape(Operator::attention_block_backward, {2, 3, 5, 4, 2, 16, 8, 30, 100})), (Sizes{600, 480, 192, 24, 192, 600, 480}));
  // rows of 4 + 2·2 heads of 16; four parts of one q head and one copy of a kv head
  EXPECT_EQ(sizes(shape(Operator::scatter_heads, {10, 4, 2, 16, 16, 4})), (Sizes{1280, 1920}));
  // ten rows of three parts of 5 columns
  EXPECT_EQ(sizes(shape(Operator::gather_columns, {10, 5, 3})), (Sizes{150, 150}));
  // the whole, and the part of one of four
  EXPECT_EQ(sizes(shape(Operator::reduce_scatter, {100}), 4), (Sizes{100, 25}));
  EXPECT_EQ(sizes(shape(Operator::all_gather, {100}), 4), (Sizes{25, 100}));
  for (std::size_t i = 0; i < kOperators; ++i)
    for (const std::int64_t n : sizes(shape(static_cast<Operator>(i), {1, 1, 1, 1, 1, 1, 1, 1, 1})))
      EXPECT_GE(n, 1) << name(static_cast<Operator>(i));
}

}  // namespace
}  // namespace orrery::program
