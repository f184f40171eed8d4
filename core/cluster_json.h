// Clusters and devices as documents, and the names by which users call them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/cluster.h"
#include "core/field.h"
#include "core/settings.h"

namespace orrery {

// Both throw Error at "file:line: field". A cluster's `device` is a name under topologies/devices or a whole device.
Device read_device(std::string_view text, std::string_view file);
Cluster read_cluster(std::string_view text, std::string_view file);
// Complete texts that the readers take; the cluster holds its device.
std::string write_device(const Device& device);
std::string write_cluster(const Cluster& cluster);

// Every field of the cluster and of its device, with its present value; paths within the cluster ("device.memory").
std::vector<Field> cluster_fields(const Cluster& cluster);

// The device of that name. Throws Error with did-you-mean.
Device load_device(const std::string& name);

// The text of the cluster document that a specification names, for `--set` to change and read_cluster to read:
//   "dgx-h100"        as shipped
//   "dgx-h100:2048"   the same with 2048 devices, in whole nodes where there is more than one
//   "my.json", "my.json:64"   a file, recognised by a '/' or ".json"
//   "this-machine", "this-machine:8"   as many CPU ranks as cores, or 8 that share them and the physical memory
struct ClusterText {
  std::string text, file;
  bool operator==(const ClusterText&) const = default;
};
ClusterText cluster_text(const std::string& specification);

// read_cluster of cluster_text with `settings` applied.
Cluster load_cluster(const std::string& specification, std::span<const Setting> settings = {});

// The machine that runs this program: `devices` ranks (0: as many as cores) share its cores and memory. Clock and vector width are read from the
// processor, the rest is topologies/devices/cpu-core.json; a measured profile replaces all of it.
Cluster this_machine(std::int64_t devices = 0);

// Names that load_cluster and load_device know, sorted.
std::vector<std::string> cluster_names();
std::vector<std::string> device_names();

}  // namespace orrery
