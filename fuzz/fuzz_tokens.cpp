// Any bytes as training data, as text and as llm.c's tokens: an Error, or windows of tokens that the vocabulary has.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "executor/data/tokens.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::int64_t vocabulary = 1 + data[0] * 257, sequence = 1 + data[1];
  const std::span<const char> bytes(reinterpret_cast<const char*>(data) + 3, size - 3);
  std::unique_ptr<orrery::executor::TokenSource> tokens;
  try {
    tokens = orrery::executor::tokens_of(data[2] % 2 == 0 ? "fuzz.txt" : "fuzz.bin", bytes, vocabulary, sequence, data[2]);
  } catch (const orrery::Error&) {
    return 0;
  }
  std::vector<std::int32_t> window(static_cast<std::size_t>(sequence) + 1);
  for (const std::int64_t sample : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1'000'003}, INT64_MAX}) {
    std::fill(window.begin(), window.end(), -1);
    tokens->window(sample, window);
    for (const std::int32_t token : window)
      if (token < 0 || token >= std::max<std::int64_t>(vocabulary, 1) || token >= tokens->vocabulary()) __builtin_trap();
  }
  return 0;
}
