#include "profiler/measure.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace orrery::profiler {
namespace {

// Of sorted samples, between neighbours by share.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

constexpr std::int64_t kLeastAtLimit = 3;

}  // namespace

double MedianEstimate::relative_error() const { return median > 0 ? (high - low) / 2 / median : std::numeric_limits<double>::infinity(); }

MedianEstimate estimate_median(std::vector<double> samples) {
  assert(!samples.empty());
  std::sort(samples.begin(), samples.end());
  const auto n = static_cast<double>(samples.size());
  constexpr double kZ = 1.959964;  // the normal distribution's 97.5 % quantile
  const double width = kZ * std::sqrt(n), low = std::floor((n - width) / 2), high = std::ceil(1 + (n + width) / 2);  // ranks, from 1
  MedianEstimate e;
  e.median = quantile(samples, 0.5);
  e.low = samples[static_cast<std::size_t>(std::clamp(low, 1.0, n)) - 1];
  e.high = samples[static_cast<std::size_t>(std::clamp(high, 1.0, n)) - 1];
  e.spread = e.median > 0 ? (quantile(samples, 0.75) - quantile(samples, 0.25)) / 2 / e.median : 0;
  e.count = static_cast<std::int64_t>(samples.size());
  return e;
}

void Sampling::add(double value, Seconds spent) {
  samples_.push_back(value);
  spent_ += spent;
  const std::int64_t n = count();
  if (n >= rule_.most || (spent_ >= rule_.limit && n >= kLeastAtLimit) || spent_ >= rule_.end) done_ = true;
  if (done_ || n < std::max(next_look_, rule_.least)) return;
  next_look_ = n + n / 2;
  done_ = result().relative_error() <= rule_.relative_error;
}

}  // namespace orrery::profiler
