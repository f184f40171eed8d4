#include "profiler/device_operands.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace orrery::profiler {
namespace {

constexpr std::int64_t kAlignment = 256;  // as the executor's arena on a GPU
constexpr std::int64_t kMostSets = 64;
// Of numbers that are made on the host. No power of two, so that rows of a matrix are not each other's copies.
constexpr std::int64_t kBlock = (std::int64_t{8} << 20U) + 37 * kAlignment;

std::int64_t padded(std::int64_t bytes) { return std::max<std::int64_t>(1, (bytes + kAlignment - 1) / kAlignment) * kAlignment; }

}  // namespace

DeviceRoom::~DeviceRoom() {
  try {
    device_.synchronise();
  } catch (...) {  // a device that is lost; whoever measured knows
  }
  if (memory_) device_.release(memory_);
  for (const auto& [kind, block] : blocks_) device_.release(block);
}

std::byte* DeviceRoom::get(std::int64_t bytes) {
  assert(fits(bytes));
  if (bytes > bytes_) {
    device_.synchronise();
    if (memory_) device_.release(memory_);  // first, so that both are never there
    memory_ = nullptr, bytes_ = 0;
    memory_ = device_.allocate(bytes);
    bytes_ = bytes;
  }
  return memory_;
}

void DeviceRoom::copy(const std::byte* from, std::byte* to, std::int64_t bytes) {
  assert(bytes % 4 == 0);
  program::Shape shape;
  shape.op = program::Operator::copy;
  shape.dims[0] = bytes / 4;
  const std::array<void*, 2> buffers{const_cast<std::byte*>(from), to};
  device_.kernels().run({shape, buffers, {}});
}

void DeviceRoom::fill(const Operand& operand, std::byte* to) {
  if (operand.bytes <= 0) return;
  if (operand.fill == Fill::zero) return device_.fill(to, 0, operand.bytes);
  if (operand.bytes <= kBlock || (operand.fill != Fill::uniform && operand.fill != Fill::positive)) {
    host_.resize(static_cast<std::size_t>(operand.bytes));
    profiler::fill(operand, host_.data(), state_);
    return device_.upload(to, host_.data(), operand.bytes);
  }
  std::byte*& block = blocks_[{operand.type, operand.fill}];
  if (!block) {
    block = device_.allocate(kBlock);
    fill({kBlock, operand.fill, operand.tokens, operand.type}, block);
  }
  const std::int64_t whole = padded(operand.bytes);  // the padding is this operand's
  for (std::int64_t at = 0; at < whole; at += kBlock) copy(block, to + at, std::min(kBlock, whole - at));
}

std::int64_t DeviceOperandSets::set_bytes(const std::vector<Operand>& operands) {
  std::int64_t bytes = 0;
  for (const Operand& o : operands) bytes += padded(o.bytes);
  return std::max(kAlignment, bytes);
}

std::int64_t DeviceOperandSets::bytes(const std::vector<Operand>& operands, std::int64_t footprint) {
  const std::int64_t one = set_bytes(operands);
  return one * std::clamp<std::int64_t>((footprint + one / 2) / one, 1, kMostSets);
}

DeviceOperandSets::DeviceOperandSets(const std::vector<Operand>& operands, std::int64_t footprint, DeviceRoom& room) {
  const std::int64_t one = set_bytes(operands), all = bytes(operands, footprint);
  std::byte* const first = room.get(all);
  for (std::int64_t begin = 0; begin < all; begin += one) {
    std::byte* at = first + begin;
    if (begin > 0) room.copy(first, at, one);
    auto& set = sets_.emplace_back();
    for (const Operand& o : operands) {
      if (begin == 0) room.fill(o, at);
      set.push_back(at);
      at += padded(o.bytes);
    }
  }
}

const std::vector<void*>& DeviceOperandSets::next() {
  at_ = at_ + 1 < sets_.size() ? at_ + 1 : 0;
  return sets_[at_];
}

}  // namespace orrery::profiler
