// From what the user names to what the library works on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/cluster.h"
#include "core/error.h"
#include "core/model.h"
#include "core/plan.h"
#include "core/profile.h"
#include "program/program.h"

namespace orrery::app {

// What a command line can say about a plan. Whatever is absent comes from the plan file, or from the defaults of core/plan.h. A flag is short for a
// setting: tp = 8 and the setting parallel.tp=8 mean the same. Where both name a field, the setting holds; of several settings, the last.
struct PlanFlags {
  std::string plan;            // a plan file; empty: none
  std::string model, cluster;  // names or paths; empty: the plan's
  std::optional<std::int64_t> tp, cp, ep, pp, vp, global_batch, micro_batch, sequence, zero;
  std::optional<bool> sp;
  std::optional<std::string> schedule;  // a name, or a file order.csv: schedule=csv and schedule_args.csv=order.csv
  std::optional<std::string> recompute;
  std::optional<std::string> stages;     // layers per stage, "7,8x14,7"
  std::optional<std::string> precision;  // fp32 | bf16: compute and parameters; fp8-RECIPE: linears in fp8, all else in bf16
  std::vector<std::string> settings;     // PATH=VALUE; PATH begins with model., cluster. or (the rest) names a field of the plan
  std::string profile;                   // a profile file; empty: none
  bool operator==(const PlanFlags&) const = default;
};

// A flag about the plan, as one of the settings that it is short for.
struct FlagSetting {
  const char* flag;  // "--tp"
  const char* path;  // "parallel.tp"
  std::string value;
};
// Of all such flags. Says nothing about whether a field takes the value. Error: stages that are no list.
std::vector<FlagSetting> flag_settings(const PlanFlags& flags);

// "levels[1].latency" as "levels.1.latency".
std::string dotted(std::string_view path);
// Of dotted paths: "parallel.tp" is within "parallel".
bool within(const std::string& inner, const std::string& outer);
bool same_or_within(const std::string& inner, const std::string& outer);
// The path of "PATH=VALUE" (or of a path alone) in the one form in which paths of settings are compared: dotted and without "plan.", which says
// nothing; what is inside the model or the cluster as "model:layers", for the plan's own field `model` names it and is not around it.
std::string setting_path(std::string_view setting);

// Where on the command line a field of the plan was given.
struct Given {
  std::string path;   // "parallel.tp"
  std::string where;  // "--tp", "--set parallel.tp"
};

struct Inputs {
  Model model;
  Cluster cluster;
  Plan plan;
  std::optional<Profile> profile;
  std::vector<Given> given{};  // those that hold first
};

// A profile of another GPU of the cluster's architecture is carried over to it (cost/transfer.h; Profile::transferred says so).
// Errors: a missing model or cluster, unreadable documents, settings that name no field, a profile of another kind of device. Does not check that the
// plan is legal. What neither file nor flag nor setting says follows from the rest, as it is after all settings. Without a plan file: precision fp32
// on CPU clusters (the only one with kernels), the model's longest sequence up to 8192, one micro-batch per replica. Sequence parallelism is on with
// tp above 1 where the sequence divides; a plan file's word on it holds unless tp became, or no longer is, 1, where there is nothing to say.
Inputs load_inputs(const PlanFlags& flags);

// The plan that load_inputs(flags) gives where it finds this model and this cluster: what changes while somebody varies a plan.
Plan plan_on(const PlanFlags& flags, const Model& model, const Cluster& cluster);

// Only the plan, cluster or model of that name or file, with the flags and settings that are about it.
Plan plan_from(const PlanFlags& flags);
Cluster cluster_from(const std::string& specification, const std::vector<std::string>& settings);
Model model_from(const std::string& name_or_path, const std::vector<std::string>& settings);

// Whether a setting decides this field of the plan (or one around it).
bool sets(const std::vector<std::string>& settings, const std::string& path);

// An Error about a field of the plan, told at the flag or setting that gave it: "--tp (parallel.tp)".
Error at_flag(const Error& error, const std::vector<Given>& given);

// program::compile; what it refuses is told at the flag or setting that gave it.
program::Program compile(const Inputs& inputs);

// "7,8x14,7" -> {7, 8, …, 8, 7}.
std::vector<std::int64_t> parse_stages(const std::string& text);

// A stable 64-bit hash of the documents' JSON (model, cluster, plan and profile) and of the schedule's file, for provenance.
std::string inputs_hash(const Inputs& inputs);

}  // namespace orrery::app
