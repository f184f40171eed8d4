// Any bytes as a cluster.
#include "core/cluster_json.h"
#include "fuzz/round_trip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return round_trip(data, size, orrery::read_cluster, orrery::write_cluster);
}
