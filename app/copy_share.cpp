#include "app/copy_share.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>

#include "program/operators.h"

namespace orrery::app {
namespace {

constexpr std::int64_t kLeast = std::int64_t{64} << 20U;  // bytes: 13 us at 4.8 TB/s, several times a kernel's start

}  // namespace

std::vector<CopyShare> copy_shares(const Profile& profile) {
  if (profile.kind != DeviceKind::gpu || profile.memory_bandwidth.v <= 0) return {};
  struct Best {
    std::int64_t bytes = 0, footprint = 0;
    CopyShare share;
  };
  std::map<std::tuple<WorkClass, std::string, DType>, Best> best;
  for (const OperatorMeasurement& m : profile.operators) {
    program::Shape shape;
    try {
      shape.op = program::operator_named(m.op);
    } catch (const std::out_of_range&) {
      continue;
    }
    const WorkClass work = program::work_class(shape.op);
    const bool load = shape.op == program::Operator::load_tokens || shape.op == program::Operator::load_targets;
    if (load || work == WorkClass::gemm || work == WorkClass::attention || program::is_communication(shape.op)) continue;
    if (m.dims.size() > shape.dims.size() || m.median.v <= 0) continue;
    shape.dtype = m.dtype;
    std::copy(m.dims.begin(), m.dims.end(), shape.dims.begin());
    const std::int64_t bytes = program::traffic(shape).v;
    if (bytes < kLeast) continue;
    Best& b = best[{work, m.op, m.dtype}];
    if (std::tie(bytes, m.footprint.v) <= std::tie(b.bytes, b.footprint)) continue;
    const BytesPerSecond rate = Bytes{bytes} / m.median;
    b = {bytes, m.footprint.v, {m.op, m.dtype, m.dims, rate, rate / profile.memory_bandwidth}};
  }
  std::vector<CopyShare> out;
  out.reserve(best.size());
  for (auto& [key, b] : best) out.push_back(std::move(b.share));
  return out;
}

}  // namespace orrery::app
