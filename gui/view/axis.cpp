#include "gui/view/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

namespace orrery::view {

namespace {

struct Unit {
  std::string_view name;
  std::int64_t picoseconds;
};
constexpr std::array kUnits{Unit{"s", 1'000'000'000'000}, Unit{"ms", 1'000'000'000}, Unit{"us", 1'000'000}, Unit{"ns", 1'000}, Unit{"ps", 1}};

// The largest unit in which `length` is at least one.
const Unit& unit_of(std::int64_t length) {
  for (const Unit& unit : kUnits) {
    if (length >= unit.picoseconds) return unit;
  }
  return kUnits.back();
}

int decimals(std::int64_t unit, std::int64_t step) {
  int digits = 0;
  for (std::int64_t reach = unit; reach > step && reach > 1; reach /= 10) ++digits;
  return digits;
}

// `time`, a multiple of a power of ten picoseconds, in whole units and that many decimals: integers only, so that no label is rounded.
std::string in_unit(std::int64_t time, const Unit& unit, int digits) {
  const std::int64_t size = std::abs(time);
  std::string text = fmt::format("{}{}", time < 0 ? "-" : "", size / unit.picoseconds);
  if (digits > 0) {
    std::int64_t place = unit.picoseconds;
    for (int i = 0; i < digits; ++i) place /= 10;
    text += fmt::format(".{:0{}}", size % unit.picoseconds / std::max<std::int64_t>(place, 1), digits);
  }
  return text;
}

// 1, 2 or 5 times a power of ten: the smallest that is at least `least`.
std::int64_t nice_picoseconds(double least) {
  for (std::int64_t power = 1;; power *= 10) {
    for (const std::int64_t digit : {1, 2, 5}) {
      if (static_cast<double>(digit * power) >= least || power >= 1'000'000'000'000'000'000) return digit * power;
    }
  }
}

std::int64_t floor_to(std::int64_t value, std::int64_t step) {
  const std::int64_t rest = value % step;
  return value - (rest < 0 ? rest + step : rest);
}

constexpr double finite(double v) { return std::isfinite(v) ? v : 0; }

}  // namespace

TimeRange united(TimeRange a, TimeRange b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

std::string format_time(Picoseconds t, Picoseconds resolution) {
  std::int64_t step = 1;
  while (step <= resolution.v / 10) step *= 10;
  // Rounded to the step, away from zero at halves.
  const std::int64_t half = t.v < 0 ? -(step / 2) : step / 2;
  const std::int64_t rounded = (t.v + half) / step * step;
  if (rounded == 0) return "0 s";
  const Unit& unit = unit_of(std::abs(rounded));
  return fmt::format("{} {}", in_unit(rounded, unit, decimals(unit.picoseconds, step)), unit.name);
}

TimeAxis::TimeAxis(TimeRange whole, double width) : whole_(whole) {
  if (whole_.length() < kClosest) whole_.end = whole_.begin + kClosest;
  range_ = whole_;
  set_width(width);
}

Picoseconds TimeAxis::time(double pixel) const {
  return range_.begin + Picoseconds{std::llround(pixel / width_ * static_cast<double>(range_.length().v))};
}

void TimeAxis::set_width(double width) { width_ = std::max(width, 1.0); }

void TimeAxis::set_whole(TimeRange whole) {
  const TimeRange before = range_;
  *this = TimeAxis(whole, width_);
  if (before.overlaps(whole_)) show(before);
}

void TimeAxis::show(TimeRange range) {
  const Picoseconds length = std::clamp(range.length(), kClosest, whole_.length());
  const Picoseconds begin = std::clamp(range.begin, whole_.begin, whole_.end - length);
  range_ = {begin, begin + length};
}

void TimeAxis::fit(TimeRange range) {
  const Picoseconds room{std::max(range.length().v / 20, (kClosest.v - range.length().v) / 2)};  // so that a short one stands in the middle
  show({range.begin - room, range.end + room});
}

void TimeAxis::reveal(TimeRange range) {
  Picoseconds begin = range_.begin;
  if (range.end > range_.end) begin = range.end - range_.length();
  if (range.begin < begin) begin = range.begin;
  show({begin, begin + range_.length()});
}

void TimeAxis::zoom(double at, double factor) {
  if (!(factor > 0) || !std::isfinite(factor)) return;
  const double wanted = static_cast<double>(range_.length().v) / factor;
  const std::int64_t length = wanted >= static_cast<double>(whole_.length().v) ? whole_.length().v : std::max(std::llround(wanted), kClosest.v * 1LL);
  const Picoseconds begin = range_.begin + Picoseconds{std::llround(at / width_ * static_cast<double>(range_.length().v - length))};
  show({begin, begin + Picoseconds{length}});
}

void TimeAxis::pan(double pixels) {
  const Picoseconds by{std::llround(pixels / pixels_per_picosecond())};
  show({range_.begin - by, range_.end - by});
}

TimeTicks TimeAxis::ticks(double apart) const {
  TimeTicks result;
  const std::int64_t step = nice_picoseconds(std::max(apart, 1.0) / pixels_per_picosecond());
  result.step = Picoseconds{step};
  // Numbers of more than five digits are told apart badly: then count from a round time before the first tick.
  const std::int64_t largest = std::max(std::abs(range_.begin.v), std::abs(range_.end.v));
  std::int64_t base = 0;
  if (largest / step >= 100'000) {
    std::int64_t round = 1;
    while (round < range_.length().v) round *= 10;
    base = floor_to(range_.begin.v, round);
    const Unit& unit = unit_of(std::abs(base));
    result.base = fmt::format("{} {}", in_unit(base, unit, decimals(unit.picoseconds, round)), unit.name);
  }
  const Unit& unit = unit_of(std::max(std::abs(range_.begin.v - base), std::abs(range_.end.v - base)));
  const int digits = decimals(unit.picoseconds, step);
  for (std::int64_t t = floor_to(range_.begin.v + step - 1, step); t <= range_.end.v; t += step) {
    result.times.push_back(Picoseconds{t});
    result.ticks.push_back({to_seconds(Picoseconds{t}).v, pixel(Picoseconds{t}),
                            fmt::format("{}{} {}", base != 0 && t >= base ? "+" : "", in_unit(t - base, unit, digits), unit.name)});
  }
  return result;
}

double nice_step(double least, bool binary) {
  if (!(least > 0) || !std::isfinite(least)) return 1;
  if (binary && least > 500) {
    const double unit = std::pow(1024.0, std::floor(std::log(least) / std::log(1024.0)));
    for (const double within : {1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0}) {
      if (within * unit >= least) return within * unit;
    }
    return 1024 * unit;
  }
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double digit : {1.0, 2.0, 5.0, 10.0}) {
    if (digit * power >= least * (1 - 1e-12)) return digit * power;
  }
  return 10 * power;
}

LinearAxis::LinearAxis(double low, double high, double low_pixel, double high_pixel, Scale scale)
    : low_(finite(low)), high_(finite(high)), low_pixel_(low_pixel), high_pixel_(high_pixel), scale_(scale) {
  if (high_ < low_) std::swap(low_, high_);
  if (scale_ == Scale::logarithmic) {
    if (high_ <= 0) high_ = low_ = 1;
    if (low_ <= 0) low_ = std::min(high_ / 1000, 1.0);
    if (low_ == high_) low_ /= 2, high_ *= 2;
  } else if (low_ == high_) {
    if (low_ == 0) {
      high_ = 1;
    } else {
      const double room = std::abs(low_) / 10;
      low_ -= room;
      high_ += room;
    }
  }
  if (low_pixel_ == high_pixel_) high_pixel_ = low_pixel_ + 1;
}

double LinearAxis::place(double value) const { return scale_ == Scale::linear ? value : value > 0 ? std::log(value) : std::log(low_); }
double LinearAxis::unplace(double place) const { return scale_ == Scale::linear ? place : std::exp(place); }

double LinearAxis::pixel(double value) const {
  const double from = place(low_);
  return low_pixel_ + (place(value) - from) / (place(high_) - from) * (high_pixel_ - low_pixel_);
}

double LinearAxis::value(double pixel) const {
  const double from = place(low_);
  return unplace(from + (pixel - low_pixel_) / (high_pixel_ - low_pixel_) * (place(high_) - from));
}

void LinearAxis::zoom(double at, double factor) {
  if (!(factor > 0) || !std::isfinite(factor)) return;
  const double centre = place(value(at));
  const double from = centre + (place(low_) - centre) / factor;
  const double to = centre + (place(high_) - centre) / factor;
  if (!(to > from) || !std::isfinite(unplace(from)) || !std::isfinite(unplace(to))) return;
  low_ = unplace(from);
  high_ = unplace(to);
}

void LinearAxis::pan(double pixels) {
  const double by = pixels / (high_pixel_ - low_pixel_) * (place(high_) - place(low_));
  const double from = unplace(place(low_) - by);
  const double to = unplace(place(high_) - by);
  low_ = from;
  high_ = to;
}

double LinearAxis::step(double apart, bool binary) const {
  return nice_step((high_ - low_) * std::max(apart, 1.0) / std::abs(high_pixel_ - low_pixel_), binary);
}

LinearAxis LinearAxis::rounded(double apart, bool binary) const {
  LinearAxis result = *this;
  if (scale_ == Scale::linear) {
    const double by = step(apart, binary);
    result.low_ = std::floor(low_ / by + 1e-9) * by;
    result.high_ = std::ceil(high_ / by - 1e-9) * by;
    return result;
  }
  result.high_ = nice_step(high_);
  const double power = std::pow(10.0, std::floor(std::log10(low_) + 1e-12));
  for (const double digit : {5.0, 2.0, 1.0}) {
    result.low_ = digit * power;
    if (result.low_ <= low_ * (1 + 1e-12)) break;
  }
  return result;
}

std::vector<Tick> LinearAxis::ticks(double apart, bool binary, const Label& label) const {
  std::vector<Tick> result;
  if (scale_ == Scale::linear) {
    const double by = step(apart, binary);
    // Counted, not added up, so that 0.3 is not 0.30000000000000004 more often than it must be.
    const auto first = static_cast<std::int64_t>(std::ceil(low_ / by - 1e-9));
    const auto last = static_cast<std::int64_t>(std::floor(high_ / by + 1e-9));
    const int digits = std::max(0, static_cast<int>(-std::floor(std::log10(by) + 1e-9)));
    for (std::int64_t i = first; i <= last; ++i) {
      const double v = static_cast<double>(i) * by;
      result.push_back({v, pixel(v), label ? label(v) : fmt::format("{:.{}f}", v, digits)});
    }
    return result;
  }
  const double per_decade = std::abs(high_pixel_ - low_pixel_) / std::max(std::log10(high_ / low_), 1e-9);
  const auto text = [&](double v) { return label ? label(v) : fmt::format("{:g}", v); };
  const int every = std::max(1, static_cast<int>(std::ceil(apart / per_decade)));  // decades between words
  // Words at 2 and 5 need room: 1 to 2, and 5 to 10, are three tenths of a decade.
  const bool between = per_decade * 0.3 >= apart;
  const int first = static_cast<int>(std::floor(std::log10(low_) - 1e-9));
  const int last = static_cast<int>(std::ceil(std::log10(high_) + 1e-9));
  for (int decade = first; decade <= last; ++decade) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      if (digit > 1 && every > 1) continue;
      const double v = digit * std::pow(10.0, decade);
      if (v < low_ * (1 - 1e-9) || v > high_ * (1 + 1e-9)) continue;
      const bool words = digit > 1 ? between : decade % every == 0;
      result.push_back({v, pixel(v), words ? text(v) : std::string()});
    }
  }
  return result;
}

}  // namespace orrery::view
