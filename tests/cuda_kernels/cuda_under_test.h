// The device that the tests of this folder run on.
#pragma once

#include "executor/cuda.h"

namespace orrery::executor {

Device& device_under_test();

}  // namespace orrery::executor
