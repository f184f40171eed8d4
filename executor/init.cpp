#include "executor/init.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <thread>
#include <vector>

#include "executor/random.h"

namespace orrery::executor {
namespace {

double normal(std::uint64_t key, std::int64_t element) {  // Box & Muller 1958
  const std::uint64_t counter = 2 * static_cast<std::uint64_t>(element);
  const double radius = std::sqrt(-2 * std::log(random_uniform(key, counter)));
  return radius * std::cos(2 * std::numbers::pi * random_uniform(key, counter + 1));
}

void draw(const program::Parameter& parameter, program::Origin origin, std::uint64_t key, std::int64_t first, std::span<float> out) {
  using Parameter = program::Parameter;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::int64_t local = first + static_cast<std::int64_t>(i);
    const std::int64_t row = origin.row + local / parameter.cols, col = origin.col + local % parameter.cols;
    if (row >= parameter.global_rows || col >= parameter.global_cols) {
      out[i] = 0;
      continue;
    }
    switch (parameter.init) {
      case Parameter::Init::normal:
        out[i] = static_cast<float>(parameter.stddev * normal(key, row * parameter.global_cols + col));
        break;
      case Parameter::Init::ones:
        out[i] = 1;
        break;
      case Parameter::Init::zeros:
        out[i] = 0;
        break;
    }
  }
}

// A number takes tens of nanoseconds: what one thread would take so much time for that a GPU would wait for minutes is shared out.
constexpr std::size_t kLeastOfAThread = std::size_t{1} << 20U, kMostThreads = 32;

}  // namespace

double initial_normal(std::uint64_t seed, std::string_view name, std::int64_t element) { return normal(random_key(seed, name), element); }

void initialise(const program::Parameter& parameter, program::Origin origin, std::uint64_t seed, std::int64_t first, std::span<float> out) {
  const std::uint64_t key = random_key(seed, parameter.name);
  const std::size_t threads =
      std::clamp<std::size_t>(std::min<std::size_t>(out.size() / kLeastOfAThread, std::thread::hardware_concurrency()), 1, kMostThreads);
  const auto part = [&](std::size_t t) {
    const std::size_t begin = out.size() * t / threads, end = out.size() * (t + 1) / threads;
    draw(parameter, origin, key, first + static_cast<std::int64_t>(begin), out.subspan(begin, end - begin));
  };
  std::vector<std::jthread> others;
  for (std::size_t t = 1; t < threads; ++t) others.emplace_back(part, t);
  part(0);
}

}  // namespace orrery::executor
