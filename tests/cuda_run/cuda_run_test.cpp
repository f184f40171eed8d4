// Trainings of ranks that share a GPU.
#include "executor/cuda.h"
#include "support/needs_gpu.h"
#include "support/world_under_test.h"

namespace orrery::executor {

std::unique_ptr<World> world_under_test(std::int64_t ranks) { return make_shared_gpu_world(load_cuda_plugin(ORRERY_CUDA_PLUGIN), 0, ranks, {}); }

}  // namespace orrery::executor
