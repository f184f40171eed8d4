#include "profiler/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

namespace orrery::profiler {

std::string cpuinfo_value(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t end = line.find_last_not_of(" \t", colon == 0 ? 0 : colon - 1);
    if (end == std::string::npos || line.compare(0, end + 1, key) != 0) continue;
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? std::string{} : line.substr(begin);
  }
  return {};
}

Machine this_machine() {
  Machine m;
  std::ostringstream cpuinfo;
  cpuinfo << std::ifstream("/proc/cpuinfo").rdbuf();
  m.cores = std::max<std::int64_t>(1, std::thread::hardware_concurrency());
  const std::string model = cpuinfo_value(cpuinfo.str(), "model name"), mhz = cpuinfo_value(cpuinfo.str(), "cpu MHz");
  m.device = fmt::format("{}, {} core{}", model.empty() ? "CPU" : model, m.cores, m.cores == 1 ? "" : "s");
  m.clock = mhz.empty() ? "unknown" : mhz + " MHz";
  utsname kernel{};
  m.driver = uname(&kernel) == 0 ? fmt::format("{} {}", kernel.sysname, kernel.release) : "unknown";
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  m.date = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
  m.memory = Bytes{static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::int64_t>(sysconf(_SC_PAGESIZE))};
  m.core_cache = 1 << 20;  // where the system does not say
#ifdef _SC_LEVEL2_CACHE_SIZE
  if (const long size = sysconf(_SC_LEVEL2_CACHE_SIZE); size > 0) m.core_cache = size;
#endif
  m.shared_cache = m.core_cache * m.cores;
#ifdef _SC_LEVEL3_CACHE_SIZE
  if (const long size = sysconf(_SC_LEVEL3_CACHE_SIZE); size > 0) m.shared_cache = size;
#endif
  return m;
}

}  // namespace orrery::profiler
