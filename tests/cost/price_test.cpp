#include "cost/cost.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "clusters.h"
#include "core/cluster_json.h"
#include "core/error.h"

namespace orrery::cost {
namespace {

using program::Axis;
using program::Operator;
using program::Program;
using program::Shape;

Shape shape(Operator op, DType type, std::array<std::int64_t, 9> dims) {
  Shape s{op, type};
  s.dims = dims;
  return s;
}

Shape message(Operator op, std::uint16_t group, std::int64_t bytes) {
  Shape s{op, DType::bf16, group};
  s.dims[0] = bytes / 2;
  s.bytes = bytes;
  return s;
}

Program program_of(std::vector<Shape> shapes, std::array<std::int64_t, 4> mesh = {1, 1, 1, 1}) {
  Program p;
  p.mesh = program::dense_mesh(mesh[0], mesh[1], mesh[2], mesh[3]);
  p.groups = {{program::mask(Axis::tp)}, {program::kDpAxes}, {program::mask(Axis::pp)}};
  p.group_class = {WorkClass::tp_comm, WorkClass::dp_comm, WorkClass::pp_comm};
  p.shapes = std::move(shapes);
  return p;
}

const Source& source(const Table& t, std::size_t entry) { return t.sources.at(t.entries.at(entry).source); }

TEST(Roofline, MemoryBoundOperatorsTakeTheirTrafficAndAFixedPart) {
  // accumulate of 5e8 bf16 elements: two read, one written = 3 GB at 1 TB/s = 3 ms; 2 us of start and drain.
  const Table t = price(program_of({shape(Operator::accumulate, DType::bf16, {500'000'000})}), round_cluster(1), nullptr);
  EXPECT_EQ(t.entries[0].duration.v, 3'002'000'000);
  EXPECT_EQ(t.entries[0].ideal.v, 0);
  // (500 - 100) W x 0.6 x 3.002 ms.
  EXPECT_NEAR(t.entries[0].energy.v, 400 * 0.6 * 3.002e-3, 1e-9);
}

TEST(Roofline, AttentionOnACpuTakesItsExecutedHalfAtTheDevicesShare) {
  Cluster c = round_cluster(1);
  c.device.kind = DeviceKind::cpu_core;
  c.device.efficiency["attention_forward"] = {0.5, "assumed: a round number"};
  // 1 sequence of 8192, 16 heads of 64 + 64, causal: 2 * 16 * 8192^2/2 * 128 = 137.4 GFLOP; at half of 100 TFLOP/s 2.748779 ms; ideal half of that.
  const Table t = price(program_of({shape(Operator::attention_forward, DType::bf16, {1, 8192, 16, 16, 64, 64, 1})}), c, nullptr);
  EXPECT_NEAR(to_seconds(t.entries[0].duration).v, 137438953472.0 / 50e12, 1e-9);
  EXPECT_EQ(t.entries[0].ideal.v, 1'374'389'535);
  EXPECT_EQ(source(t, 0).grade, Grade::assumed);
}

TEST(Roofline, SaysWhichTypeTheDeviceHasNoPeakFor) {
  Cluster c = round_cluster(1);
  c.device.peak.erase(DType::fp32);
  EXPECT_THROW(price(program_of({shape(Operator::linear_forward, DType::fp32, {8, 8, 8})}), c, nullptr), Error);
}

TEST(Roofline, SkinnyProductsDoNotGetTheLargeProductsEfficiency) {
  Cluster c = round_cluster(1);
  c.device.name = "h100";
  c.device.sms = 132;
  c.device.peak[DType::bf16] = FlopsPerSecond{989.5e12};
  c.device.memory_bandwidth = 3350_GBps;
  c.device.efficiency["gemm"] = {0.803, "best shape"};
  const Table t = price(
      program_of({shape(Operator::linear_forward, DType::bf16, {8192, 8192, 8192}), shape(Operator::linear_forward, DType::bf16, {4096, 512, 32768}),
                  shape(Operator::linear_forward, DType::bf16, {4096, 7168, 576})}),
      c, nullptr);
  const auto share = [&](std::size_t i) { return t.entries[i].ideal / t.entries[i].duration; };
  EXPECT_NEAR(share(0), 0.79, 0.02);  // measured on H200 with random data: 769 to 798 of 989.5 TFLOPS
  EXPECT_LT(share(1), 0.6);
  EXPECT_LT(share(2), 0.6);
}

TEST(Issue, CostsAKernelLaunchUnlessGraphsOrTheHostItselfDoIt) {
  Program p = program_of({});
  const Cluster c = round_cluster(1);
  EXPECT_EQ(price(p, c, nullptr).issue, to_picoseconds(4_us));
  p.launch = program::Launch::compiled;
  EXPECT_EQ(price(p, c, nullptr).issue, to_picoseconds(2_us));
  p.launch = program::Launch::graph;
  EXPECT_EQ(price(p, c, nullptr).issue, to_picoseconds(Seconds{0.5e-6}));
  p.launch = program::Launch::inline_host;
  EXPECT_EQ(price(p, c, nullptr).issue.v, 0);
  EXPECT_EQ(price(p, c, nullptr).idle, 100_W);
}

Profile gpu_profile() {
  Profile p;
  p.device = "round", p.kind = DeviceKind::gpu, p.part = "round", p.date = "2026-01-01";
  p.issue = Seconds{6e-6}, p.issue_recorded = Seconds{0.7e-6}, p.kernel = Seconds{3e-6}, p.kernel_recorded = Seconds{2e-6};
  p.operators = {{"linear_forward", {512, 512, 512}, DType::bf16, 1, Seconds{10e-6}, 0.01, 50},
                 {"zero", {1024}, DType::bf16, 1, Seconds{2.5e-6}, 0.01, 50}};
  p.power = {{"idle", 90_W, Seconds{1}, ""}, {"gemm", 490_W, Seconds{1}, ""}, {"norm", 290_W, Seconds{1}, ""}};
  return p;
}

TEST(Price, TakesLaunchesAndPowerFromAGpusProfile) {
  Program p = program_of({shape(Operator::linear_forward, DType::bf16, {512, 512, 512}), shape(Operator::zero, DType::bf16, {1024})});
  const Cluster c = round_cluster(1);
  const Profile profile = gpu_profile();
  const Table eager = price(p, c, &profile);
  EXPECT_EQ(eager.issue, to_picoseconds(6_us));
  EXPECT_EQ(eager.idle, 90_W);
  EXPECT_EQ(eager.energy, Grade::measured_here);
  EXPECT_EQ(eager.entries[0].duration, to_picoseconds(10_us));
  EXPECT_NEAR(eager.entries[0].energy.v, (490 - 90) * 10e-6, 1e-12);   // a product's power
  EXPECT_NEAR(eager.entries[1].energy.v, (290 - 90) * 2.5e-6, 1e-12);  // bound by memory, as the norm that was measured
  // Of a recording, the next kernel begins 3 - 2 = 1 us sooner, but no sooner than 2 us, as the smallest kernel was measured to: 2.5 us become 2.
  p.launch = program::Launch::graph;
  const Table graph = price(p, c, &profile);
  EXPECT_EQ(graph.issue, Picoseconds{700'000});
  EXPECT_EQ(graph.entries[0].duration, to_picoseconds(9_us));
  EXPECT_EQ(graph.entries[1].duration, to_picoseconds(2_us));
  EXPECT_EQ(price(p, c, nullptr).energy, Grade::assumed);
}

TEST(Price, TakesACollectiveAcrossNodesFromAMeasurementAcrossAsMany) {
  // 8 ranks in nodes of 4: two nodes. What was measured within one node does not count, what was on two does.
  const Program p = program_of({message(Operator::all_reduce, 1, 1 << 20)}, {1, 1, 8, 1});
  Profile profile = gpu_profile();
  profile.collectives = {{"all_reduce", 8, 1_MiB, Seconds{1e-6}, 0.01, 9, 1}};
  const Table modelled = price(p, round_cluster(8), &profile);
  EXPECT_NE(source(modelled, 0).grade, Grade::measured_here);
  profile.collectives.push_back({"all_reduce", 8, 1_MiB, Seconds{3e-4}, 0.01, 9, 2});
  const Table measured = price(p, round_cluster(8), &profile);
  EXPECT_EQ(measured.entries[0].duration, Picoseconds{300'000'000});
  EXPECT_EQ(source(measured, 0).grade, Grade::measured_here);
}

TEST(Price, TakesTheSlowestPlacementOfAGroup) {
  // pp of 8 in nodes of 4: the pair of ranks 3 and 4 crosses nodes, the others do not. 1 GB at 10 GB/s + 10 us.
  Program p = program_of({message(Operator::send, 2, 1'000'000'000)}, {1, 1, 1, 8});
  const Table t = price(p, round_cluster(8), nullptr);
  EXPECT_NEAR(to_seconds(t.entries[0].duration).v, 0.1 + 10e-6, 1e-12);
}

// DeepSeek-V3's exchange on 8 nodes of 8: 256 experts, 8 for each token, 4 of 8 groups. A token crosses to 3.175 other nodes on average, instead of
// 8 · 56/64 = 7 copies that do: the price is that of 0.4536 of the payload.
TEST(Price, TokensCrossToANodeOnceWhereTheDispatcherIsHierarchical) {
  const Cluster c = load_cluster("dgx-h100:64");
  const std::int64_t bytes = 4096 * 8 * 7168 * 2, less = static_cast<std::int64_t>(static_cast<double>(bytes) * 3.1753 / 7.0);
  Shape plain = message(Operator::all_to_all_by_count, 1, bytes), once = plain, scaled = message(Operator::all_to_all_by_count, 1, less);
  once.dims[4] = 256, once.dims[5] = 8, once.dims[6] = 8, once.dims[7] = 4;
  const Table t = price(program_of({plain, once, scaled}, {1, 1, 64, 1}), c, nullptr);
  EXPECT_NEAR(to_seconds(t.entries[1].duration) / to_seconds(t.entries[2].duration), 1, 1e-3);
  EXPECT_LT(t.entries[1].duration.v, t.entries[0].duration.v * 6 / 10);
}

TEST(Price, LeavesGroupsOfOneAndWaitsFree) {
  const Table t = price(program_of({message(Operator::all_reduce, 0, 1 << 20), Shape{}}, {1, 1, 8, 1}), round_cluster(8), nullptr);
  for (const Entry& e : t.entries) EXPECT_EQ(e.duration.v, 0);
}

RC_GTEST_PROP(Price, IsNeverFasterThanThePeakOrTheMemory, ()) {
  const auto dim = rc::gen::inRange<std::int64_t>(1, 5000);
  const auto op = *rc::gen::element(Operator::linear_forward, Operator::linear_input_grad, Operator::linear_weight_grad, Operator::norm_forward,
                                    Operator::activation_backward, Operator::attention_forward, Operator::attention_backward, Operator::copy,
                                    Operator::cross_entropy_grad, Operator::optimizer_step, Operator::embedding_forward);
  Shape s = shape(op, DType::bf16, {*dim, *dim, *dim});
  if (op == Operator::attention_forward || op == Operator::attention_backward) s.dims = {1 + *dim % 4, *dim, 8, 4, 64, 64, *dim % 2};
  Cluster c = round_cluster(1);
  c.device.name = *rc::gen::element<std::string>("a100", "h100", "b200", "another");
  const double seconds = to_seconds(price(program_of({s}), c, nullptr).entries[0].duration).v;
  RC_ASSERT(seconds >= program::flops(s).v / 100e12);
  RC_ASSERT(seconds >= static_cast<double>(program::traffic(s).v) / 1000e9);
}

}  // namespace
}  // namespace orrery::cost
