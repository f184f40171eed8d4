// Where the instances of a role's buffers lie: one allocator, replayed by the memory report and used by the executor, so that both see the same
// bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "program/program.h"

namespace orrery::program {

// A first-fit allocator of offsets: a block goes into the lowest hole that holds it. Deterministic, and knows nothing of real memory.
class Arena {
 public:
  static constexpr std::int64_t kAlignment = 64;  // one cache line, and the widest vector register

  struct Block {
    std::int64_t offset = 0, bytes = 0;  // both multiples of kAlignment
    bool operator==(const Block&) const = default;
  };

  // Requires bytes >= 0; a block of no bytes takes no room.
  Block allocate(std::int64_t bytes);
  // Requires a block that allocate returned and that was not released since.
  void release(Block block);

  std::int64_t live() const { return live_; }              // bytes of all blocks that are not released
  std::int64_t high_water() const { return high_water_; }  // the most bytes that the arena ever had to reach

 private:
  // No hole below `offset` has room for so many bytes: a search for them begins there.
  struct Hint {
    std::int64_t bytes = 0, offset = 0;
  };

  std::vector<Hint> hints_;   // of the sizes that are asked for; those of a training step are a dozen
  std::vector<Block> holes_;  // below end_, by offset, never adjacent, none at the end
  std::int64_t end_ = 0;      // of the last live block
  std::int64_t live_ = 0, high_water_ = 0;
};

// By buffer: the buffer that owns its bytes (itself unless it is an alias), and how far into it it starts.
struct Ownership {
  std::vector<std::uint32_t> owner;
  std::vector<std::int64_t> offset;
};
Ownership ownership(const Role& role);

// Replays a role's allocation marks in issue order over an Arena. Persistent buffers are placed first, in the order of their index (a versioned one
// as that many instances in a row); then issue() allocates what an instruction marks `first` and complete() frees what it marks `last`. A mark on an
// alias means the buffer that owns its bytes. Host and disk buffers own no bytes here.
class Allocations {
 public:
  Allocations(const Program& program, const Role& role);

  void issue(const Instruction& instruction, std::uint16_t microbatch);
  void complete(const Instruction& instruction, std::uint16_t microbatch);
  // The same for one mark. Require an instance that is not, or that is allocated.
  void allocate(std::uint32_t buffer, std::uint16_t microbatch);
  void release(std::uint32_t buffer, std::uint16_t microbatch);

  // Offset of the buffer's instance (for an alias: of the view), or -1 when it is not allocated. `microbatch` matters for Lifetime::microbatch and
  // sequence only.
  std::int64_t offset(std::uint32_t buffer, std::uint16_t microbatch) const;

  std::int64_t persistent() const { return persistent_; }          // exact bytes, without alignment
  std::int64_t live() const { return live_; }                      // exact bytes, persistent ones included
  std::int64_t high_water() const { return arena_.high_water(); }  // what the arena must hold
  // Whether every instance lies where it does there: from then on both go on alike.
  bool same_places(const Allocations& other) const { return blocks_ == other.blocks_; }
  // Live instances of a buffer: persistent ones count their versions, aliases have none.
  std::int64_t instances(std::uint32_t buffer) const { return instances_[buffer]; }

 private:
  std::size_t slot(std::uint32_t owner, std::uint16_t microbatch) const {
    return slot_[owner] + program_->instance(role_->buffers[owner], microbatch);
  }

  const Program* program_;
  const Role* role_;
  Arena arena_;
  Ownership ownership_;
  std::vector<std::size_t> slot_;     // by buffer: first of its instances in blocks_
  std::vector<Arena::Block> blocks_;  // by instance; offset -1: not allocated
  std::vector<std::int64_t> instances_;
  std::int64_t persistent_ = 0, live_ = 0;
};

}  // namespace orrery::program
