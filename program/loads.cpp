#include "program/loads.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <numeric>

#include "core/error.h"
#include "core/files.h"

namespace orrery::program {
namespace {

// Random numbers by counter, as the executor's: SplitMix64's finaliser (Steele, Lea & Flood 2014) over a Weyl sequence.
constexpr std::uint64_t kWeyl = 0x9e3779b97f4a7c15ULL;
constexpr std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}
std::uint64_t key(std::uint64_t seed, std::int64_t layer) { return mix(mix(seed + kWeyl) ^ static_cast<std::uint64_t>(layer + 1)); }
double uniform(std::uint64_t key, std::uint64_t index) { return (static_cast<double>(mix(key + (index + 1) * kWeyl) >> 11U) + 0.5) * 0x1p-53; }

// Gamma(α, 1) by Marsaglia & Tsang (2000), boosted for α < 1. Draws of one variate are `index`, index + 1, … modulo a stride that no variate
// exhausts.
double gamma_variate(double alpha, std::uint64_t key, std::uint64_t index) {
  constexpr std::uint64_t kStride = 4096;
  std::uint64_t at = index * kStride;
  const double boost = alpha < 1 ? std::pow(uniform(key, at++), 1 / alpha) : 1;
  const double d = (alpha < 1 ? alpha + 1 : alpha) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double u1 = uniform(key, at++), u2 = uniform(key, at++), u3 = uniform(key, at++);
    const double x = std::sqrt(-2 * std::log(u1)) * std::cos(2 * std::numbers::pi * u2), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(u3) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v * boost;
  }
}

double number_after(std::string_view text, std::size_t colon) {
  double value = 0;
  const char *begin = text.data() + colon + 1, *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc{} || stop != end || !(value > 0) || value > 1000)
    throw Error("moe.load", fmt::format("'{}' has no positive number after the colon", text), "write it like zipf:1.2 or dirichlet:0.3");
  return value;
}

ExpertLoad recorded(std::string_view text, const std::string& source) {
  ExpertLoad out;
  out.kind = ExpertLoad::Kind::recorded;
  out.lines = read_layer_lines(text, source, "a count");
  for (const LayerLine& line : out.lines)
    if (std::accumulate(line.numbers.begin(), line.numbers.end(), 0.0) <= 0)
      throw Error(source, "has a line that counts nothing", "some expert must have tokens");
  return out;
}

std::vector<const LayerLine*> dispatches(const ExpertLoad& load, std::int64_t experts, std::int64_t layer) {
  std::vector<const LayerLine*> out = lines_of(load.lines, layer);
  if (out.empty()) throw Error("moe.load", fmt::format("the recorded load has no line for layer {}", layer), "write * for a layer to mean all");
  for (const LayerLine* line : out)
    if (static_cast<std::int64_t>(line->numbers.size()) != experts)
      throw Error("moe.load", fmt::format("the recorded load counts {} experts, the model has {}", line->numbers.size(), experts),
                  "record it with the same model");
  return out;
}

void normalise(std::vector<double>& shares) {
  double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  if (!(sum > 0)) shares.assign(shares.size(), 1.0), sum = static_cast<double>(shares.size());  // a Dirichlet draw may underflow
  for (double& s : shares) s /= sum;
}

}  // namespace

ExpertLoad expert_load(std::string_view text) {
  ExpertLoad out;
  if (text == "balanced") return out;
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  if (colon != std::string_view::npos) {
    const std::string_view rest = text.substr(colon + 1);
    if (kind == "file") return recorded(read_text_file(std::string(rest)), std::string(rest));
    if (kind == "counts") return recorded(rest, "moe.load");
    if (kind == "zipf" || kind == "dirichlet") {
      out.kind = kind == "zipf" ? ExpertLoad::Kind::zipf : ExpertLoad::Kind::dirichlet;
      out.alpha = number_after(text, colon);
      return out;
    }
  }
  throw Error("moe.load", fmt::format("'{}' is not a load of experts", text),
              "known: balanced, zipf:ALPHA, dirichlet:ALPHA, file:PATH, counts:LINES");
}

std::string write_expert_load(const std::vector<LayerLine>& lines) {
  return write_layer_lines(lines, "layer, copies of tokens for each expert; a line for each dispatch");
}

std::vector<double> expert_shares(const ExpertLoad& load, std::int64_t experts, std::uint64_t seed, std::int64_t layer) {
  const auto n = static_cast<std::size_t>(experts);
  std::vector<double> shares(n, 1.0);
  switch (load.kind) {
    case ExpertLoad::Kind::balanced:
      break;
    case ExpertLoad::Kind::zipf: {
      std::vector<std::pair<double, std::size_t>> order(n);
      for (std::size_t e = 0; e < n; ++e) order[e] = {uniform(key(seed, layer), e), e};
      std::sort(order.begin(), order.end());
      for (std::size_t i = 0; i < n; ++i) shares[order[i].second] = std::pow(static_cast<double>(i + 1), -load.alpha);
      break;
    }
    case ExpertLoad::Kind::dirichlet:
      for (std::size_t e = 0; e < n; ++e) shares[e] = gamma_variate(load.alpha, key(seed, layer), e);
      break;
    case ExpertLoad::Kind::recorded:
      shares.assign(n, 0.0);
      for (const LayerLine* line : dispatches(load, experts, layer))
        for (std::size_t e = 0; e < n; ++e) shares[e] += line->numbers[e];
      break;
  }
  normalise(shares);
  return shares;
}

std::vector<std::int64_t> expert_rows(const std::vector<double>& shares, std::int64_t tokens, std::int64_t k) {
  const std::size_t n = shares.size();
  std::vector<std::int64_t> rows(n, 0);
  std::vector<bool> full(n, false);
  std::int64_t left = tokens * k;
  // Experts that would get more than all tokens get them all, and the rest is spread again; each round fills one at least.
  for (bool again = true; again;) {
    again = false;
    double open = 0;
    for (std::size_t e = 0; e < n; ++e)
      if (!full[e]) open += shares[e];
    const std::int64_t before = left;
    for (std::size_t e = 0; e < n; ++e)
      if (!full[e] && open > 0 && static_cast<double>(before) * shares[e] / open >= static_cast<double>(tokens)) {
        full[e] = again = true;
        rows[e] = std::min(tokens, left);
        left -= rows[e];
      }
  }
  double open = 0;
  for (std::size_t e = 0; e < n; ++e)
    if (!full[e]) open += shares[e];
  // Whole numbers by largest remainder, the lower expert first among equals.
  std::vector<std::pair<double, std::size_t>> remainders;
  const std::int64_t spread = left;
  for (std::size_t e = 0; e < n; ++e) {
    if (full[e]) continue;
    const double exact = open > 0 ? static_cast<double>(spread) * shares[e] / open : 0;
    rows[e] = std::min(tokens, static_cast<std::int64_t>(exact));
    left -= rows[e];
    remainders.emplace_back(static_cast<double>(rows[e]) - exact, e);
  }
  std::sort(remainders.begin(), remainders.end());
  while (left > 0) {
    const std::int64_t start = left;
    for (const auto& [remainder, e] : remainders)
      if (left > 0 && rows[e] < tokens) ++rows[e], --left;
    if (left == start) break;  // every expert is full: k is above the number of experts
  }
  return rows;
}

BusiestRows busiest_rows(const ExpertLoad& load, std::int64_t tokens, std::int64_t k, std::int64_t experts, std::int64_t ep, std::uint64_t seed,
                         std::int64_t layer, std::span<const std::int32_t> by_place) {
  const auto per_rank = static_cast<std::size_t>(std::max<std::int64_t>(1, experts / ep));  // ep divides experts
  const auto of_busiest = [&](const std::vector<double>& shares) {
    const std::vector<std::int64_t> rows = expert_rows(shares, tokens, k);
    std::vector<std::int64_t> of_rank(static_cast<std::size_t>(ep), 0);
    for (std::size_t i = 0; i < rows.size(); ++i) of_rank[i / per_rank] += rows[by_place.empty() ? i : static_cast<std::size_t>(by_place[i])];
    return *std::max_element(of_rank.begin(), of_rank.end());
  };
  if (load.kind != ExpertLoad::Kind::recorded) {
    const std::int64_t rows = of_busiest(expert_shares(load, experts, seed, layer));
    return {rows, rows};
  }
  BusiestRows out;
  const std::vector<const LayerLine*> lines = dispatches(load, experts, layer);
  for (const LayerLine* line : lines) {
    std::vector<double> shares = line->numbers;
    normalise(shares);
    const std::int64_t rows = of_busiest(shares);
    out.mean += rows, out.most = std::max(out.most, rows);
  }
  const auto n = static_cast<std::int64_t>(lines.size());
  out.mean = (out.mean + n / 2) / n;
  return out;
}

namespace {

// C(n - taken, k) / C(n, k): that none of k of n is among those taken.
double missed(std::int64_t n, std::int64_t taken, std::int64_t k) {
  double p = 1;
  for (std::int64_t i = 0; i < k; ++i) p *= std::max(0.0, static_cast<double>(n - taken - i)) / static_cast<double>(n - i);
  return p;
}

}  // namespace

double distinct_places(std::int64_t experts, std::int64_t k, std::int64_t places) {
  return static_cast<double>(places) * (1 - missed(experts, experts / places, k));
}

double distinct_places_in_groups(std::int64_t experts, std::int64_t k, std::int64_t places, std::int64_t groups, std::int64_t chosen) {
  if (places <= groups) {  // a place holds whole groups; every chosen group is drawn from as if alone
    const std::int64_t per_place = groups / places, size = experts / groups;
    double expected = 0;
    // Of the chosen groups, g are of this place (hypergeometric); none of the k experts is among them with the probability missed().
    for (std::int64_t g = 0; g <= std::min(per_place, chosen); ++g) {
      double ways = 1;  // C(per_place, g) C(groups - per_place, chosen - g) / C(groups, chosen)
      const auto log_choose = [](std::int64_t n, std::int64_t m) {
        const auto d = [](std::int64_t v) { return std::lgamma(static_cast<double>(v + 1)); };
        return m < 0 || m > n ? -1e300 : d(n) - d(m) - d(n - m);
      };
      ways = std::exp(log_choose(per_place, g) + log_choose(groups - per_place, chosen - g) - log_choose(groups, chosen));
      expected += ways * (1 - missed(chosen * size, g * size, k));
    }
    return static_cast<double>(places) * expected;
  }
  // Places within a group: chosen · (places per group) of them are eligible, with equally many experts each.
  return distinct_places(experts / groups * chosen, k, places / groups * chosen);
}

}  // namespace orrery::program
