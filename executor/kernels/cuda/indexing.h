// Where things lie, for host and device alike: what tests/cuda_logic holds against the CPU kernels without a GPU.
#pragma once

#include <cassert>
#include <span>

#include "executor/kernels/cuda/portable.h"
#include "program/positions.h"

namespace orrery::executor::cuda {

// Positions of rows (of each sample), small enough to be a kernel's argument.
struct Positions {
  static constexpr int kMost = 128;  // a zigzag share of 64 ranks, all gathered
  int runs = 0;
  Index begin[kMost]{}, first[kMost]{};

  // All of `rows` from position `offset` on where there are no runs. Requires at most kMost runs (see fits).
  static Positions of(std::span<const program::Run> runs, Index offset, Index rows) {
    Positions p;
    const program::Run whole{0, rows};
    Index row = 0;
    for (const program::Run& run : runs.empty() ? std::span(&whole, 1) : runs) {
      assert(p.runs < kMost);
      p.begin[p.runs] = row, p.first[p.runs] = offset + run.first;
      ++p.runs;
      row += run.count;
    }
    return p;
  }
  static bool fits(std::span<const program::Run> runs) { return runs.size() <= static_cast<std::size_t>(kMost); }

  ORRERY_PORTABLE Index at(Index row) const {
    int low = 0, high = runs - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (begin[middle] <= row)
        low = middle;
      else
        high = middle - 1;
    }
    return first[low] + row - begin[low];
  }
};

// scatter_heads, gather_heads: packed rows [q | k | v] and the rows of each part.
struct HeadParts {
  Index q_heads, kv_heads, qk_dim, v_dim, parts;

  ORRERY_PORTABLE Index part_kv_heads() const { return kv_heads == 0 ? 0 : kv_heads < parts ? 1 : kv_heads / parts; }
  ORRERY_PORTABLE Index packed_width() const { return q_heads * qk_dim + kv_heads * (qk_dim + v_dim); }
  ORRERY_PORTABLE Index part_width() const { return q_heads / parts * qk_dim + part_kv_heads() * (qk_dim + v_dim); }

  // The column of the packed row that is column `c` of part `p`.
  ORRERY_PORTABLE Index packed_column(Index p, Index c) const {
    const Index q = q_heads / parts, kv = part_kv_heads(), head = p * kv_heads / parts;
    if (c < q * qk_dim) return p * q * qk_dim + c;
    c -= q * qk_dim;
    if (c < kv * qk_dim) return (q_heads + head) * qk_dim + c;
    return (q_heads + kv_heads) * qk_dim + head * v_dim + c - kv * qk_dim;
  }

  // The parts that have column `c` of the packed row, and which of theirs it is.
  struct Holders {
    Index first, count, column;
  };
  ORRERY_PORTABLE Holders holders(Index c) const {
    const Index q = q_heads / parts, kv = part_kv_heads();
    if (c < q_heads * qk_dim) {
      const Index p = c / (q * qk_dim);
      return {p, 1, c - p * q * qk_dim};
    }
    c -= q_heads * qk_dim;
    const bool value = c >= kv_heads * qk_dim;
    if (value) c -= kv_heads * qk_dim;
    const Index dim = value ? v_dim : qk_dim, head = c / dim, within = c - head * dim, before = q * qk_dim + (value ? kv * qk_dim : 0);
    if (kv_heads >= parts) return {head / kv, 1, before + head % kv * dim + within};
    const Index begin = (head * parts + kv_heads - 1) / kv_heads, end = ((head + 1) * parts + kv_heads - 1) / kv_heads;
    return {begin, end - begin, before + within};
  }
};

// mla_pack_*: the packed row [q heads | k heads | v heads] and where each of its columns comes from.
struct Latent {
  Index heads, nope, rope, v;

  ORRERY_PORTABLE Index qk() const { return nope + rope; }
  ORRERY_PORTABLE Index q_width() const { return heads * qk(); }
  ORRERY_PORTABLE Index kv_width() const { return heads * (nope + v); }
  ORRERY_PORTABLE Index packed_width() const { return 2 * q_width() + heads * v; }

  enum class Part { q, kv, k_rope };
  struct Source {
    Part part;
    Index column;   // of the part's row
    Index rotated;  // its number among the rotated columns of a head, or -1
  };
  ORRERY_PORTABLE Source source(Index c) const {
    if (c < q_width()) {
      const Index i = c % qk();
      return {Part::q, c, i < nope ? -1 : i - nope};
    }
    c -= q_width();
    if (c < q_width()) {
      const Index head = c / qk(), i = c - head * qk();
      if (i >= nope) return {Part::k_rope, i - nope, i - nope};
      return {Part::kv, head * (nope + v) + i, -1};
    }
    c -= q_width();
    const Index head = c / v;
    return {Part::kv, head * (nope + v) + nope + c - head * v, -1};
  }
  // The column of the packed row that column `c` of the kv row becomes.
  ORRERY_PORTABLE Index packed_of_kv(Index c) const {
    const Index head = c / (nope + v), i = c - head * (nope + v);
    return i < nope ? q_width() + head * qk() + i : 2 * q_width() + head * v + i - nope;
  }
};

// Where expert_sort counts copies for an expert's shard: by (ep rank, etp rank, its expert). A kernel's argument, so that the map needs no memory.
struct ExpertPlaces {
  static constexpr Index kMost = 1024;  // experts
  Index experts = 0, ep = 1, etp = 1, capacity = 0;
  bool mapped = false;  // otherwise an expert's place is its number
  std::uint16_t of[kMost]{};

  // Requires at most kMost experts.
  static ExpertPlaces make(Index experts, Index ep, Index etp, Index capacity, std::span<const std::int32_t> map) {
    assert(experts <= kMost && (map.empty() || static_cast<Index>(map.size()) == experts));
    ExpertPlaces p;
    p.experts = experts, p.ep = ep, p.etp = etp, p.capacity = capacity, p.mapped = !map.empty();
    for (std::size_t e = 0; e < map.size(); ++e) p.of[e] = static_cast<std::uint16_t>(map[e]);
    return p;
  }
  ORRERY_PORTABLE Index places() const { return experts * etp; }
  ORRERY_PORTABLE Index at(Index expert) const { return mapped ? of[expert] : expert; }
  ORRERY_PORTABLE Index place(Index expert, Index shard) const {
    const Index local = experts / ep, e = at(expert);
    return e / local * local * etp + e % local + shard * local;
  }
};

// Elements between neighbours in a buffer of queries, keys or values.
struct Strides {
  Index position, sample, head;
  ORRERY_PORTABLE Index at(Index row, Index of_sample, Index of_head) const { return row * position + of_sample * sample + of_head * head; }
};

// What a block of attention.cu needs of shared memory: in fp32, tiles of so many rows of the queries, keys and values, going back of the result's
// gradient too; those that lanes read across are one element wider. And the positions of its own rows.
struct AttentionTiles {
  static constexpr Index kRows = 32;
  static constexpr Index forward_floats(Index qk_dim, Index v_dim) { return kRows * (2 * qk_dim + 1 + v_dim); }
  static constexpr Index backward_floats(Index qk_dim, Index v_dim) { return kRows * 2 * (qk_dim + v_dim + 1); }
  static constexpr Index forward_bytes(Index qk_dim, Index v_dim) { return 4 * forward_floats(qk_dim, v_dim) + 8 * kRows; }
  static constexpr Index backward_bytes(Index qk_dim, Index v_dim) { return 4 * backward_floats(qk_dim, v_dim) + 8 * kRows; }
};

// A tile of 128 x 128 codes in shared memory by columns, in words of 8 codes of neighbouring rows. Words of a column are stirred by its group of 8
// columns: 16 threads that write the same word of 16 groups meet no bank twice, nor do those that read a column.
struct Tile8 {
  static constexpr int kSide = 128, kWords = kSide / 8, kThreads = 256;
  ORRERY_PORTABLE static int at(int column, int word) { return column * kWords + (word ^ (column / 8 % kWords)); }
};

// One tile of a grouped product: `group` has rows [first, first + count) of all, of which the tile begins at `row`; count 0: no such tile.
struct GroupTile {
  Index group, first, row, count;
};
// Tiles go round the groups in order, each group beginning with a tile of its own.
ORRERY_PORTABLE GroupTile group_tile(const std::int32_t* counts, Index groups, Index tile, Index rows_of_tile) {
  Index first = 0;
  for (Index g = 0; g < groups; ++g) {
    const Index tiles = (counts[g] + rows_of_tile - 1) / rows_of_tile;
    if (tile < tiles) return {g, first, first + tile * rows_of_tile, counts[g]};
    tile -= tiles;
    first += counts[g];
  }
  return {0, 0, 0, 0};
}

// A range of `items` in about equal parts: deterministic sums are made of parts whose number depends on the arguments alone.
struct PartRange {
  Index begin, end;
};
ORRERY_PORTABLE PartRange part_range(Index items, Index parts, Index part) { return {items * part / parts, items * (part + 1) / parts}; }

}  // namespace orrery::executor::cuda
