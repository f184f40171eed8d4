#include "app/energy.h"

#include <fmt/format.h>

#include <utility>

namespace orrery::app {
namespace {

constexpr double kLeastWindow = 1;  // seconds

}  // namespace

EnergyCount::EnergyCount(PowerMeters meters, std::int64_t warm_up, profiler::HostClock clock)
    : meters_(std::move(meters)), warm_up_(warm_up), clock_(std::move(clock)) {
  if (warm_up_ == 0) first_ = read(), first_at_ = clock_.now();
}

std::optional<Joules> EnergyCount::read() const {
  if (meters_.list.empty()) return std::nullopt;
  Joules sum{};
  for (const std::unique_ptr<profiler::PowerMeter>& meter : meters_.list) {
    const std::optional<Joules> one = meter->energy();
    if (!one) return std::nullopt;
    sum = sum + *one;
  }
  return sum;
}

void EnergyCount::step_done() {
  ++steps_;
  if (meters_.list.empty() || steps_ < warm_up_) return;
  if (steps_ == warm_up_)
    first_ = read(), first_at_ = clock_.now();
  else
    last_ = read(), last_at_ = clock_.now();
}

StepEnergy EnergyCount::result(Joules predicted, std::int64_t devices) const {
  StepEnergy out;
  out.gpus = meters_.gpus;
  if (out.gpus > 0 && out.gpus == meters_.ranks && devices > 0)
    out.predicted = predicted * (static_cast<double>(out.gpus) / static_cast<double>(devices));
  if (meters_.list.empty()) {
    out.why = meters_.why;
    return out;
  }
  if (steps_ <= warm_up_) {
    out.why = fmt::format("there was no step after the first {}, which warm up", warm_up_);
    return out;
  }
  if (!first_ || !last_) {
    out.why = "a GPU does not count its energy";
    return out;
  }
  out.window = Seconds{last_at_ - first_at_};
  if (out.window.v < kLeastWindow) {
    out.why = fmt::format(
        "the steps after warm-up took {:.2f} s: less than a second says little by a counter that moves every 100 ms; run more steps", out.window.v);
    return out;
  }
  out.per_step = (*last_ - *first_) * (1 / static_cast<double>(steps_ - warm_up_));
  return out;
}

}  // namespace orrery::app
