// FNV-1a: the same on every machine and compiler, unlike std::hash.
#pragma once

#include <cstdint>
#include <string_view>

namespace orrery::executor {

constexpr std::uint64_t fnv1a(std::string_view bytes) {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (const char c : bytes) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return h;
}

}  // namespace orrery::executor
