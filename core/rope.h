// Rotary positions (Su et al. 2021): by which angle one position turns each pair of a head's elements, and how models stretch those angles for
// contexts longer than those that they were first trained on.
#pragma once

#include <cstdint>

namespace orrery {

// How angles are stretched. Turns are those that a pair makes within `original_positions`; what a kind does not use stays at its default.
struct RopeScaling {
  enum class Kind : std::uint8_t {
    none,
    linear,  // every angle divided by `factor` (Chen et al. 2023)
    llama3,  // angles of pairs with fewer than `low_turns` divided, with more than `high_turns` kept, a ramp in turns between (Llama 3.1)
    yarn,    // the same with a ramp in the pair's index (Peng et al. 2023), and cosines and sines times `attention_factor`
    other,   // angles that this program does not know (dynamic, longrope, mrope): the same work
  };
  Kind kind = Kind::none;
  double factor = 1;
  std::int64_t original_positions = 0;
  double low_turns = 0, high_turns = 0;  // Llama 3.1: low_freq_factor, high_freq_factor; YaRN: beta_slow, beta_fast
  double attention_factor = 1;           // DeepSeek scales the softmax by another factor, which is not in here
  bool whole_pairs = true;               // YaRN: the ramp begins and ends at whole pairs (`truncate`)
  bool operator==(const RopeScaling&) const = default;
};

// Elements of a head that are rotated: the first `fraction` of `head_dim`, in whole pairs.
std::int64_t rotated_width(std::int64_t head_dim, double fraction);

// The angles of one model. Requires theta >= 1, and > 1 for YaRN; an even `rotated`; a kind that is known (asserted).
class RopeAngles {
 public:
  RopeAngles(double theta, std::int64_t rotated, const RopeScaling& scaling);

  // Radians by which pair i of rotated/2 turns from one position to the next.
  double per_position(std::int64_t pair) const;
  // What cosines and sines are multiplied by: 1 but for YaRN.
  double amplitude() const { return scaling_.attention_factor; }

 private:
  double theta_, rotated_;
  RopeScaling scaling_;
  double first_ = 0, last_ = 0;  // YaRN: pairs between which the ramp falls from kept angles to divided ones
};

}  // namespace orrery
