#include "executor/kernels/cuda/events.h"

#include <chrono>
#include <cmath>

#include "executor/kernels/cuda/launches.h"

namespace orrery::executor::cuda {
namespace {

std::int64_t now_ns() { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

CudaMark::~CudaMark() {
  const std::lock_guard lock(pool_->mutex_);
  pool_->free_.push_back(event_);
}

std::int64_t CudaMark::ns() const {
  check_cuda(cudaEventSynchronize(event_), "work on the GPU");
  if (!anchor_) return 0;
  float ms = 0;
  check_cuda(cudaEventElapsedTime(&ms, anchor_->event, event_), "reading an event's time");
  return anchor_->ns + std::llround(static_cast<double>(ms) * 1e6);
}

EventPool::~EventPool() {
  for (const cudaEvent_t event : free_) cudaEventDestroy(event);
}

cudaEvent_t EventPool::take() {
  if (!free_.empty()) {
    const cudaEvent_t event = free_.back();
    free_.pop_back();
    return event;
  }
  cudaEvent_t event = nullptr;
  check_cuda(cudaSetDevice(device_), "choosing a device");
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventBlockingSync), "an event");
  return event;
}

Mark EventPool::record(cudaStream_t stream) {
  std::shared_ptr<const CudaMark> mark;
  {
    const std::lock_guard lock(mutex_);
    mark = std::make_shared<CudaMark>(shared_from_this(), take(), anchor_);
  }
  check_cuda(cudaEventRecord(mark->event(), stream), "recording an event");
  return mark;
}

void EventPool::set_clock(cudaStream_t stream) {
  constexpr int kTries = 5;
  auto best = std::make_shared<Anchor>();
  std::int64_t narrowest = 0;
  for (int i = 0; i < kTries; ++i) {
    auto anchor = std::make_shared<Anchor>();
    check_cuda(cudaEventCreateWithFlags(&anchor->event, cudaEventDefault), "an event");
    const std::int64_t before = now_ns();
    check_cuda(cudaEventRecord(anchor->event, stream), "recording an event");
    check_cuda(cudaEventSynchronize(anchor->event), "work on the GPU");
    const std::int64_t after = now_ns();
    anchor->ns = before + (after - before) / 2;
    if (i > 0 && after - before >= narrowest) continue;
    narrowest = after - before;
    best = std::move(anchor);
  }
  const std::lock_guard lock(mutex_);
  anchor_ = std::move(best);
  clock_set_ = now_ns();
}

void EventPool::keep_clock(cudaStream_t stream) {
  constexpr std::int64_t kGoodFor = 5'000'000'000;  // half a microsecond is then the smallest difference
  {
    const std::lock_guard lock(mutex_);
    if (anchor_ && now_ns() - clock_set_ < kGoodFor) return;
  }
  set_clock(stream);
}

void wait_for(cudaStream_t stream, const Mark& mark) {
  if (mark) check_cuda(cudaStreamWaitEvent(stream, static_cast<const CudaMark&>(*mark).event(), 0), "waiting for an event");
}

std::int64_t reached_ns(const Mark& mark) { return mark ? static_cast<const CudaMark&>(*mark).ns() : 0; }

}  // namespace orrery::executor::cuda
