// Any bytes as the header of a file of tensors, as an index and as a checkpoint's own words: an Error, or what is written and read back the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"
#include "executor/checkpoint/checkpoint.h"
#include "executor/checkpoint/safetensors.h"

namespace {

template <class Read, class Again>
void read(Read read_it, Again again) {
  decltype(read_it()) value;
  try {
    value = read_it();
  } catch (const orrery::Error&) {
    return;
  }
  if (again(value) != value) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  using namespace orrery::executor;
  const std::int64_t bytes = data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  read([&] { return read_safetensors_header(text, "fuzz", bytes); },
       [](const SafetensorsHeader& h) {
         return read_safetensors_header(std::string_view(write_safetensors_header(h)).substr(8), "again", h.bytes());
       });
  read([&] { return read_safetensors_index(text, "fuzz"); },
       [](const SafetensorsIndex& i) { return read_safetensors_index(write_safetensors_index(i), "again"); });
  read([&] { return read_checkpoint_info(text, "fuzz"); },
       [](const CheckpointInfo& i) { return read_checkpoint_info(write_checkpoint_info(i), "again"); });
  return 0;
}
