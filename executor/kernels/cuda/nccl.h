// NCCL, which is opened when it is asked for: nccl.cpp with its header, no_nccl.cpp without.
#pragma once

#include <memory>

#include "executor/comm/nccl.h"

namespace orrery::executor::cuda {

// 22809: 2.28.9; 0: there is none.
int nccl_version();
// For one rank, on that device. Throws Error where NCCL is missing or too old.
std::unique_ptr<NcclApi> make_nccl(int device);

}  // namespace orrery::executor::cuda
