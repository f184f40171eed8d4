// What share of a GPU's matrix peak a product of one shape reaches: tiles, waves, the depth of the K loop, and the power limit.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/cluster.h"
#include "program/operators.h"

namespace orrery::cost {

// C[m,n] += A[m,k] · B[k,n].
struct GemmShape {
  std::int64_t m = 0, n = 0, k = 0;
  bool operator==(const GemmShape&) const = default;
};

// The product behind a linear operator; nothing for any other operator.
std::optional<GemmShape> gemm_shape(const program::Shape& shape);

// Parameters of one generation of tensor cores; docs/models/operators.md says how they were fitted and how far off they are.
struct GemmModel {
  double peak_share = 0.8;  // share of the peak that a full wave of deep tiles reaches
  double k0 = 170;          // depth at which filling and draining a tile costs as much as its work
  double sustained = 1;     // share of `peak_share` left once a kernel is long enough to meet the power limit
  Seconds boost;            // how long a kernel runs before that
  Seconds fixed;            // start, drain and epilogue of one kernel
  Source source;
};

// The fit for the device's generation, or, where there is none, the device's "gemm" efficiency with Ampere's shape parameters, assumed.
GemmModel gemm_model(const Device& device);

// Share of the SMs' tile slots that carry work: ceil(m/128)·ceil(n/128) tiles run in waves of `sms`, ragged edges and last waves idle.
double tile_utilisation(const GemmShape& shape, std::int64_t sms);

// Time of one product at `peak`, memory traffic aside.
Seconds gemm_time(const GemmModel& model, const GemmShape& shape, FlopsPerSecond peak, std::int64_t sms);

}  // namespace orrery::cost
