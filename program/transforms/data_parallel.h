// Data parallelism (over the ranks of a context too) and ZeRO-1: gradients reduced bucket by bucket, the optimizer's pass, parameters gathered again.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan.h"
#include "program/builder.h"
#include "program/layout.h"

namespace orrery::program {

// Whether a step has anything of this chunk to reduce, or anything to gather.
bool reduces_gradients(const Layout& layout, std::uint16_t chunk, std::int64_t dp, std::int64_t tp);
bool gathers_parameters(const Plan& plan, std::int64_t dp);

// Follows the pass that completes a chunk's gradients (its last backward, or its last weight_grad) and reduces each of its buckets as soon as the
// bucket's last gradient is issued, or all at the end.
class GradientReducer {
 public:
  GradientReducer(Builder& b, const Layout& layout, const Plan& plan, std::uint16_t chunk, PassKind pass);
  void written(std::int32_t tensor);
  // What has not been reduced yet; then the sums over the two copies of a tied table or of a mirrored stage.
  void finish();

 private:
  void reduce(std::size_t bucket);
  Builder& b_;
  const Layout& layout_;
  const Plan& plan_;
  std::uint16_t chunk_;
  bool whole_;                         // the pass writes all gradients; otherwise an input_grad wrote some before
  std::vector<std::int64_t> missing_;  // by bucket: gradients not yet written
  std::vector<bool> reduced_;
};

// Squared norm, update, gather and clearing; returns the template's index.
std::uint16_t optimizer_pass(Builder& b, const Layout& layout, const Plan& plan);

// Announces to a forward pass that its parameters may still be on their way.
void expect_gathered(Builder& b, const Layout& layout);

}  // namespace orrery::program
