#include "app/gpu.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "core/cluster_json.h"
#include "core/error.h"
#include "profiler/nvml.h"

namespace orrery::app {

std::optional<int> cuda_number(const std::string& device) {
  if (device == "cpu") return std::nullopt;
  if (device == "cuda") return 0;
  constexpr std::string_view kPrefix = "cuda:";
  if (device.starts_with(kPrefix)) {
    int number = -1;
    const char* end = device.data() + device.size();
    const auto [stop, failure] = std::from_chars(device.data() + kPrefix.size(), end, number);
    if (failure == std::errc{} && stop == end && number >= 0) return number;
  }
  throw Error("--device", fmt::format("'{}' is no device", device), "write cpu, cuda, or cuda:1 for the second GPU");
}

const executor::CudaDeviceInfo& cuda_device(const std::vector<executor::CudaDeviceInfo>& devices, int number) {
  if (number < 0 || static_cast<std::size_t>(number) >= devices.size())
    throw Error("--device", fmt::format("there is no cuda:{}: this machine has {}, counted from 0", number, devices.size()),
                "'nvidia-smi -L' lists them, and CUDA_VISIBLE_DEVICES hides some");
  return devices[static_cast<std::size_t>(number)];
}

std::string part_of(const executor::CudaDeviceInfo& device) {
  // Words of CUDA's names (cudaDeviceProp::name: "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB", "Tesla V100-SXM2-16GB"); the first that fits.
  struct Known {
    std::string_view word, also, part;
    std::int64_t most_memory;  // GiB; 0: any
  };
  constexpr std::array<Known, 12> kKnown{{{"GB300", "", "gb300", 0},
                                          {"GB200", "", "gb200", 0},
                                          {"B300", "", "b300-sxm", 0},
                                          {"B200", "", "b200-sxm", 0},
                                          {"H200", "", "h200-sxm", 0},
                                          {"H800", "", "h800-sxm", 0},
                                          {"H100", "HBM3", "h100-sxm", 90},
                                          {"H100", "SXM", "h100-sxm", 90},
                                          {"A100", "SXM", "a100-40-sxm", 48},
                                          {"A100", "SXM", "a100-80-sxm", 0},
                                          {"V100", "SXM2", "v100-sxm2", 0},
                                          {"V100", "SXM3", "v100-sxm2", 0}}};
  const std::string& name = device.name;
  if (name.find("PCIe") != std::string::npos || name.find("NVL") != std::string::npos || name.find("GH200") != std::string::npos) return {};
  for (const Known& k : kKnown) {
    const bool small = k.most_memory == 0 || device.memory <= k.most_memory << 30U;
    if (name.find(k.word) != std::string::npos && name.find(k.also) != std::string::npos && small) return std::string(k.part);
  }
  return {};
}

std::string gpu_cluster(const executor::CudaDeviceInfo& device, std::int64_t devices) {
  const std::string part = part_of(device);
  std::string found;
  if (!part.empty())
    for (const std::string& name : cluster_names()) {
      if (name == "this-machine") continue;
      const Cluster c = load_cluster(name);
      if (c.device.name != part || c.node_size < devices) continue;
      if (found.empty() || (name.starts_with("dgx") && !found.starts_with("dgx"))) found = name;
    }
  if (found.empty())
    throw Error("--cluster", fmt::format("no cluster of {} {} ships with Orrery", devices, device.name),
                "describe it in a file as those in topologies/clusters, and name that: --cluster my.json");
  return fmt::format("{}:{}", found, devices);
}

std::string gpu_cluster_for(const std::string& cluster, const std::vector<executor::CudaDeviceInfo>& devices, int number) {
  constexpr std::string_view kThis = "this-machine";
  if (!cluster.starts_with(kThis)) return cluster;
  std::int64_t count = static_cast<std::int64_t>(devices.size());
  if (cluster.size() > kThis.size()) {
    const char* end = cluster.data() + cluster.size();
    const auto [stop, failure] = std::from_chars(cluster.data() + kThis.size() + 1, end, count);
    if (cluster[kThis.size()] != ':' || failure != std::errc{} || stop != end || count < 1) return cluster;  // whoever reads it says what is wrong
  }
  return gpu_cluster(cuda_device(devices, number), count);
}

std::string cluster_on(const std::string& device, const std::string& cluster) {
  const std::optional<int> number = cuda_number(device);
  return number && cluster.starts_with("this-machine") ? gpu_cluster_for(cluster, executor::load_cuda_plugin().devices(), *number) : cluster;
}

executor::CudaOptions cuda_options() {
  executor::CudaOptions options;
  options.tune = true;
  std::filesystem::path folder;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    folder = cache;
  else if (const char* home = std::getenv("HOME"); home && *home)
    folder = std::filesystem::path(home) / ".cache";
  if (folder.empty()) return options;
  folder /= "orrery";
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (!failure) options.gemm_cache = (folder / "gemm.txt").string();
  return options;
}

Profile profile_gpu(const executor::CudaPlugin& plugin, int number, const GpuProfileSettings& settings) {
  const executor::CudaDeviceInfo info = cuda_device(plugin.devices(), number);
  const auto note = [&](const std::string& what) {
    if (settings.note) settings.note(what);
  };
  const profiler::Nvml nvml = profiler::open_nvml(info.uuid);
  if (!nvml.meter) note("power and clocks are not measured: " + nvml.why);
  profiler::DeviceFacts facts;
  facts.device = info.name, facts.part = part_of(info);
  facts.driver = fmt::format("{} (CUDA {}.{}, runtime {}.{})", nvml.driver, info.driver / 1000, info.driver % 1000 / 10, info.runtime / 1000,
                             info.runtime % 1000 / 10);
  facts.memory = Bytes{info.memory};
  facts.cache = info.l2;
  if (!facts.part.empty()) {
    const Device expected = load_device(facts.part);
    facts.peak = expected.peak_of(DType::bf16);
    facts.memory_bandwidth = expected.memory_bandwidth;
  }
  const std::unique_ptr<executor::Device> device = plugin.make_device(number, cuda_options());
  const profiler::ProfileGrid grid = settings.grid(device->kernels());
  profiler::DeviceProfileOptions options;
  options.limit = settings.budget;
  options.commit = settings.commit;
  options.save = settings.save;
  options.clock = settings.clock;
  const auto progress = [&](const profiler::ProfileProgress& p) {
    if (settings.progress) settings.progress(p.done, p.total, p.what);
  };
  const Profile* earlier = settings.earlier ? &*settings.earlier : nullptr;
  if (earlier && !profiler::can_continue(*earlier, facts, grid, options.commit)) {
    const std::string how = earlier->device != facts.device   ? fmt::format("of {}", earlier->device)
                            : earlier->driver != facts.driver ? fmt::format("with driver {}, and this is {}", earlier->driver, facts.driver)
                            : options.commit == "unknown"     ? "by a program of unknown commit, as this one is"
                            : earlier->commit != options.commit
                                ? fmt::format("by the kernels of commit {}, and this is {}", earlier->commit, options.commit)
                                : "of other types, or carried over from another device";
    note(fmt::format("the earlier profile is {}: it is not continued, all is measured anew", how));
    earlier = nullptr;
  }
  return profiler::profile_device(*device, facts, grid, nvml.meter.get(), options, progress, settings.cancel, earlier);
}

}  // namespace orrery::app
