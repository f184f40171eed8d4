// Attention by cuDNN, where it can be had: fused_attention.cpp with cudnn-frontend's headers, no_fused_attention.cpp without.
#pragma once

#include <memory>

#include "executor/kernels/cuda/launches.h"

namespace orrery::executor::cuda {

// Arguments as attention_forward's and attention_backward's. Each returns false, having enqueued nothing, where cuDNN has nothing for the problem; an
// answer is remembered by shape. Requires queries and keys at the same positions, from 0 on, in one run.
class FusedAttention {
 public:
  virtual ~FusedAttention() = default;
  virtual bool forward(DType type, const AttentionProblem& problem, const void* q, const void* k, const void* v, void* out, float* lse) = 0;
  virtual bool backward(DType type, const AttentionProblem& problem, const void* q, const void* k, const void* v, const void* out, const float* lse,
                        const void* d_out, void* d_q, void* d_k, void* d_v) = 0;
};

// Null where there is no cuDNN.
std::unique_ptr<FusedAttention> make_fused_attention(Stream stream);

}  // namespace orrery::executor::cuda
