#include "program/layers/sublayers.h"

namespace orrery::program {

std::uint32_t mlp_result_gradient(const Context& c) {
  return c.kept_gradient("mlp.gradient.gathered", c.d.rows * c.d.hidden, BufferKind::communication);
}
std::uint32_t up_gradient(const Context& c) { return c.kept_gradient("mlp.up.gradient", c.d.rows * c.d.up); }

void mlp_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t in) {
  const Dimensions& d = c.d;
  if (c.plan.runtime.fused_epilogues) {
    Uses uses{r(in), r(c.weight(t.up))};
    c.read(uses, t.up_bias);
    uses.push_back(w(a.up));
    uses.push_back(w(a.activated));
    c.b.compute(Operator::linear_activation_forward, {d.rows, d.hidden, d.up}, uses);
    return;
  }
  linear(c, in, t.up, t.up_bias, a.up, d.hidden, d.up);
  c.b.compute(Operator::activation_forward, {d.rows, d.intermediate, c.model.gated_mlp ? 1 : 0}, {r(a.up), w(a.activated)});
}

std::uint32_t mlp_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dout) {
  const Dimensions& d = c.d;
  if (c.plan.runtime.fused_epilogues) {
    const std::uint32_t du = up_gradient(c);
    c.b.compute(Operator::linear_activation_grad, {d.rows, d.intermediate, d.hidden}, {r(dout), r(c.weight(t.down)), r(a.up), w(du)});
    weight_gradient(c, a.activated, dout, t.down, kAbsent, d.intermediate, d.hidden);
    return du;
  }
  const std::uint32_t da = c.temporary("mlp.activated.gradient", d.rows * d.intermediate);
  input_gradient(c, dout, t.down, da, d.intermediate, d.hidden);
  weight_gradient(c, a.activated, dout, t.down, kAbsent, d.intermediate, d.hidden);
  const std::uint32_t du = up_gradient(c);
  c.b.compute(Operator::activation_backward, {d.rows, d.intermediate, c.model.gated_mlp ? 1 : 0}, {r(a.up), r(da), w(du)});
  return du;
}

}  // namespace orrery::program
