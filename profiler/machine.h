// What this machine says about itself: the provenance of a measurement.
#pragma once

#include <cstdint>
#include <string>

#include "core/units.h"

namespace orrery::profiler {

struct Machine {
  std::string device;  // the CPU's model name and core count
  std::string clock;   // as /proc/cpuinfo says, "unknown" where it does not
  std::string driver;  // kernel name and release
  std::string date;    // now, UTC, ISO 8601
  std::int64_t cores = 1;
  Bytes memory;
  std::int64_t core_cache = 0, shared_cache = 0;  // bytes of a core's second-level and of the last-level cache
};
Machine this_machine();

// The value of the first "key : value" line of /proc/cpuinfo's text, or empty.
std::string cpuinfo_value(const std::string& text, const std::string& key);

}  // namespace orrery::profiler
