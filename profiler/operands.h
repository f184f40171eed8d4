// Data for timing a kernel: every operand that an operator is called with, at the size that its shape implies, filled with plausible numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "profiler/grid.h"

namespace orrery::profiler {

// How an operand is filled. Kernels run on their own results again and again while they are timed: no value may grow without bound, turn
// into NaN or become denormal, since arithmetic on those can take longer.
enum class Fill : std::uint8_t { uniform, positive, zero, one, tokens, same };

struct Operand {
  std::int64_t bytes = 0;
  Fill fill = Fill::uniform;
  std::int64_t tokens = 0;  // Fill::tokens: values lie below this; Fill::same: all are this
  DType type = DType::fp32;
};

// Writes an operand's `bytes` to `to`; `state` is that of a generator, and not 0. fp8 numbers are e4m3.
void fill(const Operand& operand, std::byte* to, std::uint64_t& state);

// Operands in access order, each of the type that executor/kernels/kernels.h says. Requires an operator that is a kernel's, and a count of operands
// that it may be called with (asserted).
std::vector<Operand> operands_of(const OperatorItem& item, const executor::KernelSettings& settings);

// `settings` with what follows from the item: the whole vocabulary is this rank's, the loss is the mean over this call's tokens, and the count of
// operands says which optimizer and, with a beta, which norm.
executor::KernelSettings settings_for(const OperatorItem& item, const executor::KernelSettings& settings);

// Memory that is kept from one measurement to the next, since fresh pages take longer to get than to fill.
class Room {
 public:
  // At least `bytes`, aligned to 64, until the next call; holds anything.
  std::byte* get(std::int64_t bytes);

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::int64_t bytes_ = 0;
};

// Several sets of the same operands side by side, used in turn, so that all of them are touched between two uses of one: as many as come nearest to
// `footprint` bytes together, at least one and at most 16384.
class OperandSets {
 public:
  // `room` must live as long, and serve nothing else meanwhile.
  OperandSets(const std::vector<Operand>& operands, std::int64_t footprint, std::uint64_t seed, Room& room);
  const std::vector<void*>& next();
  std::int64_t bytes() const { return bytes_; }
  // What bytes() would be.
  static std::int64_t bytes(const std::vector<Operand>& operands, std::int64_t footprint);

 private:
  std::int64_t bytes_ = 0;
  std::vector<std::vector<void*>> sets_;
  std::size_t at_ = 0;
};

// Bytes of one set.
std::int64_t set_bytes(const std::vector<Operand>& operands);

}  // namespace orrery::profiler
