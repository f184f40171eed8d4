// How many tokens each expert gets, where a router is free: a pure function of layer and seed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "program/layer_lines.h"

namespace orrery::program {

// How tokens spread over experts. balanced: evenly. zipf: the i-th most popular expert's share is in proportion to i^-α, and which is how popular
// differs from layer to layer. dirichlet: shares drawn anew for each layer, all parameters α. recorded: what a router did.
struct ExpertLoad {
  enum class Kind : std::uint8_t { balanced, zipf, dirichlet, recorded } kind = Kind::balanced;
  double alpha = 1;
  // recorded: copies of tokens by expert. Several lines of a layer are several dispatches: of micro-batches, and of groups of ranks that share its
  // experts.
  std::vector<LayerLine> lines;
  bool operator==(const ExpertLoad&) const = default;
};

// "balanced", "zipf:1.2", "dirichlet:0.3", "file:PATH" of lines as in layer_lines.h, or "counts:" and such lines themselves. Throws Error, where:
// moe.load or the file's line.
ExpertLoad expert_load(std::string_view text);
// A file that expert_load reads.
std::string write_expert_load(const std::vector<LayerLine>& lines);

// The experts' shares of the copies, before what one expert can get is limited. Throws Error where a recorded load has no line for it, or another
// number of experts.
std::vector<double> expert_shares(const ExpertLoad& load, std::int64_t experts, std::uint64_t seed, std::int64_t layer);

// Copies that each expert gets of `tokens` tokens that choose k experts each: they add up to tokens · k, and since a token chooses an expert once,
// none is above `tokens`; what is above is spread over the others in proportion to their shares.
std::vector<std::int64_t> expert_rows(const std::vector<double>& shares, std::int64_t tokens, std::int64_t k);

// The rows of the rank whose experts of a layer have most, of ep ranks with equally many experts each; with expert tensor parallelism every shard has
// the same. All groups of ranks that share experts see the same draw, and so does every micro-batch; of a recorded load each dispatch has its own
// busiest rank, brought to this number of tokens if it had others: `mean` of them is what others wait for, `most` what memory must hold.
struct BusiestRows {
  std::int64_t mean = 0, most = 0;
  bool operator==(const BusiestRows&) const = default;
};
// `by_place`: the experts in the order of the ranks that hold them, as experts_by_place says.
BusiestRows busiest_rows(const ExpertLoad& load, std::int64_t tokens, std::int64_t k, std::int64_t experts, std::int64_t ep, std::uint64_t seed,
                         std::int64_t layer, std::span<const std::int32_t> by_place = {});

// Expected places that a token's k experts of E are on, of `places` with equally many experts each: places · (1 − C(E − E/places, k) / C(E, k)).
double distinct_places(std::int64_t experts, std::int64_t k, std::int64_t places);
// The same where only experts of `chosen` of `groups` groups (of consecutive experts, each on places of its own) are chosen from, groups being drawn
// evenly. Requires that places are whole groups, or groups whole places.
double distinct_places_in_groups(std::int64_t experts, std::int64_t k, std::int64_t places, std::int64_t groups, std::int64_t chosen);

}  // namespace orrery::program
