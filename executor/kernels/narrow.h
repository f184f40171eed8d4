// Numbers of 16 and 8 bits, for host and device alike: rounding to nearest, ties to even, and the scales of 8-bit numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "executor/kernels/cuda/portable.h"
#include "executor/random.h"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#include <cuda_fp8.h>
#endif

namespace orrery::executor {

ORRERY_PORTABLE std::uint32_t bits_of(float x) {
  std::uint32_t bits = 0;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
ORRERY_PORTABLE float float_of(std::uint32_t bits) {
  float x = 0;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// --- 16 bits -------------------------------------------------------------------------------------------------------------------------------------

ORRERY_PORTABLE std::uint16_t to_bf16(float x) {
  const std::uint32_t bits = bits_of(x);
  if (x != x) return static_cast<std::uint16_t>(bits >> 16U | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16U & 1U)) >> 16U);
}
ORRERY_PORTABLE float from_bf16(std::uint16_t code) { return float_of(static_cast<std::uint32_t>(code) << 16U); }

// Rounded up or down: up as often, of the 2^16 values of `random`, as x is nearer to the number above. Infinities and NaN stay what they are.
ORRERY_PORTABLE std::uint16_t to_bf16_at_random(float x, std::uint16_t random) {
  const std::uint32_t bits = bits_of(x);
  if ((bits & 0x7f800000U) == 0x7f800000U) return to_bf16(x);
  return static_cast<std::uint16_t>((bits + random) >> 16U);
}
// The key of one update's random numbers, and the number for one of its elements.
ORRERY_PORTABLE std::uint64_t step_key(std::uint64_t key, std::int64_t step) { return random_bits(key, static_cast<std::uint64_t>(step)); }
ORRERY_PORTABLE std::uint16_t rounding_bits(std::uint64_t key, std::int64_t element) {
  return static_cast<std::uint16_t>(random_bits(key, static_cast<std::uint64_t>(element)) >> 48U);
}

// As IEEE 754 does: 65520 and beyond become infinite.
ORRERY_PORTABLE std::uint16_t to_fp16(float x) {
  const std::uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffffU;
  const auto sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
  if (x != x) return static_cast<std::uint16_t>(sign | 0x7e00U);
  if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // 65520
  if (magnitude < 0x38800000U)                                                      // 2^-14: below, codes count multiples of 2^-24
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(rintf(float_of(magnitude) * 16777216.F)));
  return static_cast<std::uint16_t>(sign | (((magnitude + 0xfffU + (magnitude >> 13U & 1U)) >> 13U) - (112U << 10U)));
}
ORRERY_PORTABLE float from_fp16(std::uint16_t code) {
  const std::uint32_t sign = (code & 0x8000U) << 16U, magnitude = code & 0x7fffU;
  if (magnitude >= 0x7c00U) return float_of(sign | (magnitude == 0x7c00U ? 0x7f800000U : 0x7fc00000U));
  if (magnitude < 0x400U) return float_of(sign | bits_of(static_cast<float>(magnitude) * (1.F / 16777216.F)));
  return float_of(sign | ((magnitude << 13U) + (112U << 23U)));
}

// A number that rounds to 16 bits as x does: where fp32 does not hold it, the neighbour whose last bit is one.
inline float to_odd(double x) {
  const auto nearest = static_cast<float>(x);
  if (static_cast<double>(nearest) == x || nearest != nearest) return nearest;
  std::uint32_t bits = bits_of(nearest);
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(x)) --bits;
  return float_of(bits | 1U);
}

// What tensor cores keep of an fp32 operand in tf32: 10 bits behind the point.
ORRERY_PORTABLE float to_tf32(float x) {
  const std::uint32_t bits = bits_of(x);
  if ((bits & 0x7f800000U) == 0x7f800000U) return x;
  return float_of((bits + 0xfffU + (bits >> 13U & 1U)) & ~0x1fffU);
}

// --- 8 bits --------------------------------------------------------------------------------------------------------------------------------------

// Bits behind the point, bias of the exponent and largest number: Micikevicius et al. 2022, table 1.
struct Fp8Format {
  int mantissa, bias;
  float largest;
  std::uint8_t largest_code;
  ORRERY_PORTABLE static Fp8Format of(bool e5m2) { return e5m2 ? Fp8Format{2, 15, 57344.F, 0x7b} : Fp8Format{3, 7, 448.F, 0x7e}; }
};

// Whatever is beyond the largest number becomes it, infinities too; NaN stays NaN.
ORRERY_PORTABLE std::uint8_t to_fp8(float x, bool e5m2) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  return static_cast<std::uint8_t>(__nv_cvt_float_to_fp8(x, __NV_SATFINITE, e5m2 ? __NV_E5M2 : __NV_E4M3));
#else
  if (x != x) return 0x7f;
  const Fp8Format f = Fp8Format::of(e5m2);
  const std::uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffffU;
  const auto sign = static_cast<std::uint8_t>(bits >> 24U & 0x80U);
  if (float_of(magnitude) >= f.largest) return static_cast<std::uint8_t>(sign | f.largest_code);
  const auto dropped = static_cast<std::uint32_t>(23 - f.mantissa), normal = static_cast<std::uint32_t>(128 - f.bias) << 23U;  // 2^(1 - bias)
  if (magnitude >= normal) {
    const std::uint32_t rounded = magnitude + (1U << (dropped - 1)) - 1 + (magnitude >> dropped & 1U);
    return static_cast<std::uint8_t>(sign |
                                     ((rounded >> dropped) - (static_cast<std::uint32_t>(127 - f.bias) << static_cast<std::uint32_t>(f.mantissa))));
  }
  // Below the smallest normal number codes count multiples of 2^(1 - bias - mantissa).
  const float multiples = float_of(magnitude) * float_of(static_cast<std::uint32_t>(126 + f.bias + f.mantissa) << 23U);
  return static_cast<std::uint8_t>(sign | static_cast<std::uint8_t>(rintf(multiples)));
#endif
}

ORRERY_PORTABLE float from_fp8(std::uint8_t code, bool e5m2) {
  const Fp8Format f = Fp8Format::of(e5m2);
  const std::uint32_t magnitude = code & 0x7fU, sign = static_cast<std::uint32_t>(code & 0x80U) << 24U;
  if (magnitude > f.largest_code) return float_of(sign | (e5m2 && magnitude == 0x7cU ? 0x7f800000U : 0x7fc00000U));
  const auto mantissa = static_cast<std::uint32_t>(f.mantissa);
  if (magnitude >> mantissa == 0)
    return float_of(sign | bits_of(static_cast<float>(magnitude) * float_of(static_cast<std::uint32_t>(128 - f.bias - f.mantissa) << 23U)));
  return float_of(sign | ((magnitude << (23U - mantissa)) + (static_cast<std::uint32_t>(127 - f.bias) << 23U)));
}

// By what numbers of at most this size are multiplied on the way into 8 bits, so that the largest becomes the format's: a finite number, 1 where they
// are all zero or not finite. In blocks the power of two below.
ORRERY_PORTABLE float fp8_factor(float amax, bool e5m2, bool power_of_two) {
  if (!(amax > 0.F) || bits_of(amax) == 0x7f800000U) return 1.F;
  std::uint32_t bits = bits_of(Fp8Format::of(e5m2).largest / amax);
  if (bits >= 0x7f800000U) bits = 0x7f7fffffU;  // of a denormal number
  return float_of(power_of_two ? bits & 0x7f800000U : bits);
}
// By what codes are multiplied on the way back.
ORRERY_PORTABLE float fp8_scale(float factor) { return 1.F / factor; }

}  // namespace orrery::executor
