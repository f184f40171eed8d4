// From what the user names to what the library works on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "core/profile.h"

namespace orrery::app {

// What a command line can say about a plan. Whatever is absent comes from the plan file, or from the defaults of core/plan.h.
struct PlanFlags {
  std::string plan;            // a plan file; empty: none
  std::string model, cluster;  // names or paths; empty: the plan's
  std::optional<std::int64_t> tp, pp, global_batch, micro_batch, sequence, zero;
  std::optional<bool> sp;
  std::optional<std::string> schedule, recompute;
  std::optional<std::string> stages;     // layers per stage, "7,8x14,7"
  std::optional<std::string> precision;  // fp32 | bf16: compute and parameters
  std::vector<std::string> settings;     // PATH=VALUE; PATH begins with model., cluster. or (the rest) names a field of the plan
  std::string profile;                   // a profile file; empty: none
};

struct Inputs {
  Model model;
  Cluster cluster;
  Plan plan;
  std::optional<Profile> profile;
};

// Errors: a missing model or cluster, unreadable documents, settings that name no field. Does not check that the plan is legal.
// On CPU clusters the precision defaults to fp32, the only one with kernels, unless a plan or a flag says otherwise.
Inputs load_inputs(const PlanFlags& flags);

// "7,8x14,7" -> {7, 8, …, 8, 7}.
std::vector<std::int64_t> parse_stages(const std::string& text);

// A stable 64-bit hash of the documents' JSON (model, cluster, plan and profile), for provenance.
std::string inputs_hash(const Inputs& inputs);

}  // namespace orrery::app
