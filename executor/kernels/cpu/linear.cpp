#include <algorithm>

#include "executor/kernels/cpu/cpu.h"
#include "executor/kernels/cpu/gemm.h"

namespace orrery::executor::cpu {

void linear_forward(Index tokens, Index in, Index out, const float* x, const float* weight, const float* bias, float* y) {
  for (Index t = 0; t < tokens; ++t) {  // the product adds to what is there, so the bias costs no pass of its own
    if (bias) {
      std::copy_n(bias, out, y + t * out);
    } else {
      std::fill_n(y + t * out, out, 0.F);
    }
  }
  multiply_nt(dense(y, tokens, out), dense(x, tokens, in), dense(weight, out, in));
}

void linear_input_grad(Index tokens, Index in, Index out, const float* dy, const float* weight, float* dx) {
  std::fill_n(dx, tokens * in, 0.F);
  multiply_nn(dense(dx, tokens, in), dense(dy, tokens, out), dense(weight, out, in));
}

void linear_weight_grad(Index tokens, Index in, Index out, const float* x, const float* dy, float* d_weight, float* d_bias) {
  multiply_tn(dense(d_weight, out, in), dense(dy, tokens, out), dense(x, tokens, in));
  if (d_bias) bias_grad(tokens, out, dy, d_bias);
}

}  // namespace orrery::executor::cpu
