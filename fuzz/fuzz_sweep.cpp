// Any bytes as a sweep: an Error, or axes with values that are settings.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "app/sweep.h"
#include "core/error.h"
#include "core/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  orrery::app::Sweep sweep;
  try {
    sweep = orrery::app::read_sweep(text, "fuzz.json");
  } catch (const orrery::Error&) {
    return 0;
  }
  // What was read is sound: from here on an Error is a bug of ours.
  for (const orrery::app::SweepAxis& axis : sweep.axes) {
    if (axis.values.empty()) __builtin_trap();
    for (const std::string& value : axis.values)
      if (orrery::parse_setting(axis.path + "=" + value) != orrery::Setting{axis.path, value}) __builtin_trap();
  }
  for (const std::string& setting : sweep.base.settings) orrery::parse_setting(setting);
  if (sweep.file_settings.size() != sweep.base.settings.size()) __builtin_trap();
  return 0;
}
