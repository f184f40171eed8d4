// Moves the data of operations whose members are all there, on a device that they share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "executor/communicator.h"

namespace orrery::executor {

// What a ThreadsWorld uses instead of the host's hands. It keeps a queue for each stream of each rank, in which operations run in the order of the
// calls. Calls come one at a time, from any thread, and wait for no
// rank (for room in a device's own queue, or for a clock, they may).
class Mover {
 public:
  virtual ~Mover() = default;
  // One member of an operation: its rank, what it brought, and the marks behind which the device may touch its buffers.
  struct Member {
    std::int64_t rank = 0;
    const CommOperation* operation = nullptr;
    std::vector<Mark> after;
    Mark begin, done;  // out: when all members are there, and when the operation is over and this member's buffers are free
  };
  // In the order of the group.
  virtual void collective(std::span<Member> members) = 0;
  virtual void message(Member& send, Member& receive) = 0;
  // When the mark was reached, on the steady clock; blocks until then. Throws Error where the device failed, or more rows were sent than there is
  // room for.
  virtual std::int64_t reached_ns(const Mark& mark) = 0;
};

}  // namespace orrery::executor
