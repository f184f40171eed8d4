// Any bytes as a number with a unit: an Error, or a value that its exact text gives back.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "core/quantity_text.h"

namespace {

template <class Parse>
void check(std::string_view text, Parse parse) {
  decltype(parse(text, "fuzz")) value;
  try {
    value = parse(text, "fuzz");
  } catch (const orrery::Error&) {
    return;
  }
  if (parse(orrery::exact_text(value), "again") != value) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(text, orrery::parse_bytes);
  check(text, orrery::parse_bandwidth);
  check(text, orrery::parse_compute_rate);
  check(text, orrery::parse_power);
  check(text, orrery::parse_duration);
  return 0;
}
