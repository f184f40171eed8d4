// When to stop timing: as soon as the median is known well enough, or the time for it is spent.
#pragma once

#include <cstdint>
#include <vector>

#include "core/units.h"

namespace orrery::profiler {

// The median of a sample with its nonparametric confidence interval and its spread.
struct MedianEstimate {
  double median = 0, low = 0, high = 0;
  double spread = 0;  // half the interquartile range, relative to the median
  std::int64_t count = 0;
  // Half the interval's width relative to the median; infinite where the median is 0.
  double relative_error() const;
};

// The interval is [x(l), x(u)] of the order statistics with l = ⌊(n - z√n)/2⌋ and u = ⌈1 + (n + z√n)/2⌉, z = 1.96 for 95 % (Le Boudec, "Performance
// Evaluation of Computer and Communication Systems", 2010, theorem 2.1): it holds for any distribution of independent samples. Below n = 6 it is the
// whole sample, which covers less than that. Requires at least one sample.
MedianEstimate estimate_median(std::vector<double> samples);

struct StopRule {
  double relative_error = 0.02;
  std::int64_t least = 8, most = 2000;  // samples
  Seconds limit{0.1};                   // time spent; after it, three samples are enough
  Seconds end{1e9};                     // time spent; after it, one sample is enough
  bool operator==(const StopRule&) const = default;
};

// Collects samples until the rule says stop. It is looked at when the count has grown by half, so that it costs little and chance gets few looks.
class Sampling {
 public:
  explicit Sampling(StopRule rule) : rule_(rule) {}
  // `value` is what is estimated, `spent` the time that taking it cost.
  void add(double value, Seconds spent);
  bool done() const { return done_; }
  std::int64_t count() const { return static_cast<std::int64_t>(samples_.size()); }
  // Requires at least one sample.
  MedianEstimate result() const { return estimate_median(samples_); }

 private:
  StopRule rule_;
  std::vector<double> samples_;
  Seconds spent_{};
  std::int64_t next_look_ = 0;
  bool done_ = false;
};

}  // namespace orrery::profiler
