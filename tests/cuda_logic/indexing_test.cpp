// Where the CUDA kernels read and write, against the CPU kernels: every element is its own number, so that a move to the wrong place shows.
#include "executor/kernels/cuda/indexing.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <set>
#include <vector>

#include <algorithm>
#include <numeric>
#include <vector>

#include "executor/kernels/kernels.h"

namespace orrery::executor::cuda {
namespace {

using program::Operator;
using Floats = std::vector<float>;
using Integers = std::vector<std::int32_t>;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

Floats numbers(Index n) {
  Floats x(size(n));
  std::iota(x.begin(), x.end(), 1.F);
  return x;
}

template <class... Buffers>
void on_cpu(Operator op, std::array<Index, 9> dims, Buffers&... buffers) {
  static const std::unique_ptr<KernelSet> cpu = make_cpu_kernels();
  program::Shape shape;
  shape.op = op, shape.dims = dims;
  const std::array<void*, sizeof...(Buffers)> operands{buffers.data()...};
  const KernelSettings settings;
  cpu->run({shape, operands, settings});
}

RC_GTEST_PROP(CudaIndexing, PositionsAreThoseOfTheRuns, ()) {
  program::Runs runs;
  std::vector<Index> expected;
  const Index offset = *rc::gen::inRange(0, 100), count = *rc::gen::inRange(1, 20);
  for (Index i = 0; i < count; ++i) {
    runs.push_back({*rc::gen::inRange(0, 1000), *rc::gen::inRange(1, 9)});
    for (Index j = 0; j < runs.back().count; ++j) expected.push_back(offset + runs.back().first + j);
  }
  const Positions p = Positions::of(runs, offset, 0);
  for (std::size_t i = 0; i < expected.size(); ++i) RC_ASSERT(p.at(static_cast<Index>(i)) == expected[i]);
  RC_ASSERT(Positions::of({}, offset, 7).at(6) == offset + 6);
}

RC_GTEST_PROP(CudaIndexing, HeadsGoToThePartsThatTheCpuGivesThemTo, ()) {
  const Index parts = Index{1} << *rc::gen::inRange(0, 3), kv_heads = *rc::gen::element<Index>(1, 2, 4, 8), share = *rc::gen::inRange(1, 3);
  const Index q_heads = std::max(parts, kv_heads) * share;
  const HeadParts s{q_heads, kv_heads, *rc::gen::inRange(1, 4), *rc::gen::inRange(1, 4), parts};
  const std::array<Index, 9> dims{1, s.q_heads, s.kv_heads, s.qk_dim, s.v_dim, s.parts};
  Floats x = numbers(s.packed_width()), y(size(s.parts * s.part_width()));
  on_cpu(Operator::scatter_heads, dims, x, y);
  for (Index p = 0; p < parts; ++p)
    for (Index c = 0; c < s.part_width(); ++c) RC_ASSERT(y[size(p * s.part_width() + c)] == x[size(s.packed_column(p, c))]);
  // Holders are the inverse: the parts and columns that hold each element, all of them.
  Index held = 0;
  for (Index c = 0; c < s.packed_width(); ++c) {
    const HeadParts::Holders h = s.holders(c);
    for (Index p = h.first; p < h.first + h.count; ++p, ++held) RC_ASSERT(s.packed_column(p, h.column) == c);
  }
  RC_ASSERT(held == parts * s.part_width());
}

RC_GTEST_PROP(CudaIndexing, LatentColumnsComeFromWhereTheCpuTakesThem, ()) {
  // At position 0 nothing turns, so packing only moves.
  const Latent s{*rc::gen::inRange(1, 4), *rc::gen::inRange(1, 4), 2 * *rc::gen::inRange(1, 3), *rc::gen::inRange(1, 5)};
  Floats q = numbers(s.q_width()), kv = numbers(s.kv_width()), k_rope = numbers(s.rope), qkv(size(s.packed_width()));
  for (float& x : kv) x += 1000;
  for (float& x : k_rope) x += 2000;
  on_cpu(Operator::mla_pack_forward, {1, s.heads, s.nope, s.rope, s.v}, q, kv, k_rope, qkv);
  for (Index c = 0; c < s.packed_width(); ++c) {
    const Latent::Source from = s.source(c);
    const Floats& part = from.part == Latent::Part::q ? q : from.part == Latent::Part::kv ? kv : k_rope;
    RC_ASSERT(qkv[size(c)] == part[size(from.column)]);
    RC_ASSERT((from.rotated >= 0) == (from.part == Latent::Part::k_rope || (from.part == Latent::Part::q && c % s.qk() >= s.nope)));
  }
  for (Index c = 0; c < s.kv_width(); ++c) RC_ASSERT(qkv[size(s.packed_of_kv(c))] == kv[size(c)]);
}

RC_GTEST_PROP(CudaIndexing, ExpertsHaveThePlacesThatTheCpuCountsThemAt, ()) {
  const Index ep = *rc::gen::element<Index>(1, 2, 4), local = *rc::gen::inRange(1, 4), etp = *rc::gen::inRange(1, 4);
  Integers map(size(ep * local));
  std::iota(map.begin(), map.end(), 0);
  if (*rc::gen::arbitrary<bool>()) std::reverse(map.begin(), map.end());
  const ExpertPlaces p = ExpertPlaces::make(ep * local, ep, etp, 0, map);
  const Index expert = *rc::gen::inRange<Index>(0, p.experts);
  Integers chosen{static_cast<std::int32_t>(expert)}, index(size(etp)), counts(size(p.places()));
  program::Shape shape;
  shape.op = Operator::expert_sort, shape.dims = {1, 1, p.experts, ep, etp, 0};
  const std::array<void*, 3> operands{chosen.data(), index.data(), counts.data()};
  const KernelSettings settings;
  KernelContext context{shape, operands, settings};
  context.expert_places = map;
  make_cpu_kernels()->run(context);
  Integers expected(counts.size(), 0);
  for (Index shard = 0; shard < etp; ++shard) ++expected[size(p.place(expert, shard))];
  RC_ASSERT(counts == expected);
}

RC_GTEST_PROP(CudaIndexing, TilesCoverEachGroupsRowsOnce, ()) {
  const auto counts = *rc::gen::container<Integers>(*rc::gen::inRange(1, 12), rc::gen::inRange(0, 200));
  const auto groups = static_cast<Index>(counts.size()), tile = Index{64};
  const Index rows = std::accumulate(counts.begin(), counts.end(), Index{0});
  std::vector<Index> group_of, expected;
  for (Index g = 0; g < groups; ++g) expected.insert(expected.end(), size(counts[size(g)]), g);
  // As many tiles as the kernel launches: enough, however the rows fall to the groups.
  for (Index t = 0; t < (rows + tile - 1) / tile + groups; ++t) {
    const GroupTile at = group_tile(counts.data(), groups, t, tile);
    if (at.count == 0) continue;
    RC_ASSERT(at.row == static_cast<Index>(group_of.size()));
    for (Index row = at.row; row < std::min(at.row + tile, at.first + at.count); ++row) group_of.push_back(at.group);
  }
  RC_ASSERT(group_of == expected);
}

RC_GTEST_PROP(CudaIndexing, PartsOfARangeFollowEachOther, ()) {
  const Index items = *rc::gen::inRange(0, 10000), parts = *rc::gen::inRange(1, 300);
  Index end = 0;
  for (Index p = 0; p < parts; ++p) {
    const PartRange r = part_range(items, parts, p);
    RC_ASSERT(r.begin == end);
    RC_ASSERT(r.end - r.begin <= items / parts + 1);
    end = r.end;
  }
  RC_ASSERT(end == items);
}

// CUDA C++ Programming Guide, technical specifications per compute capability: a block may have 99 KB on 8.6 and 8.9, 163 KB on 8.0.
TEST(CudaIndexing, AttentionKnowsWhichHeadsFitADevicesSharedMemory) {
  constexpr Index kGeForce = 99 << 10, kA100 = 163 << 10;
  EXPECT_EQ(AttentionTiles::forward_bytes(256, 256), 98688);    // 4 · 32 · (2 · 256 + 1 + 256) + 8 · 32
  EXPECT_EQ(AttentionTiles::backward_bytes(256, 256), 131584);  // 4 · 32 · 2 · (256 + 256 + 1) + 8 · 32
  EXPECT_LE(AttentionTiles::forward_bytes(256, 256), kGeForce);
  EXPECT_GT(AttentionTiles::backward_bytes(256, 256), kGeForce);
  EXPECT_LE(AttentionTiles::backward_bytes(256, 256), kA100);
  EXPECT_LE(AttentionTiles::backward_bytes(192, 128), kGeForce);
}

// quantise.cu: what 256 threads write to a turned tile, each 8 words of 8 codes, is read once, in words of 16 bytes.
TEST(CudaIndexing, ATurnedTileIsWrittenAndReadOnce) {
  std::vector<int> written(Tile8::kSide * Tile8::kWords, 0), read = written;
  for (int thread = 0; thread < Tile8::kThreads; ++thread) {
    for (int j = 0; j < 8; ++j) ++written[static_cast<std::size_t>(Tile8::at(thread % 16 * 8 + j, thread / 16))];
    for (int i = 0; i < 4; ++i)
      for (int half = 0; half < 2; ++half) ++read[static_cast<std::size_t>(Tile8::at(thread / 8 + 32 * i, thread % 8 * 2 + half))];
  }
  for (std::size_t w = 0; w < written.size(); ++w) {
    EXPECT_EQ(written[w], 1) << w;
    EXPECT_EQ(read[w], 1) << w;
  }
}

// 16 threads at a time, words of 8 bytes: 16 places beside each other have all banks.
TEST(CudaIndexing, ThreadsThatWriteATurnedTileTogetherMeetNoBankTwice) {
  for (int word = 0; word < Tile8::kWords; ++word)
    for (int j = 0; j < 8; ++j) {
      std::set<int> banks;
      for (int group = 0; group < 16; ++group) banks.insert(Tile8::at(group * 8 + j, word) % 16);
      EXPECT_EQ(banks.size(), 16U);
    }
}

}  // namespace
}  // namespace orrery::executor::cuda
