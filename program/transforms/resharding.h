// Resharding: what a stage at a boundary between segments sends to, and receives from, a stage that is split in another way.
#pragma once

#include <cstdint>

#include "program/layers/layers.h"

namespace orrery::program {

// One side of a boundary; see Boundary and Messages in program.h. Each rank of a stage stands for an equal share of the micro-batch: for its
// sequences (dp), and of their rows for the block that is its own by its place on tp. That is what it has under sequence parallelism; without, the
// ranks of tp all have all rows, so each sends a share of them, and receives a share that the others then gather from it. Nothing crosses twice.
//
// Rows are ordered by position, and by sequence within it. Where the other side's ranks have fewer sequences, what goes to each of them is therefore
// packed before it is sent, and what comes from each is unpacked; all else is contiguous.
struct Resharding {
  std::uint16_t group = kNone;
  std::int64_t parts = 1, blocks = 1;  // Messages
  bool packs() const { return parts > 1; }
};
// Of the boundary after segment `before`, for the stage of the segment that `tables` is at.
Resharding resharding(Tables& tables, std::size_t before);

// Whether what arrives must be put together in a buffer of its own before it is the activation, or its gradient.
bool lands(const Context& c, const Resharding& side);

// Receives into `whole`, or where it lands.
void receive_rows(const Context& c, const Resharding& side, std::uint8_t stream, std::uint8_t channel, bool forward, std::uint32_t whole,
                  std::uint16_t signal);
// In the pass that uses it: puts it together as `whole`. `received`: what receive_rows signalled.
void take_rows(const Context& c, const Resharding& side, bool forward, std::uint32_t whole, std::uint16_t received);

// Sends `whole`. What keeps until it has been sent is sent_rows.
void send_rows(const Context& c, const Resharding& side, std::uint8_t stream, std::uint8_t channel, bool forward, std::uint32_t whole,
               std::uint16_t signal);
std::uint32_t sent_rows(const Context& c, const Resharding& side, bool forward, std::uint32_t whole);

}  // namespace orrery::program
