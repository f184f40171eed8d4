// How a forward and a backward pass of two micro-batches are interleaved, layer by layer, as data.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orrery {

// The parts of a layer in the forward pass's order. Dispatch and combine, the exchanges with experts on other ranks, are empty where there are none,
// and all but attention where a block computes attention and feed-forward side by side.
enum class Segment : std::uint8_t { attention, dispatch, mlp, combine };
inline constexpr std::array<Segment, 4> kForwardOrder{Segment::attention, Segment::dispatch, Segment::mlp, Segment::combine};

// One piece of a slot: a segment of the forward's layer, or the input or weight gradients of one of the backward's layer.
struct OverlapStep {
  enum class Pass : std::uint8_t { forward, input_grad, weight_grad };
  Segment segment = Segment::attention;
  Pass pass = Pass::forward;
  bool operator==(const OverlapStep&) const = default;
};

// Two lanes for each slot, which pairs a layer of the forward pass with one of the backward pass: what the compute stream runs in this order, and the
// exchanges of the communication stream. What an exchange needs follows from the layers: dispatch(F) comes after attention(F), combine(F) after
// mlp(F), dispatch(B) after mlp(B), and combine(B) after the previous slot's attention(B).
struct OverlapRule {
  std::string name;
  std::vector<OverlapStep> compute, comm;
  bool operator==(const OverlapRule&) const = default;
};

// "deepseek": as in DeepSeek-V3's profile of training; "megatron": Megatron-Core's combined 1F1B, which has the same lanes; "none" has no lanes: the
// backward pass follows the forward pass.
const std::vector<OverlapRule>& overlap_rules();

// The built-in rule of that name, or the rule in the file of that name. Throws Error at `where` with did-you-mean, or at the file.
OverlapRule overlap_rule(const std::string& name_or_file, const std::string& where);

// The slot's pieces in one order of issue that keeps both lanes: each exchange as early as its operands are there, each piece of the compute lane
// after the exchange that it needs. Throws Error (where: the rule's name) for lanes that need each other in a circle, and for missing or repeated
// pieces.
std::vector<OverlapStep> issue_order(const OverlapRule& rule);

// {"orrery": "overlap/1", "compute": ["attention F", "mlp B", "mlp W", …], "comm": ["combine B", …]}. The reader checks issue_order, too.
OverlapRule read_overlap_rule(std::string_view text, const std::string& file);
std::string write_overlap_rule(const OverlapRule& rule);

}  // namespace orrery
