// Forward and backward of a transformer's parts as instructions. Each function emits into the template that the context's builder has open.
#pragma once

#include <string>

#include "core/model.h"
#include "core/plan.h"
#include "program/builder.h"
#include "program/layout.h"
#include "program/transforms/data_parallel.h"

namespace orrery::program {

// What the functions of one role share.
struct Context {
  Builder& b;
  const Model& model;
  const Plan& plan;
  const Dimensions& d;
  const Layout& layout;
  std::int64_t stage = 0, stages = 1;
  std::uint16_t tp = kNone;            // the tensor-parallel group
  bool recompute = false;              // layers keep their input only
  GradientReducer* reducer = nullptr;  // in the backward pass that completes the gradients
  bool first() const { return stage == 0; }
  bool last() const { return stage + 1 == stages; }

  std::uint32_t weight(std::int32_t tensor) const { return layout.tensors[static_cast<std::size_t>(tensor)].weight; }
  std::uint32_t gradient(std::int32_t tensor) const { return layout.tensors[static_cast<std::size_t>(tensor)].gradient; }
  // Appends a read of the weight, or an update of its gradient, where the model has it.
  void read(Uses& uses, std::int32_t tensor) const {
    if (tensor != kAbsent) uses.push_back(r(weight(tensor)));
  }
  void update(Uses& uses, std::int32_t tensor) const {
    if (tensor != kAbsent) uses.push_back(u(gradient(tensor)));
  }
  // Tells the reducer that this pass's part of the gradient has been issued.
  void written(std::int32_t tensor) const {
    if (reducer && tensor != kAbsent) reducer->written(tensor);
  }

  // A buffer of the forward pass that the backward pass needs: kept from one to the other, or made twice.
  std::uint32_t kept(const std::string& name, DType dtype, std::int64_t elements) const {
    if (recompute && b.layer != kNone) return b.temporary(name, BufferKind::activation, dtype, elements, b.layer);
    return b.stash(name, BufferKind::activation, dtype, elements, b.layer, PassKind::forward, PassKind::backward);
  }
  std::uint32_t temporary(const std::string& name, std::int64_t elements, BufferKind kind = BufferKind::temporary) const {
    return b.temporary(name, kind, plan.precision.compute, elements, b.layer);
  }
};

// The residual stream: `layer_input` of a role's l-th layer, and of l = layers what leaves its last one.
std::uint32_t layer_input(const Context& c, std::int64_t l);
// The gradient of the residual stream, updated in place from the end of a stage to its beginning.
std::uint32_t residual_gradient(const Context& c);

// dx += …; both norms.
void norm_forward(const Context& c, const std::string& name, std::int32_t gain, std::int32_t bias, std::uint32_t x, std::uint32_t y);
void norm_backward(const Context& c, const std::string& name, std::int32_t gain, std::int32_t bias, std::uint32_t dy, std::uint32_t x,
                   std::uint32_t dx);

void embedding_forward(const Context& c);
void embedding_backward(const Context& c);

// The l-th layer of the role. `again` recomputes what its backward pass needs.
void layer_forward(const Context& c, std::int64_t l, bool again = false);
void layer_backward(const Context& c, std::int64_t l);

// Final norm, output projection and loss.
void head_forward(const Context& c);
void head_backward(const Context& c);

}  // namespace orrery::program
