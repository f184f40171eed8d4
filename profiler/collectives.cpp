#include <algorithm>
#include <barrier>
#include <chrono>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>

#include "executor/comm/threads.h"
#include "profiler/profile_cpu.h"

namespace orrery::profiler {
namespace {

using executor::CommOperation;
using program::Operator;

// Operations between two meetings of the threads outside of the communicator; the first of them, which begins with threads that have just been
// woken, is not counted.
constexpr std::int64_t kBatch = 8;

std::int64_t now_ns() { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// One rank's memory and call for an item. Payloads are fp32; sizes that members cannot share equally are rounded up.
class Call {
 public:
  Call(const CollectiveItem& item, std::int64_t rank, const std::vector<std::int64_t>& everybody) {
    const std::int64_t ranks = item.ranks;
    std::int64_t elements = std::max<std::int64_t>(1, (item.bytes + 3) / 4);
    const std::int64_t shard = (elements + ranks - 1) / ranks;
    std::int64_t in = elements, out = elements;
    switch (item.op) {
      case Operator::reduce_scatter:
        elements = in = shard * ranks;
        out = shard;
        break;
      case Operator::all_gather:
        elements = out = shard * ranks;
        in = shard;
        break;
      case Operator::all_to_all:  // Shape::bytes is what a rank sends to all; `elements` counts one peer's
        elements = shard;
        in = out = shard * ranks;
        break;
      default:
        break;
    }
    input_.assign(static_cast<std::size_t>(in), 1e-3F);
    output_.assign(static_cast<std::size_t>(out), 0.F);
    operation_.op = item.op;
    operation_.elements = elements;
    operation_.input = input_.data();
    operation_.output = output_.data();
    if (item.op == Operator::broadcast) operation_.input = output_.data();
    if (item.op == Operator::send) {
      operation_.op = rank == 0 ? Operator::send : Operator::recv;
      pair_ = {rank, 1 - rank};
      operation_.members = pair_;
    } else {
      operation_.members = everybody;
    }
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  const CommOperation& operation() const { return operation_; }

 private:
  std::vector<float> input_, output_;
  std::array<std::int64_t, 2> pair_{};
  CommOperation operation_;
};

struct Stamp {
  std::int64_t arrived = 0, returned = 0;
};

// All items of one count of ranks, on one set of threads.
class Session {
 public:
  Session(std::vector<CollectiveItem> items, std::int64_t ranks, const std::function<std::optional<StopRule>(const CollectiveItem&)>& begin,
          const std::atomic<bool>* cancel)
      : items_(std::move(items)), ranks_(ranks), begin_(begin), cancel_(cancel), world_(ranks), everybody_(at(ranks)), stamps_(at(ranks)) {
    std::iota(everybody_.begin(), everybody_.end(), 0);
    for (auto& s : stamps_) s.resize(at(kBatch));
  }

  std::vector<CollectiveMeasurement> run() {
    std::barrier meet(static_cast<std::ptrdiff_t>(ranks_), [this]() noexcept { decide(); });
    std::vector<std::thread> threads;
    for (std::int64_t r = 0; r < ranks_; ++r) {
      threads.emplace_back([this, r, &meet] {
        try {
          work(r, meet);
        } catch (...) {
          {
            const std::lock_guard lock(mutex_);
            if (!failure_) failure_ = std::current_exception();
          }
          world_.abort("a rank of the profiler failed");
          meet.arrive_and_drop();
        }
      });
    }
    for (std::thread& t : threads) t.join();
    if (failure_) std::rethrow_exception(failure_);
    return std::move(results_);
  }

 private:
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

  template <class Barrier>
  void work(std::int64_t rank, Barrier& meet) {
    const auto communicator = world_.communicator(rank);
    while (item_ < items_.size()) {  // written by the barrier's completion only
      const std::size_t i = item_;
      const Call call(items_[i], rank, everybody_);
      meet.arrive_and_wait();
      while (item_ == i) {
        for (std::int64_t k = 0; k < kBatch; ++k) {
          const executor::CommTimes times = communicator->wait(communicator->start(call.operation()));
          stamps_[at(rank)][at(k)] = {times.arrived_ns, now_ns()};
        }
        meet.arrive_and_wait();
      }
    }
  }

  // Runs while every thread waits in the barrier: begins an item, or adds the batch that was just run to it.
  void decide() {
    if (!sampling_) {
      if (const std::optional<StopRule> rule = begin_(items_[item_]))
        sampling_.emplace(*rule);
      else
        ++item_;
      return;
    }
    for (std::int64_t k = 1; k < kBatch; ++k) {
      std::int64_t returned = 0;
      for (const auto& s : stamps_) returned = std::max(returned, s[at(k)].returned);
      const double spent = static_cast<double>(returned - stamps_[0][at(k)].arrived) * 1e-9;
      sampling_->add(spent, Seconds{spent});
    }
    const bool cancelled = cancel_ && cancel_->load();
    if (!sampling_->done() && !cancelled) return;
    if (!cancelled) {
      const MedianEstimate e = sampling_->result();
      const CollectiveItem& item = items_[item_];
      const std::string name = item.op == Operator::send ? "send_recv" : std::string(program::name(item.op));
      results_.push_back({name, item.ranks, Bytes{item.bytes}, Seconds{e.median}, e.spread, e.count});
    }
    sampling_.reset();
    item_ = cancelled ? items_.size() : item_ + 1;
  }

  std::vector<CollectiveItem> items_;
  std::int64_t ranks_;
  const std::function<std::optional<StopRule>(const CollectiveItem&)>& begin_;
  const std::atomic<bool>* cancel_;
  executor::ThreadsWorld world_;
  std::vector<std::int64_t> everybody_;
  std::vector<std::vector<Stamp>> stamps_;  // by rank
  std::size_t item_ = 0;
  std::optional<Sampling> sampling_;
  std::vector<CollectiveMeasurement> results_;
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace

std::vector<CollectiveMeasurement> measure_collectives(const std::vector<CollectiveItem>& items,
                                                       const std::function<std::optional<StopRule>(const CollectiveItem&)>& begin,
                                                       const std::atomic<bool>* cancel) {
  std::map<std::int64_t, std::vector<CollectiveItem>> by_ranks;
  for (const CollectiveItem& item : items) {
    if (item.ranks > 1) by_ranks[item.ranks].push_back(item);
  }
  std::vector<CollectiveMeasurement> all;
  for (auto& [ranks, group] : by_ranks) {
    if (cancel && cancel->load()) break;
    const auto some = Session(std::move(group), ranks, begin, cancel).run();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace orrery::profiler
