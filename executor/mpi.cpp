#include "executor/mpi.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "core/error.h"

namespace orrery::executor {
namespace {

constexpr const char* kName = "liborrery_mpi.so";

std::vector<std::string> candidates(const std::string& path) {
  if (!path.empty()) return {path};
  if (const char* named = std::getenv("ORRERY_MPI_PLUGIN"); named && *named) return {named};
  std::vector<std::string> all;
  std::error_code none;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", none);
  if (!none)
    for (const std::filesystem::path& place : {program.parent_path(), program.parent_path().parent_path() / "lib"})
      if (std::filesystem::exists(place / kName, none)) all.push_back((place / kName).string());
  all.emplace_back(kName);
  return all;
}

}  // namespace

void ask_mpi(Launch& launch, const std::string& path) {
  if (!launch.address.empty() || launch.processes == 1) return;
  std::string reasons;
  for (const std::string& file : candidates(path)) {
    // Global: MPI's own plugins look for its symbols. Never closed, as MPI does not like it.
    void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
      const char* reason = dlerror();
      reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", reason ? reason : "unknown reason");
      continue;
    }
    const auto meet = reinterpret_cast<int (*)(char*, int, int*)>(dlsym(library, kMpiPluginEntry));
    if (!meet) throw Error("mpi", fmt::format("'{}' is a library, but not Orrery's MPI plugin", file));
    std::array<char, 256> host{};
    if (const int error = meet(host.data(), static_cast<int>(host.size()), &launch.port); error != 0)
      throw Error("mpi", fmt::format("MPI failed with error {} when processes were to meet", error), "mpirun -x MASTER_ADDR=HOST needs no MPI");
    launch.address = host.data();
    return;
  }
  throw Error(launch.source,
              fmt::format("started {} processes on several machines, and nothing says on which of them process 0 is ({})", launch.processes, reasons),
              "mpirun -x MASTER_ADDR=HOST, with the host of the first process; or build the MPI plugin (-DORRERY_MPI=ON)");
}

}  // namespace orrery::executor
