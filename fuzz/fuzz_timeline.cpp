// Any bytes as a timeline.
#include "core/timeline_json.h"
#include "fuzz/round_trip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return round_trip(data, size, orrery::read_timeline, orrery::write_chrome_trace);
}
