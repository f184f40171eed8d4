// What a rank computes on: its memory, a queue of work that runs in order, and marks in that queue. The host's own runs everything at once; a GPU's
// is behind the plugin (executor/cuda.h), and its work runs while the rank's thread goes on issuing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/error.h"
#include "executor/kernels/kernels.h"

namespace orrery::executor {

// A rank needs more memory than there is.
class OutOfMemory : public Error {
 public:
  // `wanted` and `free`: bytes, of one rank.
  OutOfMemory(std::string where, std::string what, std::string hint, std::int64_t wanted, std::int64_t free)
      : Error(std::move(where), std::move(what), std::move(hint)), wanted_(wanted), free_(free) {}
  std::int64_t wanted() const { return wanted_; }
  std::int64_t free() const { return free_; }

 private:
  std::int64_t wanted_, free_;
};

// A point in some queue of a device: all that was enqueued there before it. Null: reached long ago. Made and understood by one kind of device; it may
// be used by all queues of that device, from any thread, and may outlive what made it.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
};
using Mark = std::shared_ptr<const DeviceEvent>;

// Work that was recorded. An upload that was recorded takes its data anew from the host each time it runs.
class Recording {
 public:
  virtual ~Recording() = default;
  // Where upload number `index` (from 0, in the order of the calls) takes its data from. The work that read it last must be done before it is
  // changed.
  virtual std::byte* source(std::size_t index) const = 0;
};

// One rank's. Calls come from one thread; errors of work that runs later end in synchronise(), download() or reached_ns().
class Device {
 public:
  virtual ~Device() = default;

  virtual std::string name() const = 0;
  // Work is done when the call that enqueues it returns, and memory is the host's: marks are null, and nothing ever waits.
  virtual bool immediate() const = 0;

  // Zeroed memory, aligned to 64 bytes (a GPU's to 256), until it is released or the device is gone. Throws Error saying what was wanted and what is
  // free.
  virtual std::byte* allocate(std::int64_t bytes) = 0;
  virtual void release(std::byte* memory) = 0;
  // Most bytes that were taken of the device beside allocate()'s: the kernels' scratch, workspaces.
  virtual std::int64_t beside() const = 0;

  // Kernels enqueue on the device's compute queue.
  virtual const KernelSet& kernels() const = 0;
  virtual void fill(void* to, std::uint8_t value, std::int64_t bytes) = 0;
  // Enqueued; `from` may be changed when it returns.
  virtual void upload(void* to, const void* from, std::int64_t bytes) = 0;
  // Blocks until `to` holds what `from` holds after all that is enqueued.
  virtual void download(void* to, const void* from, std::int64_t bytes) = 0;

  // All that is enqueued on the compute queue so far.
  virtual Mark mark() = 0;
  // What is enqueued on the compute queue from now on runs after the mark.
  virtual void wait(const Mark& mark) = 0;
  // Blocks until all that is enqueued on the compute queue is done.
  virtual void synchronise() = 0;
  // When the mark was reached, on the steady clock; blocks until it is. Null: 0.
  virtual std::int64_t reached_ns(const Mark& mark) = 0;

  // What is enqueued until end_recording() is remembered and not run; queues that wait for this one's marks meanwhile are recorded with it, and must
  // have been waited for when it ends. replay() enqueues all of it as one piece of work. Requires can_record().
  virtual bool can_record() const { return false; }
  virtual void begin_recording() {}
  virtual std::unique_ptr<Recording> end_recording() { return nullptr; }
  virtual void replay(const Recording&) {}
};

// The host's memory and kernels. Memory is untouched pages until it is written.
std::unique_ptr<Device> make_host_device(const KernelSet& kernels);

}  // namespace orrery::executor
