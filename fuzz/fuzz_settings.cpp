// A document, a line break, and a --set: whatever they are, an Error or a text that is JSON again, with as many lines.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = input.rfind('\n');
  if (cut == std::string_view::npos) return 0;
  const std::string_view text = input.substr(0, cut);
  std::string changed;
  orrery::Setting setting;
  try {
    setting = orrery::parse_setting(input.substr(cut + 1));
    changed = orrery::apply_settings(text, "fuzz.json", std::span(&setting, 1));
  } catch (const orrery::Error&) {
    return 0;
  }
  // Settings made of settings: the same one again must succeed and change nothing more.
  try {
    if (orrery::apply_settings(changed, "again.json", std::span(&setting, 1)) != changed) __builtin_trap();
  } catch (const orrery::Error& e) {
    // Depth may be used up by the first; nothing else may go wrong.
    if (e.message().find("nested") == std::string::npos) __builtin_trap();
  }
  const auto lines = [](std::string_view t) { return std::count(t.begin(), t.end(), '\n'); };
  // A value that spans lines may be replaced by one that does not.
  if (lines(changed) > lines(text)) __builtin_trap();
  return 0;
}
