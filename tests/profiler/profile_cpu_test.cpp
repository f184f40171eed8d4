#include "profiler/profile_cpu.h"

#include <gtest/gtest.h>

#include <set>

#include "core/profile_json.h"
#include "profiler/machine.h"

namespace orrery::profiler {
namespace {

using program::Operator;

ProfileGrid tiny() {
  ProfileGrid all = default_grid(), grid;
  std::set<Operator> seen;  // the first, smallest shape of every operator
  for (const OperatorItem& item : all.operators) {
    if (seen.insert(item.shape.op).second) grid.operators.push_back(item);
  }
  for (const Operator op : {Operator::all_reduce, Operator::reduce_scatter, Operator::all_gather, Operator::all_to_all, Operator::broadcast}) {
    for (const std::int64_t ranks : {2, 3}) {
      grid.collectives.push_back({op, ranks, 100});
      grid.collectives.push_back({op, ranks, 30000});
    }
  }
  grid.collectives.push_back({Operator::send, 2, 30000});
  return grid;
}

ProfileOptions quick() {
  ProfileOptions options;
  options.rule = {0.02, 3, 20, Seconds{1e-3}};
  options.cores = 2;
  options.footprint = 0;
  options.commit = "abc123";
  return options;
}

TEST(ProfileCpu, HasEveryEntryOfTheGridAloneAndBusy) {
  const ProfileGrid grid = tiny();
  std::int64_t calls = 0, total = 0;
  const Profile p = profile_cpu(grid, quick(), [&](const ProfileProgress& now) {
    EXPECT_EQ(now.done, calls);
    EXPECT_LE(now.done, now.total);
    ++calls;
    total = now.total;
  });
  EXPECT_EQ(calls, total + 1);

  std::size_t at = 0;
  for (const OperatorItem& item : grid.operators) {
    const bool load = item.shape.op == Operator::load_tokens || item.shape.op == Operator::load_targets;
    for (std::int64_t busy = 1; busy <= (load ? 1 : 2); ++busy) {  // tokens are loaded once in a while: alone says enough
      ASSERT_LT(at, p.operators.size());
      const OperatorMeasurement& m = p.operators[at++];
      EXPECT_EQ(m.op, program::name(item.shape.op));
      EXPECT_TRUE(std::equal(m.dims.begin(), m.dims.end(), item.shape.dims.begin()));
      EXPECT_EQ(m.busy, busy);
      EXPECT_GT(m.median.v, 0);
      EXPECT_GE(m.spread, 0);
      EXPECT_GE(m.count, 3);
      EXPECT_EQ(m.footprint.v > 0, !load);
    }
  }
  EXPECT_EQ(at, p.operators.size());
  EXPECT_TRUE(p.left_out.empty());
  EXPECT_GT(p.issue.v, 0);
  std::multiset<std::tuple<std::string, std::int64_t, std::int64_t>> expected, actual;
  for (const CollectiveItem& c : grid.collectives) {
    expected.emplace(c.op == Operator::send ? "send_recv" : std::string(program::name(c.op)), c.ranks, c.bytes);
  }
  for (const CollectiveMeasurement& m : p.collectives) {
    actual.emplace(m.op, m.ranks, m.bytes.v);
    EXPECT_GT(m.median.v, 0);
    EXPECT_GE(m.count, 3);
  }
  EXPECT_EQ(actual, expected);

  EXPECT_GT(p.peak.v, 1e8);  // a tenth of a multiplication per nanosecond
  EXPECT_GT(p.memory_bandwidth.v, 1e8);
  EXPECT_EQ(p.cores, 2);
  EXPECT_GT(p.memory.v, 0);
  EXPECT_EQ(p.commit, "abc123");
  for (const std::string& s : {p.device, p.clock, p.driver, p.date}) EXPECT_FALSE(s.empty());
  EXPECT_EQ(read_profile(write_profile(p), "profile.json"), p);
}

TEST(ProfileCpu, MeasuresEveryItemAtItsFootprintsAndOneSetOnlyOnce) {
  ProfileGrid grid;
  program::Shape copy;
  copy.op = Operator::copy;
  copy.dims = {1 << 18};  // 2 x 1 MiB a set: 4 MiB are two sets, 1 MiB is less than one, and so is 2 MiB
  grid.operators = {{copy, 2, {1 << 20, 2 << 20, 4 << 20}}};
  ProfileOptions options = quick();
  options.footprint = -1;
  const Profile p = profile_cpu(grid, options);
  std::vector<std::int64_t> footprints;
  for (const OperatorMeasurement& m : p.operators) footprints.push_back(m.footprint.v);
  EXPECT_EQ(footprints, (std::vector<std::int64_t>{2 << 20, 2 << 20, 4 << 20, 4 << 20}));  // alone and busy
}

TEST(ProfileCpu, NamesWhatThereWasNoTimeForAndMeasuresTheSmallestFirst) {
  ProfileGrid grid;
  program::Shape zero, product;
  zero.op = Operator::zero;
  zero.dims = {16};
  product.op = Operator::linear_forward;
  product.dims = {8192, 8192, 8192};  // five calls of 1.1 TFLOP: at a TFLOP/s a core still no time for it, whatever slows all the rest down
  grid.operators = {{product, 3, {}}, {zero, 1, {}}};
  grid.collectives = {{Operator::all_reduce, 2, std::int64_t{1} << 20}};
  ProfileOptions options = quick();
  options.limit = Seconds{5};
  const Profile p = profile_cpu(grid, options);
  ASSERT_EQ(p.operators.size(), 2U);
  EXPECT_EQ(p.operators[0].op, "zero");
  EXPECT_EQ(p.left_out, (std::vector<std::string>{"linear_forward 8192x8192x8192, 768 MiB in turn",
                                                  "linear_forward 8192x8192x8192 on 2 cores, 768 MiB in turn"}));
}

TEST(ProfileCpu, EndsWhereItIsCancelledWithWhatIsThere) {
  const ProfileGrid grid = tiny();
  for (const std::int64_t when : {0, 10, static_cast<int>(2 * grid.operators.size()) + 7}) {
    std::atomic<bool> cancel = false;
    std::int64_t last = 0;
    const Profile p = profile_cpu(
        grid, quick(),
        [&](const ProfileProgress& now) {
          last = now.done;
          if (now.done == when) cancel = true;
        },
        &cancel);
    EXPECT_EQ(last, when);
    EXPECT_LE(static_cast<std::int64_t>(p.operators.size() + p.collectives.size()), when);
    for (const auto& m : p.operators) EXPECT_GT(m.median.v, 0);
  }
}

TEST(Machine, ReadsTheFirstValueOfAKey) {
  const std::string text = "processor\t: 0\nmodel name\t: A Chip, 3 GHz: fast\ncpu MHz\t\t: 2596.1\nmodel name\t: another\nbare\nempty :\n";
  EXPECT_EQ(cpuinfo_value(text, "model name"), "A Chip, 3 GHz: fast");
  EXPECT_EQ(cpuinfo_value(text, "cpu MHz"), "2596.1");
  EXPECT_EQ(cpuinfo_value(text, "model"), "");
  EXPECT_EQ(cpuinfo_value(text, "empty"), "");
}

TEST(Machine, SaysWhenInIso8601) {
  const std::string date = this_machine().date;
  ASSERT_EQ(date.size(), 20U);  // 2026-01-31T23:59:59Z
  EXPECT_EQ(date[10], 'T');
  EXPECT_EQ(date[19], 'Z');
}

}  // namespace
}  // namespace orrery::profiler
