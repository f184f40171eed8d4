#include "program/transforms/resharding.h"

#include <fmt/format.h>

namespace orrery::program {
namespace {

constexpr PassMask kBackward = mask(PassKind::backward, PassKind::input_grad);

// Elements that a rank stands for, and of each of its blocks of rows, and of each message.
struct Sizes {
  std::int64_t own, block, message;
};
Sizes sizes(const Context& c, const Resharding& side) {
  const std::int64_t own = c.d.rows / c.d.t * c.d.hidden;
  return {own, own / side.blocks, own / side.blocks / side.parts};
}

bool replicated(const Context& c) { return c.d.t > 1 && !c.d.sp; }

const char* word(bool forward) { return forward ? "activation" : "gradient"; }

std::uint32_t landing(const Context& c, const Resharding& side, bool forward) {
  const Builder::Life life = forward ? Builder::Life{mask(PassKind::receive_forward), mask(PassKind::forward), c.chunk, c.chunk}
                                     : Builder::Life{mask(PassKind::receive_backward), kBackward, c.chunk, c.chunk};
  return c.b.stash(fmt::format("boundary.{}.received", word(forward)), BufferKind::communication, c.plan.precision.compute, sizes(c, side).own, kNone,
                   life);
}

std::uint32_t packed(const Context& c, const Resharding& side, bool forward) {
  const Builder::Life life{forward ? mask(PassKind::forward) : kBackward, mask(PassKind::release), c.chunk, c.chunk};
  return c.b.stash(fmt::format("boundary.{}.packed", word(forward)), BufferKind::communication, c.plan.precision.compute, sizes(c, side).own, kNone,
                   life);
}

std::uint32_t piece(const Context& c, std::uint32_t of, std::int64_t first, std::int64_t elements) {
  const Buffer& whole = c.b.role().buffers[of];
  if (whole.elements == elements) return of;
  return c.b.view(fmt::format("{}.at{}+{}", whole.name, first, elements), whole.kind, of, first, elements, whole.layer);
}

// The block of rows of `whole` that message number `block` of this rank is of.
std::uint32_t sent_block(const Context& c, const Resharding& side, std::uint32_t whole, std::int64_t block) {
  const std::int64_t n = sizes(c, side).block;
  if (!replicated(c)) return piece(c, whole, block * n, n);
  return c.b.part(fmt::format("{}.own{}of{}", c.b.role().buffers[whole].name, block, side.blocks), c.b.role().buffers[whole].kind, whole,
                  block * c.d.t * n, n, c.tp);
}

// Calls visit(message, first element) in the order in which messages are sent and received. Packed, and where they land, the parts of each block
// follow each other.
template <class Visit>
void each_message(const Context& c, const Resharding& side, Visit visit) {
  const Sizes n = sizes(c, side);
  for (std::int64_t part = 0; part < side.parts; ++part)
    for (std::int64_t block = 0; block < side.blocks; ++block)
      visit(static_cast<std::int8_t>(part * side.blocks + block), block * n.block + part * n.message);
}

std::int64_t positions(const Context& c, const Resharding& side) { return c.d.rows / c.d.t / side.blocks / c.d.micro; }

}  // namespace

Resharding resharding(Tables& tables, std::size_t before) {
  const Messages m = messages(tables.program(), boundary(tables.program(), before), tables.segment);
  return {tables.boundary_group(before), m.parts, m.blocks};
}

bool lands(const Context& c, const Resharding& side) { return side.packs() || replicated(c); }

void receive_rows(const Context& c, const Resharding& side, std::uint8_t stream, std::uint8_t channel, bool forward, std::uint32_t whole,
                  std::uint16_t signal) {
  const std::uint32_t to = lands(c, side) ? landing(c, side, forward) : whole;
  const std::int64_t last = side.parts * side.blocks - 1;
  each_message(c, side, [&](std::int8_t message, std::int64_t first) {
    c.b.recv(stream, message, channel, piece(c, to, first, sizes(c, side).message), message == last ? signal : kNone, side.group);
  });
}

void take_rows(const Context& c, const Resharding& side, bool forward, std::uint32_t whole, std::uint16_t received) {
  if (!lands(c, side)) return c.b.expect(whole, received);
  const std::uint32_t from = landing(c, side, forward);
  c.b.expect(from, received);
  const Sizes n = sizes(c, side);
  std::uint32_t own = from;
  if (side.packs()) {
    own = replicated(c) ? c.temporary(fmt::format("boundary.{}.own", word(forward)), n.own, BufferKind::communication) : whole;
    for (std::int64_t block = 0; block < side.blocks; ++block)
      c.b.compute(Operator::gather_columns, {positions(c, side), c.d.micro / side.parts * c.d.hidden, side.parts},
                  {r(piece(c, from, block * n.block, n.block)), w(piece(c, own, block * n.block, n.block))});
  }
  if (!replicated(c)) return;
  c.b.collective(Operator::all_gather, kTp, c.tp, n.own * c.d.t, c.plan.precision.compute, {r(own), w(whole)});
  c.b.settle({own});
}

void send_rows(const Context& c, const Resharding& side, std::uint8_t stream, std::uint8_t channel, bool forward, std::uint32_t whole,
               std::uint16_t signal) {
  const Sizes n = sizes(c, side);
  const std::uint32_t from = sent_rows(c, side, forward, whole);
  if (side.packs())
    for (std::int64_t block = 0; block < side.blocks; ++block)
      c.b.compute(Operator::scatter_columns, {positions(c, side), c.d.micro / side.parts * c.d.hidden, side.parts},
                  {r(sent_block(c, side, whole, block)), w(piece(c, from, block * n.block, n.block))});
  const std::int64_t last = side.parts * side.blocks - 1;
  each_message(c, side, [&](std::int8_t message, std::int64_t first) {
    const std::uint32_t what = side.packs() ? piece(c, from, first, n.message) : sent_block(c, side, whole, message);
    c.b.send(stream, message, channel, what, message == last ? signal : kNone, side.group);
  });
}

std::uint32_t sent_rows(const Context& c, const Resharding& side, bool forward, std::uint32_t whole) {
  return side.packs() ? packed(c, side, forward) : whole;
}

}  // namespace orrery::program
