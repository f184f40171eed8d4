// The results of a sweep as a map: two of its fields across and down, a figure by colour.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/sweep.h"
#include "gui/view/colour_scale.h"

namespace orrery::view {

// What a sweep says of a point.
enum class SweepFigure : std::uint8_t { step_time, throughput, mfu, bubble, exposed, memory, energy };
inline constexpr std::array kSweepFigures{SweepFigure::step_time, SweepFigure::throughput, SweepFigure::mfu,   SweepFigure::bubble,
                                          SweepFigure::exposed,   SweepFigure::memory,     SweepFigure::energy};
std::string_view title(SweepFigure figure);  // "step time", "tokens/s per device", …
bool less_is_better(SweepFigure figure);
std::string text(SweepFigure figure, double value);                         // with its unit
std::optional<double> value(SweepFigure figure, const app::SweepRow& row);  // nothing for a point that was refused, or of a table without the figure

// All points that share two values; what it shows is the best of them.
struct HeatCell {
  std::optional<double> value;
  std::optional<std::size_t> row;  // of the report: the one with the value, otherwise the first that was refused; nothing: no such point
  std::size_t points = 0;
  bool fits = true;  // false: it was simulated, and needs more memory than there is
  std::string why;   // it has no value, or does not fit
};

struct HeatMap {
  std::string x, y;                         // the paths; y is empty where the sweep has one axis
  std::vector<std::string> columns, lines;  // their values; one line without a name where y is empty
  std::vector<HeatCell> cells;              // by line, then column
  SweepFigure figure = SweepFigure::step_time;
  ColourScale scale;                // over all values; logarithmic where they spread more than thirtyfold
  std::optional<std::size_t> best;  // cell: the best of those that fit
};

// Fields by their number in report.axes; the same one twice, or no second, makes a single line. Requires x < report.axes.size().
HeatMap heat_map(const app::SweepReport& report, std::size_t x, std::optional<std::size_t> y, SweepFigure figure);

// Where the cells of a map stand: as large as the room allows, up to a size beyond which they only look empty.
struct HeatLayout {
  double left = 0, top = 0, cell_width = 0, cell_height = 0;
  std::size_t columns = 0, lines = 0;

  double right() const { return left + cell_width * static_cast<double>(columns); }
  double bottom() const { return top + cell_height * static_cast<double>(lines); }
  double x(std::size_t cell) const { return left + cell_width * static_cast<double>(cell % columns); }
  double y(std::size_t cell) const {
    const std::size_t line = cell / columns;
    return top + cell_height * static_cast<double>(line);
  }
  std::optional<std::size_t> hit(double px, double py) const;  // the cell at a pixel
};
HeatLayout heat_layout(const HeatMap& map, double left, double top, double right, double bottom);

}  // namespace orrery::view
