#include "executor/init.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "executor/random.h"

namespace orrery::executor {
namespace {

double normal(std::uint64_t key, std::int64_t element) {  // Box & Muller 1958
  const std::uint64_t counter = 2 * static_cast<std::uint64_t>(element);
  const double radius = std::sqrt(-2 * std::log(random_uniform(key, counter)));
  return radius * std::cos(2 * std::numbers::pi * random_uniform(key, counter + 1));
}

}  // namespace

double initial_normal(std::uint64_t seed, std::string_view name, std::int64_t element) { return normal(random_key(seed, name), element); }

void initialise(const program::Parameter& parameter, std::int64_t tp, std::uint64_t seed, float* flat) {
  using Parameter = program::Parameter;
  const std::uint64_t key = random_key(seed, parameter.name);
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
