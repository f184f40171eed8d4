#include "program/memory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "program/arena.h"
#include "support/program_fixtures.h"

namespace orrery::program {
namespace {

using namespace fixtures;

TEST(Arena, PutsABlockIntoTheLowestHoleThatHoldsIt) {
  Arena arena;
  const auto a = arena.allocate(100), b = arena.allocate(64), c = arena.allocate(1);  // rounded up to 128, 64, 64
  EXPECT_EQ(a, (Arena::Block{0, 128}));
  EXPECT_EQ(b, (Arena::Block{128, 64}));
  EXPECT_EQ(c, (Arena::Block{192, 64}));
  EXPECT_EQ(arena.live(), 256);
  arena.release(a);
  EXPECT_EQ(arena.allocate(64), (Arena::Block{0, 64}));
  EXPECT_EQ(arena.allocate(128), (Arena::Block{256, 128}));  // 64 bytes at 64 are free, too few
  EXPECT_EQ(arena.allocate(64), (Arena::Block{64, 64}));
  EXPECT_EQ(arena.high_water(), 384);
}

TEST(Arena, JoinsTheHolesOnBothSidesOfARelease) {
  Arena arena;
  const auto a = arena.allocate(64), b = arena.allocate(64), c = arena.allocate(64);
  (void)arena.allocate(64);
  arena.release(a);
  arena.release(c);
  arena.release(b);
  EXPECT_EQ(arena.allocate(192).offset, 0);
  EXPECT_EQ(arena.high_water(), 256);
}

TEST(Arena, EndsWhereItsLastBlockEnds) {
  Arena arena;
  const auto a = arena.allocate(64), b = arena.allocate(64), c = arena.allocate(64);
  arena.release(b);
  arena.release(c);  // the room of b is before it, so the next block starts at 64
  EXPECT_EQ(arena.allocate(1024).offset, 64);
  arena.release(a);
  EXPECT_EQ(arena.allocate(0), (Arena::Block{0, 0}));
}

// As if every gap between live blocks were looked at from the lowest on.
RC_GTEST_PROP(ArenaProperty, EachBlockGoesIntoTheLowestGapThatHoldsIt, ()) {
  Arena arena;
  std::map<std::int64_t, std::int64_t> live;  // offset -> bytes
  const auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(400, rc::gen::pair(rc::gen::inRange(0, 12), rc::gen::inRange(0, 1 << 20)));
  for (const auto& [what, pick] : steps) {
    if (what > 6 && !live.empty()) {
      const auto at = std::next(live.begin(), static_cast<std::ptrdiff_t>(static_cast<std::size_t>(pick) % live.size()));
      arena.release({at->first, at->second});
      live.erase(at);
      continue;
    }
    const std::int64_t bytes = Arena::kAlignment * (1 + pick % (what == 0 ? 60 : 5));
    std::int64_t lowest = 0;
    for (const auto& [offset, taken] : live) {
      if (offset - lowest >= bytes) break;
      lowest = offset + taken;
    }
    const Arena::Block block = arena.allocate(bytes);
    RC_ASSERT(block.offset == lowest);
    live.emplace(block.offset, block.bytes);
  }
}

RC_GTEST_PROP(ArenaProperty, LiveBlocksNeverOverlapAndTheHighWaterMarkBoundsThem, ()) {
  Arena arena, twin;
  std::vector<Arena::Block> live;
  const auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(rc::gen::pair(rc::gen::inRange(-50, 4000), rc::gen::inRange(0, 1 << 20)));
  for (const auto& [bytes, pick] : steps) {
    if (bytes > 1500 && !live.empty()) {
      const auto at = live.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(pick) % live.size());
      arena.release(*at);
      twin.release(*at);
      live.erase(at);
    } else {
      live.push_back(arena.allocate(std::max(bytes, 0)));
      RC_ASSERT(twin.allocate(std::max(bytes, 0)) == live.back());  // deterministic
      RC_ASSERT(live.back().bytes >= bytes && live.back().bytes < std::max(bytes, 0) + Arena::kAlignment);
    }
    std::vector<Arena::Block> sorted = live;
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes); });
    std::int64_t end = 0, total = 0;
    for (const Arena::Block& block : sorted) {
      RC_ASSERT(block.offset % Arena::kAlignment == 0);
      if (block.bytes == 0) continue;
      RC_ASSERT(block.offset >= end);
      end = block.offset + block.bytes;
      total += block.bytes;
    }
    RC_ASSERT(arena.live() == total);
    RC_ASSERT(arena.high_water() >= end);
    RC_ASSERT(arena.high_water() >= total);
  }
  for (const Arena::Block& block : live) arena.release(block);
  RC_ASSERT(arena.live() == 0);
  RC_ASSERT(arena.allocate(1 << 30).offset == 0);  // empty again: one block from the start
}

// W and dW: 2 · 256 bytes. Stage 0 holds x and y of both micro-batches at the linear of F1 (pass 1, instruction 1): 512 + 4 · 128 = 1024.
TEST(Memory, PeakIsWhereMostInstancesAreLive) {
  const Program p = two_stages();
  const MemoryReport got = memory(p, p.roles[0]);
  EXPECT_EQ(got.persistent, 512);
  EXPECT_EQ(got.peak_live, 1024);
  EXPECT_EQ(got.peak_pass, 1U);
  EXPECT_EQ(got.peak_instruction, 1U);
  EXPECT_EQ(got.arena, 1024);  // every size is a multiple of 64
  ASSERT_EQ(got.at_peak.size(), 4U);
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> at_peak;
  for (const BufferAtPeak& b : got.at_peak) at_peak[b.name] = {b.bytes, b.instances};
  const std::map<std::string, std::pair<std::int64_t, std::int64_t>> want{{"W", {256, 1}}, {"dW", {256, 1}}, {"x", {256, 2}}, {"y", {256, 2}}};
  EXPECT_EQ(at_peak, want);
  EXPECT_TRUE(std::is_sorted(got.at_peak.begin(), got.at_peak.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; }));
}

// Stage 1 holds one micro-batch at a time: x, y and dx. The weight gradient frees x and y at once, the release dx; the norm is 8 bytes.
TEST(Memory, TheCurveFollowsAllocationsAndFrees) {
  const Program p = two_stages();
  const MemoryReport got = memory(p, p.roles[1]);
  using S = MemoryReport::Step;
  const std::vector<S> want{S{0, 0, 640}, S{0, 1, 768}, S{1, 0, 896}, S{1, 1, 640}, S{2, 0, 512}, S{3, 0, 640},
                            S{3, 1, 768}, S{4, 0, 896}, S{4, 1, 640}, S{5, 0, 512}, S{6, 0, 520}, S{6, 3, 512}};
  EXPECT_EQ(got.curve, want);
  EXPECT_EQ(got.peak_live, 896);
}

TEST(Memory, AnAliasOwnsNothingAndItsMarksMeanItsOwner) {
  Program p = two_stages();
  RoleWriter w{&p, p.roles[0]};
  const std::uint32_t view = w.view("all of x", 3, 0, 32);
  p.roles[0] = w.role;
  access(p, 0, kForward, 0, 0).buffer = view;
  EXPECT_EQ(memory(p, p.roles[0]).curve, memory(two_stages(), two_stages().roles[0]).curve);
}

TEST(Memory, VersionsAreInstancesOfAPersistentBuffer) {
  Program p = two_stages();
  p.roles[0].buffers[0].versions = 3;
  EXPECT_EQ(memory(p, p.roles[0]).persistent, 512 + 2 * 256);
}

TEST(Memory, BuffersOfOneNameAreAddedUp) {
  Program p = two_stages();
  p.roles[0].buffers[4].name = "x";  // y
  const MemoryReport got = memory(p, p.roles[0]);
  ASSERT_EQ(got.at_peak.front().name, "x");
  EXPECT_EQ(got.at_peak.front().bytes, 512);
  EXPECT_EQ(got.at_peak.front().instances, 4);
}

TEST(Allocations, ViewsLieInsideTheirOwners) {
  Program p = two_stages();
  RoleWriter w{&p, p.roles[0]};
  const std::uint32_t quarter = w.view("third quarter of dW", 1, 32, 16);
  p.roles[0] = w.role;
  const Allocations allocations(p, p.roles[0]);
  EXPECT_EQ(allocations.offset(0, 0), 0);
  EXPECT_EQ(allocations.offset(1, 0), 256);
  EXPECT_EQ(allocations.offset(quarter, 1), 256 + 32 * 4);
  EXPECT_EQ(allocations.offset(3, 0), -1);
}

// A role whose passes allocate random buffers on the way forward and free them on the way back, in the order of 1F1B on the first of four stages.
RC_GTEST_PROP(MemoryProperty, WalkingTheInstructionsReachesTheReportedPeaks, ()) {
  Program program;
  program.microbatches = *rc::gen::inRange(1, 9);
  program.streams = {{"compute", StreamKind::compute}};
  RoleWriter w{&program, {}};
  const int buffers = *rc::gen::inRange(1, 7);
  w.buffer("parameters", Lifetime::persistent, *rc::gen::inRange(1, 1000));
  for (int b = 0; b < buffers; ++b) w.buffer(fmt::format("b{}", b), Lifetime::microbatch, *rc::gen::inRange(1, 1000));
  w.pass("forward", PassKind::forward);
  for (std::uint32_t b = 1; b <= static_cast<std::uint32_t>(buffers); ++b) w.compute(sized(Operator::zero, {1}), {first(write(b))});
  w.pass("backward", PassKind::backward);
  for (std::uint32_t b = static_cast<std::uint32_t>(buffers); b >= 1; --b) w.compute(sized(Operator::zero, {1}), {last(write(b))});
  const auto m = static_cast<std::uint16_t>(program.microbatches);
  const std::uint16_t ahead = std::min<std::uint16_t>(3, m);
  for (std::uint16_t i = 0; i < ahead; ++i) w.role.body.push_back({0, i});
  for (std::uint16_t i = 0; i < m; ++i) {
    if (i + ahead < m) w.role.body.push_back({0, static_cast<std::uint16_t>(i + ahead)});
    w.role.body.push_back({1, i});
  }
  const MemoryReport report = memory(program, w.role);

  Allocations walk(program, w.role);
  std::int64_t peak = walk.live();
  for (const PassInstance& pass : w.role.body)
    for (std::uint32_t i = 0; i < w.role.passes[pass.pass].count; ++i) {
      const Instruction& it = w.role.instructions[w.role.passes[pass.pass].first + i];
      walk.issue(it, pass.microbatch);
      peak = std::max(peak, walk.live());
      walk.complete(it, pass.microbatch);
    }
  RC_ASSERT(walk.live() == report.persistent);
  RC_ASSERT(report.peak_live == peak);
  RC_ASSERT(report.arena == walk.high_water());
  RC_ASSERT(report.arena >= report.peak_live);
  std::int64_t at_peak = 0, highest = report.persistent;
  for (const BufferAtPeak& b : report.at_peak) at_peak += b.bytes;
  for (const auto& step : report.curve) highest = std::max(highest, step.bytes);
  RC_ASSERT(at_peak == report.peak_live);
  RC_ASSERT(highest == report.peak_live);
  // min(4, m) micro-batches live at once on this rank.
  std::int64_t of_one = 0;
  for (std::size_t b = 1; b < w.role.buffers.size(); ++b) of_one += w.role.buffers[b].bytes;
  RC_ASSERT(report.peak_live == report.persistent + std::min<std::int64_t>(4, m) * of_one);
}

}  // namespace
}  // namespace orrery::program
