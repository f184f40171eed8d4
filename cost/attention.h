// What share of a GPU's matrix peak fused attention reaches: few tiles leave SMs idle, short sequences pay for their diagonal and their ends.
#pragma once

#include "core/cluster.h"
#include "program/operators.h"

namespace orrery::cost {

// time = FLOPs / (peak · share) · (1 + (diagonal + waves · SMs / (batch · heads)) / sequence); without a causal mask half of that loss.
// docs/models/operators.md: where the form comes from, how the parameters were fitted, and how far off it is.
struct AttentionModel {
  double share = 0.5;   // of the peak, for long sequences and many heads
  double diagonal = 0;  // tokens
  double waves = 0;     // tokens
  Source source;
};

// The fit for the device's generation, its share scaled by the device's own "attention_forward" or "attention_backward"; for other devices Ampere's
// shape parameters, assumed. `op` is an attention operator.
AttentionModel attention_model(const Device& device, program::Operator op);

// The arithmetic of one attention operator at `peak`; never below FLOPs / peak.
Seconds attention_time(const AttentionModel& model, const program::Shape& shape, FlopsPerSecond peak, std::int64_t sms);

}  // namespace orrery::cost
