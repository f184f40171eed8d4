#include "gui/view/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/quantity_text.h"

namespace orrery::view {

std::string_view title(SweepFigure figure) {
  constexpr std::array<std::string_view, kSweepFigures.size()> titles{"step time",   "tokens/s per device", "MFU", "bubble", "exposed communication",
                                                                      "peak memory", "energy per step"};
  return titles[static_cast<std::size_t>(figure)];
}

bool less_is_better(SweepFigure figure) { return figure != SweepFigure::throughput && figure != SweepFigure::mfu; }

std::string text(SweepFigure figure, double value) {
  switch (figure) {
    case SweepFigure::step_time:
    case SweepFigure::exposed:
      return format_seconds(Seconds{value});
    case SweepFigure::throughput:
      return value < 10 ? fmt::format("{:.2g}", value) : format_count(std::round(value));
    case SweepFigure::mfu:
    case SweepFigure::bubble:
      return format_percent(value);
    case SweepFigure::memory:
      return format_bytes(Bytes{std::llround(value)});
    case SweepFigure::energy:
      return format_energy(Joules{value});
  }
  return {};
}

std::optional<double> value(SweepFigure figure, const app::SweepRow& row) {
  if (!(row.step_time_s > 0)) return std::nullopt;
  switch (figure) {
    case SweepFigure::step_time:
      return row.step_time_s;
    case SweepFigure::throughput:
      return row.tokens_per_s_per_gpu;
    case SweepFigure::mfu:
      return row.mfu;
    case SweepFigure::bubble:
      return row.bubble_fraction;
    case SweepFigure::exposed:
      return row.exposed_communication_s;
    case SweepFigure::memory:
      return static_cast<double>(row.peak_memory_bytes);
    case SweepFigure::energy:  // older tables have none
      return row.energy_j > 0 ? std::optional(row.energy_j) : std::nullopt;
  }
  return std::nullopt;
}

HeatMap heat_map(const app::SweepReport& report, std::size_t x, std::optional<std::size_t> y, SweepFigure figure) {
  const bool two = y.has_value() && *y != x;
  const std::size_t down = two ? *y : x;
  HeatMap map;
  map.figure = figure;
  map.x = report.axes[x].path;
  map.columns = report.axes[x].values;
  if (two) map.y = report.axes[down].path;
  map.lines = two ? report.axes[down].values : std::vector<std::string>{""};
  map.cells.resize(map.columns.size() * map.lines.size());
  const auto place = [](const std::vector<std::string>& values, const std::string& value) {
    return static_cast<std::size_t>(std::find(values.begin(), values.end(), value) - values.begin());
  };
  const auto better = [&](double a, double b) { return less_is_better(figure) ? a < b : a > b; };
  for (std::size_t r = 0; r < report.rows.size(); ++r) {
    const app::SweepRow& row = report.rows[r];
    const std::size_t column = place(map.columns, row.values[x]), line = two ? place(map.lines, row.values[down]) : 0;
    if (column == map.columns.size() || line == map.lines.size()) continue;
    HeatCell& cell = map.cells[line * map.columns.size() + column];
    ++cell.points;
    const std::optional<double> mine = value(figure, row);
    const bool fits = row.status == "ok";
    // What fits goes before what does not, and that before what was refused.
    const int rank = !mine ? 0 : fits ? 2 : 1, shown = !cell.value ? 0 : cell.fits ? 2 : 1;
    if (cell.row && (rank < shown || (rank == shown && (!mine || !better(*mine, *cell.value))))) continue;
    cell.row = r;
    cell.value = mine;
    cell.fits = fits || !mine;
    cell.why = fits ? "" : row.status;
  }
  std::optional<double> low, high;
  for (std::size_t c = 0; c < map.cells.size(); ++c) {
    const HeatCell& cell = map.cells[c];
    if (!cell.value) continue;
    low = std::min(low.value_or(*cell.value), *cell.value);
    high = std::max(high.value_or(*cell.value), *cell.value);
    if (cell.fits && (!map.best || better(*cell.value, *map.cells[*map.best].value))) map.best = c;
  }
  constexpr double kSpread = 30;
  map.scale = {low.value_or(0), high.value_or(1), low && *low > 0 && *high > kSpread * *low};
  return map;
}

std::optional<std::size_t> HeatLayout::hit(double px, double py) const {
  if (!(px >= left && py >= top && px < right() && py < bottom())) return std::nullopt;
  const auto column = std::min(columns - 1, static_cast<std::size_t>((px - left) / cell_width));
  const auto line = std::min(lines - 1, static_cast<std::size_t>((py - top) / cell_height));
  return line * columns + column;
}

HeatLayout heat_layout(const HeatMap& map, double left, double top, double right, double bottom) {
  constexpr double kWidest = 320, kHighest = 130;
  HeatLayout out{left, top, 0, 0, map.columns.size(), map.lines.size()};
  if (map.cells.empty() || !(right > left) || !(bottom > top)) {
    out.columns = out.lines = 0;
    return out;
  }
  out.cell_width = std::min(kWidest, (right - left) / static_cast<double>(out.columns));
  out.cell_height = std::min(kHighest, (bottom - top) / static_cast<double>(out.lines));
  return out;
}

}  // namespace orrery::view
