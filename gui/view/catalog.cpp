#include "gui/view/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/model_json.h"
#include "core/quantity_text.h"

namespace orrery::view {

std::string facts(const Model& model) {
  if (!model.unsupported.empty()) return "cannot be simulated: " + model.unsupported;
  const ParameterCount n = count_parameters(model);
  std::string out = format_count(static_cast<double>(n.total)) + " parameters";
  if (n.active != n.total) out += fmt::format(" ({} active)", format_count(static_cast<double>(n.active)));
  out += fmt::format(", {} layers of {}, {} heads", model.layers, model.hidden, model.heads);
  if (model.kv_heads != model.heads) out += fmt::format(" ({} of keys)", model.kv_heads);
  if (model.moe) out += fmt::format(", {} of {} experts", model.moe->experts_per_token, model.moe->experts);
  return out;
}

std::string facts(const Cluster& cluster) {
  std::string out = fmt::format("{} with {}, {} in a node", cluster.device.name, format_bytes(cluster.device.memory), cluster.node_size);
  for (const NetworkLevel& level : cluster.levels) out += fmt::format("; {} {}", level.name, format_rate(level.bandwidth));
  return out;
}

std::vector<CatalogEntry> model_catalog() {
  std::vector<CatalogEntry> out;
  for (const std::string& name : model_names()) {
    try {
      out.push_back({name, facts(load_model(name))});
    } catch (const Error& e) {
      out.push_back({name, e.message()});
    }
  }
  return out;
}

std::vector<CatalogEntry> cluster_catalog() {
  std::vector<CatalogEntry> out;
  for (const std::string& name : cluster_names()) {
    try {
      const Cluster one = load_cluster(name);
      // Of several nodes, so that what is between them is named as well.
      out.push_back({name, facts(one.device.kind == DeviceKind::gpu ? load_cluster(cluster_specification(name, 64 * one.node_size)) : one)});
    } catch (const Error& e) {
      out.push_back({name, e.message()});
    }
  }
  return out;
}

ClusterName cluster_name(const std::string& specification) {
  const std::size_t colon = specification.rfind(':');
  if (colon == std::string::npos) return {specification, 0};
  std::int64_t devices = 0;
  const char *from = specification.data() + colon + 1, *to = specification.data() + specification.size();
  const auto [end, failure] = std::from_chars(from, to, devices);
  if (failure != std::errc{} || end != to || devices < 1) return {specification, 0};
  return {specification.substr(0, colon), devices};
}

std::string cluster_specification(const std::string& name, std::int64_t wanted) {
  if (wanted < 1) return name;
  const std::int64_t node = load_cluster(name).node_size;
  const std::int64_t devices = name == "this-machine" || wanted <= node ? wanted : std::max<std::int64_t>(1, (wanted + node / 2) / node) * node;
  return fmt::format("{}:{}", name, devices);
}

}  // namespace orrery::view
