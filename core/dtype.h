// Element types and the width that each has in memory.
#pragma once

#include <cstdint>
#include <string_view>

namespace orrery {

// fp64 is for scalars that are sums over everything (loss, squared gradient norm): no plan computes in it.
enum class DType : std::uint8_t { fp32, tf32, bf16, fp16, fp8, fp4, int32, uint8, fp64 };

// Bits per element in memory (tf32 is stored as fp32). Block scales are counted by whoever makes the buffer.
constexpr int bits(DType t) {
  switch (t) {
    case DType::fp64:
      return 64;
    case DType::fp32:
    case DType::tf32:
    case DType::int32:
      return 32;
    case DType::bf16:
    case DType::fp16:
      return 16;
    case DType::fp8:
    case DType::uint8:
      return 8;
    case DType::fp4:
      return 4;
  }
  return 0;
}

constexpr std::string_view name(DType t) {
  constexpr std::string_view kNames[]{"fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int32", "uint8", "fp64"};
  return kNames[static_cast<int>(t)];
}

constexpr std::int64_t bytes_of(DType t, std::int64_t elements) { return (elements * bits(t) + 7) / 8; }

}  // namespace orrery
