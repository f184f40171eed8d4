// The conformance tests of communicators on ranks that share a GPU. They know the host's memory only: operands travel to the device when an operation
// is started, and back when it was waited for.
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

#include "executor/comm/threads.h"
#include "support/communicator_under_test.h"
#include "support/needs_gpu.h"

namespace orrery::executor {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> inner, Device& device) : inner_(std::move(inner)), device_(device) {}
  ~StagedCommunicator() override {
    inner_.reset();
    for (const Mirror& m : mirrors_) device_.release(m.device);
  }
  std::int64_t rank() const override { return inner_->rank(); }
  Ticket start(const CommOperation& o) override {
    const auto n = static_cast<std::int64_t>(o.members.size());
    const std::int64_t whole = bytes_of(o.dtype, o.elements);
    std::int64_t in = whole, out = whole;
    if (o.op == program::Operator::all_gather) in = whole / n;
    if (o.op == program::Operator::reduce_scatter) out = whole / n;
    if (o.op == program::Operator::all_to_all) in = out = whole * n;
    if (o.op == program::Operator::send) out = 0;
    if (o.op == program::Operator::recv) in = 0;
    if (o.op == program::Operator::all_to_all_by_count) {
      in = bytes_of(o.dtype, o.width) * std::accumulate(o.counts, o.counts + n * o.counts_per_rank, std::int64_t{0});
      out = bytes_of(o.dtype, o.width) * o.room;
    }
    CommOperation there = o;
    // The larger first: the other may be a part of it.
    if (in >= out) there.input = mirrored(o.input, in, false);
    there.output = mirrored(o.output, out, true);
    if (in < out) there.input = mirrored(o.input, in, false);
    if (o.counts) there.counts = static_cast<const std::int32_t*>(mirrored(o.counts, n * o.counts_per_rank * 4, false));
    there.ready = device_.mark();
    const Ticket ticket = inner_->start(there);
    results_[ticket.v] = {o.output, out};
    return ticket;
  }
  CommTimes wait(Ticket ticket) override {
    const CommTimes times = inner_->wait(ticket);
    if (const auto it = results_.find(ticket.v); it != results_.end()) {
      const auto [host, bytes] = it->second;
      for (Mirror& m : mirrors_)
        if (bytes > 0 && holds(m, host, bytes)) {
          device_.wait(inner_->enqueued(ticket));
          device_.download(const_cast<void*>(host), m.device + (static_cast<const std::byte*>(host) - m.host), bytes);
          m.ahead = false;
        }
      results_.erase(it);
    }
    return times;
  }
  Mark enqueued(Ticket ticket) override { return inner_->enqueued(ticket); }
  void abort(const std::string& why) override { inner_->abort(why); }

 private:
  struct Mirror {
    const std::byte* host;
    std::int64_t bytes;
    std::byte* device;
    bool ahead;  // an operation writes there, and the host has not seen it
  };
  static bool holds(const Mirror& m, const void* host, std::int64_t bytes) {
    const auto* p = static_cast<const std::byte*>(host);
    return p >= m.host && p + bytes <= m.host + m.bytes;
  }
  void* mirrored(const void* host, std::int64_t bytes, bool written) {
    if (bytes == 0) return nullptr;
    for (Mirror& m : mirrors_)
      if (holds(m, host, bytes)) {
        std::byte* at = m.device + (static_cast<const std::byte*>(host) - m.host);
        if (!m.ahead) device_.upload(at, host, bytes);
        m.ahead = m.ahead || written;
        return at;
      }
    mirrors_.push_back({static_cast<const std::byte*>(host), bytes, device_.allocate(bytes), written});
    device_.upload(mirrors_.back().device, host, bytes);
    return mirrors_.back().device;
  }

  std::unique_ptr<Communicator> inner_;
  Device& device_;
  std::vector<Mirror> mirrors_;
  std::map<std::uint64_t, std::pair<const void*, std::int64_t>> results_;
};

}  // namespace

void run_on_ranks(std::int64_t ranks, const std::function<void(Communicator&)>& body) {
  const CudaPlugin& plugin = load_cuda_plugin(ORRERY_CUDA_PLUGIN);
  ThreadsWorld world(ranks, plugin.make_mover(0));
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::exception_ptr first;
  for (std::int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        const std::unique_ptr<Device> device = plugin.make_device(0, {});
        StagedCommunicator communicator(world.communicator(r), *device);
        body(communicator);
      } catch (...) {
        world.abort("a rank failed");
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
      }
    });
  for (std::thread& t : threads) t.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace orrery::executor
