#include "executor/comm/messages.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.h"
#include "executor/comm/bytes.h"
#include "executor/comm/operations.h"
#include "executor/comm/socket.h"
#include "executor/hash.h"

namespace orrery::executor {
namespace {

using program::Operator;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::uint32_t kMagic = 0x4d52524f;                   // "ORRM"
constexpr milliseconds kMeeting{60'000};                       // for all processes to connect to each other
constexpr milliseconds kGreeting{10'000};                      // for a stranger to say who it is
constexpr milliseconds kReason{10'000};                        // for the store to say why a connection ended
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 36U;  // of a message: 64 GiB
constexpr std::size_t kTicketsKept = 65536;                    // as ThreadsWorld does
constexpr std::int64_t kSentWhole = 2048;                      // elements of a sum that every member makes for itself, over all members
constexpr std::size_t kOnePacket = 1024;                       // bytes that go along with the header

std::int64_t now_ns() { return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count(); }

struct Greeting {
  std::uint32_t magic = kMagic, unused = 0;
  std::uint64_t token = 0;
  std::int64_t process = 0;
};

// Which message: the `part`-th of the `sequence`-th operation of a group on a stream, or of a pair on a channel (group 0).
struct Tag {
  std::uint64_t group = 0, sequence = 0;
  std::int32_t from = 0, to = 0;
  std::uint32_t stream = 0, part = 0;
  auto operator<=>(const Tag&) const = default;
};
struct Header {
  std::uint64_t bytes = 0;
  Tag tag;
};

struct Message {
  std::unique_ptr<std::byte[]> data;
  std::size_t bytes = 0;
};

// Never 0: a group's name in messages.
std::uint64_t name_of(std::span<const std::int64_t> members) {
  return fnv1a({reinterpret_cast<const char*>(members.data()), members.size_bytes()}) | 1U;
}

void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0 && to != from) std::memmove(to, from, bytes);
}

struct Op {
  CommOperation what;  // its `members` are those below
  std::vector<std::int64_t> members;
  std::uint64_t ticket = 0;
  std::size_t index = 0;  // of this rank among the members
  std::uint64_t group = 0, sequence = 0;
};

struct Stream {
  std::deque<Op> queue;
  std::condition_variable work;
  std::thread worker;
};

struct Rank {
  struct Record {
    bool complete = false;
    CommTimes times;
  };
  std::deque<Record> records;
  std::uint64_t base = 1;  // ticket of records.front()
  std::map<std::uint8_t, Stream> streams;
  std::map<std::tuple<std::uint64_t, std::int64_t, std::uint32_t>, std::uint64_t> sequences;  // (group, peer and direction, stream) -> how many
  std::condition_variable wake;                                                               // something of this rank's is complete
  std::size_t running = 0;
  bool left = false;

  bool is_complete(std::uint64_t ticket) const { return ticket < base || records[static_cast<std::size_t>(ticket - base)].complete; }
};

// To another process.
struct Peer {
  Socket socket;
  std::mutex sending;  // whole messages
  std::thread reader;
};

}  // namespace

struct MessagesWorld::State {
  State(KeyStore& s, std::int64_t n, milliseconds most) : store(s), ranks(n), deadline(most), peers(static_cast<std::size_t>(s.processes())) {
    first = first_rank(store.process(), ranks, store.processes());
    own = std::vector<Rank>(static_cast<std::size_t>(first_rank(store.process() + 1, ranks, store.processes()) - first));
    gone.resize(peers.size());
  }

  KeyStore& store;
  std::int64_t ranks, first = 0;
  milliseconds deadline;
  std::vector<Peer> peers;

  std::mutex mutex;  // guards what follows; data is moved outside of it
  std::vector<Rank> own;
  std::map<Tag, Message> inbox;
  std::map<Tag, std::condition_variable*> waiting;
  std::vector<bool> gone;  // by process: its connection ended
  bool failed = false;
  std::string reason;

  Rank& rank(std::int64_t r) { return own[static_cast<std::size_t>(r - first)]; }
  std::int64_t process(std::int64_t r) const { return process_of(r, ranks, store.processes()); }

  // --- Connections -------------------------------------------------------------------------------------------------------------------------------

  void connect_all() {
    int port = 0;
    const std::string address = store.local_address();
    const Socket listener = listen_at(port, address == "localhost" || address == "::1" || address.rfind("127.", 0) == 0, address == "::1");
    if (!listener) throw Error("processes", fmt::format("process {} cannot listen: {}", store.process(), std::strerror(errno)));
    ByteWriter w;
    w.text(address);
    w.put(port);
    std::random_device random;
    w.put(std::uint64_t{random()} << 32U | random());
    const std::vector<std::string> all = store.gather("the connections of ranks", w.take());
    std::vector<std::pair<std::string, int>> places;
    std::uint64_t token = 0;
    for (const std::string& one : all) {
      ByteReader r(one);
      std::string host = r.text();
      const int at = r.get<int>();
      const auto theirs = r.get<std::uint64_t>();
      if (places.empty()) token = theirs;
      places.emplace_back(std::move(host), at);
    }
    const std::int64_t me = store.process();
    const auto until = Clock::now() + kMeeting;
    // A connection is made before it is accepted, so nobody waits for somebody who waits.
    for (std::int64_t q = 0; q < me; ++q) {
      const auto& [host, at] = places[static_cast<std::size_t>(q)];
      std::string why;
      Socket s = connect_to(host, at, kMeeting, why);
      const Greeting greeting{.token = token, .process = me};
      if (!s || !send_all(s.fd(), &greeting, sizeof greeting))
        throw Error("processes", fmt::format("process {} did not reach process {} at {}:{}: {}", me, q, host, at, s ? "the connection ended" : why),
                    "processes connect to each other: is there a firewall between their machines?");
      peers[static_cast<std::size_t>(q)].socket = std::move(s);
    }
    for (std::int64_t left = store.processes() - 1 - me; left > 0;) {
      pollfd fd{listener.fd(), POLLIN, 0};
      const auto most = std::chrono::ceil<milliseconds>(until - Clock::now());
      if (most.count() <= 0) throw Error("processes", fmt::format("{} processes did not connect to process {}", left, me));
      poll(&fd, 1, static_cast<int>(most.count()));
      Socket s(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!s) continue;
      limit_wait(s.fd(), SO_RCVTIMEO, kGreeting);
      Greeting greeting;
      if (!receive_all(s.fd(), &greeting, sizeof greeting) || greeting.magic != kMagic || greeting.token != token) continue;  // a stranger
      if (greeting.process <= me || greeting.process >= store.processes() || peers[static_cast<std::size_t>(greeting.process)].socket) continue;
      limit_wait(s.fd(), SO_RCVTIMEO, {});
      notice_silence(s.fd());
      peers[static_cast<std::size_t>(greeting.process)].socket = std::move(s);
      --left;
    }
    for (std::size_t q = 0; q < peers.size(); ++q)
      if (peers[q].socket) peers[q].reader = std::thread([this, q] { read(q); });
  }

  void read(std::size_t q) {
    const int fd = peers[q].socket.fd();
    Header h;
    while (receive_all(fd, &h, sizeof h)) {
      const bool sane = h.bytes <= kMostBytes && h.tag.to >= first && h.tag.to < first + static_cast<std::int64_t>(own.size());
      if (!sane) {
        abort(fmt::format("process {} sent what is no message", q));
        break;
      }
      Message m{std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(h.bytes)), static_cast<std::size_t>(h.bytes)};
      if (!receive_all(fd, m.data.get(), m.bytes)) break;
      deliver(h.tag, std::move(m));
    }
    const std::lock_guard lock(mutex);
    gone[q] = true;
    for (const auto& [tag, waiter] : waiting) waiter->notify_all();
  }

  void deliver(const Tag& tag, Message m) {
    const std::lock_guard lock(mutex);
    inbox[tag] = std::move(m);
    if (const auto found = waiting.find(tag); found != waiting.end()) found->second->notify_all();
  }

  void post(const Tag& tag, const void* data, std::size_t bytes) {
    const std::int64_t there = process(tag.to);
    if (there == store.process()) {
      Message m{std::make_unique_for_overwrite<std::byte[]>(bytes), bytes};
      copy_bytes(m.data.get(), data, bytes);
      return deliver(tag, std::move(m));
    }
    Peer& peer = peers[static_cast<std::size_t>(there)];
    const Header header{bytes, tag};
    const std::lock_guard whole(peer.sending);
    // What cannot be sent is missed by whoever waits for it, and explained by the store.
    if (bytes <= kOnePacket) {
      std::array<std::byte, sizeof header + kOnePacket> packet;
      std::memcpy(packet.data(), &header, sizeof header);
      copy_bytes(packet.data() + sizeof header, data, bytes);
      send_all(peer.socket.fd(), packet.data(), sizeof header + bytes);
    } else if (send_all(peer.socket.fd(), &header, sizeof header)) {
      send_all(peer.socket.fd(), data, bytes);
    }
  }

  Message take(const Tag& tag, const Op& op) {
    const auto from = static_cast<std::size_t>(process(tag.from));
    std::unique_lock lock(mutex);
    auto found = inbox.find(tag);
    if (found == inbox.end()) {
      std::condition_variable arrived;
      waiting[tag] = &arrived;
      const auto there = [&] {
        found = inbox.find(tag);
        return found != inbox.end() || failed;
      };
      const auto over = [&] { return there() || gone[from]; };
      bool came = true;
      if (deadline.count() > 0)
        came = arrived.wait_for(lock, deadline, over);
      else
        arrived.wait(lock, over);
      if (came && !there()) arrived.wait_for(lock, kReason, there);
      waiting.erase(tag);
      if (found == inbox.end() && !failed) {
        const std::string what = fmt::format("rank {}: {}: ", tag.to, describe_operation(op.what));
        const std::string why =
            what + (came ? fmt::format("rank {} has gone, with process {}", tag.from, from)
                         : fmt::format("rank {} did not come within {} s", tag.from, static_cast<double>(deadline.count()) / 1000));
        lock.unlock();
        abort(why);
        lock.lock();
      }
    }
    if (failed) throw Error("communicator", reason);
    Message m = std::move(found->second);
    inbox.erase(found);
    return m;
  }

  // --- Failure -----------------------------------------------------------------------------------------------------------------------------------

  // In this process. The first reason stays.
  void fail(const std::string& why) {
    const std::lock_guard lock(mutex);
    if (failed) return;
    failed = true;
    reason = why;
    for (const auto& [tag, waiter] : waiting) waiter->notify_all();
    for (Rank& r : own) {
      r.wake.notify_all();
      for (auto& [id, stream] : r.streams) stream.work.notify_all();
    }
  }
  // The store's reason is everybody's, so it comes first; its watcher fails this world.
  void abort(const std::string& why) {
    store.abort(why);
    fail(why);
  }

  // --- Operations --------------------------------------------------------------------------------------------------------------------------------

  void work(std::int64_t me, Stream& stream) {
    Rank& r = rank(me);
    std::unique_lock lock(mutex);
    for (;;) {
      stream.work.wait(lock, [&] { return !stream.queue.empty() || r.left || failed; });
      if (failed || stream.queue.empty()) return;
      Op op = std::move(stream.queue.front());
      stream.queue.pop_front();
      op.what.members = op.members;
      r.wake.wait(lock,
                  [&] { return failed || std::all_of(op.what.after.begin(), op.what.after.end(), [&](Ticket t) { return r.is_complete(t.v); }); });
      if (failed) return;
      ++r.running;
      lock.unlock();
      CommTimes times;
      bool done = false;
      try {
        run(me, op, times);
        done = true;
      } catch (const Error& e) {
        if (e.where() != "communicator") abort(e.message());
      } catch (const std::bad_alloc&) {
        abort(fmt::format("rank {}: {}: there is not enough memory for what it is sent", me, describe_operation(op.what)));
      }
      lock.lock();
      --r.running;
      if (done) {
        Rank::Record& record = r.records[static_cast<std::size_t>(op.ticket - r.base)];
        record.complete = true;
        record.times = times;
      }
      r.wake.notify_all();
    }
  }

  // One rank's part of an operation: what it sends and receives, and to whom.
  void run(std::int64_t me, Op& op, CommTimes& times) {
    const CommOperation& o = op.what;
    const std::size_t n = op.members.size();
    times.start_ns = times.arrived_ns = now_ns();
    const auto* in = static_cast<const std::byte*>(o.input);
    auto* out = static_cast<std::byte*>(o.output);
    Tag tag{op.group, op.sequence, static_cast<std::int32_t>(me), 0, o.stream, 0};
    const auto send_to = [&](std::size_t k, const void* data, std::int64_t bytes) {
      tag.from = static_cast<std::int32_t>(me), tag.to = static_cast<std::int32_t>(op.members[k]);
      post(tag, data, static_cast<std::size_t>(bytes));
    };
    const auto receive_from = [&](std::size_t k, std::int64_t bytes) {
      tag.from = static_cast<std::int32_t>(op.members[k]), tag.to = static_cast<std::int32_t>(me);
      Message m = take(tag, op);
      if (bytes >= 0 && m.bytes != static_cast<std::size_t>(bytes))
        throw Error("", fmt::format("rank {}: {}: rank {} sent {} bytes, and {} are wanted: it does another operation", me, describe_operation(o),
                                    op.members[k], m.bytes, bytes));
      return m;
    };
    // Beginning with the next member, so that not all send to the first at once.
    const auto others = [&](const auto& visit) {
      for (std::size_t k = 1; k < n; ++k) visit((op.index + k) % n);
    };

    switch (o.op) {
      case Operator::all_reduce:
      case Operator::all_reduce_max: {
        const bool whole = o.elements * static_cast<std::int64_t>(n) <= kSentWhole;
        const std::int64_t each = whole ? o.elements : (o.elements + static_cast<std::int64_t>(n) - 1) / static_cast<std::int64_t>(n);
        const auto begin = [&](std::size_t k) { return whole ? 0 : std::min(o.elements, each * static_cast<std::int64_t>(k)); };
        const auto size = [&](std::size_t k) { return whole ? o.elements : std::min(o.elements, begin(k) + each) - begin(k); };
        others([&](std::size_t k) { send_to(k, in + bytes_of(o.dtype, begin(k)), bytes_of(o.dtype, size(k))); });
        const std::int64_t mine = size(op.index), at = bytes_of(o.dtype, begin(op.index));
        std::vector<Message> messages(n);
        std::vector<const void*> parts(n, in + at);
        others([&](std::size_t k) {
          messages[k] = receive_from(k, bytes_of(o.dtype, mine));
          parts[k] = messages[k].data.get();
        });
        times.arrived_ns = now_ns();
        void* const sum = out + at;
        if (mine > 0) reduce(o.dtype, o.op, parts, mine, {&sum, 1});
        if (whole) break;
        tag.part = 1;
        others([&](std::size_t k) { send_to(k, out + at, bytes_of(o.dtype, mine)); });
        others([&](std::size_t k) {
          const Message m = receive_from(k, bytes_of(o.dtype, size(k)));
          copy_bytes(out + bytes_of(o.dtype, begin(k)), m.data.get(), m.bytes);
        });
        break;
      }
      case Operator::reduce_scatter: {
        const std::int64_t shard = o.elements / static_cast<std::int64_t>(n), bytes = bytes_of(o.dtype, shard);
        others([&](std::size_t k) { send_to(k, in + bytes * static_cast<std::int64_t>(k), bytes); });
        std::vector<Message> messages(n);
        std::vector<const void*> parts(n, in + bytes * static_cast<std::int64_t>(op.index));
        others([&](std::size_t k) {
          messages[k] = receive_from(k, bytes);
          parts[k] = messages[k].data.get();
        });
        times.arrived_ns = now_ns();
        if (shard > 0) reduce(o.dtype, o.op, parts, shard, {&o.output, 1});
        break;
      }
      case Operator::all_gather: {
        const std::int64_t bytes = bytes_of(o.dtype, o.elements) / static_cast<std::int64_t>(n);
        others([&](std::size_t k) { send_to(k, in, bytes); });
        copy_bytes(out + bytes * static_cast<std::int64_t>(op.index), in, static_cast<std::size_t>(bytes));
        others([&](std::size_t k) {
          const Message m = receive_from(k, bytes);
          copy_bytes(out + bytes * static_cast<std::int64_t>(k), m.data.get(), m.bytes);
        });
        times.arrived_ns = now_ns();
        break;
      }
      case Operator::all_to_all: {
        const std::int64_t bytes = bytes_of(o.dtype, o.elements);
        others([&](std::size_t k) { send_to(k, in + bytes * static_cast<std::int64_t>(k), bytes); });
        const std::int64_t mine = bytes * static_cast<std::int64_t>(op.index);
        copy_bytes(out + mine, in + mine, static_cast<std::size_t>(bytes));
        others([&](std::size_t k) {
          const Message m = receive_from(k, bytes);
          copy_bytes(out + bytes * static_cast<std::int64_t>(k), m.data.get(), m.bytes);
        });
        times.arrived_ns = now_ns();
        break;
      }
      case Operator::all_to_all_by_count: {
        // First everybody tells everybody how many rows it has for whom, and what room it has itself: all find the same obstacle, before any row
        // moves.
        std::vector<std::int64_t> rows(n + 1);
        for (std::size_t k = 0; k < n; ++k) {
          const std::int32_t* counts = o.counts + static_cast<std::int64_t>(k) * o.counts_per_rank;
          rows[k] = std::accumulate(counts, counts + o.counts_per_rank, std::int64_t{0});
        }
        rows[n] = o.room;
        const auto told = static_cast<std::int64_t>(rows.size() * sizeof rows[0]);
        others([&](std::size_t k) { send_to(k, rows.data(), told); });
        std::vector<std::vector<std::int64_t>> all(n, rows);
        others([&](std::size_t k) {
          const Message m = receive_from(k, told);
          std::memcpy(all[k].data(), m.data.get(), m.bytes);
        });
        times.arrived_ns = now_ns();
        for (std::size_t k = 0; k < n; ++k) {
          std::int64_t sum = 0;
          for (const auto& theirs : all) sum += theirs[k];
          if (all[k][n] >= 0 && sum > all[k][n]) throw Error("", no_room(fmt::format("rank {} is sent {} rows", op.members[k], sum), all[k][n]));
        }
        tag.part = 1;
        const std::int64_t row = bytes_of(o.dtype, o.width);
        std::int64_t before = 0, own_at = 0;
        std::vector<std::int64_t> from(n);
        for (std::size_t k = 0; k < n; ++k) from[k] = std::exchange(before, before + rows[k] * row);
        others([&](std::size_t k) { send_to(k, in + from[k], rows[k] * row); });
        for (std::size_t k = 0; k < n; ++k) {
          const std::int64_t bytes = all[k][op.index] * row;
          if (k == op.index) {
            copy_bytes(out + own_at, in + from[k], static_cast<std::size_t>(bytes));
          } else {
            const Message m = receive_from(k, bytes);
            copy_bytes(out + own_at, m.data.get(), m.bytes);
          }
          own_at += bytes;
        }
        break;
      }
      case Operator::rotate: {
        const std::int64_t bytes = bytes_of(o.dtype, o.elements);
        send_to((op.index + 1) % n, in, bytes);
        const Message m = receive_from((op.index + n - 1) % n, bytes);
        times.arrived_ns = now_ns();
        copy_bytes(out, m.data.get(), m.bytes);
        break;
      }
      case Operator::broadcast: {
        const std::int64_t bytes = bytes_of(o.dtype, o.elements);
        const auto root = static_cast<std::size_t>(o.root);
        if (op.index == root) {
          others([&](std::size_t k) { send_to(k, in, bytes); });
          copy_bytes(out, in, static_cast<std::size_t>(bytes));
        } else {
          const Message m = receive_from(root, bytes);
          copy_bytes(out, m.data.get(), m.bytes);
        }
        times.arrived_ns = now_ns();
        break;
      }
      case Operator::send:
        tag.stream = o.channel;
        send_to(1, in, bytes_of(o.dtype, o.elements));
        break;
      case Operator::recv: {
        tag.stream = o.channel;
        const Message m = receive_from(1, bytes_of(o.dtype, o.elements));
        times.arrived_ns = now_ns();
        copy_bytes(out, m.data.get(), m.bytes);
        break;
      }
      default:
        assert(false && "not communication");
    }
    times.end_ns = now_ns();
  }
};

namespace {

class MessagesCommunicator final : public Communicator {
 public:
  MessagesCommunicator(MessagesWorld::State& world, std::int64_t rank) : world_(world), rank_(rank) {}

  ~MessagesCommunicator() override {
    Rank& me = world_.rank(rank_);
    std::unique_lock lock(world_.mutex);
    const bool pending = !world_.failed && std::any_of(me.records.begin(), me.records.end(), [](const auto& r) { return !r.complete; });
    if (pending) {
      lock.unlock();
      world_.abort(fmt::format("rank {} left with operations pending", rank_));
      lock.lock();
    }
    me.left = true;
    for (auto& [id, stream] : me.streams) stream.work.notify_all();
    lock.unlock();
    for (auto& [id, stream] : me.streams)
      if (stream.worker.joinable()) stream.worker.join();
  }

  std::int64_t rank() const override { return rank_; }

  Ticket start(const CommOperation& operation) override {
    check_operation(operation, rank_, world_.ranks);
    check_reduction(operation, rank_);
    const std::lock_guard lock(world_.mutex);
    Rank& me = world_.rank(rank_);
    if (world_.failed) throw Error("communicator", world_.reason);
    while (me.records.size() > kTicketsKept && me.records.front().complete) {
      me.records.pop_front();
      ++me.base;
    }
    me.records.emplace_back();
    Op op;
    op.what = operation;
    op.members.assign(operation.members.begin(), operation.members.end());
    op.ticket = me.base + me.records.size() - 1;
    op.index = static_cast<std::size_t>(std::find(op.members.begin(), op.members.end(), rank_) - op.members.begin());
    if (program::is_point_to_point(operation.op)) {
      const std::int64_t side = op.members[1] * 2 + (operation.op == Operator::send ? 1 : 0);
      op.sequence = me.sequences[{0, side, operation.channel}]++;
    } else {
      op.group = name_of(op.members);
      op.sequence = me.sequences[{op.group, 0, operation.stream}]++;
    }
    const Ticket ticket{op.ticket};
    Stream& stream = me.streams[operation.stream];
    stream.queue.push_back(std::move(op));
    if (stream.worker.joinable())
      stream.work.notify_one();
    else
      stream.worker = std::thread([this, &stream] { world_.work(rank_, stream); });
    return ticket;
  }

  CommTimes wait(Ticket ticket) override {
    std::unique_lock lock(world_.mutex);
    Rank& me = world_.rank(rank_);
    if (ticket.v < me.base) return {};
    me.wake.wait(lock, [&] { return me.is_complete(ticket.v) || world_.failed; });
    if (!me.is_complete(ticket.v)) me.wake.wait(lock, [&] { return me.running == 0; });  // then nobody touches this rank's buffers any more
    if (!me.is_complete(ticket.v)) throw Error("communicator", world_.reason);
    return me.records[static_cast<std::size_t>(ticket.v - me.base)].times;
  }

  void abort(const std::string& why) override { world_.abort(why); }

 private:
  MessagesWorld::State& world_;
  std::int64_t rank_;
};

}  // namespace

MessagesWorld::MessagesWorld(KeyStore& store, std::int64_t ranks, milliseconds deadline) {
  if (ranks < store.processes())
    throw Error("processes", fmt::format("{} processes were started, and there are {} ranks", store.processes(), ranks),
                "start no more processes than ranks");
  state_ = std::make_unique<State>(store, ranks, deadline);
  state_->connect_all();
  store.watch([s = state_.get()](const std::string& why) { s->fail(why); });
}

MessagesWorld::~MessagesWorld() {
  state_->store.watch({});
  for (Peer& p : state_->peers)
    if (p.socket) shutdown(p.socket.fd(), SHUT_RDWR);
  for (Peer& p : state_->peers)
    if (p.reader.joinable()) p.reader.join();
}

std::unique_ptr<Communicator> MessagesWorld::communicator(std::int64_t rank) { return std::make_unique<MessagesCommunicator>(*state_, rank); }

void MessagesWorld::abort(const std::string& why) { state_->abort(why); }

}  // namespace orrery::executor
