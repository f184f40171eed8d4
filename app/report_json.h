// The parts that several reports share, as JSON text to be put into a larger document. Internal to app.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "app/summary.h"
#include "core/cluster.h"

namespace orrery::app {

nlohmann::ordered_json summary_json(const Summary& summary);
nlohmann::ordered_json waterfall_json(const Waterfall& waterfall);  // {"step_ps": …, "ideal_ps": …}
struct SimulateReport;
nlohmann::ordered_json simulation_json(const SimulateReport& report);
nlohmann::ordered_json provenance_json(const std::string& inputs_hash);
std::string grade_name(Grade grade);

}  // namespace orrery::app
