// Communication between ranks that share a GPU, against its definition.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "executor/kernels/cuda/launches.h"
#include "executor/kernels/low_precision.h"
#include "executor/kernels/narrow.h"

namespace orrery::executor::cuda {
namespace {

constexpr int kMembers = 3;

// Each member's numbers, stored as `type`, and what they are then.
struct Inputs {
  std::vector<std::vector<std::byte>> stored;
  std::vector<std::vector<float>> values;
};
Inputs inputs(DType type, Index n) {
  Inputs out;
  std::mt19937_64 engine(1);
  std::normal_distribution<float> normal;
  for (int k = 0; k < kMembers; ++k) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& v : x) v = normal(engine);
    std::vector<std::byte> bytes(static_cast<std::size_t>(bytes_of(type, n)));
    narrow(type, n, x.data(), bytes.data());
    widen(type, n, bytes.data(), x.data());
    out.stored.push_back(std::move(bytes)), out.values.push_back(std::move(x));
  }
  return out;
}

std::vector<std::byte> expected(DType type, const Inputs& in, bool greatest) {
  const std::size_t n = in.values[0].size();
  std::vector<float> sums(n);
  for (std::size_t i = 0; i < n; ++i) {
    double value = static_cast<double>(in.values[0][i]);
    for (int k = 1; k < kMembers; ++k) {
      const auto next = static_cast<double>(in.values[static_cast<std::size_t>(k)][i]);
      value = greatest ? std::max(value, next) : value + next;
    }
    sums[i] = type == DType::fp32 ? static_cast<float>(value) : to_odd(value);
  }
  std::vector<std::byte> out(static_cast<std::size_t>(bytes_of(type, static_cast<Index>(n))));
  narrow(type, static_cast<Index>(n), sums.data(), out.data());
  return out;
}

TEST(SharedDevice, ReducesInPlaceOrIntoShards) {
  for (const DType type : {DType::fp32, DType::bf16, DType::fp16})
    for (const bool greatest : {false, true})
      for (const Index n : {Index{1}, Index{3 * 700}}) {
        Inputs in = inputs(type, n);
        const std::vector<std::byte> all = expected(type, in, greatest);
        const Index shard = n / kMembers, bytes = bytes_of(type, shard);
        Ends ends{};
        ends.members = kMembers;
        std::vector<std::vector<std::byte>> shards(kMembers, std::vector<std::byte>(static_cast<std::size_t>(bytes)));
        for (std::size_t k = 0; k < kMembers; ++k) ends.in[k] = in.stored[k].data(), ends.out[k] = shards[k].data();
        if (shard > 0) {
          reduce_shared(nullptr, type, ends, n, shard, greatest);
          for (std::size_t k = 0; k < kMembers; ++k)
            EXPECT_EQ(std::memcmp(shards[k].data(), all.data() + static_cast<std::size_t>(bytes) * k, static_cast<std::size_t>(bytes)), 0);
        }
        for (std::size_t k = 0; k < kMembers; ++k) ends.out[k] = in.stored[k].data();
        reduce_shared(nullptr, type, ends, n, 0, greatest);
        for (const auto& x : in.stored) EXPECT_EQ(x, all);
      }
}

TEST(SharedDevice, MovesTheRowsThatCountsSay) {
  constexpr Index kPerRank = 2;
  for (const Index row_bytes : {Index{48}, Index{20}, Index{7}}) {
    // Rows of member s for expert e of member t: (s + 2 t + e) % 4, each filled with a number of its own.
    std::vector<std::vector<std::int32_t>> counts(kMembers);
    std::vector<std::vector<std::uint8_t>> sent(kMembers), received(kMembers), wanted(kMembers);
    std::uint8_t number = 0;
    for (int s = 0; s < kMembers; ++s)
      for (int t = 0; t < kMembers; ++t)
        for (int e = 0; e < kPerRank; ++e) {
          const int rows = (s + 2 * t + e) % 4;
          counts[static_cast<std::size_t>(s)].push_back(rows);
          sent[static_cast<std::size_t>(s)].insert(sent[static_cast<std::size_t>(s)].end(), static_cast<std::size_t>(rows * row_bytes), ++number);
          wanted[static_cast<std::size_t>(t)].insert(wanted[static_cast<std::size_t>(t)].end(), static_cast<std::size_t>(rows * row_bytes), number);
        }
    Ends ends{};
    EndCounts by{};
    ends.members = kMembers, by.per_rank = kPerRank, by.row_bytes = row_bytes;
    for (std::size_t k = 0; k < kMembers; ++k) {
      received[k].assign(wanted[k].size(), 0);
      ends.in[k] = sent[k].data(), ends.out[k] = received[k].data(), by.of[k] = counts[k].data();
      by.room[k] = static_cast<Index>(wanted[k].size()) / row_bytes, by.rank[k] = static_cast<std::int32_t>(10 * k);
    }
    std::vector<Overflow> overflows(kMostSharing);
    move_by_count(nullptr, ends, by, overflows.data());
    for (const Overflow& o : overflows) EXPECT_EQ(o.rank, 0);
    EXPECT_EQ(received, wanted);

    by.room[1] -= 1;  // says who has no room, and writes nothing there
    received[1].assign(wanted[1].size(), 0);
    move_by_count(nullptr, ends, by, overflows.data());
    EXPECT_EQ(overflows[10].rank, 11);
    EXPECT_EQ(overflows[10].rows, by.room[1] + 1);
    EXPECT_EQ(overflows[10].room, by.room[1]);
    EXPECT_EQ(received[1], std::vector<std::uint8_t>(wanted[1].size(), 0));
  }
}

}  // namespace
}  // namespace orrery::executor::cuda
