#include "app/profile.h"

#include <array>

#include "app/gpu.h"
#include "app/version.h"
#include "core/cluster_json.h"
#include "core/error.h"
#include "core/model_json.h"
#include "cost/transfer.h"
#include "profiler/grid.h"
#include "profiler/profile_cpu.h"
#include "program/compile.h"

namespace orrery::app {

Profile profile(const ProfileSettings& settings) {
  if (cuda_number(settings.device)) return profile(settings, executor::load_cuda_plugin());
  profiler::ProfileGrid grid = profiler::default_grid();
  if (settings.of_plan) {
    const Inputs in = load_inputs(settings.plan);
    if (in.cluster.device.kind != DeviceKind::cpu_core)
      throw Error("--cluster", "'" + in.plan.cluster + "' is not this machine's CPU",
                  "profile that with --cluster this-machine, or a GPU with --device cuda");
    const std::array<program::Program, 1> programs{compile(in)};
    grid = profiler::grid_for(programs, profiler::settings_of(in.model));
  }
  profiler::ProfileOptions options;
  options.limit = settings.budget.value_or(Seconds{60});
  options.commit = commit();
  const auto progress = [&](const profiler::ProfileProgress& p) {
    if (settings.progress) settings.progress(p.done, p.total, p.what);
  };
  return profiler::profile_cpu(grid, options, progress, settings.cancel);
}

Profile profile(const ProfileSettings& settings, const executor::CudaPlugin& plugin) {
  const int number = cuda_number(settings.device).value_or(0);
  const std::vector<executor::CudaDeviceInfo> devices = plugin.devices();
  const std::string part = part_of(cuda_device(devices, number));
  GpuProfileSettings gpu;
  gpu.budget = settings.budget.value_or(gpu.budget);
  gpu.earlier = settings.earlier;
  gpu.save = settings.save;
  gpu.progress = settings.progress;
  gpu.note = settings.note;
  gpu.cancel = settings.cancel;
  std::vector<program::Program> programs;
  executor::KernelSettings of_plan;
  std::vector<Model> models;
  Cluster cluster;
  if (settings.of_plan) {
    PlanFlags flags = settings.plan;
    flags.cluster = gpu_cluster_for(flags.cluster, devices, number);
    const Inputs in = load_inputs(flags);
    if (in.cluster.device.kind != DeviceKind::gpu)
      throw Error("--cluster", "'" + in.plan.cluster + "' has no GPUs", "leave --cluster out, or name one of topologies/clusters with them");
    programs = {compile(in)};
    of_plan = profiler::settings_of(in.model, in.plan);
  } else {
    for (const std::string& name : profiler::grid_models()) models.push_back(load_model(name));
    cluster = load_cluster("dgx-h200");  // shapes do not depend on which GPU it is
  }
  gpu.grid = [&](const executor::KernelSet& kernels) {
    return settings.of_plan ? profiler::grid_for(programs, of_plan, kernels, profiler::kGpuFootprints) : profiler::gpu_grid(models, cluster, kernels);
  };
  return profile_gpu(plugin, number, gpu);
}

Profile transferred(const Profile& profile, const std::string& part) {
  const Device to = load_device(part);
  if (profile.transferred)
    throw Error("--transfer-to", "the profile was transferred from " + profile.transferred->from + " already",
                "start from the one that was measured");
  if (profile.part.empty())
    throw Error("--transfer-to", "the profile does not say what device of topologies/devices " + profile.device + " is",
                "write its name into the profile's field 'part'");
  return cost::transfer(profile, load_device(profile.part), to);
}

}  // namespace orrery::app
