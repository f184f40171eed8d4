#pragma once

#include "executor/kernels/narrow.h"

struct __nv_bfloat16 {
  __nv_bfloat16() = default;
  explicit __nv_bfloat16(float x) : code(orrery::executor::to_bf16(x)) {}
  std::uint16_t code;
};
inline float __bfloat162float(__nv_bfloat16 x) { return orrery::executor::from_bf16(x.code); }
inline __nv_bfloat16 __double2bfloat16(double x) { return __nv_bfloat16(orrery::executor::to_odd(x)); }
