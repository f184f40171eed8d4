// What happened, or is predicted to happen, instruction by instruction: the one type that the simulator and the executor both leave behind.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"

namespace orrery {

// What a span's time is for. The waterfall and every table group by it.
enum class WorkClass : std::uint8_t {
  gemm,
  attention,
  norm,
  elementwise,
  embedding,
  loss,
  optimizer,  // compute
  tp_comm,
  cp_comm,
  ep_comm,
  pp_comm,
  dp_comm,  // communication, by the axis that causes it
  control,  // waits and other instructions without work
};
inline constexpr std::size_t kWorkClasses = 13;
std::string_view name(WorkClass c);
constexpr bool is_communication(WorkClass c) { return c >= WorkClass::tp_comm && c <= WorkClass::dp_comm; }

// What every span of the same operator and shape has in common.
struct SpanKind {
  std::string name;  // "linear_forward", "all_reduce"
  WorkClass work = WorkClass::control;
  Picoseconds ideal;       // its FLOPs at the device's peak; 0 for what is not matrix work
  double flops = 0;        // executed by one rank, causal attention counted as half
  std::int64_t bytes = 0;  // communication: payload; compute: memory traffic
  std::string source;      // which cost source priced it; empty for a measured run
  Joules energy{};         // above idle, per execution and rank; 0: unknown
  bool operator==(const SpanKind&) const = default;
};

// Why a span did not start when its stream was free.
enum class WaitCause : std::uint8_t {
  none,
  host,     // not yet issued, or issued late
  compute,  // waited for another stream's compute
  tp,
  cp,
  ep,
  pp,
  dp,  // waited for communication of that axis
};

// Why something waits that waits for work of this class. Whoever has nothing to wait for but an instruction without work (`control`) waits for when
// the host issued it: there is neither a kernel nor a message that could be late.
WaitCause wait_cause(WorkClass awaited);

// One instruction executed by one rank. Times count from the start of the step that the timeline holds.
struct Span {
  Picoseconds start, end;
  Picoseconds waited;    // from when its stream was free to `start`
  Picoseconds transfer;  // the part of `waited` during which the awaited communication really moved data; the rest waited for a peer
  std::uint32_t rank = 0;
  std::uint32_t kind = 0;         // index into Timeline::kinds
  std::uint32_t pass = 0;         // index of the pass instance in the role's body
  std::uint16_t instruction = 0;  // index in the pass's template
  std::uint16_t stream = 0;       // index into Timeline::streams
  std::uint16_t layer = 0xffff;   // global layer; 0xffff: none
  std::uint16_t microbatch = 0xffff;
  WaitCause cause = WaitCause::none;
  bool recompute = false;
  bool operator==(const Span&) const = default;
};

// An arrow from the span that sent to the span that received: indices into Timeline::spans.
struct Flow {
  std::uint32_t from = 0, to = 0;
  bool operator==(const Flow&) const = default;
};

struct MemorySample {
  Picoseconds time;
  std::uint32_t rank = 0;
  std::int64_t bytes = 0;  // live on the device from `time` on
  bool operator==(const MemorySample&) const = default;
};

struct Timeline {
  std::string origin;                // "simulated" or "measured"
  Picoseconds step;                  // the period
  std::vector<std::string> streams;  // "compute", "tp", "dp", "send-forward", …
  std::vector<std::string> ranks;    // name by rank, e.g. "pp0 tp0 dp0"; empty for ranks that were not recorded
  // How many ranks each rank stands for: those that did exactly the same and were not recorded, and itself; 0: not recorded. Empty: one each.
  std::vector<std::int64_t> weights{};
  std::int64_t all_ranks = 0;  // of the plan, whether or not anything stands for them; 0: those recorded
  std::vector<SpanKind> kinds;
  std::vector<Span> spans;  // by rank, then stream, then start
  std::vector<Flow> flows;
  std::vector<MemorySample> memory;
  // The spans of the critical path as far as their ranks were recorded, in time order; none of a measured run.
  std::vector<std::uint32_t> critical{};
  bool operator==(const Timeline&) const = default;
};

// Where a step's time goes, averaged over ranks. The parts add up to `step` exactly: an identity, not a fit.
struct Waterfall {
  Picoseconds step;
  Picoseconds ideal;              // matrix FLOPs (forward and backward, without recomputation) at the device's peak
  Picoseconds kernel_efficiency;  // what matrix kernels take beyond that
  Picoseconds other_kernels;      // norms, element-wise, embedding, loss
  Picoseconds recompute;          // everything run again
  Picoseconds exposed_tp, exposed_cp, exposed_ep, exposed_pp, exposed_dp;
  Picoseconds imbalance;  // waiting because this rank has less work than the busiest
  Picoseconds bubble;     // the rest of waiting for a pipeline peer
  Picoseconds host;       // waiting for the host, and idle time that nothing else explains
  Picoseconds optimizer;
  bool operator==(const Waterfall&) const = default;

  static constexpr std::size_t kParts = 13;
  std::array<Picoseconds, kParts> parts() const;
  static std::array<std::string_view, kParts> names();
};

// Adds up one rank's compute stream, span by span in time order, and then all ranks to a Waterfall.
// Used by the simulator's summary while it runs and by the executor on what it measured.
class WaterfallBuilder {
 public:
  explicit WaterfallBuilder(std::size_t ranks) : ranks_(ranks) {}

  // A span of the rank's compute stream. `ideal` as in SpanKind; negative efficiency (a kernel above peak) counts as it is.
  void add(std::uint32_t rank, WorkClass work, bool recompute, Picoseconds ideal, Picoseconds busy, WaitCause cause, Picoseconds waited,
           Picoseconds transfer);
  // `weights[r]`: how many identical ranks rank r stands for. Idle time that no span explains (before the first and after the last) goes to the
  // bubble with more than one pipeline stage, otherwise to `host`.
  Waterfall finish(Picoseconds step, const std::vector<std::int64_t>& weights, bool pipelined) const;
  // Busy time of the rank's compute stream so far.
  Picoseconds busy(std::uint32_t rank) const { return Picoseconds{ranks_[rank].busy}; }

 private:
  struct Rank {
    std::int64_t busy = 0, ideal = 0, matrix = 0, other = 0, recompute = 0, optimizer = 0, host = 0, pipeline = 0;
    std::array<std::int64_t, 5> exposed{};  // tp, cp, ep, pp, dp
  };
  std::vector<Rank> ranks_;
};

}  // namespace orrery
