// Giving up a simulation whose result nobody wants any more.
#pragma once

#include <atomic>

namespace orrery::sim {

// Thrown inside sim only, and caught in simulate().
struct Cancelled {};

// Asked once per rank and per pass: thousands of times in ten milliseconds, and never in the loop over instructions.
class Cancel {
 public:
  Cancel() = default;
  explicit Cancel(const std::atomic<bool>* flag) : flag_(flag) {}
  void check() const {
    if (flag_ != nullptr && flag_->load(std::memory_order_relaxed)) throw Cancelled{};
  }

 private:
  const std::atomic<bool>* flag_ = nullptr;
};

}  // namespace orrery::sim
