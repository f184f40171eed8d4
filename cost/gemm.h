// What share of a GPU's matrix peak a product of one shape reaches: tiles, waves, the depth of the K loop, the epilogue, and the power limit.
#pragma once

#include <cstdint>
#include <optional>

#include "core/cluster.h"
#include "program/operators.h"

namespace orrery::cost {

// C[m,n] (+)= A[m,k] · B[k,n].
struct GemmShape {
  std::int64_t m = 0, n = 0, k = 0;
  Bytes output;  // that the epilogue moves: C written, and read before where it accumulates
  bool operator==(const GemmShape&) const = default;
};

// The product behind a linear operator; nothing for any other operator.
std::optional<GemmShape> gemm_shape(const program::Shape& shape);

// time = first `boost` at full clock, the rest at `sustained` of it, of FLOPs · (1 + k0/k) / (peak · share · tile utilisation)
//        + epilogue · output / memory bandwidth + fixed.
// docs/models/operators.md: where the form comes from, how the parameters were fitted, how far off it is on shapes that were not fitted.
struct GemmModel {
  double share = 0.8;    // of the peak that a full wave of deep tiles reaches
  double k0 = 0;         // depth of K loop that filling and draining a tile costs, at the 16-bit peak; in proportion at other peaks
  double epilogue = 0;   // part of the output's traffic that does not overlap with arithmetic
  double sustained = 1;  // share of the clock left once a kernel is long enough to meet the power limit
  Seconds boost;         // until then
  Seconds fixed;         // start and drain of a kernel
  Source source;
};

// The fit for the device's generation, its share scaled by the device's own "gemm" efficiency; for other devices Ampere's shape parameters, assumed.
// `whole_scales`: of 8-bit operands that have one scale each, not one of each block.
GemmModel gemm_model(const Device& device, DType type, bool whole_scales = false);

// Share of the SMs' tile slots that carry work: ceil(m/128)·ceil(n/128) tiles run in waves of `sms`; ragged edges and last waves idle.
double tile_utilisation(const GemmShape& shape, std::int64_t sms);

// One product at `peak`, the traffic of its inputs aside. Never below FLOPs / peak.
Seconds gemm_time(const GemmModel& model, const GemmShape& shape, FlopsPerSecond peak, const Device& device);

}  // namespace orrery::cost
