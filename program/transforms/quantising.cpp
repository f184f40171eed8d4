#include "program/transforms/quantising.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace orrery::program {
namespace {

// Transformer Engine's DelayedScaling (common/recipe/__init__.py): amax_history_len 1024, the largest of them.
constexpr std::int64_t kHistory = 1024;
constexpr std::int64_t kRoles = 3;

std::optional<Scaling> scaling(const Plan& plan) { return plan.precision.recipe ? scaling_named(*plan.precision.recipe) : std::nullopt; }

// Of all matrices of a role, by number.
struct Scales {
  std::uint32_t expected, seen, history;
  std::int64_t matrices;
};
Scales scales(Builder& b, const Layout& layout) {
  const std::int64_t n = kRoles * layout.linears;
  return {b.persistent("fp8.expected", BufferKind::scalar, DType::fp32, n), b.persistent("fp8.seen", BufferKind::scalar, DType::fp32, n),
          b.persistent("fp8.history", BufferKind::scalar, DType::fp32, n * kHistory), n};
}

}  // namespace

Plan without_fp8_compute(const Plan& plan) {
  Plan out = plan;
  if (out.precision.compute == DType::fp8) out.precision.compute = DType::bf16;
  return out;
}

bool in_8_bits(const Context& c, std::int32_t weight) {
  return scaling(c.plan) && c.layout.tensors[static_cast<std::size_t>(weight)].linear != kAbsent;
}

std::int64_t scaling_dimension(const Plan& plan) {
  const auto s = scaling(plan);
  return s ? 1 + static_cast<std::int64_t>(*s) : 0;
}

std::uint32_t quantised(const Context& c, std::int32_t weight, Role8 role, std::uint32_t x, std::int64_t rows, std::int64_t columns,
                        bool transposed) {
  constexpr std::array kNames{"input", "weight", "gradient"};
  const Tensor& of = c.layout.tensors[static_cast<std::size_t>(weight)];
  const Scaling s = *scaling(c.plan);
  const Quantisation form = Quantisation::of(s, role);
  const Ways ways = role == Role8::gradient && !c.splits_backward() ? Ways::both : transposed ? Ways::transposed : Ways::plain;
  const std::string name = fmt::format("{}.{}{}", of.name, kNames[static_cast<std::size_t>(role)], ways == Ways::transposed ? ".transposed" : "");
  const std::uint32_t q = c.b.temporary(name + ".fp8", BufferKind::temporary, DType::fp8, quantised_bytes(rows, columns, form, ways), c.b.layer);
  std::uint32_t result = q;
  if (ways == Ways::both) {
    const std::int64_t first = quantised_bytes(rows, columns, form, Ways::plain), all = c.b.elements(q);
    const std::int64_t second = all - quantised_bytes(rows, columns, form, Ways::transposed);
    result = transposed ? c.b.inside(name + ".transposed.fp8", BufferKind::temporary, q, second, all - second, c.b.layer)
                        : c.b.inside(name + ".rows.fp8", BufferKind::temporary, q, 0, first, c.b.layer);
    if (c.b.touched(q)) return result;
  }
  const DType activations = std::exchange(c.b.dtype, role == Role8::weight ? c.plan.precision.params : c.plan.precision.compute);
  const std::initializer_list<std::int64_t> dims{rows, columns, form.number(), static_cast<std::int64_t>(ways)};
  switch (s) {
    case Scaling::delayed: {
      const Scales all = scales(c.b, c.layout);
      const std::int64_t number = kRoles * of.linear + static_cast<std::int64_t>(role);
      const auto one = [&](const char* what, std::uint32_t flat) {
        return c.b.view(fmt::format("fp8.{}.{}", what, number), BufferKind::scalar, flat, number, 1);
      };
      c.b.compute(Operator::quantise_delayed, dims, {r(x), r(one("expected", all.expected)), u(one("seen", all.seen)), w(q)});
      break;
    }
    case Scaling::current: {
      const std::uint32_t amax = c.b.temporary(name + ".amax", BufferKind::temporary, DType::fp32, 1, c.b.layer);
      c.b.compute(Operator::amax, {rows * columns}, {r(x), w(amax)});
      c.b.compute(Operator::quantise, dims, {r(x), r(amax), w(q)});
      break;
    }
    case Scaling::blockwise:
      c.b.compute(Operator::quantise, dims, {r(x), w(q)});
      break;
  }
  c.b.dtype = activations;
  return result;
}

void update_scales(Builder& b, const Layout& layout, const Plan& plan) {
  if (scaling(plan) != Scaling::delayed || layout.linears == 0) return;
  const Scales all = scales(b, layout);
  // As Megatron-Core has Transformer Engine do: over the ranks of tp, cp and dp (parallel_state.py, get_amax_reduction_group).
  const std::uint16_t group = b.tables().group(static_cast<AxisMask>(kTpAxis | kReplicaAxes));
  b.after_compute = group != kNone;  // what passes before have seen
  b.collective(Operator::all_reduce_max, group != kNone && group == b.tables().group(kTpAxis) ? kTp : kDp, group, all.matrices, DType::fp32,
               {u(all.seen)});
  const DType before = std::exchange(b.dtype, DType::fp32);
  b.compute(Operator::update_scales, {all.matrices, kHistory}, {u(all.seen), u(all.history), w(all.expected)});
  b.dtype = before;
}

}  // namespace orrery::program
