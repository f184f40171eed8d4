#include "profiler/operands.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace orrery::profiler {
namespace {

using program::Operator;

constexpr std::int64_t kAlignment = 64;  // a cache line and the widest vector register, as the executor's arena aligns
constexpr std::int64_t kMostSets = 16384;

std::int64_t padded(std::int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

Operand numbers(DType type, std::int64_t n, Fill fill = Fill::uniform) { return {bytes_of(type, n), fill, 0, type}; }
Operand floats(std::int64_t n, Fill fill = Fill::uniform) { return numbers(DType::fp32, n, fill); }
Operand tokens(std::int64_t n, std::int64_t below) { return {4 * n, Fill::tokens, below, DType::int32}; }
// Rows of each of so many experts.
Operand counts(std::int64_t experts, std::int64_t rows) { return {4 * experts, Fill::same, rows / std::max<std::int64_t>(1, experts), DType::int32}; }
Operand scalar(Fill fill) { return {8, fill, 0, DType::fp64}; }

// A number of magnitude below 2, rounded towards zero; normal in fp16 or zero.
std::uint16_t half_bits(float x) {
  std::uint32_t b = 0;
  std::memcpy(&b, &x, 4);
  const std::uint32_t sign = b >> 16U & 0x8000U, exponent = b >> 23U & 0xffU;
  return static_cast<std::uint16_t>(exponent < 113 ? sign : sign | (exponent - 112) << 10U | (b >> 13U & 0x3ffU));  // biases: 127 and 15
}

}  // namespace

void fill(const Operand& operand, std::byte* to, std::uint64_t& state) {
  const auto next = [&state] {  // xorshift64 (Marsaglia 2003)
    state ^= state << 13U;
    state ^= state >> 7U;
    state ^= state << 17U;
    return state >> 40U;  // 24 bits
  };
  const std::int64_t n = operand.bytes / 4;
  switch (operand.fill) {
    case Fill::uniform:
    case Fill::positive: {
      const float shift = operand.fill == Fill::uniform ? 0.5F : -0.5F;
      const int width = bits(operand.type);
      if (operand.type == DType::fp64) {
        for (std::int64_t i = 0; i < operand.bytes / 8; ++i) {
          const double x = static_cast<double>(static_cast<float>(next()) * 0x1p-24F - shift);
          std::memcpy(to + 8 * i, &x, 8);
        }
        return;
      }
      if (width <= 8) {  // e4m3: sign, exponents 1 to 6 (2^-6 to 2^-1) or, where positive, 6 (0.5 to 1)
        for (std::int64_t i = 0; i < operand.bytes; ++i) {
          const std::uint64_t r = next();
          const std::uint64_t exponent = operand.fill == Fill::positive ? 6 : 1 + (r >> 4U) % 6,
                              sign = operand.fill == Fill::positive ? 0 : r & 0x80U;
          to[i] = static_cast<std::byte>(sign | exponent << 3U | (r & 7U));
        }
        return;
      }
      for (std::int64_t i = 0; i < operand.bytes * 8 / width; ++i) {
        const float x = static_cast<float>(next()) * 0x1p-24F - shift;
        if (width == 32) {
          std::memcpy(to + 4 * i, &x, 4);
          continue;
        }
        std::uint32_t b = 0;
        std::memcpy(&b, &x, 4);
        const std::uint16_t narrow = operand.type == DType::fp16 ? half_bits(x) : static_cast<std::uint16_t>(b >> 16U);  // towards zero
        std::memcpy(to + 2 * i, &narrow, 2);
      }
      return;
    }
    case Fill::zero:
      std::memset(to, 0, static_cast<std::size_t>(operand.bytes));
      return;
    case Fill::one: {
      assert(operand.bytes == 8);
      const double one = 1;
      std::memcpy(to, &one, 8);
      return;
    }
    case Fill::tokens:
      for (std::int64_t i = 0; i < n; ++i) {
        const auto x = static_cast<std::int32_t>(next() % static_cast<std::uint64_t>(operand.tokens));
        std::memcpy(to + 4 * i, &x, 4);
      }
      return;
    case Fill::same:
      for (std::int64_t i = 0; i < n; ++i) {
        const auto x = static_cast<std::int32_t>(operand.tokens);
        std::memcpy(to + 4 * i, &x, 4);
      }
      return;
  }
}

executor::KernelSettings settings_for(const OperatorItem& item, const executor::KernelSettings& settings) {
  executor::KernelSettings s = settings;
  s.vocab_offset = 0;
  s.vocab = std::max(item.shape.dims[1], item.shape.dims[2]);
  s.global_tokens = std::max<std::int64_t>(1, item.shape.dims[0]);
  // The count of operands knows better than general settings what the instruction is.
  using Kind = executor::OptimizerSettings::Kind;
  if (item.shape.op == Operator::optimizer_step) s.optimizer.kind = item.operands >= 5 ? Kind::adamw : Kind::sgd;
  if (item.shape.op == Operator::norm_forward && item.operands == 5) s.layer_norm = true;
  if (item.shape.op == Operator::norm_backward && item.operands == 7) s.layer_norm = true;
  return s;
}

std::vector<Operand> operands_of(const OperatorItem& item, const executor::KernelSettings& general) {
  const executor::KernelSettings settings = settings_for(item, general);
  const auto& d = item.shape.dims;
  const std::size_t count = item.operands;
  const std::int64_t rows = d[0], packed = d[1] * d[0] * ((d[2] + d[3]) * d[4] + d[3] * d[5]), attended = d[1] * d[0] * d[2] * d[5];
  const std::int64_t gated = d[2] != 0 ? 2 : 1, statistics = settings.layer_norm ? 2 * rows : rows;
  const std::int64_t positions = rows / std::max<std::int64_t>(1, settings.micro_batch) + 1;
  const auto x = [&](std::int64_t n, Fill how = Fill::uniform) { return numbers(item.shape.dtype, n, how); };
  const auto parameter = [&](std::int64_t n) { return numbers(settings.parameters, n); };
  const auto gradient = [&](std::int64_t n) { return numbers(settings.gradients, n); };
  // As program/operators.h has it.
  const auto as_documented = [&] {
    std::vector<Operand> all;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t position = program::operand_position(item.shape.op, i, count);
      const DType type = program::operand_type(item.shape, position, settings.parameters, settings.gradients);
      all.push_back(numbers(type, program::operand_elements(item.shape, position), type == DType::fp32 ? Fill::positive : Fill::uniform));
    }
    return all;
  };
  if (item.shape.dtype == DType::fp8 && program::work_class(item.shape.op) == WorkClass::gemm) return as_documented();
  std::vector<Operand> o;
  switch (item.shape.op) {
    case Operator::embedding_forward:
      o = {tokens(rows, d[2]), parameter(d[2] * d[1]), x(rows * d[1])};
      break;
    case Operator::embedding_backward:
      o = {tokens(rows, d[2]), x(rows * d[1]), gradient(d[2] * d[1])};
      break;
    case Operator::position_forward:
      o = {parameter(positions * d[1]), x(rows * d[1])};
      break;
    case Operator::position_backward:
      o = {x(rows * d[1]), gradient(positions * d[1])};
      break;
    case Operator::norm_forward:
      o = {x(rows * d[1]), parameter(d[1])};
      if (count == 5) o.push_back(parameter(d[1]));
      o.insert(o.end(), {x(rows * d[1]), floats(statistics)});
      break;
    case Operator::norm_backward:
      o = {x(rows * d[1]), x(rows * d[1]), parameter(d[1]), floats(statistics, Fill::positive), x(rows * d[1]), gradient(d[1])};
      if (count == 7) o.push_back(gradient(d[1]));
      break;
    case Operator::linear_forward:
      o = {x(rows * d[1]), parameter(d[1] * d[2])};
      if (count == 4) o.push_back(parameter(d[2]));
      o.push_back(x(rows * d[2]));
      break;
    case Operator::linear_input_grad:
      o = {x(rows * d[2]), parameter(d[1] * d[2]), x(rows * d[1])};
      break;
    case Operator::linear_weight_grad:
      o = {x(rows * d[1]), x(rows * d[2]), gradient(d[1] * d[2])};
      if (count == 4) o.push_back(gradient(d[2]));
      break;
    case Operator::rope_forward:
    case Operator::rope_backward:
      o = {x(rows * (d[1] + 2 * d[2]) * d[3])};
      break;
    case Operator::attention_forward:
      o = {x(packed), x(attended), floats(d[0] * d[1] * d[2])};
      break;
    case Operator::attention_backward:  // a log-sum-exp near 1 keeps the recomputed probabilities near those of short sequences
      o = {x(packed), x(attended), floats(d[0] * d[1] * d[2], Fill::positive), x(attended), x(packed)};
      break;
    case Operator::attention_block_forward:
    case Operator::attention_block_backward:
    case Operator::attention_merge:
    case Operator::take_columns:
    case Operator::put_columns:
    case Operator::scatter_heads:
    case Operator::gather_heads:
    case Operator::scatter_columns:
    case Operator::gather_columns: {
      // As large as the operator needs; log-sum-exps near 1, as above.
      const std::string_view pattern = program::access_pattern(item.shape.op);
      for (std::size_t i = 0; i < pattern.size(); ++i) {
        const Operator op = item.shape.op;
        const bool lse = ((op == Operator::attention_block_forward || op == Operator::attention_block_backward) && i == 3) ||
                         (op == Operator::attention_merge && (i == 1 || i == 3));
        const std::int64_t n = program::operand_elements(item.shape, i);
        o.push_back(lse ? floats(n, Fill::positive) : x(n));
      }
      break;
    }
    case Operator::activation_forward:
      o = {x(rows * d[1] * gated), x(rows * d[1])};
      break;
    case Operator::activation_backward:
      o = {x(rows * d[1] * gated), x(rows * d[1]), x(rows * d[1] * gated)};
      break;
    case Operator::residual_forward:
      o = {x(rows * d[1])};
      if (count == 3) o.push_back(parameter(d[1]));
      o.push_back(x(rows * d[1]));
      break;
    case Operator::bias_grad:
      o = {x(rows * d[1]), gradient(d[1])};
      break;
    case Operator::accumulate:
    case Operator::copy:
      o = {x(rows), x(rows)};
      break;
    case Operator::zero:
      o = {x(rows)};
      break;
    case Operator::split_columns:
      o = {x(rows * (d[1] + d[2])), x(rows * d[1]), x(rows * d[2])};
      break;
    case Operator::join_columns:
      o = {x(rows * d[1]), x(rows * d[2]), x(rows * (d[1] + d[2]))};
      break;
    case Operator::mla_pack_forward:
      for (const std::size_t i : {0U, 1U, 2U, 3U}) o.push_back(x(program::operand_elements(item.shape, i)));
      break;
    case Operator::mla_pack_backward:
      for (const std::size_t i : {0U, 1U, 2U, 3U}) o.push_back(x(program::operand_elements(item.shape, i)));
      break;
    case Operator::route_forward:
      o = {x(rows * d[1]), floats(rows * d[2]), tokens(rows * d[2], d[1])};
      break;
    case Operator::route_backward:
      o = {floats(rows * d[2]), x(rows * d[1]), tokens(rows * d[2], d[1]), x(rows * d[1])};
      break;
    case Operator::expert_sort:
      o = {tokens(rows * d[1], d[2]), tokens(rows * d[1] * d[4], 1), tokens(d[2] * d[4], 1)};
      break;
    case Operator::expert_sort_received:
      o = {counts(d[1] * d[2], rows), tokens(rows, 1), tokens(d[2], 1)};
      break;
    case Operator::expert_sort_gathered:
      o = {tokens(rows * d[1], d[2]), tokens(rows * d[1], 1), tokens(d[3], 1)};
      break;
    case Operator::expert_permute:
      o = {x(rows * d[2]), tokens(rows * d[1], d[3]), x(d[3] * d[2])};
      break;
    case Operator::expert_unpermute:
      o = {x(d[3] * d[2]), tokens(rows * d[1], d[3]), x(rows * d[2])};
      break;
    case Operator::expert_linear_forward:
      o = {x(d[4] * d[2]), counts(d[1], rows), parameter(d[1] * d[2] * d[3]), x(d[4] * d[3])};
      break;
    case Operator::expert_linear_input_grad:
      o = {x(d[4] * d[3]), counts(d[1], rows), parameter(d[1] * d[2] * d[3]), x(d[4] * d[2])};
      break;
    case Operator::expert_linear_weight_grad:
      o = {x(d[4] * d[2]), x(d[4] * d[3]), counts(d[1], rows), gradient(d[1] * d[2] * d[3])};
      break;
    case Operator::expert_activation_forward:
      o = {x(d[4] * d[1] * gated), counts(d[3], rows), floats(d[4]), x(d[4] * d[1])};
      break;
    case Operator::expert_activation_backward:
      o = {x(d[4] * d[1] * gated), counts(d[3], rows), floats(d[4]), x(d[4] * d[1]), x(d[4] * d[1] * gated), floats(d[4])};
      break;
    case Operator::cross_entropy_max:
      o = {x(rows * d[1]), floats(rows)};
      break;
    case Operator::cross_entropy_sum:
      o = {x(rows * d[1]), floats(rows, Fill::positive), tokens(rows, d[1]), floats(2 * rows)};
      break;
    case Operator::cross_entropy_grad:
      o = {floats(rows, Fill::positive), floats(2 * rows, Fill::positive), tokens(rows, d[1]), x(rows * d[1]), scalar(Fill::zero)};
      break;
    case Operator::gradient_norm:
      o = {x(rows), scalar(Fill::zero)};
      break;
    case Operator::optimizer_step:
      o = {scalar(Fill::one), gradient(rows), x(rows)};
      for (std::size_t i = 3; i < count; ++i) o.push_back(floats(rows, i == 4 ? Fill::positive : Fill::uniform));  // v is a mean of squares
      break;
    case Operator::linear_activation_forward:
    case Operator::linear_activation_grad:
    case Operator::amax:
    case Operator::quantise:
    case Operator::quantise_delayed:
    case Operator::update_scales:
      o = as_documented();
      break;
    case Operator::load_tokens:
    case Operator::load_targets:
    case Operator::all_reduce:
    case Operator::all_reduce_max:
    case Operator::reduce_scatter:
    case Operator::all_gather:
    case Operator::all_to_all:
    case Operator::all_to_all_by_count:
    case Operator::broadcast:
    case Operator::rotate:
    case Operator::send:
    case Operator::recv:
    case Operator::wait:
      break;
  }
  assert(o.size() == count);
  return o;
}

std::int64_t set_bytes(const std::vector<Operand>& operands) {
  std::int64_t bytes = 0;
  for (const Operand& o : operands) bytes += padded(o.bytes);
  return bytes;
}

std::byte* Room::get(std::int64_t bytes) {
  if (bytes > bytes_) {
    memory_.reset();  // first, so that both are never there
    memory_.reset(new std::byte[static_cast<std::size_t>(bytes + kAlignment)]);
    bytes_ = bytes;
  }
  const auto misaligned = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(memory_.get()) % kAlignment);
  return memory_.get() + (kAlignment - misaligned) % kAlignment;
}

std::int64_t OperandSets::bytes(const std::vector<Operand>& operands, std::int64_t footprint) {
  const std::int64_t one = std::max<std::int64_t>(kAlignment, set_bytes(operands));
  return one * std::clamp<std::int64_t>((footprint + one / 2) / one, 1, kMostSets);
}

OperandSets::OperandSets(const std::vector<Operand>& operands, std::int64_t footprint, std::uint64_t seed, Room& room)
    : bytes_(bytes(operands, footprint)) {
  const std::int64_t one = std::max<std::int64_t>(kAlignment, set_bytes(operands)), count = bytes_ / one;
  std::byte* at = room.get(bytes_);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL | 1U;
  const std::byte* first = at;
  for (std::int64_t i = 0; i < count; ++i) {
    auto& set = sets_.emplace_back();
    if (i > 0) std::memcpy(at, first, static_cast<std::size_t>(one));
    for (const Operand& o : operands) {
      if (i == 0) fill(o, at, state);
      set.push_back(at);
      at += padded(o.bytes);
    }
  }
}

const std::vector<void*>& OperandSets::next() {
  at_ = at_ + 1 < sets_.size() ? at_ + 1 : 0;
  return sets_[at_];
}

}  // namespace orrery::profiler
