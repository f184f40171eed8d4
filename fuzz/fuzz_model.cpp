// Any bytes as a model's config.json: an Error or a model that can be counted, written and read back the same; never a crash or another exception.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/model_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  orrery::Model model;
  try {
    model = orrery::read_model(text, "fuzz.json");
  } catch (const orrery::Error&) {
    return 0;
  }
  if (model.unsupported.empty()) (void)orrery::count_parameters(model);
  // What was read is sound: from here on an Error is a bug of ours.
  if (orrery::read_model(orrery::write_model(model), "again.json") != model) __builtin_trap();
  return 0;
}
