// Which Orrery this is.
#pragma once

#include <string>
#include <vector>

namespace orrery::app {

std::string version();                // "0.1.0"
std::string commit();                 // abbreviated git commit of the build, "unknown" outside a checkout
std::vector<std::string> left_out();  // what this build lacks, e.g. "CUDA", "NCCL", "MPI"

}  // namespace orrery::app
