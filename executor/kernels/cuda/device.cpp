// A GPU as a rank's device: a stream for its work, memory, pinned staging for what goes up, and graphs of recorded work.
#include "executor/kernels/cuda/device.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <deque>
#include <limits>
#include <vector>

#include "core/error.h"
#include "executor/kernels/cuda/cuda_kernels.h"
#include "executor/kernels/cuda/events.h"
#include "executor/kernels/cuda/gemm.h"

namespace orrery::executor::cuda {
namespace {

// Pinned memory through which uploads go, as a ring: twice what keeps a copy at full speed.
constexpr std::size_t kStaging = std::size_t{16} << 20U, kPiece = kStaging / 2;

struct Pinned {
  explicit Pinned(std::size_t bytes) { check_cuda(cudaHostAlloc(&data, std::max<std::size_t>(bytes, 1), cudaHostAllocDefault), "pinned memory"); }
  ~Pinned() { cudaFreeHost(data); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  std::byte* bytes() const { return static_cast<std::byte*>(data); }
  void* data = nullptr;
};

struct OwnStream {
  explicit OwnStream(int device) {
    check_cuda(cudaSetDevice(device), "choosing a device");
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
  }
  ~OwnStream() { cudaStreamDestroy(stream); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  cudaStream_t stream = nullptr;
};

class Graph final : public Recording {
 public:
  ~Graph() override {
    if (run) cudaGraphExecDestroy(run);
  }
  std::byte* source(std::size_t index) const override { return sources.at(index)->bytes(); }
  std::vector<std::unique_ptr<Pinned>> sources;
  cudaGraphExec_t run = nullptr;
};

class CudaDevice final : public Device {
 public:
  CudaDevice(int device, const CudaOptions& options, const std::shared_ptr<GemmChoicesByDevice>& choices)
      : device_(device), events_(std::make_shared<EventPool>(device)), own_(device), stream_(own_.stream) {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, device), "asking for a device");
    name_ = properties.name;
    // Scratch is asked for in every call: what is given back stays with the process rather than with the driver.
    std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
    check_cuda(cudaDeviceGetDefaultMemPool(&pool_, device), "asking for the memory pool");
    check_cuda(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep), "keeping the memory pool");
    // Nor may it make a rank wait for what another that shares the device has yet to do, and which may be waiting for this rank.
    int never = 0;
    check_cuda(cudaMemPoolSetAttribute(pool_, cudaMemPoolReuseAllowInternalDependencies, &never), "keeping ranks apart in the memory pool");
    kernels_ = make_cuda_kernels(device, stream_, options, choices);
    staging_ = std::make_unique<Pinned>(kStaging);
    events_->keep_clock(stream_);
  }
  ~CudaDevice() override {
    cudaSetDevice(device_);
    cudaStreamSynchronize(stream_);
    kernels_.reset();
    for (std::byte* memory : memory_) cudaFree(memory);
  }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  std::string name() const override { return name_; }
  bool immediate() const override { return false; }

  std::byte* allocate(std::int64_t bytes) override {
    use();
    void* memory = nullptr;
    const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
    check_memory(cudaMalloc(&memory, wanted), wanted, "a rank's buffers");
    memory_.push_back(static_cast<std::byte*>(memory));
    check_cuda(cudaMemsetAsync(memory, 0, wanted, stream_), "clearing memory");
    return memory_.back();
  }
  void release(std::byte* memory) override {
    use();
    memory_.erase(std::find(memory_.begin(), memory_.end(), memory));
    check_cuda(cudaFree(memory), "giving memory back");
  }
  std::int64_t beside() const override {
    std::uint64_t pool = 0, graphs = 0;
    check_cuda(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemHigh, &pool), "asking the memory pool");
    check_cuda(cudaDeviceGetGraphMemAttribute(device_, cudaGraphMemAttrReservedMemHigh, &graphs), "asking for the memory of graphs");
    return std::max(before_, static_cast<std::int64_t>(pool + graphs + kGemmWorkspace));
  }

  const KernelSet& kernels() const override { return *kernels_; }

  void fill(void* to, std::uint8_t value, std::int64_t bytes) override {
    use();
    if (bytes > 0) check_cuda(cudaMemsetAsync(to, value, static_cast<std::size_t>(bytes), stream_), "filling memory");
  }
  void upload(void* to, const void* from, std::int64_t bytes) override {
    const auto* source = static_cast<const std::byte*>(from);
    auto* target = static_cast<std::byte*>(to);
    const auto all = static_cast<std::size_t>(bytes);
    if (recording_) {
      recording_->sources.push_back(std::make_unique<Pinned>(all));
      std::byte* kept = recording_->sources.back()->bytes();
      std::memcpy(kept, source, all);
      return copy(target, kept, all, cudaMemcpyHostToDevice);
    }
    for (std::size_t done = 0; done < all;) {
      const std::size_t piece = std::min(kPiece, all - done);
      std::byte* stage = staging(piece);
      std::memcpy(stage, source + done, piece);
      copy(target + done, stage, piece, cudaMemcpyHostToDevice);
      in_flight_.push_back({staged_, piece, events_->record(stream_)});
      staged_ += piece;
      done += piece;
    }
  }
  void download(void* to, const void* from, std::int64_t bytes) override {
    copy(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost);
    finish();
  }

  Mark mark() override { return events_->record(stream_); }
  void wait(const Mark& mark) override { wait_for(stream_, mark); }
  void synchronise() override {
    finish();
    events_->keep_clock(stream_);
  }
  std::int64_t reached_ns(const Mark& mark) override { return cuda::reached_ns(mark); }

  bool can_record() const override { return true; }
  void begin_recording() override {
    use();
    assert(!recording_);
    recording_ = std::make_unique<Graph>();
    // Relaxed: pinned memory is allocated meanwhile.
    check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "recording a graph");
  }
  std::unique_ptr<Recording> end_recording() override {
    std::unique_ptr<Graph> done = std::move(recording_);
    cudaGraph_t graph = nullptr;
    check_cuda(cudaStreamEndCapture(stream_, &graph), "recording a graph");
    const cudaError_t status = cudaGraphInstantiate(&done->run, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(status, "making a graph");
    // Its scratch is the graph's own from now on.
    before_ = beside();
    trim_scratch(device_);
    return done;
  }
  void replay(const Recording& recording) override {
    check_cuda(cudaGraphLaunch(static_cast<const Graph&>(recording).run, stream_), "running a graph");
  }

 private:
  void use() const { check_cuda(cudaSetDevice(device_), "choosing a device"); }
  void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    use();
    if (bytes > 0) check_cuda(cudaMemcpyAsync(to, from, bytes, kind, stream_), "a copy");
  }
  void finish() { cuda::reached_ns(events_->record(stream_)); }
  // Room for a piece, once the copies that read it last are over; a piece never wraps around.
  std::byte* staging(std::size_t piece) {
    if (staged_ % kStaging + piece > kStaging) staged_ += kStaging - staged_ % kStaging;
    while (!in_flight_.empty() && in_flight_.front().begin + kStaging < staged_ + piece) {
      cuda::reached_ns(in_flight_.front().done);
      in_flight_.pop_front();
    }
    return staging_->bytes() + staged_ % kStaging;
  }

  struct InFlight {
    std::size_t begin, bytes;  // as if the ring had no end
    Mark done;
  };
  int device_;
  std::string name_;
  std::shared_ptr<EventPool> events_;
  OwnStream own_;
  cudaStream_t stream_;
  cudaMemPool_t pool_ = nullptr;
  std::unique_ptr<KernelSet> kernels_;
  std::vector<std::byte*> memory_;
  std::unique_ptr<Pinned> staging_;
  std::size_t staged_ = 0;
  std::deque<InFlight> in_flight_;
  std::unique_ptr<Graph> recording_;
  std::int64_t before_ = 0;  // beside(), until the last graph was recorded
};

}  // namespace

std::unique_ptr<Device> make_cuda_device(int device, const CudaOptions& options, const std::shared_ptr<GemmChoicesByDevice>& choices) {
  return std::make_unique<CudaDevice>(device, options, choices);
}

}  // namespace orrery::executor::cuda
