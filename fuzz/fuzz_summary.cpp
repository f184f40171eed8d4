// Any bytes as a summary, or as the report that holds one.
#include "app/summary.h"
#include "fuzz/round_trip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return round_trip(data, size, orrery::app::read_summary, orrery::app::write_summary);
}
