// Ranks of several processes on the hosts' memory, as a World.
#pragma once

#include <chrono>
#include <memory>

#include "executor/comm/store.h"
#include "executor/kernels/kernels.h"
#include "executor/launch.h"
#include "executor/world.h"

namespace orrery::executor {

// Meets the others: the store of a launch of several processes.
std::unique_ptr<KeyStore> meet(const Launch& launch, std::chrono::milliseconds patience = std::chrono::minutes(1));

// Each process has consecutive ranks, which talk by MessagesWorld (comm/messages.h); all processes make it at the same time, with the same arguments.
// `kernels` must live as long. `local_processes`: of this machine, which share its memory. An operation whose peers do not come within `deadline`
// fails the run.
std::unique_ptr<World> make_processes_world(std::unique_ptr<KeyStore> store, std::int64_t ranks, const KernelSet& kernels,
                                            std::int64_t local_processes = 1, std::chrono::milliseconds deadline = std::chrono::hours(1));

}  // namespace orrery::executor
