#include "profiler/nvml.h"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <utility>

namespace orrery::profiler {
namespace {

// Bits of nvmlDeviceGetCurrentClocksThrottleReasons that slow a device down; that it idles, and that an application asked for its clocks, does not.
constexpr std::array<std::pair<std::uint64_t, const char*>, 6> kReasons{{{0x4, "power cap"},
                                                                         {0x8, "hardware slowdown"},
                                                                         {0x10, "sync boost"},
                                                                         {0x20, "software thermal slowdown"},
                                                                         {0x40, "hardware thermal slowdown"},
                                                                         {0x80, "power brake"}}};

class Meter final : public PowerMeter {
 public:
  Meter(const NvmlFunctions& nvml, NvmlFunctions::Handle device) : nvml_(nvml), device_(device) {}
  ~Meter() override {
    if (nvml_.shutdown) nvml_.shutdown();
  }
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  std::optional<Joules> energy() override {
    unsigned long long millijoules = 0;
    if (!nvml_.energy || nvml_.energy(device_, &millijoules) != 0) return std::nullopt;
    return Joules{static_cast<double>(millijoules) * 1e-3};
  }

  DeviceState state() override {
    DeviceState s;
    unsigned value = 0;
    unsigned long long wide = 0;
    if (nvml_.clock && nvml_.clock(device_, 1, &value) == 0) s.clock = value;
    if (nvml_.clock && nvml_.clock(device_, 2, &value) == 0) s.memory_clock = value;
    if (nvml_.temperature && nvml_.temperature(device_, 0, &value) == 0) s.temperature = value;
    if (nvml_.power && nvml_.power(device_, &value) == 0) s.power = Watts{value * 1e-3};
    if (nvml_.memory_errors && nvml_.memory_errors(device_, 1, 0, &wide) == 0) s.memory_errors = static_cast<std::int64_t>(wide);
    if (nvml_.slowed_by && nvml_.slowed_by(device_, &wide) == 0)
      for (const auto& [bit, text] : kReasons)
        if (wide & bit) s.slowed_by.emplace_back(text);
    return s;
  }

 private:
  NvmlFunctions nvml_;
  NvmlFunctions::Handle device_;
};

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

Nvml open_nvml(const NvmlFunctions& functions, const std::string& uuid) {
  Nvml out;
  const auto failed = [&](const char* what, int status) {
    out.why = what;
    if (functions.error_text) out.why += std::string(": ") + functions.error_text(status);
    return std::move(out);
  };
  if (!functions.init || !functions.by_uuid) return failed("the library lacks what is needed", 0);
  if (const int status = functions.init(); status != 0) return failed("NVML does not start", status);
  std::array<char, 96> version{};
  if (functions.driver_version && functions.driver_version(version.data(), static_cast<unsigned>(version.size())) == 0) {
    version.back() = '\0';
    out.driver = version.data();
  }
  NvmlFunctions::Handle device = nullptr;
  if (const int status = functions.by_uuid(uuid.c_str(), &device); status != 0) {
    if (functions.shutdown) functions.shutdown();
    return failed("NVML does not know this device", status);
  }
  out.meter = std::make_unique<Meter>(functions, device);
  return out;
}

Nvml open_nvml(const std::string& uuid) {
  Nvml none;
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);  // stays for as long as the process
  if (!library) {
    none.why = "no libnvidia-ml.so.1 can be loaded";
    return none;
  }
  NvmlFunctions f;
  find(library, "nvmlInit_v2", f.init);
  find(library, "nvmlShutdown", f.shutdown);
  find(library, "nvmlErrorString", f.error_text);
  find(library, "nvmlSystemGetDriverVersion", f.driver_version);
  find(library, "nvmlDeviceGetHandleByUUID", f.by_uuid);
  find(library, "nvmlDeviceGetTotalEnergyConsumption", f.energy);
  find(library, "nvmlDeviceGetPowerUsage", f.power);
  find(library, "nvmlDeviceGetClockInfo", f.clock);
  find(library, "nvmlDeviceGetTemperature", f.temperature);
  find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", f.slowed_by);
  find(library, "nvmlDeviceGetTotalEccErrors", f.memory_errors);
  return open_nvml(f, uuid);
}

}  // namespace orrery::profiler
