#include "profiler/nvml.h"

#include <gtest/gtest.h>

#include <cstring>

namespace orrery::profiler {
namespace {

// A library that is not there. Its state is one per process, as the real one's.
struct Library {
  int started = 0, ended = 0;
  unsigned long long millijoules = 5'000;
  bool counts = true;
};
Library& library() {
  static Library l;
  return l;
}

NvmlFunctions functions() {
  library() = {};
  NvmlFunctions f;
  f.init = [] { return ++library().started, 0; };
  f.shutdown = [] { return ++library().ended, 0; };
  f.error_text = [](int status) { return status == 6 ? "Not Found" : "Unknown Error"; };
  f.driver_version = [](char* to, unsigned n) {
    std::strncpy(to, "580.159", n);
    return 0;
  };
  f.by_uuid = [](const char* uuid, NvmlFunctions::Handle* handle) {
    *handle = &library();
    return std::strcmp(uuid, "GPU-1") == 0 ? 0 : 6;
  };
  f.energy = [](NvmlFunctions::Handle, unsigned long long* mj) {
    *mj = library().millijoules;
    return library().counts ? 0 : 3;
  };
  f.power = [](NvmlFunctions::Handle, unsigned* mw) {
    *mw = 650'500;
    return 0;
  };
  f.clock = [](NvmlFunctions::Handle, int kind, unsigned* mhz) {
    *mhz = kind == 1 ? 1980 : 3201;
    return 0;
  };
  f.temperature = [](NvmlFunctions::Handle, int sensor, unsigned* c) {
    *c = 61;
    return sensor == 0 ? 0 : 2;
  };
  f.slowed_by = [](NvmlFunctions::Handle, unsigned long long* bits) {
    *bits = 0x4 | 0x20 | 0x1;  // a power cap, heat; that it idles slows nothing down
    return 0;
  };
  f.memory_errors = [](NvmlFunctions::Handle, int kind, int since, unsigned long long* n) {
    *n = kind == 1 && since == 0 ? 2 : 99;
    return 0;
  };
  return f;
}

TEST(Nvml, ReadsEnergyAndStateInTheirUnits) {
  const Nvml nvml = open_nvml(functions(), "GPU-1");
  ASSERT_TRUE(nvml.meter);
  EXPECT_EQ(nvml.driver, "580.159");
  EXPECT_EQ(nvml.meter->energy(), Joules{5});
  const DeviceState s = nvml.meter->state();
  EXPECT_EQ(s.clock, 1980);
  EXPECT_EQ(s.memory_clock, 3201);
  EXPECT_EQ(s.temperature, 61);
  EXPECT_NEAR(s.power.v, 650.5, 1e-9);
  EXPECT_EQ(s.slowed_by, (std::vector<std::string>{"power cap", "software thermal slowdown"}));
  EXPECT_EQ(s.memory_errors, 2);
}

TEST(Nvml, EndsWhatItStarted) {
  const NvmlFunctions f = functions();
  { const Nvml nvml = open_nvml(f, "GPU-1"); }
  EXPECT_EQ(library().ended, 1);
  const Nvml none = open_nvml(f, "GPU-2");
  EXPECT_FALSE(none.meter);
  EXPECT_EQ(none.why, "NVML does not know this device: Not Found");
  EXPECT_EQ(library().started, library().ended);
}

TEST(Nvml, DoesWithoutWhatALibraryOrADeviceDoesNotSay) {
  NvmlFunctions f = functions();
  f.clock = nullptr, f.slowed_by = nullptr, f.memory_errors = nullptr, f.temperature = nullptr, f.power = nullptr, f.driver_version = nullptr;
  const Nvml nvml = open_nvml(f, "GPU-1");
  library().counts = false;
  EXPECT_FALSE(nvml.meter->energy());
  EXPECT_EQ(nvml.meter->state(), DeviceState{});
  EXPECT_EQ(nvml.driver, "unknown");
  EXPECT_FALSE(open_nvml(NvmlFunctions{}, "GPU-1").meter);
}

TEST(Nvml, SaysWhyThereIsNoneOnThisMachineOrWhatItsDriverIs) {
  const Nvml nvml = open_nvml("GPU-00000000-0000-0000-0000-000000000000");  // nobody's
  EXPECT_FALSE(nvml.meter);
  EXPECT_FALSE(nvml.why.empty());
}

}  // namespace
}  // namespace orrery::profiler
