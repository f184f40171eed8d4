#include "app/version.h"

namespace orrery::app {

std::string version() { return ORRERY_VERSION; }
std::string commit() { return ORRERY_COMMIT; }
std::vector<std::string> left_out() { return {"CUDA and NCCL (run and profile on GPUs)", "MPI (sweeps over several machines)"}; }

}  // namespace orrery::app
