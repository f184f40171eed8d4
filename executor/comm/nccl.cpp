#include "executor/comm/nccl.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "core/error.h"
#include "executor/comm/operations.h"

namespace orrery::executor {
namespace {

using program::Operator;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kTicketsKept = 65536;  // as ThreadsWorld does
constexpr int kMostBlocks = 32;              // what NCCL takes for a collective at most, left to itself (NCCL_MAX_CTAS' default)
constexpr milliseconds kLetGo{5'000};        // for a call into the library to notice that it is cancelled

struct Op {
  CommOperation what;  // its `members` are those below
  std::vector<std::int64_t> members;
  std::uint64_t ticket = 0;
};

struct Handle {
  void* communicator = nullptr;  // null: not made yet, or aborted
  bool busy = false;             // a thread is in a call with it
};

struct InFlight {
  std::uint64_t ticket = 0;
  Mark begin, end;
  std::string what;
  std::optional<Clock::time_point> since;  // seen to have begun
};

struct Stream {
  std::deque<Op> queue;
  std::condition_variable work;
  std::thread worker;
  void* queue_of_device = nullptr;
  void* scratch = nullptr;
  std::int64_t scratch_bytes = 0;
  std::uint64_t started = 0;
  std::deque<InFlight> in_flight;
};

struct Rank {
  struct Record {
    enum class State : std::uint8_t { queued, enqueued, complete } state = State::queued;
    Mark begin, end;
    CommTimes times;
  };
  std::unique_ptr<NcclApi> api;
  std::int64_t number = -1;
  std::deque<Record> records;
  std::uint64_t base = 1;  // ticket of records.front()
  std::map<std::uint8_t, Stream> streams;
  std::map<NcclGroup, Handle> handles;
  std::set<NcclGroup> exchanges;
  std::condition_variable wake;  // something is enqueued, or a handle is free again
  bool left = false;

  Record* find(std::uint64_t ticket) { return ticket < base ? nullptr : &records[static_cast<std::size_t>(ticket - base)]; }
};

bool exchanges(Operator op) {
  return op == Operator::all_to_all || op == Operator::all_to_all_by_count || op == Operator::rotate || program::is_point_to_point(op);
}

bool nccl_sums(DType t) { return t != DType::fp8 && t != DType::fp4; }

std::string words(const std::exception& e) {
  if (const auto* ours = dynamic_cast<const Error*>(&e)) return ours->message();
  return dynamic_cast<const std::bad_alloc*>(&e) ? "there is not enough memory" : e.what();
}

// Names between the ranks of one process.
class Names {
 public:
  void set(const std::string& key, const std::string& value) {
    const std::lock_guard lock(mutex_);
    values_[key] = value;
    changed_.notify_all();
  }
  std::string get(const std::string& key) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return values_.contains(key) || !failure_.empty(); });
    if (!failure_.empty()) throw Error("communicator", failure_);
    return values_.at(key);
  }
  void fail(const std::string& why) {
    const std::lock_guard lock(mutex_);
    failure_ = why;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  std::string failure_;
};

}  // namespace

std::string name(const NcclGroup& group) {
  if (group.pair) return fmt::format("{}>{} on channel {}", group.members[0], group.members[1], group.stream);
  return fmt::format("{} on stream {}", fmt::join(group.members, ","), group.stream);
}

NcclGroup group_of(const CommOperation& o, std::int64_t rank) {
  if (!program::is_point_to_point(o.op)) return {{o.members.begin(), o.members.end()}, false, o.stream};
  const std::int64_t peer = o.members[1];
  return o.op == Operator::send ? NcclGroup{{rank, peer}, true, o.channel} : NcclGroup{{peer, rank}, true, o.channel};
}

NcclNeeds nccl_needs(const program::Program& program, std::int64_t rank) {
  std::set<NcclGroup> groups, sending;
  for (const program::Instruction& in : program.role_of(rank).instructions) {
    if (!program::is_communication(in.op)) continue;
    CommOperation o;
    o.op = in.op, o.stream = in.stream, o.channel = in.channel;
    std::vector<std::int64_t> members;
    if (in.opcode == program::Opcode::collective)
      members = program::members(program, program.groups[in.group], rank);
    else
      members = {rank, program::peer_of(program, rank, in)};
    if (members.size() < 2) continue;
    o.members = members;
    NcclGroup g = group_of(o, rank);
    if (exchanges(in.op)) sending.insert(g);
    groups.insert(std::move(g));
  }
  return {{groups.begin(), groups.end()}, {sending.begin(), sending.end()}};
}

int nccl_share(const program::Program& program, int multiprocessors) {
  std::size_t most = 1;
  for (const program::Role& role : program.roles) {
    std::set<std::uint8_t> streams;
    for (const program::Instruction& in : role.instructions)
      if (program::is_communication(in.op)) streams.insert(in.stream);
    most = std::max(most, streams.size());
  }
  return std::max(1, multiprocessors / static_cast<int>(most));
}

int nccl_blocks(int share) { return share < kMostBlocks ? share : 0; }

struct NcclWorld::State {
  explicit State(NcclSettings s) : settings(std::move(s)), watcher([this] { watch(); }) {}

  NcclSettings settings;
  Names names;

  std::mutex mutex;  // guards what follows; the library is called outside of it
  std::map<std::int64_t, Rank> own;
  bool failed = false;
  std::string reason;
  std::size_t aborting = 0;  // threads that abort communicators
  std::condition_variable changed;
  bool over = false;

  std::atomic<bool> cancelled{false};  // failed, for those who are in a call
  std::thread watcher;

  NcclApi::Cancelled cancel() {
    return [this] { return cancelled.load(); };
  }

  // --- Failure -----------------------------------------------------------------------------------------------------------------------------------

  // The first reason stays. Work on the GPUs that waits for others is ended, so that whoever waits for it wakes.
  bool fail(const std::string& why) {
    std::unique_lock lock(mutex);
    if (failed) return false;
    failed = true;
    cancelled = true;
    reason = why;
    names.fail(why);
    ++aborting;
    changed.notify_all();
    for (auto& [number, r] : own) {
      r.wake.notify_all();
      for (auto& [id, stream] : r.streams) stream.work.notify_all();
    }
    for (auto& [number, r] : own)
      for (auto& [group, handle] : r.handles) {
        // Whoever is in a call notices soon; if not, it is stuck, and ending the communicator is what may free it.
        r.wake.wait_for(lock, kLetGo, [&h = handle] { return !h.busy; });
        void* const communicator = std::exchange(handle.communicator, nullptr);
        if (!communicator) continue;
        lock.unlock();
        r.api->abort(communicator);
        lock.lock();
      }
    --aborting;
    changed.notify_all();
    return true;
  }
  void abort(const std::string& why) {
    if (fail(why) && settings.tell) settings.tell(why);
  }

  // Looks for errors in the background, and for operations that take too long.
  void watch() {
    std::unique_lock lock(mutex);
    while (!over) {
      changed.wait_for(lock, settings.look, [&] { return over; });
      if (over || failed) continue;
      std::string why = look(lock);
      if (why.empty()) continue;
      lock.unlock();
      abort(why);
      lock.lock();
    }
  }

  std::string look(std::unique_lock<std::mutex>& lock) {
    const Clock::time_point now = Clock::now();
    for (auto& [number, r] : own) {
      if (r.left) continue;
      for (auto& [id, stream] : r.streams) {
        while (!stream.in_flight.empty() && r.api->reached(stream.in_flight.front().end)) stream.in_flight.pop_front();
        if (stream.in_flight.empty()) continue;
        InFlight& first = stream.in_flight.front();
        if (!first.since && r.api->reached(first.begin)) first.since = now;
        if (settings.deadline.count() > 0 && first.since && now - *first.since >= settings.deadline)
          return fmt::format("rank {}: {} did not complete within {} s: a peer has died, hangs or does another operation", number, first.what,
                             static_cast<double>(settings.deadline.count()) / 1000);
      }
      for (auto& [group, handle] : r.handles) {
        if (!handle.communicator || handle.busy) continue;
        handle.busy = true;
        lock.unlock();
        const std::string trouble = r.api->trouble(handle.communicator);
        lock.lock();
        handle.busy = false;
        r.wake.notify_all();
        if (failed) return {};
        if (trouble.empty()) continue;
        std::string during;
        for (const auto& [id, stream] : r.streams)
          if (!stream.in_flight.empty()) during += fmt::format("{}{}", during.empty() ? " during " : "; ", stream.in_flight.front().what);
        return fmt::format("rank {}: ranks {}: {}{}", number, name(group), trouble, during);
      }
    }
    return {};
  }

  // --- Communicators of the library --------------------------------------------------------------------------------------------------------------

  // Runs `call` with the group's communicator, made if it is not there yet, so that nobody frees it meanwhile.
  template <class Call>
  void use(Rank& r, const NcclGroup& group, void* queue, Call call) {
    std::unique_lock lock(mutex);
    Handle& handle = r.handles[group];
    r.wake.wait(lock, [&] { return !handle.busy || failed; });
    if (failed) throw Error("communicator", reason);
    handle.busy = true;
    void* communicator = handle.communicator;
    lock.unlock();
    const auto let_go = [&] {
      lock.lock();
      handle.busy = false;
      r.wake.notify_all();
    };
    try {
      if (!communicator) {
        communicator = make(r, group);
        lock.lock();
        if (communicator && !failed) handle.communicator = communicator;
        const bool lost = failed || !communicator;
        lock.unlock();
        if (lost) {
          if (communicator) r.api->abort(communicator);
          throw Error("communicator", failure());
        }
        if (r.exchanges.contains(group)) introduce(r, group, communicator, queue);
      }
      call(communicator);
    } catch (...) {
      let_go();
      throw;
    }
    let_go();
    if (failed) throw Error("communicator", reason);
  }

  std::string failure() {
    const std::lock_guard lock(mutex);
    return reason;
  }

  void* make(Rank& r, const NcclGroup& group) {
    const auto index = std::find(group.members.begin(), group.members.end(), r.number) - group.members.begin();
    const std::string key = "nccl " + name(group);
    std::string id;
    if (index == 0) {
      id = r.api->make_id();
      if (settings.rendezvous.set)
        settings.rendezvous.set(key, id);
      else
        names.set(key, id);
    } else {
      id = settings.rendezvous.get ? settings.rendezvous.get(key) : names.get(key);
    }
    return r.api->make(id, static_cast<std::int64_t>(group.members.size()), index, settings.most_blocks, cancel());
  }

  // The library connects two members when one first sends to the other, and blocks for that: better now, when all are here, than later.
  void introduce(Rank& r, const NcclGroup& group, void* communicator, void* queue) {
    std::vector<NcclApi::Transfer> transfers;
    const auto n = static_cast<std::int64_t>(group.members.size());
    const auto index = std::find(group.members.begin(), group.members.end(), r.number) - group.members.begin();
    auto* memory = static_cast<std::byte*>(r.api->scratch(n + 1));
    for (std::int64_t k = 0; k < n; ++k) {
      if (k == index) continue;
      if (!group.pair || index == 0) transfers.push_back({true, k, memory + n, 1});
      if (!group.pair || index == 1) transfers.push_back({false, k, memory + k, 1});
    }
    r.api->exchange(communicator, queue, transfers, cancel());
    r.api->block(r.api->mark(queue));
  }

  // --- Operations --------------------------------------------------------------------------------------------------------------------------------

  void work(Rank& r, Stream& stream) {
    std::unique_lock lock(mutex);
    for (;;) {
      stream.work.wait(lock, [&] { return !stream.queue.empty() || r.left || failed; });
      if (failed || stream.queue.empty()) return;
      Op op = std::move(stream.queue.front());
      stream.queue.pop_front();
      op.what.members = op.members;
      const auto is_enqueued = [&](Ticket t) {
        const Rank::Record* before = r.find(t.v);
        return !before || before->state != Rank::Record::State::queued;
      };
      r.wake.wait(lock, [&] { return failed || std::all_of(op.what.after.begin(), op.what.after.end(), is_enqueued); });
      if (failed) return;
      std::vector<Mark> marks{op.what.ready};
      for (const Ticket t : op.what.after)
        if (const Rank::Record* before = r.find(t.v)) marks.push_back(before->end);
      const std::uint64_t number = ++stream.started;
      lock.unlock();
      InFlight flight;
      try {
        if (!stream.queue_of_device) stream.queue_of_device = r.api->make_queue();
        flight = issue(r, stream, op, marks, number);
      } catch (const std::exception& e) {
        // Another's failure has its reason already.
        const auto* ours = dynamic_cast<const Error*>(&e);
        if (!cancelled)
          abort(ours && ours->where() == "communicator" ? ours->message()
                                                        : fmt::format("rank {}: {}: {}", r.number, describe_operation(op.what), words(e)));
        lock.lock();
        return;
      }
      lock.lock();
      Rank::Record& record = *r.find(op.ticket);
      record.begin = flight.begin, record.end = flight.end;
      record.state = Rank::Record::State::enqueued;
      stream.in_flight.push_back(std::move(flight));
      r.wake.notify_all();
    }
  }

  InFlight issue(Rank& r, Stream& stream, const Op& op, const std::vector<Mark>& marks, std::uint64_t number) {
    const CommOperation& o = op.what;
    void* const queue = stream.queue_of_device;
    for (const Mark& m : marks)
      if (m) r.api->wait(queue, m);
    InFlight flight;
    flight.ticket = op.ticket;
    flight.what = fmt::format("{} (number {} there)", describe_operation(o), number);
    flight.begin = r.api->mark(queue);
    const auto n = static_cast<std::int64_t>(op.members.size());
    if (o.op == Operator::all_to_all_by_count)
      by_count(r, stream, op);
    else if (n == 1)
      r.api->copy(queue, o.output, o.input, bytes_of(o.dtype, o.elements));
    else
      use(r, group_of(o, r.number), queue, [&](void* communicator) { enqueue(r, stream, op, communicator); });
    flight.end = r.api->mark(queue);
    return flight;
  }

  void enqueue(Rank& r, Stream& stream, const Op& op, void* communicator) {
    const CommOperation& o = op.what;
    void* const queue = stream.queue_of_device;
    const auto n = static_cast<std::int64_t>(op.members.size());
    const auto index = std::find(op.members.begin(), op.members.end(), r.number) - op.members.begin();
    const std::int64_t bytes = bytes_of(o.dtype, o.elements);
    auto* in = const_cast<std::byte*>(static_cast<const std::byte*>(o.input));  // the library does not write to what it sends
    auto* out = static_cast<std::byte*>(o.output);
    switch (o.op) {
      case Operator::all_reduce:
      case Operator::all_reduce_max:
        if (o.elements == 0) {  // the library takes no elements for nothing to do, and here it is a barrier
          in = out = static_cast<std::byte*>(scratch(r, stream, 4));
          return r.api->all_reduce(communicator, queue, in, out, 1, DType::int32, true, cancel());
        }
        return r.api->all_reduce(communicator, queue, in, out, o.elements, o.dtype, o.op == Operator::all_reduce_max, cancel());
      case Operator::reduce_scatter:
        return r.api->reduce_scatter(communicator, queue, in, out, o.elements / n, o.dtype, cancel());
      case Operator::all_gather:
        return r.api->all_gather(communicator, queue, in, out, bytes / n, cancel());
      case Operator::broadcast:
        return r.api->broadcast(communicator, queue, in, out, bytes, o.root, cancel());
      case Operator::all_to_all: {
        std::vector<NcclApi::Transfer> transfers;
        for (std::int64_t k = 0; k < n; ++k) {
          if (k == index) continue;
          transfers.push_back({true, k, in + bytes * k, bytes});
          transfers.push_back({false, k, out + bytes * k, bytes});
        }
        r.api->copy(queue, out + bytes * index, in + bytes * index, bytes);
        return r.api->exchange(communicator, queue, transfers, cancel());
      }
      case Operator::rotate: {
        const NcclApi::Transfer both[2] = {{true, (index + 1) % n, in, bytes}, {false, (index + n - 1) % n, out, bytes}};
        return r.api->exchange(communicator, queue, both, cancel());
      }
      case Operator::send: {
        const NcclApi::Transfer one{true, 1, in, bytes};
        return r.api->exchange(communicator, queue, {&one, 1}, cancel());
      }
      case Operator::recv: {
        const NcclApi::Transfer one{false, 0, out, bytes};
        return r.api->exchange(communicator, queue, {&one, 1}, cancel());
      }
      default:
        assert(false && "not communication");
    }
  }

  // The library takes sizes from the host, and routers leave them on the GPU: members first give each other all counts, and this thread, on which
  // nobody waits but its stream, looks at them.
  void by_count(Rank& r, Stream& stream, const Op& op) {
    const CommOperation& o = op.what;
    void* const queue = stream.queue_of_device;
    const auto n = static_cast<std::int64_t>(op.members.size());
    const auto index = std::find(op.members.begin(), op.members.end(), r.number) - op.members.begin();
    const std::int64_t kinds = o.counts_per_rank, each = n * kinds + 1;  // what a member tells: its counts, and the room that it has
    constexpr std::int64_t kCount = sizeof(std::int32_t);
    constexpr std::int32_t kAnyRoom = -1;
    const auto room = static_cast<std::int32_t>(std::min<std::int64_t>(o.room, std::numeric_limits<std::int32_t>::max()));
    std::vector<std::int32_t> told(static_cast<std::size_t>(n * each), kAnyRoom);
    const auto rows = [&](std::int64_t from, std::int64_t to) {
      const auto first = told.begin() + from * each + to * kinds;
      return std::accumulate(first, first + kinds, std::int64_t{0});
    };
    if (n == 1) {
      r.api->download(queue, told.data(), o.counts, kinds * kCount);
      told.back() = room;
    } else {
      auto* const mine = static_cast<std::int32_t*>(scratch(r, stream, (n + 1) * each * kCount));
      r.api->copy(queue, mine, o.counts, (each - 1) * kCount);
      r.api->upload(queue, mine + each - 1, &room, kCount);
      use(r, group_of(o, r.number), queue, [&](void* c) { r.api->all_gather(c, queue, mine, mine + each, each * kCount, cancel()); });
      r.api->download(queue, told.data(), mine + each, n * each * kCount);
      if (cancelled) throw Error("communicator", failure());
    }
    // All members see the same, and so refuse the same, before any row has moved.
    for (std::int64_t to = 0; to < n; ++to) {
      std::int64_t received = 0;
      for (std::int64_t from = 0; from < n; ++from) received += rows(from, to);
      const std::int64_t most = told[static_cast<std::size_t>((to + 1) * each - 1)];
      if (most >= 0 && received > most)
        throw Error("communicator", no_room(fmt::format("rank {} is sent {} rows", op.members[static_cast<std::size_t>(to)], received), most));
    }
    const std::int64_t row = bytes_of(o.dtype, o.width);
    auto* in = const_cast<std::byte*>(static_cast<const std::byte*>(o.input));
    auto* out = static_cast<std::byte*>(o.output);
    std::vector<NcclApi::Transfer> transfers;
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t there = rows(index, k) * row, back = rows(k, index) * row;
      if (k == index) {
        r.api->copy(queue, out, in, there);
      } else {
        if (there > 0) transfers.push_back({true, k, in, there});
        if (back > 0) transfers.push_back({false, k, out, back});
      }
      in += there;
      out += back;
    }
    if (n > 1) use(r, group_of(o, r.number), queue, [&](void* c) { r.api->exchange(c, queue, transfers, cancel()); });
  }

  static void* scratch(Rank& r, Stream& stream, std::int64_t bytes) {
    if (bytes > stream.scratch_bytes) {
      stream.scratch_bytes = std::max<std::int64_t>(bytes, 4096);
      stream.scratch = r.api->scratch(stream.scratch_bytes);
    }
    return stream.scratch;
  }
};

namespace {

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(NcclWorld::State& world, Rank& me) : world_(world), me_(me) {}

  ~NcclCommunicator() override {
    std::unique_lock lock(world_.mutex);
    const bool pending = !world_.failed && std::any_of(me_.records.begin(), me_.records.end(), [&](const Rank::Record& r) {
      return r.state == Rank::Record::State::queued || (r.state == Rank::Record::State::enqueued && !me_.api->reached(r.end));
    });
    if (pending) {
      lock.unlock();
      world_.abort(fmt::format("rank {} left with operations pending", me_.number));
      lock.lock();
    }
    me_.left = true;
    for (auto& [id, stream] : me_.streams) stream.work.notify_all();
    lock.unlock();
    for (auto& [id, stream] : me_.streams)
      if (stream.worker.joinable()) stream.worker.join();
    lock.lock();
    if (world_.failed) {
      // What was enqueued touches buffers until the aborted communicators let it end.
      world_.changed.wait(lock, [&] { return world_.aborting == 0; });
      lock.unlock();
      for (auto& [id, stream] : me_.streams)
        if (stream.queue_of_device) finish(stream.queue_of_device);
      lock.lock();
    }
    // In the order in which they were made, so that members meet.
    for (auto& [group, handle] : me_.handles) {
      me_.wake.wait(lock, [&h = handle] { return !h.busy; });
      void* const communicator = std::exchange(handle.communicator, nullptr);
      if (!communicator) continue;
      lock.unlock();
      me_.api->destroy(communicator);
      lock.lock();
    }
    world_.changed.wait(lock, [&] { return world_.aborting == 0; });
    me_.records.clear();
    for (auto& [id, stream] : me_.streams) stream.in_flight.clear();
    lock.unlock();
    me_.api.reset();
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  std::int64_t rank() const override { return me_.number; }

  Ticket start(const CommOperation& operation) override {
    check_operation(operation, me_.number, world_.settings.ranks);
    if (is_reduction(operation.op) && !nccl_sums(operation.dtype))
      throw Error("communicator", fmt::format("rank {}: {} of {} elements: NCCL does not sum {}", me_.number, program::name(operation.op),
                                              operation.elements, orrery::name(operation.dtype)));
    const std::lock_guard lock(world_.mutex);
    if (world_.failed) throw Error("communicator", world_.reason);
    while (me_.records.size() > kTicketsKept && is_over(me_.records.front())) {
      me_.records.pop_front();
      ++me_.base;
    }
    me_.records.emplace_back();
    Op op;
    op.what = operation;
    op.members.assign(operation.members.begin(), operation.members.end());
    op.ticket = me_.base + me_.records.size() - 1;
    const Ticket ticket{op.ticket};
    Stream& stream = me_.streams[operation.stream];
    stream.queue.push_back(std::move(op));
    if (stream.worker.joinable())
      stream.work.notify_one();
    else
      stream.worker = std::thread([this, &stream] { world_.work(me_, stream); });
    return ticket;
  }

  CommTimes wait(Ticket ticket) override {
    std::unique_lock lock(world_.mutex);
    Rank::Record* record = enqueued(ticket, lock);
    if (!record) return {};
    if (record->state == Rank::Record::State::complete) return record->times;
    const Mark begin = record->begin, end = record->end;
    lock.unlock();
    // Where something fails its communicator is aborted, and the mark is reached with nothing done.
    me_.api->block(end);
    if (world_.cancelled) throw Error("communicator", world_.failure());
    CommTimes times;
    // The library does not say when the others had come.
    times.start_ns = times.arrived_ns = me_.api->reached_ns(begin);
    times.end_ns = std::max(times.start_ns, me_.api->reached_ns(end));
    lock.lock();
    record = me_.find(ticket.v);
    if (!record) return times;
    record->state = Rank::Record::State::complete;
    record->times = times;
    record->begin = record->end = nullptr;
    return times;
  }

  Mark enqueued(Ticket ticket) override {
    std::unique_lock lock(world_.mutex);
    const Rank::Record* record = enqueued(ticket, lock);
    return record ? record->end : nullptr;
  }

  void abort(const std::string& why) override { world_.abort(why); }

 private:
  // All that is enqueued there; an error has been told already.
  void finish(void* queue) {
    try {
      me_.api->block(me_.api->mark(queue));
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the GPU is lost, and with it what it did
    }
  }
  bool is_over(const Rank::Record& r) const {
    return r.state == Rank::Record::State::complete || (r.state == Rank::Record::State::enqueued && me_.api->reached(r.end));
  }
  // Null: over long ago.
  Rank::Record* enqueued(Ticket ticket, std::unique_lock<std::mutex>& lock) {
    const auto is_queued = [&] {
      const Rank::Record* r = me_.find(ticket.v);
      return r && r->state == Rank::Record::State::queued;
    };
    me_.wake.wait(lock, [&] { return !is_queued() || world_.failed; });
    Rank::Record* const record = me_.find(ticket.v);
    if (world_.failed && record && record->state != Rank::Record::State::complete) throw Error("communicator", world_.reason);
    return record;
  }

  NcclWorld::State& world_;
  Rank& me_;
};

}  // namespace

NcclWorld::NcclWorld(NcclSettings settings) : state_(std::make_unique<State>(std::move(settings))) {}

NcclWorld::~NcclWorld() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->over = true;
    state_->changed.notify_all();
  }
  state_->watcher.join();
}

std::unique_ptr<Communicator> NcclWorld::communicator(std::int64_t rank, std::unique_ptr<NcclApi> api, const NcclNeeds& needs) {
  Rank* me = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->failed) throw Error("communicator", state_->reason);
    me = &state_->own[rank];
    assert(me->number < 0);
    me->number = rank;
    me->api = std::move(api);
    me->exchanges.insert(needs.exchanges.begin(), needs.exchanges.end());
  }
  auto communicator = std::make_unique<NcclCommunicator>(*state_, *me);
  if (needs.groups.empty()) return communicator;
  try {
    void* const queue = me->api->make_queue();
    for (const NcclGroup& group : needs.groups) state_->use(*me, group, queue, [](void*) {});
  } catch (const std::exception& e) {
    if (!state_->cancelled) state_->abort(fmt::format("rank {}: {}", rank, words(e)));
    throw;
  }
  return communicator;
}

void NcclWorld::abort(const std::string& why) { state_->abort(why); }
void NcclWorld::fail(const std::string& why) { state_->fail(why); }

}  // namespace orrery::executor
