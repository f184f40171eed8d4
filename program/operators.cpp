#include "program/operators.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "program/quantised.h"

namespace orrery::program {
namespace {

struct Entry {
  std::string_view name, accesses;
  WorkClass work;  // communication: of the axis instead
};

// In the order of Operator. Accesses as documented there: r, w, u; a capital letter marks an optional one.
constexpr std::array<Entry, kOperators> kTable{{
    {"load_tokens", "w", WorkClass::embedding},
    {"load_targets", "w", WorkClass::embedding},
    {"embedding_forward", "rrw", WorkClass::embedding},
    {"embedding_backward", "rru", WorkClass::embedding},
    {"position_forward", "ru", WorkClass::embedding},
    {"position_backward", "ru", WorkClass::embedding},
    {"norm_forward", "rrRww", WorkClass::norm},
    {"norm_backward", "rrrruuU", WorkClass::norm},
    {"linear_forward", "rrRw", WorkClass::gemm},
    {"linear_input_grad", "rrw", WorkClass::gemm},
    {"linear_weight_grad", "rruU", WorkClass::gemm},
    {"rope_forward", "u", WorkClass::elementwise},
    {"rope_backward", "u", WorkClass::elementwise},
    {"attention_forward", "rww", WorkClass::attention},
    {"attention_backward", "rrrrw", WorkClass::attention},
    {"attention_block_forward", "rrww", WorkClass::attention},
    {"attention_block_backward", "rrrrruw", WorkClass::attention},
    {"attention_merge", "rruu", WorkClass::elementwise},
    {"take_columns", "rw", WorkClass::elementwise},
    {"put_columns", "ru", WorkClass::elementwise},
    {"scatter_heads", "rw", WorkClass::elementwise},
    {"gather_heads", "rw", WorkClass::elementwise},
    {"scatter_columns", "rw", WorkClass::elementwise},
    {"gather_columns", "rw", WorkClass::elementwise},
    {"activation_forward", "rw", WorkClass::elementwise},
    {"activation_backward", "rrw", WorkClass::elementwise},
    {"residual_forward", "rRu", WorkClass::elementwise},
    {"bias_grad", "ru", WorkClass::elementwise},
    {"accumulate", "ru", WorkClass::elementwise},
    {"copy", "rw", WorkClass::elementwise},
    {"linear_activation_forward", "rrRww", WorkClass::gemm},
    {"linear_activation_grad", "rrrw", WorkClass::gemm},
    {"amax", "rw", WorkClass::elementwise},
    {"quantise", "rRw", WorkClass::elementwise},
    {"quantise_delayed", "rruw", WorkClass::elementwise},
    {"update_scales", "uuw", WorkClass::optimizer},
    {"split_columns", "rww", WorkClass::elementwise},
    {"join_columns", "rrw", WorkClass::elementwise},
    {"mla_pack_forward", "rrrw", WorkClass::elementwise},
    {"mla_pack_backward", "rwww", WorkClass::elementwise},
    {"route_forward", "rww", WorkClass::elementwise},
    {"route_backward", "rrrw", WorkClass::elementwise},
    {"expert_sort", "rww", WorkClass::elementwise},
    {"expert_sort_received", "rww", WorkClass::elementwise},
    {"expert_sort_gathered", "rww", WorkClass::elementwise},
    {"expert_permute", "rrw", WorkClass::elementwise},
    {"expert_unpermute", "rrw", WorkClass::elementwise},
    {"expert_linear_forward", "rrrw", WorkClass::gemm},
    {"expert_linear_input_grad", "rrrw", WorkClass::gemm},
    {"expert_linear_weight_grad", "rrru", WorkClass::gemm},
    {"expert_activation_forward", "rrrw", WorkClass::elementwise},
    {"expert_activation_backward", "rrrrww", WorkClass::elementwise},
    {"cross_entropy_max", "rw", WorkClass::loss},
    {"cross_entropy_sum", "rrrw", WorkClass::loss},
    {"cross_entropy_grad", "rrruu", WorkClass::loss},
    {"zero", "w", WorkClass::elementwise},
    {"gradient_norm", "ru", WorkClass::optimizer},
    {"optimizer_step", "ruuUUU", WorkClass::optimizer},
    {"all_reduce", "u", WorkClass::tp_comm},
    {"all_reduce_max", "u", WorkClass::tp_comm},
    {"reduce_scatter", "rw", WorkClass::tp_comm},
    {"all_gather", "rw", WorkClass::tp_comm},
    {"all_to_all", "rw", WorkClass::tp_comm},
    {"all_to_all_by_count", "rrw", WorkClass::ep_comm},
    {"broadcast", "u", WorkClass::tp_comm},
    {"rotate", "rw", WorkClass::tp_comm},
    {"send", "r", WorkClass::pp_comm},
    {"recv", "w", WorkClass::pp_comm},
    {"wait", "", WorkClass::control},
}};

// Elements of attention_block_*'s operands; scatter_heads' and gather_heads' packed rows and parts.
struct BlockElements {
  std::int64_t q, kv, out, lse;
};
BlockElements block_elements(const Shape& shape) {
  const auto& d = shape.dims;
  const std::int64_t rows = d[0] * d[1];
  return {rows * d[8], d[0] * d[2] * d[4] * (d[5] + d[6]), rows * d[3] * d[6], rows * d[3]};
}
std::int64_t packed_elements(const Shape& shape) {
  const auto& d = shape.dims;
  return d[0] * (d[1] * d[3] + d[2] * (d[3] + d[4]));
}
std::int64_t of_parts(const Shape& shape) {
  const QuantisedPart last = quantised_parts(shape).back();
  return last.begin + last.matrix.bytes();
}

std::int64_t parted_elements(const Shape& shape) {
  const auto& d = shape.dims;
  const std::int64_t kv_heads = d[2] == 0 ? 0 : std::max(d[2], d[5]);
  return d[0] * (d[1] * d[3] + kv_heads * (d[3] + d[4]));
}

}  // namespace

std::string_view name(Operator op) { return kTable[static_cast<std::size_t>(op)].name; }

std::string_view access_pattern(Operator op) { return kTable[static_cast<std::size_t>(op)].accesses; }

std::size_t operand_position(Operator op, std::size_t place, std::size_t count) {
  const std::string_view pattern = access_pattern(op);
  const std::size_t optional = pattern.find_first_not_of("rwu");
  const bool in_the_middle = optional < pattern.size() && pattern.find_first_of("rwu", optional) != std::string_view::npos;
  return in_the_middle && count < pattern.size() && place >= optional ? place + 1 : place;
}

Operator operator_named(std::string_view word) {
  const auto it = std::find_if(kTable.begin(), kTable.end(), [&](const Entry& e) { return e.name == word; });
  if (it == kTable.end()) throw std::out_of_range("no operator is named '" + std::string{word} + "'");
  return static_cast<Operator>(it - kTable.begin());
}

WorkClass work_class(Operator op, WorkClass axis_class) { return is_communication(op) ? axis_class : kTable[static_cast<std::size_t>(op)].work; }

std::int64_t operand_elements(const Shape& shape, std::size_t position, std::int64_t group) {
  const auto& d = shape.dims;
  const std::int64_t n = d[0], rows = d[0];
  std::array<std::int64_t, 7> of{};  // by position in the pattern
  switch (shape.op) {
    case Operator::load_tokens:
    case Operator::load_targets:
    case Operator::zero:
    case Operator::all_reduce:
    case Operator::all_reduce_max:
    case Operator::broadcast:
    case Operator::send:
    case Operator::recv:
      of = {n};
      break;
    case Operator::embedding_forward:
      of = {rows, d[2] * d[1], rows * d[1]};
      break;
    case Operator::embedding_backward:
      of = {rows, rows * d[1], d[2] * d[1]};
      break;
    case Operator::position_forward:  // of the table one row at least: the shape does not tell samples from positions
      of = {d[1], rows * d[1]};
      break;
    case Operator::position_backward:
      of = {rows * d[1], d[1]};
      break;
    case Operator::norm_forward:
      of = {rows * d[1], d[1], d[1], rows * d[1], rows};
      break;
    case Operator::norm_backward:
      of = {rows * d[1], rows * d[1], d[1], rows, rows * d[1], d[1], d[1]};
      break;
    case Operator::linear_forward:
      of = {rows * d[1], d[1] * d[2], d[2], rows * d[2]};
      if (const auto q = quantised_operands(shape)) of[0] = q->first.bytes(), of[1] = q->second.bytes();
      break;
    case Operator::linear_input_grad:
      of = {rows * d[2], d[1] * d[2], rows * d[1]};
      if (const auto q = quantised_operands(shape)) of[0] = q->first.bytes(), of[1] = q->second.bytes();
      break;
    case Operator::linear_weight_grad:
      of = {rows * d[1], rows * d[2], d[1] * d[2], d[2]};
      if (const auto q = quantised_operands(shape)) of[0] = q->first.bytes(), of[1] = q->second.bytes();
      break;
    case Operator::linear_activation_forward:
      of = {rows * d[1], d[1] * d[2], d[2], rows * d[2], rows * d[2]};
      break;
    case Operator::linear_activation_grad:
      of = {rows * d[2], d[1] * d[2], rows * d[1], rows * d[1]};
      break;
    case Operator::amax:
      of = {n, 1};
      break;
    case Operator::quantise:
      of = {rows * d[1], 1, of_parts(shape)};
      break;
    case Operator::quantise_delayed:
      of = {rows * d[1], 1, 1, of_parts(shape)};
      break;
    case Operator::update_scales:
      of = {n, n * d[1], n};
      break;
    case Operator::rope_forward:
    case Operator::rope_backward:
      of = {rows * (d[1] + 2 * d[2]) * d[3]};
      break;
    case Operator::attention_forward:
    case Operator::attention_backward: {
      const std::int64_t tokens = d[0] * d[1], qkv = tokens * (d[2] * d[4] + d[3] * (d[4] + d[5])), out = tokens * d[2] * d[5], lse = tokens * d[2];
      if (shape.op == Operator::attention_forward)
        of = {qkv, out, lse};
      else
        of = {qkv, out, lse, out, qkv};
      break;
    }
    case Operator::attention_block_forward: {
      const BlockElements e = block_elements(shape);
      of = {e.q, e.kv, e.out, e.lse};
      break;
    }
    case Operator::attention_block_backward: {
      const BlockElements e = block_elements(shape);
      of = {e.q, e.kv, e.out, e.lse, e.out, e.q, e.kv};
      break;
    }
    case Operator::attention_merge: {
      const std::int64_t lse = d[0] * d[1] * d[2], out = lse * d[3];
      of = {out, lse, out, lse};
      break;
    }
    case Operator::take_columns:
      of = {rows * d[1], rows * d[3]};
      break;
    case Operator::put_columns:
      of = {rows * d[3], rows * d[1]};
      break;
    case Operator::scatter_heads:
      of = {packed_elements(shape), parted_elements(shape)};
      break;
    case Operator::gather_heads:
      of = {parted_elements(shape), packed_elements(shape)};
      break;
    case Operator::scatter_columns:
    case Operator::gather_columns:
      of = {rows * d[1] * d[2], rows * d[1] * d[2]};
      break;
    case Operator::activation_forward:
      of = {rows * d[1] * (d[2] ? 2 : 1), rows * d[1]};
      break;
    case Operator::activation_backward:
      of = {rows * d[1] * (d[2] ? 2 : 1), rows * d[1], rows * d[1] * (d[2] ? 2 : 1)};
      break;
    case Operator::residual_forward:
      of = {rows * d[1], d[1], rows * d[1]};
      break;
    case Operator::bias_grad:
      of = {rows * d[1], d[1]};
      break;
    case Operator::accumulate:
    case Operator::copy:
    case Operator::all_to_all:
    case Operator::rotate:
      of = {n, n};
      break;
    case Operator::split_columns:
      of = {rows * (d[1] + d[2]), rows * d[1], rows * d[2]};
      break;
    case Operator::join_columns:
      of = {rows * d[1], rows * d[2], rows * (d[1] + d[2])};
      break;
    case Operator::mla_pack_forward:
    case Operator::mla_pack_backward: {
      const std::int64_t q = rows * d[1] * (d[2] + d[3]), kv = rows * d[1] * (d[2] + d[4]), k_rope = rows * d[3];
      const std::int64_t qkv = rows * d[1] * (2 * (d[2] + d[3]) + d[4]);
      if (shape.op == Operator::mla_pack_forward)
        of = {q, kv, k_rope, qkv};
      else
        of = {qkv, q, kv, k_rope};
      break;
    }
    case Operator::route_forward:
      of = {rows * d[1], rows * d[2], rows * d[2]};
      break;
    case Operator::route_backward:
      of = {rows * d[2], rows * d[1], rows * d[2], rows * d[1]};
      break;
    case Operator::expert_sort:
      of = {rows * d[1], rows * d[1] * d[4], d[2] * d[4]};
      break;
    case Operator::expert_sort_received:
      of = {d[1] * d[2], rows, d[2]};
      break;
    case Operator::expert_sort_gathered:
      of = {rows * d[1], rows * d[1], d[3]};
      break;
    case Operator::expert_permute:
      of = {rows * d[2], rows * d[1], d[3] * d[2]};
      break;
    case Operator::expert_unpermute:
      of = {d[3] * d[2], rows * d[1], rows * d[2]};
      break;
    case Operator::expert_linear_forward:
      of = {d[4] * d[2], d[1], d[1] * d[2] * d[3], d[4] * d[3]};
      break;
    case Operator::expert_linear_input_grad:
      of = {d[4] * d[3], d[1], d[1] * d[2] * d[3], d[4] * d[2]};
      break;
    case Operator::expert_linear_weight_grad:
      of = {d[4] * d[2], d[4] * d[3], d[1], d[1] * d[2] * d[3]};
      break;
    case Operator::expert_activation_forward:
      of = {d[4] * d[1] * (d[2] ? 2 : 1), d[3], d[4], d[4] * d[1]};
      break;
    case Operator::expert_activation_backward:
      of = {d[4] * d[1] * (d[2] ? 2 : 1), d[3], d[4], d[4] * d[1], d[4] * d[1] * (d[2] ? 2 : 1), d[4]};
      break;
    case Operator::all_to_all_by_count:
      of = {n * d[1], group * d[2], d[3] * d[1]};
      break;
    case Operator::cross_entropy_max:
      of = {rows * d[1], rows};
      break;
    case Operator::cross_entropy_sum:
      of = {rows * d[1], rows, rows, 2 * rows};
      break;
    case Operator::cross_entropy_grad:
      of = {rows, 2 * rows, rows, rows * d[1], 1};
      break;
    case Operator::gradient_norm:
      of = {n, 1};
      break;
    case Operator::optimizer_step:
      of = {1, n, n, n, n, n};
      break;
    case Operator::reduce_scatter:
      of = {n, n / group};
      break;
    case Operator::all_gather:
      of = {n / group, n};
      break;
    case Operator::wait:
      break;
  }
  return of[position];
}

DType operand_type(const Shape& shape, std::size_t position, DType parameters, DType gradients) {
  const DType a = shape.dtype, p = parameters, g = gradients, f = DType::fp32, i = DType::int32;
  const DType result = a == DType::fp8 ? DType::bf16 : a;  // of a product
  std::array<DType, 7> of{};
  switch (shape.op) {
    case Operator::load_tokens:
    case Operator::load_targets:
    case Operator::expert_sort:
    case Operator::expert_sort_received:
    case Operator::expert_sort_gathered:
      return i;
    case Operator::embedding_forward:
      of = {i, p, a};
      break;
    case Operator::embedding_backward:
      of = {i, a, g};
      break;
    case Operator::position_forward:
      of = {p, a};
      break;
    case Operator::position_backward:
    case Operator::bias_grad:
      of = {a, g};
      break;
    case Operator::norm_forward:
      of = {a, p, p, a, f};
      break;
    case Operator::norm_backward:
      of = {a, a, p, f, a, g, g};
      break;
    case Operator::linear_forward:
      of = {a, a == DType::fp8 ? a : p, p, result};
      break;
    case Operator::linear_input_grad:
      of = {a, a == DType::fp8 ? a : p, result};
      break;
    case Operator::linear_activation_forward:
      of = {a, p, p, a, a};
      break;
    case Operator::linear_activation_grad:
      of = {a, p, a, a};
      break;
    case Operator::linear_weight_grad:
      of = {a, a, g, g};
      break;
    case Operator::attention_forward:
      of = {a, a, f};
      break;
    case Operator::attention_backward:
      of = {a, a, f, a, a};
      break;
    case Operator::attention_block_forward:
      of = {a, a, a, f};
      break;
    case Operator::attention_block_backward:
      of = {a, a, a, f, a, a, a};
      break;
    case Operator::attention_merge:
      of = {a, f, a, f};
      break;
    case Operator::residual_forward:
      of = {a, p, a};
      break;
    case Operator::route_forward:
      of = {a, f, i};
      break;
    case Operator::route_backward:
      of = {f, a, i, a};
      break;
    case Operator::expert_permute:
    case Operator::expert_unpermute:
    case Operator::all_to_all_by_count:
      of = {a, i, a};
      break;
    case Operator::expert_linear_forward:
    case Operator::expert_linear_input_grad:
      of = {a, i, p, a};
      break;
    case Operator::expert_linear_weight_grad:
      of = {a, a, i, g};
      break;
    case Operator::expert_activation_forward:
      of = {a, i, f, a};
      break;
    case Operator::expert_activation_backward:
      of = {a, i, f, a, a, f};
      break;
    case Operator::cross_entropy_max:
      of = {a, f};
      break;
    case Operator::cross_entropy_sum:
      of = {a, f, i, f};
      break;
    case Operator::cross_entropy_grad:
      of = {f, f, i, a, DType::fp64};
      break;
    case Operator::amax:
      of = {a, f};
      break;
    case Operator::quantise:
      of = {a, f, DType::fp8};
      break;
    case Operator::quantise_delayed:
      of = {a, f, f, DType::fp8};
      break;
    case Operator::update_scales:
      return f;
    case Operator::gradient_norm:
      of = {a, DType::fp64};
      break;
    case Operator::optimizer_step:
      of = {DType::fp64, g, a, f, f, f};
      break;
    default:  // of one type
      return a;
  }
  return of[position];
}

double attended_pairs(std::int64_t sequence, bool causal) {
  const auto s = static_cast<double>(sequence);
  return causal ? s * s / 2 : s * s;
}

Flops flops(const Shape& shape) {
  const auto d = [&](std::size_t i) { return static_cast<double>(shape.dims[i]); };
  switch (shape.op) {
    case Operator::linear_forward:
    case Operator::linear_input_grad:
    case Operator::linear_weight_grad:
    case Operator::linear_activation_forward:
    case Operator::linear_activation_grad:
      return Flops{2 * d(0) * d(1) * d(2)};
    case Operator::expert_linear_forward:
    case Operator::expert_linear_input_grad:
    case Operator::expert_linear_weight_grad:
      return Flops{2 * d(0) * d(2) * d(3)};
    case Operator::attention_forward:
    case Operator::attention_backward: {
      const double pairs = d(0) * d(2) * attended_pairs(shape.dims[1], shape.dims[6] != 0);
      // Forward: Q Kᵀ, P V. Backward of a fused kernel: Q Kᵀ again, dO Vᵀ, Pᵀ dO, dS K, dSᵀ Q.
      const double width = shape.op == Operator::attention_forward ? d(4) + d(5) : 3 * d(4) + 2 * d(5);
      return Flops{2 * pairs * width};
    }
    case Operator::attention_block_forward:
    case Operator::attention_block_backward: {
      const double pairs = d(0) * d(3) * d(7) / 2, width = shape.op == Operator::attention_block_forward ? d(5) + d(6) : 3 * d(5) + 2 * d(6);
      return Flops{2 * pairs * width};
    }
    default:
      return Flops{0};
  }
}

Bytes traffic(const Shape& shape) {
  const auto& d = shape.dims;
  // Of `n` elements: in the shape's type; in fp32, for statistics and for gradients of parameters, which every plan accumulates there by default.
  const auto e = [&](std::int64_t n) { return bytes_of(shape.dtype, n); };
  const auto f = [](std::int64_t n) { return bytes_of(DType::fp32, n); };
  const auto i = [](std::int64_t n) { return bytes_of(DType::int32, n); };
  constexpr std::int64_t kScalar = 8;  // fp64
  const std::int64_t rows = d[0];
  const std::int64_t n = d[0];
  std::int64_t bytes = 0;
  switch (shape.op) {
    case Operator::load_tokens:
    case Operator::load_targets:
      bytes = bytes_of(DType::int32, rows);
      break;
    case Operator::embedding_forward:  // of the table, the rows that are looked up
      bytes = bytes_of(DType::int32, rows) + e(std::min(rows, d[2]) * d[1]) + e(rows * d[1]);
      break;
    case Operator::embedding_backward:
      bytes = bytes_of(DType::int32, rows) + e(rows * d[1]) + 2 * f(std::min(rows, d[2]) * d[1]);
      break;
    case Operator::position_forward:  // at most `tokens` rows of the table: the shape does not tell samples from positions
      bytes = 3 * e(rows * d[1]);
      break;
    case Operator::position_backward:
      bytes = e(rows * d[1]) + 2 * f(rows * d[1]);
      break;
    case Operator::norm_forward:
      bytes = 2 * e(rows * d[1]) + e(d[1]) + f(rows);
      break;
    case Operator::norm_backward:  // dy, x, gamma, statistics; dx and d_gamma twice each
      bytes = 4 * e(rows * d[1]) + e(d[1]) + f(rows) + 2 * f(d[1]);
      break;
    case Operator::linear_forward:
    case Operator::linear_input_grad:
      bytes = e(rows * d[1]) + e(d[1] * d[2]) + e(rows * d[2]);
      if (const auto q = quantised_operands(shape))
        bytes = q->first.bytes() + q->second.bytes() + bytes_of(DType::bf16, rows * d[shape.op == Operator::linear_forward ? 2 : 1]);
      break;
    case Operator::linear_weight_grad:
      bytes = e(rows * d[1]) + e(rows * d[2]) + 2 * f(d[1] * d[2]);
      if (const auto q = quantised_operands(shape)) bytes = q->first.bytes() + q->second.bytes() + 2 * f(d[1] * d[2]);
      break;
    case Operator::linear_activation_forward:  // two results
      bytes = e(rows * d[1]) + e(d[1] * d[2]) + 2 * e(rows * d[2]);
      break;
    case Operator::linear_activation_grad:
      bytes = e(rows * d[2]) + e(d[1] * d[2]) + 2 * e(rows * d[1]);
      break;
    case Operator::amax:
      bytes = e(n) + f(1);
      break;
    case Operator::quantise:
    case Operator::quantise_delayed:
      bytes = e(rows * d[1]) + of_parts(shape);
      break;
    case Operator::update_scales:  // seen twice, the latest step of the history
      bytes = f(n * (d[1] + 4));
      break;
    case Operator::rope_forward:
    case Operator::rope_backward:  // values are not rotated
      bytes = 2 * e(rows * (d[1] + d[2]) * d[3]);
      break;
    case Operator::attention_forward:
    case Operator::attention_backward: {
      const std::int64_t tokens = d[0] * d[1];
      const std::int64_t qkv = e(tokens * (d[2] * d[4] + d[3] * (d[4] + d[5]))), out = e(tokens * d[2] * d[5]), lse = f(tokens * d[2]);
      bytes = shape.op == Operator::attention_forward ? qkv + out + lse : 2 * qkv + 2 * out + lse;
      break;
    }
    case Operator::attention_block_forward:
    case Operator::attention_block_backward: {
      const BlockElements block = block_elements(shape);
      const std::int64_t q = e(rows * d[1] * d[3] * d[5]), kv = e(block.kv), out = e(block.out), lse = f(block.lse);  // rows: the batch
      bytes = shape.op == Operator::attention_block_forward ? q + kv + out + lse : 3 * q + 2 * kv + 2 * out + lse;
      break;
    }
    case Operator::attention_merge:
      bytes = 3 * (e(rows * d[1] * d[2] * d[3]) + f(rows * d[1] * d[2]));
      break;
    case Operator::take_columns:
    case Operator::put_columns:
      bytes = 2 * e(rows * d[3]);
      break;
    case Operator::scatter_heads:
    case Operator::gather_heads:
      bytes = e(packed_elements(shape)) + e(parted_elements(shape));
      break;
    case Operator::scatter_columns:
    case Operator::gather_columns:
      bytes = 2 * e(rows * d[1] * d[2]);
      break;
    case Operator::activation_forward:
      bytes = e(rows * d[1]) * (d[2] ? 3 : 2);
      break;
    case Operator::activation_backward:
      bytes = e(rows * d[1]) * (d[2] ? 5 : 3);
      break;
    case Operator::residual_forward:
      bytes = 3 * e(rows * d[1]);
      break;
    case Operator::bias_grad:
      bytes = e(rows * d[1]) + 2 * f(d[1]);
      break;
    case Operator::accumulate:
      bytes = 3 * e(n);
      break;
    case Operator::copy:
      bytes = 2 * e(n);
      break;
    case Operator::split_columns:
    case Operator::join_columns:
      bytes = 2 * e(rows * (d[1] + d[2]));
      break;
    case Operator::mla_pack_forward:
    case Operator::mla_pack_backward:
      bytes = e(rows * (d[1] * (4 * d[2] + 3 * d[3] + 2 * d[4]) + d[3]));
      break;
    case Operator::route_forward:
      bytes = e(rows * d[1]) + f(rows * d[2]) + i(rows * d[2]);
      break;
    case Operator::route_backward:
      bytes = 2 * e(rows * d[1]) + f(rows * d[2]) + i(rows * d[2]);
      break;
    case Operator::expert_sort:
      bytes = i(rows * d[1]) + i(rows * d[1] * d[4]) + i(d[2] * d[4]);
      break;
    case Operator::expert_sort_received:
      bytes = i(d[1] * d[2]) + i(rows) + i(d[2]);
      break;
    case Operator::expert_sort_gathered:
      bytes = 2 * i(rows * d[1]) + i(d[3]);
      break;
    case Operator::expert_permute:  // each token that has copies here is read once, for all of them
    case Operator::expert_unpermute: {
      const std::int64_t moved = d[5] > 0 ? d[5] : rows * d[1];
      const std::int64_t tokens = shape.op == Operator::expert_permute ? std::min(rows, moved) : rows;
      bytes = e(moved * d[2]) + i(rows * d[1]) + e(tokens * d[2]);
      break;
    }
    case Operator::expert_linear_forward:
    case Operator::expert_linear_input_grad:
      bytes = e(rows * d[2]) + e(d[1] * d[2] * d[3]) + e(rows * d[3]) + i(d[1]);
      break;
    case Operator::expert_linear_weight_grad:
      bytes = e(rows * d[2]) + e(rows * d[3]) + 2 * f(d[1] * d[2] * d[3]) + i(d[1]);
      break;
    case Operator::expert_activation_forward:
      bytes = e(rows * d[1]) * (d[2] ? 3 : 2) + f(rows) + i(d[3]);
      break;
    case Operator::expert_activation_backward:
      bytes = e(rows * d[1]) * (d[2] ? 5 : 3) + 2 * f(rows) + i(d[3]);
      break;
    case Operator::cross_entropy_max:
      bytes = e(rows * d[1]) + f(rows);
      break;
    case Operator::cross_entropy_sum:  // logits, max, targets, two sums
      bytes = e(rows * d[1]) + f(rows) + f(rows) + f(2 * rows);
      break;
    case Operator::cross_entropy_grad:
      bytes = 2 * e(rows * d[1]) + f(rows) + f(2 * rows) + f(rows) + 2 * kScalar;
      break;
    case Operator::zero:
      bytes = e(n);
      break;
    case Operator::gradient_norm:
      bytes = e(n) + 2 * kScalar;
      break;
    case Operator::optimizer_step: {  // AdamW: gradient, m, v in fp32 and the parameter, each read and written; a narrow parameter has a master
      const std::int64_t states = bits(shape.dtype) < 32 && d[1] == 0 ? 4 : 3;
      bytes = kScalar + 2 * states * f(n) + 2 * e(n);
      break;
    }
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
  return Bytes{bytes};
}

}  // namespace orrery::program
