// Forward and backward of a transformer's parts as instructions. Each function emits into the template that the context's builder has open.
#pragma once

#include <span>
#include <string>

#include "core/model.h"
#include "core/overlap_rule.h"
#include "core/plan.h"
#include "program/builder.h"
#include "program/layout.h"
#include "program/transforms/data_parallel.h"
#include "program/transforms/fully_sharded.h"

namespace orrery::program {

// Who runs the stage before or after a chunk's: nobody, another chunk of the same rank, or a chunk of the next (+1) or previous (-1) rank.
struct Neighbour {
  enum class Kind : std::uint8_t { none, local, remote } kind = Kind::none;
  std::int8_t peer = 0;
  std::uint16_t chunk = 0;
  bool local() const { return kind == Kind::local; }
  bool remote() const { return kind == Kind::remote; }
};

struct Resharding;

// What the functions of one chunk share.
struct Context {
  Builder& b;
  const Model& model;
  const Plan& plan;
  const Dimensions& d;
  const Layout& layout;
  const std::vector<Context>& chunks;  // all of the role
  std::uint16_t chunk = 0;
  Neighbour before, after;
  const Resharding *boundary_before = nullptr, *boundary_after = nullptr;  // where that neighbour is of another segment (transforms/resharding.h)
  std::uint16_t tp = kNone;                                                // the tensor-parallel group
  std::uint16_t cp_inner = kNone, cp_outer = kNone;                        // the groups that share each sequence
  std::uint16_t ep = kNone;                                                // the ranks that hold a layer's experts together
  std::span<const BusiestRows> busiest{};                                  // of them, by layer, where tokens spread unevenly; otherwise empty
  bool recompute = false;                                                  // layers keep their input only
  PassKind pass = PassKind::forward;                                       // that is being written: forward, backward, input_grad or weight_grad
  std::uint16_t split = 0;                                                 // that it works on
  GradientReducer* reducer = nullptr;                                      // in passes that reduce gradients
  ParameterGatherer* gatherer = nullptr;                                   // where parameters are sharded
  bool first() const { return before.kind == Neighbour::Kind::none; }
  bool last() const { return after.kind == Neighbour::Kind::none; }
  const ChunkTensors& tensors() const { return layout.chunks[chunk]; }
  std::int64_t layers() const { return static_cast<std::int64_t>(tensors().layers.size()); }
  // The layers of prediction modules follow after what leaves the last layer, which is number layers(): layer module(k) is that of the k-th from 1.
  std::int64_t modules() const { return static_cast<std::int64_t>(tensors().modules.size()); }
  std::int64_t module(std::int64_t k) const { return layers() + k; }
  std::uint16_t layer(std::int64_t l) const { return static_cast<std::uint16_t>(b.role().chunks[chunk].first_layer + l - (l > layers() ? 1 : 0)); }
  const ModuleTensors& module_tensors(std::int64_t k) const { return tensors().modules[static_cast<std::size_t>(k - 1)]; }
  const LayerTensors& layer_tensors(std::int64_t l) const {
    return l > layers() ? module_tensors(l - layers()).layer : tensors().layers[static_cast<std::size_t>(l)];
  }
  bool splits_backward() const { return pass == PassKind::input_grad || pass == PassKind::weight_grad; }

  std::uint32_t weight(std::int32_t tensor) const {
    return gatherer ? gatherer->weight(tensor) : layout.tensors[static_cast<std::size_t>(tensor)].weight;
  }
  std::uint32_t gradient(std::int32_t tensor) const {
    return reducer ? reducer->gradient(tensor) : layout.tensors[static_cast<std::size_t>(tensor)].gradient;
  }
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

  // A buffer of the forward pass that the backward pass needs: kept from one to the other, or made twice. `for_weights`: a split backward needs it
  // until the weight gradient is made.
  std::uint32_t kept(const std::string& name, DType dtype, std::int64_t elements, bool for_weights = false,
                     BufferKind kind = BufferKind::activation) const {
    const PassKind end = for_weights ? PassKind::weight_grad : PassKind::input_grad;
    if (!recompute || b.layer == kNone)
      return b.stash(name, kind, dtype, elements, b.layer, {mask(PassKind::forward), mask(PassKind::backward, end)});
    if (!for_weights || !splits_backward()) return b.temporary(name, kind, dtype, elements, b.layer);
    return b.stash(name + ", recomputed", kind, dtype, elements, b.layer, {mask(PassKind::input_grad), mask(end)});
  }
  // A gradient of the backward pass that the weight gradient is made of: where the backward is split, kept until then.
  std::uint32_t kept_gradient(const std::string& name, std::int64_t elements, BufferKind kind = BufferKind::temporary) const {
    if (!splits_backward()) return temporary(name, elements, kind);
    return b.stash(name + ", kept", kind, plan.precision.compute, elements, b.layer, {mask(PassKind::input_grad), mask(PassKind::weight_grad)});
  }
  std::uint32_t temporary(const std::string& name, std::int64_t elements, BufferKind kind = BufferKind::temporary) const {
    return b.temporary(name, kind, plan.precision.compute, elements, b.layer);
  }
};

// The residual stream: `layer_input` of a chunk's l-th layer, and of l = layers what leaves its last one. `layer_output`: what leaves the l-th.
std::uint32_t layer_input(const Context& c, std::int64_t l);
std::uint32_t layer_output(const Context& c, std::int64_t l);
// The gradient of the residual stream, updated in place from the end of a stage (or of stages in a row on this rank) to its beginning. In the layer
// of a prediction module: of that module's own stream.
std::uint32_t residual_gradient(const Context& c);

// dx += …; both norms.
void norm_forward(const Context& c, const std::string& name, std::int32_t gain, std::int32_t bias, std::uint32_t x, std::uint32_t y);
void norm_backward(const Context& c, const std::string& name, std::int32_t gain, std::int32_t bias, std::uint32_t dy, std::uint32_t x,
                   std::uint32_t dx);

void embedding_forward(const Context& c);
void embedding_backward(const Context& c);

// A segment of the chunk's l-th layer. `again` recomputes what its backward pass needs. segment_backward writes a whole backward or, in an
// input_grad, all but the gradients of the linears' weights, which segment_weight_grad makes later.
void segment_forward(const Context& c, std::int64_t l, Segment segment, bool again = false);
void segment_backward(const Context& c, std::int64_t l, Segment segment);
void segment_weight_grad(const Context& c, std::int64_t l, Segment segment);
// All of them.
void layer_forward(const Context& c, std::int64_t l, bool again = false);
void layer_backward(const Context& c, std::int64_t l);
void layer_weight_grad(const Context& c, std::int64_t l);

// Final norm, output projection and loss, and the modules of multi-token prediction with theirs; backward as for layers.
void head_forward(const Context& c);
void head_backward(const Context& c);
void head_weight_grad(const Context& c);

// Of the module that predicts the k-th token after the next: what comes before its output. `hidden`: what the outputs of the module before (or of the
// model) were made of. Backward from `dy`, the gradient of what this one's output was made of, normed into `y`; it adds to `d_hidden`.
void module_forward(const Context& c, std::int64_t k, std::uint32_t hidden);
void module_backward(const Context& c, std::int64_t k, std::uint32_t hidden, std::uint32_t dy, std::uint32_t d_hidden);
void module_weight_grad(const Context& c, std::int64_t k);
// A name of the k-th module's; of k = 0, the model's own.
std::string in_module(std::int64_t k, const char* name);

}  // namespace orrery::program
