#include "program/transforms/recompute.h"

namespace orrery::program {

bool recomputes_layers(const Plan& plan) { return plan.recompute.kind == "full"; }

bool reruns_whole_layer(const Plan& plan) {
  return plan.runtime.framework.starts_with("megatron") || plan.runtime.framework.starts_with("deepspeed");
}

}  // namespace orrery::program
