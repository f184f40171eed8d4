// Any bytes as a rule of overlap.
#include "core/overlap_rule.h"
#include "fuzz/round_trip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = [](std::string_view text, const char* file) {
    orrery::OverlapRule rule = orrery::read_overlap_rule(text, file);
    rule.name.clear();  // the file's
    return rule;
  };
  return round_trip(data, size, read, orrery::write_overlap_rule);
}
