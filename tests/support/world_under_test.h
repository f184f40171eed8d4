// How the tests of devices (tests/devices) know a kind of device: by the one function that each test binary defines.
#pragma once

#include <cstdint>
#include <memory>

#include "executor/world.h"

namespace orrery::executor {

// A fresh world of ranks that share a device, with kernels in fp32 and bf16.
std::unique_ptr<World> world_under_test(std::int64_t ranks);

}  // namespace orrery::executor
