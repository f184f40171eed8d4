// How many tokens each expert gets, where a router is free: a pure function of layer and seed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orrery::program {

// How tokens spread over experts. balanced: evenly. zipf: the i-th most popular expert's share is in proportion to i^-α, and which is how popular
// differs from layer to layer. dirichlet: shares drawn anew for each layer, all parameters α. recorded: counts from a file.
struct ExpertLoad {
  enum class Kind : std::uint8_t { balanced, zipf, dirichlet, recorded } kind = Kind::balanced;
  double alpha = 1;
  // recorded: what a line says; -1: of every layer. The last line that fits counts.
  struct Line {
    std::int64_t layer = -1;
    std::vector<double> counts;  // by expert
    bool operator==(const Line&) const = default;
  };
  std::vector<Line> lines;
  bool operator==(const ExpertLoad&) const = default;
};

// "balanced", "zipf:1.2", "dirichlet:0.3" or "file:PATH". A line of the file is a layer (a number, or * for all) and a count for each expert, parted
// by spaces or commas; lines that begin with # say nothing. Throws Error, where: moe.load or the file's line.
ExpertLoad expert_load(std::string_view text);
// Lines that expert_load reads.
std::string write_expert_load(const std::vector<ExpertLoad::Line>& lines);

// The experts' shares of the copies, before what one expert can get is limited. Throws Error where a recorded load has no line for it, or another
// number of experts.
std::vector<double> expert_shares(const ExpertLoad& load, std::int64_t experts, std::uint64_t seed, std::int64_t layer);

// Copies that each expert gets of `tokens` tokens that choose k experts each: they add up to tokens · k, and since a token chooses an expert once,
// none is above `tokens`; what is above is spread over the others in proportion to their shares.
std::vector<std::int64_t> expert_rows(const std::vector<double>& shares, std::int64_t tokens, std::int64_t k);

// The rows of the rank whose experts of this layer have most, of ep ranks with equally many consecutive experts each; with expert tensor parallelism
// every shard has the same. All groups of ranks that share experts see the same draw, and so does every micro-batch.
std::int64_t busiest_rows(const ExpertLoad& load, std::int64_t tokens, std::int64_t k, std::int64_t experts, std::int64_t ep, std::uint64_t seed,
                          std::int64_t layer);

// Expected places that a token's k experts of E are on, of `places` with equally many experts each: places · (1 − C(E − E/places, k) / C(E, k)).
double distinct_places(std::int64_t experts, std::int64_t k, std::int64_t places);
// The same where only experts of `chosen` of `groups` groups (of consecutive experts, each on places of its own) are chosen from, groups being drawn
// evenly. Requires that places are whole groups, or groups whole places.
double distinct_places_in_groups(std::int64_t experts, std::int64_t k, std::int64_t places, std::int64_t groups, std::int64_t chosen);

}  // namespace orrery::program
