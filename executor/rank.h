// One rank's thread: interprets its role's instruction list on real buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/timeline.h"
#include "executor/communicator.h"
#include "executor/data/tokens.h"
#include "executor/device.h"
#include "executor/kernels/kernels.h"
#include "executor/run.h"
#include "program/arena.h"
#include "program/positions.h"
#include "program/program.h"

namespace orrery::executor {

// What one rank did in one step. Times are since the run began.
struct StepRecord {
  std::int64_t step = 0;
  std::int64_t begin_ns = 0, end_ns = 0;
  bool timed = true;        // else it has no spans and no samples
  std::vector<Span> spans;  // kind: 2 · shape, + 1 for the optimizer's share of it
  std::vector<MemorySample> memory;
};

inline constexpr bool is_load(const program::Instruction& i) {
  return i.op == program::Operator::load_tokens || i.op == program::Operator::load_targets;
}
inline Picoseconds from_ns(std::int64_t ns) { return Picoseconds{ns * 1000}; }
inline constexpr bool is_wait(const program::Instruction& i) { return i.opcode == program::Opcode::wait || i.opcode == program::Opcode::host_wait; }

// Whether a device's work is timed in this step, one instruction after another, which costs a little: rarely, and in the last step. On the host it
// always is.
inline bool is_timed(std::int64_t step, const RunOptions& options) {
  return step + 1 == options.steps || (step < 20 ? step % 5 == 4 : step % 50 == 49);
}

// Interprets instructions in issue order. On the host compute runs at once, on the calling thread, after blocking on the communication that it
// depends on; on a device it is enqueued behind the marks of that communication. Communication is started with what it depends on, as tickets and as
// a mark of the compute queue. Buffers live at the offsets of an arena, from `first` mark to `last` mark.
class RankRunner {
 public:
  struct Setting {
    const program::Program& program;
    const Model& model;
    const Plan& plan;
    const TokenSource& source;
    const RunOptions& options;
    std::int64_t origin_ns = 0;      // steady clock at the beginning of the run
    std::int64_t arena_bytes = 0;    // of this role
    std::size_t records_kept = 2;    // latest timed steps; of others only the times are kept
    std::vector<WorkClass> classes;  // by kind, as in StepRecord
  };

  // Allocates the arena and draws the initial parameters. The communicator must live until finish(), or until a step has thrown.
  RankRunner(const Setting& setting, std::int64_t rank, std::unique_ptr<Device> device, Communicator& communicator);

  // Runs the body once. Communication that the next step waits for may still be going on.
  void step(std::int64_t number, bool last = false);
  // Everything that was started is complete.
  void finish();
  // The local sum of losses since the last call; 0 where this role computes none.
  double take_loss();
  // Of all ranks' gradients, as the last step's optimizer saw it.
  double squared_gradient_norm() const;

  // Updates that were taken back and made again.
  std::int64_t redone() const { return redone_; }
  // Steps that the device ran as one recorded piece of work.
  std::int64_t replayed() const { return replayed_; }

  const RankMemory& memory() const { return measured_; }
  const std::deque<StepRecord>& records() const { return records_; }
  const program::Role& role() const { return role_; }
  const program::Mesh& mesh() const { return mesh_; }
  // What its routers chose, where they are free: copies by expert, of its own tokens.
  struct Dispatch {
    std::int64_t step = 0;
    std::uint16_t microbatch = 0, layer = 0;
    auto operator<=>(const Dispatch&) const = default;
  };
  const std::map<Dispatch, std::vector<double>>& routed() const { return routed_; }
  const program::Coordinates& coordinates() const { return coordinates_; }
  // Bytes of a persistent buffer, as fetch and store of checkpoints: to the host after all that is enqueued, and from it.
  void fetch(void* to, std::int32_t buffer, std::int64_t from, std::int64_t bytes);
  void store(std::int32_t buffer, std::int64_t to, const void* from, std::int64_t bytes);
  // Of the parameters that this rank holds, or, where there is a master copy, of those that it updates, the values in fp32 (the master's); and of
  // each parameter: visit(parameter, first element of its local ones, how many, where among the values).
  using Visit = std::function<void(const program::Parameter&, std::int64_t, std::int64_t, std::int64_t)>;
  std::vector<float> parameters() const;
  void for_each_parameter(const Visit& visit);

 private:
  // What was issued and others may depend on: communication, and the axis it is of, or work in the device's compute queue.
  struct Started {
    Ticket ticket;
    WorkClass work = WorkClass::control;
    Mark mark{};              // of the compute queue, …
    std::uint64_t order = 0;  // … which reaches it after those of lower order
  };
  // A span of the compute queue whose times are known when its marks are reached.
  struct Enqueued {
    std::uint32_t span = 0;
    Mark begin, end;
    std::vector<Started> needs;
  };
  // What is not known of a step until the device has done it.
  struct Pending {
    std::vector<std::pair<std::uint32_t, Ticket>> communication;  // by span
    std::vector<Enqueued> compute;
    std::vector<std::pair<std::size_t, Mark>> memory;  // by sample
  };

  void* at(std::uint32_t buffer, std::uint16_t microbatch) const;
  void allocate(std::uint32_t buffer, std::uint16_t microbatch);
  void release(std::uint32_t buffer, std::uint16_t microbatch);
  std::size_t slot(std::uint32_t owner, std::uint16_t microbatch) const;
  void* operand(const program::Instruction& in, std::uint32_t place, std::uint16_t microbatch) const;
  void run_pass(const program::PassInstance& instance, std::uint32_t index);
  bool validates() const;
  void redo(std::int64_t update);
  void gather_needs(const program::Instruction& in, std::uint16_t microbatch);
  void block(Span& span);
  Started enqueue(const program::Instruction& in, std::uint16_t microbatch, std::uint32_t span, bool marked);
  void sample_memory(StepRecord& record);
  void compute(const program::Instruction& in, std::uint16_t microbatch);
  Started communicate(const program::Instruction& in, std::uint16_t microbatch);
  program::Runs own_positions(std::uint16_t microbatch) const;
  std::int64_t split_begin(std::uint16_t microbatch) const;
  program::Runs query_positions(std::uint16_t microbatch) const;
  program::Runs key_positions(const program::Instruction& in, std::uint16_t microbatch) const;
  void find_tokens(const program::Instruction& in, std::uint16_t microbatch);
  bool is_static() const;
  bool knows_rows() const;
  void run_passes(bool last);
  void settle();
  void record_step(bool last);
  void replay();
  void record_routing(const program::Instruction& in, std::uint16_t microbatch);
  void check_room(const void* counts, std::int64_t n, std::int64_t room);
  std::span<const std::int64_t> group(std::uint16_t index);
  void find_marked();
  void draw_parameters();
  // The same of what it holds, in the order of the parameter buffer, or (`owned`) of what it updates, in that of the optimizer's states.
  void for_each_part(bool owned, const Visit& visit);
  void take_times(StepRecord& record, Pending& pending);
  double scalar(std::uint32_t buffer) const;
  std::int64_t now() const;

  const Setting& setting_;
  const program::Program& program_;
  std::int64_t rank_;
  const program::Mesh& mesh_;  // of this rank's segment
  program::Coordinates coordinates_;
  std::int64_t replica_;           // place among the data-parallel ranks
  program::ContextShare context_;  // of a split
  const program::Role& role_;
  std::unique_ptr<Device> device_;
  const bool immediate_;
  Communicator& communicator_;
  KernelSettings kernel_settings_;

  std::byte* memory_ = nullptr;  // the device's
  program::Arena arena_;
  std::vector<std::uint32_t> owner_;           // by buffer: whose bytes it shows
  std::vector<std::int64_t> offset_;           // by buffer: how far into them
  std::vector<std::size_t> first_slot_;        // by buffer: its first instance in blocks_
  std::vector<program::Arena::Block> blocks_;  // offset -1: not allocated
  std::int64_t live_ = 0;
  RankMemory measured_;
  std::int32_t norm_buffer_ = -1;
  std::int64_t redone_ = 0;

  std::vector<std::size_t> first_event_;  // by event: its first slot in events_
  std::vector<Started> events_;
  std::vector<Started> last_on_stream_;
  std::vector<std::vector<Started>> stream_needs_;  // by stream: what a `wait` on it asked its next operation to wait for
  std::vector<Started> results_;                    // by instruction of the running pass
  std::vector<Started> needs_;                      // of the running instruction
  std::vector<std::vector<std::int64_t>> groups_;   // members, once asked for
  std::vector<bool> marked_;                        // by instruction of the compute stream: communication may depend on it
  std::uint64_t order_ = 0;
  std::vector<void*> operands_;
  std::vector<std::int32_t> window_, tokens_, counts_;
  std::vector<std::vector<std::int32_t>> expert_places_;  // by layer and expert; empty: in order
  std::map<Dispatch, std::vector<double>> routed_;

  std::int64_t step_ = 0, pass_step_ = 0, compute_free_ns_ = 0;  // pass_step_: of the micro-batch of the pass that runs
  bool static_ = false;                                          // every step is like any other, and the device records it
  std::byte* step_at_ = nullptr;                                 // of a static program: the device's copy of the optimizer's step number, from 1
  std::unique_ptr<Recording> recording_;
  std::int64_t replayed_ = 0;
  std::deque<StepRecord> records_;
  std::size_t timed_records_ = 0;
  bool timed_ = true;                 // this step
  Pending pending_, pending_before_;  // of this step and of the one before
};

}  // namespace orrery::executor
