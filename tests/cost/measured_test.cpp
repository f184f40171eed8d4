#include "cost/measured.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <cmath>
#include <tuple>

#include "clusters.h"
#include "cost/cost.h"

namespace orrery::cost {
namespace {

using program::Operator;
using program::Shape;

Shape linear(std::int64_t tokens, std::int64_t in, std::int64_t out) {
  Shape s{Operator::linear_forward, DType::fp32};
  s.dims = {tokens, in, out};
  return s;
}

OperatorMeasurement measured(const Shape& s, double seconds, std::int64_t busy = 1) {
  return {std::string(program::name(s.op)), {s.dims.begin(), s.dims.end()}, s.dtype, busy, Seconds{seconds}, 0.02, 50};
}

// Products at 50 GFLOP/s, but half of that where tokens = 16.
Profile profile() {
  Profile p;
  p.device = "two cores";
  p.date = "2026-01-01";
  p.cores = 2;
  p.peak = FlopsPerSecond{60e9};
  p.memory_bandwidth = 10_GBps;
  for (const std::int64_t tokens : {16, 256})
    for (const std::int64_t in : {64, 1024})
      for (const std::int64_t out : {64, 1024}) {
        const Shape s = linear(tokens, in, out);
        const double alone = program::flops(s).v / (tokens == 16 ? 25e9 : 50e9);
        p.operators.push_back(measured(s, alone));
        p.operators.push_back(measured(s, alone * 1.5, 2));
      }
  return p;
}

Cluster two_cores() {
  Cluster c;
  c.name = "two-cores";
  c.device.name = "cpu";
  c.device.kind = DeviceKind::cpu_core;
  c.device.peak[DType::fp32] = FlopsPerSecond{80e9};
  c.device.memory_bandwidth = 8_GBps;
  c.device.sms = 1;
  c.devices = 4;
  c.node_size = 4;
  c.shared_cores = 2;
  c.levels = {{"shared-memory", 4, 5_GBps, 1.0, 2_us, "assumed"}};
  return c;
}

program::Program program_of(std::vector<Shape> shapes, std::int64_t dp = 1) {
  program::Program p;
  p.mesh = program::dense_mesh(1, 1, dp, 1);
  p.groups = {{program::kDpAxes}};
  p.group_class = {WorkClass::dp_comm};
  p.shapes = std::move(shapes);
  p.launch = program::Launch::inline_host;
  return p;
}

TEST(Measurements, ReproduceWhatWasMeasured) {
  const Profile p = profile();
  const Measurements m(p);
  for (const OperatorMeasurement& o : p.operators) {
    if (o.busy > 1) continue;
    const auto t = m.operation(linear(o.dims[0], o.dims[1], o.dims[2]));
    ASSERT_TRUE(t);
    EXPECT_NEAR(t->alone.v, o.median.v, o.median.v * 1e-9);
    EXPECT_NEAR(t->slowdown, 1.5, 1e-9);
    EXPECT_EQ(t->reach, Reach::measured);
    EXPECT_DOUBLE_EQ(t->sigma, 0.02);
  }
}

TEST(Measurements, AreAveragedOverFootprintsByWhereTheOperandsBytesAre) {
  // 1 ms where the operands stay in a cache, 3 ms where they do not, and half of the bytes are there: 2 ms. On two cores 1 and 5 ms: 3 ms.
  Profile p;
  const Shape s = linear(16, 64, 64);
  for (const auto& [mib, busy, seconds] : {std::tuple{1, 1, 1e-3}, {64, 1, 3e-3}, {1, 2, 1e-3}, {64, 2, 5e-3}}) {
    p.operators.push_back(measured(s, seconds, busy));
    p.operators.back().footprint = Bytes{std::int64_t{mib} << 20};
  }
  // Another shape, measured in the cache only: it does not say what this one does in memory.
  p.operators.push_back(measured(linear(16, 64, 128), 7e-3));
  p.operators.back().footprint = 1_MiB;
  const Measurements m(p);
  EXPECT_TRUE(m.depend_on_reuse());
  Reuse half;
  half.share.front() = half.share.back() = 0.5;
  const auto t = m.operation(s, half);
  ASSERT_TRUE(t);
  EXPECT_NEAR(t->alone.v, 2e-3, 1e-12);
  EXPECT_NEAR(t->slowdown, 1.5, 1e-9);
  EXPECT_EQ(t->reach, Reach::measured);
  EXPECT_NEAR(m.operation(s)->alone.v, 3e-3, 1e-12);  // nothing known: as if nothing were in a cache
  EXPECT_NEAR(m.operation(linear(16, 64, 128), half)->alone.v, 7e-3, 1e-12);
  EXPECT_FALSE(Measurements(profile()).depend_on_reuse());
}

TEST(Measurements, InterpolateTheRateBetweenShapes) {
  // tokens = 64 is half-way between 16 and 256 in logarithms: sqrt(25 * 50) GFLOP/s, whatever the other dimensions in between.
  const auto t = Measurements(profile()).operation(linear(64, 256, 100));
  ASSERT_TRUE(t);
  EXPECT_NEAR(t->alone.v, 2.0 * 64 * 256 * 100 / std::sqrt(25e9 * 50e9), 1e-12);
  EXPECT_EQ(t->reach, Reach::interpolated);
}

TEST(Measurements, ScaleByWorkBeyondTheMeasuredShapesAndSaySo) {
  const auto t = Measurements(profile()).operation(linear(4096, 1024, 8192));
  ASSERT_TRUE(t);
  EXPECT_NEAR(t->alone.v, 2.0 * 4096 * 1024 * 8192 / 50e9, 1e-6);
  EXPECT_EQ(t->reach, Reach::extrapolated);
  EXPECT_GE(t->sigma, 0.2);
}

TEST(Measurements, KnowNothingOfOtherTypesAndOperators) {
  const Measurements m(profile());
  Shape s = linear(16, 64, 64);
  s.dtype = DType::bf16;
  EXPECT_FALSE(m.operation(s));
  EXPECT_FALSE(m.operation(Shape{Operator::copy, DType::fp32}));
}

TEST(Measurements, JoinBatchAndHeadsOfAttention) {
  Profile p;
  Shape a{Operator::attention_forward, DType::fp32};
  a.dims = {2, 128, 4, 4, 32, 32, 1};
  p.operators.push_back(measured(a, 1e-3));
  Shape b = a;
  b.dims = {4, 128, 2, 2, 32, 32, 1};  // the same 8 heads in all
  const auto t = Measurements(p).operation(b);
  ASSERT_TRUE(t);
  EXPECT_NEAR(t->alone.v, 1e-3, 1e-12);
  EXPECT_EQ(t->reach, Reach::measured);
  b.dims[1] = 256;  // pairs grow with the square
  EXPECT_NEAR(Measurements(p).operation(b)->alone.v, 4e-3, 1e-11);
  b = a;
  b.dims[6] = 0;  // all pairs instead of half, and a kernel nobody measured
  EXPECT_NEAR(Measurements(p).operation(b)->alone.v, 2e-3, 1e-11);
  EXPECT_EQ(Measurements(p).operation(b)->reach, Reach::extrapolated);
}

TEST(Measurements, WeighScatteredShapesByTheirDistance) {
  // Three shapes that form no box. Rates 1, 1 and 4 GFLOP/s; a query between them lies between.
  Profile p;
  for (const auto& [s, rate] : {std::pair{linear(16, 64, 1024), 1e9}, std::pair{linear(256, 512, 64), 1e9}, std::pair{linear(64, 1024, 512), 4e9}})
    p.operators.push_back(measured(s, program::flops(s).v / rate));
  const Shape q = linear(64, 256, 256);
  const auto t = Measurements(p).operation(q);
  ASSERT_TRUE(t);
  EXPECT_GT(t->alone.v, program::flops(q).v / 4e9);
  EXPECT_LT(t->alone.v, program::flops(q).v / 1e9);
  EXPECT_EQ(t->reach, Reach::interpolated);
}

TEST(LeaveOneOut, IsZeroWhereTheRateIsAPowerLaw) {
  std::vector<LogInterpolation::Point> line;
  for (double x = 0; x < 5; ++x) line.push_back({{x}, {}, 3 + 2 * x});
  EXPECT_NEAR(LogInterpolation(line).leave_one_out(), 0, 1e-12);
  line[2].value += 0.3;  // its neighbours then miss by half of that, itself by all: sqrt((0.15^2 + 0.3^2 + 0.15^2) / 3)
  EXPECT_NEAR(LogInterpolation(line).leave_one_out(), std::sqrt((0.0225 + 0.09 + 0.0225) / 3), 1e-12);
}

TEST(Measurements, InterpolateCollectivesInBytesAndRanks) {
  Profile p;
  const auto add = [&](std::int64_t ranks, std::int64_t bytes, double us) {
    p.collectives.push_back({"all_reduce", ranks, Bytes{bytes}, Seconds{us * 1e-6}, 0.03, 20});
  };
  add(2, 1 << 10, 10);
  add(2, 1 << 20, 1000);
  add(8, 1 << 10, 40);
  add(8, 1 << 20, 4000);
  const Measurements m(p);
  const auto us = [&](std::int64_t ranks, std::int64_t bytes) { return m.collective(Operator::all_reduce, ranks, Bytes{bytes})->alone.v * 1e6; };
  EXPECT_NEAR(us(2, 1 << 20), 1000, 1e-6);
  EXPECT_NEAR(us(2, 1 << 15), 100, 1e-6);    // half-way in both logarithms
  EXPECT_NEAR(us(4, 1 << 10), 20, 1e-6);     // half-way between 2 and 8 ranks
  EXPECT_NEAR(us(2, 1 << 24), 16000, 1e-6);  // the bandwidth of the largest
  EXPECT_NEAR(us(2, 16), 10, 1e-6);          // the latency of the smallest
  EXPECT_NEAR(us(15, 1 << 20), 8000, 1e-6);  // 14 payloads instead of 7
  EXPECT_EQ(m.collective(Operator::all_reduce, 15, Bytes{1 << 20})->reach, Reach::extrapolated);
  EXPECT_TRUE(m.collective(Operator::all_reduce_max, 2, Bytes{8}));
  EXPECT_FALSE(m.collective(Operator::all_gather, 2, Bytes{8}));
}

RC_GTEST_PROP(Measurements, StayWithinTheMeasuredRates, ()) {
  const auto dim = rc::gen::inRange<std::int64_t>(1, 5000);
  const Shape s = linear(*dim, *dim, *dim);
  const double rate = program::flops(s).v / Measurements(profile()).operation(s)->alone.v;
  RC_ASSERT(rate > 25e9 * 0.999999);
  RC_ASSERT(rate < 50e9 * 1.000001);
}

// --- what the table makes of them

TEST(Price, GivesEveryRankTheMeasuredSlowdownWhenAllCoresAreBusy) {
  // 1.5 times slower with 2 ranks on 2 cores: each demands 0.75 of the memory; 2 x 0.75 = 1.5, so each runs at 1 / 1.5.
  const Profile p = profile();
  const Table t = price(program_of({linear(256, 64, 64)}), two_cores(), &p);
  const Entry& e = t.entries[0];
  EXPECT_EQ(e.memory_share, 49152U);  // 0.75 x 65536
  EXPECT_EQ(e.core_share, 65536U);
  EXPECT_EQ(e.duration.v, 41'943'040);                                    // 2 * 256 * 64 * 64 / 50e9 s
  EXPECT_NEAR(to_seconds(e.ideal).v, 2.0 * 256 * 64 * 64 / 60e9, 1e-12);  // at the best rate that the profile saw
  EXPECT_EQ(t.sources[e.source].name, "profile: two cores 2026-01-01: gemm");
  EXPECT_EQ(t.sources[e.source].grade, Grade::measured_here);
}

TEST(Price, LetsAsManyRanksAsCoresRunUnhinderedWhereNothingSlowedDown) {
  Profile p = profile();
  for (OperatorMeasurement& m : p.operators)
    if (m.busy == 2) m.median = m.median / 1.5;
  EXPECT_EQ(price(program_of({linear(256, 64, 64)}), two_cores(), &p).entries[0].memory_share, 32768U);  // a half each
}

TEST(Price, TakesWhatIssuingAnInstructionWasMeasuredToCost) {
  Profile p = profile();
  EXPECT_EQ(price(program_of({linear(16, 64, 64)}), two_cores(), &p).issue, Picoseconds{0});  // not measured
  p.issue = 2_us;
  EXPECT_EQ(price(program_of({linear(16, 64, 64)}), two_cores(), &p).issue, to_picoseconds(2_us));
  program::Program eager = program_of({linear(16, 64, 64)});
  eager.launch = program::Launch::eager;  // a device is launched on, as its file says
  EXPECT_EQ(price(eager, two_cores(), &p).issue, to_picoseconds(two_cores().device.launch));
}

TEST(Price, FallsBackToTheMeasuredMachinesRoofline) {
  // copy of 1e9 fp32: 8 GB at 0.8 of the profile's 10 GB/s.
  const Profile p = profile();
  Shape copy{Operator::copy, DType::fp32};
  copy.dims[0] = 1'000'000'000;
  const Table t = price(program_of({copy}), two_cores(), &p);
  EXPECT_EQ(t.entries[0].duration, to_picoseconds(Seconds{1.0}));
  EXPECT_EQ(t.sources[t.entries[0].source].grade, Grade::assumed);
}

TEST(Price, ChargesMeasuredCollectivesForTheCoresTheyHad) {
  // 4 ranks on 2 cores took turns while it was measured: each then demands half a core.
  Profile p = profile();
  p.collectives.push_back({"all_reduce", 4, Bytes{4096}, Seconds{1e-3}, 0.03, 20});
  Shape s{Operator::all_reduce, DType::fp32, 0};
  s.bytes = 4096;
  const Table t = price(program_of({s}, 4), two_cores(), &p);
  EXPECT_EQ(t.entries[0].duration.v, 1'000'000'000);
  EXPECT_EQ(t.entries[0].core_share, 32768U);
  EXPECT_EQ(t.sources[t.entries[0].source].name, "profile: two cores 2026-01-01: dp_comm");
}

}  // namespace
}  // namespace orrery::cost
