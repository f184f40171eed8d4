// A device that is not there: its memory is not the host's (its addresses may not be touched), and its queues run in an order that chance decides, as
// far as marks allow. What a run on it computes is therefore right only if everything that must be ordered is.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "executor/comm/mover.h"
#include "executor/comm/operations.h"
#include "executor/comm/threads.h"
#include "executor/device.h"
#include "executor/world.h"

namespace orrery::executor {

// One worker that always takes the next item of a queue drawn at random among those that may go on.
class FakeMachine {
 public:
  struct Event final : DeviceEvent {
    bool reached = false;
    std::int64_t ns = 0;
  };
  // A mark in work that was recorded.
  struct Recorded final : DeviceEvent {};
  static bool recorded(const Mark& mark) { return dynamic_cast<const Recorded*>(mark.get()) != nullptr; }
  struct Item {
    std::function<void()> work;
    Mark after;                     // null: at once
    std::shared_ptr<Event> signal;  // null: nothing
  };

  explicit FakeMachine(std::uint64_t seed) : random_(seed), worker_([this] { work(); }) {}
  ~FakeMachine() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }
  FakeMachine(const FakeMachine&) = delete;
  FakeMachine& operator=(const FakeMachine&) = delete;

  std::size_t make_queue() {
    const std::lock_guard lock(mutex_);
    queues_.emplace_back();
    return queues_.size() - 1;
  }
  void push(std::size_t queue, Item item) {
    {
      const std::lock_guard lock(mutex_);
      queues_[queue].push_back(std::move(item));
      if (!std::exchange(idle_, false)) return;
    }
    changed_.notify_all();
  }
  Mark mark(std::size_t queue) {
    auto event = std::make_shared<Event>();
    push(queue, {{}, {}, event});
    return event;
  }
  std::int64_t reached_ns(const Mark& mark) {
    if (!mark) return 0;
    if (recorded(mark)) throw std::logic_error("the host asks for a mark of a recording");
    std::unique_lock lock(mutex_);
    const auto& event = static_cast<const Event&>(*mark);
    ++waiting_;
    reached_.wait(lock, [&] { return event.reached || failure_; });
    --waiting_;
    if (failure_) std::rethrow_exception(failure_);
    return event.ns;
  }

  bool is_reached(const Mark& mark) {
    const std::lock_guard lock(mutex_);
    return !mark || static_cast<const Event&>(*mark).reached;
  }

  // What the device calls p, and back. The host gets a fault where it looks at the former.
  template <class T>
  static T* to_device(T* p) {
    return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(p) | kElsewhere);
  }
  template <class T>
  static T* to_host(T* p) {
    const auto address = reinterpret_cast<std::uintptr_t>(p);
    if (p && !(address & kElsewhere)) throw std::logic_error("the device was given an address of the host");
    return reinterpret_cast<T*>(address & ~kElsewhere);
  }

 private:
  static constexpr std::uintptr_t kElsewhere = std::uintptr_t{1} << 61U;  // not a canonical address

  void work() {
    std::unique_lock lock(mutex_);
    std::vector<std::size_t> able;
    for (;;) {
      able.clear();
      for (std::size_t q = 0; q < queues_.size(); ++q)
        if (!queues_[q].empty() && (!queues_[q].front().after || static_cast<const Event&>(*queues_[q].front().after).reached)) able.push_back(q);
      if (able.empty()) {
        if (ends_) return;
        idle_ = true;
        changed_.wait(lock);
        continue;
      }
      // Now and then the same queue for a while, so that others fall far behind.
      if (held_ == 0 || std::find(able.begin(), able.end(), favourite_) == able.end()) {
        favourite_ = able[random_() % able.size()];
        held_ = random_() % 4 == 0 ? random_() % 64 : 1;
      }
      if (held_ > 0) --held_;
      Item item = std::move(queues_[favourite_].front());
      queues_[favourite_].pop_front();
      lock.unlock();
      std::exception_ptr failure;
      try {
        if (item.work) item.work();
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure && !failure_) failure_ = failure;
      if (item.signal) {
        item.signal->reached = true;
        item.signal->ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
      }
      if (waiting_ > 0 && (item.signal || failure)) reached_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_, reached_;
  std::deque<std::deque<Item>> queues_;
  std::mt19937_64 random_;
  std::size_t favourite_ = 0;
  std::uint64_t held_ = 0;
  std::exception_ptr failure_;  // of the first item that threw: the device is lost
  std::size_t waiting_ = 0;     // threads of the host
  bool idle_ = false, ends_ = false;
  std::thread worker_;
};

// Enqueues calls of a host's kernel set.
class FakeKernels final : public KernelSet {
 public:
  FakeKernels(std::function<void(std::function<void()>)> enqueue, const KernelSet& kernels) : enqueue_(std::move(enqueue)), kernels_(kernels) {}
  bool has(const program::Shape& shape) const override { return kernels_.has(shape); }
  void run(const KernelContext& context) const override {
    std::vector<void*> buffers;
    for (void* p : context.buffers) buffers.push_back(FakeMachine::to_host(p));
    const std::int64_t* step_at = context.step_at ? FakeMachine::to_host(context.step_at) : nullptr;
    enqueue_([this, shape = context.shape, buffers = std::move(buffers), settings = context.settings, context,
              rows = program::Runs(context.rows.begin(), context.rows.end()), keys = program::Runs(context.keys.begin(), context.keys.end()),
              places = std::vector<std::int32_t>(context.expert_places.begin(), context.expert_places.end()), step_at] {
      KernelContext c{shape, buffers, settings};
      c.position_offset = context.position_offset, c.step = step_at ? *step_at : context.step, c.counts = context.counts;
      c.rows = rows, c.keys = keys, c.expert_places = places, c.expert_rank = context.expert_rank, c.loss_weight = context.loss_weight;
      kernels_.run(c);
    });
  }

 private:
  std::function<void(std::function<void()>)> enqueue_;
  const KernelSet& kernels_;
};

class FakeDevice final : public Device {
 public:
  FakeDevice(FakeMachine& machine, const KernelSet& kernels)
      : machine_(machine),
        queue_(machine.make_queue()),
        kernels_([this](std::function<void()> work) { launches_ += recording_ ? 0 : 1, push(std::move(work)); }, kernels) {}
  ~FakeDevice() override {
    try {
      machine_.reached_ns(machine_.mark(queue_));
    } catch (...) {  // the device is lost: whoever waits for it is told
    }
  }

  std::string name() const override { return "fake"; }
  bool immediate() const override { return false; }
  std::byte* allocate(std::int64_t bytes) override {
    blocks_.push_back(std::make_unique<std::vector<std::byte>>(static_cast<std::size_t>(bytes) + 64));
    auto at = reinterpret_cast<std::uintptr_t>(blocks_.back()->data());
    at = (at + 63) / 64 * 64;
    return FakeMachine::to_device(reinterpret_cast<std::byte*>(at));
  }
  void release(std::byte*) override {}
  std::int64_t beside() const override { return 0; }
  const KernelSet& kernels() const override { return kernels_; }
  void fill(void* to, std::uint8_t value, std::int64_t bytes) override {
    push([p = FakeMachine::to_host(to), value, bytes] { std::memset(p, value, static_cast<std::size_t>(bytes)); });
  }
  void upload(void* to, const void* from, std::int64_t bytes) override {
    const auto* first = static_cast<const std::byte*>(from);
    auto data = std::make_shared<std::vector<std::byte>>(first, first + bytes);
    if (recording_) recording_->sources.push_back(data);
    push([p = FakeMachine::to_host(to), data] { std::copy(data->begin(), data->end(), static_cast<std::byte*>(p)); });
  }
  void download(void* to, const void* from, std::int64_t bytes) override {
    push([to, p = static_cast<const std::byte*>(FakeMachine::to_host(from)), bytes] { std::copy(p, p + bytes, static_cast<std::byte*>(to)); });
    synchronise();
  }
  // What is recorded does not run: nobody may ask when it was done.
  Mark mark() override { return recording_ ? std::make_shared<FakeMachine::Recorded>() : machine_.mark(queue_); }
  void wait(const Mark& mark) override {
    if (mark && !FakeMachine::recorded(mark)) machine_.push(queue_, {{}, mark, {}});
  }
  void synchronise() override { machine_.reached_ns(machine_.mark(queue_)); }
  std::int64_t reached_ns(const Mark& mark) override { return machine_.reached_ns(mark); }

  // Of its own queue alone.
  bool can_record() const override { return true; }
  void begin_recording() override {
    // A GPU's kernels choose how they work when they are first run, and time it: nothing that a recording allows.
    if (launches_ == 0) throw std::logic_error("nothing has run on the device that records");
    recording_ = std::make_unique<FakeRecording>();
  }
  std::unique_ptr<Recording> end_recording() override { return std::move(recording_); }
  void replay(const Recording& recording) override {
    ++replays_;
    for (const auto& work : static_cast<const FakeRecording&>(recording).items) push(work);
  }
  std::int64_t replays() const { return replays_; }

 private:
  struct FakeRecording final : Recording {
    std::vector<std::function<void()>> items;
    std::vector<std::shared_ptr<std::vector<std::byte>>> sources;
    std::byte* source(std::size_t index) const override { return sources[index]->data(); }
  };
  void push(std::function<void()> work) {
    if (recording_)
      recording_->items.push_back(std::move(work));
    else
      machine_.push(queue_, {std::move(work), {}, {}});
  }
  FakeMachine& machine_;
  std::size_t queue_;
  FakeKernels kernels_;
  std::vector<std::unique_ptr<std::vector<std::byte>>> blocks_;
  std::unique_ptr<FakeRecording> recording_;
  std::int64_t replays_ = 0, launches_ = 0;
};

// Operations by their definition, element by element.
class FakeMover final : public Mover {
 public:
  // `of_host`: it is given the host's addresses, as tests of communicators do.
  explicit FakeMover(FakeMachine& machine, bool of_host = false) : machine_(machine), of_host_(of_host) {}

  void collective(std::span<Member> members) override {
    std::vector<CommOperation> ops;
    std::vector<std::int64_t> ranks;
    for (const Member& m : members) ops.push_back(on_host(*m.operation)), ranks.push_back(m.rank);
    enqueue(members, [ops, ranks] { move(ops, ranks); });
  }
  void message(Member& send, Member& receive) override {
    Member both[2] = {send, receive};
    const CommOperation from = on_host(*send.operation), to = on_host(*receive.operation);
    enqueue(both, [from, to] {
      if (to.elements > 0) std::memcpy(to.output, from.input, bytes(to.dtype, to.elements));
    });
    send = both[0], receive = both[1];
  }
  std::int64_t reached_ns(const Mark& mark) override { return machine_.reached_ns(mark); }

 private:
  static std::size_t bytes(DType type, std::int64_t elements) { return static_cast<std::size_t>(bytes_of(type, elements)); }
  CommOperation on_host(const CommOperation& o) const {
    CommOperation h = o;
    if (of_host_) return h;
    h.input = FakeMachine::to_host(o.input), h.output = FakeMachine::to_host(o.output), h.counts = FakeMachine::to_host(o.counts);
    return h;
  }
  std::size_t queue(const Member& m) {
    const auto [it, fresh] = queues_.try_emplace({m.rank, m.operation->stream}, 0);
    if (fresh) it->second = machine_.make_queue();
    return it->second;
  }
  // On the first member's queue, once everybody's is there; everybody's goes on when it is over.
  void enqueue(std::span<Member> members, std::function<void()> work) {
    const std::size_t lead = queue(members.front());
    for (const Member& m : members) {
      for (const Mark& mark : m.after) machine_.push(lead, {{}, mark, {}});
      if (const std::size_t own = queue(m); own != lead) machine_.push(lead, {{}, machine_.mark(own), {}});
    }
    const Mark begin = machine_.mark(lead);
    machine_.push(lead, {std::move(work), {}, {}});
    const Mark done = machine_.mark(lead);
    for (Member& m : members) {
      m.begin = begin, m.done = done;
      if (const std::size_t own = queue(m); own != lead) machine_.push(own, {{}, done, {}});
    }
  }

  static void sum(const std::vector<CommOperation>& ops) {
    const CommOperation& first = ops.front();
    std::vector<std::byte> all(bytes(first.dtype, first.elements));
    std::vector<const void*> in;
    for (const CommOperation& o : ops) in.push_back(o.input);
    void* const out = all.data();
    reduce(first.dtype, first.op, in, first.elements, {&out, 1});
    const std::size_t shard = first.op == program::Operator::reduce_scatter ? all.size() / ops.size() : 0;
    for (std::size_t k = 0; k < ops.size(); ++k) std::memcpy(ops[k].output, all.data() + k * shard, shard > 0 ? shard : all.size());
  }
  static void move(const std::vector<CommOperation>& ops, const std::vector<std::int64_t>& ranks) {
    using program::Operator;
    const CommOperation& first = ops.front();
    if (first.elements == 0) return;
    const std::size_t n = ops.size(), whole = bytes(first.dtype, first.elements);
    const auto read = [&](std::size_t k, std::size_t from, std::size_t count) {
      const auto* p = static_cast<const std::byte*>(ops[k].input) + from;
      return std::vector<std::byte>(p, p + count);
    };
    switch (first.op) {
      case Operator::all_reduce:
      case Operator::all_reduce_max:
      case Operator::reduce_scatter:
        return sum(ops);
      default:
        break;
    }
    // Everything is read before anything is written.
    std::vector<std::vector<std::byte>> out(n);
    for (std::size_t to = 0; to < n; ++to) switch (first.op) {
        case Operator::all_gather:
          for (std::size_t k = 0; k < n; ++k) append(out[to], read(k, 0, whole / n));
          break;
        case Operator::all_to_all:
          for (std::size_t k = 0; k < n; ++k) append(out[to], read(k, to * whole, whole));
          break;
        case Operator::all_to_all_by_count:
          for (std::size_t k = 0; k < n; ++k) {
            const std::size_t row = bytes(first.dtype, first.width), each = static_cast<std::size_t>(first.counts_per_rank);
            const std::int32_t* counts = ops[k].counts;
            const auto before = static_cast<std::size_t>(std::accumulate(counts, counts + to * each, std::int64_t{0}));
            const auto rows = static_cast<std::size_t>(std::accumulate(counts + to * each, counts + (to + 1) * each, std::int64_t{0}));
            append(out[to], read(k, before * row, rows * row));
          }
          if (ops[to].room >= 0 && out[to].size() > static_cast<std::size_t>(ops[to].room) * bytes(first.dtype, first.width))
            throw Error("communicator",
                        no_room(fmt::format("rank {} is sent {} rows", ranks[to], out[to].size() / bytes(first.dtype, first.width)), ops[to].room));
          break;
        case Operator::rotate:
          out[to] = read((to + n - 1) % n, 0, whole);
          break;
        case Operator::broadcast:
          out[to] = read(static_cast<std::size_t>(first.root), 0, whole);
          break;
        default:
          throw std::logic_error("not a collective");
      }
    for (std::size_t to = 0; to < n; ++to)
      if (!out[to].empty()) std::memcpy(ops[to].output, out[to].data(), out[to].size());
  }
  static void append(std::vector<std::byte>& to, const std::vector<std::byte>& more) { to.insert(to.end(), more.begin(), more.end()); }

  FakeMachine& machine_;
  bool of_host_;
  std::map<std::pair<std::int64_t, std::uint8_t>, std::size_t> queues_;
};

// Ranks that share a fake device. `kernels` must live as long.
class FakeWorld final : public World {
 public:
  FakeWorld(std::int64_t ranks, const KernelSet& kernels, std::uint64_t seed)
      : ranks_(ranks), kernels_(kernels), machine_(seed), threads_(ranks, std::make_unique<FakeMover>(machine_)) {}
  std::int64_t ranks() const override { return ranks_; }
  std::vector<std::int64_t> here() const override {
    std::vector<std::int64_t> all(static_cast<std::size_t>(ranks_));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    return all;
  }
  bool has(const program::Shape& shape) const override { return kernels_.has(shape); }
  std::unique_ptr<Device> device(std::int64_t) override { return std::make_unique<FakeDevice>(machine_, kernels_); }
  std::unique_ptr<Communicator> communicator(std::int64_t rank, Device&) override { return threads_.communicator(rank); }
  void abort(const std::string& why) override { threads_.abort(why); }

 private:
  std::int64_t ranks_;
  const KernelSet& kernels_;
  FakeMachine machine_;
  ThreadsWorld threads_;
};

}  // namespace orrery::executor
