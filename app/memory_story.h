// What a rank's memory holds at any time of the step, not only at its peak: by category, and buffer by buffer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/timeline.h"
#include "core/units.h"
#include "program/program.h"

namespace orrery::app {

// What bytes are for, as people ask about memory. optimizer: its states and the master copy of the parameters; other: token numbers, losses, norms.
enum class MemoryCategory : std::uint8_t { parameters, gradients, optimizer, activations, logits, communication, temporary, other };
inline constexpr std::size_t kMemoryCategories = 8;
std::string_view name(MemoryCategory category);
MemoryCategory category(program::BufferKind kind);

struct MemoryStory {
  std::int64_t rank = 0;
  std::size_t stage = 0;  // index into Program::roles
  std::string label;      // of the rank: "pp0 dp3 tp1"
  Bytes capacity;         // of the device

  // Live bytes from `time` on: one for the start of the step, then one for each change, exactly as in Timeline::memory.
  struct Sample {
    Picoseconds time;
    std::array<std::int64_t, kMemoryCategories> bytes{};
    std::uint32_t pass = 0, instruction = 0;  // that made it so: indices into Role::body and the pass's template; of the first sample nothing
    std::int64_t total() const;
  };
  std::vector<Sample> samples;
  std::size_t peak = 0;  // the sample with the most bytes, the first of several

  // Instances of one buffer over micro-batches, or of one stash over layers, go by one name.
  struct Name {
    std::string name;
    MemoryCategory category = MemoryCategory::other;
  };
  std::vector<Name> names;
  struct Change {
    std::uint32_t sample = 0;  // from which on
    std::uint32_t name = 0;
    std::int32_t instances = 0;
    std::int64_t bytes = 0;
  };
  std::vector<Change> changes;  // by sample; those of sample 0 are what the step begins with

  // The sample that holds at `time`: the last one not after it; where several are at that very time, the one with the most bytes.
  std::size_t at(Picoseconds time) const;
};

// `rank` must be recorded in `timeline`, a simulated or a measured one of this very program. Throws Error where it is not, or where the timeline's
// curve has other changes than the program's.
MemoryStory memory_story(const program::Program& program, const Timeline& timeline, Bytes capacity, std::int64_t rank);

// What is live at a sample, largest first, equals by name.
struct Holding {
  std::string name;
  MemoryCategory category = MemoryCategory::other;
  std::int64_t bytes = 0, instances = 0;
  bool operator==(const Holding&) const = default;
};
std::vector<Holding> holdings(const MemoryStory& story, std::size_t sample);

// In words, which instruction made a sample: "backward of micro-batch 3: linear_input_grad, layer 12"; the name of a pass says its split of the
// sequence: "forward, split 1 of micro-batch 3: …".
std::string occasion(const program::Program& program, const MemoryStory& story, std::size_t sample);

}  // namespace orrery::app
