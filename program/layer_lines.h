// Numbers for each expert, layer by layer, as files say them: recorded loads of experts, maps of experts to ranks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orrery::program {

// What one line says; layer -1: of every layer that no line names.
struct LayerLine {
  std::int64_t layer = -1;
  std::vector<double> numbers;  // by expert
  bool operator==(const LayerLine&) const = default;
};

// A line is a layer (a number, or * for all) and a number that is not negative for each expert, parted by spaces or commas, up to the line's end or a
// semicolon; what begins with # says nothing, up to the line's end. `number` is what a number is called. Throws Error, where: `source` with the line.
std::vector<LayerLine> read_layer_lines(std::string_view text, const std::string& source, const std::string& number);
// What read_layer_lines reads, under a line of comment.
std::string write_layer_lines(const std::vector<LayerLine>& lines, std::string_view comment);

// The lines that say something of a layer: those that name it, else those of all.
std::vector<const LayerLine*> lines_of(const std::vector<LayerLine>& lines, std::int64_t layer);

}  // namespace orrery::program
