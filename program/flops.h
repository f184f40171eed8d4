// What a step's floating-point work is said to be: conventions differ by up to 30 %, so every MFU carries its convention's name.
#pragma once

#include <string_view>

#include "core/model.h"
#include "core/units.h"
#include "program/program.h"

namespace orrery::program {

// causal_half: matrix products of every layer and the head, attention's products over the pairs that are attended only: s²/2 of a causal sequence,
// and fewer in a layer with a window or chunks. full: attention over all s² pairs. six_n: 6 x parameters (embedding table included once; of routed
// experts those that a token uses) per token, no attention term.
enum class FlopsConvention { causal_half, full, six_n };
std::string_view name(FlopsConvention c);  // "causal-half", "full", "6n"

// Forward + backward (twice the forward), of the whole model for `tokens` tokens in sequences of `sequence`. Throws Error (six_n) for a model whose
// parameters cannot be counted.
Flops model_flops(const Model& model, double tokens, std::int64_t sequence, FlopsConvention convention);

// Matrix work that all ranks together execute in one step, recomputation included, under the same convention for attention
// (six_n: model FLOPs plus what is recomputed, causal). Attention backward counts twice its forward, although a fused kernel makes Q Kᵀ again:
// without recomputation and padding this equals model_flops, so that HFU > MFU means what the plan chose to run again.
Flops hardware_flops(const Program& program, const Model& model, FlopsConvention convention);

}  // namespace orrery::program
