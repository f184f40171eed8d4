// Processes that mpirun started and that do not know where to meet. CTest runs this under mpirun -n 3 (tests/CMakeLists.txt).
#include "executor/mpi.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "executor/comm/processes.h"

namespace orrery::executor {
namespace {

TEST(Mpi, TellsProcessesOfSeveralMachinesWhereToMeet) {
  const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (!size) GTEST_SKIP() << "not under Open MPI's mpirun";
  // As if each process had a machine to itself.
  LaunchFlags flags;
  flags.local_process = 0, flags.local_processes = 1, flags.ask_mpi = true;
  const auto environment = [](const char* name) -> const char* {
    if (std::string(name) == "OMPI_COMM_WORLD_LOCAL_SIZE") return "1";
    if (std::string(name) == "OMPI_COMM_WORLD_LOCAL_RANK") return "0";
    return std::getenv(name);
  };
  Launch launch = detect_launch(environment, flags);
  ASSERT_EQ(launch.source, "Open MPI");
  ASSERT_EQ(launch.address, "");
  ask_mpi(launch, ORRERY_MPI_PLUGIN);
  EXPECT_NE(launch.address, "");
  EXPECT_GT(launch.port, 0);
  const auto store = meet(launch);
  const std::vector<std::string> all = store->gather("all", std::to_string(launch.process));
  ASSERT_EQ(all.size(), static_cast<std::size_t>(launch.processes));
  for (std::size_t p = 0; p < all.size(); ++p) EXPECT_EQ(all[p], std::to_string(p));
}

}  // namespace
}  // namespace orrery::executor
