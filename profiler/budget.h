// Shares a limit of time among measurements of which only the least is known, and that roughly.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "core/units.h"

namespace orrery::profiler {

// Each measurement in turn gets what it takes at least and an equal part of the time that nobody needs. Where that is not enough for all, the later
// ones get nothing: so begin with the cheapest.
class Budget {
 public:
  // `least`: what each measurement is expected to take at least, in their order.
  Budget(Seconds limit, std::vector<Seconds> least);
  // How long the next measurement may take, `elapsed` of the limit being spent; nothing: there is no time for it.
  std::optional<Seconds> next(Seconds elapsed);
  // What the measurement that `next` last allowed turned out to take at least: expectations of the later ones are corrected by it.
  void took_at_least(Seconds actual);

 private:
  Seconds limit_;
  std::vector<Seconds> least_;
  Seconds still_needed_{};  // by what is expected of measurements to come
  std::size_t at_ = 0;
  double expected_, actual_;  // sums over the latest measurements, the older the less
};

}  // namespace orrery::profiler
