#include "core/error.h"
#include "executor/kernels/cuda/nccl.h"

namespace orrery::executor::cuda {

int nccl_version() { return 0; }

std::unique_ptr<NcclApi> make_nccl(int) {
  throw Error("nccl", "the CUDA plugin was built without NCCL", "install nccl.h (libnccl-dev) and build it again, or let all ranks share a GPU");
}

}  // namespace orrery::executor::cuda
