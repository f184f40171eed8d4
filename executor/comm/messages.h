// Ranks of several processes, on the hosts' memory: collectives out of messages over TCP.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "executor/comm/store.h"
#include "executor/communicator.h"

namespace orrery::executor {

// One process's part of a world of `ranks`, in which each process has consecutive ranks (comm/operations.h). Members send each other what they have
// of an operation; each sums its own part in double, in member order, so that sums have the bits that ThreadsWorld gives. A thread per rank and
// stream does the work. Operations of a rank on one stream run in the order they were started; a send is complete when its data has left.
class MessagesWorld {
 public:
  // All processes of the store make it at the same time. Throws Error where one cannot be reached. An operation whose peers do not come within
  // `deadline` fails the world, with its name; 0: they may take as long as they live. `store` must live longer.
  MessagesWorld(KeyStore& store, std::int64_t ranks, std::chrono::milliseconds deadline = std::chrono::minutes(10));
  ~MessagesWorld();
  MessagesWorld(const MessagesWorld&) = delete;
  MessagesWorld& operator=(const MessagesWorld&) = delete;

  // Of a rank of this process; destroyed before the world. Destroying it with operations pending aborts the others.
  std::unique_ptr<Communicator> communicator(std::int64_t rank);
  // In all processes; from any thread.
  void abort(const std::string& why);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace orrery::executor
