// What every reader of documents must hold for any bytes: an Error, or a value that is written and read back the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

template <class Read, class Write>
int round_trip(const std::uint8_t* data, std::size_t size, Read read, Write write) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  decltype(read(text, "fuzz.json")) value;
  try {
    value = read(text, "fuzz.json");
  } catch (const orrery::Error&) {
    return 0;
  }
  // What was read is sound: from here on an Error is a bug of ours.
  if (read(write(value), "again.json") != value) __builtin_trap();
  return 0;
}
