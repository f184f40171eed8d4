#include "program/expert_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/files.h"

namespace orrery::program {

ExpertMap expert_map(std::string_view text) {
  constexpr std::string_view kFile = "file:", kPlaces = "places:";
  const std::string number = "a rank's place on ep";
  if (text == "linear") return {};
  if (text == "round-robin") return {ExpertMap::Kind::round_robin, {}};
  if (text.starts_with(kFile)) {
    const std::string path(text.substr(kFile.size()));
    return {ExpertMap::Kind::listed, read_layer_lines(read_text_file(path), path, number)};
  }
  if (text.starts_with(kPlaces)) return {ExpertMap::Kind::listed, read_layer_lines(text.substr(kPlaces.size()), "moe.expert_map", number)};
  throw Error("moe.expert_map", fmt::format("'{}' is not a map of experts", text), "known: linear, round-robin, file:PATH, places:LINES");
}

std::vector<std::int32_t> experts_by_place(const ExpertMap& map, std::int64_t experts, std::int64_t ep, std::int64_t layer) {
  if (map.kind == ExpertMap::Kind::linear) return {};
  const auto refuse = [&](std::string reason, const char* hint) { throw Error("moe.expert_map", std::move(reason), hint); };
  const LayerLine* said = nullptr;
  if (map.kind == ExpertMap::Kind::listed) {
    const std::vector<const LayerLine*> lines = lines_of(map.lines, layer);
    if (lines.size() != 1)
      refuse(fmt::format("{} lines say where the experts of layer {} are", lines.size(), layer), "write one, or * for all that none names");
    said = lines.front();
    if (static_cast<std::int64_t>(said->numbers.size()) != experts)
      refuse(fmt::format("it places {} experts, the model has {}", said->numbers.size(), experts), "write a number for each expert");
  }
  const auto place = [&](std::int32_t e) { return said ? said->numbers[static_cast<std::size_t>(e)] : static_cast<double>(e % ep); };
  std::vector<std::int32_t> out(static_cast<std::size_t>(experts));
  std::iota(out.begin(), out.end(), 0);
  std::stable_sort(out.begin(), out.end(), [&](std::int32_t a, std::int32_t b) { return place(a) < place(b); });
  const std::int64_t local = experts / ep;
  for (std::size_t i = 0; i < out.size(); ++i)
    if (const auto due = static_cast<std::int64_t>(i) / local; place(out[i]) != static_cast<double>(due))
      refuse(fmt::format("layer {} puts expert {} on rank {} of {}, where equally many, {} each, would put it on rank {}", layer, out[i],
                         place(out[i]), ep, local, due),
             "give each of the ranks 0 to ep - 1 equally many experts");
  return out;
}

}  // namespace orrery::program
