// Data parallelism: gradients added up over the ranks that hold the same tensors (those that share a context too), bucket by bucket, and under ZeRO
// scattered; the optimizer's pass.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "core/plan.h"
#include "program/builder.h"
#include "program/layout.h"

namespace orrery::program {

// Cuts the data-parallel axis into its two factors: shards and their replicas, or ranks of one node of `node` devices and nodes.
void factor_data_parallel_axis(Mesh& mesh, const Plan& plan, std::int64_t node);

// Which of its chunk's passes in a step a pass is, where its template depends on that.
struct Turn {
  bool gathers = false;   // the first forward: parameters may still be on their way, or are gathered for the whole step
  bool opens = false;     // the first backward: gradients that add up over the step begin here
  bool releases = false;  // the last to read parameters
  bool reduces = false;   // the last to write gradients
  auto operator<=>(const Turn&) const = default;
};
// Of a chunk: which of these its passes must tell apart.
Turn turns(Builder& b, const Layout& layout, const Plan& plan, std::uint16_t chunk);

// Whether backward passes scatter gradients, and whether passes gather parameters.
bool shards_gradients(const Layout& layout);
bool shards_parameters(const Layout& layout);

// Follows one backward pass of a chunk and reduces the buckets that it completes.
//
// Whole gradients (ZeRO 0 and 1) add up over the micro-batches in one flat buffer. The chunk's last pass reduces each bucket as soon as its last
// gradient is issued, or all at its end: an all-reduce (in two levels: reduce-scatter in the node, all-reduce across, all-gather in the node;
// through parameter servers), or for ZeRO-1 a reduce-scatter into the own part. Horovod's cycle and an order of priority hold complete buckets back.
//
// Sharded gradients (ZeRO 2 and 3): what a rank keeps is its part of each bucket. Every backward pass makes a whole bucket in a buffer of its own,
// scatters it, adds what it gets to its part and frees the buffer, while the next bucket is made; so m micro-batches scatter m times. Without
// reduce_every_microbatch the whole buckets live from a step's first backward pass to its last, and are scattered once.
//
// What is linear in the gradients waits for the end of a step: sums over the tensor-parallel group, over replicas of the shards (MiCS's second hop,
// FSDP's hybrid sharding), and over the two copies of a tied table or of a mirrored stage.
class GradientReducer {
 public:
  GradientReducer(Builder& b, const Layout& layout, const Plan& plan, std::uint16_t chunk, PassKind pass, const Turn& turn);

  // Called once the pass's template has begun; until then nothing is emitted (a rehearsal).
  void begin();
  // Where the pass adds a tensor's gradient.
  std::uint32_t gradient(std::int32_t tensor);
  // This pass's part of the tensor's gradient has been issued.
  void written(std::int32_t tensor);
  // What has not been reduced yet.
  void finish();

 private:
  const Layout::BucketViews& views(std::size_t bucket) const { return layout_.buckets[bucket]; }
  bool mine(std::size_t bucket) const { return views(bucket).chunk == chunk_; }
  std::uint32_t whole(std::size_t bucket);
  void clear(std::size_t bucket);
  void ready(std::size_t bucket);
  void issue(std::size_t bucket);
  void reduce(std::size_t bucket);
  void scatter(std::size_t bucket);
  void collect(std::size_t keep);
  void sum_shards(std::size_t bucket);

  Builder& b_;
  const Layout& layout_;
  const Plan& plan_;
  std::uint16_t chunk_;
  Turn turn_;
  bool begun_ = false, splits_;
  std::vector<std::int64_t> missing_;  // by bucket: gradients that this pass has not written yet
  std::vector<bool> done_, live_;      // by bucket: nothing is left to be done; a whole bucket is being made
  std::vector<bool> written_here_;     // by bucket: this pass writes to it
  std::deque<std::size_t> scattered_;  // buckets whose parts have not been added yet
  std::vector<std::size_t> held_;      // complete, and held back
  std::vector<double> ready_at_;       // by tensor, in seconds; priority only
  double now_ = 0, free_at_ = 0;
};

// Squared norm, update, gather and clearing; returns the template's index.
std::uint16_t optimizer_pass(Builder& b, const Layout& layout, const Plan& plan, bool asynchronous = false);

// Post-validation (Qi et al., "Zero Bubble Pipeline Parallelism", arXiv 2401.10241, 4) of a stage of a plain pipeline: templates in place of the one
// above. `update` ends a step: it adds this stage's part to the squared norm of the stages before, passes the sum on, and updates at once as if that
// were all of it. `validation` belongs to the next step's warm-up, before its first backward pass: the norm of all comes back from the last stage to
// the first. Until then what the update changes is kept as it was, so that `redo` can take it back exactly; gradients are zero after `clear`.
struct PostValidation {
  std::uint16_t update = kNone, validation = kNone, clear = kNone, redo = kNone;
  std::uint32_t norm = 0;  // that validation learns
};
PostValidation post_validation_passes(Builder& b, const Layout& layout, const Plan& plan, bool first, bool last);

// Announces to a forward pass that its parameters may still be on their way.
void expect_gathered(Builder& b, const Layout& layout);

}  // namespace orrery::program
