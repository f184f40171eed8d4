// Reading sweeps, and writing the reports of plan and compare.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/compare.h"
#include "app/plan.h"
#include "app/report_json.h"
#include "app/sweep.h"
#include "app/sweep_report.h"
#include "core/json_edge.h"
#include "core/plan_json.h"

namespace orrery::app {

using Json = nlohmann::ordered_json;

namespace {

Json rows_json(const std::vector<Row>& rows) {
  Json out = Json::array();
  for (const Row& row : rows) out.push_back({{"name", row.name}, {"a", row.a}, {"b", row.b}, {"difference", row.difference()}});
  return out;
}

}  // namespace

Sweep read_sweep(std::string_view text, const std::string& file) {
  const json::Document document(text, file);
  json::Object o = document.object();
  if (o.required("orrery").text() != "sweep/1") o.fail("is not a sweep", R"(begin with "orrery": "sweep/1"; a plan to sweep goes after --plan)");
  Sweep sweep;
  std::optional<std::string> plan, model, cluster, profile;
  o.read("plan", plan);
  o.read("model", model);
  o.read("cluster", cluster);
  o.read("profile", profile);
  sweep.base.plan = plan.value_or("");
  sweep.base.model = model.value_or("");
  sweep.base.cluster = cluster.value_or("");
  sweep.base.profile = profile.value_or("");
  if (const auto settings = o.optional("set")) {
    for (const json::Value& setting : settings->list()) {
      const std::size_t equals = setting.text().find('=');
      if (equals == std::string::npos || equals == 0) setting.fail(setting.quoted() + " is not PATH=VALUE", "write it like batch.micro=2");
      sweep.base.settings.push_back(setting.text());
      sweep.file_settings.push_back({setting.text().substr(0, equals), file + ": set"});
    }
  }
  const auto grid = o.optional("grid");
  if (!grid) {
    o.done();  // perhaps it is only misspelt
    o.fail("has no grid to sweep", R"(e.g. "grid": {"parallel.tp": [1, 2, 4]})");
  }
  for (const auto& [path, values] : grid->object().members()) {
    if (path.empty() || path.find('=') != std::string::npos) values.fail("is not a path to set", "write it like \"parallel.tp\"");
    SweepAxis axis{path, {}, file + ": grid"};
    for (const json::Value& value : values.list()) {
      if (value.is_text())
        axis.values.push_back(value.text());
      else if (value.is_number())
        axis.values.push_back(value.quoted());  // as written: a seed has more digits than a double
      else if (value.is_null() || value.is_list() || value.is_object())
        value.fail(value.quoted() + " is not a value to try", "a number, a text, true or false");
      else
        axis.values.emplace_back(value.boolean() ? "true" : "false");
    }
    if (axis.values.empty()) values.fail("has no values", "give at least one");
    sweep.axes.push_back(std::move(axis));
  }
  o.done();
  return sweep;
}

std::string to_json(const PlanReport& report) {
  Json plans = Json::array();
  for (const planner::Candidate& c : report.outcome.ranked) {
    const std::optional<Dollars> dollars = planner::step_price(report.inputs.cluster, c.step);
    plans.push_back({{"label", planner::label(report.inputs.cluster, c.plan)},
                     {"step_time_s", to_seconds(c.step).v},
                     {"energy_j", c.energy.v},
                     {"dollars", dollars ? Json(dollars->v) : Json()},
                     {"bubble_fraction", c.bubble_fraction},
                     {"peak_memory_bytes", c.peak_memory.v},
                     {"device_memory_bytes", c.capacity.v},
                     {"waterfall", waterfall_json(c.waterfall)},
                     {"plan", Json::parse(write_plan(c.plan))}});
  }
  const auto rejected = [&](const std::vector<planner::Rejected>& list) {
    Json out = Json::array();
    for (const planner::Rejected& r : list)
      out.push_back(
          {{"label", planner::label(report.inputs.cluster, r.plan)}, {"constraint", r.constraint}, {"reason", r.reason}, {"excess", r.excess}});
    return out;
  };
  const Json out{{"orrery", "search/1"},
                 {"enumerated", report.outcome.enumerated},
                 {"simulated", report.outcome.simulated},
                 {"not_reached", report.outcome.not_reached},
                 {"plans", std::move(plans)},
                 {"refused", rejected(report.outcome.refused)},
                 {"pruned", rejected(report.outcome.pruned)},
                 {"explanation", report.explanation},
                 {"provenance", provenance_json(inputs_hash(report.inputs))}};
  return out.dump(1) + "\n";
}

std::string to_json(const SweepReport& report) {
  Json rows = Json::array();
  for (const SweepRow& row : report.rows) {
    Json out;
    for (std::size_t a = 0; a < report.axes.size(); ++a) out[report.axes[a].path] = row.values[a];
    out["status"] = row.status;
    if (row.step_time_s > 0) {
      out["step_time_s"] = row.step_time_s;
      out["tokens_per_s_per_gpu"] = row.tokens_per_s_per_gpu;
      out["mfu"] = row.mfu;
      out["bubble_fraction"] = row.bubble_fraction;
      out["exposed_communication_s"] = row.exposed_communication_s;
      out["peak_memory_bytes"] = row.peak_memory_bytes;
      out["energy_j"] = row.energy_j;
    }
    rows.push_back(std::move(out));
  }
  return Json{{"orrery", "table/1"}, {"cancelled", report.cancelled}, {"rows", std::move(rows)}}.dump(1) + "\n";
}

SweepReport read_sweep_report_json(std::string_view text, const std::string& file) {
  const json::Document document(text, file);
  json::Object o = document.object();
  if (o.required("orrery").text() != "table/1") o.fail("is not the table of a sweep", "open what 'orrery sweep --json' prints");
  SweepReport report;
  o.read("cancelled", report.cancelled);
  for (const json::Value& value : o.required("rows").list()) {
    json::Object members = value.object();
    SweepRow row;
    const bool first = report.rows.empty();
    bool is_axis = true;  // the columns before the status
    for (const auto& [key, field] : members.members()) {
      if (key == "status") {
        row.status = field.text();
        is_axis = false;
      } else if (is_axis) {
        if (first)
          report.axes.push_back({key, {}, file});
        else if (row.values.size() >= report.axes.size() || report.axes[row.values.size()].path != key)
          value.fail("has other axes than the first row");
        row.values.push_back(field.text());
      } else {
        put_figure(row, key, field.number(), field.where());
      }
    }
    if (is_axis) value.fail("has no status", "open what 'orrery sweep --json' prints");
    if (row.values.size() != report.axes.size()) value.fail("has other axes than the first row");
    report.rows.push_back(std::move(row));
  }
  o.done();
  return report;
}

std::string to_json(const CompareReport& r) {
  const Json out{{"orrery", "comparison/1"},
                 {"a", summary_json(r.a)},
                 {"b", summary_json(r.b)},
                 {"step_time_s", {{"a", to_seconds(r.a.step).v}, {"b", to_seconds(r.b.step).v}}},
                 {"waterfall_s", rows_json(r.waterfall)},
                 {"classes_s", rows_json(r.classes)},
                 {"operators_s", rows_json(r.operators)},
                 {"memory_bytes", rows_json(r.memory)},
                 {"largest_s", rows_json(r.largest)}};
  return out.dump(1) + "\n";
}

}  // namespace orrery::app
