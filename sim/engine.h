// Runs a Machine in virtual time: conservative, in integers, with fluid rates where ranks share cores. Leaves start and finish of every instruction.
//
// A rank issues its list in order. As long as all that an instruction waits for is known, its times follow from values alone, so that without sharing
// the whole run is one longest-path pass without a clock. What is not known yet (a peer that has not come, work whose rate may change) makes the rank
// stand, and others run. Only when nobody can go on, does a rank look beyond the instruction at which it stands (a blocked stream does not block
// issuing on the others), or does the clock step to the next change of rates. At one picosecond: all completions, all starts, rates once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/cancel.h"
#include "sim/machine.h"
#include "sim/sharing.h"

namespace orrery::sim {

// One member's part in a meeting of several: when it was there, and who came last.
struct Encounter {
  std::uint32_t rank = 0, record = 0;
  std::uint32_t partner_rank = 0, partner_record = kNoRecord;  // point-to-point: the other end; collectives: the member that came last
  std::int64_t ready = 0, start = 0;                           // of this member, of the meeting
};

class Engine {
 public:
  // `max_periods` >= 1; `shuffle`: see Options. Keeps a reference to the machine.
  Engine(const Machine& machine, std::int64_t max_periods, std::uint64_t shuffle, Cancel cancel = {});

  // Repeats the body until two successive periods are alike. Throws Error when ranks wait for each other for ever, Cancelled when told to.
  void run();

  bool steady() const { return steady_; }
  std::int64_t periods() const { return periods_; }  // run to the end
  // End of period p over all ranks; p = -1: of the prologue.
  std::int64_t end(std::int64_t p) const { return ends_[static_cast<std::size_t>(p + 1)]; }
  // When each instruction of rank r's body ended in period p: of the last two periods.
  const std::int64_t* finishes(std::uint32_t r, std::int64_t p) const { return ranks_[r].finishes.get() + slot(p) * role(r).body; }
  // When each of those started whose rate may have changed while it ran (`shared_work`, `inline_shared`); null where there are none. Work of fixed
  // duration started that much before its end, meetings as their encounters say.
  const std::int64_t* starts(std::uint32_t r, std::int64_t p) const {
    return machine_.shared ? ranks_[r].starts.get() + slot(p) * role(r).body : nullptr;
  }
  // The host clock of rank r when it began to issue period p: of the last two periods.
  std::int64_t host_at_start(std::uint32_t r, std::int64_t p) const { return ranks_[r].host_at_start[slot(p)]; }
  // Meetings of period p; `record`s count from the beginning of Engine's storage: see period_of and position_of.
  const std::vector<Encounter>& encounters(std::int64_t p) const { return encounters_[slot(p)]; }
  // Index of a record in the body of the period of its slot, or kNoRecord for the prologue's and epilogue's.
  std::uint32_t position_of(std::uint32_t r, std::uint32_t record) const;
  // Which of the last periods a record belongs to.
  std::int64_t period_of(std::uint32_t r, std::uint32_t record) const;

 private:
  // An instruction that was issued although something it waits for was not known.
  struct Waiting {
    std::uint32_t record, step, sequence;
    std::uint16_t microbatch;
    std::uint32_t first, count;  // in Rank::awaited
    std::int64_t ready;          // the latest of what is known
  };
  struct Stream {
    std::int64_t done = 0;  // when the last instruction that is known has ended
    bool busy = false;      // its first unfinished instruction has started, or waits for peers
    std::vector<Waiting> queue;
    std::size_t head = 0;
    bool empty() const { return head == queue.size(); }
  };
  struct Rank {
    std::unique_ptr<std::int64_t[]> finishes;  // by record: `window_` bodies, prologue, epilogue
    std::unique_ptr<std::int64_t[]> starts;    // likewise
    std::vector<std::int64_t> times;
    std::vector<std::uint32_t> owner;  // of an unknown time: the record that will give it
    std::vector<Stream> streams;
    std::vector<std::uint32_t> awaited;       // records that Waiting instructions wait for
    std::vector<std::uint32_t> sequence;      // by link: meetings issued so far
    std::vector<std::uint32_t> unresolved;    // by slot: issued, not known
    std::vector<std::int64_t> ends;           // by period + 1
    std::vector<std::int64_t> host_at_start;  // by slot
    std::size_t waiting = 0;
    std::int64_t host = 0;
    std::uint32_t host_owner = kNoRecord;  // of an unknown host: the instruction that it runs
    std::int64_t period = -1;              // -1: prologue, max_periods: epilogue
    std::uint32_t pass = 0, step = 0, base = 0;
    bool between = false;  // has issued all of `period`
    bool finished = false, queued = false, running = false, dirty = false;
  };
  struct Member {
    std::uint32_t rank, record, step;
    std::uint16_t microbatch;
    std::int64_t ready;
  };
  struct Appointment {  // the k-th meeting of a group, or send and receive on a channel
    std::uint32_t sequence = 0, arrived = 0;
    std::int64_t duration = 0;
    std::vector<Member> members;
  };
  struct Calendar {  // ring of appointments by sequence number
    std::vector<Appointment> ring{4};
    std::uint32_t size = 2;
    std::uint32_t issued[2] = {0, 0};  // channels: sends, receives
    Appointment& at(std::uint32_t sequence);
  };
  struct Operation {  // work in the domain of one or several nodes
    std::int64_t start = 0, finish = 0, duration = 0;
    std::uint32_t parts = 0;
    std::vector<Member> members;
  };
  struct Activity {
    unsigned __int128 left = 0;  // picoseconds at full rate, in units of 2^-32
    std::int64_t since = 0;
    std::uint64_t rate = 0;
    Demand demand;
    std::uint32_t operation = 0, node = 0, place = 0, version = 0;
  };
  struct Node {
    std::vector<std::uint32_t> active;
    bool changed = false;
  };
  struct Change {  // of a rate: an operation's start or an activity's end
    std::int64_t time;
    std::uint32_t id, version;
    bool arrival;
  };

  std::size_t slot(std::int64_t period) const {
    if (period < 0) return window_;
    if (period >= max_periods_) return window_ + 1;
    return slots_[static_cast<std::size_t>(period)];
  }
  std::size_t slot_of(const LoweredRole& role, std::uint32_t record) const;
  const LoweredRole& role(std::uint32_t r) const { return machine_.roles[machine_.ranks[r].role]; }

  void enqueue(std::uint32_t r);
  void enqueue_all();
  void run_worklist();
  void run_rank(std::uint32_t r);
  void advance(std::uint32_t r);
  bool issue_list(std::uint32_t r, const std::vector<program::PassInstance>& list);
  void assign_slot(std::int64_t period);
  void begin(std::uint32_t r, std::int64_t period);
  void end_list(std::uint32_t r);
  void complete(std::uint32_t r, std::int64_t period);
  void drain(std::uint32_t r);
  void mark_unknown(Rank& rank, const Step& step, std::uint32_t record, std::uint16_t microbatch, std::size_t period_slot);
  void queue_up(std::uint32_t r, const Step& step, std::uint32_t step_index, std::uint32_t record, std::uint16_t microbatch, std::int64_t host);
  std::uint32_t next_sequence(std::uint32_t r, const Step& step);
  void start(std::uint32_t r, std::uint32_t step_index, std::uint32_t record, std::uint16_t microbatch, std::int64_t ready, std::uint32_t sequence);
  void meet(std::vector<Member>& members, std::int64_t duration, bool point_to_point);
  void resolve(const Member& m, std::int64_t start, std::int64_t finish);
  void schedule(std::int64_t start, std::int64_t duration, std::span<const Member> members);
  bool period_done() const { return remaining_[static_cast<std::size_t>(periods_ + 1)] == 0; }
  bool alike(std::int64_t period) const;
  bool look_further();
  bool step_clock();
  void arrive(std::uint32_t operation);
  void depart(std::uint32_t activity);
  void set_rates();
  void push(const Change& change);
  [[noreturn]] void explain_deadlock() const;
  std::uint64_t random();

  const Machine& machine_;
  std::int64_t max_periods_;
  std::size_t window_;
  std::uint64_t shuffle_;
  Cancel cancel_;
  std::vector<Rank> ranks_;
  std::vector<Calendar> channels_, meetings_;
  std::vector<std::uint32_t> worklist_;
  std::vector<std::vector<Encounter>> encounters_;  // by slot
  std::int64_t begun_ = -1;                         // the latest period that some rank has begun
  std::vector<std::size_t> slots_;                  // by period that has begun: which part of the records holds it
  std::vector<std::uint32_t> remaining_;            // by period + 1: ranks that are not done with it
  std::vector<std::int64_t> ends_;
  std::int64_t periods_ = 0, limit_ = 0;  // periods complete; the latest period that may be begun
  std::uint32_t lookahead_ = 0;           // instructions that a rank may issue beyond one that waits
  std::uint64_t progress_ = 0;            // instructions that became known while somebody waited
  bool steady_ = false;
  std::int64_t now_ = 0;
  std::vector<Change> heap_;
  std::vector<Operation> operations_;
  std::vector<Activity> activities_;
  std::vector<std::uint32_t> free_operations_, free_activities_;
  std::vector<Node> nodes_;
  std::vector<Demand*> demands_;
};

}  // namespace orrery::sim
