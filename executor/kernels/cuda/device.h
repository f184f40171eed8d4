// What the plugin makes of a GPU.
#pragma once

#include <memory>

#include "executor/cuda.h"

namespace orrery::executor::cuda {

class GemmChoicesByDevice;

// `choices`: of all devices of the process.
std::unique_ptr<Device> make_cuda_device(int device, const CudaOptions& options, const std::shared_ptr<GemmChoicesByDevice>& choices);
std::unique_ptr<Mover> make_cuda_mover(int device);

}  // namespace orrery::executor::cuda
