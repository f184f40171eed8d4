// Activation recomputation: which layers keep only their input, and how much of a layer runs again.
#pragma once

#include "core/plan.h"

namespace orrery::program {

bool recomputes_layers(const Plan& plan);

// Nothing in the backward pass needs the layer's last linear and residual again. PyTorch's non-reentrant checkpoint therefore stops before them
// (set_checkpoint_early_stop, on by default); Megatron-Core's and DeepSpeed's reentrant ones run the whole layer.
bool reruns_whole_layer(const Plan& plan);

}  // namespace orrery::program
