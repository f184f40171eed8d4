// NCCL behind its seam: every call, and the waiting that calls of its non-blocking mode need.
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "executor/kernels/cuda/events.h"
#include "executor/kernels/cuda/failures.h"
#include "executor/kernels/cuda/launches.h"
#include "executor/kernels/cuda/nccl.h"

namespace orrery::executor::cuda {
namespace {

static_assert(NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 0), "the fields of ncclConfig_t are those of 2.28");
constexpr int kLeastVersion = NCCL_VERSION(2, 18, 0);  // non-blocking communicators with all calls used here, ncclConfig_t with maxCTAs
constexpr const char* kLibrary = "libnccl.so.2";
constexpr auto kPoll = std::chrono::microseconds(50);  // between questions to NCCL whether it is done
constexpr auto kFarewell = std::chrono::seconds(30);   // for members to leave a communicator together

// The library's functions; null where it could not be opened.
struct Library {
  decltype(&::ncclGetVersion) GetVersion = nullptr;
  decltype(&::ncclGetUniqueId) GetUniqueId = nullptr;
  decltype(&::ncclCommInitRankConfig) CommInitRankConfig = nullptr;
  decltype(&::ncclCommFinalize) CommFinalize = nullptr;
  decltype(&::ncclCommDestroy) CommDestroy = nullptr;
  decltype(&::ncclCommAbort) CommAbort = nullptr;
  decltype(&::ncclCommGetAsyncError) CommGetAsyncError = nullptr;
  decltype(&::ncclGetErrorString) GetErrorString = nullptr;
  decltype(&::ncclGetLastError) GetLastError = nullptr;
  decltype(&::ncclAllReduce) AllReduce = nullptr;
  decltype(&::ncclReduceScatter) ReduceScatter = nullptr;
  decltype(&::ncclAllGather) AllGather = nullptr;
  decltype(&::ncclBroadcast) Broadcast = nullptr;
  decltype(&::ncclSend) Send = nullptr;
  decltype(&::ncclRecv) Recv = nullptr;
  decltype(&::ncclGroupStart) GroupStart = nullptr;
  decltype(&::ncclGroupEnd) GroupEnd = nullptr;
  int version = 0;
  std::string missing;  // why it cannot be used
};

template <class Function>
void find_function(void* library, const char* name, Function& function, std::string& missing) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function && missing.empty()) missing = fmt::format("{} has no {}", kLibrary, name);
}

Library open_library() {
  Library n;
  // NCCL would otherwise connect members when an algorithm is first used, and block the caller until all have come to it
  // (docs/decisions/013-nccl.md).
  setenv("NCCL_RUNTIME_CONNECT", "0", 0);
  const char* named = std::getenv("ORRERY_NCCL");
  // Never closed: communicators have threads.
  void* const library = dlopen(named && *named ? named : kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    n.missing = why ? why : "unknown reason";
    return n;
  }
  find_function(library, "ncclGetVersion", n.GetVersion, n.missing);
  find_function(library, "ncclGetUniqueId", n.GetUniqueId, n.missing);
  find_function(library, "ncclCommInitRankConfig", n.CommInitRankConfig, n.missing);
  find_function(library, "ncclCommFinalize", n.CommFinalize, n.missing);
  find_function(library, "ncclCommDestroy", n.CommDestroy, n.missing);
  find_function(library, "ncclCommAbort", n.CommAbort, n.missing);
  find_function(library, "ncclCommGetAsyncError", n.CommGetAsyncError, n.missing);
  find_function(library, "ncclGetErrorString", n.GetErrorString, n.missing);
  find_function(library, "ncclGetLastError", n.GetLastError, n.missing);
  find_function(library, "ncclAllReduce", n.AllReduce, n.missing);
  find_function(library, "ncclReduceScatter", n.ReduceScatter, n.missing);
  find_function(library, "ncclAllGather", n.AllGather, n.missing);
  find_function(library, "ncclBroadcast", n.Broadcast, n.missing);
  find_function(library, "ncclSend", n.Send, n.missing);
  find_function(library, "ncclRecv", n.Recv, n.missing);
  find_function(library, "ncclGroupStart", n.GroupStart, n.missing);
  find_function(library, "ncclGroupEnd", n.GroupEnd, n.missing);
  if (!n.missing.empty()) return n;
  if (n.GetVersion(&n.version) != ncclSuccess) n.missing = "it does not say its version";
  if (n.missing.empty() && n.version < kLeastVersion)
    n.missing = fmt::format("it is {}.{}.{}, and at least 2.18 is needed", n.version / 10000, n.version / 100 % 100, n.version % 100);
  return n;
}

const Library& library() {
  static const Library once = open_library();
  return once;
}

ncclDataType_t type_of(DType type) {
  switch (type) {
    case DType::fp32:
    case DType::tf32:  // stored as fp32
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::fp16:
      return ncclFloat16;
    case DType::fp64:
      return ncclFloat64;
    case DType::int32:
      return ncclInt32;
    case DType::uint8:
      return ncclUint8;
    case DType::fp8:
    case DType::fp4:
      break;
  }
  throw Error("nccl", fmt::format("NCCL does not sum {}", name(type)));
}

struct Queue {
  cudaStream_t stream = nullptr;
  void* pinned = nullptr;  // through which downloads go
  std::size_t pinned_bytes = 0;
};

class Nccl final : public NcclApi {
 public:
  explicit Nccl(int device) : nccl_(library()), device_(device), events_(std::make_shared<EventPool>(device)) {
    use();
    int least = 0;
    check_cuda(cudaDeviceGetStreamPriorityRange(&least, &priority_), "asking for priorities");
    check_cuda(cudaStreamCreateWithFlags(&aside_, cudaStreamNonBlocking), "a stream");
    events_->set_clock(aside_);
  }
  ~Nccl() override {
    cudaSetDevice(device_);
    for (const auto& q : queues_) {
      cudaStreamSynchronize(q->stream);
      cudaStreamDestroy(q->stream);
      if (q->pinned) cudaFreeHost(q->pinned);
    }
    for (void* memory : memory_) cudaFree(memory);
    cudaStreamDestroy(aside_);
  }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  std::string make_id() override {
    ncclUniqueId id{};
    check(nccl_.GetUniqueId(&id), nullptr, "naming a communicator");
    return {id.internal, sizeof id.internal};
  }

  void* make(const std::string& id, std::int64_t members, std::int64_t index, int most_blocks, const Cancelled& cancelled) override {
    use();
    ncclUniqueId unique{};
    if (id.size() != sizeof unique.internal) throw Error("nccl", "the name of a communicator is not of NCCL");
    std::memcpy(unique.internal, id.data(), sizeof unique.internal);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    if (most_blocks > 0) config.minCTAs = 1, config.maxCTAs = most_blocks;
    ncclComm_t communicator = nullptr;
    ncclResult_t result = nccl_.CommInitRankConfig(&communicator, static_cast<int>(members), unique, static_cast<int>(index), &config);
    while (result == ncclInProgress && communicator) {
      if (cancelled()) {
        nccl_.CommAbort(communicator);
        return nullptr;
      }
      std::this_thread::sleep_for(kPoll);
      if (const ncclResult_t asked = nccl_.CommGetAsyncError(communicator, &result); asked != ncclSuccess) result = asked;
    }
    if (result != ncclSuccess) {
      const Error error = failure(result, communicator, "making a communicator");
      if (communicator) nccl_.CommAbort(communicator);
      throw error;
    }
    return communicator;
  }

  std::string trouble(void* communicator) override {
    const auto c = static_cast<ncclComm_t>(communicator);
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = nccl_.CommGetAsyncError(c, &result);
    if (asked != ncclSuccess) result = asked;
    if (result == ncclSuccess || result == ncclInProgress) return {};
    return failure(result, c, "work in the background").message();
  }

  void abort(void* communicator) override {
    cudaSetDevice(device_);
    nccl_.CommAbort(static_cast<ncclComm_t>(communicator));  // there is nobody left to tell of its failure
  }

  void destroy(void* communicator) override {
    cudaSetDevice(device_);
    const auto c = static_cast<ncclComm_t>(communicator);
    const auto until = std::chrono::steady_clock::now() + kFarewell;
    ncclResult_t result = nccl_.CommFinalize(c);
    while (result == ncclInProgress && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(kPoll);
      if (const ncclResult_t asked = nccl_.CommGetAsyncError(c, &result); asked != ncclSuccess) result = asked;
    }
    if (result == ncclSuccess)
      nccl_.CommDestroy(c);
    else
      nccl_.CommAbort(c);
  }

  void* make_queue() override {
    use();
    auto queue = std::make_unique<Queue>();
    check_cuda(cudaStreamCreateWithPriority(&queue->stream, cudaStreamNonBlocking, priority_), "a stream");
    const std::lock_guard lock(mutex_);
    queues_.push_back(std::move(queue));
    return queues_.back().get();
  }
  Mark mark(void* queue) override {
    use();
    {
      const std::lock_guard lock(mutex_);
      events_->keep_clock(aside_);
    }
    return events_->record(stream(queue));
  }
  void wait(void* queue, const Mark& mark) override {
    use();
    wait_for(stream(queue), mark);
  }
  bool reached(const Mark& mark) override {
    if (!mark) return true;
    cudaSetDevice(device_);  // else whoever watches makes a context on the first GPU; what is wrong with the device, the query says too
    const cudaError_t status = cudaEventQuery(static_cast<const CudaMark&>(*mark).event());
    if (status == cudaErrorNotReady) cudaGetLastError();  // an answer, not an error of what follows
    return status != cudaErrorNotReady;
  }
  void block(const Mark& mark) override {
    if (!mark) return;
    use();
    check_cuda(cudaEventSynchronize(static_cast<const CudaMark&>(*mark).event()), "communication");
  }
  std::int64_t reached_ns(const Mark& mark) override {
    use();
    return cuda::reached_ns(mark);
  }

  void* scratch(std::int64_t bytes) override {
    use();
    void* memory = nullptr;
    const auto size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
    check_cuda(cudaMalloc(&memory, size), "memory for communication");
    const std::lock_guard lock(mutex_);
    memory_.push_back(memory);
    check_cuda(cudaMemsetAsync(memory, 0, size, aside_), "clearing memory");
    check_cuda(cudaStreamSynchronize(aside_), "clearing memory");
    return memory;
  }
  void copy(void* queue, void* to, const void* from, std::int64_t bytes) override {
    use();
    if (bytes > 0 && to != from)
      check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, stream(queue)), "a copy");
  }
  void upload(void* queue, void* to, const void* from, std::int64_t bytes) override {
    use();
    // From memory that is not pinned: CUDA has read it, through a buffer of its own, when this returns.
    check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream(queue)), "a copy");
  }
  void download(void* queue, void* to, const void* from, std::int64_t bytes) override {
    use();
    auto& q = *static_cast<Queue*>(queue);
    const auto size = static_cast<std::size_t>(bytes);
    if (size > q.pinned_bytes) {
      if (q.pinned) check_cuda(cudaFreeHost(std::exchange(q.pinned, nullptr)), "giving pinned memory back");
      q.pinned_bytes = std::max<std::size_t>(size, 65536);
      check_cuda(cudaHostAlloc(&q.pinned, q.pinned_bytes, cudaHostAllocDefault), "pinned memory");
    }
    check_cuda(cudaMemcpyAsync(q.pinned, from, size, cudaMemcpyDeviceToHost, q.stream), "a copy");
    block(mark(queue));
    std::memcpy(to, q.pinned, size);
  }

  void all_reduce(void* communicator, void* queue, const void* in, void* out, std::int64_t n, DType type, bool greatest,
                  const Cancelled& cancelled) override {
    call(communicator, "all-reduce", cancelled, [&](ncclComm_t c) {
      return nccl_.AllReduce(in, out, static_cast<std::size_t>(n), type_of(type), greatest ? ncclMax : ncclSum, c, stream(queue));
    });
  }
  void reduce_scatter(void* communicator, void* queue, const void* in, void* out, std::int64_t n, DType type, const Cancelled& cancelled) override {
    call(communicator, "reduce-scatter", cancelled,
         [&](ncclComm_t c) { return nccl_.ReduceScatter(in, out, static_cast<std::size_t>(n), type_of(type), ncclSum, c, stream(queue)); });
  }
  void all_gather(void* communicator, void* queue, const void* in, void* out, std::int64_t bytes, const Cancelled& cancelled) override {
    call(communicator, "all-gather", cancelled,
         [&](ncclComm_t c) { return nccl_.AllGather(in, out, static_cast<std::size_t>(bytes), ncclUint8, c, stream(queue)); });
  }
  void broadcast(void* communicator, void* queue, const void* in, void* out, std::int64_t bytes, std::int64_t root,
                 const Cancelled& cancelled) override {
    call(communicator, "broadcast", cancelled, [&](ncclComm_t c) {
      return nccl_.Broadcast(in, out, static_cast<std::size_t>(bytes), ncclUint8, static_cast<int>(root), c, stream(queue));
    });
  }
  void exchange(void* communicator, void* queue, std::span<const Transfer> transfers, const Cancelled& cancelled) override {
    if (transfers.empty()) return;
    call(communicator, "sending and receiving", cancelled, [&](ncclComm_t c) {
      ncclResult_t worst = nccl_.GroupStart();
      for (const Transfer& t : transfers) {
        if (worst != ncclSuccess && worst != ncclInProgress) break;
        const auto bytes = static_cast<std::size_t>(t.bytes);
        const ncclResult_t one = t.sends ? nccl_.Send(t.data, bytes, ncclUint8, static_cast<int>(t.peer), c, stream(queue))
                                         : nccl_.Recv(t.data, bytes, ncclUint8, static_cast<int>(t.peer), c, stream(queue));
        if (one != ncclSuccess && one != ncclInProgress) worst = one;
      }
      const ncclResult_t end = nccl_.GroupEnd();
      return worst == ncclSuccess || worst == ncclInProgress ? end : worst;
    });
  }

 private:
  // The calling thread's device is this rank's.
  void use() const { check_cuda(cudaSetDevice(device_), "choosing a device"); }
  static cudaStream_t stream(void* queue) { return static_cast<Queue*>(queue)->stream; }

  Error failure(ncclResult_t result, ncclComm_t communicator, std::string_view doing) const {
    const char* words = nccl_.GetErrorString(result);
    const char* more = communicator ? nccl_.GetLastError(communicator) : nullptr;
    return nccl_failure(result, doing, more && *more ? fmt::format("{}; {}", words, more) : words);
  }
  void check(ncclResult_t result, ncclComm_t communicator, std::string_view doing) const {
    if (result != ncclSuccess) throw failure(result, communicator, doing);
  }
  // What is enqueued is on the stream when this returns, or it is cancelled.
  template <class Call>
  void call(void* communicator, std::string_view doing, const Cancelled& cancelled, Call enqueue) const {
    use();
    const auto c = static_cast<ncclComm_t>(communicator);
    ncclResult_t result = enqueue(c);
    while (result == ncclInProgress) {
      if (cancelled()) return;
      std::this_thread::sleep_for(kPoll);
      if (const ncclResult_t asked = nccl_.CommGetAsyncError(c, &result); asked != ncclSuccess) result = asked;
    }
    check(result, c, doing);
  }

  const Library& nccl_;
  const int device_;
  int priority_ = 0;  // the greatest: communication that is late makes all peers wait
  std::shared_ptr<EventPool> events_;
  cudaStream_t aside_ = nullptr;  // idle but for what its caller waits for
  std::mutex mutex_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<void*> memory_;
};

}  // namespace

int nccl_version() { return library().missing.empty() ? library().version : 0; }

std::unique_ptr<NcclApi> make_nccl(int device) {
  if (const std::string& why = library().missing; !why.empty())
    throw Error("nccl", fmt::format("NCCL cannot be used: {}", why),
                "install it (libnccl2, or the wheel nvidia-nccl-cu13), or set ORRERY_NCCL to its path");
  return std::make_unique<Nccl>(device);
}

}  // namespace orrery::executor::cuda
