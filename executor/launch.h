// Who started this process, beside which others, and where they meet.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace orrery::executor {

// One process of a run.
struct Launch {
  std::int64_t process = 0, processes = 1;              // of all
  std::int64_t local_process = 0, local_processes = 1;  // of those on its machine
  std::string address;                                  // host of process 0, where all meet; empty: there is no other process
  int port = 0;
  std::string source;  // who says so: "flags", "torchrun", "Slurm", "Open MPI", "PMI", "alone"
  bool operator==(const Launch&) const = default;
};

// What the user says himself. `process` and `processes` go together; the rest completes or replaces what a launcher says.
struct LaunchFlags {
  std::optional<std::int64_t> process, processes, local_process, local_processes;
  std::string address;
  std::optional<int> port;
  bool ask_mpi = false;  // an address that mpirun's variables do not say is left empty, for ask_mpi (executor/mpi.h)
};

// Value of an environment variable, or null.
using Environment = std::function<const char*(const char*)>;

// The first that applies of: flags; torchrun (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT); Slurm (a step's
// SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, SLURM_STEP_TASKS_PER_NODE; the first host of SLURM_STEP_NODELIST); Open MPI
// (OMPI_COMM_WORLD_*); PMI (PMI_RANK, PMI_SIZE); alone. An mpirun inside a Slurm step counts for itself: what it starts inherits the variables of the
// step that carries mpirun's own daemons, which are others'. Throws Error naming the variable that is wrong or missing.
Launch detect_launch(const Environment& environment, const LaunchFlags& flags = {});

// The first host of Slurm's notation: "gpu[007-010,12],login" is gpu007. Throws Error where it cannot be read.
std::string first_host(std::string_view nodes);
// Tasks on node number `node` in Slurm's notation: "4(x2),3" has 4, 4, 3. Throws Error where it cannot be read or has no such node.
std::int64_t tasks_on_node(std::string_view tasks_per_node, std::int64_t node);

}  // namespace orrery::executor
