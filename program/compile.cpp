#include "program/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <deque>
#include <map>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "program/expert_map.h"
#include "program/layers/layers.h"
#include "program/schedules/schedule.h"
#include "program/transforms/context_parallel.h"
#include "program/transforms/data_parallel.h"
#include "program/transforms/overlap.h"
#include "program/transforms/pipeline.h"
#include "program/transforms/quantising.h"
#include "program/transforms/recompute.h"
#include "program/transforms/resharding.h"

namespace orrery::program {
namespace {

// The order of the axes from words like "tp-cp-ep-dp-pp".
void order_axes(const std::string& text, Mesh& mesh) {
  std::size_t dense = 0, expert = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find('-', from), text.size());
    const std::string_view word(text.data() + from, to - from);
    from = to + 1;
    if (word == "tp") mesh.order[dense++] = Axis::tp, mesh.expert_order[expert++] = Axis::etp;
    if (word == "cp") mesh.order[dense++] = Axis::cp_inner, mesh.order[dense++] = Axis::cp_outer;
    if (word == "ep") mesh.expert_order[expert++] = Axis::ep;
    if (word == "dp") mesh.order[dense++] = Axis::dp_inner, mesh.order[dense++] = Axis::dp_outer, mesh.expert_order[expert++] = Axis::edp;
    if (word == "pp") mesh.order[dense++] = Axis::pp;
  }
}

// As Program::experts.
std::vector<std::vector<std::int32_t>> placed_experts(const Model& model, const Plan& plan) {
  const ExpertMap map = expert_map(plan.moe.expert_map.value_or("linear"));
  if (map.kind == ExpertMap::Kind::linear) return {};
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(model.all_layers()));
  for (std::int64_t l = 0; l < model.all_layers(); ++l)
    if (model.is_moe_layer(l)) out[static_cast<std::size_t>(l)] = experts_by_place(map, model.moe->experts, plan.parallel.ep, model.weights_of(l));
  return out;
}

// What a pass of a role does: each is expanded once.
struct Need {
  PassKind kind = PassKind::forward;
  std::uint16_t chunk = 0, backward_chunk = 0, split = 0;
  Turn turn;
  auto operator<=>(const Need&) const = default;
};

void forward(const Context& c, bool first) {
  if (first) expect_gathered(c.b, c.layout);
  expect_activations(c);
  if (c.first()) embedding_forward(c);
  for (std::int64_t l = 0; l < c.layers(); ++l) layer_forward(c, l);
  if (c.last()) head_forward(c);
  send_activations(c);
}

void backward(const Context& c) {
  expect_gradient(c);
  if (c.last()) head_backward(c);
  for (std::int64_t l = c.layers(); l-- > 0;) {
    if (c.recompute) layer_forward(c, l, true);
    layer_backward(c, l);
  }
  if (c.first()) embedding_backward(c);
  send_gradient(c);
}

void weight_grad(const Context& c) {
  if (c.last()) head_weight_grad(c);
  for (std::int64_t l = c.layers(); l-- > 0;) layer_weight_grad(c, l);
}

std::uint16_t write_pass(Context c, const Need& need, const OverlapRule& rule) {
  std::string called{name(need.kind)};
  const bool both = need.kind == PassKind::forward_backward;
  if (c.chunks.size() > 1)
    called += both ? fmt::format(" of chunks {} and {}", need.chunk, need.backward_chunk) : fmt::format(" of chunk {}", need.chunk);
  if (need.turn.gathers || need.turn.opens) called += ", first micro-batch";
  if (need.turn.releases || need.turn.reduces) called += ", last micro-batch";
  if (c.d.splits > 1) called += fmt::format(", split {}", need.split);
  c.pass = both ? PassKind::forward : need.kind, c.split = need.split;
  Context second = c.chunks[both ? need.backward_chunk : need.chunk];  // the backward half
  second.pass = PassKind::backward;
  GradientReducer reducer(c.b, c.layout, c.plan, second.chunk, both ? PassKind::backward : need.kind, need.turn);
  Turn back = need.turn;
  if (both) back.gathers = false;
  ParameterGatherer gatherer(c.b, c.layout, c.plan, c.chunk, need.turn), gatherer_back(c.b, c.layout, c.plan, second.chunk, back);
  const bool reduces = need.kind != PassKind::forward && (need.turn.reduces || shards_gradients(c.layout)), gathers = shards_parameters(c.layout);
  if (reduces) (both ? second : c).reducer = &reducer;
  if (gathers) c.gatherer = &gatherer, second.gatherer = &gatherer_back;
  const auto begin = [&] {
    c.b.begin(need.kind, called, c.chunk, c.split);
    c.b.dtype = c.plan.precision.compute;
  };
  const auto write = [&] {
    switch (need.kind) {
      case PassKind::forward:
        forward(c, need.turn.gathers);
        break;
      case PassKind::weight_grad:
        weight_grad(c);
        break;
      case PassKind::forward_backward:
        if (!rule.compute.empty()) {
          write_overlapped(c, second, rule, need.turn.gathers);
        } else {
          c.b.continue_with(c.pass, c.chunk, false);
          forward(c, need.turn.gathers);
          c.b.continue_with(second.pass, second.chunk, true);
          backward(second);
        }
        c.b.continue_with(second.pass, second.chunk, true);
        break;
      default:
        backward(c);
    }
  };
  if (gathers) {  // once to see which parameters it reads in which order
    begin();
    write();
    c.b.abandon();
  }
  begin();
  if (gathers) gatherer.begin();
  if (gathers && both) gatherer_back.begin();
  if (reduces) reducer.begin();
  write();
  if (reduces) reducer.finish();
  return c.b.end();
}

// By item of a rank's order, the template that it needs. `turns`: by chunk. `update_every`: an
// asynchronous schedule's micro-batches per update, else 0.
std::vector<Need> needs(const std::vector<Pass>& order, const std::vector<Turn>& turns, std::int64_t update_every) {
  std::vector<std::size_t> last(turns.size(), 0), last_reader(turns.size(), 0);
  for (std::size_t k = 0; k < order.size(); ++k)
    for_each_half(order[k], [&](const Pass& pass) {
      if (pass.kind != PassKind::forward) last[pass.chunk] = k;
      if (pass.kind != PassKind::forward && pass.kind != PassKind::weight_grad) last_reader[pass.chunk] = k;
    });
  std::vector<Need> out;
  std::vector<bool> ran(turns.size(), false), came_back(turns.size(), false);
  for (std::size_t k = 0; k < order.size(); ++k) {
    Need& need = out.emplace_back();
    need.kind = order[k].kind;
    for_each_half(order[k], [&](const Pass& pass) {
      need.split = pass.split;
      if (pass.kind == PassKind::forward) {
        need.chunk = pass.chunk, need.turn.gathers = turns[pass.chunk].gathers && !ran[pass.chunk];
        ran[pass.chunk] = true;
      } else {
        (need.kind == PassKind::forward_backward ? need.backward_chunk : need.chunk) = pass.chunk;
        need.turn.opens = turns[pass.chunk].opens && !came_back[pass.chunk];
        need.turn.releases = turns[pass.chunk].releases && pass.kind != PassKind::weight_grad && last_reader[pass.chunk] == k;
        const bool completes = update_every > 0 ? (pass.microbatch + 1) % update_every == 0 : last[pass.chunk] == k;
        need.turn.reduces = turns[pass.chunk].reduces && completes;
        came_back[pass.chunk] = true;
      }
    });
  }
  return out;
}

// The chunk whose gradients are complete last.
std::uint16_t last_chunk(const std::vector<Pass>& order) {
  std::uint16_t chunk = 0;
  for (const Pass& item : order)
    for_each_half(item, [&](const Pass& pass) {
      if (pass.kind != PassKind::forward) chunk = pass.chunk;
    });
  return chunk;
}

// An asynchronous pipeline is written for as many steps: what begins it, what repeats, and what ends it.
constexpr std::int64_t kEndlessSteps = 3;

// When an asynchronous pipeline that has always been running runs its passes, a backward taking twice a forward: micro-batch j is at rank r at 3j − w
// and comes back at 3j + 1 + 2w, where w ranks are behind it. No rank ever waits, so its bubble is 0.
Replay steady_times(const Schedule& schedule) {
  Replay out;
  for (std::int64_t rank = 0; rank < schedule.ranks; ++rank) {
    const std::int64_t w = schedule.ranks - 1 - rank;
    std::vector<PassTimes>& times = out.passes.emplace_back();
    for (const Pass& pass : schedule.order[static_cast<std::size_t>(rank)]) {
      const bool forward = pass.kind == PassKind::forward;
      const std::int64_t start = 3 * (std::int64_t{pass.microbatch} + schedule.ranks) + (forward ? -w : 1 + 2 * w);
      times.push_back({start, start + (forward ? 1 : 2)});
    }
  }
  return out;
}

// Keeps the weights of as many updates as micro-batches on their way may need.
void stash_weights(Role& role, const Program& program, const Schedule& schedule, const Layout& layout) {
  role.lag = schedule.uniform_delay ? program.update_every : schedule.admitted[static_cast<std::size_t>(role.stage)];
  const std::int64_t versions = (role.lag + program.update_every - 1) / program.update_every + 1;
  if (versions == 1) return;
  role.buffers[layout.parameters].versions = versions;
  for (const Tensor& t : layout.tensors) role.buffers[t.weight].version = Version::stashed;
  for (const Layout::BucketViews& b : layout.buckets) role.buffers[b.parameter].version = role.buffers[b.own_parameter].version = Version::next;
}

// Cuts an asynchronous rank's passes of three steps into a prologue, the body and the last step. A step begins with the forward pass of the
// micro-batch that finds as many others on their way as `admitted`. Of what is sent each way one message is in flight beside the latest (none without
// `overlap`); but no gradients are when a step begins, since there are none before the first.
void write_endless(Role& role, const Program& program, const std::vector<PassInstance>& passes, std::int64_t admitted, const Transfers& transfers,
                   bool overlap, std::uint16_t optimizer) {
  const auto m = static_cast<std::uint16_t>(program.microbatches);
  std::vector<PassInstance> all;
  std::array<std::size_t, kEndlessSteps> begin{};
  std::array<std::deque<PassInstance>, 2> in_flight;  // releases of gradients, of activations
  const auto release = [&](bool forward, std::size_t keep) {
    for (auto& queue = in_flight[forward]; queue.size() > keep; queue.pop_front()) all.push_back(queue.front());
  };
  for (const PassInstance& pass : passes) {
    const PassKind kind = role.passes[pass.pass].kind;
    if (kind == PassKind::release) continue;
    const bool forward = kind == PassKind::forward;
    if (!overlap && (forward || kind == PassKind::backward)) release(true, 0), release(false, 0);
    if (forward && pass.microbatch % m == admitted) {
      release(false, 0);
      begin[pass.microbatch / m] = all.size();
    }
    all.push_back(pass);
    if (!forward && kind != PassKind::backward) continue;
    if (!forward && (pass.microbatch + 1) % program.update_every == 0) all.push_back({optimizer, pass.microbatch});
    const std::uint16_t releases = forward ? transfers.release_forward : transfers.release_backward;
    if (releases == kNone) continue;
    in_flight[forward].push_back({releases, pass.microbatch});
    release(forward, 1);
  }
  release(true, 0), release(false, 0);
  const auto step = [&](std::size_t from, std::size_t to, std::uint16_t number) {
    std::vector<PassInstance> out(all.begin() + static_cast<std::ptrdiff_t>(from), all.begin() + static_cast<std::ptrdiff_t>(to));
    for (PassInstance& pass : out)
      pass.ahead = static_cast<std::uint16_t>(pass.microbatch / m - number), pass.microbatch = static_cast<std::uint16_t>(pass.microbatch % m);
    return out;
  };
  role.prologue = step(0, begin[0], 0);
  role.body = step(begin[0], begin[1], 0);
  assert(role.body == step(begin[1], begin[2], 1));
  role.epilogue = step(begin[2], all.size(), 2);
}

void write_role(Role& role, const Program& program, Tables& tables, const Model& model, const Cluster& cluster, const Plan& plan,
                const Schedule& schedule, const Replay& times) {
  const Dimensions d = dimensions(model, plan, schedule.splits, &cluster);
  const bool even = !model.moe || (expert_load(plan.moe.load).kind == ExpertLoad::Kind::balanced);
  const std::vector<BusiestRows> busiest = even ? std::vector<BusiestRows>{} : busiest_rows(model, plan, d);
  const std::vector<Pass>& order = schedule.order[static_cast<std::size_t>(role.stage)];
  Builder b(tables, role);
  LayoutSettings settings;
  settings.mirrored = schedule.placement == Placement::mirrored;
  settings.splits = std::any_of(order.begin(), order.end(), [](const Pass& pass) { return pass.kind == PassKind::input_grad; });
  settings.last_chunk = last_chunk(order), settings.stages = stages(schedule);
  const Layout layout = lay_out(b, model, plan, d, settings);

  if (program.update_every > 0) stash_weights(role, program, schedule, layout);

  std::optional<Resharding> boundary_before, boundary_after;
  if (!program.segments.empty()) {
    const std::size_t stage = program.roles.size(), s = tables.segment;
    if (stage > 0 && program.segment_of_role(stage - 1) != s) boundary_before = resharding(tables, s - 1);
    if (static_cast<std::int64_t>(stage) + 1 < schedule.ranks && program.segment_of_role(stage + 1) != s) boundary_after = resharding(tables, s);
  }

  std::vector<Context> chunks;
  chunks.reserve(role.chunks.size());
  std::vector<Turn> of_chunks;
  const auto count = static_cast<std::uint16_t>(role.chunks.size());
  for (std::uint16_t i = 0; i < count; ++i) {
    chunks.push_back(Context{.b = b,
                             .model = model,
                             .plan = plan,
                             .d = d,
                             .layout = layout,
                             .chunks = chunks,
                             .chunk = i,
                             .before = neighbour_before(schedule, role.stage, i),
                             .after = neighbour_after(schedule, role.stage, i),
                             .boundary_before = boundary_before ? &*boundary_before : nullptr,
                             .boundary_after = boundary_after ? &*boundary_after : nullptr,
                             .tp = tables.group(kTpAxis),
                             .cp_inner = tables.group(mask(Axis::cp_inner)),
                             .cp_outer = tables.group(mask(Axis::cp_outer)),
                             .ep = tables.group(static_cast<AxisMask>(mask(Axis::etp) | mask(Axis::ep))),
                             .busiest = busiest,
                             .recompute = recomputes_layers(plan)});
    of_chunks.push_back(turns(b, layout, plan, i));
    if (program.update_every > 0) of_chunks.back().gathers = false;  // every update waits for its own gather
  }
  std::vector<Transfers> transfers;
  transfers.reserve(chunks.size());
  for (const Context& c : chunks) transfers.push_back(transfer_passes(c));

  const OverlapRule rule = overlap_rule(plan.schedule_args.overlap_rule.value_or("deepseek"), "schedule_args.overlap_rule");
  std::map<Need, std::uint16_t> written;
  std::vector<std::uint16_t> templates;
  for (const Need& need : needs(order, of_chunks, program.update_every)) {
    const auto [at, fresh] = written.try_emplace(need, kNone);
    if (fresh) at->second = write_pass(chunks[need.chunk], need, rule);
    templates.push_back(at->second);
  }
  if (plan.optimizer.post_validation) {
    const PostValidation passes = post_validation_passes(b, layout, plan, role.stage == 0, role.stage + 1 == schedule.ranks);
    const std::vector<PassInstance> validation{{passes.validation, 0}, {passes.clear, 0}};
    role.validation = passes.validation, role.redo = passes.redo, role.validated_norm = static_cast<std::int32_t>(passes.norm);
    role.body = pipeline_body(schedule, times, role.stage, chunks, transfers, templates, plan.overlap.p2p, validation);
    role.body.push_back({passes.update, 0});
    role.epilogue = role.body;
    role.epilogue.insert(role.epilogue.end(), validation.begin(), validation.end());
    return;
  }
  const std::uint16_t optimizer = optimizer_pass(b, layout, plan, program.update_every > 0);
  role.body = pipeline_body(schedule, times, role.stage, chunks, transfers, templates, plan.overlap.p2p);
  if (program.update_every > 0)
    write_endless(role, program, role.body, schedule.admitted[static_cast<std::size_t>(role.stage)], transfers.front(), plan.overlap.p2p, optimizer);
  else
    role.body.push_back({optimizer, 0});
}

Mesh segment_mesh(const Model& model, const Cluster& cluster, const PlanSegment& segment) {
  const ParallelSpec& p = segment.plan.parallel;
  Mesh mesh = dense_mesh(p.tp, p.cp, segment.dp, p.pp);
  const auto size = [&](Axis axis) -> std::int64_t& { return mesh.size[static_cast<std::size_t>(axis)]; };
  const ContextFactors context = dimensions(model, segment.plan).context;
  size(Axis::cp_inner) = context.inner, size(Axis::cp_outer) = context.outer;
  order_axes(p.order, mesh);
  factor_data_parallel_axis(mesh, segment.plan, cluster.node_size);
  if (model.moe) {
    size(Axis::etp) = p.etp, size(Axis::ep) = p.ep;
    size(Axis::edp) = p.tp * p.cp * segment.dp / (p.etp * p.ep);
  }
  return mesh;
}

Launch launch(const Cluster& cluster, const Plan& plan) {
  if (cluster.device.kind == DeviceKind::cpu_core) return Launch::inline_host;
  if (plan.runtime.cuda_graphs) return Launch::graph;
  return plan.runtime.compiled ? Launch::compiled : Launch::eager;
}

}  // namespace

std::int64_t data_parallel(const Cluster& cluster, const Plan& plan) {
  if (!plan.segments || plan.segments->empty()) return cluster.devices / plan.model_ranks();
  return plan_segments({}, cluster, plan).front().dp;
}

Program compile(const Model& model, const Cluster& cluster, const Plan& asked) {
  if (const auto refused = refusals(model, cluster, asked); !refused.empty())
    throw Error(refused.front().field, refused.front().reason, refused.front().hint);
  std::vector<PlanSegment> segments = plan_segments(model, cluster, asked);
  resolve_contexts(model, cluster, segments);
  for (PlanSegment& s : segments) s.plan = without_fp8_compute(s.plan);
  const Plan& plan = segments.size() == 1 ? segments.front().plan : asked;

  Program program;
  if (segments.size() == 1)
    program.mesh = segment_mesh(model, cluster, segments.front());
  else
    for (const PlanSegment& s : segments)
      program.segments.push_back({segment_mesh(model, cluster, s), s.first_rank, s.first_stage, s.plan.batch.micro, s.plan.parallel.sp});
  program.balanced_context = segments.front().plan.parallel.cp_balanced;
  if (model.moe) program.experts = placed_experts(model, segments.front().plan);  // which has all layers
  program.streams = stream_table();
  program.launch = launch(cluster, plan);
  program.micro_batch = plan.batch.micro, program.sequence = plan.batch.sequence, program.global_batch = plan.batch.global;
  program.microbatches = plan.batch.global / (plan.batch.micro * segments.front().dp);

  Schedule schedule = plan_schedule(plan, program.microbatches);
  program.splits = schedule.splits;
  Replay times;
  if (schedule.update_every > 0) {
    program.update_every = schedule.update_every;
    schedule = plan_schedule(plan, kEndlessSteps * program.microbatches);
    times = steady_times(schedule);
  } else {
    times = replay(schedule, {});
    program.bubble_fraction = bubble_fraction(schedule);
  }
  program.microbatches *= schedule.splits;

  const std::vector<std::int64_t> layers = stage_layers(model, plan);
  std::vector<std::int64_t> first(layers.size(), 0);
  std::partial_sum(layers.begin(), layers.end() - 1, first.begin() + 1);
  Tables tables(program);
  for (std::int64_t rank = 0; rank < schedule.ranks; ++rank) {
    Role role;
    role.name = fmt::format("{} {}", schedule.chunks > 1 ? "rank" : "stage", rank);
    role.stage = rank;
    for (std::int64_t c = 0; c < schedule.chunks; ++c) {
      const auto stage = static_cast<std::size_t>(stage_of(schedule, rank, c));
      role.chunks.push_back({static_cast<std::int64_t>(stage), first[stage], layers[stage]});
    }
    tables.segment = program.segment_of_role(static_cast<std::size_t>(rank));
    write_role(role, program, tables, model, cluster, segments[tables.segment].plan, schedule, times);
    program.roles.push_back(std::move(role));
  }
  return program;
}

}  // namespace orrery::program
