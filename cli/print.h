// Reports as text for people.
#pragma once

#include <string>

#include "app/compare.h"
#include "app/plan.h"
#include "app/simulate.h"

namespace orrery::cli {

std::string text(const app::SimulateReport& report, bool explain);
std::string text(const app::PlanReport& report, bool explain);
std::string text(const app::CompareReport& report);
// The waterfall as bars: part, seconds, share.
std::string text(const Waterfall& waterfall);

}  // namespace orrery::cli
