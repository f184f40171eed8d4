// How near the kernels of a profile that memory bounds come to the copy that it measured.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/profile.h"

namespace orrery::app {

// An operator at the shape of it that moves most.
struct CopyShare {
  std::string op;
  DType dtype = DType::fp32;
  std::vector<std::int64_t> dims;
  BytesPerSecond rate;  // traffic of the shape (program::traffic) by its median out of the last-level cache
  double share = 0;     // of the profile's copy
  bool operator==(const CopyShare&) const = default;
};

inline constexpr double kCopyShareAim = 0.85;  // of kernels that memory bounds, the project's own

// Of a GPU's profile each operator and type that has no product, attention or communication in it; shapes that move less than 64 MiB are bound by
// their start, and do not count. By class of work, then by name.
std::vector<CopyShare> copy_shares(const Profile& profile);

}  // namespace orrery::app
