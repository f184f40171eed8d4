// How ranks talk: asynchronous group operations, each started with a ticket. One implementation per kind of machine, one conformance test for all.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "executor/device.h"
#include "program/operators.h"

namespace orrery::executor {

// What is said where more rows of tokens are routed to a rank than its plan's moe.room gives it room for.
inline std::string no_room(const std::string& what, std::int64_t room) {
  return what + ", but has room for " + std::to_string(room) + ": routing is not that of moe.load; moe.room 'all' has room for any";
}

// Handle of a started operation. 0 is a ticket that is complete.
struct Ticket {
  std::uint64_t v = 0;
  bool operator==(const Ticket&) const = default;
};

struct CommOperation {
  program::Operator op = program::Operator::all_reduce;  // a collective, send or recv
  DType dtype = DType::fp32;    // reductions accumulate in double, in member order, and so give the same bits on every member
  std::int64_t elements = 0;    // as in program/operators.h: whole for reduce_scatter and all_gather; per pair of ranks for all_to_all; 0: a barrier
  const void* input = nullptr;  // may equal output for all_reduce, broadcast; in-place shards are allowed for reduce_scatter and all_gather
  void* output = nullptr;
  // all_to_all_by_count: elements of this member's rows for each member of each of `counts_per_rank` kinds, in units of `width` elements; read when
  // all members are there. `elements` counts nothing but the call's size, and is the same for all.
  const std::int32_t* counts = nullptr;
  std::int64_t counts_per_rank = 0, width = 0;
  std::int64_t room = -1;                 // all_to_all_by_count: rows that output holds; more fail the world; -1: enough
  std::span<const std::int64_t> members;  // ranks of the group in order; send, recv: {me, peer}
  std::uint8_t stream = 0;                // operations of one rank on one stream run in the order they were started
  std::uint8_t channel = 0;               // send, recv
  std::int64_t root = 0;                  // broadcast: index into members
  std::vector<Ticket> after;              // must be complete before this one may touch its buffers
  Mark ready;                             // of the rank's device: as `after`
};

struct CommTimes {
  std::int64_t start_ns = 0, arrived_ns = 0, end_ns = 0;
};  // began waiting for peers (a device does not tell: as the next), all peers there, complete; steady clock

// One rank's end. Calls on one object come from one thread; different ranks' objects are used concurrently.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual std::int64_t rank() const = 0;
  // Returns at once. The buffers belong to the operation until its ticket is complete.
  virtual Ticket start(const CommOperation& operation) = 0;
  // Blocks (never spins) until the ticket is complete; throws Error when the group was aborted. Waiting twice is allowed.
  virtual CommTimes wait(Ticket ticket) = 0;
  // Of a communicator whose data is moved by a device: blocks until the operation is enqueued there, which may need its peers' threads, and returns
  // the mark behind which it is complete. Else blocks as wait does, and returns null. The device that the rank computes on waits for the mark.
  virtual Mark enqueued(Ticket ticket) {
    wait(ticket);
    return nullptr;
  }
  // Whether operations may be started while the device records (Device::begin_recording): they are then part of what is recorded.
  virtual bool can_record() const { return false; }
  // Makes every pending and later operation of every rank of this communicator's world fail.
  virtual void abort(const std::string& why) = 0;
};

}  // namespace orrery::executor
