#include "program/arena.h"

#include <algorithm>
#include <cassert>

namespace orrery::program {

namespace {

constexpr std::size_t kMostHints = 32;

}  // namespace

Arena::Block Arena::allocate(std::int64_t bytes) {
  assert(bytes >= 0);
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (bytes == 0) return {};
  live_ += bytes;
  auto hint = std::find_if(hints_.begin(), hints_.end(), [&](const Hint& h) { return h.bytes == bytes; });
  if (hint == hints_.end()) {
    if (hints_.size() == kMostHints) hints_.erase(hints_.begin());
    hints_.push_back({bytes, 0});
    hint = std::prev(hints_.end());
  }
  const auto from =
      std::lower_bound(holes_.begin(), holes_.end(), hint->offset, [](const Block& h, std::int64_t offset) { return h.offset < offset; });
  for (auto i = static_cast<std::size_t>(from - holes_.begin()); i < holes_.size(); ++i) {
    Block& hole = holes_[i];
    if (hole.bytes < bytes) continue;
    hint->offset = hole.offset;
    const Block block{hole.offset, bytes};
    hole.offset += bytes;
    hole.bytes -= bytes;
    if (hole.bytes == 0) holes_.erase(holes_.begin() + static_cast<std::ptrdiff_t>(i));
    return block;
  }
  hint->offset = end_;
  const Block block{end_, bytes};
  end_ += bytes;
  high_water_ = std::max(high_water_, end_);
  return block;
}

void Arena::release(Block block) {
  if (block.bytes == 0) return;
  live_ -= block.bytes;
  const auto after =
      std::lower_bound(holes_.begin(), holes_.end(), block.offset, [](const Block& h, std::int64_t offset) { return h.offset < offset; });
  const bool joins_before = after != holes_.begin() && std::prev(after)->offset + std::prev(after)->bytes == block.offset;
  if (block.offset + block.bytes == end_) {  // the last block: the arena ends where the room before it begins
    end_ = joins_before ? std::prev(after)->offset : block.offset;
    if (joins_before) holes_.pop_back();
    return;
  }
  const bool joins_after = after != holes_.end() && block.offset + block.bytes == after->offset;
  assert(after == holes_.end() || block.offset + block.bytes <= after->offset);
  Block hole = block;
  if (joins_before && joins_after) {
    std::prev(after)->bytes += block.bytes + after->bytes;
    hole = *std::prev(after);
    holes_.erase(after);
  } else if (joins_before) {
    std::prev(after)->bytes += block.bytes;
    hole = *std::prev(after);
  } else if (joins_after) {
    after->offset = block.offset;
    after->bytes += block.bytes;
    hole = *after;
  } else {
    holes_.insert(after, block);
  }
  for (Hint& h : hints_)
    if (h.bytes <= hole.bytes) h.offset = std::min(h.offset, hole.offset);
}

Ownership ownership(const Role& role) {
  Ownership out;
  out.owner.resize(role.buffers.size());
  out.offset.resize(role.buffers.size(), 0);
  for (std::size_t b = 0; b < role.buffers.size(); ++b) {
    std::size_t owner = b;
    while (role.buffers[owner].alias >= 0) {
      out.offset[b] += role.buffers[owner].alias_offset;
      owner = static_cast<std::size_t>(role.buffers[owner].alias);
    }
    out.owner[b] = static_cast<std::uint32_t>(owner);
  }
  return out;
}

Allocations::Allocations(const Program& program, const Role& role)
    : program_(&program), role_(&role), ownership_(ownership(role)), slot_(role.buffers.size(), 0), instances_(role.buffers.size(), 0) {
  std::size_t slots = 0;
  for (std::size_t b = 0; b < role.buffers.size(); ++b) {
    slot_[b] = slots;
    if (role.buffers[b].alias >= 0) continue;
    slots += program.instances(role.buffers[b]);
  }
  blocks_.assign(slots, {-1, 0});
  for (std::uint32_t b = 0; b < role.buffers.size(); ++b) {
    const Buffer& buffer = role.buffers[b];
    if (buffer.alias >= 0 || buffer.lifetime != Lifetime::persistent || buffer.space != Space::device) continue;
    const std::int64_t bytes = buffer.bytes * buffer.versions;
    blocks_[slot_[b]] = arena_.allocate(bytes);
    instances_[b] = buffer.versions;
    persistent_ += bytes;
  }
  live_ = persistent_;
}

void Allocations::allocate(std::uint32_t buffer, std::uint16_t microbatch) {
  const std::uint32_t owner = ownership_.owner[buffer];
  const Buffer& owned = role_->buffers[owner];
  if (owned.space != Space::device) return;
  Arena::Block& block = blocks_[slot(owner, microbatch)];
  assert(block.offset < 0);
  block = arena_.allocate(owned.bytes);
  live_ += owned.bytes;
  ++instances_[owner];
}

void Allocations::release(std::uint32_t buffer, std::uint16_t microbatch) {
  const std::uint32_t owner = ownership_.owner[buffer];
  const Buffer& owned = role_->buffers[owner];
  if (owned.space != Space::device) return;
  Arena::Block& block = blocks_[slot(owner, microbatch)];
  assert(block.offset >= 0);
  arena_.release(block);
  block = {-1, 0};
  live_ -= owned.bytes;
  --instances_[owner];
}

void Allocations::issue(const Instruction& instruction, std::uint16_t microbatch) {
  for (std::uint32_t a = instruction.accesses; a < instruction.accesses + instruction.access_count; ++a)
    if (role_->accesses[a].first) allocate(role_->accesses[a].buffer, microbatch);
}

void Allocations::complete(const Instruction& instruction, std::uint16_t microbatch) {
  for (std::uint32_t a = instruction.accesses; a < instruction.accesses + instruction.access_count; ++a)
    if (role_->accesses[a].last) release(role_->accesses[a].buffer, microbatch);
}

std::int64_t Allocations::offset(std::uint32_t buffer, std::uint16_t microbatch) const {
  const std::int64_t start = blocks_[slot(ownership_.owner[buffer], microbatch)].offset;
  return start < 0 ? -1 : start + ownership_.offset[buffer];
}

}  // namespace orrery::program
