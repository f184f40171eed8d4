#include "executor/launch.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "core/error.h"
#include "executor/mpi.h"

namespace orrery::executor {
namespace {

Launch launch(const std::map<std::string, std::string>& variables, const LaunchFlags& flags = {}) {
  return detect_launch(
      [&](const char* name) {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      flags);
}

std::string failure(const std::map<std::string, std::string>& variables, const LaunchFlags& flags = {}) {
  try {
    launch(variables, flags);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

const std::map<std::string, std::string> kTorchrun{{"RANK", "5"},       {"WORLD_SIZE", "8"},       {"LOCAL_RANK", "1"},     {"LOCAL_WORLD_SIZE", "4"},
                                                   {"GROUP_RANK", "1"}, {"MASTER_ADDR", "node-a"}, {"MASTER_PORT", "29500"}};
const std::map<std::string, std::string> kSlurm{{"SLURM_PROCID", "5"},
                                                {"SLURM_NTASKS", "8"},
                                                {"SLURM_STEP_NUM_TASKS", "7"},
                                                {"SLURM_LOCALID", "1"},
                                                {"SLURM_NODEID", "1"},
                                                {"SLURM_JOB_ID", "1234567"},
                                                {"SLURM_STEP_ID", "3"},
                                                {"SLURM_STEP_NODELIST", "gpu[007-008]"},
                                                {"SLURM_NODELIST", "gpu[001-008]"},
                                                {"SLURM_STEP_TASKS_PER_NODE", "4,3"}};
const std::map<std::string, std::string> kOpenMpi{
    {"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "3"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};

std::map<std::string, std::string> with(std::map<std::string, std::string> a, const std::map<std::string, std::string>& b) {
  for (const auto& [k, v] : b) a[k] = v;
  return a;
}

TEST(Launch, WithoutALauncherThereIsOneProcess) {
  EXPECT_EQ(launch({}), (Launch{0, 1, 0, 1, "", 0, "alone"}));
  EXPECT_EQ(detect_launch({}), (Launch{0, 1, 0, 1, "", 0, "alone"}));
  EXPECT_EQ(launch({{"RANK", "3"}}), (Launch{0, 1, 0, 1, "", 0, "alone"}));  // somebody's variable, but not torchrun's
}

TEST(Launch, TorchrunSaysAllOfIt) { EXPECT_EQ(launch(kTorchrun), (Launch{5, 8, 1, 4, "node-a", 29500, "torchrun"})); }

// The agent's own store listens at MASTER_PORT.
TEST(Launch, ThePortThatTorchrunsAgentListensAtIsLeftToIt) {
  EXPECT_EQ(launch(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}})).port, 29501);
  EXPECT_EQ(launch(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "False"}})).port, 29500);
}

// 1234567 + 3 = 1234570, mod 10000 is 4570, from 20000 on.
TEST(Launch, SlurmsStepCountsItsOwnTasksAndMeetsOnItsFirstHost) {
  EXPECT_EQ(launch(kSlurm), (Launch{5, 7, 1, 3, "gpu007", 24570, "Slurm"}));
  EXPECT_EQ(launch(with(kSlurm, {{"MASTER_ADDR", "ib-gpu007"}, {"MASTER_PORT", "1"}})), (Launch{5, 7, 1, 3, "ib-gpu007", 1, "Slurm"}));
}

// A batch script has SLURM_PROCID=0 and SLURM_NTASKS of the whole job, but no step: nobody else was started.
TEST(Launch, ABatchScriptOfSlurmIsAlone) {
  EXPECT_EQ(launch({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "12"}, {"SLURM_NODELIST", "a,b"}}).source, "alone");
}

TEST(Launch, TorchrunInsideASlurmStepIsTorchruns) { EXPECT_EQ(launch(with(kSlurm, kTorchrun)).source, "torchrun"); }

// mpirun starts its daemons by a step of Slurm's, and what they start inherits the daemon's SLURM_PROCID.
TEST(Launch, MpirunInsideASlurmStepCountsForItselfAndMeetsWhereSlurmSays) {
  EXPECT_EQ(launch(with(kSlurm, with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}))),
            (Launch{3, 4, 1, 2, "gpu007", 24570, "Open MPI"}));
  EXPECT_EQ(launch(with(kSlurm, {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}})).source, "PMI");
}

TEST(Launch, SlurmsOwnPmiIsSlurm) { EXPECT_EQ(launch(with(kSlurm, {{"PMI_RANK", "5"}, {"PMI_SIZE", "7"}})).source, "Slurm"); }

TEST(Launch, OpenMpiOnOneMachineMeetsOnIt) {
  EXPECT_EQ(launch(kOpenMpi), (Launch{3, 4, 3, 4, "127.0.0.1", 29531, "Open MPI"}));
  // Another job of the same machine meets elsewhere.
  const int a = launch(with(kOpenMpi, {{"PMIX_NAMESPACE", "2345926657"}})).port, b = launch(with(kOpenMpi, {{"PMIX_NAMESPACE", "2345926658"}})).port;
  EXPECT_NE(a, b);
  EXPECT_GE(std::min(a, b), 20000);
  EXPECT_LT(std::max(a, b), 30000);
}

TEST(Launch, OpenMpiOverSeveralMachinesNeedsAnAddress) {
  EXPECT_EQ(failure(with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}})),
            "Open MPI: started 4 processes, and nothing says on which machine process 0 is\n"
            "  hint: mpirun -x MASTER_ADDR=HOST, with the host of the first process");
  EXPECT_EQ(launch(with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"MASTER_ADDR", "h"}})).address, "h");
}

TEST(Launch, WhereMpiCanBeAskedNothingIsMissing) {
  LaunchFlags flags;
  flags.ask_mpi = true;
  const auto two_machines = with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_EQ(launch(two_machines, flags), (Launch{3, 4, 1, 2, "", 29531, "Open MPI"}));
  EXPECT_EQ(launch(with(two_machines, {{"MASTER_ADDR", "h"}}), flags).address, "h");
  Launch l = launch(two_machines, flags);
  try {
    ask_mpi(l, "/nowhere/liborrery_mpi.so");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("started 4 processes on several machines, and nothing says on which of them process 0 is (/nowhere/"),
              std::string::npos);
    EXPECT_NE(e.hint().find("mpirun -x MASTER_ADDR=HOST"), std::string::npos);
  }
}

TEST(Launch, PmiIsTheLastToBeAsked) {
  EXPECT_EQ(launch({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "1"}, {"MASTER_ADDR", "h"}}),
            (Launch{1, 2, 0, 1, "h", 29531, "PMI"}));
}

TEST(Launch, FlagsWinOverEverything) {
  LaunchFlags flags;
  flags.process = 1, flags.processes = 2, flags.port = 77;
  EXPECT_EQ(launch(kSlurm, flags), (Launch{1, 2, 1, 2, "127.0.0.1", 77, "flags"}));
  flags.local_process = 0, flags.local_processes = 1, flags.address = "there";
  EXPECT_EQ(launch(kSlurm, flags), (Launch{1, 2, 0, 1, "there", 77, "flags"}));
  LaunchFlags address;
  address.address = "elsewhere";
  EXPECT_EQ(launch(kTorchrun, address).address, "elsewhere");
}

TEST(Launch, WhatIsWrongIsNamed) {
  EXPECT_EQ(failure(with(kTorchrun, {{"RANK", "eight"}})), "RANK: 'eight' is not a number from 0");
  EXPECT_EQ(failure(with(kTorchrun, {{"RANK", "8"}})), "torchrun: there is no process 8 among 8: they are counted from 0");
  EXPECT_EQ(failure(with(kTorchrun, {{"LOCAL_RANK", "4"}})), "torchrun: there is no local process 4 among 4 on this machine, of 8 in all");
  EXPECT_EQ(failure(with(kTorchrun, {{"MASTER_PORT", "65536"}})), "MASTER_PORT: 65536 is not a port: those are 1 to 65535");
  EXPECT_EQ(failure(with(kTorchrun, {{"MASTER_ADDR", ""}})),
            "torchrun: started 8 processes, and nothing says on which machine process 0 is\n"
            "  hint: set MASTER_ADDR to the host of process 0 on every machine");
  EXPECT_EQ(failure(with(kSlurm, {{"SLURM_STEP_NODELIST", "gpu[1"}})),
            "SLURM_STEP_NODELIST: 'gpu[1' opens a bracket that nothing closes\n  hint: set MASTER_ADDR to the host of process 0");
  EXPECT_EQ(failure(with(kSlurm, {{"SLURM_NODEID", "2"}})), "SLURM_STEP_TASKS_PER_NODE: '4,3' has no node 2");
  LaunchFlags half;
  half.processes = 2;
  EXPECT_EQ(failure({}, half), "--processes: is given without the other\n  hint: give both: --process 0 --processes 2");
}

TEST(SlurmNotation, TheFirstHostIsReadOutOfBrackets) {
  EXPECT_EQ(first_host("login"), "login");
  EXPECT_EQ(first_host("a,b"), "a");
  EXPECT_EQ(first_host("gpu[007-010,12],login"), "gpu007");
  EXPECT_EQ(first_host("gpu[12,007-010]"), "gpu12");
  EXPECT_EQ(first_host("rack[2-3]-node[04-05].cluster"), "rack2-node04.cluster");
  for (const char* bad : {"", ",a", "a[", "a[]", "a[x]", "a]b", "a[-3]"}) EXPECT_THROW(first_host(bad), Error) << bad;
}

// Written out by hand, for any list of hosts under one prefix.
RC_GTEST_PROP(SlurmNotation, FoldingHostsKeepsTheFirst, ()) {
  const auto prefix = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange('a', static_cast<char>('z' + 1))));
  const auto numbers = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 1000)));
  std::string folded = prefix + "[";
  for (std::size_t i = 0; i < numbers.size(); ++i) folded += fmt::format("{}{:04}", i ? "," : "", numbers[i]) + (i % 2 ? "-2000" : "");
  RC_ASSERT(first_host(folded + "]") == fmt::format("{}{:04}", prefix, numbers[0]));
}

TEST(SlurmNotation, TasksPerNodeRepeat) {
  EXPECT_EQ(tasks_on_node("4", 0), 4);
  EXPECT_EQ(tasks_on_node("4(x2),3", 0), 4);
  EXPECT_EQ(tasks_on_node("4(x2),3", 1), 4);
  EXPECT_EQ(tasks_on_node("4(x2),3", 2), 3);
  for (const char* bad : {"", "4(x2", "4(2)", "x", "4(x0)", "0", "4,,3", "4(x)"}) EXPECT_THROW(tasks_on_node(bad, 2), Error) << bad;
}

}  // namespace
}  // namespace orrery::executor
