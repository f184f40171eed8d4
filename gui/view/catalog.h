// What is shipped, with one line about each, to choose from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/model.h"

namespace orrery::view {

struct CatalogEntry {
  std::string name, facts;  // "llama-3.1-8b", "8.03 B parameters, 32 layers of 4096, 32 heads"
  bool operator==(const CatalogEntry&) const = default;
};

std::string facts(const Model& model);
std::string facts(const Cluster& cluster);

// In the order of their names; reads every file, which takes some milliseconds.
std::vector<CatalogEntry> model_catalog();
std::vector<CatalogEntry> cluster_catalog();

// A cluster's specification in its parts: "dgx-h100:64" -> {"dgx-h100", 64}; 0 where it names no number.
struct ClusterName {
  std::string name;
  std::int64_t devices = 0;
  bool operator==(const ClusterName&) const = default;
};
ClusterName cluster_name(const std::string& specification);
// "dgx-h200:64": the cluster of that name with about as many devices as wanted, in whole nodes where there is more than one.
std::string cluster_specification(const std::string& name, std::int64_t wanted);

}  // namespace orrery::view
