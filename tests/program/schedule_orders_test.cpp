// Every recorded order, and what the recorded replays of it took: tests/program/data/README.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "program/schedules/replay.h"

namespace orrery::program {
namespace {

char letter(PassKind kind) {
  switch (kind) {
    case PassKind::forward:
      return 'F';
    case PassKind::backward:
      return 'B';
    case PassKind::input_grad:
      return 'I';
    case PassKind::weight_grad:
      return 'W';
    default:
      return '?';
  }
}

std::string in_letters(const Schedule& schedule, std::size_t rank) {
  std::string line = "order";
  for (const Pass& pass : schedule.order[rank]) {
    char separator = ' ';
    for_each_half(pass, [&](const Pass& half) {
      line += fmt::format("{}{}{}{}@{}", separator, letter(half.kind), half.microbatch, half.direction == 1 ? "'" : "",
                          stage_of(schedule, static_cast<std::int64_t>(rank), half.chunk));
      separator = '&';
    });
  }
  return line;
}

std::vector<std::int64_t> numbers(std::istringstream& line) {
  return {std::istream_iterator<std::int64_t>(line), std::istream_iterator<std::int64_t>()};
}

TEST(ScheduleOrders, OrdersTimesAndPeaksEqualTheRecordedReplays) {
  std::ifstream file(ORRERY_SOURCE_DIR "/tests/program/data/schedule_orders.txt");
  ASSERT_TRUE(file.is_open());
  Schedule schedule;
  Replay got;
  std::size_t rank = 0;
  int orders = 0, replays = 0, timed = 0;
  std::string text, word, where;
  while (std::getline(file, text)) {
    if (text.empty() || text.front() == '#') continue;
    std::istringstream line(text);
    line >> word;
    if (word == "schedule") {
      std::string name;
      ScheduleInput input;
      line >> name >> input.ranks >> input.microbatches >> input.chunks;
      schedule = make_schedule(name, input);
      where = text;
      rank = 0;
    } else if (word == "order") {
      ASSERT_LT(rank, schedule.order.size());
      EXPECT_EQ(in_letters(schedule, rank), text) << where;
      ++rank, ++orders;
    } else if (word == "costs") {
      PassCosts costs;
      std::int64_t pair = 0, makespan = 0;
      line >> costs.forward >> costs.input_grad >> costs.weight_grad >> pair >> costs.latency >> word >> makespan;
      costs.forward_backward = pair;
      got = replay(schedule, costs);
      where = fmt::format("{} {} {}, {}", schedule.name, schedule.ranks, schedule.microbatches, text);
      EXPECT_EQ(got.makespan, makespan) << where;
      rank = 0;
      ++replays;
    } else if (word == "busy") {
      EXPECT_EQ(got.busy, numbers(line)) << where;
    } else if (word == "peak_until_B") {
      EXPECT_EQ(got.peak_until_input_grad, numbers(line)) << where;
    } else if (word == "peak_until_W") {
      EXPECT_EQ(got.peak_until_weight_grad, numbers(line)) << where;
    } else {
      ASSERT_EQ(word, "times");
      std::string times = "times";
      for (const PassTimes& t : got.passes[rank]) times += fmt::format(" {}-{}", t.start, t.end);
      EXPECT_EQ(times, text) << where << ", rank " << rank;
      ++rank, ++timed;
    }
  }
  EXPECT_EQ(orders, 102);  // the ranks of 21 schedules
  EXPECT_EQ(replays, 84);  // each with 4 cost sets
  EXPECT_EQ(timed, 204);   // with two of them, every pass
}

}  // namespace
}  // namespace orrery::program
