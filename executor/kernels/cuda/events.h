// Marks of a GPU: events, kept for reuse, and the host's clock that they are read on.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "executor/device.h"

namespace orrery::executor::cuda {

// An event of the device at a known time of the host's steady clock. Times between events are given in single precision, so it should be near.
struct Anchor {
  cudaEvent_t event = nullptr;
  std::int64_t ns = 0;
  ~Anchor() {
    if (event) cudaEventDestroy(event);
  }
};

class EventPool;

// Keeps its pool alive, as pools go before marks do where a rank fails.
class CudaMark final : public DeviceEvent {
 public:
  CudaMark(std::shared_ptr<EventPool> pool, cudaEvent_t event, std::shared_ptr<const Anchor> anchor)
      : pool_(std::move(pool)), event_(event), anchor_(std::move(anchor)) {}
  ~CudaMark() override;
  CudaMark(const CudaMark&) = delete;
  CudaMark& operator=(const CudaMark&) = delete;
  cudaEvent_t event() const { return event_; }
  // Blocks, without spinning, until it is reached.
  std::int64_t ns() const;

 private:
  std::shared_ptr<EventPool> pool_;
  cudaEvent_t event_;
  std::shared_ptr<const Anchor> anchor_;
};

// Of one device; from any thread.
class EventPool : public std::enable_shared_from_this<EventPool> {
 public:
  explicit EventPool(int device) : device_(device) {}
  ~EventPool();
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  // What is enqueued on `stream` so far.
  Mark record(cudaStream_t stream);
  // Sets the clock by an event on `stream`, which must be idle, or else the clock is late by what is left on it.
  void set_clock(cudaStream_t stream);
  // The same, where the clock is too old to be good: events' times are in single precision.
  void keep_clock(cudaStream_t stream);

 private:
  friend class CudaMark;
  cudaEvent_t take();
  int device_;
  std::mutex mutex_;
  std::vector<cudaEvent_t> free_;
  std::shared_ptr<const Anchor> anchor_;
  std::int64_t clock_set_ = 0;
};

// What follows on `stream` waits for the mark, which is of a GPU, or null.
void wait_for(cudaStream_t stream, const Mark& mark);
std::int64_t reached_ns(const Mark& mark);

}  // namespace orrery::executor::cuda
