// One rank per GPU: the host's part of collectives that a library of the GPU's does (NCCL), and the seam to that library.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "executor/communicator.h"
#include "executor/device.h"
#include "program/program.h"

namespace orrery::executor {

// What the host needs of the library and of the rank's GPU. Calls for one queue or one handle come one at a time, different ones from different
// threads. Everything enqueues and returns, but for what says otherwise; where a call must wait for the library it looks at `cancelled` now and then,
// and returns when it is true. Errors of the library and of the GPU are Errors.
class NcclApi {
 public:
  virtual ~NcclApi() = default;
  using Cancelled = std::function<bool()>;

  // The name that the members of a new communicator must have in common; 128 bytes.
  virtual std::string make_id() = 0;
  // Blocks until all members have called it; null: cancelled. `most_blocks`: that a collective may occupy, of all members the same; 0: as many as it
  // likes.
  virtual void* make(const std::string& id, std::int64_t members, std::int64_t index, int most_blocks, const Cancelled& cancelled) = 0;
  // What went wrong in the background; empty: nothing.
  virtual std::string trouble(void* communicator) = 0;
  // Ends what is running, without the other members, and frees it.
  virtual void abort(void* communicator) = 0;
  // Frees it, when all that was enqueued is over; blocks until the members of this machine have called it.
  virtual void destroy(void* communicator) = 0;

  // Queues on the rank's GPU, beside its compute queue; they live as long as this.
  virtual void* make_queue() = 0;
  virtual Mark mark(void* queue) = 0;
  virtual void wait(void* queue, const Mark& mark) = 0;
  virtual bool reached(const Mark& mark) = 0;
  // Blocks, without spinning, until it is reached.
  virtual void block(const Mark& mark) = 0;
  // When it was, on the steady clock.
  virtual std::int64_t reached_ns(const Mark& mark) = 0;
  // Memory of the GPU, zeroed, for as long as this lives.
  virtual void* scratch(std::int64_t bytes) = 0;
  virtual void copy(void* queue, void* to, const void* from, std::int64_t bytes) = 0;
  // A few bytes; `from`, on the host, may be changed when it returns.
  virtual void upload(void* queue, void* to, const void* from, std::int64_t bytes) = 0;
  // Blocks until `to`, on the host, holds what `from` holds after all that is enqueued.
  virtual void download(void* queue, void* to, const void* from, std::int64_t bytes) = 0;

  // In the arithmetic of the type; `in` may be `out`.
  virtual void all_reduce(void* communicator, void* queue, const void* in, void* out, std::int64_t n, DType type, bool greatest,
                          const Cancelled& cancelled) = 0;
  // Of n elements for each member.
  virtual void reduce_scatter(void* communicator, void* queue, const void* in, void* out, std::int64_t n, DType type, const Cancelled& cancelled) = 0;
  virtual void all_gather(void* communicator, void* queue, const void* in, void* out, std::int64_t bytes, const Cancelled& cancelled) = 0;
  virtual void broadcast(void* communicator, void* queue, const void* in, void* out, std::int64_t bytes, std::int64_t root,
                         const Cancelled& cancelled) = 0;
  struct Transfer {
    bool sends = false;
    std::int64_t peer = 0;  // index among the members
    void* data = nullptr;
    std::int64_t bytes = 0;
  };
  // All at once.
  virtual void exchange(void* communicator, void* queue, std::span<const Transfer> transfers, const Cancelled& cancelled) = 0;
};

// Whom one communicator of the library connects: the members of a group on one stream, or the two ends of a channel, the sender first.
struct NcclGroup {
  std::vector<std::int64_t> members;
  bool pair = false;
  std::uint8_t stream = 0;  // or channel
  auto operator<=>(const NcclGroup&) const = default;
};
// "0,1,2 on stream 3", "0>1 on channel 2".
std::string name(const NcclGroup& group);
NcclGroup group_of(const CommOperation& operation, std::int64_t rank);

// What a rank will use of a program.
struct NcclNeeds {
  std::vector<NcclGroup> groups;     // ascending: in one order on all ranks
  std::vector<NcclGroup> exchanges;  // those of them whose members send to each other
};
NcclNeeds nccl_needs(const program::Program& program, std::int64_t rank);
// Multiprocessors for each stream of communication, so that kernels of all streams fit a GPU at once. The same for all ranks, as members of a
// communicator must agree on what they take: for the role with the most streams, where the rank that has the fewest has `multiprocessors`.
int nccl_share(const program::Program& program, int multiprocessors);
// The most blocks that a collective may occupy with such a share; 0: as many as NCCL likes, which are not more.
int nccl_blocks(int share);

// How members tell each other a name. `get` blocks until it is set, and throws Error where it never will be.
struct Rendezvous {
  std::function<void(const std::string& key, const std::string& value)> set;
  std::function<std::string(const std::string& key)> get;
};

struct NcclSettings {
  std::int64_t ranks = 1;
  int most_blocks = 0;                           // that a collective may occupy, the same in all processes; 0: as many as the library likes
  Rendezvous rendezvous;                         // of all processes; empty: all ranks live in this one
  std::chrono::milliseconds deadline{600'000};   // for an operation that its members' streams have come to; 0: none
  std::chrono::milliseconds look{100};           // how often is looked whether something has failed
  std::function<void(const std::string&)> tell;  // other processes why this one failed; may be empty
};

// The ranks of this process. See docs/decisions/013-nccl.md for why it does not deadlock.
class NcclWorld {
 public:
  explicit NcclWorld(NcclSettings settings);
  ~NcclWorld();
  NcclWorld(const NcclWorld&) = delete;
  NcclWorld& operator=(const NcclWorld&) = delete;

  // Rank `rank`'s end; destroyed before the world. Makes the library's communicators for `needs` at once, which waits for all their members; others
  // are made when they are first used, which the members must do in an order that does not deadlock. Destroying it with operations pending aborts the
  // others.
  std::unique_ptr<Communicator> communicator(std::int64_t rank, std::unique_ptr<NcclApi> api, const NcclNeeds& needs = {});
  // Makes everything fail, in all processes.
  void abort(const std::string& why);
  // The same, but tells nobody.
  void fail(const std::string& why);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace orrery::executor
