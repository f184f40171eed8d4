// Peak memory of a role, replayed from its allocation marks in issue order: a function of the Program, not of timing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "program/program.h"

namespace orrery::program {

struct BufferAtPeak {
  std::string name;  // instances of one buffer over micro-batches, and of one stash over layers, are added up under one name
  std::int64_t bytes = 0;
  std::int64_t instances = 0;
};

struct MemoryReport {
  std::int64_t persistent = 0;                        // parameters, gradients, optimizer states
  std::int64_t at_start = 0;                          // live when the body begins: persistent ones, and what the prologue left
  std::int64_t peak_live = 0;                         // most bytes live at once, persistent ones included
  std::int64_t most_live = 0;                         // of an asynchronous program the most in any step, its last included; otherwise peak_live
  std::int64_t arena = 0;                             // high-water mark of the arena (first-fit offsets, 64-byte aligned), persistent ones included
  std::uint32_t peak_pass = 0, peak_instruction = 0;  // where in the body the live peak is
  std::vector<BufferAtPeak> at_peak;                  // largest first, all of them
  // Live bytes whenever an instruction of the body changes them: once it has allocated and, in an entry of its own, once it has freed.
  struct Step {
    std::uint32_t pass;         // index into Role::body
    std::uint32_t instruction;  // index in the pass's template
    std::int64_t bytes;
    bool operator==(const Step&) const = default;
  };
  std::vector<Step> curve;
};

// Second and later steps are alike; the report is of one body, run after the persistent buffers are there and the prologue has run.
// Device memory only.
MemoryReport memory(const Program& program, const Role& role);

// The same with every allocation and release of the body one by one: who holds the live bytes at any point of the curve.
struct MemoryHistory {
  MemoryReport report;
  std::vector<std::int64_t> at_start;  // by buffer: instances that are live when the body begins
  struct Change {
    std::uint32_t step = 0;    // index into report.curve, whose bytes are after it
    std::uint32_t buffer = 0;  // that owns its bytes
    std::int32_t instances = 0;
    bool operator==(const Change&) const = default;
  };
  std::vector<Change> changes;  // in the order in which they take effect
};
MemoryHistory memory_history(const Program& program, const Role& role);

}  // namespace orrery::program
