// What every Communicator must do, as a typed test suite: an implementation instantiates it with a type that can run a body on every rank.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "core/error.h"
#include "executor/communicator.h"

namespace orrery::executor {

// World is default-constructible and has
//   void run(std::int64_t ranks, const std::function<void(Communicator&)>& body);
// which makes a fresh world, calls `body` once per rank (of those that live in this process), at the same time, and rethrows what a body threw.
template <class World>
class CommunicatorConformance : public testing::Test {
 protected:
  using Op = program::Operator;

  static std::vector<std::int64_t> everybody(std::int64_t n) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    return all;
  }
  // What rank `rank` brings at place i of operation `salt`: no two alike, of both signs, and not exactly representable sums in fp32.
  static float value(std::int64_t rank, std::int64_t i, std::int64_t salt = 0) {
    const std::int64_t mixed = (rank * 7919 + i * 104729 + salt * 1299709) % 20011;
    return static_cast<float>(mixed - 10005) * 0.37F;
  }
  static std::vector<float> values(std::int64_t rank, std::int64_t n, std::int64_t salt = 0) {
    std::vector<float> v(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) v[static_cast<std::size_t>(i)] = value(rank, i, salt);
    return v;
  }
  // The definition: summed in double in member order, rounded once.
  static std::vector<float> summed(const std::vector<std::int64_t>& members, std::int64_t n, std::int64_t salt = 0) {
    std::vector<float> v(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (const std::int64_t m : members) sum += static_cast<double>(value(m, i, salt));
      v[static_cast<std::size_t>(i)] = static_cast<float>(sum);
    }
    return v;
  }
  static CommOperation operation(Op op, const std::vector<std::int64_t>& members, std::int64_t elements, const void* in, void* out,
                                 std::uint8_t stream = 1) {
    CommOperation o;
    o.op = op;
    o.elements = elements;
    o.input = in;
    o.output = out;
    o.members = members;
    o.stream = stream;
    return o;
  }
  static CommOperation message(Op op, std::int64_t me, const std::int64_t (&pair)[2], std::vector<float>& data, std::uint8_t stream,
                               std::uint8_t channel) {
    EXPECT_EQ(pair[0], me);
    CommOperation o;
    o.op = op;
    o.elements = static_cast<std::int64_t>(data.size());
    o.input = o.output = data.data();
    o.members = pair;
    o.stream = stream;
    o.channel = channel;
    return o;
  }
  void run(std::int64_t ranks, const std::function<void(Communicator&)>& body) { World{}.run(ranks, body); }
  // Small enough to be done in one go, odd, a multiple of nothing, and large.
  static constexpr std::int64_t kSizes[] = {0, 1, 5, 17, 1021, 5003, 40961};
};
TYPED_TEST_SUITE_P(CommunicatorConformance);

TYPED_TEST_P(CommunicatorConformance, AllReduceSumsInDoubleInMemberOrderAndGivesEveryMemberTheSameBits) {
  using T = TestFixture;
  for (std::int64_t n = 1; n <= 8; ++n)
    this->run(n, [&](Communicator& c) {
      const auto all = T::everybody(n);
      for (const std::int64_t size : T::kSizes) {
        const std::vector<float> in = T::values(c.rank(), size);
        std::vector<float> out(in.size(), -1), in_place = in;
        c.wait(c.start(T::operation(program::Operator::all_reduce, all, size, in.data(), out.data())));
        EXPECT_EQ(out, T::summed(all, size));
        EXPECT_EQ(in, T::values(c.rank(), size));
        c.wait(c.start(T::operation(program::Operator::all_reduce, all, size, in_place.data(), in_place.data())));
        EXPECT_EQ(in_place, out);
      }
    });
}

TYPED_TEST_P(CommunicatorConformance, AllReduceOfDoublesAndIntegers) {
  using T = TestFixture;
  this->run(3, [&](Communicator& c) {
    const auto all = T::everybody(3);
    double x = 0.1 * static_cast<double>(c.rank() + 1);
    CommOperation o = T::operation(program::Operator::all_reduce, all, 1, &x, &x);
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

TYPED_TEST_P(CommunicatorConformance, AllReduceMaxTakesTheGreatestAndKeepsNaN) {
  using T = TestFixture;
  for (std::int64_t n = 1; n <= 8; ++n)
    this->run(n, [&](Communicator& c) {
      const auto all = T::everybody(n);
      for (const std::int64_t size : T::kSizes) {
        std::vector<float> x = T::values(c.rank(), size);
        c.wait(c.start(T::operation(program::Operator::all_reduce_max, all, size, x.data(), x.data())));
        for (std::int64_t i = 0; i < size; ++i) {
          float most = T::value(0, i);
          for (std::int64_t r = 1; r < n; ++r) most = std::max(most, T::value(r, i));
          ASSERT_EQ(x[static_cast<std::size_t>(i)], most);
        }
      }
      float nan = c.rank() == n - 1 ? std::numeric_limits<float>::quiet_NaN() : 1.0F;
      c.wait(c.start(T::operation(program::Operator::all_reduce_max, all, 1, &nan, &nan)));
      EXPECT_TRUE(std::isnan(nan));
    });
}

TYPED_TEST_P(CommunicatorConformance, ReduceScatterLeavesEveryMemberItsShard) {
  using T = TestFixture;
  for (std::int64_t n = 1; n <= 8; ++n)
    this->run(n, [&](Communicator& c) {
      const auto all = T::everybody(n);
      for (const std::int64_t shard : T::kSizes) {
        const auto begin = static_cast<std::size_t>(shard * c.rank());
        const std::vector<float> whole = T::values(c.rank(), shard * n), sum = T::summed(all, shard * n);
        std::vector<float> mine(static_cast<std::size_t>(shard)), in_place = whole;
        c.wait(c.start(T::operation(program::Operator::reduce_scatter, all, shard * n, whole.data(), mine.data())));
        c.wait(c.start(T::operation(program::Operator::reduce_scatter, all, shard * n, in_place.data(), in_place.data() + begin)));
        for (std::size_t i = 0; i < mine.size(); ++i) {
          ASSERT_EQ(mine[i], sum[begin + i]);
          ASSERT_EQ(in_place[begin + i], sum[begin + i]);
        }
      }
    });
}

TYPED_TEST_P(CommunicatorConformance, AllGatherPutsTheShardsInMemberOrder) {
  using T = TestFixture;
  for (std::int64_t n = 1; n <= 8; ++n)
    this->run(n, [&](Communicator& c) {
      const auto all = T::everybody(n);
      for (const std::int64_t shard : T::kSizes) {
        const auto begin = static_cast<std::size_t>(shard * c.rank());
        const std::vector<float> mine = T::values(c.rank(), shard);
        std::vector<float> whole(static_cast<std::size_t>(shard * n)), in_place(whole.size());
        std::copy(mine.begin(), mine.end(), in_place.begin() + static_cast<std::ptrdiff_t>(begin));
        c.wait(c.start(T::operation(program::Operator::all_gather, all, shard * n, mine.data(), whole.data())));
        c.wait(c.start(T::operation(program::Operator::all_gather, all, shard * n, in_place.data() + begin, in_place.data())));
        std::vector<float> expected;
        for (std::int64_t r = 0; r < n; ++r)
          for (std::int64_t i = 0; i < shard; ++i) expected.push_back(T::value(r, i));
        EXPECT_EQ(whole, expected);
        EXPECT_EQ(in_place, expected);
      }
    });
}

TYPED_TEST_P(CommunicatorConformance, AllToAllTransposesBlocks) {
  using T = TestFixture;
  for (std::int64_t n = 1; n <= 8; ++n)
    this->run(n, [&](Communicator& c) {
      const auto all = T::everybody(n);
      for (const std::int64_t block : T::kSizes) {
        const std::vector<float> out = T::values(c.rank(), block * n);
        std::vector<float> in(out.size()), expected;
        c.wait(c.start(T::operation(program::Operator::all_to_all, all, block, out.data(), in.data())));
        for (std::int64_t r = 0; r < n; ++r)
          for (std::int64_t i = 0; i < block; ++i) expected.push_back(T::value(r, c.rank() * block + i));
        EXPECT_EQ(in, expected);
      }
    });
}

TYPED_TEST_P(CommunicatorConformance, BroadcastCopiesFromTheRoot) {
  using T = TestFixture;
  for (std::int64_t n = 1; n <= 8; ++n)
    this->run(n, [&](Communicator& c) {
      const auto all = T::everybody(n);
      for (const std::int64_t size : T::kSizes) {
        std::vector<float> x = T::values(c.rank(), size);
        CommOperation o = T::operation(program::Operator::broadcast, all, size, x.data(), x.data());
        o.root = n / 2;
        c.wait(c.start(o));
        EXPECT_EQ(x, T::values(n / 2, size));
      }
    });
}

TYPED_TEST_P(CommunicatorConformance, NothingGoesOnUntilEverybodyHasReachedABarrier) {
  using T = TestFixture;
  this->run(4, [&](Communicator& c) {
    const auto all = T::everybody(4);
    for (int round = 0; round < 20; ++round) {
      const CommTimes t = c.wait(c.start(T::operation(program::Operator::all_reduce, all, 0, nullptr, nullptr)));
      EXPECT_LE(t.start_ns, t.arrived_ns);
      EXPECT_LE(t.arrived_ns, t.end_ns);
      // Nobody's barrier ends before the last one has come to it.
      double last = static_cast<double>(t.start_ns), first_end = -static_cast<double>(t.end_ns);
      CommOperation o = T::operation(program::Operator::all_reduce_max, all, 1, &last, &last);
      o.dtype = DType::fp64;
      c.wait(c.start(o));
      o.input = o.output = &first_end;
      c.wait(c.start(o));
      EXPECT_GE(-first_end, last);
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, SendMeetsReceiveWhicheverComesFirst) {
  using T = TestFixture;
  for (const std::int64_t size : T::kSizes)
    for (const bool sender_first : {true, false})
      this->run(2, [&](Communicator& c) {
        const std::vector<std::int64_t> all{0, 1};
        const std::int64_t me = c.rank(), pair[2] = {me, 1 - me};
        const bool waits_first = (me == 0) != sender_first;
        const CommOperation barrier = T::operation(program::Operator::all_reduce, all, 0, nullptr, nullptr, 9);
        if (waits_first) c.wait(c.start(barrier));
        std::vector<float> data = me == 0 ? T::values(0, size) : std::vector<float>(static_cast<std::size_t>(size));
        const Ticket t = c.start(T::message(me == 0 ? program::Operator::send : program::Operator::recv, me, pair, data, 2, 0));
        if (!waits_first) c.wait(c.start(barrier));
        c.wait(t);
        EXPECT_EQ(data, T::values(0, size));
      });
}

TYPED_TEST_P(CommunicatorConformance, MessagesOfAChannelMeetInOrderAndChannelsDoNotMix) {
  using T = TestFixture;
  this->run(3, [&](Communicator& c) {
    const std::int64_t me = c.rank(), next[2] = {me, (me + 1) % 3}, before[2] = {me, (me + 2) % 3};
    constexpr std::int64_t kMessages = 25;
    std::vector<std::vector<float>> out, in;
    for (std::int64_t k = 0; k < 2 * kMessages; ++k) {
      const std::int64_t size = (k / 2) % 3 == 0 ? 5003 : 11;
      out.push_back(T::values(me, size, k));
      in.emplace_back(static_cast<std::size_t>(size));
    }
    std::vector<Ticket> tickets;
    for (std::int64_t k = 0; k < 2 * kMessages; ++k) {
      const auto channel = static_cast<std::uint8_t>(k % 2);
      tickets.push_back(
          c.start(T::message(program::Operator::send, me, next, out[static_cast<std::size_t>(k)], static_cast<std::uint8_t>(2 + channel), channel)));
    }
    for (const int channel : {1, 0})  // the other way round than they were sent
      for (std::int64_t k = channel; k < 2 * kMessages; k += 2)
        tickets.push_back(c.start(T::message(program::Operator::recv, me, before, in[static_cast<std::size_t>(k)],
                                             static_cast<std::uint8_t>(4 + channel), static_cast<std::uint8_t>(channel))));
    for (const Ticket t : tickets) c.wait(t);
    for (std::int64_t k = 0; k < 2 * kMessages; ++k)
      EXPECT_EQ(in[static_cast<std::size_t>(k)], T::values(before[1], static_cast<std::int64_t>(in[static_cast<std::size_t>(k)].size()), k));
  });
}

TYPED_TEST_P(CommunicatorConformance, ManyOperationsInFlightOnSeveralStreamsKeepTheirOrderOnEach) {
  using T = TestFixture;
  constexpr std::int64_t kRanks = 4, kCount = 60;
  this->run(kRanks, [&](Communicator& c) {
    const auto all = T::everybody(kRanks);
    std::vector<std::vector<float>> data;
    std::vector<Ticket> tickets;
    for (std::int64_t k = 0; k < kCount; ++k) data.push_back(T::values(c.rank(), k % 4 == 0 ? 4097 : 33, k));
    for (std::int64_t k = 0; k < kCount; ++k) {
      auto& d = data[static_cast<std::size_t>(k)];
      tickets.push_back(c.start(T::operation(program::Operator::all_reduce, all, static_cast<std::int64_t>(d.size()), d.data(), d.data(),
                                             static_cast<std::uint8_t>(1 + k % 3))));
    }
    std::vector<CommTimes> times(static_cast<std::size_t>(kCount));
    for (std::int64_t k = kCount; k-- > 0;) times[static_cast<std::size_t>(k)] = c.wait(tickets[static_cast<std::size_t>(k)]);
    for (std::size_t k = 0; k < data.size(); ++k) {
      EXPECT_EQ(data[k], T::summed(all, static_cast<std::int64_t>(data[k].size()), static_cast<std::int64_t>(k)));
      if (k >= 3) {
        EXPECT_LE(times[k - 3].end_ns, times[k].start_ns);
      }
      EXPECT_EQ(c.wait(tickets[k]).end_ns, times[k].end_ns);  // waiting twice is allowed
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, AnOperationTouchesItsBuffersOnlyAfterItsTickets) {
  using T = TestFixture;
  // Three operations on three streams, each working on what the one before left: x -> sum -> shards of the sum -> the sum again.
  for (const std::int64_t shard : {3, 2501})
    this->run(4, [&](Communicator& c) {
      const auto all = T::everybody(4);
      const std::int64_t n = shard * 4;
      std::vector<float> x = T::values(c.rank(), n), mine(static_cast<std::size_t>(shard)), whole(x.size());
      std::vector<float> expected = T::summed(all, n);
      const Ticket a = c.start(T::operation(program::Operator::all_reduce, all, n, x.data(), x.data(), 1));
      CommOperation scatter = T::operation(program::Operator::reduce_scatter, all, n, x.data(), mine.data(), 2);
      scatter.after = {a};
      const Ticket b = c.start(scatter);
      CommOperation gather = T::operation(program::Operator::all_gather, all, n, mine.data(), whole.data(), 3);
      gather.after = {Ticket{}, a, b};
      c.wait(c.start(gather));
      for (float& e : expected) e = static_cast<float>(4.0 * static_cast<double>(e));
      EXPECT_EQ(whole, expected);
    });
  // A send waits for its tickets too.
  for (const std::int64_t n : {7, 5003})
    this->run(2, [&](Communicator& c) {
      const std::vector<std::int64_t> all{0, 1};
      const std::int64_t me = c.rank(), pair[2] = {me, 1 - me};
      std::vector<float> x = T::values(me, n), got(x.size());
      const Ticket in = c.start(T::message(program::Operator::recv, me, pair, got, 2, 0));
      const Ticket sum = c.start(T::operation(program::Operator::all_reduce, all, n, x.data(), x.data(), 1));
      CommOperation out = T::message(program::Operator::send, me, pair, x, 3, 0);
      out.after = {sum};
      c.wait(c.start(out));
      c.wait(in);
      EXPECT_EQ(got, T::summed(all, n));
    });
}

TYPED_TEST_P(CommunicatorConformance, OverlappingGroupsDoNotDisturbEachOther) {
  using T = TestFixture;
  // A 2 x 4 grid: rows (tp) and columns (dp) at once, on streams of their own.
  this->run(8, [&](Communicator& c) {
    const std::int64_t row = c.rank() / 2, column = c.rank() % 2;
    const std::vector<std::int64_t> tp{row * 2, row * 2 + 1}, dp{column, column + 2, column + 4, column + 6};
    std::vector<std::vector<float>> a, b;
    for (std::int64_t k = 0; k < 20; ++k) {
      a.push_back(T::values(c.rank(), 1500 + k, k));
      b.push_back(T::values(c.rank(), 900 + k, -k));
    }
    std::vector<Ticket> tickets;
    for (std::size_t k = 0; k < a.size(); ++k) {
      tickets.push_back(
          c.start(T::operation(program::Operator::all_reduce, dp, static_cast<std::int64_t>(b[k].size()), b[k].data(), b[k].data(), 2)));
      c.wait(c.start(T::operation(program::Operator::all_reduce, tp, static_cast<std::int64_t>(a[k].size()), a[k].data(), a[k].data(), 1)));
    }
    for (const Ticket t : tickets) c.wait(t);
    for (std::size_t k = 0; k < a.size(); ++k) {
      EXPECT_EQ(a[k], T::summed(tp, static_cast<std::int64_t>(a[k].size()), static_cast<std::int64_t>(k)));
      EXPECT_EQ(b[k], T::summed(dp, static_cast<std::int64_t>(b[k].size()), -static_cast<std::int64_t>(k)));
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, RandomProgramsAgreeWithTheDefinition) {
  using T = TestFixture;
  for (unsigned seed = 1; seed <= 12; ++seed)
    this->run(1 + seed % 8, [&](Communicator& c) {
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
        p.data = T::values(c.rank(), size, p.salt);
        p.ticket = c.start(T::operation(program::Operator::all_reduce, p.members, size, p.data.data(), p.data.data(), stream));
        if (blocks) c.wait(p.ticket);
      }
      for (const Pending& p : pending) {
        c.wait(p.ticket);
        if (p.ticket.v == 0) continue;
        EXPECT_EQ(p.data, T::summed(p.members, static_cast<std::int64_t>(p.data.size()), p.salt)) << "operation " << p.salt;
      }
    });
}

TYPED_TEST_P(CommunicatorConformance, AbortWakesEverybodyWithTheReason) {
  using T = TestFixture;
  for (const std::int64_t size : {1, 5003})
    this->run(4, [&](Communicator& c) {
      const auto all = T::everybody(4);
      std::vector<float> x = T::values(c.rank(), size);
      c.wait(c.start(T::operation(program::Operator::all_reduce, all, size, x.data(), x.data())));
      if (c.rank() == 2) {
        c.abort("rank 2 ran out of tape");
      } else {
        try {
          c.wait(c.start(T::operation(program::Operator::all_reduce, all, size, x.data(), x.data())));
          ADD_FAILURE() << "rank " << c.rank() << " was not told";
        } catch (const Error& e) {
          EXPECT_EQ(e.message(), "rank 2 ran out of tape");
        }
      }
    });
}

TYPED_TEST_P(CommunicatorConformance, AfterAnAbortEverythingFailsAndWhatWasCompleteStaysSo) {
  using T = TestFixture;
  this->run(2, [&](Communicator& c) {
    const std::vector<std::int64_t> all{0, 1};
    float x = 1;
    const Ticket done = c.start(T::operation(program::Operator::all_reduce, all, 1, &x, &x));
    c.wait(done);
    c.abort("enough");
    EXPECT_THROW(c.wait(c.start(T::operation(program::Operator::all_reduce, all, 1, &x, &x))), Error);
    EXPECT_THROW(c.wait(c.start(T::operation(program::Operator::all_reduce, all, 1, &x, &x, 7))), Error);
    EXPECT_NO_THROW(c.wait(done));
    EXPECT_EQ(x, 2);
  });
}

REGISTER_TYPED_TEST_SUITE_P(CommunicatorConformance, AllReduceSumsInDoubleInMemberOrderAndGivesEveryMemberTheSameBits, AllReduceOfDoublesAndIntegers,
                            AllReduceMaxTakesTheGreatestAndKeepsNaN, ReduceScatterLeavesEveryMemberItsShard, AllGatherPutsTheShardsInMemberOrder,
                            AllToAllTransposesBlocks, BroadcastCopiesFromTheRoot, NothingGoesOnUntilEverybodyHasReachedABarrier,
                            SendMeetsReceiveWhicheverComesFirst, MessagesOfAChannelMeetInOrderAndChannelsDoNotMix,
                            ManyOperationsInFlightOnSeveralStreamsKeepTheirOrderOnEach, AnOperationTouchesItsBuffersOnlyAfterItsTickets,
                            OverlappingGroupsDoNotDisturbEachOther, RandomProgramsAgreeWithTheDefinition, AbortWakesEverybodyWithTheReason,
                            AfterAnAbortEverythingFailsAndWhatWasCompleteStaysSo);

}  // namespace orrery::executor
