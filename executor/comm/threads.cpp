#include "executor/comm/threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <numeric>
#include <span>
#include <thread>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "executor/comm/operations.h"

namespace orrery::executor {
namespace {

using program::Operator;

// Operations that touch fewer elements than this (over all members) are done at once by whoever arrives last: waking the others costs more.
constexpr std::int64_t kDoneByLastArrival = 2048;
// Times of so many of a rank's latest operations are kept for those who wait late; an older ticket is complete, with times of zero.
constexpr std::size_t kTicketsKept = 65536;
// With a mover each holds events of the device; no device lets the host run so far ahead of it.
constexpr std::size_t kTicketsKeptOnDevice = 8192;
// Parts of a reduction start at multiples of this many elements, so that no two members write to one cache line.
constexpr std::int64_t kPartAlignment = 16;

std::int64_t now_ns() { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Op;

// The members of a collective on one stream and what they have brought so far. Members complete an operation together, so there is one at a time.
struct Meeting {
  std::vector<std::int64_t> members;
  std::vector<Op*> ops;  // by index into members; null: not there yet
  std::size_t arrived = 0;
  std::size_t parts_left = 0;
};

struct Op {
  CommOperation what;  // `members` and `after` are not kept
  std::uint64_t ticket = 0;
  std::int64_t rank = 0;
  std::size_t index = 0;       // into meeting->members
  Meeting* meeting = nullptr;  // of a collective
  std::int64_t peer = 0;       // of send and recv
  std::uint64_t sequence = 0;  // of send and recv: the k-th between the two on this channel
  Op* partner = nullptr;       // of recv, once both are there
  std::size_t blockers = 0;    // operations of this rank that must be complete before this one is ready
  std::vector<Op*> dependents;
  CommTimes times;
  std::vector<Ticket> after;  // with a mover, which must wait for these too
  Mark begin, done;           // of the mover
  bool complete = false;      // with a mover: enqueued
};

struct Stream {
  Op* last = nullptr;  // the latest started, if it is not complete
  Op* part = nullptr;  // this rank's part of the running operation is there to be done, and nobody has taken it
  std::condition_variable work;
  std::thread worker;
};

struct Rank {
  std::deque<Op> ops;       // from ticket `base` on
  std::uint64_t base = 1;   // ticket of ops.front()
  std::uint64_t waits = 0;  // ticket that the rank's thread blocks on; 0: none
  std::condition_variable wake;
  std::map<std::uint8_t, Stream> streams;
  std::map<std::tuple<std::int64_t, std::uint8_t, bool>, std::uint64_t> sequences;  // (peer, channel, is a send) -> how many
  bool attached = false, left = false;

  Op* find(Ticket t) { return t.v < base ? nullptr : &ops[static_cast<std::size_t>(t.v - base)]; }
};

std::pair<std::int64_t, std::int64_t> part_of(std::int64_t elements, std::size_t index, std::size_t parts) {
  const std::int64_t n = static_cast<std::int64_t>(parts), i = static_cast<std::int64_t>(index);
  const std::int64_t size = ((elements + n - 1) / n + kPartAlignment - 1) / kPartAlignment * kPartAlignment;
  return {std::min(elements, i * size), std::min(elements, (i + 1) * size)};
}

void reduce_part(const Meeting& m, std::size_t index) {
  const CommOperation& mine = m.ops[index]->what;
  const bool scatters = mine.op == Operator::reduce_scatter;
  const std::int64_t shard = mine.elements / static_cast<std::int64_t>(m.ops.size());
  const auto i = static_cast<std::int64_t>(index);
  const auto [begin, end] = scatters ? std::pair{shard * i, shard * (i + 1)} : part_of(mine.elements, index, m.ops.size());
  const std::int64_t at = bytes_of(mine.dtype, begin);
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const Op* op : m.ops) {
    in.push_back(static_cast<const std::byte*>(op->what.input) + at);
    if (!scatters) out.push_back(static_cast<std::byte*>(op->what.output) + at);
  }
  if (scatters) out.push_back(mine.output);
  reduce(mine.dtype, mine.op, in, end - begin, out);
}

void copy_bytes(void* to, const void* from, std::int64_t bytes) {
  if (bytes > 0 && to != from) std::memmove(to, from, static_cast<std::size_t>(bytes));
}

std::int64_t rows_for(const CommOperation& from, std::size_t index) {
  const std::int32_t* counts = from.counts + static_cast<std::int64_t>(index) * from.counts_per_rank;
  return std::accumulate(counts, counts + from.counts_per_rank, std::int64_t{0});
}

// Why the members cannot do what they have met for, now that all have brought what it takes; empty: they can.
std::string obstacle(const Meeting& m) {
  if (m.ops[0]->what.op != Operator::all_to_all_by_count) return {};
  for (std::size_t i = 0; i < m.ops.size(); ++i) {
    std::int64_t rows = 0;
    for (const Op* from : m.ops) rows += rows_for(from->what, i);
    const std::int64_t room = m.ops[i]->what.room;
    if (room >= 0 && rows > room) return no_room(fmt::format("rank {} is sent {} rows", m.members[i], rows), room);
  }
  return {};
}

// Member `index`'s part of a collective. Different members' parts read and write disjoint memory, or only read the same.
void do_part(const Meeting& m, std::size_t index) {
  const CommOperation& mine = m.ops[index]->what;
  switch (mine.op) {
    case Operator::all_reduce:
    case Operator::all_reduce_max:
    case Operator::reduce_scatter:
      reduce_part(m, index);
      return;
    case Operator::all_gather: {
      const std::int64_t bytes = bytes_of(mine.dtype, mine.elements) / static_cast<std::int64_t>(m.ops.size());
      for (const Op* op : m.ops) copy_bytes(static_cast<std::byte*>(op->what.output) + bytes * static_cast<std::int64_t>(index), mine.input, bytes);
      return;
    }
    case Operator::all_to_all: {
      const std::int64_t bytes = bytes_of(mine.dtype, mine.elements);
      for (std::size_t k = 0; k < m.ops.size(); ++k)
        copy_bytes(static_cast<std::byte*>(mine.output) + bytes * static_cast<std::int64_t>(k),
                   static_cast<const std::byte*>(m.ops[k]->what.input) + bytes * static_cast<std::int64_t>(index), bytes);
      return;
    }
    case Operator::all_to_all_by_count: {
      auto* to = static_cast<std::byte*>(mine.output);
      for (const Op* op : m.ops) {
        const std::int32_t* counts = op->what.counts;
        const auto block = static_cast<std::int64_t>(index) * mine.counts_per_rank;
        const auto row = bytes_of(mine.dtype, mine.width);
        const std::int64_t before = std::accumulate(counts, counts + block, std::int64_t{0}) * row;
        const std::int64_t bytes = rows_for(op->what, index) * row;
        copy_bytes(to, static_cast<const std::byte*>(op->what.input) + before, bytes);
        to += bytes;
      }
      return;
    }
    case Operator::rotate: {
      const std::size_t n = m.ops.size();
      copy_bytes(mine.output, m.ops[(index + n - 1) % n]->what.input, bytes_of(mine.dtype, mine.elements));
      return;
    }
    case Operator::broadcast:
      copy_bytes(mine.output, m.ops[static_cast<std::size_t>(mine.root)]->what.input, bytes_of(mine.dtype, mine.elements));
      return;
    default:
      assert(false && "not a collective");
  }
}

std::string describe(const Op& op) {
  const std::array<std::int64_t, 2> pair{op.rank, op.peer};
  CommOperation what = op.what;
  what.members = op.meeting ? std::span<const std::int64_t>(op.meeting->members) : pair;
  return describe_operation(what);
}

}  // namespace

struct ThreadsWorld::State {
  State(std::int64_t n, std::unique_ptr<Mover> moves) : mover(std::move(moves)), ranks(static_cast<std::size_t>(n)) {}

  const std::unique_ptr<Mover> mover;  // null: the host's hands

  std::mutex mutex;  // guards everything below; data is moved outside of it, except where that is less work than waking somebody
  std::vector<Rank> ranks;
  std::map<std::pair<std::vector<std::int64_t>, std::uint8_t>, Meeting> meetings;
  std::map<std::tuple<std::int64_t, std::int64_t, std::uint8_t, std::uint64_t>, Op*> posted;  // (from, to, channel, k): the side that came first
  std::size_t parts = 0;                                                                      // offered or running
  std::size_t running = 0;
  std::condition_variable quiet;  // failed, and running == 0
  std::size_t waiting = 0;        // ranks that block in wait or have left
  bool failed = false;
  std::string reason;
  std::vector<std::condition_variable*> wakes;  // to be notified once the lock is free, so that nobody wakes up only to wait for it

  // Lets go of the lock and wakes whom it is time to wake.
  void release(std::unique_lock<std::mutex>& lock) {
    std::vector<std::condition_variable*> now;
    now.swap(wakes);
    lock.unlock();
    for (std::condition_variable* c : now) c->notify_one();
  }

  Rank& rank(std::int64_t r) { return ranks[static_cast<std::size_t>(r)]; }

  void fail(const std::string& why) {
    if (failed) return;
    failed = true;
    reason = why;
    for (Rank& r : ranks) {
      for (auto& [id, stream] : r.streams) {
        if (stream.part) --parts;
        stream.part = nullptr;
      }
      r.wake.notify_all();
    }
    quiet.notify_all();
  }

  // Throws once nobody touches any rank's buffers any more.
  [[noreturn]] void throw_failure(std::unique_lock<std::mutex>& lock) {
    quiet.wait(lock, [&] { return running == 0; });
    throw Error("communicator", reason);
  }

  void complete(Op& op, std::vector<Op*>& ready, std::int64_t now) {
    op.times.end_ns = now;
    op.complete = true;
    Rank& r = rank(op.rank);
    Stream& stream = r.streams.at(op.what.stream);
    if (stream.last == &op) stream.last = nullptr;
    for (Op* next : op.dependents)
      if (--next->blockers == 0) ready.push_back(next);
    op.dependents.clear();
    if (r.waits == op.ticket) wakes.push_back(&r.wake);
  }

  void complete_all(Meeting& m, std::vector<Op*>& ready) {
    const std::int64_t now = now_ns();
    m.arrived = 0;
    for (Op*& slot : m.ops) {
      Op& op = *slot;
      slot = nullptr;
      complete(op, ready, now);
    }
  }

  void wake_worker(Rank& r, Stream& stream) {
    if (stream.worker.joinable())
      wakes.push_back(&stream.work);
    else
      stream.worker = std::thread([this, &r, &stream] { work(r, stream); });
  }

  void offer(Op& op) {
    ++parts;
    Rank& r = rank(op.rank);
    Stream& stream = r.streams.at(op.what.stream);
    stream.part = &op;
    // The thread that waits for this very stream does the work itself, or passes it on when it leaves; else it is the worker's.
    if (r.waits != 0 && r.find(Ticket{r.waits})->what.stream == op.what.stream)
      wakes.push_back(&r.wake);
    else
      wake_worker(r, stream);
  }

  Mover::Member member(Op& op) {
    Mover::Member m{op.rank, &op.what, {}, {}, {}};
    if (op.what.ready) m.after.push_back(std::move(op.what.ready));
    for (const Ticket t : op.after)
      if (const Op* before = rank(op.rank).find(t); before && before->what.stream != op.what.stream) m.after.push_back(before->done);
    op.after.clear();
    return m;
  }

  void arrive_collective(Op& op, std::vector<Op*>& ready) {
    Meeting& m = *op.meeting;
    m.ops[op.index] = &op;
    for (const Op* other : m.ops)
      if (other && (other->what.op != op.what.op || other->what.elements != op.what.elements || other->what.dtype != op.what.dtype ||
                    other->what.root != op.what.root)) {
        fail(fmt::format("rank {} starts {}, but rank {} starts {}", other->rank, describe(*other), op.rank, describe(op)));
        return;
      }
    if (++m.arrived < m.ops.size()) return;
    if (mover) {
      std::vector<Mover::Member> members;
      for (Op* each : m.ops) members.push_back(member(*each));
      mover->collective(members);
      for (std::size_t i = 0; i < members.size(); ++i) m.ops[i]->begin = members[i].begin, m.ops[i]->done = members[i].done;
      complete_all(m, ready);
      return;
    }
    const std::int64_t now = now_ns();
    for (Op* each : m.ops) each->times.arrived_ns = now;
    if (const std::string why = obstacle(m); !why.empty()) {
      fail(why);
      return;
    }
    if (op.what.elements * static_cast<std::int64_t>(m.ops.size()) < kDoneByLastArrival) {
      for (std::size_t i = 0; i < m.ops.size(); ++i) do_part(m, i);
      complete_all(m, ready);
      return;
    }
    m.parts_left = m.ops.size();
    for (Op* each : m.ops) offer(*each);
  }

  void arrive_point_to_point(Op& op, std::vector<Op*>& ready) {
    const bool sends = op.what.op == Operator::send;
    const auto key = std::make_tuple(sends ? op.rank : op.peer, sends ? op.peer : op.rank, op.what.channel, op.sequence);
    const auto [it, first] = posted.try_emplace(key, &op);
    if (first) return;
    Op& receive = sends ? *it->second : op;
    receive.partner = sends ? &op : it->second;
    posted.erase(it);
    Op& send = *receive.partner;
    if (send.what.elements != receive.what.elements || send.what.dtype != receive.what.dtype) {
      fail(fmt::format("rank {} starts {}, but rank {} starts {}", send.rank, describe(send), receive.rank, describe(receive)));
      return;
    }
    const std::int64_t now = now_ns();
    if (mover) {
      Mover::Member from = member(send), to = member(receive);
      mover->message(from, to);
      send.begin = from.begin, send.done = from.done, receive.begin = to.begin, receive.done = to.done;
      complete(send, ready, now);
      complete(receive, ready, now);
      return;
    }
    send.times.arrived_ns = receive.times.arrived_ns = now;
    if (receive.what.elements < kDoneByLastArrival) {
      copy_bytes(receive.what.output, send.what.input, bytes_of(send.what.dtype, send.what.elements));
      const std::int64_t end = now_ns();
      complete(send, ready, end);
      complete(receive, ready, end);
      return;
    }
    offer(receive);
  }

  // Takes operations whose blockers are gone to their meetings, and those that become ready by that, and so on.
  void advance(std::vector<Op*>& ready) {
    for (std::size_t i = 0; i < ready.size() && !failed; ++i) {
      Op& op = *ready[i];
      op.times.start_ns = now_ns();
      if (op.meeting)
        arrive_collective(op, ready);
      else
        arrive_point_to_point(op, ready);
    }
  }

  // Does the part that `stream` offers, with the lock released meanwhile.
  void take(Stream& stream, std::unique_lock<std::mutex>& lock) {
    Op& op = *std::exchange(stream.part, nullptr);
    ++running;
    lock.unlock();
    if (op.meeting)
      do_part(*op.meeting, op.index);
    else
      copy_bytes(op.what.output, op.partner->what.input, bytes_of(op.what.dtype, op.what.elements));
    lock.lock();
    --running;
    --parts;
    if (failed) {
      if (running == 0) quiet.notify_all();
      return;
    }
    std::vector<Op*> ready;
    if (!op.meeting) {
      const std::int64_t now = now_ns();
      complete(*op.partner, ready, now);
      complete(op, ready, now);
    } else if (--op.meeting->parts_left == 0) {
      complete_all(*op.meeting, ready);
    }
    advance(ready);
    if (waiting == ranks.size()) explain_deadlock();
    if (wakes.empty()) return;
    release(lock);
    lock.lock();
  }

  void work(Rank& r, Stream& stream) {
    std::unique_lock lock(mutex);
    for (;;) {
      stream.work.wait(lock, [&] { return stream.part || r.left; });
      if (!stream.part) return;
      take(stream, lock);
    }
  }

  // Called when every rank waits or has left: progress then comes only from parts that are still offered or running.
  void explain_deadlock() {
    if (parts > 0 || failed) return;
    std::string who;
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (ranks[i].left) continue;
      const Op& op = *ranks[i].find(Ticket{ranks[i].waits});
      if (op.complete) return;  // told, but not awake yet
      who += fmt::format("{}rank {} waits for {}", who.empty() ? "" : "; ", i, describe(op));
    }
    if (!who.empty()) fail("deadlock: " + who);
  }
};

namespace {

class ThreadsCommunicator final : public Communicator {
 public:
  ThreadsCommunicator(std::shared_ptr<ThreadsWorld::State> world, std::int64_t rank) : world_(std::move(world)), rank_(rank) {}

  ~ThreadsCommunicator() override {
    Rank& me = world_->rank(rank_);
    {
      std::unique_lock lock(world_->mutex);
      const bool pending = std::any_of(me.ops.begin(), me.ops.end(), [](const Op& op) { return !op.complete; });
      if (pending) world_->fail(fmt::format("rank {} left with operations pending", rank_));
      if (world_->failed) world_->quiet.wait(lock, [&] { return world_->running == 0; });
      me.left = true;
      ++world_->waiting;
      for (auto& [id, stream] : me.streams) stream.work.notify_all();
      if (world_->waiting == world_->ranks.size()) world_->explain_deadlock();
    }
    for (auto& [id, stream] : me.streams)
      if (stream.worker.joinable()) stream.worker.join();
  }

  std::int64_t rank() const override { return rank_; }

  Ticket start(const CommOperation& operation) override {
    std::unique_lock lock(world_->mutex);
    if (world_->failed) world_->throw_failure(lock);
    check_operation(operation, rank_, static_cast<std::int64_t>(world_->ranks.size()));
    check_reduction(operation, rank_);
    Rank& me = world_->rank(rank_);
    while (me.ops.size() > (world_->mover ? kTicketsKeptOnDevice : kTicketsKept) && me.ops.front().complete) {
      me.ops.pop_front();
      ++me.base;
    }
    Op& op = me.ops.emplace_back();
    op.what = operation;
    op.what.members = {};
    op.what.after.clear();
    if (world_->mover) op.after = operation.after;
    op.rank = rank_;
    op.ticket = me.base + me.ops.size() - 1;
    if (program::is_point_to_point(operation.op)) {
      op.peer = operation.members[1];
      op.sequence = me.sequences[{op.peer, operation.channel, operation.op == Operator::send}]++;
    } else {
      op.index = static_cast<std::size_t>(std::find(operation.members.begin(), operation.members.end(), rank_) - operation.members.begin());
      Meeting& m = world_->meetings[{std::vector(operation.members.begin(), operation.members.end()), operation.stream}];
      if (m.members.empty()) {
        m.members.assign(operation.members.begin(), operation.members.end());
        m.ops.resize(m.members.size());
      }
      op.meeting = &m;
    }
    Stream& stream = me.streams[operation.stream];
    const auto block_on = [&](Op* before) {
      if (!before || before->complete) return;
      before->dependents.push_back(&op);
      ++op.blockers;
    };
    block_on(std::exchange(stream.last, &op));
    for (const Ticket t : operation.after) block_on(me.find(t));
    if (op.blockers == 0) {
      std::vector<Op*> ready{&op};
      world_->advance(ready);
    }
    const Ticket ticket{op.ticket};
    world_->release(lock);
    return ticket;
  }

  CommTimes wait(Ticket ticket) override {
    CommTimes times;
    Mark begin, done;
    if (!finish(ticket, [&](const Op& op) { times = op.times, begin = op.begin, done = op.done; })) return {};
    if (world_->mover) times.start_ns = times.arrived_ns = world_->mover->reached_ns(begin), times.end_ns = world_->mover->reached_ns(done);
    return times;
  }

  Mark enqueued(Ticket ticket) override {
    Mark done;
    finish(ticket, [&](const Op& op) { done = op.done; });
    return done;
  }

  void abort(const std::string& why) override {
    const std::lock_guard lock(world_->mutex);
    world_->fail(why);
  }

 private:
  // Blocks until the operation is complete and shows it; false: long ago.
  template <class Look>
  bool finish(Ticket ticket, Look look) {
    std::unique_lock lock(world_->mutex);
    Rank& me = world_->rank(rank_);
    if (ticket.v < me.base) return false;
    assert(ticket.v < me.base + me.ops.size());
    Op& op = *me.find(ticket);
    Stream& stream = me.streams.at(op.what.stream);
    for (;;) {
      if (op.complete) {
        look(op);
        if (stream.part) world_->wake_worker(me, stream);
        world_->release(lock);
        return true;
      }
      if (world_->failed) world_->throw_failure(lock);
      if (stream.part) {
        world_->take(stream, lock);
        continue;
      }
      me.waits = ticket.v;
      if (++world_->waiting == world_->ranks.size()) world_->explain_deadlock();
      me.wake.wait(lock, [&] { return op.complete || world_->failed || stream.part; });
      --world_->waiting;
      me.waits = 0;
    }
  }

  std::shared_ptr<ThreadsWorld::State> world_;
  std::int64_t rank_;
};

}  // namespace

ThreadsWorld::ThreadsWorld(std::int64_t ranks, std::unique_ptr<Mover> mover) : state_(std::make_shared<State>(ranks, std::move(mover))) {
  assert(ranks >= 1);
}
ThreadsWorld::~ThreadsWorld() = default;

std::unique_ptr<Communicator> ThreadsWorld::communicator(std::int64_t rank) {
  const std::lock_guard lock(state_->mutex);
  assert(!state_->rank(rank).attached);
  state_->rank(rank).attached = true;
  return std::make_unique<ThreadsCommunicator>(state_, rank);
}

void ThreadsWorld::abort(const std::string& why) {
  const std::lock_guard lock(state_->mutex);
  state_->fail(why);
}

}  // namespace orrery::executor
