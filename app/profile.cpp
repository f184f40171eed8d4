#include "app/profile.h"

#include <algorithm>
#include <array>

#include "app/gpu.h"
#include "app/version.h"
#include "core/cluster_json.h"
#include "core/error.h"
#include "core/model_json.h"
#include "cost/transfer.h"
#include "executor/comm/processes.h"
#include "executor/cuda_world.h"
#include "profiler/grid.h"
#include "profiler/profile_cpu.h"
#include "profiler/profile_world.h"
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

namespace {

// How the GPUs of all processes talk; all processes call it at the same time.
profiler::WorldProfile profile_network(const ProfileSettings& settings, const executor::CudaPlugin& plugin,
                                       const std::vector<executor::CudaDeviceInfo>& devices, Seconds limit) {
  constexpr std::int64_t kMost = std::int64_t{8} << 30U, kProduct = 4096;
  const executor::Launch& launch = settings.launch;
  const auto visible = static_cast<std::int64_t>(devices.size());
  // Whoever starts several processes of a machine shows them all its GPUs, or each its own.
  const std::int64_t each = std::max<std::int64_t>(1, visible / std::max<std::int64_t>(1, launch.local_processes));
  const std::int64_t ranks = launch.processes * each;
  program::Program program;
  program.mesh = program::dense_mesh(1, 1, ranks, 1);
  program.roles.emplace_back();
  executor::CudaWorldSettings world_settings;
  world_settings.options = cuda_options();
  std::unique_ptr<executor::KeyStore> store = launch.processes > 1 ? executor::meet(launch) : nullptr;
  const std::unique_ptr<executor::World> world = executor::make_cuda_world(plugin, program, world_settings, std::move(store), launch);
  profiler::WorldProfileOptions options;
  options.limit = limit;
  options.node_size = each * launch.local_processes;
  options.memory = devices.front().memory / 10 * 8;
  options.product.op = program::Operator::linear_forward;
  options.product.dtype = DType::bf16;
  options.product.dims = {kProduct, kProduct, kProduct};
  const auto progress = [&](const profiler::ProfileProgress& p) {
    if (settings.progress) settings.progress(p.done, p.total, p.what);
  };
  return profiler::profile_world(*world, profiler::world_items(ranks, options.node_size, kMost), options, progress, settings.cancel);
}

}  // namespace

Profile profile(const ProfileSettings& settings, const executor::CudaPlugin& plugin) {
  const int number = cuda_number(settings.device).value_or(0);
  const std::vector<executor::CudaDeviceInfo> devices = plugin.devices();
  const std::string& device = cuda_device(devices, number).name;
  GpuProfileSettings gpu;
  gpu.budget = settings.budget.value_or(gpu.budget);
  profiler::WorldProfile network;
  const bool known = settings.launch.processes == 1 && settings.earlier && settings.earlier->device == device &&
                     settings.earlier->commit == commit() && commit() != "unknown" && !settings.earlier->collectives.empty();
  if (settings.launch.processes > 1 || (settings.device == "cuda" && devices.size() > 1 && !known)) {
    const Seconds share = gpu.budget * 0.25;
    network = profile_network(settings, plugin, devices, share);
    gpu.budget = gpu.budget - share;
    if (settings.launch.process > 0) return {};
  }
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
  Profile out = profile_gpu(plugin, number, gpu);
  if (!network.collectives.empty()) out.collectives = std::move(network.collectives), out.interference = std::move(network.interference);
  out.left_out.insert(out.left_out.end(), network.left_out.begin(), network.left_out.end());
  return out;
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
