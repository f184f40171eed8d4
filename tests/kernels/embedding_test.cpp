#include <gtest/gtest.h>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;

executor::KernelSettings shard(std::int64_t offset) {
  executor::KernelSettings s;
  s.vocab_offset = offset;
  return s;
}

TEST(KernelEmbedding, ShardsSumToTheWholeTable) {
  const std::int64_t tokens = 11, hidden = 5, vocab = 12;
  const Floats table = random_floats(vocab * hidden, 1);
  const auto token = random_tokens(tokens, static_cast<std::int32_t>(vocab), 2);
  for (const std::int64_t shards : {1, 2, 4}) {
    const std::int64_t rows = vocab / shards;
    Floats sum(at(tokens * hidden), 0.F);
    for (std::int64_t s = 0; s < shards; ++s) {
      const Floats local(table.begin() + s * rows * hidden, table.begin() + (s + 1) * rows * hidden);
      Floats x = poison(tokens * hidden);
      Call{Operator::embedding_forward, {tokens, hidden, rows}, shard(s * rows)}(token, local, x);
      for (std::size_t i = 0; i < x.size(); ++i) sum[i] += x[i];
    }
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t h = 0; h < hidden; ++h) EXPECT_EQ(sum[at(t * hidden + h)], table[at(token[at(t)] * hidden + h)]);
    }
  }
}

TEST(KernelEmbedding, BackwardAddsEachTokensGradientToItsRow) {
  const std::vector<std::int32_t> token{4, 9, 4, 2};  // 4 twice; 9 and 2 belong to other shards
  const Floats dx{1, 2, 3, 4, 5, 6, 7, 8};
  Floats d_table{100, 100, 200, 200, 300, 300};  // rows of tokens 3, 4, 5
  Call{Operator::embedding_backward, {4, 2, 3}, shard(3)}(token, dx, d_table);
  EXPECT_EQ(d_table, (Floats{100, 100, 206, 208, 300, 300}));  // 200 + 1 + 5, 200 + 2 + 6
}

TEST(KernelPosition, RowsOfAShardStartAtItsOffset) {
  // micro-batch 2: rows 0 and 1 are position 1, rows 2 and 3 position 2
  executor::KernelSettings s;
  s.micro_batch = 2;
  const Floats table{0, 0, 10, 11, 20, 21};
  Floats x{1, 1, 2, 2, 3, 3, 4, 4};
  Call{Operator::position_forward, {4, 2}, s, 1}(table, x);
  EXPECT_EQ(x, (Floats{11, 12, 12, 13, 23, 24, 24, 25}));
  Floats d_table{0, 0, 0, 0, 0, 5};
  Call{Operator::position_backward, {4, 2}, s, 1}(Floats{1, 2, 3, 4, 5, 6, 7, 8}, d_table);
  EXPECT_EQ(d_table, (Floats{0, 0, 4, 6, 12, 19}));
}

}  // namespace
}  // namespace orrery
