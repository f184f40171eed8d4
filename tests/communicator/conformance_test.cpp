// What every Communicator must do: compiled once, and linked with each implementation's run_on_ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "executor/kernels/narrow.h"
#include "support/communicator_under_test.h"

namespace orrery::executor {
namespace {

std::vector<std::int64_t> everybody(std::int64_t n) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return all;
}
// What rank `rank` brings at place i of operation `salt`: no two alike, of both signs, and not exactly representable sums in fp32.
float value(std::int64_t rank, std::int64_t i, std::int64_t salt = 0) {
  const std::int64_t mixed = (rank * 7919 + i * 104729 + salt * 1299709) % 20011;
  return static_cast<float>(mixed - 10005) * 0.37F;
}
std::vector<float> values(std::int64_t rank, std::int64_t n, std::int64_t salt = 0) {
  std::vector<float> v(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) v[static_cast<std::size_t>(i)] = value(rank, i, salt);
  return v;
}
// The definition: summed in double in member order, rounded once.
std::vector<float> summed(const std::vector<std::int64_t>& members, std::int64_t n, std::int64_t salt = 0) {
  std::vector<float> v(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (const std::int64_t m : members) sum += static_cast<double>(value(m, i, salt));
    v[static_cast<std::size_t>(i)] = static_cast<float>(sum);
  }
  return v;
}
// Small enough to be done in one go, odd, a multiple of nothing, and large.
constexpr std::int64_t kSizes[] = {0, 1, 5, 17, 1021, 5003, 40961};

TEST(Communicator, AllReduceSumsInDoubleInMemberOrderAndGivesEveryMemberTheSameBits) {
  for (std::int64_t n = 1; n <= 8; ++n)
    run_on_ranks(n, [&](Communicator& c) {
      const auto all = everybody(n);
      for (const std::int64_t size : kSizes) {
        const std::vector<float> in = values(c.rank(), size);
        std::vector<float> out(in.size(), -1), in_place = in;
        c.wait(c.start(operation(program::Operator::all_reduce, all, size, in.data(), out.data())));
        EXPECT_EQ(out, summed(all, size));
        EXPECT_EQ(in, values(c.rank(), size));
        c.wait(c.start(operation(program::Operator::all_reduce, all, size, in_place.data(), in_place.data())));
        EXPECT_EQ(in_place, out);
      }
    });
}

TEST(Communicator, AllReduceOfDoublesAndIntegers) {
  run_on_ranks(3, [&](Communicator& c) {
    const auto all = everybody(3);
    double x = 0.1 * static_cast<double>(c.rank() + 1);
    CommOperation o = operation(program::Operator::all_reduce, all, 1, &x, &x);
    o.dtype = DType::fp64;
    c.wait(c.start(o));
    EXPECT_EQ(x, 0.1 * 1 + 0.1 * 2 + 0.1 * 3);
    std::vector<std::int32_t> k(3001, static_cast<std::int32_t>(c.rank()) - 2);
    o.input = o.output = k.data();
    o.elements = 3001;
    o.dtype = DType::int32;
    c.wait(c.start(o));
    EXPECT_EQ(k, std::vector<std::int32_t>(3001, -3));  // -2 - 1 + 0
  });
}

// 1 + 2^-8 + 2^-20: step by step in bf16 each is lost beside 1; their sum is nearer to 1 + 2^-7. In fp16 1 + 2^-11 + 2^-20, of a last bit 2^-10.
TEST(Communicator, SumsOfSixteenBitsAreRoundedOnce) {
  for (const auto& [type, small, size] : {std::tuple{DType::bf16, 0x1p-8F, 1}, {DType::fp16, 0x1p-11F, 1}, {DType::bf16, 0x1p-8F, 3000}})
    run_on_ranks(3, [&, type = type, small = small, size = size](Communicator& c) {
      const auto all = everybody(3);
      const auto code = [&](float x) { return type == DType::bf16 ? to_bf16(x) : to_fp16(x); };
      const float mine = c.rank() == 0 ? 1.F : c.rank() == 1 ? small : 0x1p-20F;
      std::vector<std::uint16_t> x(static_cast<std::size_t>(size), code(mine));
      CommOperation o = operation(program::Operator::all_reduce, all, size, x.data(), x.data());
      o.dtype = type;
      c.wait(c.start(o));
      EXPECT_EQ(x, std::vector<std::uint16_t>(x.size(), code(1 + 2 * small)));
      // 1 + 2 + 3, of which each keeps a third.
      std::vector<std::uint16_t> whole(static_cast<std::size_t>(3 * size), code(static_cast<float>(c.rank() + 1))),
          part(static_cast<std::size_t>(size));
      o = operation(program::Operator::reduce_scatter, all, 3 * size, whole.data(), part.data());
      o.dtype = type;
      c.wait(c.start(o));
      EXPECT_EQ(part, std::vector<std::uint16_t>(part.size(), code(6)));
    });
}

TEST(Communicator, AllReduceMaxTakesTheGreatestAndKeepsNaN) {
  for (std::int64_t n = 1; n <= 8; ++n)
    run_on_ranks(n, [&](Communicator& c) {
      const auto all = everybody(n);
      for (const std::int64_t size : kSizes) {
        std::vector<float> x = values(c.rank(), size);
        c.wait(c.start(operation(program::Operator::all_reduce_max, all, size, x.data(), x.data())));
        for (std::int64_t i = 0; i < size; ++i) {
          float most = value(0, i);
          for (std::int64_t r = 1; r < n; ++r) most = std::max(most, value(r, i));
          ASSERT_EQ(x[static_cast<std::size_t>(i)], most);
        }
      }
      float nan = c.rank() == n - 1 ? std::numeric_limits<float>::quiet_NaN() : 1.0F;
      c.wait(c.start(operation(program::Operator::all_reduce_max, all, 1, &nan, &nan)));
      EXPECT_TRUE(std::isnan(nan));
    });
}

TEST(Communicator, ReduceScatterLeavesEveryMemberItsShard) {
  for (std::int64_t n = 1; n <= 8; ++n)
    run_on_ranks(n, [&](Communicator& c) {
      const auto all = everybody(n);
      for (const std::int64_t shard : kSizes) {
        const auto begin = static_cast<std::size_t>(shard * c.rank());
        const std::vector<float> whole = values(c.rank(), shard * n), sum = summed(all, shard * n);
        std::vector<float> mine(static_cast<std::size_t>(shard)), in_place = whole;
        c.wait(c.start(operation(program::Operator::reduce_scatter, all, shard * n, whole.data(), mine.data())));
        c.wait(c.start(operation(program::Operator::reduce_scatter, all, shard * n, in_place.data(), in_place.data() + begin)));
        for (std::size_t i = 0; i < mine.size(); ++i) {
          ASSERT_EQ(mine[i], sum[begin + i]);
          ASSERT_EQ(in_place[begin + i], sum[begin + i]);
        }
      }
    });
}

TEST(Communicator, AllGatherPutsTheShardsInMemberOrder) {
  for (std::int64_t n = 1; n <= 8; ++n)
    run_on_ranks(n, [&](Communicator& c) {
      const auto all = everybody(n);
      for (const std::int64_t shard : kSizes) {
        const auto begin = static_cast<std::size_t>(shard * c.rank());
        const std::vector<float> mine = values(c.rank(), shard);
        std::vector<float> whole(static_cast<std::size_t>(shard * n)), in_place(whole.size());
        std::copy(mine.begin(), mine.end(), in_place.begin() + static_cast<std::ptrdiff_t>(begin));
        c.wait(c.start(operation(program::Operator::all_gather, all, shard * n, mine.data(), whole.data())));
        c.wait(c.start(operation(program::Operator::all_gather, all, shard * n, in_place.data() + begin, in_place.data())));
        std::vector<float> expected;
        for (std::int64_t r = 0; r < n; ++r)
          for (std::int64_t i = 0; i < shard; ++i) expected.push_back(value(r, i));
        EXPECT_EQ(whole, expected);
        EXPECT_EQ(in_place, expected);
      }
    });
}

TEST(Communicator, AllToAllTransposesBlocks) {
  for (std::int64_t n = 1; n <= 8; ++n)
    run_on_ranks(n, [&](Communicator& c) {
      const auto all = everybody(n);
      for (const std::int64_t block : kSizes) {
        const std::vector<float> out = values(c.rank(), block * n);
        std::vector<float> in(out.size()), expected;
        c.wait(c.start(operation(program::Operator::all_to_all, all, block, out.data(), in.data())));
        for (std::int64_t r = 0; r < n; ++r)
          for (std::int64_t i = 0; i < block; ++i) expected.push_back(value(r, c.rank() * block + i));
        EXPECT_EQ(in, expected);
      }
    });
}

// Rank r has (3 r + 5 s + k) % 4 rows of kind k for rank s.
TEST(Communicator, AllToAllOfRowsTakesWhatTheCountsOfEachSenderSay) {
  constexpr std::int64_t kKinds = 2;
  const auto rows = [](std::int64_t from, std::int64_t to, std::int64_t kind) { return (3 * from + 5 * to + kind) % 4; };
  for (std::int64_t n = 1; n <= 5; ++n)
    for (const std::int64_t width : {1, 700})
      run_on_ranks(n, [&](Communicator& c) {
        const auto all = everybody(n);
        const auto before = [&](std::int64_t from, std::int64_t to) {  // rows that `from` has for ranks below `to`
          std::int64_t sum = 0;
          for (std::int64_t s = 0; s < to; ++s)
            for (std::int64_t k = 0; k < kKinds; ++k) sum += rows(from, s, k);
          return sum;
        };
        std::vector<std::int32_t> counts;
        for (std::int64_t s = 0; s < n; ++s)
          for (std::int64_t k = 0; k < kKinds; ++k) counts.push_back(static_cast<std::int32_t>(rows(c.rank(), s, k)));
        std::vector<float> expected;
        for (std::int64_t r = 0; r < n; ++r)
          for (std::int64_t i = before(r, c.rank()) * width; i < before(r, c.rank() + 1) * width; ++i) expected.push_back(value(r, i));
        const std::vector<float> out = values(c.rank(), before(c.rank(), n) * width);
        std::vector<float> in(expected.size(), -1);
        CommOperation o = operation(program::Operator::all_to_all_by_count, all, 4 * width, out.data(), in.data());
        o.counts = counts.data();
        o.counts_per_rank = kKinds;
        o.width = width;
        o.room = static_cast<std::int64_t>(in.size()) / width;
        c.wait(c.start(o));
        EXPECT_EQ(in, expected);
      });
}

// More rows than there is room for are refused before any is written.
TEST(Communicator, AllToAllByCountFailsWhereRowsFindNoRoom) {
  run_on_ranks(2, [&](Communicator& c) {
    const auto all = everybody(2);
    const std::vector<std::int32_t> counts{1, 2};  // rank 1 is sent 4 rows
    const std::vector<float> out = values(c.rank(), 3);
    std::vector<float> in(3, -1);
    CommOperation o = operation(program::Operator::all_to_all_by_count, all, 3, out.data(), in.data());
    o.counts = counts.data(), o.counts_per_rank = 1, o.width = 1, o.room = 3;
    try {
      c.wait(c.start(o));
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& e) {
      EXPECT_EQ(e.message(), "rank 1 is sent 4 rows, but has room for 3: routing is not that of moe.load; moe.room 'all' has room for any");
    }
    EXPECT_EQ(in, (std::vector<float>{-1, -1, -1}));
  });
}

TEST(Communicator, RotateGivesEveryMemberWhatTheOneBeforeItSent) {
  for (std::int64_t n = 1; n <= 8; ++n)
    run_on_ranks(n, [&](Communicator& c) {
      const auto all = everybody(n);
      for (const std::int64_t size : kSizes) {
        const std::vector<float> out = values(c.rank(), size);
        std::vector<float> in(out.size());
        c.wait(c.start(operation(program::Operator::rotate, all, size, out.data(), in.data())));
        EXPECT_EQ(in, values((c.rank() + n - 1) % n, size));
      }
    });
}

TEST(Communicator, BroadcastCopiesFromTheRoot) {
  for (std::int64_t n = 1; n <= 8; ++n)
    run_on_ranks(n, [&](Communicator& c) {
      const auto all = everybody(n);
      for (const std::int64_t size : kSizes) {
        std::vector<float> x = values(c.rank(), size);
        CommOperation o = operation(program::Operator::broadcast, all, size, x.data(), x.data());
        o.root = n / 2;
        c.wait(c.start(o));
        EXPECT_EQ(x, values(n / 2, size));
      }
    });
}

TEST(Communicator, NothingGoesOnUntilEverybodyHasReachedABarrier) {
  run_on_ranks(4, [&](Communicator& c) {
    const auto all = everybody(4);
    for (int round = 0; round < 20; ++round) {
      const CommTimes t = c.wait(c.start(operation(program::Operator::all_reduce, all, 0, nullptr, nullptr)));
      EXPECT_LE(t.start_ns, t.arrived_ns);
      EXPECT_LE(t.arrived_ns, t.end_ns);
      // Nobody's barrier ends before the last one has come to it.
      double last = static_cast<double>(t.start_ns), first_end = -static_cast<double>(t.end_ns);
      CommOperation o = operation(program::Operator::all_reduce_max, all, 1, &last, &last);
      o.dtype = DType::fp64;
      c.wait(c.start(o));
      o.input = o.output = &first_end;
      c.wait(c.start(o));
      EXPECT_GE(-first_end, last);
    }
  });
}

TEST(Communicator, SendMeetsReceiveWhicheverComesFirst) {
  for (const std::int64_t size : kSizes)
    for (const bool sender_first : {true, false})
      run_on_ranks(2, [&](Communicator& c) {
        const std::vector<std::int64_t> all{0, 1};
        const std::int64_t me = c.rank(), pair[2] = {me, 1 - me};
        const bool waits_first = (me == 0) != sender_first;
        const CommOperation barrier = operation(program::Operator::all_reduce, all, 0, nullptr, nullptr, 9);
        if (waits_first) c.wait(c.start(barrier));
        std::vector<float> data = me == 0 ? values(0, size) : std::vector<float>(static_cast<std::size_t>(size));
        const Ticket t = c.start(message(me == 0 ? program::Operator::send : program::Operator::recv, me, pair, data, 2, 0));
        if (!waits_first) c.wait(c.start(barrier));
        c.wait(t);
        EXPECT_EQ(data, values(0, size));
      });
}

TEST(Communicator, MessagesOfAChannelMeetInOrderAndChannelsDoNotMix) {
  run_on_ranks(3, [&](Communicator& c) {
    const std::int64_t me = c.rank(), next[2] = {me, (me + 1) % 3}, before[2] = {me, (me + 2) % 3};
    constexpr std::int64_t kMessages = 25;
    std::vector<std::vector<float>> out, in;
    for (std::int64_t k = 0; k < 2 * kMessages; ++k) {
      const std::int64_t size = (k / 2) % 3 == 0 ? 5003 : 11;
      out.push_back(values(me, size, k));
      in.emplace_back(static_cast<std::size_t>(size));
    }
    std::vector<Ticket> tickets;
    for (std::int64_t k = 0; k < 2 * kMessages; ++k) {
      const auto channel = static_cast<std::uint8_t>(k % 2);
      tickets.push_back(
          c.start(message(program::Operator::send, me, next, out[static_cast<std::size_t>(k)], static_cast<std::uint8_t>(2 + channel), channel)));
    }
    for (const int channel : {1, 0})  // the other way round than they were sent
      for (std::int64_t k = channel; k < 2 * kMessages; k += 2)
        tickets.push_back(c.start(message(program::Operator::recv, me, before, in[static_cast<std::size_t>(k)],
                                          static_cast<std::uint8_t>(4 + channel), static_cast<std::uint8_t>(channel))));
    for (const Ticket t : tickets) c.wait(t);
    for (std::int64_t k = 0; k < 2 * kMessages; ++k)
      EXPECT_EQ(in[static_cast<std::size_t>(k)], values(before[1], static_cast<std::int64_t>(in[static_cast<std::size_t>(k)].size()), k));
  });
}

TEST(Communicator, ManyOperationsInFlightOnSeveralStreamsKeepTheirOrderOnEach) {
  constexpr std::int64_t kRanks = 4, kCount = 60;
  run_on_ranks(kRanks, [&](Communicator& c) {
    const auto all = everybody(kRanks);
    std::vector<std::vector<float>> data;
    std::vector<Ticket> tickets;
    for (std::int64_t k = 0; k < kCount; ++k) data.push_back(values(c.rank(), k % 4 == 0 ? 4097 : 33, k));
    for (std::int64_t k = 0; k < kCount; ++k) {
      auto& d = data[static_cast<std::size_t>(k)];
      tickets.push_back(c.start(operation(program::Operator::all_reduce, all, static_cast<std::int64_t>(d.size()), d.data(), d.data(),
                                          static_cast<std::uint8_t>(1 + k % 3))));
    }
    std::vector<CommTimes> times(static_cast<std::size_t>(kCount));
    for (std::int64_t k = kCount; k-- > 0;) times[static_cast<std::size_t>(k)] = c.wait(tickets[static_cast<std::size_t>(k)]);
    for (std::size_t k = 0; k < data.size(); ++k) {
      EXPECT_EQ(data[k], summed(all, static_cast<std::int64_t>(data[k].size()), static_cast<std::int64_t>(k)));
      if (k >= 3) {
        EXPECT_LE(times[k - 3].end_ns, times[k].start_ns);
      }
      EXPECT_EQ(c.wait(tickets[k]).end_ns, times[k].end_ns);  // waiting twice is allowed
    }
  });
}

TEST(Communicator, AnOperationTouchesItsBuffersOnlyAfterItsTickets) {
  // Three operations on three streams, each working on what the one before left: x -> sum -> shards of the sum -> the sum again.
  for (const std::int64_t shard : {3, 2501})
    run_on_ranks(4, [&](Communicator& c) {
      const auto all = everybody(4);
      const std::int64_t n = shard * 4;
      std::vector<float> x = values(c.rank(), n), mine(static_cast<std::size_t>(shard)), whole(x.size());
      std::vector<float> expected = summed(all, n);
      const Ticket a = c.start(operation(program::Operator::all_reduce, all, n, x.data(), x.data(), 1));
      CommOperation scatter = operation(program::Operator::reduce_scatter, all, n, x.data(), mine.data(), 2);
      scatter.after = {a};
      const Ticket b = c.start(scatter);
      CommOperation gather = operation(program::Operator::all_gather, all, n, mine.data(), whole.data(), 3);
      gather.after = {Ticket{}, a, b};
      c.wait(c.start(gather));
      for (float& e : expected) e = static_cast<float>(4.0 * static_cast<double>(e));
      EXPECT_EQ(whole, expected);
    });
  // A send waits for its tickets too.
  for (const std::int64_t n : {7, 5003})
    run_on_ranks(2, [&](Communicator& c) {
      const std::vector<std::int64_t> all{0, 1};
      const std::int64_t me = c.rank(), pair[2] = {me, 1 - me};
      std::vector<float> x = values(me, n), got(x.size());
      const Ticket in = c.start(message(program::Operator::recv, me, pair, got, 2, 0));
      const Ticket sum = c.start(operation(program::Operator::all_reduce, all, n, x.data(), x.data(), 1));
      CommOperation out = message(program::Operator::send, me, pair, x, 3, 0);
      out.after = {sum};
      c.wait(c.start(out));
      c.wait(in);
      EXPECT_EQ(got, summed(all, n));
    });
}

TEST(Communicator, OverlappingGroupsDoNotDisturbEachOther) {
  // A 2 x 4 grid: rows (tp) and columns (dp) at once, on streams of their own.
  run_on_ranks(8, [&](Communicator& c) {
    const std::int64_t row = c.rank() / 2, column = c.rank() % 2;
    const std::vector<std::int64_t> tp{row * 2, row * 2 + 1}, dp{column, column + 2, column + 4, column + 6};
    std::vector<std::vector<float>> a, b;
    for (std::int64_t k = 0; k < 20; ++k) {
      a.push_back(values(c.rank(), 1500 + k, k));
      b.push_back(values(c.rank(), 900 + k, -k));
    }
    std::vector<Ticket> tickets;
    for (std::size_t k = 0; k < a.size(); ++k) {
      tickets.push_back(c.start(operation(program::Operator::all_reduce, dp, static_cast<std::int64_t>(b[k].size()), b[k].data(), b[k].data(), 2)));
      c.wait(c.start(operation(program::Operator::all_reduce, tp, static_cast<std::int64_t>(a[k].size()), a[k].data(), a[k].data(), 1)));
    }
    for (const Ticket t : tickets) c.wait(t);
    for (std::size_t k = 0; k < a.size(); ++k) {
      EXPECT_EQ(a[k], summed(tp, static_cast<std::int64_t>(a[k].size()), static_cast<std::int64_t>(k)));
      EXPECT_EQ(b[k], summed(dp, static_cast<std::int64_t>(b[k].size()), -static_cast<std::int64_t>(k)));
    }
  });
}

TEST(Communicator, RandomProgramsAgreeWithTheDefinition) {
  for (unsigned seed = 1; seed <= 12; ++seed)
    run_on_ranks(1 + seed % 8, [&](Communicator& c) {
      const std::int64_t n = 1 + seed % 8;
      std::mt19937 random(seed);  // the same on every rank
      struct Pending {
        std::vector<float> data;
        std::vector<std::int64_t> members;
        Ticket ticket;
        std::int64_t salt;
      };
      std::vector<Pending> pending(40);
      std::int64_t salt = 0;
      for (Pending& p : pending) {
        const auto mask = 1U + static_cast<unsigned>(random()) % ((1U << n) - 1);
        const auto stream = static_cast<std::uint8_t>(1 + random() % 3);
        const auto size = static_cast<std::int64_t>(random() % 2 ? random() % 50 : random() % 5000);
        const bool blocks = random() % 4 == 0;
        p.salt = ++salt;
        for (std::int64_t r = 0; r < n; ++r)
          if (mask >> r & 1U) p.members.push_back(r);
        if (!(mask >> c.rank() & 1U)) continue;
        p.data = values(c.rank(), size, p.salt);
        p.ticket = c.start(operation(program::Operator::all_reduce, p.members, size, p.data.data(), p.data.data(), stream));
        if (blocks) c.wait(p.ticket);
      }
      for (const Pending& p : pending) {
        c.wait(p.ticket);
        if (p.ticket.v == 0) continue;
        EXPECT_EQ(p.data, summed(p.members, static_cast<std::int64_t>(p.data.size()), p.salt)) << "operation " << p.salt;
      }
    });
}

TEST(Communicator, AbortWakesEverybodyWithTheReason) {
  for (const std::int64_t size : {1, 5003})
    run_on_ranks(4, [&](Communicator& c) {
      const auto all = everybody(4);
      std::vector<float> x = values(c.rank(), size);
      c.wait(c.start(operation(program::Operator::all_reduce, all, size, x.data(), x.data())));
      // Rank 2 aborts when it knows that the others have completed it, too.
      std::vector<float> y(1);
      for (std::int64_t other = 0; other < 4; ++other) {
        if (other == 2 || (c.rank() != 2 && c.rank() != other)) continue;
        const std::int64_t pair[2] = {c.rank(), c.rank() == 2 ? other : 2};
        const Ticket told = c.start(message(c.rank() == 2 ? program::Operator::recv : program::Operator::send, c.rank(), pair, y, 2, 0));
        if (c.rank() == 2) c.wait(told);
      }
      if (c.rank() == 2) {
        c.abort("rank 2 ran out of tape");
      } else {
        try {
          c.wait(c.start(operation(program::Operator::all_reduce, all, size, x.data(), x.data())));
          ADD_FAILURE() << "rank " << c.rank() << " was not told";
        } catch (const Error& e) {
          EXPECT_EQ(e.message(), "rank 2 ran out of tape");
        }
      }
    });
}

TEST(Communicator, AfterAnAbortEverythingFailsAndWhatWasCompleteStaysSo) {
  run_on_ranks(2, [&](Communicator& c) {
    const std::vector<std::int64_t> all{0, 1};
    float x = 1;
    const Ticket done = c.start(operation(program::Operator::all_reduce, all, 1, &x, &x));
    c.wait(done);
    // Rank 0 aborts when it knows that rank 1 has completed it, too.
    const std::int64_t pair[2] = {c.rank(), 1 - c.rank()};
    std::vector<float> y(1);
    const Ticket told = c.start(message(c.rank() == 0 ? program::Operator::recv : program::Operator::send, c.rank(), pair, y, 2, 0));
    if (c.rank() == 0) {
      c.wait(told);
      c.abort("enough");
    }
    EXPECT_THROW(c.wait(c.start(operation(program::Operator::all_reduce, all, 1, &x, &x))), Error);
    EXPECT_THROW(c.wait(c.start(operation(program::Operator::all_reduce, all, 1, &x, &x, 7))), Error);
    EXPECT_NO_THROW(c.wait(done));
    EXPECT_EQ(x, 2);
  });
}

}  // namespace
}  // namespace orrery::executor
