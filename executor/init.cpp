#include "executor/init.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace orrery::executor {
namespace {

// The finaliser of SplitMix64 (Steele, Lea & Flood 2014, variant 13 of Stafford's mixers); applied to a Weyl sequence it passes BigCrush.
std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

constexpr std::uint64_t kWeyl = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio

// FNV-1a: the same on every machine and compiler, unlike std::hash.
std::uint64_t hash(std::string_view word) {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (const char c : word) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return h;
}

std::uint64_t stream(std::uint64_t seed, std::string_view name) { return mix(mix(seed + kWeyl) ^ hash(name)); }

// In (0, 1): 53 bits and a half, so that its logarithm is finite.
double uniform(std::uint64_t bits) { return (static_cast<double>(bits >> 11U) + 0.5) * 0x1p-53; }

double normal(std::uint64_t key, std::int64_t element) {  // Box & Muller 1958
  const std::uint64_t counter = 2 * static_cast<std::uint64_t>(element);
  const double radius = std::sqrt(-2 * std::log(uniform(mix(key + (counter + 1) * kWeyl))));
  return radius * std::cos(2 * std::numbers::pi * uniform(mix(key + (counter + 2) * kWeyl)));
}

}  // namespace

double initial_normal(std::uint64_t seed, std::string_view name, std::int64_t element) { return normal(stream(seed, name), element); }

void initialise(const program::Parameter& parameter, std::int64_t tp, std::uint64_t seed, float* flat) {
  using Parameter = program::Parameter;
  const std::uint64_t key = stream(seed, parameter.name);
  const std::int64_t first_row = parameter.split == Parameter::Split::rows ? tp * parameter.rows : 0;
  const std::int64_t first_col = parameter.split == Parameter::Split::cols ? tp * parameter.cols : 0;
  for (std::int64_t r = 0; r < parameter.rows; ++r) {
    float* row = flat + parameter.offset + r * parameter.cols;
    const std::int64_t global_row = first_row + r;
    const bool padding = global_row >= parameter.global_rows;
    const std::int64_t valid = padding ? 0 : std::clamp<std::int64_t>(parameter.global_cols - first_col, 0, parameter.cols);
    for (std::int64_t c = 0; c < valid; ++c) {
      switch (parameter.init) {
        case Parameter::Init::normal:
          row[c] = static_cast<float>(parameter.stddev * normal(key, global_row * parameter.global_cols + first_col + c));
          break;
        case Parameter::Init::ones:
          row[c] = 1;
          break;
        case Parameter::Init::zeros:
          row[c] = 0;
          break;
      }
    }
    std::fill_n(row + valid, parameter.cols - valid, 0.F);
  }
}

}  // namespace orrery::executor
