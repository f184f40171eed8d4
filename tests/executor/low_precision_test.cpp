#include "executor/kernels/low_precision.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "executor/kernels/narrow.h"
#include "program/quantised.h"
#include "support/reference_kernels.h"

namespace orrery::executor {
namespace {

using program::Operator;
using program::Quantisation;
using program::QuantisedMatrix;
using program::Role8;
using program::Scaling;
using program::Shape;
using namespace reference;
using Codes = std::vector<std::uint16_t>;
using Bytes = std::vector<std::uint8_t>;

struct Sets {
  std::unique_ptr<KernelSet> fp32 = make_cpu_kernels(), rounding = make_rounding_kernels(*fp32);
};
const KernelSet& rounding() {
  static const Sets sets;
  return *sets.rounding;
}

Shape shape(Operator op, std::array<std::int64_t, 9> dims, DType type) {
  Shape s;
  s.op = op, s.dtype = type, s.dims = dims;
  return s;
}
Codes in_bf16(const Floats& x) {
  Codes out;
  for (const float v : x) out.push_back(to_bf16(v));
  return out;
}
Floats wide16(const Codes& x) {
  Floats out;
  for (const std::uint16_t v : x) out.push_back(from_bf16(v));
  return out;
}

TEST(RoundingKernels, RoundWhatAnFp32KernelMakesOfWideOperands) {
  const std::int64_t tokens = 6, in = 10, out = 8;
  const Floats x = random_floats(tokens * in, 1), w = random_floats(in * out, 2), b = random_floats(out, 3);
  Codes x16 = in_bf16(x), w16 = in_bf16(w), b16 = in_bf16(b), y16(at(tokens * out), 0xffff);
  KernelSettings s;
  s.parameters = DType::bf16;
  const std::array<void*, 4> buffers{x16.data(), w16.data(), b16.data(), y16.data()};
  const Shape linear_shape = shape(Operator::linear_forward, {tokens, in, out}, DType::bf16);
  ASSERT_TRUE(rounding().has(linear_shape));
  rounding().run({linear_shape, buffers, s});
  Floats xw = wide16(x16), ww = wide16(w16), bw = wide16(b16), y(at(tokens * out));
  make_cpu_kernels()->run(
      {shape(Operator::linear_forward, {tokens, in, out}, DType::fp32), std::array<void*, 4>{xw.data(), ww.data(), bw.data(), y.data()}, {}});
  EXPECT_EQ(y16, in_bf16(y));
  EXPECT_EQ(x16, in_bf16(x));  // what is read is left alone
}

TEST(RoundingKernels, AccumulateIntoGradientsOfTheirOwnType) {
  const std::int64_t tokens = 6, in = 10, out = 8;
  Codes x = in_bf16(random_floats(tokens * in, 1)), dy = in_bf16(random_floats(tokens * out, 2));
  Floats dw = random_floats(in * out, 3), expected = dw;
  const Shape grad = shape(Operator::linear_weight_grad, {tokens, in, out}, DType::bf16);
  rounding().run({grad, std::array<void*, 3>{x.data(), dy.data(), dw.data()}, {}});
  Floats xw = wide16(x), dyw = wide16(dy);
  make_cpu_kernels()->run(
      {shape(Operator::linear_weight_grad, {tokens, in, out}, DType::fp32), std::array<void*, 3>{xw.data(), dyw.data(), expected.data()}, {}});
  EXPECT_EQ(dw, expected);
}

TEST(RoundingKernels, PassFp32ThroughAndRoundTf32sOperandsOnly) {
  const std::int64_t n = 4;
  Floats x = random_floats(n * n, 1), w = random_floats(n * n, 2), y(at(n * n)), plain(at(n * n)), in_tf32(at(n * n));
  rounding().run({shape(Operator::linear_forward, {n, n, n}, DType::fp32), std::array<void*, 3>{x.data(), w.data(), y.data()}, {}});
  const auto fp32 = make_cpu_kernels();
  fp32->run({shape(Operator::linear_forward, {n, n, n}, DType::fp32), std::array<void*, 3>{x.data(), w.data(), plain.data()}, {}});
  EXPECT_EQ(y, plain);
  rounding().run({shape(Operator::linear_forward, {n, n, n}, DType::tf32), std::array<void*, 3>{x.data(), w.data(), y.data()}, {}});
  for (Floats* v : {&x, &w})
    for (float& f : *v) f = to_tf32(f);
  fp32->run({shape(Operator::linear_forward, {n, n, n}, DType::fp32), std::array<void*, 3>{x.data(), w.data(), in_tf32.data()}, {}});
  EXPECT_EQ(y, in_tf32);
  EXPECT_NE(y, plain);
}

TEST(RoundingKernels, ReadATableOfPositionsAsFarAsItIsUsed) {
  const std::int64_t hidden = 4, micro = 2;
  Codes table = in_bf16(random_floats(5 * hidden, 1)), x(at(2 * micro * hidden), 0);
  KernelSettings s;
  s.micro_batch = micro, s.parameters = DType::bf16;
  const program::Run run{1, 2};  // positions 1 and 2 of a table that begins with two rows of padding
  const Shape of = shape(Operator::position_forward, {2 * micro, hidden}, DType::bf16);
  const std::array<void*, 2> buffers{table.data(), x.data()};
  KernelContext context{of, buffers, s};
  context.position_offset = 2, context.rows = {&run, 1};
  rounding().run(context);
  for (std::int64_t row = 0; row < 2 * micro; ++row)
    for (std::int64_t i = 0; i < hidden; ++i) EXPECT_EQ(x[at(row * hidden + i)], table[at((3 + row / micro) * hidden + i)]);
}

TEST(RoundingKernels, AnUpdateAtRandomIsOneOfTheTwoNeighboursAndTheSameForTheSameKey) {
  const std::int64_t n = 64;
  KernelSettings s;
  s.parameters = DType::bf16;
  s.optimizer = {OptimizerSettings::Kind::sgd, 1, {}, 0, 0, 0};
  const Codes before = in_bf16(random_floats(n, 1));
  Floats g = random_floats(n, 2, 1e-3);
  const Shape step = shape(Operator::optimizer_step, {n, 1}, DType::bf16);
  const auto updated = [&](std::uint64_t key, std::int64_t first, std::int64_t count) {
    Codes p(before.begin() + first, before.begin() + first + count);
    double norm = 0;
    const std::array<void*, 3> buffers{&norm, g.data() + first, p.data()};
    const Shape part = shape(Operator::optimizer_step, {count, 1}, DType::bf16);
    KernelContext c{part, buffers, s};
    c.rounding_key = key, c.first_element = first;
    rounding().run(c);
    return p;
  };
  ASSERT_TRUE(rounding().has(step));
  const Codes p = updated(1, 0, n);
  std::size_t up = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const float exact = from_bf16(before[i]) - g[i], nearest = from_bf16(to_bf16(exact));
    EXPECT_LE(std::fabs(from_bf16(p[i]) - exact), std::ldexp(std::fabs(exact), -7)) << i;
    up += from_bf16(p[i]) != nearest ? 1 : 0;
  }
  EXPECT_GT(up, 0U);  // some went to the farther one
  EXPECT_EQ(updated(1, 0, n), p);
  EXPECT_NE(updated(2, 0, n), p);
  EXPECT_EQ(updated(1, 16, 16), Codes(p.begin() + 16, p.begin() + 32));  // whichever part a rank has
}

// --- 8 bits --------------------------------------------------------------------------------------------------------------------------------------

Bytes quantised(const Floats& x, std::int64_t rows, std::int64_t columns, Quantisation form, bool transposed, const float* amax) {
  Codes x16 = in_bf16(x);
  const Shape s = shape(Operator::quantise, {rows, columns, form.number(), transposed ? 1 : 0}, DType::bf16);
  Bytes q(at(program::operand_elements(s, 2)), 0xff);
  std::vector<void*> buffers{x16.data()};
  float largest = amax ? *amax : 0;
  if (amax) buffers.push_back(&largest);
  buffers.push_back(q.data());
  EXPECT_TRUE(rounding().has(s));
  rounding().run({s, buffers, {}});
  return q;
}

TEST(QuantisingKernels, GiveEachBlockTheScaleOfItsLargestNumber) {
  const std::int64_t rows = 130, columns = 200;
  Floats x = random_floats(rows * columns, 1);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) x[at(r * columns + c)] *= std::ldexp(1.F, static_cast<int>(r / 128 - c / 128 * 3));
  for (float& v : x) v = from_bf16(to_bf16(v));
  for (const Role8 role : {Role8::input, Role8::weight})
    for (const bool transposed : {false, true}) {
      const Quantisation form = Quantisation::of(Scaling::blockwise, role);
      const QuantisedMatrix m{transposed ? columns : rows, transposed ? rows : columns, form};
      const Bytes q = quantised(x, rows, columns, form, transposed, nullptr);
      const auto* scales = reinterpret_cast<const float*>(q.data() + m.scales_begin());
      for (std::int64_t r = 0; r < m.rows; ++r)
        for (std::int64_t c = 0; c < m.columns; ++c) {
          // The block's largest number, found anew for each element.
          float most = 0;
          const std::int64_t first = r / form.block_rows * form.block_rows, last = std::min(m.rows, first + form.block_rows);
          const auto element = [&](std::int64_t i, std::int64_t j) { return x[at(transposed ? j * columns + i : i * columns + j)]; };
          if (r % 16 != 0 && r % 129 != 0) continue;
          for (std::int64_t i = first; i < last; ++i)
            for (std::int64_t j = c / 128 * 128; j < std::min(m.columns, c / 128 * 128 + 128); ++j) most = std::max(most, std::fabs(element(i, j)));
          const float scale = scales[m.scale_of(r, c)];
          ASSERT_LE(most / scale, 448.F);
          ASSERT_GT(most / scale, 224.F);  // a power of two
          // Half of the last of e4m3's three bits, or half of its smallest step of 2^-9.
          ASSERT_NEAR(from_fp8(q[at(r * m.columns + c)], false) * scale, element(r, c), std::max(std::fabs(element(r, c)) / 16, scale * 0x1p-10F));
        }
    }
}

TEST(QuantisingKernels, WriteBothWaysOneAfterTheOther) {
  const std::int64_t rows = 20, columns = 12;
  Codes x = in_bf16(random_floats(rows * columns, 1));
  const std::int64_t form = Quantisation::of(Scaling::blockwise, Role8::gradient).number();
  const auto written = [&](std::int64_t ways) {
    const Shape s = shape(Operator::quantise, {rows, columns, form, ways}, DType::bf16);
    Bytes q(at(program::operand_elements(s, 2)), 0xff);
    rounding().run({s, std::array<void*, 2>{x.data(), q.data()}, {}});
    return q;
  };
  const Bytes plain = written(0), transposed = written(1), both = written(2);
  const auto parts = program::quantised_parts(shape(Operator::quantise, {rows, columns, form, 2}, DType::bf16));
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(Bytes(both.begin(), both.begin() + static_cast<std::ptrdiff_t>(plain.size())), plain);
  EXPECT_EQ(parts[1].begin % 16, 0);
  EXPECT_EQ(Bytes(both.begin() + parts[1].begin, both.end()), transposed);
}

TEST(QuantisingKernels, ScaleAWholeMatrixByWhatItIsToldOrExpects) {
  const Floats x{1, -2, 0.5F, 0.25F};
  const float told = 4;  // factor 448/4 = 112
  const Bytes q = quantised(x, 2, 2, Quantisation::of(Scaling::current, Role8::input), false, &told);
  const QuantisedMatrix m{2, 2, Quantisation::of(Scaling::current, Role8::input)};
  EXPECT_EQ(reinterpret_cast<const float*>(q.data() + m.scales_begin())[0], 1.F / 112);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(from_fp8(q[i], false), from_fp8(to_fp8(x[i] * 112, false), false));

  Codes x16 = in_bf16(x);
  float amax = 0;
  rounding().run({shape(Operator::amax, {4}, DType::bf16), std::array<void*, 2>{x16.data(), &amax}, {}});
  EXPECT_EQ(amax, 2.F);

  const Shape delayed = shape(Operator::quantise_delayed, {2, 2, Quantisation::of(Scaling::delayed, Role8::gradient).number(), 1}, DType::bf16);
  Bytes d(at(program::operand_elements(delayed, 3)));
  float expected = 0, seen = 1;
  rounding().run({delayed, std::array<void*, 4>{x16.data(), &expected, &seen, d.data()}, {}});
  EXPECT_EQ(seen, 2.F);
  EXPECT_EQ(d[2], 0x80 | 0x7b);  // transposed: 1 0.5 / -2 0.25; nothing is known, so its own largest is the format's
  expected = 1, seen = 3;
  rounding().run({delayed, std::array<void*, 4>{x16.data(), &expected, &seen, d.data()}, {}});
  EXPECT_EQ(seen, 3.F);
  EXPECT_EQ(d[2], 0x80 | 0x7b);  // -2 is beyond what was expected
  EXPECT_EQ(d[0], 0x7b);
}

TEST(QuantisingKernels, KeepAHistoryAndExpectItsLargest) {
  Floats seen{3, 1}, history(6, 0.F), expected{9, 9};
  const Shape update = shape(Operator::update_scales, {2, 3}, DType::fp32);
  const auto step = [&](float a, float b) {
    seen = {a, b};
    rounding().run({update, std::array<void*, 3>{seen.data(), history.data(), expected.data()}, {}});
    EXPECT_EQ(seen, (Floats{0, 0}));
  };
  step(3, 1);
  EXPECT_EQ(expected, (Floats{3, 1}));
  step(2, 2);
  step(1, 1);
  EXPECT_EQ(expected, (Floats{3, 2}));
  step(1, 1);  // the first is forgotten
  EXPECT_EQ(expected, (Floats{2, 2}));
  EXPECT_EQ(history, (Floats{1, 1, 1, 1, 2, 2}));
}

// The product of the numbers that the codes stand for, each of the three ways round.
TEST(RoundingKernels, MultiplyEightBitMatricesAsWhatTheyStandFor) {
  const std::int64_t tokens = 48, in = 160, out = 32;
  Floats x = random_floats(tokens * in, 1), w = random_floats(out * in, 2), dy = random_floats(tokens * out, 3, 1e-4);
  for (const Scaling scaling : {Scaling::current, Scaling::blockwise}) {
    const std::int64_t number = 1 + static_cast<std::int64_t>(scaling);
    const auto made = [&](const Floats& of, Role8 role, std::int64_t rows, std::int64_t columns, bool transposed) {
      float most = 0;
      for (const float v : of) most = std::max(most, std::fabs(from_bf16(to_bf16(v))));
      return quantised(of, rows, columns, Quantisation::of(scaling, role), transposed, scaling == Scaling::current ? &most : nullptr);
    };
    const auto off = [](const Floats& a, const Doubles& b) {
      double difference = 0, whole = 0;
      for (std::size_t i = 0; i < b.size(); ++i) difference += std::pow(static_cast<double>(a[i]) - b[i], 2), whole += b[i] * b[i];
      return std::sqrt(difference / whole);
    };
    // Relative errors of e4m3 are at most 1/16 and of e5m2 1/8, about a third of that in the root mean square, and independent.
    Bytes qx = made(x, Role8::input, tokens, in, false), qw = made(w, Role8::weight, out, in, false);
    Codes y(at(tokens * out));
    const Shape forward = shape(Operator::linear_forward, {tokens, in, out, number}, DType::fp8);
    ASSERT_TRUE(rounding().has(forward));
    ASSERT_EQ(program::operand_elements(forward, 0), static_cast<std::int64_t>(qx.size()));
    ASSERT_EQ(program::operand_elements(forward, 1), static_cast<std::int64_t>(qw.size()));
    rounding().run({forward, std::array<void*, 3>{qx.data(), qw.data(), y.data()}, {}});
    EXPECT_LT(off(wide16(y), linear(wide(x), wide(w), {}, tokens, in, out)), 0.06);

    Bytes qdy = made(dy, Role8::gradient, tokens, out, false), qwt = made(w, Role8::weight, out, in, true);
    Codes dx(at(tokens * in));
    rounding().run(
        {shape(Operator::linear_input_grad, {tokens, in, out, number}, DType::fp8), std::array<void*, 3>{qdy.data(), qwt.data(), dx.data()}, {}});
    Doubles expected_dx(at(tokens * in), 0), expected_dw(at(out * in), 0);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i) {
          expected_dx[at(t * in + i)] += static_cast<double>(dy[at(t * out + o)]) * static_cast<double>(w[at(o * in + i)]);
          expected_dw[at(o * in + i)] += static_cast<double>(dy[at(t * out + o)]) * static_cast<double>(x[at(t * in + i)]);
        }
    EXPECT_LT(off(wide16(dx), expected_dx), 0.1);

    Bytes qxt = made(x, Role8::input, tokens, in, true), qdyt = made(dy, Role8::gradient, tokens, out, true);
    Floats dw(at(out * in), 0.F);
    rounding().run(
        {shape(Operator::linear_weight_grad, {tokens, in, out, number}, DType::fp8), std::array<void*, 3>{qxt.data(), qdyt.data(), dw.data()}, {}});
    EXPECT_LT(off(dw, expected_dw), 0.1);
  }
}

}  // namespace
}  // namespace orrery::executor
