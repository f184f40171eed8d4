// NCCL on the fake machine: collectives run there when all members have called them, and not at all when one has not.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "executor/comm/nccl.h"
#include "executor/comm/operations.h"
#include "support/fake_device.h"

namespace orrery::executor {

class FakeNccl {
 public:
  // With `host_addresses`, buffers are given by the host's names, else by those of FakeMachine.
  FakeNccl(FakeMachine& machine, bool host_addresses) : machine_(machine), host_addresses_(host_addresses) {}

  std::unique_ptr<NcclApi> api(std::int64_t rank) { return std::make_unique<Api>(*this, rank); }

  // What every communicator says of its health from now on.
  void set_trouble(const std::string& what) {
    const std::lock_guard lock(mutex_);
    trouble_ = what;
  }
  // Sizes of the communicators that a rank made, with the most blocks they may occupy, in order.
  std::vector<std::pair<std::int64_t, int>> made(std::int64_t rank) {
    const std::lock_guard lock(mutex_);
    return made_[rank];
  }
  std::int64_t aborted() const { return aborted_; }
  std::int64_t destroyed() const { return destroyed_; }

 private:
  enum class Kind { all_reduce, reduce_scatter, all_gather, broadcast, exchange };
  struct Call {
    Kind kind = Kind::all_reduce;
    const std::byte* in = nullptr;
    std::byte* out = nullptr;
    std::int64_t n = 0;  // elements, or bytes where there is no type
    DType type = DType::uint8;
    bool greatest = false;
    std::int64_t root = 0;
    std::vector<NcclApi::Transfer> transfers;
  };
  struct Operation {
    std::vector<Call> calls;
    std::vector<Mark> arrived;
    std::vector<std::shared_ptr<FakeMachine::Event>> done;
    std::size_t there = 0;
    std::mutex moving;
    bool stopped = false;
  };
  struct Group {
    std::size_t size = 0, there = 0, network = 0;
    int most_blocks = 0;
    std::map<std::uint64_t, std::shared_ptr<Operation>> operations;  // that not all have called
    std::vector<std::weak_ptr<Operation>> under_way;                 // that all have
  };
  struct Member {
    std::shared_ptr<Group> group;
    std::size_t index = 0;
    std::uint64_t calls = 0;
  };

  class Api final : public NcclApi {
   public:
    Api(FakeNccl& nccl, std::int64_t rank) : nccl_(nccl), rank_(rank) {}

    std::string make_id() override {
      const std::lock_guard lock(nccl_.mutex_);
      return "id " + std::to_string(nccl_.ids_++);
    }
    void* make(const std::string& id, std::int64_t members, std::int64_t index, int most_blocks, const Cancelled& cancelled) override {
      std::unique_lock lock(nccl_.mutex_);
      std::shared_ptr<Group>& group = nccl_.groups_[id];
      if (!group) {
        group = std::make_shared<Group>();
        group->size = static_cast<std::size_t>(members);
        group->most_blocks = most_blocks;
        group->network = nccl_.machine_.make_queue();
      }
      const std::shared_ptr<Group> mine = group;
      if (mine->size != static_cast<std::size_t>(members)) throw Error("nccl", "members do not agree how many they are");
      // NCCL connects each member's own number of channels to peers that expect another.
      if (mine->most_blocks != most_blocks) throw Error("nccl", "members do not agree how many blocks a collective may occupy");
      ++mine->there;
      nccl_.changed_.notify_all();
      while (mine->there < mine->size) {
        if (cancelled()) return nullptr;
        nccl_.changed_.wait_for(lock, std::chrono::milliseconds{1});
      }
      nccl_.made_[rank_].emplace_back(members, most_blocks);
      members_.push_back(std::make_unique<Member>(Member{mine, static_cast<std::size_t>(index), 0}));
      return members_.back().get();
    }
    std::string trouble(void*) override {
      const std::lock_guard lock(nccl_.mutex_);
      return nccl_.trouble_;
    }
    void abort(void* communicator) override {
      ++nccl_.aborted_;
      const std::lock_guard lock(nccl_.mutex_);
      const auto& m = *static_cast<Member*>(communicator);
      // As NCCL's: when it returns nothing touches the member's buffers any more.
      for (const std::weak_ptr<Operation>& each : m.group->under_way)
        if (const std::shared_ptr<Operation> o = each.lock()) {
          const std::lock_guard wait(o->moving);
          o->stopped = true;
        }
      for (auto& [number, o] : m.group->operations)
        if (o->there < m.group->size && o->done[m.index]) nccl_.machine_.push(nccl_.machine_.make_queue(), {{}, {}, o->done[m.index]});
    }
    void destroy(void*) override { ++nccl_.destroyed_; }

    void* make_queue() override {
      const std::lock_guard lock(nccl_.mutex_);
      queues_.push_back(std::make_unique<std::size_t>(nccl_.machine_.make_queue()));
      return queues_.back().get();
    }
    Mark mark(void* queue) override { return nccl_.machine_.mark(number(queue)); }
    void wait(void* queue, const Mark& mark) override { nccl_.machine_.push(number(queue), {{}, mark, {}}); }
    bool reached(const Mark& mark) override { return nccl_.machine_.is_reached(mark); }
    void block(const Mark& mark) override { nccl_.machine_.reached_ns(mark); }
    std::int64_t reached_ns(const Mark& mark) override { return nccl_.machine_.reached_ns(mark); }
    void* scratch(std::int64_t bytes) override {
      const std::lock_guard lock(nccl_.mutex_);
      memory_.push_back(std::make_unique<std::vector<std::byte>>(static_cast<std::size_t>(bytes)));
      std::byte* p = memory_.back()->data();
      return nccl_.host_addresses_ ? p : FakeMachine::to_device(p);
    }
    void copy(void* queue, void* to, const void* from, std::int64_t bytes) override {
      if (bytes == 0 || to == from) return;
      nccl_.machine_.push(number(queue), {[t = host(to), f = host(from), bytes] { std::memmove(t, f, static_cast<std::size_t>(bytes)); }, {}, {}});
    }
    void upload(void* queue, void* to, const void* from, std::int64_t bytes) override {
      const auto* p = static_cast<const std::byte*>(from);
      nccl_.machine_.push(number(queue),
                          {[t = host(to), data = std::vector<std::byte>(p, p + bytes)] { std::memcpy(t, data.data(), data.size()); }, {}, {}});
    }
    void download(void* queue, void* to, const void* from, std::int64_t bytes) override {
      nccl_.machine_.push(number(queue), {[to, f = host(from), bytes] { std::memcpy(to, f, static_cast<std::size_t>(bytes)); }, {}, {}});
      block(mark(queue));
    }

    void all_reduce(void* c, void* queue, const void* in, void* out, std::int64_t n, DType type, bool greatest, const Cancelled&) override {
      call(c, queue, {Kind::all_reduce, host(in), host(out), n, type, greatest, 0, {}});
    }
    void reduce_scatter(void* c, void* queue, const void* in, void* out, std::int64_t n, DType type, const Cancelled&) override {
      call(c, queue, {Kind::reduce_scatter, host(in), host(out), n, type, false, 0, {}});
    }
    void all_gather(void* c, void* queue, const void* in, void* out, std::int64_t bytes, const Cancelled&) override {
      call(c, queue, {Kind::all_gather, host(in), host(out), bytes, DType::uint8, false, 0, {}});
    }
    void broadcast(void* c, void* queue, const void* in, void* out, std::int64_t bytes, std::int64_t root, const Cancelled&) override {
      call(c, queue, {Kind::broadcast, host(in), host(out), bytes, DType::uint8, false, root, {}});
    }
    void exchange(void* c, void* queue, std::span<const Transfer> transfers, const Cancelled&) override {
      Call one;
      one.kind = Kind::exchange;
      one.transfers.assign(transfers.begin(), transfers.end());
      for (Transfer& t : one.transfers) t.data = host(t.data);
      call(c, queue, std::move(one));
    }

   private:
    static std::size_t number(void* queue) { return *static_cast<std::size_t*>(queue); }
    std::byte* host(void* p) const {
      auto* at = static_cast<std::byte*>(p);
      return nccl_.host_addresses_ ? at : FakeMachine::to_host(at);
    }
    const std::byte* host(const void* p) const { return host(const_cast<void*>(p)); }

    void call(void* communicator, void* queue, Call what) {
      const std::lock_guard lock(nccl_.mutex_);
      auto& m = *static_cast<Member*>(communicator);
      Group& g = *m.group;
      std::shared_ptr<Operation>& slot = g.operations[m.calls++];
      if (!slot) {
        slot = std::make_shared<Operation>();
        slot->calls.resize(g.size), slot->arrived.resize(g.size), slot->done.resize(g.size);
      }
      const std::shared_ptr<Operation> o = slot;
      o->calls[m.index] = std::move(what);
      o->done[m.index] = std::make_shared<FakeMachine::Event>();
      o->arrived[m.index] = nccl_.machine_.mark(number(queue));
      nccl_.machine_.push(number(queue), {{}, o->done[m.index], {}});
      if (++o->there < g.size) return;
      for (const Mark& a : o->arrived) nccl_.machine_.push(g.network, {{}, a, {}});
      std::erase_if(g.under_way, [](const std::weak_ptr<Operation>& each) { return each.expired(); });
      g.under_way.push_back(o);
      nccl_.machine_.push(g.network, {[o] {
                                        const std::lock_guard moving(o->moving);
                                        if (!o->stopped) move(o->calls);
                                      },
                                      {},
                                      {}});
      for (const auto& done : o->done) nccl_.machine_.push(g.network, {{}, {}, done});
      g.operations.erase(m.calls - 1);
    }

    FakeNccl& nccl_;
    std::int64_t rank_;
    std::vector<std::unique_ptr<Member>> members_;
    std::vector<std::unique_ptr<std::size_t>> queues_;
    std::vector<std::unique_ptr<std::vector<std::byte>>> memory_;
  };

  static void sum(const std::vector<Call>& calls) {
    const Call& first = calls.front();
    const bool scatters = first.kind == Kind::reduce_scatter;
    const auto size = static_cast<std::size_t>(bytes_of(first.type, first.n)), parts = scatters ? calls.size() : 1;
    std::vector<std::byte> all(size * parts);
    std::vector<const void*> in;
    for (const Call& c : calls) in.push_back(c.in);
    void* const out = all.data();
    reduce(first.type, first.greatest ? program::Operator::all_reduce_max : program::Operator::all_reduce, in,
           first.n * static_cast<std::int64_t>(parts), {&out, 1});
    for (std::size_t k = 0; k < calls.size(); ++k)
      if (size > 0) std::memcpy(calls[k].out, all.data() + (scatters ? k * size : 0), size);
  }
  static void move(const std::vector<Call>& calls) {
    const Call& first = calls.front();
    for (const Call& c : calls)
      if (c.kind != first.kind || (c.n != first.n && c.kind != Kind::exchange) || c.type != first.type)
        throw std::logic_error("the members of a communicator call different things");
    const auto bytes = static_cast<std::size_t>(first.n);
    if (first.kind == Kind::all_reduce || first.kind == Kind::reduce_scatter) return sum(calls);
    if (first.kind == Kind::all_gather) {
      std::vector<std::byte> all;
      for (const Call& c : calls) all.insert(all.end(), c.in, c.in + bytes);
      for (const Call& c : calls)
        if (!all.empty()) std::memcpy(c.out, all.data(), all.size());
      return;
    }
    if (first.kind == Kind::broadcast) {
      const std::vector<std::byte> all(calls[static_cast<std::size_t>(first.root)].in, calls[static_cast<std::size_t>(first.root)].in + bytes);
      for (const Call& c : calls)
        if (!all.empty()) std::memcpy(c.out, all.data(), all.size());
      return;
    }
    // The k-th that one sends to another meets the k-th that the other receives from it.
    std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::vector<std::byte>>> sent;
    for (std::size_t k = 0; k < calls.size(); ++k)
      for (const NcclApi::Transfer& t : calls[k].transfers)
        if (t.sends) {
          const auto* p = static_cast<const std::byte*>(t.data);
          sent[{static_cast<std::int64_t>(k), t.peer}].emplace_back(p, p + t.bytes);
        }
    for (std::size_t k = 0; k < calls.size(); ++k) {
      std::map<std::int64_t, std::size_t> received;
      for (const NcclApi::Transfer& t : calls[k].transfers) {
        if (t.sends) continue;
        const std::vector<std::byte>& m = sent.at({t.peer, static_cast<std::int64_t>(k)}).at(received[t.peer]++);
        if (m.size() != static_cast<std::size_t>(t.bytes)) throw std::logic_error("a message of another size than its receiver wants");
        if (!m.empty()) std::memcpy(t.data, m.data(), m.size());
      }
    }
  }

  FakeMachine& machine_;
  const bool host_addresses_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t ids_ = 0;
  std::map<std::string, std::shared_ptr<Group>> groups_;
  std::map<std::int64_t, std::vector<std::pair<std::int64_t, int>>> made_;
  std::string trouble_;
  std::atomic<std::int64_t> aborted_{0}, destroyed_{0};
};

// Ranks with a queue of their own on the fake machine each, and NCCL between them. `kernels` must live as long.
class FakeNcclWorld final : public World {
 public:
  FakeNcclWorld(const program::Program& program, const KernelSet& kernels, std::uint64_t seed)
      : program_(program), kernels_(kernels), machine_(seed), nccl_(machine_, false), world_(settings(program)) {}
  std::int64_t ranks() const override { return program_.ranks(); }
  std::vector<std::int64_t> here() const override {
    std::vector<std::int64_t> all(static_cast<std::size_t>(ranks()));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    return all;
  }
  bool has(const program::Shape& shape) const override { return kernels_.has(shape); }
  std::unique_ptr<Device> device(std::int64_t) override {
    const std::lock_guard lock(mutex_);
    return std::make_unique<FakeDevice>(machine_, kernels_);
  }
  std::unique_ptr<Communicator> communicator(std::int64_t rank, Device&) override {
    return world_.communicator(rank, nccl_.api(rank), nccl_needs(program_, rank));
  }
  void abort(const std::string& why) override { world_.abort(why); }
  FakeNccl& nccl() { return nccl_; }

 private:
  static NcclSettings settings(const program::Program& program) {
    NcclSettings s;
    s.ranks = program.ranks();
    s.most_blocks = nccl_blocks(nccl_share(program, 132));
    return s;
  }
  const program::Program& program_;
  const KernelSet& kernels_;
  std::mutex mutex_;
  FakeMachine machine_;
  FakeNccl nccl_;
  NcclWorld world_;
};

}  // namespace orrery::executor
