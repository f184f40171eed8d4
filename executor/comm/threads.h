// Ranks that are threads of this process: the communicator copies and reduces straight between their buffers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "executor/comm/mover.h"
#include "executor/communicator.h"

namespace orrery::executor {

// What the ranks of one process share. An operation is ready when its predecessor on its stream and its `after` tickets are complete; when every
// member's is ready, each member reduces or copies its own part of the data, on the thread that waits for it or else on a worker of its stream.
// A world whose ranks all wait for each other in a ring is aborted, and the error says who waits for what.
class ThreadsWorld {
 public:
  // ranks >= 1. With a mover, ranks share a device, and it moves their data: an operation is ready when those before it are enqueued there, and is
  // enqueued when every member's is ready.
  explicit ThreadsWorld(std::int64_t ranks, std::unique_ptr<Mover> mover = nullptr);
  ~ThreadsWorld();
  ThreadsWorld(const ThreadsWorld&) = delete;
  ThreadsWorld& operator=(const ThreadsWorld&) = delete;

  // Rank `rank`'s end, once per rank; may outlive the world. Destroying it with operations pending aborts the others.
  std::unique_ptr<Communicator> communicator(std::int64_t rank);
  // As Communicator::abort, from any thread.
  void abort(const std::string& why);

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace orrery::executor
