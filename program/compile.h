// Plan -> Program: the compiler's entry, and what makes a plan illegal.
#pragma once

#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "program/program.h"
#include "program/schedules/schedule.h"

namespace orrery::program {

// A constraint that a plan breaks: its name ("tp divides heads"), the plan field, the numbers, and what would be legal.
struct Refusal {
  std::string constraint, field, reason, hint;
  bool operator==(const Refusal&) const = default;
};

// Structural constraints only; whether it fits in memory is for the simulator to say. Empty: legal. What is not built yet is refused by name.
std::vector<Refusal> refusals(const Model& model, const Cluster& cluster, const Plan& plan);

// dp = devices / (tp · cp · pp); of a plan with segments, the first one's.
std::int64_t data_parallel(const Cluster& cluster, const Plan& plan);

// Some of a plan's layers and the ranks that hold them: what a segment says, in place of what the plan says for all.
struct PlanSegment {
  Plan plan;  // without segments; parallel, recompute and stages are the segment's, batch.micro the sequences that each of its ranks works on at once
  std::int64_t first_layer = 0, layers = 0, first_stage = 0, first_rank = 0, devices = 0, dp = 1;
};
// One for all, where the plan has no segments. All segments work on the same micro-batches: of batch.micro · dp sequences, with the first one's dp.
std::vector<PlanSegment> plan_segments(const Model& model, const Cluster& cluster, const Plan& plan);
// Says cp_inner where a plan leaves it open. Requires legal parallel axes.
void resolve_contexts(const Model& model, const Cluster& cluster, std::vector<PlanSegment>& segments);

// Ranks of the pipeline: pp, added up over segments.
std::int64_t pipeline_ranks(const Plan& plan);

// Decoder layers per stage: plan.stages, or a balanced split that minimises the largest stage's forward FLOPs, embedding and head included;
// then the second largest and so on; among equal splits, earlier stages get more layers. Requires a plan without refusals.
std::vector<std::int64_t> stage_layers(const Model& model, const Plan& plan);

// The schedule that a plan names, with its arguments. Throws Error, where: the plan's field, for what the schedule does not take.
Schedule plan_schedule(const Plan& plan, std::int64_t microbatches);

// Throws Error for the first refusal.
Program compile(const Model& model, const Cluster& cluster, const Plan& plan);

}  // namespace orrery::program
