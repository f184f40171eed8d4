#include "program/compile.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "program/layers/layers.h"
#include "program/schedules/schedule.h"
#include "program/transforms/data_parallel.h"
#include "program/transforms/pipeline.h"
#include "program/transforms/recompute.h"

namespace orrery::program {
namespace {

// "tp-cp-ep-dp-pp"; ep has no axis of its own on the dense mesh.
std::array<Axis, kAxes> axis_order(const std::string& text) {
  std::array<Axis, kAxes> order{};
  std::size_t n = 0;
  for (std::size_t from = 0; from < text.size() && n < kAxes;) {
    const std::size_t to = std::min(text.find('-', from), text.size());
    const std::string_view word(text.data() + from, to - from);
    for (std::size_t a = 0; a < kAxes; ++a)
      if (word == name(static_cast<Axis>(a))) order[n++] = static_cast<Axis>(a);
    from = to + 1;
  }
  return order;
}

std::uint16_t forward_pass(const Context& c, bool waits_for_parameters) {
  c.b.begin(PassKind::forward, waits_for_parameters ? "forward, first micro-batch" : "forward");
  c.b.dtype = c.plan.precision.compute;
  if (waits_for_parameters) expect_gathered(c.b, c.layout);
  expect_activations(c);
  if (c.first()) embedding_forward(c);
  for (std::size_t l = 0; l < c.layout.layers.size(); ++l) layer_forward(c, static_cast<std::int64_t>(l));
  if (c.last()) head_forward(c);
  send_activations(c);
  return c.b.end();
}

std::uint16_t backward_pass(Context c, bool reduces) {
  GradientReducer reducer(c.b, c.layout, c.plan);
  c.reducer = reduces ? &reducer : nullptr;
  c.b.begin(PassKind::backward, reduces ? "backward, last micro-batch" : "backward");
  c.b.dtype = c.plan.precision.compute;
  expect_gradient(c);
  if (c.last()) head_backward(c);
  for (std::size_t l = c.layout.layers.size(); l-- > 0;) {
    if (c.recompute) layer_forward(c, static_cast<std::int64_t>(l), true);
    layer_backward(c, static_cast<std::int64_t>(l));
  }
  if (c.first())
    embedding_backward(c);
  else
    send_gradient(c);
  if (reduces) reducer.finish();
  return c.b.end();
}

void write_role(Role& role, Program& program, Tables& tables, const Model& model, const Plan& plan, const std::vector<Pass>& order) {
  const Dimensions d = dimensions(model, plan);
  const std::int64_t dp = program.mesh.size[static_cast<std::size_t>(Axis::dp)];
  Builder b(tables, role);
  const Layout layout = lay_out(b, model, plan, d, dp);
  const Context c{b, model, plan, d, layout, role.stage, plan.parallel.pp, tables.group(mask(Axis::tp)), recomputes_layers(plan), nullptr};

  Passes passes;
  pipeline_passes(c, passes);
  const bool gathers = gathers_parameters(plan, dp) && plan.overlap.param_gather, reduces = reduces_gradients(layout, dp, d.t);
  const bool several = program.microbatches > 1;
  if (gathers) passes.first_forward = forward_pass(c, true);
  if (!gathers || several) passes.forward = forward_pass(c, false);
  if (!reduces || several) passes.backward = backward_pass(c, false);
  if (reduces) passes.last_backward = backward_pass(c, true);
  passes.optimizer = optimizer_pass(b, layout, plan);
  role.body = pipeline_body(order, passes, plan.overlap.p2p);
  role.body.push_back({passes.optimizer, 0});
}

Launch launch(const Cluster& cluster, const Plan& plan) {
  if (cluster.device.kind == DeviceKind::cpu_core) return Launch::inline_host;
  if (plan.runtime.cuda_graphs) return Launch::graph;
  return plan.runtime.compiled ? Launch::compiled : Launch::eager;
}

}  // namespace

std::int64_t data_parallel(const Cluster& cluster, const Plan& plan) { return cluster.devices / plan.model_ranks(); }

Program compile(const Model& model, const Cluster& cluster, const Plan& plan) {
  if (const auto refused = refusals(model, cluster, plan); !refused.empty())
    throw Error(refused.front().field, refused.front().reason, refused.front().hint);

  Program program;
  const std::int64_t dp = data_parallel(cluster, plan);
  program.mesh.size = {plan.parallel.tp, plan.parallel.cp, dp, plan.parallel.pp};
  program.mesh.order = axis_order(plan.parallel.order);
  program.streams = stream_table();
  program.launch = launch(cluster, plan);
  program.micro_batch = plan.batch.micro, program.sequence = plan.batch.sequence, program.global_batch = plan.batch.global;
  program.microbatches = plan.batch.global / (plan.batch.micro * dp);
  program.padded_vocab = dimensions(model, plan).padded_vocab;

  ScheduleInput input;
  input.ranks = plan.parallel.pp, input.microbatches = program.microbatches;
  const Schedule schedule = make_schedule(plan.schedule, input);
  program.bubble_fraction = bubble_fraction(schedule);

  const std::vector<std::int64_t> layers = stage_layers(model, plan);
  Tables tables(program);
  std::int64_t first = 0;
  for (std::int64_t s = 0; s < plan.parallel.pp; ++s) {
    Role role;
    role.name = fmt::format("stage {}", s);
    role.stage = s, role.first_layer = first, role.layers = layers[static_cast<std::size_t>(s)];
    first += role.layers;
    write_role(role, program, tables, model, plan, schedule.order[static_cast<std::size_t>(s)]);
    program.roles.push_back(std::move(role));
  }
  return program;
}

}  // namespace orrery::program
