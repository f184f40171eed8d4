#include "executor/kernels/narrow.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace orrery::executor {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A format as its definition says: sign, exponent, mantissa; which codes are numbers is the caller's.
double value(std::uint32_t code, int mantissa, int exponent_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(code >> mantissa) & ((1 << exponent_bits) - 1), fraction = static_cast<int>(code) & ((1 << mantissa) - 1);
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - bias - mantissa) : std::ldexp((1 << mantissa) + fraction, exponent - bias - mantissa);
  return code >> (mantissa + exponent_bits) & 1U ? -magnitude : magnitude;
}

// The nearest of the numbers with codes 0 … last, by looking at all of them; of two equally near ones that of even code.
std::uint32_t nearest(double x, std::uint32_t last, int mantissa, int exponent_bits) {
  std::uint32_t best = 0;
  double off = std::fabs(x);
  for (std::uint32_t code = 0; code <= last; ++code) {
    const double away = std::fabs(value(code, mantissa, exponent_bits) - x);
    if (away < off || (away == off && code % 2 == 0)) best = code, off = away;
  }
  return best;
}

struct Eight {
  bool e5m2;
  int mantissa, exponent;
  std::uint32_t last;  // code of the largest number
};
constexpr Eight kEights[]{{false, 3, 4, 0x7e}, {true, 2, 5, 0x7b}};

TEST(NarrowNumbers, EightBitCodesMeanWhatTheirFormatsSay) {
  for (const Eight& f : kEights)
    for (std::uint32_t code = 0; code < 256; ++code) {
      const float x = from_fp8(static_cast<std::uint8_t>(code), f.e5m2);
      if ((code & 0x7f) > f.last) {
        const bool infinite = f.e5m2 && (code & 0x7f) == 0x7c;  // e4m3 has none
        EXPECT_TRUE(infinite ? std::isinf(x) : std::isnan(x)) << code;
        continue;
      }
      EXPECT_EQ(static_cast<double>(x), value(code, f.mantissa, f.exponent)) << code;
      EXPECT_EQ(std::signbit(x), (code & 0x80) != 0);
      EXPECT_EQ(to_fp8(x, f.e5m2), code);
    }
  EXPECT_EQ(from_fp8(0x7e, false), 448.F);
  EXPECT_EQ(from_fp8(0x7b, true), 57344.F);
}

TEST(NarrowNumbers, BetweenTwoCodesTheNearerIsTakenAndOfEqualOnesTheEven) {
  for (const Eight& f : kEights)
    for (std::uint32_t code = 0; code < f.last; ++code) {
      const float low = from_fp8(static_cast<std::uint8_t>(code), f.e5m2), high = from_fp8(static_cast<std::uint8_t>(code + 1), f.e5m2);
      const float middle = (low + high) / 2;  // exact in fp32
      EXPECT_EQ(to_fp8(middle, f.e5m2), code % 2 == 0 ? code : code + 1);
      EXPECT_EQ(to_fp8(std::nextafter(middle, 0.F), f.e5m2), code);
      EXPECT_EQ(to_fp8(std::nextafter(middle, kInfinity), f.e5m2), code + 1);
      EXPECT_EQ(to_fp8(-middle, f.e5m2), 0x80 | to_fp8(middle, f.e5m2));
    }
}

TEST(NarrowNumbers, EightBitsSaturateAndKeepNaN) {
  for (const Eight& f : kEights) {
    const float largest = from_fp8(static_cast<std::uint8_t>(f.last), f.e5m2);
    for (const float x : {largest * 1.01F, 1e30F, kInfinity}) {
      EXPECT_EQ(to_fp8(x, f.e5m2), f.last);
      EXPECT_EQ(to_fp8(-x, f.e5m2), 0x80 | f.last);
    }
    EXPECT_TRUE(std::isnan(from_fp8(to_fp8(std::nanf(""), f.e5m2), f.e5m2)));
    EXPECT_EQ(to_fp8(std::numeric_limits<float>::denorm_min(), f.e5m2), 0);
  }
}

RC_GTEST_PROP(NarrowNumbers, EightBitsAreTheNearestOfAll, (std::uint32_t bits, bool e5m2)) {
  // Exponents from far below the smallest code to just beyond the largest.
  const Eight& f = kEights[e5m2 ? 1 : 0];
  const auto exponent = static_cast<std::uint32_t>(*rc::gen::inRange(127 - 20, 127 + (e5m2 ? 15 : 8)));
  const float x = float_of((bits & 0x807fffffU) | exponent << 23U);
  const double bounded = std::min(std::fabs(static_cast<double>(x)), static_cast<double>(from_fp8(static_cast<std::uint8_t>(f.last), f.e5m2)));
  RC_ASSERT((to_fp8(x, f.e5m2) & 0x7fU) == nearest(bounded, f.last, f.mantissa, f.exponent));
}

TEST(NarrowNumbers, SixteenBitCodesComeBackAsTheyWere) {
  for (std::uint32_t code = 0; code < 0x10000; ++code) {
    const auto c = static_cast<std::uint16_t>(code);
    if (const float x = from_bf16(c); x == x) {
      ASSERT_EQ(to_bf16(x), c);
    }
    const float y = from_fp16(c);
    if ((code & 0x7fffU) < 0x7c00U) {
      ASSERT_EQ(static_cast<double>(y), value(code & 0x7fffU, 10, 5) * (code & 0x8000U ? -1 : 1));
    }
    if (y == y) {
      ASSERT_EQ(to_fp16(y), c);
    }
  }
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(std::nanf("")))));
  EXPECT_TRUE(std::isnan(from_fp16(to_fp16(std::nanf("")))));
}

TEST(NarrowNumbers, SixteenBitsRoundToTheEvenOfTwoNeighbours) {
  for (std::uint32_t code = 0; code < 0x7bff; code += 7) {
    const auto c = static_cast<std::uint16_t>(code);
    const float middle = (from_fp16(c) + from_fp16(static_cast<std::uint16_t>(c + 1))) / 2;
    ASSERT_EQ(to_fp16(middle), c % 2 == 0 ? c : c + 1);
    ASSERT_EQ(to_fp16(std::nextafter(middle, kInfinity)), c + 1);
    ASSERT_EQ(to_fp16(std::nextafter(middle, 0.F)), c);
  }
  for (std::uint32_t code = 0x0080; code < 0x7f7f; code += 11) {
    const float middle = float_of(code << 16U | 0x8000U);
    ASSERT_EQ(to_bf16(middle), code % 2 == 0 ? code : code + 1);
    ASSERT_EQ(to_bf16(std::nextafter(middle, kInfinity)), code + 1);
    ASSERT_EQ(to_bf16(std::nextafter(middle, 0.F)), code);
  }
  EXPECT_EQ(to_fp16(65519.F), 0x7bff);  // the largest is 65504, and half of the next step 65520
  EXPECT_EQ(to_fp16(65520.F), 0x7c00);
  EXPECT_EQ(to_bf16(3.4e38F), 0x7f80);
}

TEST(NarrowNumbers, ASumInDoubleIsRoundedOnce) {
  // 1 + 2^-8 lies between two bf16 numbers: a little more, which fp32 loses, must go up.
  const double more = 1 + 0x1p-8 + 0x1p-40;
  EXPECT_EQ(to_bf16(static_cast<float>(more)), 0x3f80);
  EXPECT_EQ(to_bf16(to_odd(more)), 0x3f81);
  EXPECT_EQ(to_bf16(to_odd(1 + 0x1p-8)), 0x3f80);
  EXPECT_EQ(to_bf16(to_odd(-more)), 0xbf81);
  EXPECT_EQ(to_odd(0.1F), 0.1F);
  EXPECT_EQ(to_bf16(to_odd(1e300)), 0x7f80);
}

TEST(NarrowNumbers, Tf32KeepsTenBits) {
  EXPECT_EQ(to_tf32(1 + 0x1p-10F), 1 + 0x1p-10F);
  EXPECT_EQ(to_tf32(1 + 0x1p-11F), 1.F);
  EXPECT_EQ(to_tf32(1 + 0x1p-11F + 0x1p-20F), 1 + 0x1p-10F);
  EXPECT_EQ(to_tf32(1 + 3 * 0x1p-11F), 1 + 0x1p-9F);
}

TEST(NarrowNumbers, RandomRoundingGivesEachNeighbourAsOftenAsItIsNear) {
  // Of all 2^16 random numbers exactly `low` round up a number whose dropped bits are `low`.
  for (const std::uint32_t low : {0U, 1U, 0x4000U, 0x8000U, 0xffffU}) {
    const float x = float_of(0x3f800000U | low);
    std::uint32_t up = 0;
    for (std::uint32_t random = 0; random < 0x10000; ++random) up += to_bf16_at_random(x, static_cast<std::uint16_t>(random)) == 0x3f81 ? 1 : 0;
    EXPECT_EQ(up, low);
  }
  EXPECT_EQ(to_bf16_at_random(kInfinity, 0xffff), 0x7f80);
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16_at_random(std::nanf(""), 0xffff))));
}

TEST(NarrowNumbers, RandomRoundingIsRightInTheMean) {
  // 1 + 2^-9, a quarter of the way to 1 + 2^-7: over n draws the mean is off by at most 4 standard errors, each of sqrt(¼·¾) · 2^-7 / sqrt(n).
  constexpr std::int64_t n = 100'000;
  const std::uint64_t key = random_key(1, "stochastic rounding");
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(from_bf16(to_bf16_at_random(1 + 0x1p-9F, rounding_bits(key, i))));
  EXPECT_NEAR(sum / n, 1 + 0x1p-9, 4 * std::sqrt(0.25 * 0.75 / n) * 0x1p-7);
}

TEST(NarrowNumbers, FactorsBringTheLargestToTheFormatsLargest) {
  EXPECT_EQ(fp8_factor(2, false, false), 224.F);
  EXPECT_EQ(fp8_factor(2, false, true), 128.F);  // the power of two below 224
  EXPECT_EQ(fp8_factor(2, true, false), 28672.F);
  EXPECT_EQ(fp8_factor(0, false, false), 1.F);
  EXPECT_EQ(fp8_factor(kInfinity, false, false), 1.F);
  EXPECT_EQ(fp8_factor(std::nanf(""), false, true), 1.F);
  EXPECT_TRUE(std::isfinite(fp8_factor(std::numeric_limits<float>::denorm_min(), true, false)));
  EXPECT_TRUE(std::isfinite(fp8_factor(std::numeric_limits<float>::denorm_min(), true, true)));
  EXPECT_EQ(fp8_scale(128), 0x1p-7F);
}

}  // namespace
}  // namespace orrery::executor
