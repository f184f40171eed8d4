// The CUDA kernels in 16 bits against the CPU's in fp32, on the same inputs: random ones that 16 bits hold exactly. A result's error is the norm of
// the difference by the norm of what is expected; NaN fails, and outputs hold NaN before.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "cuda_under_test.h"
#include "support/reference_kernels.h"

namespace orrery {
namespace {

using executor::KernelSettings;
using program::Operator;
using namespace reference;
using Bytes = std::vector<std::byte>;

// 2^-9 and 2^-12 are the largest relative errors of one rounding; results are sums of several rounded terms.
double bound(DType type) { return type == DType::bf16 ? 1e-2 : type == DType::fp16 ? 2e-3 : 1e-5; }

Bytes encode(DType type, const Floats& x) {
  Bytes out(at(bytes_of(type, static_cast<std::int64_t>(x.size()))));
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (type == DType::bf16) {
      const auto bits = std::bit_cast<std::uint32_t>(x[i]);
      const auto rounded = static_cast<std::uint16_t>(std::isnan(x[i]) ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
      std::memcpy(&out[2 * i], &rounded, 2);
    } else if (type == DType::fp16) {
      const auto rounded = static_cast<_Float16>(x[i]);
      std::memcpy(&out[2 * i], &rounded, 2);
    } else {
      std::memcpy(&out[4 * i], &x[i], 4);
    }
  }
  return out;
}
Floats decode(DType type, const Bytes& bytes) {
  Floats out(bytes.size() * 8 / static_cast<std::size_t>(bits(type)));
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (type == DType::bf16) {
      std::uint16_t half = 0;
      std::memcpy(&half, &bytes[2 * i], 2);
      out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
    } else if (type == DType::fp16) {
      _Float16 half = 0;
      std::memcpy(&half, &bytes[2 * i], 2);
      out[i] = static_cast<float>(half);
    } else {
      std::memcpy(&out[i], &bytes[4 * i], 4);
    }
  }
  return out;
}

struct Types {
  DType activations, parameters, gradients;
};

enum class Kind { activation, parameter, gradient, fp32, other };
// `raw`: of Kind::other (integers, doubles), the same on both sides.
struct Operand {
  Kind kind;
  Floats values;
  Bytes raw{};
};
Operand activation_of(Floats x) { return {Kind::activation, std::move(x)}; }
Operand parameter(Floats x) { return {Kind::parameter, std::move(x)}; }
Operand gradient_of(Floats x) { return {Kind::gradient, std::move(x)}; }
Operand fp32(Floats x) { return {Kind::fp32, std::move(x)}; }
template <class T>
Operand other(const std::vector<T>& x) {
  Operand o{Kind::other, {}};
  o.raw.resize(x.size() * sizeof(T));
  std::memcpy(o.raw.data(), x.data(), o.raw.size());
  return o;
}

class KernelPrecision : public testing::TestWithParam<Types> {
 protected:
  // Runs the operator on both sides; returns what the GPU made of each operand.
  std::vector<Floats> compare(Operator op, std::array<std::int64_t, 9> dims, std::vector<Operand> operands, KernelSettings settings = {},
                              DType shape_type = GetParam().activations) {
    const Types types = GetParam();
    const auto type_of = [&](const Operand& o) {
      return o.kind == Kind::activation  ? types.activations
             : o.kind == Kind::parameter ? types.parameters
             : o.kind == Kind::gradient  ? types.gradients
                                         : DType::fp32;
    };
    program::Shape shape;
    shape.op = op, shape.dims = dims;
    std::vector<Bytes> here, there;
    std::vector<void*> cpu, gpu;
    std::vector<std::size_t> sizes;
    for (const Operand& o : operands) {
      there.push_back(o.kind == Kind::other ? o.raw : encode(type_of(o), o.values));
      here.push_back(o.kind == Kind::other ? o.raw : encode(DType::fp32, decode(type_of(o), there.back())));
    }
    for (std::size_t i = 0; i < operands.size(); ++i) cpu.push_back(here[i].data()), gpu.push_back(there[i].data()), sizes.push_back(there[i].size());
    static const std::unique_ptr<executor::KernelSet> of_cpu = executor::make_cpu_kernels();
    of_cpu->run({shape, cpu, settings});
    shape.dtype = shape_type;
    settings.parameters = types.parameters, settings.gradients = types.gradients;
    executor::run_under_test({shape, gpu, settings}, sizes);
    std::vector<Floats> results;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].kind == Kind::other) {
        results.emplace_back();
        continue;
      }
      const Floats expected = decode(DType::fp32, here[i]), actual = decode(type_of(operands[i]), there[i]);
      double off = 0, whole = 0;
      for (std::size_t j = 0; j < expected.size(); ++j) {
        off += std::pow(static_cast<double>(actual[j]) - static_cast<double>(expected[j]), 2);
        whole += std::pow(static_cast<double>(expected[j]), 2);
      }
      EXPECT_LE(std::sqrt(off), std::max(bound(types.activations), bound(type_of(operands[i]))) * std::sqrt(whole) + 1e-30)
          << name(op) << ", operand " << i;
      results.push_back(actual);
    }
    return results;
  }
};

// Widths that allow 16-byte accesses, and ones that do not.
TEST_P(KernelPrecision, OfLinears) {
  for (const std::int64_t odd : {0, 1}) {
    const std::int64_t tokens = 96 + odd, in = 128 + odd, out = 64 + odd;
    const Floats x = random_floats(tokens * in, 1), w = random_floats(in * out, 2, 0.1), b = random_floats(out, 3),
                 dy = random_floats(tokens * out, 4);
    compare(Operator::linear_forward, {tokens, in, out}, {activation_of(x), parameter(w), parameter(b), activation_of(poison(tokens * out))});
    compare(Operator::linear_input_grad, {tokens, in, out}, {activation_of(dy), parameter(w), activation_of(poison(tokens * in))});
    compare(Operator::linear_weight_grad, {tokens, in, out},
            {activation_of(x), activation_of(dy), gradient_of(random_floats(in * out, 5)), gradient_of(random_floats(out, 6))});
  }
}

TEST_P(KernelPrecision, OfNorms) {
  for (const bool layer_norm : {false, true}) {
    for (const std::int64_t width : {128, 1024, 4096, 8192, 20000, 129}) {
      const std::int64_t tokens = 37;
      KernelSettings s;
      s.layer_norm = layer_norm;
      const Floats x = random_floats(tokens * width, 1), gamma = random_floats(width, 2), beta = random_floats(width, 3);
      std::vector<Operand> forward{activation_of(x), parameter(gamma)};
      if (layer_norm) forward.push_back(parameter(beta));
      forward.push_back(activation_of(poison(tokens * width)));
      forward.push_back(fp32(poison(layer_norm ? 2 * tokens : tokens)));
      const Floats statistics = compare(Operator::norm_forward, {tokens, width}, forward, s).back();
      std::vector<Operand> backward{activation_of(random_floats(tokens * width, 4)),
                                    activation_of(x),
                                    parameter(gamma),
                                    fp32(statistics),
                                    activation_of(random_floats(tokens * width, 5)),
                                    gradient_of(random_floats(width, 6))};
      if (layer_norm) backward.push_back(gradient_of(random_floats(width, 7)));
      compare(Operator::norm_backward, {tokens, width}, backward, s);
    }
  }
}

TEST_P(KernelPrecision, OfAttention) {
  for (const std::array<std::int64_t, 7>& d :
       {std::array<std::int64_t, 7>{2, 192, 4, 2, 64, 64, 1}, {1, 200, 4, 4, 128, 128, 1}, {1, 130, 2, 2, 192, 128, 1}, {1, 65, 3, 1, 20, 12, 0}}) {
    const std::array<std::int64_t, 9> dims{d[0], d[1], d[2], d[3], d[4], d[5], d[6]};
    const std::int64_t rows = d[0] * d[1], width = (d[2] + d[3]) * d[4] + d[3] * d[5], out_width = d[2] * d[5];
    const Floats qkv = random_floats(rows * width, 1);
    const std::vector<Floats> r =
        compare(Operator::attention_forward, dims, {activation_of(qkv), activation_of(poison(rows * out_width)), fp32(poison(rows * d[2]))});
    compare(Operator::attention_backward, dims,
            {activation_of(qkv), activation_of(r[1]), fp32(r[2]), activation_of(random_floats(rows * out_width, 2)),
             activation_of(poison(rows * width))});
  }
}

TEST_P(KernelPrecision, OfActivationsAndResiduals) {
  for (const std::int64_t width : {256, 57}) {
    const std::int64_t tokens = 33;
    const Floats u = random_floats(tokens * width * 2, 1);
    compare(Operator::activation_forward, {tokens, width, 1}, {activation_of(u), activation_of(poison(tokens * width))});
    compare(Operator::activation_backward, {tokens, width, 1},
            {activation_of(u), activation_of(random_floats(tokens * width, 2)), activation_of(poison(tokens * width * 2))});
    compare(Operator::residual_forward, {tokens, width},
            {activation_of(random_floats(tokens * width, 3)), parameter(random_floats(width, 4)), activation_of(random_floats(tokens * width, 5))});
    compare(Operator::bias_grad, {tokens, width}, {activation_of(random_floats(tokens * width, 6)), gradient_of(random_floats(width, 7))});
    compare(Operator::rope_forward, {tokens, 4, 2, 64}, {activation_of(random_floats(tokens * 8 * 64, 8))});
  }
}

TEST_P(KernelPrecision, OfEmbeddings) {
  const std::int64_t tokens = 700, hidden = 96, rows = 50;
  const auto token = random_tokens(tokens, 60, 1);  // some beyond this shard, all of them often
  compare(Operator::embedding_forward, {tokens, hidden, rows},
          {other(token), parameter(random_floats(rows * hidden, 2)), activation_of(poison(tokens * hidden))});
  compare(Operator::embedding_backward, {tokens, hidden, rows},
          {other(token), activation_of(random_floats(tokens * hidden, 3)), gradient_of(random_floats(rows * hidden, 4))});
}

TEST_P(KernelPrecision, OfCrossEntropy) {
  const std::int64_t tokens = 20, columns = 1003;  // rows that are not aligned
  KernelSettings s;
  s.vocab = 1000, s.global_tokens = 1;
  const Floats logits = random_floats(tokens * columns, 1, 3);
  const auto target = random_tokens(tokens, 1000, 2);
  const Floats max = compare(Operator::cross_entropy_max, {tokens, columns}, {activation_of(logits), fp32(poison(tokens))}, s)[1];
  const Floats sums =
      compare(Operator::cross_entropy_sum, {tokens, columns}, {activation_of(logits), fp32(max), other(target), fp32(poison(2 * tokens))}, s)[3];
  compare(Operator::cross_entropy_grad, {tokens, columns},
          {fp32(max), fp32(sums), other(target), activation_of(logits), other(std::vector<double>{0})}, s);
}

TEST_P(KernelPrecision, OfTheOptimizersStep) {
  const std::int64_t n = 1003;
  const Floats p = random_floats(n, 1);
  Floats v = random_floats(n, 2);
  for (float& x : v) x = std::abs(x);
  std::vector<Operand> operands{other(std::vector<double>{4}), gradient_of(random_floats(n, 3)), parameter(p), fp32(random_floats(n, 4)), fp32(v)};
  if (GetParam().parameters != DType::fp32) operands.push_back(fp32(p));
  compare(Operator::optimizer_step, {n}, operands, {}, GetParam().parameters);
}

TEST_P(KernelPrecision, OfExperts) {
  const std::int64_t experts = 3, in = 80, out = 72, rows = 150, most = 160;
  const std::vector<std::int32_t> counts{70, 0, 80};
  // Rows beyond those that are there are zero here: what they become is not said.
  const auto some = [&](std::int64_t width, std::uint64_t seed) {
    Floats x = random_floats(most * width, seed);
    std::fill(x.begin() + rows * width, x.end(), 0.F);
    return x;
  };
  const std::array<std::int64_t, 9> dims{rows, experts, in, out, most};
  const Floats w = random_floats(experts * in * out, 1, 0.1);
  compare(Operator::expert_linear_forward, dims,
          {activation_of(some(in, 2)), other(counts), parameter(w), activation_of(Floats(at(most * out), 0.F))});
  compare(Operator::expert_linear_input_grad, dims,
          {activation_of(some(out, 3)), other(counts), parameter(w), activation_of(Floats(at(most * in), 0.F))});
  compare(Operator::expert_linear_weight_grad, dims,
          {activation_of(some(in, 4)), activation_of(some(out, 5)), other(counts), gradient_of(random_floats(experts * in * out, 6))});
}

INSTANTIATE_TEST_SUITE_P(Types, KernelPrecision,
                         testing::Values(Types{DType::bf16, DType::bf16, DType::fp32}, Types{DType::bf16, DType::bf16, DType::bf16},
                                         Types{DType::bf16, DType::fp32, DType::fp32}, Types{DType::fp16, DType::fp16, DType::fp32},
                                         Types{DType::fp32, DType::fp32, DType::fp32}, Types{DType::fp32, DType::bf16, DType::bf16}),
                         [](const auto& of) {
                           return fmt::format("{}_{}_{}", name(of.param.activations), name(of.param.parameters), name(of.param.gradients));
                         });

}  // namespace
}  // namespace orrery
