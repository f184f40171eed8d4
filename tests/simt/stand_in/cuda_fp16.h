#pragma once

#include "executor/kernels/narrow.h"

struct __half {
  __half() = default;
  explicit __half(float x) : code(orrery::executor::to_fp16(x)) {}
  std::uint16_t code;
};
inline float __half2float(__half x) { return orrery::executor::from_fp16(x.code); }
inline __half __double2half(double x) { return __half(orrery::executor::to_odd(x)); }
