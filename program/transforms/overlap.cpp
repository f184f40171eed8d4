#include "program/transforms/overlap.h"

#include <algorithm>

#include "program/transforms/pipeline.h"

namespace orrery::program {
namespace {

// The passes that take turns, each with its context.
class Halves {
 public:
  Halves(const Context& forward, const Context& backward) : forward_(forward), input_grad_(backward), weight_grad_(backward) {
    forward_.pass = PassKind::forward, input_grad_.pass = PassKind::input_grad, weight_grad_.pass = PassKind::weight_grad;
    forward_.reducer = nullptr;
  }

  const Context& forward() { return turn_to(forward_, false); }
  const Context& input_grad() { return turn_to(input_grad_, true); }
  const Context& weight_grad() { return turn_to(weight_grad_, true); }

  void write(const OverlapStep& step, std::int64_t forward_layer, std::int64_t backward_layer) {
    switch (step.pass) {
      case OverlapStep::Pass::forward:
        return segment_forward(forward(), forward_layer, step.segment);
      case OverlapStep::Pass::input_grad:
        return segment_backward(input_grad(), backward_layer, step.segment);
      case OverlapStep::Pass::weight_grad:
        return segment_weight_grad(weight_grad(), backward_layer, step.segment);
    }
  }

  void recompute(std::int64_t backward_layer) {
    if (input_grad_.recompute) layer_forward(input_grad(), backward_layer, true);
  }

 private:
  const Context& turn_to(const Context& c, bool second) {
    c.b.continue_with(c.pass, c.chunk, second);
    return c;
  }

  Context forward_, input_grad_, weight_grad_;
};

}  // namespace

void write_overlapped(const Context& forward, const Context& backward, const OverlapRule& rule, bool gathered) {
  const std::vector<OverlapStep> slot = issue_order(rule);
  Halves halves(forward, backward);
  const Context& f = halves.forward();
  if (gathered) expect_gathered(f.b, f.layout);
  expect_activations(f);
  if (f.first()) embedding_forward(f);
  const Context& b = halves.input_grad();
  expect_gradient(b);
  if (b.last()) {
    head_backward(b);
    head_weight_grad(halves.weight_grad());
  }
  const std::int64_t paired = std::min(f.layers(), b.layers());
  for (std::int64_t l = 0; l < paired; ++l) {
    halves.recompute(b.layers() - 1 - l);
    for (const OverlapStep& step : slot) halves.write(step, l, b.layers() - 1 - l);
  }
  for (std::int64_t l = paired; l < f.layers(); ++l) layer_forward(halves.forward(), l);
  for (std::int64_t l = b.layers() - paired; l-- > 0;) {
    halves.recompute(l);
    layer_backward(halves.input_grad(), l);
    layer_weight_grad(halves.weight_grad(), l);
  }
  if (b.first()) embedding_backward(halves.input_grad());
  halves.forward();
  if (f.last()) head_forward(f);
  send_activations(f);
  send_gradient(halves.input_grad());
}

}  // namespace orrery::program
