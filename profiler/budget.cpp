#include "profiler/budget.h"

#include <algorithm>
#include <cassert>

namespace orrery::profiler {
namespace {

// A roofline is optimistic: until something was measured, twice as much is expected.
constexpr double kOptimism = 2;
constexpr double kMemory = 0.8;  // weight of a measurement relative to the one after it

}  // namespace

Budget::Budget(Seconds limit, std::vector<Seconds> least) : limit_(limit), least_(std::move(least)), expected_(1e-6), actual_(kOptimism * 1e-6) {
  for (const Seconds s : least_) still_needed_ += s;
}

std::optional<Seconds> Budget::next(Seconds elapsed) {
  assert(at_ < least_.size());
  const double pace = actual_ / expected_;
  const Seconds left = limit_ - elapsed, mine = least_[at_] * pace, all = still_needed_ * pace;
  const auto sharing = static_cast<double>(least_.size() - at_);
  still_needed_ -= least_[at_];
  ++at_;
  if (mine > left) return std::nullopt;
  return mine + Seconds{std::max(0.0, (left - all).v) / sharing};
}

void Budget::took_at_least(Seconds actual) {
  assert(at_ > 0);
  expected_ = kMemory * expected_ + least_[at_ - 1].v;
  actual_ = kMemory * actual_ + actual.v;
}

}  // namespace orrery::profiler
