// Bytes on links: conservation, hops, agreement between a step and its moments, and with hand-made counts.
#include "app/network_load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "app/inputs.h"
#include "app/simulate.h"

namespace orrery::app {
namespace {

constexpr std::size_t kPp = 3, kDp = 4;

PlanFlags small(std::int64_t devices, std::int64_t tp, std::int64_t pp) {
  PlanFlags flags;
  flags.model = "cpu-llama-tiny", flags.cluster = "dgx-h100:" + std::to_string(devices);
  flags.tp = tp, flags.pp = pp;
  flags.global_batch = 16, flags.micro_batch = 1, flags.sequence = 128;
  return flags;
}

struct Case {
  Inputs inputs;
  program::Program program;
  NetworkTraffic traffic;
  explicit Case(const PlanFlags& flags) : inputs(load_inputs(flags)), program(compile(inputs)), traffic(program, inputs.cluster) {}
  SimulateReport simulated(bool unfold = false) const {
    SimulateOptions options;
    options.timeline = true, options.unfold = unfold;
    return simulate(inputs, options);
  }
};

double total(const NetworkLoad& load, std::size_t level, std::size_t axis) {
  double sum = 0;
  for (const ByAxis& a : load.levels[level].sent) sum += a[axis];
  return sum;
}

TEST(NetworkTraffic, OfDataParallelRanksInOneNodeIsTheRingsVolume) {
  // 8 replicas, one bucket after the other, each all-reduced or scattered and gathered: 2 * 7/8 of all gradients' bytes cross each NVLink, whatever
  // the sizes of the buckets, unless the switches add (then once each). Small messages take trees: what counts is what the parts say.
  PlanFlags flags = small(8, 1, 1);
  flags.zero = 1;
  const Case c{flags};
  const NetworkLoad load = c.traffic.of_step(Picoseconds{1'000'000'000'000});
  double gradients = 0, parameters = 0;  // payloads of a step
  const program::Role& role = c.program.roles[0];
  for (const program::PassInstance& instance : role.body)
    for (std::uint32_t i = 0; i < role.passes[instance.pass].count; ++i) {
      const program::Instruction& in = role.instructions[role.passes[instance.pass].first + i];
      if (in.op == program::Operator::reduce_scatter) gradients += static_cast<double>(c.program.shapes[in.shape].bytes);
      if (in.op == program::Operator::all_gather) parameters += static_cast<double>(c.program.shapes[in.shape].bytes);
    }
  ASSERT_GT(gradients, 0);
  // The gradient norm, 8 bytes, is added up by the switches: 8 bytes out.
  EXPECT_NEAR(load.levels[0].sent[3][kDp], 7.0 / 8 * (gradients + parameters) + 8, 1e-3);
  EXPECT_EQ(load.levels.size(), 1U);  // a node alone has no adapters
}

TEST(NetworkTraffic, OfAPipelineIsItsMessagesTimesTheLinksThatTheyCross) {
  // 4 stages of 4 replicas, 4 micro-batches each: at each of the 3 boundaries, each replica sends 4 activations of 128 x 64 x 2 bytes one way and 4
  // gradients the other. The gradient norm, 8 bytes, is added up over the stages, by a tree.
  constexpr double kBoundary = 2.0 * 4 * 4 * 128 * 64 * 2;
  // pp outermost: stages 0 and 1 in one node, 2 and 3 in the other. Boundaries 0|1 and 2|3 are inside, 1|2 is between the nodes. The tree has two
  // members in each of two domains: 2 * 1/2 * 8 = 8 bytes for each of 16 ranks inside, and 2 * 1/2 * 8 out of a domain by two adapters, 4 for each.
  const Case outermost{small(16, 1, 4)};
  const NetworkLoad apart = outermost.traffic.of_step(Picoseconds{1'000'000});
  EXPECT_DOUBLE_EQ(total(apart, 0, kPp), 2 * kBoundary + 16 * 8);
  EXPECT_DOUBLE_EQ(total(apart, 1, kPp), kBoundary + 16 * 4);
  // pp innermost: all four stages of a replica in one node. The tree of four inside: 2 * 3/4 * 8 = 12 bytes for each rank.
  PlanFlags flags = small(16, 1, 4);
  flags.settings = {"parallel.order=pp-tp-cp-ep-dp"};
  const Case innermost{flags};
  const NetworkLoad near = innermost.traffic.of_step(Picoseconds{1'000'000});
  EXPECT_DOUBLE_EQ(total(near, 0, kPp), 3 * kBoundary + 16 * 12);
  EXPECT_EQ(total(near, 1, kPp), 0);
}

void expect_conserved(const Case& c) {
  const NetworkLoad load = c.traffic.of_step(Picoseconds{1'000'000'000});
  for (const NetworkLoad::Level& level : load.levels)
    for (std::size_t axis = 0; axis < kTrafficAxes; ++axis) {
      double sent = 0, received = 0;
      for (std::size_t d = 0; d < level.sent.size(); ++d) sent += level.sent[d][axis], received += level.received[d][axis];
      EXPECT_NEAR(sent, received, 1e-9 * (1 + sent)) << level.name << " " << traffic_axis_name(axis);
    }
}

TEST(NetworkTraffic, LetsArriveWhatLeavesByLevelAndAxis) {
  expect_conserved(Case{small(16, 2, 4)});
  PlanFlags experts = small(16, 2, 2);
  experts.model = "cpu-mixtral-tiny", experts.ep = 4;
  expect_conserved(Case{experts});
  PlanFlags context = small(16, 2, 1);
  context.cp = 4;
  expect_conserved(Case{context});
  PlanFlags servers = small(16, 1, 1);
  servers.settings = {"data_parallel.kind=parameter-server"};
  servers.zero = 0;
  expect_conserved(Case{servers});
}

TEST(NetworkTraffic, OfAMomentAddsUpToThatOfTheStep) {
  PlanFlags flags = small(16, 2, 2);
  flags.global_batch = 4 * 4;
  const Case c{flags};
  const SimulateReport report = c.simulated();
  const Timeline& timeline = *report.timeline;
  // Rates are constant between any two starts and ends; what runs on beyond the step does so at the beginning of the next.
  std::set<std::int64_t> edges{0, timeline.step.v};
  for (const Span& s : timeline.spans)
    if (is_communication(timeline.kinds[s.kind].work)) edges.insert(s.start.v % timeline.step.v), edges.insert(s.end.v % timeline.step.v);
  const NetworkLoad whole = c.traffic.of_step(timeline.step);
  std::vector<std::array<double, 2>> sums(16);
  for (auto e = edges.begin(); std::next(e) != edges.end(); ++e) {
    const double seconds = static_cast<double>(*std::next(e) - *e) * 1e-12;
    const NetworkLoad now = c.traffic.at(timeline, Picoseconds{*e});
    EXPECT_TRUE(now.moment);
    for (std::size_t d = 0; d < 16; ++d)
      for (std::size_t l = 0; l < 2; ++l) sums[d][l] += sum(now.levels[l].sent[d]) * seconds;
  }
  for (std::size_t d = 0; d < 16; ++d)
    for (std::size_t l = 0; l < 2; ++l) EXPECT_NEAR(sums[d][l], sum(whole.levels[l].sent[d]), 1e-6 * (1 + sums[d][l])) << d << " " << l;
}

TEST(NetworkTraffic, OfAMomentIsThatOfAStepLater) {
  // The last gather runs on into the step after the next: it is shown there from the beginning, and what runs there, in its tail.
  PlanFlags flags = small(16, 1, 1);
  flags.zero = 1;
  const Case c{flags};
  const SimulateReport report = c.simulated();
  Timeline timeline = *report.timeline;
  const std::int64_t step = timeline.step.v;
  Span* last = nullptr;
  for (Span& s : timeline.spans)
    if (timeline.kinds[s.kind].work == WorkClass::dp_comm && (last == nullptr || s.start > last->start)) last = &s;
  ASSERT_TRUE(last);
  last->end = Picoseconds{2 * step + step / 3};
  std::set<std::int64_t> edges;  // of spans, and thus of what is to be seen
  std::int64_t end = 0;
  for (const Span& s : timeline.spans) {
    end = std::max(end, s.end.v);
    if (is_communication(timeline.kinds[s.kind].work)) edges.insert({s.start.v, s.end.v});
  }
  ASSERT_GT(end, step);
  std::set<double> seen;
  for (const std::int64_t edge : edges) {
    const std::int64_t t = edge % step;
    const NetworkLoad now = c.traffic.at(timeline, Picoseconds{t});
    seen.insert(total(now, 0, kDp));
    for (const std::int64_t other : {t - step, t + step, t + 5 * step})
      for (std::size_t l = 0; l < 2; ++l)
        EXPECT_EQ(c.traffic.at(timeline, Picoseconds{other}).levels[l].sent, now.levels[l].sent) << t << " and " << other << " of " << step;
  }
  EXPECT_GT(seen.size(), 2U);
}

TEST(NetworkTraffic, OfAMomentIsTheSameFoldedAndUnfolded) {
  const Case c{small(16, 2, 4)};
  const SimulateReport folded = c.simulated(), unfolded = c.simulated(true);
  ASSERT_EQ(folded.timeline->step, unfolded.timeline->step);
  ASSERT_LT(folded.simulated_ranks, unfolded.simulated_ranks);
  for (std::int64_t i = 0; i < 40; ++i) {
    const Picoseconds t{folded.timeline->step.v * i / 40};
    const NetworkLoad a = c.traffic.at(*folded.timeline, t), b = c.traffic.at(*unfolded.timeline, t);
    for (std::size_t l = 0; l < 2; ++l) EXPECT_EQ(a.levels[l].sent, b.levels[l].sent);
  }
}

// A slow device tells ranks of one role apart: those of its replica wait for it, the others go on until they meet. The one recorded for a class must
// not speak for another.
TEST(NetworkTraffic, OfAMomentBesideAStragglerIsTheSameFoldedAndUnfolded) {
  PlanFlags flags = small(16, 2, 2);
  flags.settings = {R"(cluster.slow=[{"device": 5, "factor": 1.7}])"};
  const Case c{flags};
  const SimulateReport folded = c.simulated(), unfolded = c.simulated(true);
  ASSERT_EQ(folded.timeline->step, unfolded.timeline->step);
  ASSERT_LT(folded.simulated_ranks, unfolded.simulated_ranks);
  bool apart = false;  // what devices of one role send at one time
  for (std::int64_t i = 0; i < 60; ++i) {
    const Picoseconds t{folded.timeline->step.v * i / 60};
    const NetworkLoad a = c.traffic.at(*folded.timeline, t), b = c.traffic.at(*unfolded.timeline, t);
    for (std::size_t l = 0; l < 2; ++l) EXPECT_EQ(a.levels[l].sent, b.levels[l].sent) << l << " at " << t.v;
    for (std::size_t d = 1; d < 8; ++d) apart |= b.levels[0].sent[d] != b.levels[0].sent[0];
  }
  EXPECT_TRUE(apart);
}

TEST(NetworkTraffic, NamesWhatLoadsALink) {
  const Case c{small(16, 2, 4)};
  const NetworkLoad load = c.traffic.of_step(Picoseconds{1'000'000'000});
  for (std::size_t level = 0; level < 2; ++level)
    for (const std::int64_t device : {0, 5, 15}) {
      ByAxis sent{};
      for (const LinkUse& use : c.traffic.uses(device, level)) sent[use.axis] += use.sent;
      for (std::size_t a = 0; a < kTrafficAxes; ++a)
        EXPECT_NEAR(sent[a], load.levels[level].sent[static_cast<std::size_t>(device)][a], 1e-6 * (1 + sent[a]));
    }
  EXPECT_TRUE(c.traffic.uses(99, 0).empty());
}

TEST(LinksByLoad, GathersLinksThatCarryTheSame) {
  // Four shards and four replicas in two nodes: all devices do the same.
  const Case c{small(16, 4, 1)};
  const NetworkLoad load = c.traffic.of_step(Picoseconds{1'000'000'000});
  const std::vector<HotLink> links = links_by_load(load);
  std::int64_t counted = 0;
  for (const HotLink& link : links) {
    counted += link.alike;
    EXPECT_DOUBLE_EQ(link.load, load.load(link.level, link.device));
  }
  EXPECT_EQ(counted, 2 * 16);  // every device has two links
  for (std::size_t i = 1; i < links.size(); ++i) EXPECT_GE(links[i - 1].load, links[i].load);
  EXPECT_EQ(links.front().alike, 16);
}

TEST(NetworkTraffic, DrawsNodesThatAreAlikeOnce) {
  // 4 stages of 8 replicas in 4 nodes of 8, a stage each: the first and the last have embedding and head, the inner two carry the same but not at the
  // same time. With 16 replicas in 8 nodes there are two of each.
  PlanFlags flags = small(64, 1, 4);
  flags.global_batch = 64;
  const Case c{flags};
  const std::vector<AlikeNodes> nodes = c.traffic.nodes(c.traffic.of_step(Picoseconds{1'000'000}));
  EXPECT_EQ(nodes, (std::vector<AlikeNodes>{{0, 2}, {2, 2}, {4, 2}, {6, 2}}));
}

TEST(NetworkLoad, DividesBytesByWhatALinkCouldCarryInTheStep) {
  NetworkLoad load;
  load.devices = 4;
  load.over = Seconds{2};
  load.levels = {{"nvlink", 2, 1, 100_GBps, std::vector<ByAxis>(4), std::vector<ByAxis>(4)},
                 {"ib", 4, 2, 50_GBps, std::vector<ByAxis>(4), std::vector<ByAxis>(4)}};
  load.levels[1].sent[2] = {10e9, 0, 0, 30e9, 0};
  load.levels[1].received[2] = {50e9, 0, 0, 0, 0};
  EXPECT_DOUBLE_EQ(load.load(1, 2), 0.5);          // the busier way: 50 GB of 50 GB/s x 2 s
  EXPECT_DOUBLE_EQ(load.uplink_load(1, 3), 0.25);  // devices 2 and 3 leave their node by two links
  EXPECT_DOUBLE_EQ(load.uplink_load(1, 0), 0);
}

}  // namespace
}  // namespace orrery::app
