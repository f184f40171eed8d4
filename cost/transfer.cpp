#include "cost/transfer.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "core/error.h"
#include "cost/generation.h"
#include "program/operators.h"

namespace orrery::cost {
namespace {

constexpr double kPowerExponent = 2.5;

// Root mean squares of the relative errors on the worse family of published pairs: of arithmetic cuDNN's attention forward from GB200 to GB300,
// 0.118, rounded up; of memory norms across architectures, from H200 to GB200, 0.12 (no pair within one whose bandwidths differ is published). What
// they are judged by they were not taken from: attention backward, the best matrix products of stas00/ml-engineering, and norms from GB200 to GB300.
constexpr double kArithmeticError = 0.12, kMemoryError = 0.125;

bool is_load(program::Operator op) { return op == program::Operator::load_tokens || op == program::Operator::load_targets; }

}  // namespace

TransferFactors transfer_factors(const Device& from, const Device& to) {
  TransferFactors f;
  f.memory = from.memory_bandwidth / to.memory_bandwidth;
  if (from.tdp.v > 0 && to.tdp.v > 0) {
    const double power = to.tdp / from.tdp, multiprocessors = static_cast<double>(to.sms) / static_cast<double>(from.sms);
    f.arithmetic = 1 / (std::pow(multiprocessors, 1 - 1 / kPowerExponent) * std::pow(power, 1 / kPowerExponent));
  } else if (const FlopsPerSecond before = from.peak_of(DType::bf16), after = to.peak_of(DType::bf16); before.v > 0 && after.v > 0) {
    f.arithmetic = before / after;
    return f;  // at their clocks
  }
  f.arithmetic *= from.clock / to.clock;
  return f;
}

double memory_bound_share(double flops, double bytes, FlopsPerSecond peak, BytesPerSecond bandwidth) {
  if (flops <= 0) return 1;
  if (bytes <= 0 || peak.v <= 0) return 0;
  const double intensity = flops / bytes, ridge = peak.v / bandwidth.v;
  return intensity <= ridge ? 1 - 0.5 * intensity / ridge : 0.5 * ridge / intensity;
}

Profile transfer(const Profile& profile, const Device& from, const Device& to) {
  if (profile.kind != DeviceKind::gpu)
    throw Error("profile", "is of a CPU (" + profile.device + "), which says nothing about " + to.name, "profiles of GPUs can be transferred");
  if (generation(from) != generation(to) || generation(from) == Generation::other)
    throw Error("profile", "of " + from.name + " says nothing about " + to.name + ", which is of another architecture",
                "measure it with orrery profile --device cuda, or leave --profile out: the datasheet's figures are used then");
  const TransferFactors factors = transfer_factors(from, to);
  Profile out = profile;
  out.device = to.name + ", by " + profile.device;
  out.part = to.name;
  out.memory = to.memory;
  out.memory_bandwidth = profile.memory_bandwidth * (1 / factors.memory);
  out.peak = profile.peak * (1 / factors.arithmetic);
  const Seconds start = profile.kernel;  // launched one by one, as what was measured
  for (OperatorMeasurement& m : out.operators) {
    program::Shape shape;
    try {
      shape.op = program::operator_named(m.op);
    } catch (const std::out_of_range&) {
      continue;
    }
    if (is_load(shape.op) || m.dims.size() > shape.dims.size()) continue;
    shape.dtype = m.dtype;
    std::copy(m.dims.begin(), m.dims.end(), shape.dims.begin());
    const double work = program::flops(shape).v;
    const FlopsPerSecond peak = to.peak_of(m.dtype);
    const double share = memory_bound_share(work, static_cast<double>(program::traffic(shape).v), peak, to.memory_bandwidth);
    const Seconds fixed = std::min(start, m.median);
    m.median = fixed + (m.median - fixed) * (std::pow(factors.memory, share) * std::pow(factors.arithmetic, 1 - share));
    if (work > 0 && peak.v > 0) m.median = std::max(m.median, Seconds{work / peak.v});
  }
  const double above = from.tdp > from.idle_power && to.tdp > to.idle_power ? (to.tdp - to.idle_power) / (from.tdp - from.idle_power) : 1;
  const auto share_of_clock = [&](const std::string& what) {
    const bool arithmetic = what == name(WorkClass::gemm) || what == name(WorkClass::attention);
    return arithmetic ? std::pow(to.clock / from.clock, kPowerExponent) : 1.0;
  };
  Watts idle_before{}, idle_after = to.idle_power;
  for (const PowerMeasurement& m : profile.power)
    if (m.what == "idle") idle_before = m.power;
  for (PowerMeasurement& m : out.power)
    m.power = m.what == "idle" ? idle_after : idle_after + std::max(Watts{0}, m.power - idle_before) * (above * share_of_clock(m.what));
  out.states.clear();
  out.collectives.clear();
  out.interference.clear();
  out.transferred = Transfer{profile.device, kArithmeticError, kMemoryError};
  return out;
}

}  // namespace orrery::cost
