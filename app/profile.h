// This machine measured, as a verb.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "app/inputs.h"
#include "core/profile.h"

namespace orrery::app {

struct ProfileSettings {
  bool of_plan = false;  // measure the shapes that `plan` needs; otherwise the standard grid
  PlanFlags plan;
  Seconds budget{60};
  std::function<void(std::int64_t done, std::int64_t of, const std::string& note)> progress;
  const std::atomic<bool>* cancel = nullptr;
};

// Throws Error for an illegal plan. Cancelled: what was measured until then.
Profile profile(const ProfileSettings& settings);

}  // namespace orrery::app
