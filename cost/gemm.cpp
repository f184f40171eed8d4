#include "cost/gemm.h"

#include <algorithm>

namespace orrery::cost {
namespace {

constexpr std::int64_t kTile = 128;  // the tile edge that describes cuBLAS best over A100's and B200's shapes: docs/models/operators.md

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::optional<GemmShape> gemm_shape(const program::Shape& shape) {
  const auto [tokens, in, out] = std::array{shape.dims[0], shape.dims[1], shape.dims[2]};
  switch (shape.op) {
    case program::Operator::linear_forward:
      return GemmShape{tokens, out, in};
    case program::Operator::linear_input_grad:
      return GemmShape{tokens, in, out};
    case program::Operator::linear_weight_grad:
      return GemmShape{out, in, tokens};
    default:
      return std::nullopt;
  }
}

GemmModel gemm_model(const Device& device) {
  GemmModel model;
  if (const auto found = device.efficiency.find("gemm"); found != device.efficiency.end()) {
    model.peak_share = found->second.value;
    model.source = {"GEMM efficiency of " + device.name + ": " + found->second.source, Grade::measured_elsewhere, 0.15};
  } else {
    model.source = {"GEMM efficiency of " + device.name, Grade::assumed, 0.25};
  }
  model.fixed = Seconds{3e-6};
  return model;
}

double tile_utilisation(const GemmShape& shape, std::int64_t sms) {
  const std::int64_t tiles = ceil_div(shape.m, kTile) * ceil_div(shape.n, kTile);
  const std::int64_t slots = ceil_div(tiles, sms) * sms;
  return static_cast<double>(shape.m) * static_cast<double>(shape.n) / (static_cast<double>(slots) * kTile * kTile);
}

Seconds gemm_time(const GemmModel& model, const GemmShape& shape, FlopsPerSecond peak, std::int64_t sms) {
  if (shape.m <= 0 || shape.n <= 0 || shape.k <= 0) return Seconds{0};
  const double work = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
  const double depth = static_cast<double>(shape.k) / (static_cast<double>(shape.k) + model.k0);
  const double tiles = sms > 0 ? tile_utilisation(shape, sms) : 1.0;
  const Seconds cool{work / (peak.v * model.peak_share * tiles * depth)};
  const Seconds hot = cool > model.boost ? (cool - model.boost) / model.sustained : Seconds{0};
  return std::min(cool, model.boost) + hot + model.fixed;
}

}  // namespace orrery::cost
