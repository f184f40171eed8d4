#include "core/cluster.h"

#include <cassert>

namespace orrery {

FlopsPerSecond Device::peak_of(DType t) const {
  const auto find = [&](DType type) {
    const auto found = peak.find(type);
    return found == peak.end() ? FlopsPerSecond{} : found->second * clock;
  };
  if (const FlopsPerSecond own = find(t); own.v > 0) return own;
  switch (t) {
    case DType::bf16:
      return find(DType::fp16);
    case DType::fp16:
      return find(DType::bf16);
    case DType::tf32:
      return find(DType::fp32);
    case DType::fp32:
    case DType::fp8:
    case DType::fp4:
    case DType::int32:
    case DType::uint8:
    case DType::fp64:
      return {};
  }
  return {};
}

std::size_t Cluster::level_between(std::int64_t a, std::int64_t b) const {
  assert(!levels.empty() && a >= 0 && b >= 0);
  for (std::size_t l = 0; l + 1 < levels.size(); ++l) {
    if (a / levels[l].size == b / levels[l].size) return l;
  }
  return levels.size() - 1;
}

}  // namespace orrery
