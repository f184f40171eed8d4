#include "app/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "core/cluster_json.h"
#include "core/model_json.h"
#include "core/plan_json.h"

namespace orrery::app {
namespace {

struct Group {
  std::string_view prefix, title;
  bool whole;  // the label has the prefix, too
};

// In the order of the lists; the first whose prefix fits has the field.
constexpr std::array<Group, 23> kPlanGroups{{
    {"batch.", "Batch", false},
    {"parallel.", "Parallelism", false},
    {"schedule", "Pipeline", true},
    {"schedule_args.", "Pipeline", false},
    {"stages", "Pipeline", true},
    {"data_parallel.", "Data parallelism", false},
    {"sharding.", "Sharding", false},
    {"recompute.", "Recomputation", false},
    {"offload.", "Recomputation", true},
    {"precision.", "Precision", false},
    {"overlap.", "Overlap", false},
    {"moe.", "Experts", false},
    {"runtime.", "Runtime", false},
    {"optimizer.", "Optimizer", false},
    {"mtp.", "Optimizer", true},
    {"lora", "Optimizer", true},
    {"segments", "Placement", true},
    {"placement", "Placement", true},
    {"clocks", "Runtime", true},
    {"checkpoint.", "Run", true},
    {"seed", "Run", true},
    {"preset", "Run", true},
    {"", "Plan", true},
}};

// What a model has only as a mixture of experts.
constexpr std::array<std::string_view, 11> kOfMixtures{"num_experts",    "moe_",          "shared_expert", "expert_bias",
                                                       "router_bias",    "first_k_dense", "scoring_func",  "norm_topk_prob",
                                                       "routed_scaling", "n_group",       "topk_group"};

// "schedule" has "schedule" and what is inside it, not "schedule_args"; "batch." and "" have whatever begins with them.
bool has(const Group& group, std::string_view path) {
  if (!path.starts_with(group.prefix)) return false;
  return group.prefix.empty() || group.prefix.back() == '.' || path.size() == group.prefix.size() || path[group.prefix.size()] == '.';
}

std::string spaced(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '_' || c == '.'; }, ' ');
  return out;
}

bool is_source(std::string_view path) {
  return path == "name" || path.ends_with(".name") || path.ends_with(".source") || path.starts_with("sources.") ||
         path.find(".sources.") != std::string_view::npos;
}

void sort_by_group(std::vector<std::pair<std::ptrdiff_t, EditableField>>& ranked, std::vector<EditableField>& out) {
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [rank, field] : ranked) out.push_back(std::move(field));
}

void list_plan(const Plan& plan, std::vector<EditableField>& out) {
  std::vector<std::pair<std::ptrdiff_t, EditableField>> ranked;
  for (Field& field : plan_fields(plan)) {
    const Group& group = *std::find_if(kPlanGroups.begin(), kPlanGroups.end(), [&](const Group& g) { return has(g, field.path); });
    const auto first = std::find_if(kPlanGroups.begin(), kPlanGroups.end(), [&](const Group& g) { return g.title == group.title; });
    EditableField editable;
    editable.group = group.title;
    editable.label = spaced(std::string_view(field.path).substr(group.whole ? 0 : group.prefix.size()));
    editable.field = std::move(field);
    // Model and cluster, in the group of no prefix, come first.
    ranked.emplace_back(group.prefix.empty() ? 0 : first - kPlanGroups.begin() + 1, std::move(editable));
  }
  sort_by_group(ranked, out);
}

void list_cluster(const Cluster& cluster, std::vector<EditableField>& out) {
  std::vector<std::pair<std::ptrdiff_t, EditableField>> ranked;  // the cluster, its networks, its device
  std::ptrdiff_t rank = 0;
  for (Field& field : cluster_fields(cluster)) {
    if (is_source(field.path)) continue;
    EditableField editable;
    editable.document = DocumentKind::cluster;
    const std::string_view path = field.path;
    constexpr std::string_view kDevice = "device.", kLevels = "levels.", kEfficiency = "device.efficiency.", kValue = ".value";
    if (path.starts_with(kEfficiency)) {
      editable.group = "Device", rank = 1000;
      const std::string_view rest = path.substr(kEfficiency.size());
      editable.label = spaced(rest.substr(0, rest.size() - (rest.ends_with(kValue) ? kValue.size() : 0))) + " efficiency";
    } else if (path.starts_with(kDevice)) {
      editable.group = "Device", rank = 1000;
      editable.label = spaced(path.substr(kDevice.size()));
    } else if (path.starts_with(kLevels)) {
      const std::string_view rest = path.substr(kLevels.size());
      const std::size_t dot = rest.find('.');
      const std::size_t level = std::stoul(std::string(rest.substr(0, dot)));
      editable.group = "Network: " + cluster.levels.at(level).name, rank = 1 + static_cast<std::ptrdiff_t>(level);
      editable.label = spaced(rest.substr(dot + 1));
    } else {
      editable.group = "Cluster", rank = 0;
      editable.label = spaced(path);
    }
    field.path = "cluster." + field.path;
    editable.field = std::move(field);
    ranked.emplace_back(rank, std::move(editable));
  }
  sort_by_group(ranked, out);
}

void list_model(const Model& model, std::vector<EditableField>& out) {
  std::vector<std::pair<std::ptrdiff_t, EditableField>> ranked;
  for (Field& field : model_fields(model)) {
    EditableField editable;
    editable.document = DocumentKind::model;
    const bool of_mixtures =
        std::any_of(kOfMixtures.begin(), kOfMixtures.end(), [&](std::string_view beginning) { return field.path.starts_with(beginning); });
    editable.group = of_mixtures ? "Mixture of experts" : "Model";
    editable.label = spaced(field.path);
    field.path = "model." + field.path;
    editable.field = std::move(field);
    ranked.emplace_back(of_mixtures ? 1 : 0, std::move(editable));
  }
  sort_by_group(ranked, out);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

}  // namespace

std::vector<EditableField> fields(const Plan& plan) {
  std::vector<EditableField> out;
  list_plan(plan, out);
  return out;
}

std::vector<EditableField> fields(const Inputs& inputs) {
  std::vector<EditableField> out = fields(inputs.plan);
  list_cluster(inputs.cluster, out);
  list_model(inputs.model, out);
  return out;
}

const EditableField* find_field(const std::vector<EditableField>& fields, const std::string& path) {
  const std::string wanted = dotted(path);
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const EditableField& f) { return f.field.path == wanted; });
  return found == fields.end() ? nullptr : &*found;
}

bool matches(const EditableField& field, const std::string& text) {
  const std::string all = lower(
      fmt::format("{} {} {} {} {}", field.field.path, spaced(field.field.path), field.group, field.field.about, fmt::join(field.field.choices, " ")));
  const std::string wanted = lower(text);
  for (std::size_t from = 0; from < wanted.size();) {
    const std::size_t to = std::min(wanted.find(' ', from), wanted.size());
    if (to > from && all.find(wanted.substr(from, to - from)) == std::string::npos) return false;
    from = to + 1;
  }
  return true;
}

}  // namespace orrery::app
