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

ExpertLoad recorded(const std::string& path) {
  ExpertLoad out;
  out.kind = ExpertLoad::Kind::recorded;
  const std::string text = read_text_file(path);
  std::size_t number = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find('\n', from), text.size());
    std::string line = text.substr(from, to - from);
    from = to + 1;
    ++number;
    std::replace_if(
        line.begin(), line.end(), [](char c) { return c == ',' || c == '\t' || c == '\r'; }, ' ');
    std::vector<std::string_view> words;
    for (std::size_t a = 0; a < line.size();) {
      const std::size_t begin = std::min(line.find_first_not_of(' ', a), line.size()), end = std::min(line.find(' ', begin), line.size());
      if (begin < end) words.push_back(std::string_view(line).substr(begin, end - begin));
      a = end + 1;
    }
    if (words.empty() || words[0].front() == '#') continue;
    const auto value = [&](std::string_view word) {
      double v = -1;
      const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), v);
      if (error != std::errc{} || stop != word.data() + word.size() || !(v >= 0) || !(v < 1e15))
        throw Error(fmt::format("{}:{}", path, number), fmt::format("'{}' is not a count", word),
                    "a line is a layer (a number or *) and a count for each expert");
      return v;
    };
    if (words.size() < 2)
      throw Error(fmt::format("{}:{}", path, number), "has no counts", "a line is a layer (a number or *) and a count for each expert");
    ExpertLoad::Line& l = out.lines.emplace_back();
    if (words[0] != "*") l.layer = static_cast<std::int64_t>(value(words[0]));
    for (std::size_t i = 1; i < words.size(); ++i) l.counts.push_back(value(words[i]));
    if (std::accumulate(l.counts.begin(), l.counts.end(), 0.0) <= 0)
      throw Error(fmt::format("{}:{}", path, number), "counts nothing", "some expert must have tokens");
  }
  if (out.lines.empty()) throw Error(path, "has no line of counts", "a line is a layer (a number or *) and a count for each expert");
  return out;
}

}  // namespace

ExpertLoad expert_load(std::string_view text) {
  ExpertLoad out;
  if (text == "balanced") return out;
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  if (colon != std::string_view::npos) {
    if (kind == "file") return recorded(std::string(text.substr(colon + 1)));
    if (kind == "zipf" || kind == "dirichlet") {
      out.kind = kind == "zipf" ? ExpertLoad::Kind::zipf : ExpertLoad::Kind::dirichlet;
      out.alpha = number_after(text, colon);
      return out;
    }
  }
  throw Error("moe.load", fmt::format("'{}' is not a load of experts", text), "known: balanced, zipf:ALPHA, dirichlet:ALPHA, file:PATH");
}

std::string write_expert_load(const std::vector<ExpertLoad::Line>& lines) {
  std::string out = "# layer, tokens of each expert\n";
  for (const ExpertLoad::Line& line : lines) {
    out += line.layer < 0 ? std::string("*") : fmt::format("{}", line.layer);
    for (const double n : line.counts) out += fmt::format(" {}", n);
    out += "\n";
  }
  return out;
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
    case ExpertLoad::Kind::recorded: {
      const ExpertLoad::Line* found = nullptr;
      for (const ExpertLoad::Line& line : load.lines)
        if (line.layer < 0 || line.layer == layer) found = &line;
      if (!found) throw Error("moe.load", fmt::format("the recorded load has no line for layer {}", layer), "write * for a layer to mean all");
      if (found->counts.size() != n)
        throw Error("moe.load", fmt::format("the recorded load counts {} experts, the model has {}", found->counts.size(), n),
                    "record it with the same model");
      shares = found->counts;
      break;
    }
  }
  double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  if (!(sum > 0)) shares.assign(n, 1.0), sum = static_cast<double>(n);  // a Dirichlet draw may underflow
  for (double& s : shares) s /= sum;
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

std::int64_t busiest_rows(const ExpertLoad& load, std::int64_t tokens, std::int64_t k, std::int64_t experts, std::int64_t ep, std::uint64_t seed,
                          std::int64_t layer) {
  const std::vector<std::int64_t> rows = expert_rows(expert_shares(load, experts, seed, layer), tokens, k);
  std::vector<std::int64_t> of_rank(static_cast<std::size_t>(ep), 0);
  const auto per_rank = static_cast<std::size_t>(std::max<std::int64_t>(1, experts / ep));  // ep divides experts
  for (std::size_t e = 0; e < rows.size(); ++e) of_rank[e / per_rank] += rows[e];
  return *std::max_element(of_rank.begin(), of_rank.end());
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
