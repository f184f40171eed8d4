// Random numbers by counter: a value is a function of (key, index), so that any rank can draw any of them, in any order.
#pragma once

#include <cstdint>
#include <string_view>

namespace orrery::executor {

// The finaliser of SplitMix64 (Steele, Lea & Flood 2014, variant 13 of Stafford's mixers); applied to a Weyl sequence it passes BigCrush.
constexpr std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

inline constexpr std::uint64_t kWeyl = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio

// The key of the numbers drawn for `name` under `seed`. FNV-1a: the same on every machine and compiler, unlike std::hash.
constexpr std::uint64_t random_key(std::uint64_t seed, std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mix(mix(seed + kWeyl) ^ h);
}

constexpr std::uint64_t random_bits(std::uint64_t key, std::uint64_t index) { return mix(key + (index + 1) * kWeyl); }

// In (0, 1): 53 bits and a half, so that its logarithm is finite.
constexpr double random_uniform(std::uint64_t key, std::uint64_t index) {
  return (static_cast<double>(random_bits(key, index) >> 11U) + 0.5) * 0x1p-53;
}

}  // namespace orrery::executor
