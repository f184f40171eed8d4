#include "app/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "app/fields.h"
#include "core/error.h"
#include "core/plan_json.h"

namespace orrery::app {
namespace {

// Every value of an axis must be one that a plan may hold: a word that no plan knows is a slip, not a plan that does not fit.
template <class T, class Set>
void check_values(const std::string& flag, const std::vector<T>& values, const Plan& base, Set set) {
  for (const T& value : values) {
    Plan plan = base;
    plan.batch.micro = 1;  // divides every global batch
    set(plan, value);
    try {
      read_plan(write_plan(plan), "plan");
    } catch (const Error& e) {
      throw Error(flag, e.message(), e.hint());
    }
  }
}

void check_space(const planner::Space& space, const Plan& base) {
  check_values("--tp", space.tp, base, [](Plan& p, std::int64_t v) { p.parallel.tp = v; });
  check_values("--pp", space.pp, base, [](Plan& p, std::int64_t v) { p.parallel.pp = v; });
  check_values("--vp", space.vp, base, [](Plan& p, std::int64_t v) { p.parallel.vp = v; });
  check_values("--zero", space.zero, base, [](Plan& p, std::int64_t v) { p.sharding.zero = v; });
  check_values("--schedule", space.schedule, base, [](Plan& p, const std::string& v) { p.schedule = v; });
  check_values("--recompute", space.recompute, base, [](Plan& p, const std::string& v) { p.recompute.kind = v; });
  for (const std::int64_t micro : space.micro)
    if (micro < 1 || micro > base.batch.global)
      throw Error("--micro-batch", fmt::format("{} is not between 1 and the global batch, {}", micro, base.batch.global));
}

}  // namespace

planner::Space pinned(planner::Space space, const Plan& plan, const std::vector<std::string>& settings) {
  if (sets(settings, "parallel.tp")) space.tp = {plan.parallel.tp};
  if (sets(settings, "parallel.pp")) space.pp = {plan.parallel.pp};
  if (sets(settings, "parallel.vp")) space.vp = {plan.parallel.vp};
  if (sets(settings, "parallel.sp")) space.sp = plan.parallel.sp;
  if (sets(settings, "batch.micro")) space.micro = {plan.batch.micro};
  if (sets(settings, "schedule")) space.schedule = {plan.schedule};
  if (sets(settings, "recompute.kind")) space.recompute = {plan.recompute.kind};
  if (sets(settings, "sharding.zero")) space.zero = {plan.sharding.zero};
  return space;
}

PlanFlags asking_for(PlanFlags flags, const Plan& wanted) {
  // What a search varies, as settings. Arguments of a schedule are either those of the base, or none.
  const auto list = [](const std::vector<std::int64_t>& values) { return fmt::format("[{}]", fmt::join(values, ",")); };
  const std::vector<std::pair<std::string, std::function<std::string(const Plan&)>>> fields{
      {"parallel.tp", [](const Plan& p) { return fmt::format("{}", p.parallel.tp); }},
      {"parallel.pp", [](const Plan& p) { return fmt::format("{}", p.parallel.pp); }},
      {"schedule", [](const Plan& p) { return p.schedule; }},
      {"schedule_args", [](const Plan& p) { return p.schedule_args == ScheduleArgs{} ? "{}" : "base"; }},
      {"parallel.vp", [](const Plan& p) { return fmt::format("{}", p.parallel.vp); }},
      {"stages", [&](const Plan& p) { return p.stages ? list(*p.stages) : "null"; }},
      {"batch.micro", [](const Plan& p) { return fmt::format("{}", p.batch.micro); }},
      {"recompute.kind", [](const Plan& p) { return p.recompute.kind; }},
      {"sharding.zero", [](const Plan& p) { return fmt::format("{}", p.sharding.zero); }},
      {"parallel.sp", [](const Plan& p) { return p.parallel.sp ? "true" : "false"; }},
      {"batch.global", [](const Plan& p) { return fmt::format("{}", p.batch.global); }},
  };
  // What one setting changes may follow from another (the global batch from the replicas): until nothing differs, which takes two rounds.
  for (int round = 0; round < 4; ++round) {
    const Plan now = load_inputs(flags).plan;
    if (now == wanted) break;
    for (const auto& field : fields) {  // lambdas of clang 14 capture no bindings
      const auto& path = field.first;
      const auto& text = field.second;
      if (text(now) == text(wanted)) continue;
      std::erase_if(flags.settings, [&](const std::string& setting) { return setting_path(setting) == path; });
      flags.settings.push_back(path + "=" + text(wanted));
    }
  }
  return flags;
}

PlanFlags searching_from(PlanFlags question) {
  static constexpr std::array kVaried{"parallel.tp", "parallel.pp",   "parallel.vp", "parallel.sp",    "batch.micro",
                                      "schedule",    "schedule_args", "stages",      "recompute.kind", "sharding.zero"};
  const Plan asked = load_inputs(question).plan;
  const auto varied = [](const std::string& path) {
    return std::any_of(kVaried.begin(), kVaried.end(), [&](const char* field) { return same_or_within(path, field); });
  };
  std::vector<std::string> around;  // paths of settings that say something of what is varied, and of other fields
  std::erase_if(question.settings, [&](const std::string& setting) {
    const std::string path = setting_path(setting);
    const bool holds = std::any_of(kVaried.begin(), kVaried.end(), [&](const char* field) { return within(field, path); });
    if (holds) around.push_back(path);
    return holds || varied(path);
  });
  for (std::optional<std::int64_t>* flag : {&question.tp, &question.pp, &question.vp, &question.micro_batch, &question.zero}) flag->reset();
  question.sp.reset();
  for (std::optional<std::string>* flag : {&question.schedule, &question.recompute, &question.stages}) flag->reset();
  // What they said of those other fields stays.
  if (!around.empty()) {
    const std::vector<EditableField> left = fields(load_inputs(question).plan);
    for (const EditableField& field : fields(asked)) {
      const std::string& path = field.field.path;
      const bool told = std::any_of(around.begin(), around.end(), [&](const std::string& outer) { return within(path, outer); });
      if (!told || varied(path) || path == "batch.global") continue;
      if (const EditableField* now = find_field(left, path); now == nullptr || now->field.value != field.field.value)
        question.settings.push_back(path + "=" + field.field.value);
    }
  }
  const std::int64_t global = asked.batch.global;
  if (load_inputs(question).plan.batch.global != global) question.settings.push_back(fmt::format("batch.global={}", global));
  return question;
}

PlanReport plan(const Inputs& inputs, const planner::Space& space, const planner::Options& options) {
  if (inputs.plan.segments)
    throw Error("segments", "the search varies the axes of the whole plan, and this one has segments with axes of their own",
                "leave segments null, or compare such plans by 'orrery simulate' and 'orrery sweep'");
  check_space(space, inputs.plan);
  PlanReport report{inputs, {}, {}, {}};
  report.outcome = planner::search(inputs.model, inputs.cluster, inputs.plan, space, inputs.profile ? &*inputs.profile : nullptr, options);
  report.explanation = planner::explain(inputs.cluster, report.outcome);
  report.refused = planner::refusal_line(report.outcome);
  if (!report.outcome.ranked.empty()) report.inputs.plan = report.outcome.ranked.front().plan;
  return report;
}

}  // namespace orrery::app
