// The reports of run and demo as documents.
#include <nlohmann/json.hpp>

#include "app/demo.h"
#include "app/report_json.h"
#include "app/run.h"
#include "core/plan_json.h"

namespace orrery::app {

using Json = nlohmann::ordered_json;

namespace {

Json energy_json(const StepEnergy& e, Grade predicted) {
  return {{"measured", e.per_step ? Json(e.per_step->v) : Json(nullptr)},
          {"not_measured", e.per_step ? Json(nullptr) : Json(e.why)},
          {"gpus", e.gpus},
          {"window_s", e.window.v},
          {"predicted", e.predicted ? Json(e.predicted->v) : Json(nullptr)},
          {"predicted_grade", grade_name(predicted)}};
}

}  // namespace

std::string to_json(const RunReport& r) {
  const auto tokens = static_cast<double>(r.inputs.plan.batch.global * r.inputs.plan.batch.sequence);
  Json losses = Json::array(), norms = Json::array(), periods = Json::array(), memory = Json::array();
  for (const executor::StepReport& s : r.result.steps) {
    losses.push_back(s.loss);
    norms.push_back(s.gradient_norm);
    periods.push_back(s.period.v);
  }
  for (const executor::RankMemory& m : r.result.memory)
    memory.push_back({{"persistent_bytes", m.persistent}, {"peak_bytes", m.peak_live}, {"arena_bytes", m.arena}, {"beside_bytes", m.beside}});
  const Json out{{"orrery", "run/1"},
                 {"label", r.measured.label},
                 {"data", r.data},
                 {"entropy_rate", r.entropy_rate ? Json(*r.entropy_rate) : Json(nullptr)},
                 {"interrupted", r.result.cancelled},
                 {"steps", r.result.steps.size()},
                 {"first_step", r.result.first_step},
                 {"checkpoint_steps", r.result.checkpoint > 0 ? Json(r.result.checkpoint) : Json(nullptr)},
                 {"step_time_s", r.result.step_time.v},
                 {"tokens_per_s", r.result.step_time.v > 0 ? Json(tokens / r.result.step_time.v) : Json(nullptr)},
                 {"mfu", r.result.step_time.v > 0 && !r.result.emulated ? Json(r.predicted.mfu * r.predicted.step_time.v / r.result.step_time.v)
                                                                        : Json(nullptr)},
                 {"flops_convention", std::string(program::name(r.predicted.convention))},
                 {"noise", r.noise},
                 {"energy_per_step_joules", energy_json(r.energy, r.predicted.energy_grade)},
                 {"predicted_step_time_s", r.predicted.step_time.v},
                 {"losses", std::move(losses)},
                 {"gradient_norms", std::move(norms)},
                 {"updates_redone", r.result.redone},
                 {"steps_replayed", r.result.replayed},
                 {"emulated", r.result.emulated},
                 {"periods_s", std::move(periods)},
                 {"memory_by_rank", std::move(memory)},
                 {"predicted_peak_memory_bytes_by_stage", r.predicted.summary.peak_memory_by_stage},
                 {"expert_load", r.expert_load.empty() ? Json(nullptr) : Json(r.expert_load)},
                 {"summary", summary_json(r.measured)},
                 {"predicted_summary", summary_json(r.predicted.summary)},
                 {"plan", Json::parse(write_plan(r.inputs.plan))},
                 {"provenance", provenance_json(inputs_hash(r.inputs))}};
  return out.dump(1) + "\n";
}

std::string recorded_expert_load(const std::string& report) {
  const Json document = Json::parse(report, nullptr, false);
  if (!document.is_object() || document.value("orrery", Json()) != "run/1") return {};
  const Json load = document.value("expert_load", Json());
  return load.is_string() ? load.get<std::string>() : std::string();
}

std::string to_json(const DemoReport& r) {
  Json plans = Json::array();
  for (const DemoPlan& p : r.plans) {
    Json times = Json::array();
    for (const DemoRepeat& repeat : p.repeats) times.push_back(repeat.step_time.v);
    const bool run = !p.repeats.empty();
    plans.push_back({{"role", p.role},
                     {"label", p.predicted.label},
                     {"predicted_step_time_s", p.predicted.step_time.v},
                     {"measured_step_time_s", run ? Json(p.step_time.v) : Json(nullptr)},
                     {"error", run ? Json(p.error) : Json(nullptr)},
                     {"noise", p.noise},
                     {"tolerance", p.tolerance},
                     {"repeats_s", std::move(times)},
                     {"energy_per_step_joules", run ? energy_json(p.repeats[p.shown].energy, p.predicted.energy_grade) : Json(nullptr)},
                     {"memory_agrees", p.memory_agrees},
                     {"first_loss", p.first_loss},
                     {"last_loss", p.last_loss},
                     {"predicted", summary_json(p.predicted.summary)},
                     {"measured", run ? summary_json(p.repeats[p.shown].measured) : Json(nullptr)},
                     {"plan", Json::parse(write_plan(p.plan))}});
  }
  const Json out{{"orrery", "demo/1"},
                 {"considered", r.considered},
                 {"plans", std::move(plans)},
                 {"median_error", r.median_error},
                 {"noise", r.noise},
                 {"tolerance", r.tolerance},
                 {"verdict", name(r.verdict)},
                 {"ranked_rightly", r.ranked_rightly},
                 {"memory_agrees", r.memory_agrees},
                 {"interrupted", r.cancelled},
                 {"cores_used_by_others", r.others ? Json(*r.others) : Json(nullptr)},
                 {"seconds", {{"profiling", r.seconds_profiling}, {"planning", r.seconds_planning}, {"running", r.seconds_running}}},
                 {"files", r.files},
                 {"provenance", provenance_json(inputs_hash(r.inputs))}};
  return out.dump(1) + "\n";
}

}  // namespace orrery::app
