// Reports as text for people.
#pragma once

#include <cstddef>
#include <string>

#include "app/compare.h"
#include "app/demo.h"
#include "app/details.h"
#include "app/plan.h"
#include "app/run.h"
#include "app/schedule.h"
#include "app/simulate.h"

namespace orrery::cli {

std::string text(const app::SimulateReport& report, bool explain);
// What `--explain` and `--at` add.
std::string text(const app::Details& details);
std::string text(const app::Moment& moment);
std::string text(const app::PlanReport& report, bool explain);
std::string text(const app::CompareReport& report);
std::string text(const app::RunReport& report);
std::string text(const app::DemoReport& report);
// At most `width` columns wide where the names of ranks leave room.
std::string text(const app::ScheduleReport& report, std::size_t width);
// The waterfall as bars: part, seconds, share.
std::string text(const Waterfall& waterfall);

}  // namespace orrery::cli
