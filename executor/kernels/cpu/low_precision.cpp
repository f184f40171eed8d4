#include "executor/kernels/low_precision.h"

#include <array>
#include <cassert>
#include <cstring>
#include <vector>

#include "executor/kernels/narrow.h"
#include "program/quantised.h"

namespace orrery::executor {
namespace {

using program::Operator;
using program::QuantisedMatrix;
using program::Shape;

bool is_float(DType t) { return t == DType::fp32 || t == DType::tf32 || t == DType::bf16 || t == DType::fp16; }
bool is_narrow(DType t) { return t == DType::bf16 || t == DType::fp16; }

bool is_product(Operator op) {
  return op == Operator::linear_activation_forward || op == Operator::linear_activation_grad || op == Operator::linear_forward ||
         op == Operator::linear_input_grad || op == Operator::linear_weight_grad || op == Operator::expert_linear_forward ||
         op == Operator::expert_linear_input_grad || op == Operator::expert_linear_weight_grad;
}

Shape in_fp32(Shape shape) {
  if (shape.dtype == DType::fp8) shape.dims[3] = 0;
  if (shape.dtype != DType::fp64 && shape.dtype != DType::int32) shape.dtype = DType::fp32;
  return shape;
}

// Of a table of positions, which the shape does not tell: rows up to the last that is used.
std::int64_t positions_used(const KernelContext& c) {
  const std::int64_t micro = c.settings.micro_batch;
  if (c.rows.empty()) return c.position_offset + (c.shape.dims[0] + micro - 1) / micro;
  std::int64_t end = 0;
  for (const program::Run& run : c.rows) end = std::max(end, c.position_offset + run.first + run.count);
  return end;
}

std::int64_t elements(const KernelContext& c, std::size_t position) {
  const bool table = (c.shape.op == Operator::position_forward && position == 0) || (c.shape.op == Operator::position_backward && position == 1);
  return table ? positions_used(c) * c.shape.dims[1] : program::operand_elements(c.shape, position);
}

// --- Quantised matrices --------------------------------------------------------------------------------------------------------------------------

float* scales_of(const QuantisedMatrix& m, void* data) { return reinterpret_cast<float*>(static_cast<std::byte*>(data) + m.scales_begin()); }

float largest_of(std::int64_t n, const float* x) {
  float most = 0;
  for (std::int64_t i = 0; i < n; ++i) most = std::fmax(most, std::fabs(x[i]));
  return most;
}

// `x`, of the matrix's rows and columns, with the largest number of the whole where it has one scale.
void quantise(const QuantisedMatrix& m, const float* x, float amax, void* to) {
  const bool e5m2 = m.form.format == program::Fp8::e5m2, blocks = m.form.block_columns > 0;
  auto* codes = static_cast<std::uint8_t*>(to);
  float* scales = scales_of(m, to);
  const std::int64_t block_rows = blocks ? m.form.block_rows : m.rows, block_columns = blocks ? m.form.block_columns : m.columns;
  for (std::int64_t row = 0; row < m.rows; row += block_rows)
    for (std::int64_t column = 0; column < m.columns; column += block_columns) {
      const std::int64_t end = std::min(m.rows, row + block_rows), width = std::min(m.columns - column, block_columns);
      if (blocks) {
        amax = 0;
        for (std::int64_t r = row; r < end; ++r) amax = std::fmax(amax, largest_of(width, x + r * m.columns + column));
      }
      const float factor = fp8_factor(amax, e5m2, blocks);
      scales[m.scale_of(row, column)] = fp8_scale(factor);
      for (std::int64_t r = row; r < end; ++r)
        for (std::int64_t i = r * m.columns + column; i < r * m.columns + column + width; ++i) codes[i] = to_fp8(x[i] * factor, e5m2);
    }
}

std::vector<float> transposed(std::int64_t rows, std::int64_t columns, const float* x) {
  std::vector<float> out(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) out[static_cast<std::size_t>(c * rows + r)] = x[r * columns + c];
  return out;
}

std::vector<float> dequantised(const QuantisedMatrix& m, const void* from, bool transpose) {
  const auto* codes = static_cast<const std::uint8_t*>(from);
  const float* scales = scales_of(m, const_cast<void*>(from));
  const bool e5m2 = m.form.format == program::Fp8::e5m2;
  std::vector<float> x(static_cast<std::size_t>(m.rows * m.columns));
  for (std::int64_t r = 0; r < m.rows; ++r)
    for (std::int64_t c = 0; c < m.columns; ++c)
      x[static_cast<std::size_t>(r * m.columns + c)] = from_fp8(codes[r * m.columns + c], e5m2) * scales[m.scale_of(r, c)];
  return transpose ? transposed(m.rows, m.columns, x.data()) : x;
}

class RoundingKernels final : public KernelSet {
 public:
  explicit RoundingKernels(const KernelSet& fp32) : fp32_(fp32) {}

  bool has(const Shape& shape) const override {
    switch (shape.op) {
      case Operator::copy:
      case Operator::zero:
        return fp32_.has(shape);
      case Operator::amax:
      case Operator::quantise:
      case Operator::quantise_delayed:
        return is_float(shape.dtype);
      case Operator::update_scales:
        return shape.dtype == DType::fp32;
      default:
        break;
    }
    if (shape.dtype == DType::fp8) return program::quantised_operands(shape) && fp32_.has(in_fp32(shape));
    return fp32_.has(is_float(shape.dtype) ? in_fp32(shape) : shape);
  }

  void run(const KernelContext& c) const override {
    assert(has(c.shape));
    switch (c.shape.op) {
      case Operator::copy:
      case Operator::zero:
        return fp32_.run(c);
      case Operator::amax:
      case Operator::quantise:
      case Operator::quantise_delayed:
        return quantise_operand(c);
      case Operator::update_scales:
        return update_scales(c);
      default:
        return rounded(c);
    }
  }

 private:
  static void quantise_operand(const KernelContext& c) {
    const auto& d = c.shape.dims;
    const bool amax_only = c.shape.op == Operator::amax;
    const std::int64_t n = amax_only ? d[0] : d[0] * d[1];
    std::vector<float> x(static_cast<std::size_t>(n));
    widen(c.shape.dtype, n, c.buffers[0], x.data());
    if (amax_only) {
      *static_cast<float*>(c.buffers[1]) = largest_of(n, x.data());
      return;
    }
    float amax = 0;
    if (c.shape.op == Operator::quantise_delayed) {
      const float own = largest_of(n, x.data()), expected = *static_cast<const float*>(c.buffers[1]);
      auto* seen = static_cast<float*>(c.buffers[2]);
      *seen = std::fmax(*seen, own);
      amax = expected > 0 ? expected : own;
    } else if (c.buffers.size() == 3) {
      amax = *static_cast<const float*>(c.buffers[1]);
    }
    for (const program::QuantisedPart& part : program::quantised_parts(c.shape))
      quantise(part.matrix, part.transposed ? transposed(d[0], d[1], x.data()).data() : x.data(), amax,
               static_cast<std::byte*>(c.buffers.back()) + part.begin);
  }

  static void update_scales(const KernelContext& c) {
    const std::int64_t n = c.shape.dims[0], steps = c.shape.dims[1];
    auto *seen = static_cast<float*>(c.buffers[0]), *history = static_cast<float*>(c.buffers[1]), *expected = static_cast<float*>(c.buffers[2]);
    if (steps > 1) std::memmove(history + n, history, static_cast<std::size_t>(n * (steps - 1)) * sizeof(float));
    for (std::int64_t i = 0; i < n; ++i) {
      history[i] = seen[i];
      seen[i] = expected[i] = 0;
    }
    for (std::int64_t s = 0; s < steps; ++s)
      for (std::int64_t i = 0; i < n; ++i) expected[i] = std::fmax(expected[i], history[s * n + i]);
  }

  // Everything else: through fp32.
  void rounded(const KernelContext& c) const {
    const std::string_view pattern = program::access_pattern(c.shape.op);
    const auto quantised = program::quantised_operands(c.shape);
    const Shape shape = in_fp32(c.shape);
    KernelSettings settings = c.settings;
    settings.parameters = settings.gradients = DType::fp32;
    std::vector<void*> buffers(c.buffers.begin(), c.buffers.end());
    std::array<std::vector<float>, 8> scratch;
    const std::size_t count = c.buffers.size();
    const auto position_of = [&](std::size_t i) { return program::operand_position(c.shape.op, i, count); };
    const auto type_of = [&](std::size_t position) { return program::operand_type(c.shape, position, c.settings.parameters, c.settings.gradients); };
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t position = position_of(i);
      const DType type = type_of(position);
      const bool reads = pattern[position] == 'r' || pattern[position] == 'R';
      if (type == DType::fp8) {
        // An input gradient's weight is transposed, and both operands of a weight's gradient.
        const bool back = c.shape.op == Operator::linear_weight_grad || (c.shape.op == Operator::linear_input_grad && position == 1);
        scratch[i] = dequantised(position == 0 ? quantised->first : quantised->second, c.buffers[i], back);
      } else if (is_narrow(type) || (c.shape.dtype == DType::tf32 && is_product(c.shape.op) && reads && is_float(type))) {
        scratch[i].resize(static_cast<std::size_t>(elements(c, position)));
        widen(type, static_cast<std::int64_t>(scratch[i].size()), c.buffers[i], scratch[i].data());
        if (c.shape.dtype == DType::tf32 && is_product(c.shape.op) && reads)
          for (float& x : scratch[i]) x = to_tf32(x);
      } else {
        continue;
      }
      buffers[i] = scratch[i].data();
    }
    KernelContext wide{shape, buffers, settings};
    wide.position_offset = c.position_offset, wide.step = c.step, wide.step_at = c.step_at, wide.counts = c.counts, wide.rows = c.rows,
    wide.keys = c.keys;
    wide.expert_places = c.expert_places, wide.expert_rank = c.expert_rank, wide.loss_weight = c.loss_weight;
    fp32_.run(wide);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t position = position_of(i);
      const DType type = type_of(position);
      if (scratch[i].empty() || pattern[position] == 'r' || pattern[position] == 'R') continue;
      if (c.shape.op == Operator::optimizer_step && position == 2 && c.shape.dims[1] != 0) {
        assert(type == DType::bf16);
        auto* to = static_cast<std::uint16_t*>(c.buffers[i]);
        const std::uint64_t key = step_key(c.rounding_key, c.step_at ? *c.step_at : c.step);
        for (std::size_t j = 0; j < scratch[i].size(); ++j)
          to[j] = to_bf16_at_random(scratch[i][j], rounding_bits(key, c.first_element + static_cast<std::int64_t>(j)));
      } else {
        narrow(type, static_cast<std::int64_t>(scratch[i].size()), scratch[i].data(), c.buffers[i]);
      }
    }
  }

  const KernelSet& fp32_;
};

}  // namespace

void widen(DType type, std::int64_t elements, const void* from, float* to) {
  const auto* codes = static_cast<const std::uint16_t*>(from);
  assert(is_float(type));
  if (type == DType::bf16)
    for (std::int64_t i = 0; i < elements; ++i) to[i] = from_bf16(codes[i]);
  else if (type == DType::fp16)
    for (std::int64_t i = 0; i < elements; ++i) to[i] = from_fp16(codes[i]);
  else if (elements > 0)
    std::memcpy(to, from, static_cast<std::size_t>(elements) * sizeof(float));
}

void narrow(DType type, std::int64_t elements, const float* from, void* to) {
  auto* codes = static_cast<std::uint16_t*>(to);
  assert(is_float(type));
  if (type == DType::bf16)
    for (std::int64_t i = 0; i < elements; ++i) codes[i] = to_bf16(from[i]);
  else if (type == DType::fp16)
    for (std::int64_t i = 0; i < elements; ++i) codes[i] = to_fp16(from[i]);
  else if (elements > 0)
    std::memcpy(to, from, static_cast<std::size_t>(elements) * sizeof(float));
}

std::unique_ptr<KernelSet> make_rounding_kernels(const KernelSet& fp32) { return std::make_unique<RoundingKernels>(fp32); }

}  // namespace orrery::executor
