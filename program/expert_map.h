// Which rank holds which of a layer's experts.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "program/layer_lines.h"

namespace orrery::program {

// linear: the first experts on the first rank of ep, and so on. round_robin: expert e on rank e mod ep. listed: as lines say.
struct ExpertMap {
  enum class Kind : std::uint8_t { linear, round_robin, listed } kind = Kind::linear;
  std::vector<LayerLine> lines;  // by expert, the place on ep of the rank that holds it
  bool operator==(const ExpertMap&) const = default;
};

// "linear", "round-robin", "file:PATH" of lines as in layer_lines.h, or "places:" and such lines themselves. Throws Error, where: moe.expert_map or
// the file's line.
ExpertMap expert_map(std::string_view text);

// The experts that the ranks of ep hold, rank after rank, of each in order of their numbers; empty: experts are in order. Throws Error, where
// moe.expert_map, if nothing is said of the layer, or of another number of experts, or ranks would hold unequal numbers of them.
std::vector<std::int32_t> experts_by_place(const ExpertMap& map, std::int64_t experts, std::int64_t ep, std::int64_t layer);

}  // namespace orrery::program
