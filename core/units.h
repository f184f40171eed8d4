// Physical quantities as types: every public interface of Orrery takes and returns these, hot loops may unwrap them.
#pragma once

#include <cmath>
#include <compare>
#include <cstdint>
#include <limits>

namespace orrery {

// A number with a unit. Arithmetic is defined only where the unit of the result is: see the operators below.
template <class Tag, class Rep = double>
struct Quantity {
  Rep v{};

  constexpr Quantity() = default;
  constexpr explicit Quantity(Rep value) : v(value) {}
  constexpr auto operator<=>(const Quantity&) const = default;

  constexpr Quantity& operator+=(Quantity o) {
    v += o.v;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity o) {
    v -= o.v;
    return *this;
  }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return Quantity{static_cast<Rep>(a.v + b.v)}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return Quantity{static_cast<Rep>(a.v - b.v)}; }
  friend constexpr Quantity operator*(Quantity a, Rep s) { return Quantity{static_cast<Rep>(a.v * s)}; }
  friend constexpr Quantity operator*(Rep s, Quantity a) { return Quantity{static_cast<Rep>(a.v * s)}; }
  friend constexpr Quantity operator/(Quantity a, Rep s) { return Quantity{static_cast<Rep>(a.v / s)}; }
  friend constexpr double operator/(Quantity a, Quantity b) { return static_cast<double>(a.v) / static_cast<double>(b.v); }
};

using Seconds = Quantity<struct SecondsTag>;
using Picoseconds = Quantity<struct PicosecondsTag, std::int64_t>;  // simulated time; 2^63 ps = 106.7 days
using Bytes = Quantity<struct BytesTag, std::int64_t>;
using Flops = Quantity<struct FlopsTag>;  // a count of floating-point operations, multiply and add apart
using FlopsPerSecond = Quantity<struct FlopsPerSecondTag>;
using BytesPerSecond = Quantity<struct BytesPerSecondTag>;
using Watts = Quantity<struct WattsTag>;
using Joules = Quantity<struct JoulesTag>;
using Hertz = Quantity<struct HertzTag>;
using Dollars = Quantity<struct DollarsTag>;

constexpr Seconds operator/(Bytes b, BytesPerSecond r) { return Seconds{static_cast<double>(b.v) / r.v}; }
constexpr Seconds operator/(Flops f, FlopsPerSecond r) { return Seconds{f.v / r.v}; }
constexpr BytesPerSecond operator/(Bytes b, Seconds t) { return BytesPerSecond{static_cast<double>(b.v) / t.v}; }
constexpr FlopsPerSecond operator/(Flops f, Seconds t) { return FlopsPerSecond{f.v / t.v}; }
constexpr Joules operator*(Watts p, Seconds t) { return Joules{p.v * t.v}; }
constexpr Joules operator*(Seconds t, Watts p) { return p * t; }
constexpr Watts operator/(Joules e, Seconds t) { return Watts{e.v / t.v}; }

constexpr Seconds to_seconds(Picoseconds t) { return Seconds{static_cast<double>(t.v) * 1e-12}; }

// The longest time there is: what takes longer than 106.7 days, or nobody knows how long (NaN), takes this. The simulator refuses it.
inline constexpr Picoseconds kForever{std::numeric_limits<std::int64_t>::max()};

// Rounds up, so that no work takes less simulated time than it needs. Requires t >= 0, or NaN.
inline Picoseconds to_picoseconds(Seconds t) {
  const double ps = std::ceil(t.v * 1e12);
  return ps < 0x1p63 ? Picoseconds{static_cast<std::int64_t>(ps)} : kForever;
}

// The same to the nearest picosecond: for a measurement, which is no bound.
inline Picoseconds to_nearest_picosecond(Seconds t) {
  const double ps = t.v * 1e12;
  return ps < 0x1p63 ? Picoseconds{std::llround(ps)} : kForever;
}

inline namespace literals {
constexpr Bytes operator""_B(unsigned long long n) { return Bytes{static_cast<std::int64_t>(n)}; }
constexpr Bytes operator""_KiB(unsigned long long n) { return Bytes{static_cast<std::int64_t>(n << 10U)}; }
constexpr Bytes operator""_MiB(unsigned long long n) { return Bytes{static_cast<std::int64_t>(n << 20U)}; }
constexpr Bytes operator""_GiB(unsigned long long n) { return Bytes{static_cast<std::int64_t>(n << 30U)}; }
constexpr Bytes operator""_MB(unsigned long long n) { return Bytes{static_cast<std::int64_t>(n) * 1'000'000}; }
constexpr Bytes operator""_GB(unsigned long long n) { return Bytes{static_cast<std::int64_t>(n) * 1'000'000'000}; }
constexpr BytesPerSecond operator""_GBps(unsigned long long n) { return BytesPerSecond{static_cast<double>(n) * 1e9}; }
constexpr BytesPerSecond operator""_Gbps(unsigned long long n) { return BytesPerSecond{static_cast<double>(n) * 1e9 / 8}; }
constexpr FlopsPerSecond operator""_TFLOPS(unsigned long long n) { return FlopsPerSecond{static_cast<double>(n) * 1e12}; }
constexpr Watts operator""_W(unsigned long long n) { return Watts{static_cast<double>(n)}; }
constexpr Seconds operator""_us(unsigned long long n) { return Seconds{static_cast<double>(n) * 1e-6}; }
}  // namespace literals

}  // namespace orrery
