#include "core/quantity_text.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>

#include "core/error.h"

namespace orrery {
namespace {

struct Unit {
  std::string_view name;
  double scale;
};

// Within a table the units that exact_text tries come first, largest first; the last of them has scale 1.
constexpr std::array kByteUnits{Unit{"PiB", 0x1p50}, Unit{"TiB", 0x1p40}, Unit{"GiB", 0x1p30}, Unit{"MiB", 0x1p20},
                                Unit{"PB", 1e15},    Unit{"TB", 1e12},    Unit{"GB", 1e9},     Unit{"MB", 1e6},
                                Unit{"KiB", 0x1p10}, Unit{"kB", 1e3},     Unit{"B", 1}};
constexpr std::array kBandwidthUnits{Unit{"GB/s", 1e9},       Unit{"MB/s", 1e6},       Unit{"B/s", 1},          Unit{"kB/s", 1e3},
                                     Unit{"TB/s", 1e12},      Unit{"KiB/s", 0x1p10},   Unit{"MiB/s", 0x1p20},   Unit{"GiB/s", 0x1p30},
                                     Unit{"TiB/s", 0x1p40},   Unit{"b/s", 0.125},      Unit{"kb/s", 1e3 / 8.0}, Unit{"Mb/s", 1e6 / 8.0},
                                     Unit{"Gb/s", 1e9 / 8.0}, Unit{"Tb/s", 1e12 / 8.0}};
constexpr std::array kComputeUnits{Unit{"TFLOPS", 1e12}, Unit{"GFLOPS", 1e9},  Unit{"MFLOPS", 1e6}, Unit{"FLOPS", 1},
                                   Unit{"kFLOPS", 1e3},  Unit{"PFLOPS", 1e15}, Unit{"EFLOPS", 1e18}};
constexpr std::array kPowerUnits{Unit{"W", 1}, Unit{"mW", 1e-3}, Unit{"kW", 1e3}, Unit{"MW", 1e6}};
constexpr std::array kTimeUnits{Unit{"us", 1e-6},  Unit{"s", 1},    Unit{"ms", 1e-3}, Unit{"ns", 1e-9},
                                Unit{"ps", 1e-12}, Unit{"min", 60}, Unit{"h", 3600},  Unit{"d", 86400}};
constexpr std::array kCountUnits{Unit{"", 1}, Unit{"k", 1e3}, Unit{"M", 1e6}, Unit{"B", 1e9}, Unit{"G", 1e9}, Unit{"T", 1e12}};

// What a quantity is called in messages, and how to write one.
struct Kind {
  std::string_view noun, hint;
  std::span<const Unit> units;
};

const Kind kBytes{"a number of bytes", "write a number and a unit: 80 GB, 80 GiB or 85899345920 B", kByteUnits};
const Kind kBandwidth{"a bandwidth", "write a number and a unit: 400 Gb/s, 50 GB/s or 46 GiB/s", kBandwidthUnits};
const Kind kCompute{"a compute rate", "write a number and a unit: 989.5 TFLOPS or 80 GFLOPS", kComputeUnits};
const Kind kPower{"a power", "write a number and a unit: 700 W or 10.2 kW", kPowerUnits};
const Kind kTime{"a duration", "write a number and a unit: 2 us, 1.5 ms or 3 h", kTimeUnits};
const Kind kCount{"a count", "write a number, if need be with k, M, B or T: 15T", kCountUnits};

// The text as a message shows it: no control characters, no novel.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 60)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (text.size() <= 60) return out;
  while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0U) == 0x80U) out.pop_back();
  if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0U) out.pop_back();
  return out + "…";
}

[[noreturn]] void refuse(const Kind& kind, std::string_view text, std::string_view where) {
  throw Error(std::string(where), fmt::format("'{}' is not {}", shown(text), kind.noun), std::string(kind.hint));
}

struct Parsed {
  double value, scale;
};

// Number and scale of `text`; nothing is rounded here, so that callers may check.
Parsed parse(const Kind& kind, std::string_view text, std::string_view where) {
  // from_chars would also take "inf", "nan" and a minus sign
  if (text.empty() || text.front() < '0' || text.front() > '9') refuse(kind, text, where);
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || !std::isfinite(value)) refuse(kind, text, where);
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (!unit.empty() && unit.front() == ' ') {
    unit.remove_prefix(1);
    if (unit.empty()) refuse(kind, text, where);
  }
  for (const Unit& known : kind.units) {
    if (unit == known.name) return {value, known.scale};
  }
  refuse(kind, text, where);
}

double parse_real(const Kind& kind, std::string_view text, std::string_view where) {
  const Parsed parsed = parse(kind, text, where);
  const double value = parsed.value * parsed.scale;
  if (!std::isfinite(value)) refuse(kind, text, where);
  return value;
}

// The shortest of the candidates that reads back as `value`; the unit with scale 1 always does.
std::string exact_real(const Kind& kind, double value) {
  for (const Unit& unit : kind.units) {
    const double number = value / unit.scale;
    if (unit.scale != 1 && (number < 1 || number >= 1e6 || number * unit.scale != value)) continue;
    std::string text = fmt::format("{}", number);
    if (unit.scale != 1 && text.size() > 9) continue;  // "0.1 us" rather than a long tail of digits
    return fmt::format("{} {}", text, unit.name);
  }
  for (const Unit& unit : kind.units) {
    if (unit.scale == 1) return fmt::format("{} {}", value, unit.name);
  }
  return {};
}

// Three significant digits, without an exponent: 0.0123, 1.84, 18.4, 184, 1840.
std::string three_digits(double value) {
  const double size = std::abs(value);
  const int decimals = size >= 99.95 || size == 0 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text == "-0" ? "0" : text;
}

// `value` in the largest of `units` (largest first) that leaves at least 1, else in the last.
std::string scaled(double value, std::span<const Unit> units) {
  if (!std::isfinite(value)) return fmt::format("{} {}", value, units.back().name);
  for (const Unit& unit : units) {
    if (std::abs(value) >= 0.9995 * unit.scale || &unit == &units.back()) {
      const std::string number = three_digits(value / unit.scale);
      return unit.name.empty() ? number : fmt::format("{} {}", number, unit.name);
    }
  }
  return {};
}

}  // namespace

Bytes parse_bytes(std::string_view text, std::string_view where) {
  const Parsed parsed = parse(kBytes, text, where);
  // Whole numbers go by integers, so that every count of bytes can be written down.
  std::int64_t whole = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), whole);
  const bool integral = problem == std::errc{} && (end == text.data() + text.size() || (*end != '.' && *end != 'e' && *end != 'E'));
  std::int64_t bytes = 0;
  if (integral) {
    if (__builtin_mul_overflow(whole, static_cast<std::int64_t>(parsed.scale), &bytes)) {
      throw Error(std::string(where), fmt::format("'{}' is more bytes than can be counted", shown(text)), std::string(kBytes.hint));
    }
    return Bytes{bytes};
  }
  const double value = parsed.value * parsed.scale;
  if (!(value < 0x1p63))
    throw Error(std::string(where), fmt::format("'{}' is more bytes than can be counted", shown(text)), std::string(kBytes.hint));
  return Bytes{static_cast<std::int64_t>(std::llround(value))};
}

BytesPerSecond parse_bandwidth(std::string_view text, std::string_view where) { return BytesPerSecond{parse_real(kBandwidth, text, where)}; }
FlopsPerSecond parse_compute_rate(std::string_view text, std::string_view where) { return FlopsPerSecond{parse_real(kCompute, text, where)}; }
Watts parse_power(std::string_view text, std::string_view where) { return Watts{parse_real(kPower, text, where)}; }
Seconds parse_duration(std::string_view text, std::string_view where) { return Seconds{parse_real(kTime, text, where)}; }
double parse_count(std::string_view text, std::string_view where) { return parse_real(kCount, text, where); }

namespace {
std::vector<std::string> names_of(const Kind& kind) {
  std::vector<std::string> out;
  for (const Unit& unit : kind.units) out.emplace_back(unit.name);
  return out;
}
}  // namespace
std::vector<std::string> units_of(Bytes) { return names_of(kBytes); }
std::vector<std::string> units_of(BytesPerSecond) { return names_of(kBandwidth); }
std::vector<std::string> units_of(FlopsPerSecond) { return names_of(kCompute); }
std::vector<std::string> units_of(Watts) { return names_of(kPower); }
std::vector<std::string> units_of(Seconds) { return names_of(kTime); }

std::string exact_text(Bytes value) {
  for (const Unit& unit : kByteUnits) {
    const auto scale = static_cast<std::int64_t>(unit.scale);
    if (value.v >= scale && value.v % scale == 0 && value.v / scale < 100'000) return fmt::format("{} {}", value.v / scale, unit.name);
  }
  return fmt::format("{} B", value.v);
}
std::string exact_text(BytesPerSecond value) { return exact_real(kBandwidth, value.v); }
std::string exact_text(FlopsPerSecond value) { return exact_real(kCompute, value.v); }
std::string exact_text(Watts value) { return exact_real(kPower, value.v); }
std::string exact_text(Seconds value) { return exact_real(kTime, value.v); }

std::string format_seconds(Seconds value) {
  static constexpr std::array kUnits{Unit{"d", 86400}, Unit{"h", 3600},  Unit{"min", 60},  Unit{"s", 1},
                                     Unit{"ms", 1e-3}, Unit{"us", 1e-6}, Unit{"ns", 1e-9}, Unit{"ps", 1e-12}};
  if (value.v == 0) return "0 s";
  // Two of the larger unit before it is used: 90 s, 100 min and 36 h are easier to grasp than 1.5 min, 1.67 h and 1.5 d.
  const double size = std::abs(value.v);
  const std::size_t skip = size >= 2 * 86400 ? 0 : size >= 2 * 3600 ? 1 : size >= 2 * 60 ? 2 : 3;
  return scaled(value.v, std::span(kUnits).subspan(skip));
}
std::string format_seconds(Picoseconds value) { return format_seconds(to_seconds(value)); }

std::string format_bytes(Bytes value) {
  static constexpr std::array kUnits{Unit{"PiB", 0x1p50}, Unit{"TiB", 0x1p40}, Unit{"GiB", 0x1p30},
                                     Unit{"MiB", 0x1p20}, Unit{"KiB", 0x1p10}, Unit{"B", 1}};
  return scaled(static_cast<double>(value.v), kUnits);
}

std::string format_rate(BytesPerSecond value) {
  static constexpr std::array kUnits{Unit{"TB/s", 1e12}, Unit{"GB/s", 1e9}, Unit{"MB/s", 1e6}, Unit{"kB/s", 1e3}, Unit{"B/s", 1}};
  return scaled(value.v, kUnits);
}

std::string format_rate(FlopsPerSecond value) {
  static constexpr std::array kUnits{Unit{"EFLOPS", 1e18}, Unit{"PFLOPS", 1e15}, Unit{"TFLOPS", 1e12},
                                     Unit{"GFLOPS", 1e9},  Unit{"MFLOPS", 1e6},  Unit{"FLOPS", 1}};
  return scaled(value.v, kUnits);
}

std::string format_power(Watts value) {
  static constexpr std::array kUnits{Unit{"GW", 1e9}, Unit{"MW", 1e6}, Unit{"kW", 1e3}, Unit{"W", 1}};
  return scaled(value.v, kUnits);
}

std::string format_energy(Joules value) {
  static constexpr std::array kLarge{Unit{"GWh", 3.6e12}, Unit{"MWh", 3.6e9}, Unit{"kWh", 3.6e6}, Unit{"Wh", 3600}};
  static constexpr std::array kSmall{Unit{"kJ", 1e3}, Unit{"J", 1}, Unit{"mJ", 1e-3}};
  return std::abs(value.v) >= 3600 ? scaled(value.v, kLarge) : scaled(value.v, kSmall);
}

std::string format_count(double value) {
  static constexpr std::array kUnits{Unit{"T", 1e12}, Unit{"B", 1e9}, Unit{"M", 1e6}, Unit{"k", 1e3}, Unit{"", 1}};
  return scaled(value, kUnits);
}

std::string format_percent(double share) { return three_digits(share * 100) + " %"; }

}  // namespace orrery
