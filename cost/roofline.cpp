#include "cost/roofline.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"
#include "cost/attention.h"
#include "cost/gemm.h"
#include "program/quantised.h"

namespace orrery::cost {
namespace {

// Start and drain of one kernel that is no matrix product. NVIDIA/cudnn-frontend@3929da2e benchmark/norms, H200: RMSNorm of 8192 x 128 in bf16
// moves 4 MB in 3 us, of which 1.1 us at the 3.7 TB/s that large norms reach.
constexpr Seconds kKernelFixed{2e-6};

struct Share {
  double value;
  Source source;
};

Grade grade_of(std::string_view source) {
  if (source.starts_with("assumed")) return Grade::assumed;
  if (source.starts_with("datasheet")) return Grade::datasheet;
  if (source.starts_with("fitted")) return Grade::fitted;
  return Grade::measured_elsewhere;
}

// Relative error of one figure used for every shape of its class: what the spread over shapes is where it was measured.
double sigma_of(Grade grade) { return grade == Grade::assumed ? 0.25 : 0.15; }

// The device's own figure, or `otherwise`, which is then assumed.
Share share_of(const Device& device, std::string_view what, double otherwise) {
  if (const auto found = device.efficiency.find(std::string(what)); found != device.efficiency.end()) {
    const Grade grade = grade_of(found->second.source);
    return {found->second.value, {std::string(what) + " on " + device.name + ": " + found->second.source, grade, sigma_of(grade)}};
  }
  return {otherwise, {std::string(what) + " on " + device.name + ": assumed share of the peak", Grade::assumed, sigma_of(Grade::assumed)}};
}

FlopsPerSecond peak_for(const program::Shape& shape, const Device& device) {
  const FlopsPerSecond peak = device.peak_of(shape.dtype);
  if (peak.v > 0) return peak;
  throw Error("topologies/devices: " + device.name, "has no peak rate for the type that the plan computes in",
              "choose another precision.compute, or give the device a peak for it");
}

}  // namespace

Estimate roofline(const program::Shape& shape, const Device& device) {
  Estimate out;
  if (program::is_communication(shape.op) || shape.op == program::Operator::wait) return out;
  const double work = program::flops(shape).v;
  const auto bytes = static_cast<double>(program::traffic(shape).v);
  const Share memory = share_of(device, "memory", 0.8);
  Seconds arithmetic{0}, fixed = device.kind == DeviceKind::gpu ? kKernelFixed : Seconds{0};
  Seconds least{0};  // what the peak itself allows
  Source arithmetic_source;
  if (work > 0) {
    const FlopsPerSecond peak = peak_for(shape, device);
    least = Seconds{work / peak.v};
    const bool gpu = device.kind == DeviceKind::gpu;
    using enum program::Operator;
    const bool forward = shape.op == attention_forward || shape.op == attention_block_forward;
    const bool attention = forward || shape.op == attention_backward || shape.op == attention_block_backward;
    if (const auto product = gemm_shape(shape); product && gpu) {
      const auto quantised = program::quantised_operands(shape);
      const GemmModel model = gemm_model(device, shape.dtype, quantised && quantised->first.form.block_columns == 0);
      fixed = model.fixed;
      arithmetic = gemm_time(model, *product, peak, device) - fixed;
      arithmetic_source = model.source;
    } else if (attention && gpu) {
      const AttentionModel model = attention_model(device, shape.op);
      arithmetic = attention_time(model, shape, peak, device.sms);
      arithmetic_source = model.source;
    } else {
      const std::string_view what = !attention ? "gemm" : forward ? "attention_forward" : "attention_backward";
      const Share share = share_of(device, what, 0.5);
      arithmetic = Seconds{work / (peak.v * share.value)};
      arithmetic_source = share.source;
    }
    arithmetic = std::max(arithmetic, least);
  }
  Seconds streaming{0};
  if (bytes > 0) streaming = Seconds{bytes / (device.memory_bandwidth.v * std::min(memory.value, 1.0))};
  out.arithmetic_bound = work > 0 && arithmetic >= streaming;
  out.source = out.arithmetic_bound ? arithmetic_source : memory.source;
  out.duration = std::max(arithmetic, streaming) + fixed;
  if (out.duration.v > 0) out.memory_fraction = std::min(1.0, bytes / (device.memory_bandwidth.v * out.duration.v));
  return out;
}

Seconds issue_time(const Device& device, program::Launch launch) {
  // NVIDIA, "Getting started with CUDA graphs" (2019): a 2.9 us kernel costs 3.4 us inside a graph.
  constexpr Seconds kGraphNode{0.5e-6};
  // torch.compile still launches kernel by kernel, from generated code. Assumed.
  constexpr double kCompiledShare = 0.5;
  switch (launch) {
    case program::Launch::eager:
      return device.launch;
    case program::Launch::graph:
      return std::min(device.launch, kGraphNode);
    case program::Launch::compiled:
      return device.launch * kCompiledShare;
    case program::Launch::inline_host:
      return Seconds{0};
  }
  return device.launch;
}

}  // namespace orrery::cost
