#include "program/dimensions.h"

#include <fmt/format.h>

#include "program/quantised.h"

namespace orrery::program {
namespace {

using Names = std::array<std::string_view, 9>;

// These are yes or no.
bool is_flag(std::string_view name) {
  return name == "causal" || name == "gated" || name == "balanced" || name == "padded" || name == "rounded at random";
}

// Numbers that stand for names: "delayed scaling", "e4m3, a scale for 1 x 128", "transposed"; nothing for other dimensions.
std::optional<std::string> numbered(std::string_view name, std::int64_t number) {
  if (name == "scaling") {
    static constexpr std::array<std::string_view, 4> kNames{"", "delayed scaling", "current scaling", "blockwise scaling"};  // 1 + Scaling
    return std::string(kNames[static_cast<std::size_t>(number)]);
  }
  if (name == "form") {
    const Quantisation form = Quantisation::numbered(number);
    const std::string_view format = form.format == Fp8::e4m3 ? "e4m3" : "e5m2";
    return form.block_columns == 0 ? std::string(format) : fmt::format("{}, a scale for {} x {}", format, form.block_rows, form.block_columns);
  }
  if (name == "ways") {
    static constexpr std::array<std::string_view, 3> kNames{"", "transposed", "as it lies and transposed"};  // Ways
    return std::string(kNames[static_cast<std::size_t>(number)]);
  }
  return std::nullopt;
}

}  // namespace

std::array<std::string_view, 9> dimension_names(Operator op) {
  switch (op) {
    case Operator::load_tokens:
    case Operator::load_targets:
      return Names{"tokens"};
    case Operator::embedding_forward:
    case Operator::embedding_backward:
      return Names{"tokens", "hidden", "table rows"};
    case Operator::position_forward:
    case Operator::position_backward:
      return Names{"tokens", "hidden"};
    case Operator::norm_forward:
    case Operator::norm_backward:
    case Operator::residual_forward:
    case Operator::bias_grad:
      return Names{"tokens", "width"};
    case Operator::linear_forward:
    case Operator::linear_input_grad:
    case Operator::linear_weight_grad:
      return Names{"tokens", "in", "out", "scaling"};
    case Operator::linear_activation_forward:
    case Operator::linear_activation_grad:
      return Names{"tokens", "in", "out"};
    case Operator::rope_forward:
    case Operator::rope_backward:
      return Names{"tokens", "query heads", "kv heads", "head width"};
    case Operator::attention_forward:
    case Operator::attention_backward:
      return Names{"samples", "positions", "query heads", "kv heads", "qk width", "v width", "causal"};
    case Operator::attention_block_forward:
    case Operator::attention_block_backward:
      return Names{"samples", "queries", "keys", "query heads", "kv heads", "qk width", "v width", "twice the attended pairs", "row width"};
    case Operator::attention_merge:
      return Names{"samples", "queries", "query heads", "v width"};
    case Operator::take_columns:
    case Operator::put_columns:
      return Names{"rows", "row width", "first column", "columns"};
    case Operator::scatter_heads:
    case Operator::gather_heads:
      return Names{"rows", "query heads", "kv heads", "qk width", "v width", "parts"};
    case Operator::scatter_columns:
    case Operator::gather_columns:
      return Names{"rows", "columns of a part", "parts"};
    case Operator::activation_forward:
    case Operator::activation_backward:
      return Names{"tokens", "width", "gated"};
    case Operator::amax:
    case Operator::accumulate:
    case Operator::copy:
    case Operator::zero:
    case Operator::gradient_norm:
    case Operator::all_reduce_max:
    case Operator::reduce_scatter:
    case Operator::all_gather:
    case Operator::all_to_all:
    case Operator::broadcast:
    case Operator::rotate:
    case Operator::send:
    case Operator::recv:
      return Names{"elements"};
    case Operator::all_reduce:
      return Names{"elements", "servers"};
    case Operator::optimizer_step:
      return Names{"elements", "rounded at random"};
    case Operator::quantise:
    case Operator::quantise_delayed:
      return Names{"rows", "columns", "form", "ways"};
    case Operator::update_scales:
      return Names{"matrices", "steps of history"};
    case Operator::split_columns:
    case Operator::join_columns:
      return Names{"rows", "left", "right"};
    case Operator::mla_pack_forward:
    case Operator::mla_pack_backward:
      return Names{"tokens", "heads", "nope width", "rope width", "v width"};
    case Operator::route_forward:
    case Operator::route_backward:
      return Names{"tokens", "experts", "experts of a token", "groups", "groups of a token", "balanced"};
    case Operator::expert_sort:
      return Names{"tokens", "experts of a token", "experts", "ep", "etp", "capacity"};
    case Operator::expert_sort_received:
      return Names{"rows at most", "sources", "experts"};
    case Operator::expert_sort_gathered:
      return Names{"tokens", "experts of a token", "experts", "own experts", "sources", "capacity", "rows at most"};
    case Operator::expert_permute:
    case Operator::expert_unpermute:
      return Names{"tokens", "experts of a token", "width", "rows at most", "padded", "moved"};
    case Operator::expert_linear_forward:
    case Operator::expert_linear_input_grad:
    case Operator::expert_linear_weight_grad:
      return Names{"rows", "experts", "in", "out", "rows at most"};
    case Operator::expert_activation_forward:
    case Operator::expert_activation_backward:
      return Names{"rows", "width", "gated", "experts", "rows at most"};
    case Operator::cross_entropy_max:
    case Operator::cross_entropy_sum:
    case Operator::cross_entropy_grad:
      return Names{"tokens", "own vocabulary"};
    case Operator::all_to_all_by_count:
      return Names{"rows", "width", "counts per rank", "rows at most", "experts", "experts of a token", "groups", "groups of a token"};
    case Operator::wait:
      return Names{};
  }
  return Names{};
}

std::string shape_text(const Shape& shape) {
  const std::array<std::string_view, 9> names = dimension_names(shape.op);
  std::string out, flags;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::int64_t d = shape.dims[i];
    if (names[i].empty()) continue;
    if (const std::optional<std::string> word = numbered(names[i], d)) {
      if (!word->empty()) flags += ", " + *word;
    } else if (is_flag(names[i])) {
      if (d != 0) flags += fmt::format(", {}", names[i]);
    } else if (d != 0 || names[i] == "keys") {  // others are 0 where there is none, or where it is all
      const bool one = d == 1 && (names[i] == "samples" || names[i].ends_with(" heads"));
      out += fmt::format("{}{} {}", out.empty() ? "" : " x ", d, one ? names[i].substr(0, names[i].size() - 1) : names[i]);
    }
  }
  if (out.empty()) return {};
  return fmt::format("{}{}, {}", out, flags, name(shape.dtype));
}

}  // namespace orrery::program
