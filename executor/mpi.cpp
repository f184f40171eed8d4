#include "executor/mpi.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <string>

#include "core/error.h"
#include "executor/plugins.h"

namespace orrery::executor {
namespace {

constexpr const char* kName = "liborrery_mpi.so";

}  // namespace

void ask_mpi(Launch& launch, const std::string& path) {
  if (!launch.address.empty() || launch.processes == 1) return;
  std::string reasons;
  for (const std::string& file : plugin_candidates(path, "ORRERY_MPI_PLUGIN", kName)) {
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
