// Which ranks live in this process, what each computes on, and how they talk: all that a run needs to know of the machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "executor/communicator.h"
#include "executor/device.h"

namespace orrery::executor {

// Calls for different ranks come from different threads.
class World {
 public:
  virtual ~World() = default;

  // Of all processes together.
  virtual std::int64_t ranks() const = 0;
  // Those that are threads of this process, ascending.
  virtual std::vector<std::int64_t> here() const = 0;
  // Whether its devices have a kernel for this shape.
  virtual bool has(const program::Shape& shape) const = 0;
  // Called once per rank, on its thread; the communicator is destroyed first.
  virtual std::unique_ptr<Device> device(std::int64_t rank) = 0;
  virtual std::unique_ptr<Communicator> communicator(std::int64_t rank, Device& device) = 0;
  // Makes every pending and later operation of every rank fail; from any thread.
  virtual void abort(const std::string& why) = 0;

  // Its devices have arithmetic for fp32 only: what is narrower is computed so and rounded, and its times say nothing.
  virtual bool emulates() const { return false; }
  // Bytes of memory that the ranks of this process share; 0: unknown. Nothing larger is tried.
  virtual std::int64_t memory() const { return 0; }
  // Number of this process; 0 is the one that reports.
  virtual std::int64_t process() const { return 0; }
  // What every process brought, in their order: all processes call it the same number of times. Throws Error when one has died.
  virtual std::vector<std::string> gather(const std::string& mine) { return {mine}; }
  // The same, but for process 0 alone: the others get nothing back.
  virtual std::vector<std::string> gather_at_first(const std::string& mine) { return {mine}; }
  virtual std::int64_t processes() const { return 1; }
  // How far process 0's steady clock is ahead of this process's, asked anew at each call.
  virtual std::int64_t clock_offset_ns() { return 0; }
  // Why it was aborted, by whatever process; empty: it was not, or there is one process only.
  virtual std::string failure() const { return {}; }
};

// Ranks that are threads of this process, on the host's memory, with the given kernels, which must live as long.
std::unique_ptr<World> make_host_world(std::int64_t ranks, const KernelSet& kernels);

}  // namespace orrery::executor
