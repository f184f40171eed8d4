// Operands in a device's memory: several sets of them, used in turn, with the same contents as those that the host's profiler uses.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "executor/device.h"
#include "profiler/operands.h"

namespace orrery::profiler {

// A device's memory for operands, kept from one measurement to the next, and blocks of numbers to fill it from. The device needs a kernel for `copy`
// of fp32. Enqueues on the device's compute queue.
class DeviceRoom {
 public:
  // At most `limit` bytes are taken.
  DeviceRoom(executor::Device& device, std::int64_t limit) : device_(device), limit_(limit) {}
  ~DeviceRoom();
  DeviceRoom(const DeviceRoom&) = delete;
  DeviceRoom& operator=(const DeviceRoom&) = delete;

  bool fits(std::int64_t bytes) const { return bytes <= limit_; }
  // At least `bytes`, aligned to 256, until the next call; holds anything. Requires fits(bytes).
  std::byte* get(std::int64_t bytes);
  // Large ones are made on the device, of numbers that repeat every few MiB.
  void fill(const Operand& operand, std::byte* to);
  void copy(const std::byte* from, std::byte* to, std::int64_t bytes);

 private:
  executor::Device& device_;
  std::int64_t limit_, bytes_ = 0;
  std::byte* memory_ = nullptr;
  std::map<std::pair<DType, Fill>, std::byte*> blocks_;
  std::vector<std::byte> host_;
  std::uint64_t state_ = 0x9e3779b97f4a7c15ULL;
};

// As OperandSets, but at most 64 sets: no more calls are made between two flushes of the cache.
class DeviceOperandSets {
 public:
  DeviceOperandSets(const std::vector<Operand>& operands, std::int64_t footprint, DeviceRoom& room);
  const std::vector<void*>& next();
  std::int64_t count() const { return static_cast<std::int64_t>(sets_.size()); }
  // Of all sets; of one.
  static std::int64_t bytes(const std::vector<Operand>& operands, std::int64_t footprint);
  static std::int64_t set_bytes(const std::vector<Operand>& operands);

 private:
  std::vector<std::vector<void*>> sets_;
  std::size_t at_ = 0;
};

}  // namespace orrery::profiler
