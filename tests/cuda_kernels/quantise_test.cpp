// The CUDA kernels in 8 bits, and updates at random, against the CPU's emulation of them: what is rounded bit for bit, products within bf16's error.
#include <gtest/gtest.h>

#include <cstring>

#include "executor/kernels/low_precision.h"
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
using Bytes = std::vector<std::byte>;

const KernelSet& emulation() {
  static const std::unique_ptr<KernelSet> fp32 = make_cpu_kernels(), set = make_rounding_kernels(*fp32);
  return *set;
}

Shape shape(Operator op, std::array<std::int64_t, 9> dims, DType type) {
  Shape s;
  s.op = op, s.dtype = type, s.dims = dims;
  return s;
}

Bytes of(DType type, const Floats& x) {
  Bytes out(at(bytes_of(type, static_cast<std::int64_t>(x.size()))));
  narrow(type, static_cast<std::int64_t>(x.size()), x.data(), out.data());
  return out;
}
Bytes poisoned(std::int64_t bytes) { return Bytes(at(bytes), std::byte{0xff}); }

// Operands after the call on both sides.
struct Both {
  std::vector<Bytes> here, there;
};
Both run_both(const Shape& s, const std::vector<Bytes>& operands, const KernelSettings& settings = {}, std::uint64_t key = 0,
              std::int64_t first = 0) {
  Both both{operands, operands};
  std::vector<void*> cpu, gpu;
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    cpu.push_back(both.here[i].data()), gpu.push_back(both.there[i].data());
    sizes.push_back(operands[i].size());
  }
  KernelContext c{s, cpu, settings}, g{s, gpu, settings};
  c.rounding_key = g.rounding_key = key, c.first_element = g.first_element = first;
  emulation().run(c);
  run_under_test(g, sizes);
  return both;
}

// Numbers of very unlike sizes, some of them zero.
Floats spread(std::int64_t n, std::uint64_t seed) {
  Floats x = random_floats(n, seed);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] *= i % 37 == 0 ? 0.F : std::ldexp(1.F, static_cast<int>(i * 2654435761U % 24) - 12);
  return x;
}

constexpr std::array<std::array<std::int64_t, 2>, 4> kSizes{{{128, 128}, {256, 384}, {144, 176}, {16, 2048}}};

TEST(CudaQuantise, MakesTheCodesAndScalesThatTheEmulationMakes) {
  for (const DType type : {DType::bf16, DType::fp32})
    for (const auto& [rows, columns] : kSizes)
      for (const Scaling scaling : {Scaling::current, Scaling::blockwise})
        for (const Role8 role : {Role8::input, Role8::weight, Role8::gradient})
          for (const std::int64_t ways : {0, 1, 2}) {
            const Shape s = shape(Operator::quantise, {rows, columns, Quantisation::of(scaling, role).number(), ways}, type);
            if (!kernels_under_test().has(s)) GTEST_SKIP() << "no such kernel on this device";
            const std::vector<program::QuantisedPart> parts = program::quantised_parts(s);
            std::vector<Bytes> operands{of(type, spread(rows * columns, 1))};
            if (scaling == Scaling::current) operands.push_back(of(DType::fp32, {3.7F}));
            operands.push_back(poisoned(program::operand_elements(s, 2)));
            const Both both = run_both(s, operands);
            const Bytes &a = both.here.back(), &b = both.there.back();
            for (const program::QuantisedPart& part : parts) {
              const QuantisedMatrix& m = part.matrix;
              for (std::int64_t r = 0; r < m.rows; ++r)
                for (std::int64_t c = 0; c < m.columns; ++c) {
                  const std::size_t code = at(part.begin + r * m.columns + c), scale = at(part.begin + m.scales_begin() + 4 * m.scale_of(r, c));
                  ASSERT_EQ(a[code], b[code]) << rows << "x" << columns << " " << r << "," << c;
                  ASSERT_EQ(std::memcmp(&a[scale], &b[scale], 4), 0);
                }
            }
          }
}

TEST(CudaQuantise, SeesTheLargestAndExpectsIt) {
  const std::int64_t rows = 272, columns = 400;
  const Shape s = shape(Operator::quantise_delayed, {rows, columns, Quantisation::of(Scaling::delayed, Role8::gradient).number(), 1}, DType::bf16);
  for (const float expected : {0.F, 0.5F, 1e4F}) {
    const Both both = run_both(s, {of(DType::bf16, spread(rows * columns, 2)), of(DType::fp32, {expected}), of(DType::fp32, {0.25F}),
                                   poisoned(program::operand_elements(s, 3))});
    EXPECT_EQ(both.here[2], both.there[2]);
    EXPECT_EQ(both.here[3], both.there[3]);
  }
  const Both amax = run_both(shape(Operator::amax, {rows * columns - 3}, DType::bf16), {of(DType::bf16, spread(rows * columns - 3, 3)), poisoned(4)});
  EXPECT_EQ(amax.here[1], amax.there[1]);
  for (const std::int64_t steps : {1, 5, 1024}) {
    const std::int64_t n = 70;
    Floats history = random_floats(n * steps, 4), seen = random_floats(n, 5);
    for (Floats* x : {&history, &seen})
      for (float& v : *x) v = std::abs(v);
    const Both both =
        run_both(shape(Operator::update_scales, {n, steps}, DType::fp32), {of(DType::fp32, seen), of(DType::fp32, history), poisoned(4 * n)});
    EXPECT_EQ(both.here, both.there);
  }
}

TEST(CudaFp8, ProductsAreThoseOfTheNumbersThatCodesStandFor) {
  const std::int64_t tokens = 256, in = 384, out = 128;
  const auto quantised = [](const Floats& x, Scaling scaling, Role8 role, std::int64_t rows, std::int64_t columns, bool transposed) {
    const Shape s = shape(Operator::quantise, {rows, columns, Quantisation::of(scaling, role).number(), transposed ? 1 : 0}, DType::bf16);
    Bytes x16 = of(DType::bf16, x), amax = of(DType::fp32, {4.F}), q(at(program::operand_elements(s, 2)));
    std::vector<void*> buffers{x16.data()};
    if (scaling != Scaling::blockwise) buffers.push_back(amax.data());
    buffers.push_back(q.data());
    emulation().run({s, buffers, {}});
    return q;
  };
  const Floats x = random_floats(tokens * in, 1), w = random_floats(out * in, 2, 0.1), dy = random_floats(tokens * out, 3);
  const auto expect_close = [](DType type, const Both& both) {
    const std::size_t n = both.here.back().size() * 8 / static_cast<std::size_t>(bits(type));
    Floats a(n), b(n);
    widen(type, static_cast<std::int64_t>(n), both.here.back().data(), a.data());
    widen(type, static_cast<std::int64_t>(n), both.there.back().data(), b.data());
    double off = 0, whole = 0;
    for (std::size_t i = 0; i < n; ++i)
      off += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2), whole += std::pow(static_cast<double>(a[i]), 2);
    EXPECT_LE(std::sqrt(off), 1e-2 * std::sqrt(whole));
  };
  KernelSettings settings;
  settings.parameters = DType::bf16;
  for (const Scaling scaling : {Scaling::delayed, Scaling::current, Scaling::blockwise}) {
    const std::array<std::int64_t, 9> dims{tokens, in, out, 1 + static_cast<std::int64_t>(scaling)};
    if (!kernels_under_test().has(shape(Operator::linear_forward, dims, DType::fp8))) continue;  // blocks are Hopper's alone
    const Bytes y = poisoned(2 * tokens * out), dx = poisoned(2 * tokens * in), dw = of(DType::fp32, random_floats(out * in, 4));
    const Bytes qx = quantised(x, scaling, Role8::input, tokens, in, false), qw = quantised(w, scaling, Role8::weight, out, in, false);
    expect_close(DType::bf16, run_both(shape(Operator::linear_forward, dims, DType::fp8), {qx, qw, y}, settings));
    expect_close(DType::bf16,
                 run_both(shape(Operator::linear_forward, dims, DType::fp8), {qx, qw, of(DType::bf16, random_floats(out, 5)), y}, settings));
    expect_close(
        DType::bf16,
        run_both(shape(Operator::linear_input_grad, dims, DType::fp8),
                 {quantised(dy, scaling, Role8::gradient, tokens, out, false), quantised(w, scaling, Role8::weight, out, in, true), dx}, settings));
    expect_close(
        DType::fp32,
        run_both(shape(Operator::linear_weight_grad, dims, DType::fp8),
                 {quantised(x, scaling, Role8::input, tokens, in, true), quantised(dy, scaling, Role8::gradient, tokens, out, true), dw}, settings));
  }
}

TEST(CudaOptimizer, RoundsAtRandomAsTheEmulationDoes) {
  for (const std::int64_t n : {1024, 1003}) {
    KernelSettings settings;
    settings.parameters = DType::bf16;
    Floats v = random_floats(n, 2);
    for (float& e : v) e = std::abs(e);
    Bytes norm(8, std::byte{0});
    const Both both = run_both(
        shape(Operator::optimizer_step, {n, 1}, DType::bf16),
        {norm, of(DType::fp32, random_floats(n, 3)), of(DType::bf16, random_floats(n, 4)), of(DType::fp32, random_floats(n, 5)), of(DType::fp32, v)},
        settings, 12345, 777);
    // The last bits of an update differ, and with them a few of the roundings.
    std::size_t unlike = 0;
    for (std::int64_t i = 0; i < n; ++i) unlike += std::memcmp(&both.here[2][at(2 * i)], &both.there[2][at(2 * i)], 2) != 0 ? 1 : 0;
    EXPECT_LE(unlike, static_cast<std::size_t>(n / 100));
  }
}

}  // namespace
}  // namespace orrery::executor
