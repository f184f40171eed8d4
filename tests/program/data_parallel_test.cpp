// How much each kind of data parallelism sends and keeps, against closed forms.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "program/compile.h"
#include "program/memory.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

constexpr std::uint8_t kDpStream = 2;

Program compiled(const Model& m, const Plan& p, std::int64_t dp) { return compile(m, small_cluster(p, dp), p); }

template <class Visit>
void each_issue(const Role& role, Visit visit) {
  for (const PassInstance& instance : role.body) {
    const PassTemplate& t = role.passes[instance.pass];
    for (std::uint32_t i = t.first; i < t.first + t.count; ++i) visit(t, role.instructions[i]);
  }
}

// Elements that one rank of a ring sends in a step for parameters and gradients; the squared norm (fp64) is left out.
struct Sent {
  double gathered = 0, scattered = 0, summed = 0;
  double all() const { return gathered + scattered + summed; }
};
Sent sent(const Program& p, const Role& role) {
  Sent out;
  each_issue(role, [&](const PassTemplate&, const Instruction& i) {
    if (i.stream != kDpStream || !is_collective(i.op) || p.shapes[i.shape].dtype == DType::fp64) return;
    const auto n = static_cast<double>(group_size(p.mesh, p.groups[i.group]));
    const double once = static_cast<double>(p.shapes[i.shape].dims[0]) * (n - 1) / n;
    if (i.op == Operator::all_gather) out.gathered += once;
    if (i.op == Operator::reduce_scatter) out.scattered += once;
    if (i.op == Operator::all_reduce) out.summed += 2 * once;
  });
  return out;
}

// All elements of the role's buckets, and those of the embedding's table.
double parameters(const Role& role) {
  std::int64_t n = 0;
  for (const Bucket& b : role.buckets) n += b.elements;
  return static_cast<double>(n);
}

Plan sharded(std::int64_t zero, std::int64_t dp = 4, std::int64_t microbatches = 3) {
  Plan p = small_plan(1, 1, dp, microbatches);
  p.sharding.zero = zero;
  p.data_parallel.bucket_bytes.reset();
  return p;
}

// --- Volumes -------------------------------------------------------------------------------------------------------------------------------------
// n = 4 ranks, m = 3 micro-batches, Ψ parameters with padding; a ring sends S(n−1)/n per gather or scatter, twice that per all-reduce.

TEST(DataParallelVolume, OneAllReduceOfTheGradientsWithoutSharding) {
  const Program p = compiled(small_llama(), sharded(0), 4);
  EXPECT_DOUBLE_EQ(sent(p, p.roles[0]).all(), 2 * parameters(p.roles[0]) * 3 / 4);
}

TEST(DataParallelVolume, ZeroTwoScattersEveryMicrobatchAndGathersOnce) {
  Plan plan = sharded(2);
  const Program p = compiled(small_llama(), plan, 4);
  const double psi = parameters(p.roles[0]);
  EXPECT_DOUBLE_EQ(sent(p, p.roles[0]).scattered, 3 * psi * 3 / 4);  // m Ψ
  EXPECT_DOUBLE_EQ(sent(p, p.roles[0]).gathered, psi * 3 / 4);
  EXPECT_DOUBLE_EQ(sent(p, p.roles[0]).summed, 0);
  plan.sharding.reduce_every_microbatch = false;
  const Program once = compiled(small_llama(), plan, 4);
  EXPECT_DOUBLE_EQ(sent(once, once.roles[0]).all(), 2 * psi * 3 / 4);
}

TEST(DataParallelVolume, ZeroThreeSendsThreeTimesPerMicrobatchWhatAPassReads) {
  Plan plan = sharded(3);
  const Program p = compiled(small_llama(), plan, 4);
  const double psi = parameters(p.roles[0]), table = 50 * 16;
  // Forward and backward gather: 2 m Ψ, but no backward pass reads the embedding's table. Gradients: m Ψ.
  EXPECT_DOUBLE_EQ(sent(p, p.roles[0]).gathered, 3 * (2 * psi - table) * 3 / 4);
  EXPECT_DOUBLE_EQ(sent(p, p.roles[0]).scattered, 3 * psi * 3 / 4);
  // Kept from the first forward pass to the last backward pass: Ψ + m Ψ, or 2 Ψ where gradients add up first (Llama 3).
  plan.sharding.reshard_after_forward = false;
  const Program kept = compiled(small_llama(), plan, 4);
  EXPECT_DOUBLE_EQ(sent(kept, kept.roles[0]).all(), (1 + 3) * psi * 3 / 4);
  plan.sharding.reduce_every_microbatch = false;
  const Program once = compiled(small_llama(), plan, 4);
  EXPECT_DOUBLE_EQ(sent(once, once.roles[0]).all(), 2 * psi * 3 / 4);
}

TEST(DataParallelVolume, ASplitBackwardGathersNothingForWeightGradients) {
  Plan plan = sharded(3);
  plan.parallel.pp = 2, plan.schedule = "zb-h1";
  const Program p = compiled(small_llama(), plan, 4);
  for (const Role& role : p.roles)
    each_issue(role, [&](const PassTemplate& t, const Instruction& i) {
      if (t.kind == PassKind::weight_grad) {
        EXPECT_NE(i.op, Operator::all_gather);
      }
    });
  // The last stage reads all that it has in both passes: 3 m Ψ.
  EXPECT_DOUBLE_EQ(sent(p, p.roles[1]).all(), 3 * 3 * parameters(p.roles[1]) * 3 / 4);
}

TEST(DataParallelVolume, ReplicasOfShardsAddUpOneHopOfTheirParts) {
  // 8 ranks as 4 shards x 2 replicas: Ψ(4−1)/4 per scatter or gather, and across the replicas 2(Ψ/4)(2−1)/2, once a step.
  for (const std::int64_t zero : {1, 2, 3}) {
    Plan plan = sharded(zero, 8);
    plan.sharding.replicas = 2;
    const Program p = compiled(small_llama(), plan, 8);
    const double psi = parameters(p.roles[0]);
    EXPECT_DOUBLE_EQ(sent(p, p.roles[0]).summed, 2 * psi / 4 / 2) << zero;
    EXPECT_DOUBLE_EQ(sent(p, p.roles[0]).scattered, (zero == 1 ? 1 : 3) * psi * 3 / 4) << zero;
  }
}

TEST(DataParallelVolume, TwoLevelsSendAsMuchButOnlyAPartOfItAcrossNodes) {
  Plan plan = sharded(0, 8);
  plan.data_parallel.hierarchical = true;
  Cluster c = small_cluster(plan, 8);
  c.node_size = 4;
  const Program p = compile(small_llama(), c, plan);
  const double psi = parameters(p.roles[0]);
  const Sent s = sent(p, p.roles[0]);
  EXPECT_DOUBLE_EQ(s.scattered, psi * 3 / 4);
  EXPECT_DOUBLE_EQ(s.gathered, psi * 3 / 4);
  EXPECT_DOUBLE_EQ(s.summed, 2 * (psi / 4) / 2);
  EXPECT_DOUBLE_EQ(s.all(), 2 * psi * 7 / 8);
  each_issue(p.roles[0], [&](const PassTemplate&, const Instruction& i) {
    if (i.stream != kDpStream || !is_collective(i.op) || p.shapes[i.shape].dtype == DType::fp64) return;
    const auto ranks = members(p.mesh, p.groups[i.group], 5);
    if (i.op == Operator::all_reduce)
      EXPECT_EQ(ranks, (std::vector<std::int64_t>{1, 5}));
    else
      EXPECT_EQ(ranks, (std::vector<std::int64_t>{4, 5, 6, 7}));
  });
}

// --- Memory --------------------------------------------------------------------------------------------------------------------------------------

TEST(DataParallelMemory, ModelStatesTakeWhatEachStageOfZeroLeaves) {
  // bf16 parameters 2, fp32 gradients 4, fp32 m, v and master 12 bytes, of which a stage divides its part by n = 4.
  const auto per_parameter = [](std::int64_t zero, std::int64_t replicas) {
    Plan p = sharded(zero, 4 * replicas);
    p.precision.compute = p.precision.params = DType::bf16;
    p.sharding.replicas = replicas;
    const Program program = compiled(small_gpt2(), p, 4 * replicas);
    std::int64_t bytes = 0;
    for (const Buffer& b : program.roles[0].buffers)
      if (b.lifetime == Lifetime::persistent && b.kind != BufferKind::scalar) bytes += b.bytes;
    return static_cast<double>(bytes) / parameters(program.roles[0]);
  };
  EXPECT_DOUBLE_EQ(per_parameter(0, 1), 18);
  EXPECT_DOUBLE_EQ(per_parameter(1, 1), 2 + 4 + 12.0 / 4);
  EXPECT_DOUBLE_EQ(per_parameter(2, 1), 2 + (4 + 12) / 4.0);
  EXPECT_DOUBLE_EQ(per_parameter(3, 1), 18 / 4.0);
  EXPECT_DOUBLE_EQ(per_parameter(3, 2), 18 / 4.0);  // 8 ranks, but the shards are of 4
}

// The most elements that buffers whose name ends so have at once.
std::int64_t most_at_once(const Role& role, const std::string& ending) {
  std::int64_t live = 0, most = 0;
  const auto elements = [&](const Access& a) {
    const Buffer& b = role.buffers[a.buffer];
    const Buffer& root = b.alias < 0 ? b : role.buffers[static_cast<std::size_t>(b.alias)];
    return root.name.ends_with(ending) ? root.elements : 0;
  };
  each_issue(role, [&](const PassTemplate&, const Instruction& i) {
    for (std::uint32_t a = i.accesses; a < i.accesses + i.access_count; ++a)
      if (role.accesses[a].first) live += elements(role.accesses[a]);
    most = std::max(most, live);
    for (std::uint32_t a = i.accesses; a < i.accesses + i.access_count; ++a)
      if (role.accesses[a].last) live -= elements(role.accesses[a]);
  });
  EXPECT_EQ(live, 0);
  return most;
}

TEST(DataParallelMemory, NoMoreUnitsAreGatheredAtOnceThanOneInUseAndThoseAhead) {
  Model m = small_llama(6);
  m.vocab = 8;                           // the tables are smaller than a layer
  constexpr std::int64_t kLayer = 1952;  // q, k, v, out, two norms, three matrices: 4 divides it
  for (const std::int64_t ahead : {0, 1, 2, 3}) {
    Plan plan = sharded(3);
    plan.data_parallel.prefetch = ahead;
    const Program p = compiled(m, plan, 4);
    EXPECT_EQ(most_at_once(p.roles[0], ".gathered"), (ahead + 1) * kLayer);
    // Of gradients: the bucket that is made, and the one before it that is on its way.
    EXPECT_EQ(most_at_once(p.roles[0], ".gradient.whole"), 2 * kLayer);
    plan.overlap.grad_reduce = false;
    const Program q = compiled(m, plan, 4);
    EXPECT_EQ(most_at_once(q.roles[0], ".gradient.whole"), kLayer);
  }
  Plan plan = sharded(3);
  plan.sharding.reshard_after_forward = plan.sharding.reduce_every_microbatch = false;
  const Program p = compiled(m, plan, 4);
  EXPECT_EQ(static_cast<double>(most_at_once(p.roles[0], ".gathered")), parameters(p.roles[0]));
  EXPECT_EQ(static_cast<double>(most_at_once(p.roles[0], ".gradient.whole")), parameters(p.roles[0]));
}

// --- Order ---------------------------------------------------------------------------------------------------------------------------------------

TEST(FullySharded, AUnitIsGatheredWhenTheOneBeforeItBegins) {
  const Program p = compiled(small_llama(3), sharded(3), 4);
  const Role& role = p.roles[0];
  std::vector<std::string> forward;
  for (const PassTemplate& t : role.passes) {
    if (t.kind != PassKind::forward) continue;
    for (std::uint32_t i = t.first; i < t.first + t.count; ++i) {
      const Instruction& in = role.instructions[i];
      if (in.op == Operator::all_gather) forward.push_back("gather");
      if (in.op == Operator::embedding_forward) forward.push_back("embedding");
      if (in.op == Operator::norm_forward && in.layer != kNone && role.instructions[i + 1].op == Operator::linear_forward &&
          role.instructions[i + 1].accesses + 1 < role.accesses.size() &&
          role.buffers[role.accesses[role.instructions[i + 1].accesses + 1].buffer].name.ends_with("qkv"))
        forward.push_back(fmt::format("layer {}", in.layer));
      if (in.op == Operator::cross_entropy_max) forward.push_back("head");
    }
  }
  EXPECT_THAT(forward, testing::ElementsAre("gather", "gather", "embedding", "gather", "layer 0", "gather", "layer 1", "gather", "layer 2", "head"));
}

TEST(FullySharded, ARateLimitHoldsTheHostUntilTheUnitSoManyPlacesBeforeWasUsed) {
  Plan plan = sharded(3);
  const auto waits = [&] {
    const Program p = compiled(small_llama(4), plan, 4);
    const Role& role = p.roles[0];
    std::map<PassKind, int> n;
    for (const PassTemplate& t : role.passes)
      for (std::uint32_t i = t.first; i < t.first + t.count; ++i)
        if (role.instructions[i].opcode == Opcode::host_wait) ++n[t.kind];
    return n;
  };
  EXPECT_TRUE(waits().empty());
  plan.data_parallel.rate_limit = 2;
  // Forward: embedding, 4 layers, head: the third and later wait. Backward reads no table: head and 4 layers.
  EXPECT_EQ(waits(), (std::map<PassKind, int>{{PassKind::forward, 4}, {PassKind::backward, 3}}));
}

std::vector<std::int64_t> bucket_sizes(const Plan& plan, std::int64_t dp = 2, std::int64_t layers = 8) {
  Model m = small_llama(layers);
  m.hidden = 256, m.intermediate = 1024, m.head_dim = 32, m.vocab = 4000;
  std::vector<std::int64_t> out;
  const Program p = compiled(m, plan, dp);
  for (const Bucket& b : p.roles[0].buckets) out.push_back(4 * b.elements);
  return out;
}

TEST(Buckets, OfPyTorchBeginWithASmallOneAndCloseOnceTheyHaveTheirSize) {
  Plan plan = sharded(0, 2);
  plan.runtime.framework = "pytorch";
  const auto buckets = bucket_sizes(plan);
  // The head, 4 MB, is the last in the forward pass: with the final norm it fills the first bucket of 1 MiB. A layer has 983,552 parameters, its
  // feed-forward matrices 1 MiB each: no bucket passes 25 MiB by more than the last tensor that filled it.
  constexpr std::int64_t kMiB = 1 << 20;
  EXPECT_EQ(buckets.front(), 4 * 256 * 4000);
  for (std::size_t i = 1; i + 1 < buckets.size(); ++i) {
    EXPECT_GE(buckets[i], 25 * kMiB);
    EXPECT_LT(buckets[i], 27 * kMiB);
  }
  EXPECT_GE(buckets.size(), 3U);
}

TEST(Buckets, OfHorovodHoldWhatFitsIntoTheThreshold) {
  Plan plan = sharded(0, 2);
  plan.data_parallel.kind = "horovod";
  plan.data_parallel.bucket_bytes = 6 << 20;
  for (const std::int64_t bytes : bucket_sizes(plan)) EXPECT_LE(bytes, 6 << 20);
  const std::size_t full = bucket_sizes(plan).size();
  // 100 cycles in a backward pass: hardly anything is ready together.
  plan.data_parallel.cycle = 0.001, plan.data_parallel.backward = 0.1;
  EXPECT_GT(bucket_sizes(plan).size(), 2 * full);
  plan.data_parallel.cycle = 1;  // one look at the end
  EXPECT_EQ(bucket_sizes(plan).size(), full);
}

// The buckets that a step reduces, in order, by the place of their gradients in the buffer.
std::vector<std::int64_t> order_of_reductions(const Program& p) {
  std::vector<std::int64_t> out;
  each_issue(p.roles[0], [&](const PassTemplate& t, const Instruction& i) {
    if (t.kind == PassKind::backward && i.op == Operator::all_reduce && i.stream == kDpStream)
      out.push_back(p.roles[0].buffers[p.roles[0].accesses[i.accesses].buffer].alias_offset);
  });
  return out;
}

TEST(Priority, WithoutTimesAllButTheFirstWaitAndGoInTheOrderOfTheirNextUse) {
  Plan plan = sharded(0, 2);
  plan.data_parallel.bucket_bytes = 1024;
  std::vector<std::int64_t> usual = order_of_reductions(compiled(small_llama(), plan, 2));
  EXPECT_TRUE(std::is_sorted(usual.begin(), usual.end()));  // buffers lie in the order in which gradients are made
  plan.data_parallel.kind = "priority";
  std::vector<std::int64_t> order = order_of_reductions(compiled(small_llama(), plan, 2));
  ASSERT_EQ(order.size(), usual.size());
  std::reverse(order.begin() + 1, order.end());
  EXPECT_EQ(order, usual);
}

TEST(Priority, WithFastReductionsNothingWaits) {
  Plan plan = sharded(0, 2);
  plan.data_parallel.bucket_bytes = 1024;
  const auto usual = order_of_reductions(compiled(small_llama(), plan, 2));
  plan.data_parallel.kind = "priority";
  plan.data_parallel.backward = 1, plan.data_parallel.reduction = 1e-6;
  EXPECT_EQ(order_of_reductions(compiled(small_llama(), plan, 2)), usual);
}

// --- Rank orders ---------------------------------------------------------------------------------------------------------------------------------

TEST(RankOrder, InEveryOrderTheGroupsOfEachKindPartitionTheRanks) {
  std::vector<std::string> axes{"cp", "dp", "ep", "pp", "tp"};
  do {
    Plan plan = sharded(3, 4);
    plan.parallel.tp = plan.parallel.pp = 2, plan.sharding.replicas = 2;
    plan.parallel.order = fmt::format("{}", fmt::join(axes, "-"));
    const Program p = compiled(small_llama(), plan, 4);
    ASSERT_EQ(p.mesh.ranks(), 16);
    for (const Group& group : p.groups) {
      std::multiset<std::int64_t> seen;
      for (std::int64_t rank = 0; rank < p.mesh.ranks(); ++rank) {
        const auto of = members(p.mesh, group, rank);
        EXPECT_EQ(static_cast<std::int64_t>(of.size()), group_size(p.mesh, group));
        EXPECT_NE(std::find(of.begin(), of.end(), rank), of.end());
        for (const std::int64_t other : of) EXPECT_EQ(members(p.mesh, group, other), of);
        if (of.front() == rank) seen.insert(of.begin(), of.end());
      }
      EXPECT_EQ(seen.size(), 16U);
      EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), 16U);
    }
  } while (std::next_permutation(axes.begin(), axes.end()));
}

TEST(RankOrder, OfLlamaThreePutsDataParallelismOutermost) {
  // Llama 3: tp, cp, pp, dp, fastest first. tp 2, pp 2, dp 2: rank = tp + 2 pp + 4 dp.
  Plan plan = sharded(1, 2);
  plan.parallel.tp = plan.parallel.pp = 2;
  plan.parallel.order = "tp-cp-ep-pp-dp";
  const Program p = compiled(small_llama(), plan, 2);
  const Group shards{kDpAxes}, stages{kPpAxis};
  EXPECT_THAT(members(p.mesh, shards, 3), testing::ElementsAre(3, 7));
  EXPECT_THAT(members(p.mesh, stages, 3), testing::ElementsAre(1, 3));
}

}  // namespace
}  // namespace orrery::program
