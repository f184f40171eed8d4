#include "executor/kernels/cpu/turning.h"

namespace orrery::executor::cpu {

void rope(const RopeShape& shape, bool forward, float* qkv) {
  const Index rotated = rotated_width(shape.head_dim, shape.fraction), half = rotated / 2;
  const RopeAngles angles(shape.theta, rotated, shape.scaling);
  const Index heads = shape.q_heads + shape.kv_heads, width = (heads + shape.kv_heads) * shape.head_dim;
  each_position(angles, half, shape.tokens, shape.micro_batch, shape.first, forward, [&](const Turning& turning, Index row, Index rows) {
    for (Index block = 0; block < rows * heads; ++block) {
      float* head = qkv + (row + block / heads) * width + (block % heads) * shape.head_dim;
      turning.turn(head, head, half);
    }
  });
}

}  // namespace orrery::executor::cpu
