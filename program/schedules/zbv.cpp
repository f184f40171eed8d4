#include <array>

#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {
namespace {

// Writes a rank's passes in the order of each chunk's micro-batches, and nothing once a chunk has run out of them.
class Writer {
 public:
  Writer(std::vector<Pass>& passes, std::int64_t microbatches) : passes_(passes), m_(microbatches) {}
  void f(std::size_t chunk) { next(PassKind::forward, chunk, forwards_[chunk]); }
  void i(std::size_t chunk) { next(PassKind::input_grad, chunk, inputs_[chunk]); }
  void w(std::size_t chunk) { next(PassKind::weight_grad, chunk, weights_[chunk]); }
  bool forwards_left() const { return forwards_[0] < m_ || forwards_[1] < m_; }
  bool weights_left(std::size_t chunk) const { return weights_[chunk] < m_; }

 private:
  void next(PassKind kind, std::size_t chunk, std::int64_t& count) {
    if (count < m_) passes_.push_back(pass(kind, count++, static_cast<std::int64_t>(chunk)));
  }
  std::vector<Pass>& passes_;
  std::int64_t m_;
  std::array<std::int64_t, 2> forwards_{}, inputs_{}, weights_{};
};

}  // namespace

Schedule zbv(const ScheduleInput& input) {
  Schedule out = empty_schedule(input, Placement::vee, 2);
  const std::int64_t p = input.ranks;
  for (std::int64_t r = 0; r < p; ++r) {
    Writer put(out.order[static_cast<std::size_t>(r)], input.microbatches);
    for (std::int64_t k = 0; k < 2 * (p - r) - 1; ++k) put.f(0);
    for (std::int64_t k = 0; k < r; ++k) put.f(1), put.f(0);
    for (std::int64_t k = 0; k < p - r; ++k) put.f(1), put.i(1), put.w(1);
    while (put.forwards_left()) put.f(0), put.i(0), put.w(0), put.f(1), put.i(1), put.w(1);
    for (std::int64_t k = 0; k < r; ++k) put.i(0), put.i(1);
    for (std::int64_t k = 0; k < p - r; ++k) put.i(0), put.w(0);
    for (const std::size_t chunk : {1U, 0U})
      while (put.weights_left(chunk)) put.w(chunk);
  }
  return out;
}

}  // namespace orrery::program
