// Any bytes as a profile.
#include "core/profile_json.h"
#include "fuzz/round_trip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return round_trip(data, size, orrery::read_profile, orrery::write_profile);
}
