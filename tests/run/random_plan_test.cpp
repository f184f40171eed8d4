// Any legal plan is run as it was simulated, and computes what one rank alone computes. `RC_PARAMS="max_success=5000"` draws more plans; a plan that
// fails is shrunk and printed as a plan.json.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "core/plan_json.h"
#include "cost/cost.h"
#include "program/compile.h"
#include "program/memory.h"
#include "run/runs.h"
#include "sim/simulate.h"
#include "support/fake_device.h"
#include "support/segmented_plans.h"

namespace orrery::executor {
namespace {

constexpr std::int64_t kSteps = 3;
constexpr std::int64_t kMostRanks = 8;
// Adam's first steps are as long for a gradient that rounding made as for any other; this makes them short, far below the smallest true ones.
constexpr double kEpsilon = 1e-6;

// Shrinks towards the first.
template <class T>
T pick(const std::vector<T>& values) {
  return values[*rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::size_t>(0, values.size()))];
}
bool coin() { return pick<int>({0, 1}) == 1; }

struct Kind {
  const char* name;
  Model (*make)();
};
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> kKinds{{"llama", tiny_llama},
                                        {"gpt2", tiny_gpt2},
                                        {"opt", tiny_opt},
                                        {"stretched", tiny_stretched},
                                        {"latent", [] { return tiny_latent(12); }},
                                        {"mixture", tiny_mixture},
                                        {"deepseek", tiny_deepseek}};
  return kKinds;
}

struct Scheduled {
  const char* name;
  std::int64_t vp;
};
const std::vector<Scheduled>& schedules() {
  static const std::vector<Scheduled> kSchedules{{"1f1b", 1},     {"gpipe", 1}, {"interleaved", 2}, {"interleaved", 3}, {"looped-bfs", 2},
                                                 {"circular", 2}, {"zb-h1", 1}, {"zb-h2", 1},       {"zb-auto", 1},     {"zbv", 2},
                                                 {"v-half", 2},   {"v-min", 2}, {"dualpipe", 1},    {"dualpipev", 2},   {"seq1f1b", 1}};
  return kSchedules;
}

struct Drawn {
  Model model;
  Plan plan;
  std::int64_t dp = 1;
  std::int64_t in_segments = 0;  // ranks, where the plan has segments
  std::int64_t ranks() const { return in_segments > 0 ? in_segments : plan.model_ranks() * dp; }
};

Drawn draw() {
  Drawn d;
  d.model = pick(kinds()).make();
  Plan& p = d.plan;
  const Scheduled schedule = pick(schedules());
  std::int64_t left = kMostRanks;
  const auto ranks = [&] {
    std::vector<std::int64_t> fit;
    for (const std::int64_t n : {1, 2, 4})
      if (n <= left) fit.push_back(n);
    const std::int64_t n = pick(fit);
    left /= n;
    return n;
  };
  p.parallel.pp = ranks(), p.parallel.tp = ranks(), d.dp = ranks();
  p.parallel.cp = ranks(), p.parallel.cp_kind = pick<std::string>({"allgather", "p2p", "a2a", "a2a+p2p"});
  p.parallel.cp_inner = pick<std::int64_t>({1, 2}), p.parallel.cp_balanced = !coin();
  if (d.model.moe) {
    std::int64_t together = p.parallel.tp * p.parallel.cp * d.dp;
    for (std::int64_t* n : {&p.parallel.ep, &p.parallel.etp}) {
      *n = together % 4 == 0 ? pick<std::int64_t>({1, 2, 4}) : together % 2 == 0 ? pick<std::int64_t>({1, 2}) : 1;
      together /= *n;
    }
    p.runtime.moe_balanced = coin();
    p.runtime.moe_dispatcher = pick<std::string>({"alltoall", "allgather"});
    p.moe.expert_map = pick<std::string>({"linear", "round-robin"});
    p.overlap.ep = (schedule.name == std::string_view("1f1b") || schedule.name == std::string_view("interleaved")) && coin();
  }
  p.parallel.vp = schedule.vp;
  p.schedule = schedule.name;
  p.parallel.sp = p.parallel.tp > 1 && (d.model.moe || coin());
  p.parallel.order = pick<std::string>({"tp-cp-ep-dp-pp", "tp-cp-ep-pp-dp", "pp-dp-ep-cp-tp"});
  d.model.layers = std::max<std::int64_t>(pick<std::int64_t>({2, 4, 5}), p.parallel.pp * p.parallel.vp);
  d.model.tie_embeddings = coin();
  if (d.model.norm == Normalization::rmsnorm) d.model.mtp_layers = pick<std::int64_t>({0, 0, 1, 2}), d.model.mtp_shared = coin();
  // Enough micro-batches for every schedule: two rounds of a bidirectional pipeline.
  const std::int64_t microbatches = p.parallel.pp * pick<std::int64_t>({2, 3, 4});
  p.batch.micro = pick<std::int64_t>({1, 2});
  p.batch.global = microbatches * p.batch.micro * d.dp, p.batch.sequence = 16;
  if (p.schedule == "seq1f1b") p.schedule_args.splits = pick<std::int64_t>({2, 4});
  p.sharding.zero = pick<std::int64_t>({0, 1, 2, 3});
  p.sharding.reshard_after_forward = !coin(), p.sharding.reduce_every_microbatch = !coin();
  if (p.sharding.zero == 0) {
    p.data_parallel.kind = pick<std::string>({"ddp", "horovod", "parameter-server", "priority"});
    p.data_parallel.hierarchical = p.data_parallel.kind != "parameter-server" && coin();
  } else {
    p.sharding.replicas = pick<std::int64_t>({1, d.dp});
  }
  p.recompute.kind = pick<std::string>({"none", "full"});
  p.runtime.framework = pick<std::string>({"orrery", "megatron-core"});
  if (p.schedule.starts_with("dualpipe")) p.schedule_args.overlap_rule = pick<std::string>({"deepseek", "none"});
  p.precision.compute = p.precision.params = p.precision.grads = p.precision.optimizer = DType::fp32;
  p.data_parallel.bucket_bytes = pick<std::int64_t>({1 << 20, 8192, 1000});
  p.overlap.grad_reduce = !coin(), p.overlap.param_gather = !coin(), p.overlap.p2p = !coin(), p.overlap.tp = p.parallel.sp && coin();
  if (p.sharding.zero == 3 && p.overlap.param_gather) {
    p.data_parallel.prefetch = pick<std::int64_t>({1, 0, 3});
    if (coin()) p.data_parallel.rate_limit = *p.data_parallel.prefetch + pick<std::int64_t>({1, 2});
  }
  p.optimizer.lr = 1e-3, p.optimizer.eps = kEpsilon;
  p.optimizer.post_validation = p.parallel.pp > 1 && schedule.vp == 1 && p.schedule != "dualpipe" && coin();
  if (p.optimizer.post_validation) p.optimizer.clip = pick<double>({1, 1e3});  // nearly always, and never
  p.model = d.model.name, p.cluster = "this-machine:" + std::to_string(p.model_ranks() * d.dp);
  return d;
}

// Two or three segments in place of one mesh.
Drawn draw_segments() {
  Drawn d = draw();
  if (d.model.moe) d.model = tiny_llama();
  d.model.layers = pick<std::int64_t>({3, 6}), d.model.tie_embeddings = false, d.model.mtp_layers = 0;
  Plan& p = d.plan;
  p.optimizer.post_validation = false;
  p.parallel = {}, p.overlap.ep = p.overlap.tp = false, p.schedule_args = {};
  p.schedule = pick<std::string>({"1f1b", "gpipe", "zb-h1", "zb-h2", "zb-auto"});
  const std::vector<test::Split> splits = test::draw_splits(kMostRanks, pick<std::int64_t>);
  d.dp = splits.front().dp, d.in_segments = test::divide(p, d.model, splits);
  for (SegmentSpec& s : *p.segments) s.parallel->order = pick<std::string>({"tp-cp-ep-dp-pp", "pp-dp-ep-cp-tp"});
  if (p.sharding.zero > 0) p.sharding.replicas = 1;
  p.batch.micro = pick<std::int64_t>({1, 2, 4});
  p.batch.global = pick<std::int64_t>({16, 24});  // of as many micro-batches as there are
  p.cluster = "this-machine:" + std::to_string(d.in_segments);
  return d;
}

RunOptions options() {
  RunOptions o;
  o.steps = kSteps, o.warm_up = 1, o.poison = true;
  return o;
}

const TokenSource& tokens(const Model& model) {
  static std::map<std::int64_t, std::unique_ptr<TokenSource>> open;
  std::unique_ptr<TokenSource>& source = open[model.vocab];
  if (!source) source = open_tokens("markov", model.vocab, 16, 1);
  return *source;
}

// The CPU kernels, watching the router. Its choice is discontinuous: where two experts are all but equal, rounding, which differs between layouts,
// decides to which a token goes, and from that step on the runs differ.
class WatchedRouter final : public KernelSet {
 public:
  bool has(const program::Shape& shape) const override { return kernels_->has(shape); }
  void run(const KernelContext& c) const override {
    kernels_->run(c);
    if (c.shape.op == program::Operator::route_forward && c.shape.dims[5] == 0 && on_border(c)) first_border_ = std::min(first_border_, c.step - 1);
  }
  // The first step in which some token would have had other experts with logits that differ by no more than rounding.
  std::int64_t first_border() const { return first_border_; }

 private:
  // Float sums of a few dozen terms, and parameters that were updated from such: hundreds of roundings of 6e-8.
  static constexpr float kRounding = 1e-5F;

  // Whether the experts that were not chosen would be, if all of them gained and those chosen lost.
  bool on_border(const KernelContext& c) const {
    const auto tokens = static_cast<std::size_t>(c.shape.dims[0]), experts = static_cast<std::size_t>(c.shape.dims[1]),
               k = static_cast<std::size_t>(c.shape.dims[2]);
    const auto* logits = static_cast<const float*>(c.buffers[0]);
    std::vector<float> shifted(logits, logits + tokens * experts), weights(tokens * k);
    const auto* given = static_cast<const std::int32_t*>(c.buffers[2]);
    std::vector<std::int32_t> chosen(given, given + tokens * k), again(tokens * k);
    for (std::size_t t = 0; t < tokens; ++t) {
      float most = 0;
      for (std::size_t e = 0; e < experts; ++e) most = std::max(most, std::abs(logits[t * experts + e]));
      for (std::size_t e = 0; e < experts; ++e) shifted[t * experts + e] += kRounding * most;
      for (std::size_t j = 0; j < k; ++j) shifted[t * experts + static_cast<std::size_t>(chosen[t * k + j])] -= 2 * kRounding * most;
    }
    void* buffers[]{shifted.data(), weights.data(), again.data()};
    KernelContext other = c;
    other.buffers = buffers;
    kernels_->run(other);
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::vector<std::int32_t>* of : {&chosen, &again})
        std::sort(of->begin() + static_cast<std::ptrdiff_t>(t * k), of->begin() + static_cast<std::ptrdiff_t>((t + 1) * k));
    return chosen != again;
  }

  std::unique_ptr<KernelSet> kernels_ = make_cpu_kernels();
  mutable std::int64_t first_border_ = std::numeric_limits<std::int64_t>::max();  // one rank runs it
};

struct Alone {
  std::vector<StepReport> steps;
  std::uint64_t seed = 1;
  std::int64_t comparable = 0;  // first steps
};

// One rank; one sequence at a time, unless experts are chosen by a token's place in its micro-batch. Which sequences a step trains on does not depend
// on the layout. The seed is one with which no token is on the border between two experts, if there is one among a few.
const Alone& alone(const Drawn& d) {
  static std::map<std::tuple<std::string, std::int64_t, bool, std::int64_t, bool, std::int64_t, std::int64_t, bool, double>, Alone> known;
  const std::int64_t micro = d.model.moe ? d.plan.batch.micro : 1;
  Alone& best = known[{d.model.name, d.model.layers, d.model.tie_embeddings, d.plan.batch.global, d.plan.runtime.moe_balanced, micro,
                       d.model.mtp_layers, d.model.mtp_shared, d.plan.optimizer.clip}];
  if (!best.steps.empty()) return best;
  constexpr std::uint64_t kMostSeeds = 8;
  for (std::uint64_t seed = 1; seed <= kMostSeeds && best.comparable < kSteps; ++seed) {
    Plan p = plan_of({}, d.plan.batch.global);
    p.runtime.moe_balanced = d.plan.runtime.moe_balanced, p.batch.micro = micro, p.seed = seed, p.optimizer.eps = kEpsilon,
    p.optimizer.clip = d.plan.optimizer.clip;
    const WatchedRouter kernels;
    RunOptions o = options();
    const std::unique_ptr<World> world = make_host_world(1, kernels);
    o.world = world.get();
    Alone now{run(compiled(d.model, p, 1), d.model, p, tokens(d.model), o).steps, seed, 0};
    now.comparable = std::min(kSteps, kernels.first_border());
    if (best.steps.empty() || now.comparable > best.comparable) best = std::move(now);
  }
  return best;
}

// Plans whose routers are free, and how many of them were compared over all steps.
class Learned final : public testing::Environment {
 public:
  void TearDown() override {
    if (plans < 10) return;  // another shard has the properties
    EXPECT_GE(whole * 10, plans * 9) << whole << " of " << plans;
  }
  int plans = 0, whole = 0;
};
Learned* const learned = static_cast<Learned*>(testing::AddGlobalTestEnvironment(new Learned));

// Rank, stream, pass, instruction and micro-batch of every span, in the order in which each stream ran them.
using Order = std::vector<std::tuple<std::uint32_t, std::uint16_t, std::uint32_t, std::uint16_t, std::uint16_t>>;
Order order(const Timeline& t) {
  std::vector<Span> spans = t.spans;
  std::stable_sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    return std::tuple(a.rank, a.stream, a.start, a.end, a.pass, a.instruction) < std::tuple(b.rank, b.stream, b.start, b.end, b.pass, b.instruction);
  });
  Order out;
  for (const Span& s : spans) out.emplace_back(s.rank, s.stream, s.pass, s.instruction, s.microbatch);
  return out;
}

void expect_runs_like_one_rank(Drawn d) {
  RC_LOG() << write_plan(d.plan) << d.model.layers << " layers, dp " << d.dp << (d.model.tie_embeddings ? ", tied" : "") << ", " << d.model.mtp_layers
           << (d.model.mtp_shared ? " shared" : "") << " prediction modules\n";
  Cluster cluster = cores(d.ranks());
  if (d.plan.data_parallel.hierarchical) cluster.node_size = std::max<std::int64_t>(1, cluster.devices / 2);
  RC_PRE(program::refusals(d.model, cluster, d.plan).empty());
  const Alone& expected = alone(d);
  d.plan.seed = expected.seed;
  const program::Program program = program::compile(d.model, cluster, d.plan);
  const RunResult r = run(program, d.model, d.plan, tokens(d.model), options());
  RC_ASSERT(r.steps.size() == expected.steps.size());
  for (std::size_t s = 0; s < static_cast<std::size_t>(expected.comparable); ++s) {
    RC_ASSERT(relative(r.steps[s].loss, expected.steps[s].loss) <= 1e-5);
    RC_ASSERT(relative(r.steps[s].gradient_norm, expected.steps[s].gradient_norm) <= 1e-5);
  }
  if (d.model.moe && !d.plan.runtime.moe_balanced) ++learned->plans, learned->whole += expected.comparable == kSteps;
  for (std::int64_t rank = 0; rank < program.ranks(); ++rank) {
    const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
    const RankMemory& measured = r.memory[static_cast<std::size_t>(rank)];
    RC_ASSERT(measured.persistent == predicted.persistent);
    RC_ASSERT(measured.peak_live == predicted.peak_live);
    RC_ASSERT(measured.arena == predicted.arena);
  }
  cost::Table cost;
  cost.sources = {{.name = "test", .grade = Grade::assumed, .sigma = 0}};
  cost::Entry entry{};
  entry.duration = Picoseconds{1000};
  cost.entries.assign(program.shapes.size(), entry);
  const sim::Result simulated = sim::simulate(program, cost, cluster, {.unfold = true, .record = true});
  // A step that was begun anew is not what was simulated.
  if (r.redone == 0) RC_ASSERT(order(*simulated.timeline) == order(r.timeline));
}

// Every fifth in segments.
Drawn draw_any() { return pick<int>({0, 0, 0, 0, 1}) == 1 ? draw_segments() : draw(); }

RC_GTEST_PROP(RandomPlan, RunsAsItWasSimulatedAndLikeOneRank, ()) { expect_runs_like_one_rank(draw_any()); }
RC_GTEST_PROP(RandomPlan, OfManyRanksRunsAsItWasSimulatedAndLikeOneRank, ()) {
  const Drawn d = draw_any();
  RC_PRE(d.ranks() >= 4);
  expect_runs_like_one_rank(d);
}

// A device runs what was enqueued when its marks allow, and in no other order: the same sums in the same order, and so the same bits.
RC_GTEST_PROP(RandomPlan, OnADeviceGivesTheSameBitsAsOnTheHost, ()) {
  if (pick<int>({0, 0, 1}) == 0) return;  // each takes five times as long as the others'
  Drawn d = draw_any();
  RC_LOG() << write_plan(d.plan) << d.model.layers << " layers, dp " << d.dp << "\n";
  Cluster cluster = cores(d.ranks());
  if (d.plan.data_parallel.hierarchical) cluster.node_size = std::max<std::int64_t>(1, cluster.devices / 2);
  RC_PRE(program::refusals(d.model, cluster, d.plan).empty());
  const program::Program program = program::compile(d.model, cluster, d.plan);
  RunOptions o = options();
  o.keep_parameters = true, o.record_routing = coin();
  const RunResult host = run(program, d.model, d.plan, tokens(d.model), o);
  d.plan.runtime.cuda_graphs = coin();
  static const std::unique_ptr<KernelSet> kernels = make_cpu_kernels();
  FakeWorld world(d.ranks(), *kernels, pick<std::uint64_t>({1, 2, 3, 4, 5}));
  o.world = &world;
  const RunResult device = run(program, d.model, d.plan, tokens(d.model), o);
  for (std::size_t s = 0; s < kSteps; ++s) {
    RC_ASSERT(device.steps[s].loss == host.steps[s].loss);
    RC_ASSERT(device.steps[s].gradient_norm == host.steps[s].gradient_norm);
  }
  RC_ASSERT(device.parameters == host.parameters);
  RC_ASSERT(device.memory == host.memory);
  RC_ASSERT(device.redone == host.redone);
  if (device.timeline_step == host.timeline_step && host.redone == 0) RC_ASSERT(order(device.timeline) == order(host.timeline));
}

}  // namespace
}  // namespace orrery::executor
