// What a layer's linears gain from fp8, casts included, against what was measured on an H200.
#include <gtest/gtest.h>

#include "core/cluster_json.h"
#include "cost/roofline.h"
#include "program/quantised.h"

namespace orrery::cost {
namespace {

using program::Operator;
using program::Quantisation;
using program::Role8;
using program::Scaling;
using program::Shape;

double time(const Device& device, Operator op, DType type, std::array<std::int64_t, 9> dims) {
  Shape s;
  s.op = op, s.dtype = type, s.dims = dims;
  return roofline(s, device).duration.v;
}

// Forward, input gradient and weight gradient of one linear, with what is quantised for them (program/layers/linear.cpp).
double linear_bf16(const Device& device, std::int64_t tokens, std::int64_t in, std::int64_t out) {
  double sum = 0;
  for (const Operator op : {Operator::linear_forward, Operator::linear_input_grad, Operator::linear_weight_grad})
    sum += time(device, op, DType::bf16, {tokens, in, out});
  return sum;
}
double linear_fp8(const Device& device, Scaling scaling, std::int64_t tokens, std::int64_t in, std::int64_t out) {
  double sum = 0;
  for (const Operator op : {Operator::linear_forward, Operator::linear_input_grad, Operator::linear_weight_grad})
    sum += time(device, op, DType::fp8, {tokens, in, out, 1 + static_cast<std::int64_t>(scaling)});
  struct Written {
    Role8 role;
    std::int64_t rows, columns, ways;
  };
  for (const Written& w : {Written{Role8::input, tokens, in, 0},
                           {Role8::input, tokens, in, 1},
                           {Role8::weight, out, in, 0},
                           {Role8::weight, out, in, 1},
                           {Role8::gradient, tokens, out, 2}}) {
    const std::array<std::int64_t, 9> dims{w.rows, w.columns, Quantisation::of(scaling, w.role).number(), w.ways};
    if (scaling == Scaling::current) sum += time(device, Operator::amax, DType::bf16, {w.rows * w.columns});
    sum += time(device, scaling == Scaling::delayed ? Operator::quantise_delayed : Operator::quantise, DType::bf16, dims);
  }
  return sum;
}

double speedup(Scaling scaling) {
  const Device device = load_device("h200-sxm");
  const std::int64_t tokens = 32768, hidden = 4096, wide = 16384;
  double bf16 = 0, fp8 = 0;
  for (const auto& [in, out] : {std::pair{hidden, 3 * hidden}, {hidden, hidden}, {hidden, wide}, {wide, hidden}}) {
    bf16 += linear_bf16(device, tokens, in, out);
    fp8 += linear_fp8(device, scaling, tokens, in, out);
  }
  return bf16 / fp8;
}

// NVIDIA/TransformerEngine docs, "GEMM speedups across precisions", H200, with casts: of a model whose other sizes are not given, hence within 8 %.
// Nothing was fitted to these three.
TEST(LowPrecisionCost, GainsWhatTransformerEngineMeasured) {
  EXPECT_NEAR(speedup(Scaling::delayed) / 1.69, 1, 0.08);
  EXPECT_NEAR(speedup(Scaling::current) / 1.57, 1, 0.08);
  EXPECT_NEAR(speedup(Scaling::blockwise) / 1.41, 1, 0.08);
  EXPECT_GT(speedup(Scaling::delayed), speedup(Scaling::current));
  EXPECT_GT(speedup(Scaling::current), speedup(Scaling::blockwise));
  RecordProperty("delayed", std::to_string(speedup(Scaling::delayed)));
  RecordProperty("current", std::to_string(speedup(Scaling::current)));
  RecordProperty("blockwise", std::to_string(speedup(Scaling::blockwise)));
}

}  // namespace
}  // namespace orrery::cost
