// Segments: who holds what on both sides of a boundary, enumerated row by row, against what the compiled instructions do.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <set>

#include "program/check.h"
#include "program/compile.h"
#include "program/memory.h"
#include "program/race_finder.h"
#include "program/small_models.h"
#include "support/segmented_plans.h"

namespace orrery::program {
namespace {

using test::Split;

struct Divided {
  Model model = small_llama(4);
  Plan plan = small_plan();
  Cluster cluster = small_cluster(plan);

  Divided(const std::vector<Split>& splits, std::int64_t micro, std::int64_t microbatches = 4) {
    plan.batch = {.global = micro * splits.front().dp * microbatches, .micro = micro, .sequence = 8};
    cluster.devices = test::divide(plan, model, splits);
  }
  Program compile() const { return program::compile(model, cluster, plan); }
};

// --- Resharding, row by row ----------------------------------------------------------------------------------------------------------------------

// One element of an activation of the whole micro-batch.
struct Element {
  std::int64_t sequence = -1, position = -1, column = -1;
  auto operator<=>(const Element&) const = default;
};

constexpr std::int64_t kPositions = 8;

// What the definition says that a rank has: rows by position, then by sequence; of dp place d of n the d-th of n equal runs of the sequences, and
// with sequence parallelism of tp place t of n the t-th of n equal runs of the positions.
std::vector<Element> held(const Split& split, std::int64_t sequences, std::int64_t d, std::int64_t t, std::int64_t hidden) {
  std::vector<Element> out;
  const std::int64_t of_rank = sequences / split.dp, positions = split.sp ? kPositions / split.tp : kPositions;
  for (std::int64_t p = 0; p < positions; ++p)
    for (std::int64_t s = 0; s < of_rank; ++s)
      for (std::int64_t c = 0; c < hidden; ++c) out.push_back({d * of_rank + s, (split.sp ? t * positions : 0) + p, c});
  return out;
}

// Moves elements as the instructions around one boundary say: those of two roles that send, receive, pack, unpack or gather.
class Mover {
 public:
  explicit Mover(const Program& program) : program_(program) {}

  std::vector<Element>& contents(std::int64_t rank, const std::string& name) {
    const Role& role = program_.role_of(rank);
    for (std::uint32_t b = 0; b < role.buffers.size(); ++b)
      if (role.buffers[b].alias < 0 && role.buffers[b].name == name) return memory(rank, b);
    ADD_FAILURE() << role.name << " has no " << name;
    return memory(rank, 0);
  }

  void run(std::size_t stage, PassKind kind) {
    const Role& role = program_.roles[stage];
    for (const PassTemplate& pass : role.passes)
      if (pass.kind == kind && !pass.name.ends_with("last micro-batch"))
        for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i)
          for (std::int64_t rank = 0; rank < program_.ranks(); ++rank)
            if (program_.stage_of(rank) == stage) step(rank, role, role.instructions[i]);
  }

  std::vector<Element> crossed;  // one entry for each time that an element was sent
  std::int64_t bytes = 0;
  std::map<std::int64_t, std::int64_t> sent, received;  // messages by rank
  bool all_received() const {
    return std::all_of(mail_.begin(), mail_.end(), [](const auto& box) { return box.second.empty(); });
  }

 private:
  std::vector<Element>& memory(std::int64_t rank, std::uint32_t root) {
    std::vector<Element>& m = memory_[{rank, root}];
    m.resize(static_cast<std::size_t>(program_.role_of(rank).buffers[root].elements));
    return m;
  }
  // The elements of a view, which are consecutive.
  Element* at(std::int64_t rank, std::uint32_t buffer) {
    const Role& role = program_.role_of(rank);
    const Buffer& b = role.buffers[buffer];
    if (b.alias < 0) return memory(rank, buffer).data();
    std::int64_t first = b.alias_offset / 4;
    if (b.part_of != kNone) {
      const std::vector<std::int64_t> owners = members(program_, program_.groups[b.part_of], rank);
      first += b.elements * (std::find(owners.begin(), owners.end(), rank) - owners.begin());
    }
    return memory(rank, static_cast<std::uint32_t>(b.alias)).data() + first;
  }

  void step(std::int64_t rank, const Role& role, const Instruction& in) {
    const auto operand = [&](std::uint32_t k) { return at(rank, role.accesses[in.accesses + k].buffer); };
    const Shape& shape = program_.shapes[in.shape];
    const auto n = static_cast<std::ptrdiff_t>(shape.dims[0]);
    if (in.op == Operator::send) {
      const std::int64_t peer = peer_of(program_, rank, in);
      mail_[{rank, peer, in.channel}].emplace_back(operand(0), operand(0) + n);
      crossed.insert(crossed.end(), operand(0), operand(0) + n);
      bytes += shape.bytes, ++sent[rank];
    } else if (in.op == Operator::recv) {
      auto& box = mail_[{peer_of(program_, rank, in), rank, in.channel}];
      ASSERT_FALSE(box.empty()) << "rank " << rank;
      ASSERT_EQ(std::ssize(box.front()), n);
      std::copy(box.front().begin(), box.front().end(), operand(0));
      box.pop_front(), ++received[rank];
    } else if (in.op == Operator::scatter_columns || in.op == Operator::gather_columns) {
      const auto [rows, columns, parts] = std::tuple(shape.dims[0], shape.dims[1], shape.dims[2]);
      for (std::int64_t p = 0; p < parts; ++p)
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t c = 0; c < columns; ++c) {
            const std::int64_t packed = row * parts * columns + p * columns + c, apart = (p * rows + row) * columns + c;
            if (in.op == Operator::scatter_columns)
              operand(1)[apart] = operand(0)[packed];
            else
              operand(1)[packed] = operand(0)[apart];
          }
    } else if (in.op == Operator::all_gather && role.buffers[role.accesses[in.accesses].buffer].name.starts_with("boundary")) {
      const std::vector<std::int64_t> all = members(program_, program_.groups[in.group], rank);
      const auto share = n / std::ssize(all);
      for (std::ptrdiff_t m = 0; m < std::ssize(all); ++m) {
        const Element* theirs = at(all[static_cast<std::size_t>(m)], role.accesses[in.accesses].buffer);
        std::copy(theirs, theirs + share, operand(1) + m * share);
      }
    }
  }

  const Program& program_;
  std::map<std::pair<std::int64_t, std::uint32_t>, std::vector<Element>> memory_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::uint8_t>, std::deque<std::vector<Element>>> mail_;
};

// From `from` (on stage 0 or 1) to the other, in the passes that the boundary's instructions are in.
void expect_delivered_once(const Divided& d, const std::vector<Split>& splits, bool forward) {
  const Program p = d.compile();
  const std::int64_t hidden = d.model.hidden, sequences = d.plan.batch.micro * splits[0].dp;
  const std::size_t from = forward ? 0 : 1, to = forward ? 1 : 0;
  const std::string source = forward ? "stage.output" : "residual.gradient", target = forward ? "layer.input" : "residual.gradient";
  const auto expected = [&](std::int64_t rank) {
    const std::size_t s = p.segment_of(rank);
    const Coordinates c = p.coordinates(rank);
    return held(splits[s], sequences, p.mesh_of(s).place(c, kDpAxes), c[static_cast<std::size_t>(Axis::tp)], hidden);
  };
  Mover mover(p);
  for (std::int64_t rank = 0; rank < p.ranks(); ++rank)
    if (p.stage_of(rank) == from) mover.contents(rank, source) = expected(rank);
  mover.run(from, forward ? PassKind::forward : PassKind::backward);
  mover.run(to, forward ? PassKind::receive_forward : PassKind::receive_backward);
  // Of the pass that uses it only what comes before anything is computed; backward passes begin with the same.
  mover.run(to, forward ? PassKind::forward : PassKind::backward);
  EXPECT_TRUE(mover.all_received());

  for (std::int64_t rank = 0; rank < p.ranks(); ++rank)
    if (p.stage_of(rank) == to) {
      EXPECT_EQ(mover.contents(rank, target), expected(rank)) << "rank " << rank;
    }
  // rows x hidden x 4 bytes, each element once.
  EXPECT_EQ(mover.bytes, sequences * kPositions * hidden * 4);
  EXPECT_EQ(std::set<Element>(mover.crossed.begin(), mover.crossed.end()).size(), mover.crossed.size());
  // As many messages for all ranks of a stage.
  for (const auto& messages : {mover.sent, mover.received}) {
    std::set<std::int64_t> counts;
    for (const auto& [rank, n] : messages) counts.insert(n);
    EXPECT_EQ(counts.size(), 1U);
  }
}

std::vector<Split> sides() {
  std::vector<Split> out;
  for (const std::int64_t dp : {1, 2, 4})
    for (const std::int64_t tp : {1, 2, 4})
      for (const bool sp : {false, true})
        if (tp > 1 || !sp) out.push_back({.dp = dp, .tp = tp, .sp = sp});
  return out;
}

TEST(Resharding, DeliversEachRowToEachReceiverOnce) {
  for (const Split& a : sides())
    for (const Split& b : sides()) {
      const std::vector<Split> splits{a, b};
      const Divided d(splits, a.dp == 1 ? 4 : 2);  // 4 or 8 sequences at once
      for (const bool forward : {true, false}) {
        SCOPED_TRACE(name(a) + " | " + name(b) + (forward ? " forward" : " backward"));
        expect_delivered_once(d, splits, forward);
      }
    }
}

// n and n' ranks: each exchanges messages with max(1, n'/n) others where one side is finer by both dp and tp.
TEST(Resharding, HasNoMoreMessagesThanItNeeds) {
  const auto messages_of = [](const Split& a, const Split& b) {
    const Divided d({a, b}, 4 / a.dp);
    const Program p = d.compile();
    const Boundary at = boundary(p, 0);
    const Messages x = messages(p, at, 0), y = messages(p, at, 1);
    return std::pair(x.parts * x.blocks, y.parts * y.blocks);
  };
  EXPECT_EQ(messages_of({.dp = 1, .tp = 1}, {.dp = 2, .tp = 2}), std::pair(4L, 1L));
  EXPECT_EQ(messages_of({.dp = 2, .tp = 2}, {.dp = 2, .tp = 2, .sp = true}), std::pair(1L, 1L));
  EXPECT_EQ(messages_of({.dp = 1, .tp = 2}, {.dp = 2, .tp = 1}), std::pair(2L, 2L));  // halves of rows against halves of sequences
  EXPECT_EQ(messages_of({.dp = 4, .tp = 1}, {.dp = 1, .tp = 2}), std::pair(2L, 4L));
}

TEST(Resharding, PacksOnlyWhereOneRankHasTheSequencesOfSeveral) {
  const auto ops = [](const Split& a, const Split& b) {
    const Program p = Divided({a, b}, 4 / a.dp).compile();
    std::array<int, 2> packing{};
    for (std::size_t r = 0; r < 2; ++r)
      for (const Instruction& in : p.roles[r].instructions) packing[r] += in.op == Operator::scatter_columns || in.op == Operator::gather_columns;
    return packing;
  };
  using Counts = std::array<int, 2>;
  EXPECT_EQ(ops({.dp = 2, .tp = 1}, {.dp = 2, .tp = 2, .sp = true}), (Counts{0, 0}));
  const Counts wide = ops({.dp = 1, .tp = 2}, {.dp = 2, .tp = 1});
  EXPECT_GT(wide[0], 0);
  EXPECT_EQ(wide[1], 0);
}

// --- Programs ------------------------------------------------------------------------------------------------------------------------------------

std::vector<std::string> problems(const Divided& d) {
  const Program program = d.compile();
  std::vector<std::string> all;
  for (const Violation& v : check(program)) all.push_back(fmt::format("{}: {}", name(v.rule), v.what));
  for (const Role& role : program.roles)
    for (const std::string& problem : RaceFinder(program, role).run()) all.push_back(fmt::format("{}: {}", role.name, problem));
  return all;
}

TEST(Segments, OfOneKindAreThePlanWithoutThem) {
  for (const Split& s : {Split{.dp = 2, .tp = 2, .pp = 2, .sp = true}, Split{.dp = 1, .tp = 1, .pp = 4}}) {
    Divided d({s}, 1);
    Plan plain = d.plan;
    plain.parallel = *plain.segments->front().parallel;
    plain.segments.reset();
    EXPECT_EQ(d.compile(), compile(d.model, d.cluster, plain));
  }
}

// Where a single segment says otherwise than the plan, the segment holds.
TEST(Segments, HoldAgainstThePlan) {
  Divided d({{.dp = 1, .tp = 1, .pp = 2}}, 1);
  const Program alone = d.compile();
  d.plan.parallel.vp = 2, d.plan.parallel.cp = 2;
  EXPECT_EQ(d.compile(), alone);
}

TEST(Segments, AreEachAskedForWhatDependsOnTheirOwnMesh) {
  const auto refused = [](const Divided& d, const char* constraint, const char* field) {
    const std::vector<Refusal> all = refusals(d.model, d.cluster, d.plan);
    return std::any_of(all.begin(), all.end(), [&](const Refusal& r) { return r.constraint == constraint && r.field == field; });
  };
  // Two replicas of the shards, and the second segment has one rank to hold them.
  Divided replicas({{.dp = 2}, {.dp = 1}}, 1);
  replicas.plan.sharding.zero = 1, replicas.plan.sharding.replicas = 2;
  EXPECT_TRUE(refused(replicas, "replicas divide dp", "segments[1].devices"));
  // Heads are exchanged among as many ranks as have some: all four with 8 heads each, two with the 2 that tp 4 leaves.
  Divided contexts({{.tp = 1, .cp = 4}, {.tp = 4, .cp = 4}}, 1);
  for (SegmentSpec& s : *contexts.plan.segments) s.parallel->cp_kind = "a2a+p2p";
  contexts.cluster.node_size = 16;
  EXPECT_TRUE(refused(contexts, "not built yet: contexts shared in unlike ways between segments", "segments[1].parallel.cp"));
  for (SegmentSpec& s : *contexts.plan.segments) s.parallel->cp_inner = 2;
  EXPECT_FALSE(refused(contexts, "not built yet: contexts shared in unlike ways between segments", "segments[1].parallel.cp"));
}

TEST(Segments, FollowEachOtherInRanksAndStages) {
  // (tp 2, pp 2) on ranks 0 to 3, (dp 2, tp 2) on 4 to 7, (dp 2) on 8 and 9.
  Divided d({{.tp = 2, .pp = 2}, {.dp = 2, .tp = 2}, {.dp = 2}}, 2);
  (*d.plan.segments)[0].layers = 2, (*d.plan.segments)[1].first_layer = 2, (*d.plan.segments)[1].layers = 1;
  (*d.plan.segments)[2].first_layer = 3, (*d.plan.segments)[2].layers = 1;
  const Program p = d.compile();
  EXPECT_EQ(p.ranks(), 10);
  ASSERT_EQ(p.roles.size(), 4U);
  std::vector<std::string> labels;
  for (std::int64_t r = 0; r < p.ranks(); ++r) labels.push_back(label(p, r));
  EXPECT_EQ(labels, (std::vector<std::string>{"pp0 tp0", "pp0 tp1", "pp1 tp0", "pp1 tp1", "pp2 dp0 tp0", "pp2 dp0 tp1", "pp2 dp1 tp0", "pp2 dp1 tp1",
                                              "pp3 dp0", "pp3 dp1"}));
  EXPECT_EQ(p.first_of_role(2), 4);
  EXPECT_EQ(p.ranks_of_role(1), 2);
  EXPECT_EQ(p.micro_batch_at(0), 2);
  EXPECT_EQ(p.micro_batch_at(5), 1);
  const Group data{mask(Axis::dp_inner), Group::Part::whole, 1};
  EXPECT_EQ(members(p, data, 5), (std::vector<std::int64_t>{5, 7}));
  EXPECT_EQ(first_member(p, data, 7), 5);
  EXPECT_EQ(group_size(p, {0, Group::Part::everyone}), 10);
  EXPECT_EQ(members(p, {0, Group::Part::boundary, 0}, 3), (std::vector<std::int64_t>{2, 3, 4, 5, 6, 7}));
}

// The norm of all gradients: each parameter is counted by one rank.
TEST(Segments, CountEachParameterOnceInTheNorm) {
  for (const std::int64_t zero : {0, 1, 3}) {
    Divided d({{.dp = 2, .tp = 2}, {.dp = 1, .tp = 2, .sp = true}, {.dp = 4}}, 2);
    d.plan.sharding.zero = zero;
    const Program p = d.compile();
    std::int64_t counted = 0;
    for (std::int64_t rank = 0; rank < p.ranks(); ++rank) {
      const Coordinates c = p.coordinates(rank);
      const auto place = [&](AxisMask axes) { return p.mesh_at(rank).place(c, axes); };
      for (const Instruction& in : p.role_of(rank).instructions) {
        if (in.op != Operator::gradient_norm || (in.flags & kCountNever)) continue;
        if ((in.flags & kCountOnTp0) && place(kTpAxis) != 0) continue;
        if ((in.flags & kCountOnData0) && place(kCpAxes | kDpAxes) != 0) continue;
        if ((in.flags & kCountOnOuter0) && place(mask(Axis::dp_outer)) != 0) continue;
        counted += p.shapes[in.shape].dims[0];
      }
    }
    // All parameters, and the padding of buckets: less than the ranks that reduce one, of each.
    const std::int64_t all = count_parameters(d.model).total;
    std::int64_t padding = 0;
    for (std::size_t r = 0; r < p.roles.size(); ++r) padding += 4 * p.ranks_of_role(r) * std::ssize(p.roles[r].buckets);
    EXPECT_GE(counted, all);
    EXPECT_LT(counted, all + padding);
  }
}

RC_GTEST_PROP(Segments, OfEveryLegalPlanPassEveryCheck, ()) {
  const auto pick = [](const std::vector<std::int64_t>& values) { return values[*rc::gen::inRange<std::size_t>(0, values.size())]; };
  const std::vector<Split> splits = test::draw_splits(12, pick);
  Divided d(splits, pick({1, 2, 4}), pick({1, 2, 5, 8}));
  d.model.layers = pick({6, 9});
  d.cluster.devices = test::divide(d.plan, d.model, splits);
  d.plan.schedule = *rc::gen::element<std::string>("gpipe", "1f1b", "zb-h1", "zb-h2", "zb-auto");
  d.plan.sharding.zero = pick({0, 1, 2, 3});
  d.plan.overlap.p2p = pick({0, 1}) == 1, d.plan.overlap.grad_reduce = pick({0, 1}) == 1;
  d.model.parallel_block = pick({0, 1}) == 1;
  RC_LOG() << [&] {
    std::string all = d.plan.schedule;
    for (const Split& s : splits) all += " | " + name(s);
    return all;
  }();
  RC_PRE(refusals(d.model, d.cluster, d.plan).empty());
  RC_ASSERT(problems(d) == std::vector<std::string>{});
}

TEST(Segments, WithAMessageTooManyAreSeen) {
  Divided d({{.dp = 1, .tp = 2}, {.dp = 2, .tp = 1}}, 2);
  Program p = d.compile();
  for (Instruction& in : p.roles[1].instructions)
    if (in.op == Operator::recv && in.peer == 1) in.peer = 0;
  EXPECT_FALSE(check(p).empty());
  for (Instruction& in : p.roles[1].instructions)
    if (in.op == Operator::recv) in.peer = 2;
  EXPECT_EQ(name(check(p).front().rule), "well_formed");
}

// --- Refusals ------------------------------------------------------------------------------------------------------------------------------------

TEST(Segments, ThatDoNotFitTogetherAreRefusedByName) {
  struct Case {
    std::string field, reason, hint;
    std::function<void(Divided&)> change;
  };
  const Case cases[]{
      {"segments", "there are 0 segments", "leave segments null, or name some", [](Divided& d) { d.plan.segments->clear(); }},
      {"segments[1].first_layer", "begins with layer 3, and those before it end before layer 2", "write 2",
       [](Divided& d) { (*d.plan.segments)[1].first_layer = 3; }},
      {"segments", "segments end with 5 layers, the model has 4", "give the last one those that are left",
       [](Divided& d) { (*d.plan.segments)[1].layers = 3; }},
      {"segments", "segments have 5 devices, the cluster 4", "write devices that add up to 4", [](Divided& d) { (*d.plan.segments)[0].devices = 3; }},
      {"segments[0].devices", "tp 2 x cp 1 x pp 1 = 2 ranks do not divide 3 devices", "use 2 or 4 devices, or other axes",
       [](Divided& d) { (*d.plan.segments)[0].devices = 3, d.cluster.devices = 5; }},
      {"segments[0].parallel.tp", "tp 3 does not divide 8 heads", "nearest legal: 2 or 4",
       [](Divided& d) { (*d.plan.segments)[0].parallel->tp = 3, (*d.plan.segments)[0].devices = 3, d.cluster.devices = 5; }},
      {"segments[1].devices", "2 sequences of a micro-batch (batch.micro 2 x dp 1) do not divide among dp 3",
       "use a batch.micro such that batch.micro x 1 is a multiple of 3",
       [](Divided& d) { (*d.plan.segments)[1].devices = 3, d.cluster.devices = 5; }},
      {"segments[1].parallel.pp", "pp 3 x vp 1 = 3 stages for 2 layers",
       "use at most 2 stages, or say where the layers are: the first and the last stage may hold none",
       [](Divided& d) { (*d.plan.segments)[1].parallel->pp = 3, (*d.plan.segments)[1].devices = 6, d.cluster.devices = 8; }},
      {"segments[1].parallel.cp", "not built yet: contexts shared in unlike ways between segments",
       "use the same cp, of the same kind and order, in all",
       [](Divided& d) { (*d.plan.segments)[1].parallel->cp = 2, (*d.plan.segments)[1].devices = 4, d.cluster.devices = 6; }},
      {"segments[0].sharding", "not built yet: sharding of one segment only", "write sharding for the whole plan",
       [](Divided& d) { (*d.plan.segments)[0].sharding.emplace(); }},
      {"segments[1].precision", "not built yet: element types of one segment only", "write precision for the whole plan",
       [](Divided& d) { (*d.plan.segments)[1].precision.emplace(); }},
      {"segments[0].device", "not built yet: devices of several kinds", "leave device null",
       [](Divided& d) { (*d.plan.segments)[0].device = "a100"; }},
      {"segments[0].recompute", "not built yet: such recomputation", "use kind none or full, without layers and method",
       [](Divided& d) { (*d.plan.segments)[0].recompute.emplace().kind = "selective"; }},
      {"segments", "not built yet: segments of a mixture of experts", "leave segments null",
       [](Divided& d) { d.model.moe = Moe{}, d.model.moe->experts = 4, d.model.moe->experts_per_token = 1, d.model.moe->intermediate = 8; }},
      {"segments", "not built yet: a tied table whose copies are in two segments", "use an untied model",
       [](Divided& d) { d.model.tie_embeddings = true; }},
      {"segments", "not built yet: prediction modules of another segment than the embedding", "leave segments null",
       [](Divided& d) { d.model.mtp_layers = 1; }},
      {"optimizer.post_validation", "not built yet: post-validation across segments", "use false",
       [](Divided& d) { d.plan.optimizer.post_validation = true; }},
      {"schedule", "not built yet: schedule 'dualpipe' with segments", "use gpipe, 1f1b, zb-h1, zb-h2 or zb-auto",
       [](Divided& d) { d.plan.schedule = "dualpipe"; }},
      {"schedule", "not built yet: schedule 'pipedream' with segments", "use gpipe, 1f1b, zb-h1, zb-h2 or zb-auto",
       [](Divided& d) { d.plan.schedule = "pipedream", d.plan.optimizer.clip = 0; }},
      {"stages", "stages has 1 entries, the segments' pp add up to 2", "write 2 numbers, or null", [](Divided& d) { d.plan.stages = {{2}}; }},
  };
  for (const Case& c : cases) {
    Divided d({{.dp = 1, .tp = 2}, {.dp = 2, .tp = 1}}, 2);
    ASSERT_TRUE(refusals(d.model, d.cluster, d.plan).empty());
    c.change(d);
    const std::vector<Refusal> all = refusals(d.model, d.cluster, d.plan);
    ASSERT_FALSE(all.empty()) << c.reason;
    EXPECT_EQ(all.front().field, c.field) << all.front().reason;
    EXPECT_EQ(all.front().reason, c.reason);
    EXPECT_EQ(all.front().hint, c.hint);
  }
}

TEST(Segments, WhoseRanksDoNotDivideEachOtherAreRefused) {
  Divided d({{.dp = 2, .tp = 1}, {.dp = 3, .tp = 1}}, 3);
  const std::vector<Refusal> all = refusals(d.model, d.cluster, d.plan);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all.front().constraint, "dp of neighbouring segments divide each other");
  EXPECT_EQ(all.front().hint, "nearest legal: 2 or 4");
}

}  // namespace
}  // namespace orrery::program
