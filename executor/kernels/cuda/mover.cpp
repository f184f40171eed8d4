// Communication between ranks that share a GPU: each operation is one kernel or some copies, on a stream of its first member, once all members are
// there.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cassert>
#include <map>
#include <utility>
#include <vector>

#include "core/error.h"
#include "executor/kernels/cuda/device.h"
#include "executor/kernels/cuda/events.h"
#include "executor/kernels/cuda/launches.h"

namespace orrery::executor::cuda {
namespace {

using program::Operator;

class CudaMover final : public Mover {
 public:
  explicit CudaMover(int device) : device_(device), events_(std::make_shared<EventPool>(device)) {
    use();
    check_cuda(cudaHostAlloc(reinterpret_cast<void**>(&overflows_), kMostSharing * sizeof(Overflow), cudaHostAllocMapped), "pinned memory");
    std::fill_n(overflows_, kMostSharing, Overflow{});
    check_cuda(cudaStreamCreateWithFlags(&aside_, cudaStreamNonBlocking), "a stream");
    events_->keep_clock(aside_);
  }
  ~CudaMover() override {
    cudaSetDevice(device_);
    for (const auto& [key, stream] : queues_) {
      cudaStreamSynchronize(stream);
      cudaStreamDestroy(stream);
    }
    cudaStreamDestroy(aside_);
    cudaFreeHost(overflows_);
  }
  CudaMover(const CudaMover&) = delete;
  CudaMover& operator=(const CudaMover&) = delete;

  void collective(std::span<Member> members) override {
    enqueue(members, [&](Stream stream) { move(stream, members); });
  }
  void message(Member& send, Member& receive) override {
    Member both[2] = {std::move(send), std::move(receive)};
    const CommOperation& from = *both[0].operation;
    enqueue(both, [&](Stream stream) { copy_bytes(stream, bytes_of(from.dtype, from.elements), from.input, both[1].operation->output); });
    send = std::move(both[0]), receive = std::move(both[1]);
  }
  std::int64_t reached_ns(const Mark& mark) override {
    const std::int64_t ns = cuda::reached_ns(mark);
    for (int k = 0; k < kMostSharing; ++k) {
      const volatile Overflow& o = overflows_[k];  // which the device writes at any time
      if (const std::int32_t rank = o.rank; rank > 0)
        throw Error("communicator", no_room(fmt::format("rank {} is sent {} rows", rank - 1, std::int64_t{o.rows}), o.room));
    }
    return ns;
  }

 private:
  void use() const { check_cuda(cudaSetDevice(device_), "choosing a device"); }
  Stream queue(std::int64_t rank, std::uint8_t stream) {
    cudaStream_t& made = queues_[{rank, stream}];
    if (!made) check_cuda(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "a stream");
    return made;
  }
  // On the first member's queue, once everybody's is there; everybody's goes on when it is over.
  template <class Work>
  void enqueue(std::span<Member> members, Work work) {
    use();
    events_->keep_clock(aside_);
    const Stream lead = queue(members.front().rank, members.front().operation->stream);
    for (const Member& m : members) {
      for (const Mark& mark : m.after) wait_for(lead, mark);
      if (const Stream own = queue(m.rank, m.operation->stream); own != lead) wait_for(lead, events_->record(own));
    }
    const Mark begin = events_->record(lead);
    work(lead);
    const Mark done = events_->record(lead);
    for (Member& m : members) {
      m.begin = begin, m.done = done;
      if (const Stream own = queue(m.rank, m.operation->stream); own != lead) wait_for(own, done);
    }
  }

  void move(Stream stream, std::span<const Member> members) {
    const CommOperation& first = *members.front().operation;
    const auto n = static_cast<Index>(members.size());
    if (first.elements == 0) return;
    if (n > kMostSharing) throw Error("communicator", fmt::format("{} ranks share a GPU; its kernels take {}", n, kMostSharing));
    const auto in = [&](Index k) { return static_cast<const std::byte*>(members[static_cast<std::size_t>(k)].operation->input); };
    const auto out = [&](Index k) { return static_cast<std::byte*>(members[static_cast<std::size_t>(k)].operation->output); };
    Ends ends{};
    ends.members = static_cast<int>(n);
    for (Index k = 0; k < n; ++k) ends.in[k] = in(k), ends.out[k] = out(k);
    const Index whole = bytes_of(first.dtype, first.elements);
    switch (first.op) {
      case Operator::all_reduce:
      case Operator::all_reduce_max:
      case Operator::reduce_scatter:
        return reduce_shared(stream, first.dtype, ends, first.elements, first.op == Operator::reduce_scatter ? first.elements / n : 0,
                             first.op == Operator::all_reduce_max);
      case Operator::all_gather:
        for (Index to = 0; to < n; ++to)
          for (Index k = 0; k < n; ++k) copy_bytes(stream, whole / n, in(k), out(to) + whole / n * k);
        return;
      case Operator::all_to_all:
        for (Index to = 0; to < n; ++to)
          for (Index k = 0; k < n; ++k) copy_bytes(stream, whole, in(k) + whole * to, out(to) + whole * k);
        return;
      case Operator::rotate:
        for (Index to = 0; to < n; ++to) copy_bytes(stream, whole, in((to + n - 1) % n), out(to));
        return;
      case Operator::broadcast:
        for (Index to = 0; to < n; ++to) copy_bytes(stream, whole, in(first.root), out(to));
        return;
      case Operator::all_to_all_by_count:
        return by_count(stream, members, ends);
      default:
        assert(false && "not a collective");
    }
  }

  void by_count(Stream stream, std::span<const Member> members, const Ends& ends) {
    const CommOperation& first = *members.front().operation;
    EndCounts counts{};
    counts.per_rank = first.counts_per_rank, counts.row_bytes = bytes_of(first.dtype, first.width);
    for (std::size_t k = 0; k < members.size(); ++k) {
      const CommOperation& o = *members[k].operation;
      counts.of[k] = o.counts, counts.room[k] = o.room;
      counts.rank[k] = static_cast<std::int32_t>(members[k].rank);
    }
    move_by_count(stream, ends, counts, overflows_);
  }

  int device_;
  std::shared_ptr<EventPool> events_;
  std::map<std::pair<std::int64_t, std::uint8_t>, cudaStream_t> queues_;
  cudaStream_t aside_ = nullptr;  // always idle: for the clock
  Overflow* overflows_ = nullptr;
};

}  // namespace

std::unique_ptr<Mover> make_cuda_mover(int device) { return std::make_unique<CudaMover>(device); }

}  // namespace orrery::executor::cuda
