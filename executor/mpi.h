// What mpirun knows and its variables do not say: where process 0 is. By a plugin, liborrery_mpi.so, so that nothing else needs MPI.
#pragma once

#include <string>

#include "executor/launch.h"

namespace orrery::executor {

// The plugin's one exported symbol: int orrery_mpi_meet(char* host, int capacity, int* port), which all processes of an mpirun call once: it begins
// and ends MPI, and gives all of them an address of process 0 and a port that was free there. 0: done; else MPI's error.
inline constexpr const char* kMpiPluginEntry = "orrery_mpi_meet";

// Fills in address and port of a launch that lacks them (detect_launch with ask_mpi). `path`: of the plugin; empty: $ORRERY_MPI_PLUGIN, or
// liborrery_mpi.so beside the running program, in ../lib of it, or where the system looks for libraries. Throws Error where there is none.
void ask_mpi(Launch& launch, const std::string& path = {});

}  // namespace orrery::executor
