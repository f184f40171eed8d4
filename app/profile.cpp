#include "app/profile.h"

#include <array>

#include "app/version.h"
#include "core/error.h"
#include "profiler/grid.h"
#include "profiler/profile_cpu.h"
#include "program/compile.h"

namespace orrery::app {

Profile profile(const ProfileSettings& settings) {
  profiler::ProfileGrid grid = profiler::default_grid();
  if (settings.of_plan) {
    const Inputs in = load_inputs(settings.plan);
    if (in.cluster.device.kind != DeviceKind::cpu_core)
      throw Error("--cluster", "'" + in.plan.cluster + "' is not this machine", "profile its CPU with --cluster this-machine");
    const std::array<program::Program, 1> programs{compile(in)};
    grid = profiler::grid_for(programs, profiler::settings_of(in.model));
  }
  profiler::ProfileOptions options;
  options.limit = settings.budget;
  options.commit = commit();
  const auto progress = [&](const profiler::ProfileProgress& p) {
    if (settings.progress) settings.progress(p.done, p.total, p.what);
  };
  return profiler::profile_cpu(grid, options, progress, settings.cancel);
}

}  // namespace orrery::app
