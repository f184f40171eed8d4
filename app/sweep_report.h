// What reads the two forms of a sweep's table; within app.
#pragma once

#include <string>
#include <string_view>

#include "app/sweep.h"

namespace orrery::app {

// Puts a number into the field that the column is for; throws Error at `where` for a column that no sweep has.
void put_figure(SweepRow& row, const std::string& column, double value, const std::string& where);

// As read_sweep_report, of its JSON; leaves the axes' values to it.
SweepReport read_sweep_report_json(std::string_view text, const std::string& file);

}  // namespace orrery::app
