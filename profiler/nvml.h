// NVIDIA's management library as a power meter: opened at run time, by declarations of our own, since neither its header nor the library is
// everywhere.
#pragma once

#include <memory>
#include <string>

#include "profiler/power_meter.h"

namespace orrery::profiler {

// The functions of libnvidia-ml.so.1 that are used, by NVIDIA's documentation of the NVML API; each returns 0 where it succeeds. One that the library
// does not have is null.
struct NvmlFunctions {
  using Handle = void*;
  int (*init)() = nullptr;                                                                 // nvmlInit_v2
  int (*shutdown)() = nullptr;                                                             // nvmlShutdown
  const char* (*error_text)(int) = nullptr;                                                // nvmlErrorString
  int (*driver_version)(char*, unsigned) = nullptr;                                        // nvmlSystemGetDriverVersion
  int (*by_uuid)(const char*, Handle*) = nullptr;                                          // nvmlDeviceGetHandleByUUID
  int (*energy)(Handle, unsigned long long* millijoules) = nullptr;                        // nvmlDeviceGetTotalEnergyConsumption
  int (*power)(Handle, unsigned* milliwatts) = nullptr;                                    // nvmlDeviceGetPowerUsage
  int (*clock)(Handle, int kind, unsigned* megahertz) = nullptr;                           // nvmlDeviceGetClockInfo; 1: multiprocessors, 2: memory
  int (*temperature)(Handle, int sensor, unsigned* celsius) = nullptr;                     // nvmlDeviceGetTemperature; 0: the GPU
  int (*slowed_by)(Handle, unsigned long long* bits) = nullptr;                            // nvmlDeviceGetCurrentClocksThrottleReasons
  int (*memory_errors)(Handle, int kind, int since, unsigned long long* count) = nullptr;  // nvmlDeviceGetTotalEccErrors; 1, 0: uncorrected, volatile
};

// A meter of one device, and the driver's version ("unknown" where it is not said).
struct Nvml {
  std::unique_ptr<PowerMeter> meter;  // null: none, and `why`
  std::string driver = "unknown", why;
};
// `uuid` as CUDA says it, "GPU-…".
Nvml open_nvml(const NvmlFunctions& functions, const std::string& uuid);
// The same with the library of this machine.
Nvml open_nvml(const std::string& uuid);

}  // namespace orrery::profiler
