#include "profiler/profile_world.h"

#include <gtest/gtest.h>

#include <barrier>
#include <map>
#include <set>
#include <thread>

#include "core/error.h"

namespace orrery::profiler {
namespace {

using program::Operator;

WorldItem item(Operator op, std::int64_t ranks, std::int64_t bytes, std::int64_t nodes = 1, bool beside = false) {
  return {{op, ranks, bytes}, nodes, beside};
}

// Ranks whose operations take 10 us and a nanosecond per byte and member, in a time of their own; rank 1 is told of the end a microsecond later. Two
// processes exchange what they bring.
struct Exchange {
  explicit Exchange(std::ptrdiff_t processes) : meet(processes), brought(static_cast<std::size_t>(processes)) {}
  std::barrier<> meet;
  std::vector<std::string> brought;
};
class TimedWorld final : public executor::World {
 public:
  TimedWorld(std::int64_t ranks, std::vector<std::int64_t> here, std::int64_t process, Exchange* exchange)
      : ranks_(ranks), here_(std::move(here)), process_(process), exchange_(exchange), kernels_(executor::make_cpu_kernels()) {}
  std::int64_t ranks() const override { return ranks_; }
  std::vector<std::int64_t> here() const override { return here_; }
  bool has(const program::Shape& shape) const override { return kernels_->has(shape); }
  std::unique_ptr<executor::Device> device(std::int64_t) override { return executor::make_host_device(*kernels_); }
  std::unique_ptr<executor::Communicator> communicator(std::int64_t rank, executor::Device&) override;
  void abort(const std::string&) override { aborted = true; }
  std::int64_t process() const override { return process_; }
  std::vector<std::string> gather(const std::string& mine) override {
    if (!exchange_) return {mine};
    exchange_->brought[static_cast<std::size_t>(process_)] = mine;
    exchange_->meet.arrive_and_wait();
    std::vector<std::string> all = exchange_->brought;
    exchange_->meet.arrive_and_wait();
    return all;
  }
  std::atomic<bool> aborted = false;
  std::int64_t fails_at = -1;  // operation of rank 0

 private:
  std::int64_t ranks_;
  std::vector<std::int64_t> here_;
  std::int64_t process_;
  Exchange* exchange_;
  std::unique_ptr<executor::KernelSet> kernels_;
};

class TimedCommunicator final : public executor::Communicator {
 public:
  TimedCommunicator(TimedWorld& world, std::int64_t rank) : world_(world), rank_(rank) {}
  std::int64_t rank() const override { return rank_; }
  executor::Ticket start(const executor::CommOperation& o) override {
    if (rank_ == 0 && static_cast<std::int64_t>(times_.size()) == world_.fails_at) throw Error("link", "is down");
    const std::int64_t took = 10'000 + bytes_of(o.dtype, o.elements) * static_cast<std::int64_t>(o.members.size());
    const std::int64_t begin = now_;
    now_ += took;
    times_.push_back({begin - 500, begin - 100, now_ + (rank_ == 1 ? 1000 : 0)});
    return {times_.size()};
  }
  executor::CommTimes wait(executor::Ticket t) override { return times_.at(t.v - 1); }
  void abort(const std::string&) override {}

 private:
  TimedWorld& world_;
  std::int64_t rank_, now_ = 1'000'000;
  std::vector<executor::CommTimes> times_;
};
std::unique_ptr<executor::Communicator> TimedWorld::communicator(std::int64_t rank, executor::Device&) {
  return std::make_unique<TimedCommunicator>(*this, rank);
}

TEST(ProfileWorld, CountsWhatAnOperationTakesBehindTheOneBefore) {
  TimedWorld world(4, {0, 1, 2, 3}, 0, nullptr);
  // 4 KiB in bf16 on 4 ranks: 10 us + 4096 · 4 ns = 26.384 us; all_gather's bytes are the whole's; all_to_all's elements are one peer's: 10 us + 4096
  // ns
  const std::vector<WorldItem> items{item(Operator::all_reduce, 4, 4096), item(Operator::all_gather, 4, 4096), item(Operator::all_to_all, 4, 4096),
                                     item(Operator::send, 2, 4096), item(Operator::reduce_scatter, 2, 6)};
  const WorldProfile p = profile_world(world, items, {});
  ASSERT_EQ(p.collectives.size(), 5U);
  EXPECT_NEAR(p.collectives[0].median.v, 26.384e-6, 1e-12);
  EXPECT_NEAR(p.collectives[1].median.v, 26.384e-6, 1e-12);
  EXPECT_NEAR(p.collectives[2].median.v, 14.096e-6, 1e-12);
  EXPECT_EQ(p.collectives[3].op, "send_recv");
  EXPECT_NEAR(p.collectives[3].median.v, 10e-6 + 8192e-9, 1e-12);  // two ends
  EXPECT_NEAR(p.collectives[4].median.v, 10e-6 + 16e-9, 1e-12);    // three numbers on two ranks are rounded up to four
  for (const CollectiveMeasurement& m : p.collectives) EXPECT_GE(m.count, 14);
  EXPECT_TRUE(p.left_out.empty());
}

TEST(ProfileWorld, IsTheSameInEveryProcess) {
  Exchange exchange(2);
  TimedWorld first(4, {0, 1}, 0, &exchange), second(4, {2, 3}, 1, &exchange);
  // Within the first process alone, and one rank of each node of two; the second process has a rank of the latter only.
  const std::vector<WorldItem> items{item(Operator::all_reduce, 2, 1024), item(Operator::all_reduce, 2, 1024, 2),
                                     item(Operator::broadcast, 4, 1024, 2)};
  WorldProfileOptions options;
  options.node_size = 2;
  WorldProfile a, b;
  std::thread other([&] { b = profile_world(second, items, options); });
  a = profile_world(first, items, options);
  other.join();
  EXPECT_EQ(a.collectives, b.collectives);
  ASSERT_EQ(a.collectives.size(), 3U);
  EXPECT_EQ(a.collectives[0].nodes, 1);
  EXPECT_EQ(a.collectives[1].nodes, 2);
  EXPECT_NEAR(a.collectives[1].median.v, 10e-6 + 2048e-9, 1e-12);
}

TEST(ProfileWorld, EndsInAllProcessesWhenOneIsCancelled) {
  Exchange exchange(2);
  TimedWorld first(2, {0}, 0, &exchange), second(2, {1}, 1, &exchange);
  const std::vector<WorldItem> items{item(Operator::all_reduce, 2, 1024), item(Operator::all_gather, 2, 1024)};
  std::atomic<bool> cancel = false;
  WorldProfile a, b;
  std::thread other([&] {
    b = profile_world(
        second, items, {},
        [&](const ProfileProgress& now) {
          if (now.what.starts_with("all_gather")) cancel = true;
        },
        &cancel);
  });
  a = profile_world(first, items, {});
  other.join();
  EXPECT_EQ(a.collectives, b.collectives);
  EXPECT_EQ(a.collectives.size(), 1U);
}

TEST(ProfileWorld, LeavesOutWhatIsTooLargeOrTooLate) {
  TimedWorld world(2, {0, 1}, 0, nullptr);
  const std::vector<WorldItem> items{item(Operator::all_reduce, 2, 1 << 20), item(Operator::all_reduce, 2, 1024)};
  WorldProfileOptions options;
  options.memory = 1 << 20;  // of in and out together
  WorldProfile p = profile_world(world, items, options);
  EXPECT_EQ(p.left_out, std::vector<std::string>{"all_reduce of 1048576 bytes, 2 ranks: too large"});
  EXPECT_EQ(p.collectives.size(), 1U);
  options.memory = 0, options.limit = Seconds{0};
  p = profile_world(world, items, options);
  EXPECT_EQ(p.collectives.size(), 1U);  // the one that was under way
  EXPECT_EQ(p.left_out, std::vector<std::string>{"all_reduce of 1024 bytes, 2 ranks: no time"});
}

TEST(ProfileWorld, FailsWithTheRankThatFails) {
  TimedWorld world(2, {0, 1}, 0, nullptr);
  world.fails_at = 20;
  EXPECT_THROW(profile_world(world, {item(Operator::all_reduce, 2, 1024), item(Operator::all_gather, 2, 1024)}, {}), Error);
  EXPECT_TRUE(world.aborted);
}

TEST(ProfileWorld, MeasuresThreadsOfTheHostAloneAndBesideProducts) {
  const auto kernels = executor::make_cpu_kernels();
  const auto world = executor::make_host_world(2, *kernels);
  std::vector<WorldItem> items = world_items(2, 2, 64 << 10);
  WorldProfileOptions options;
  options.rule = {0.05, 7, 28, Seconds{0.01}, Seconds{1e9}};
  options.type = DType::fp32;
  options.product.op = Operator::linear_forward;
  options.product.dims = {128, 128, 128};
  options.node_size = 2;
  const WorldProfile p = profile_world(*world, items, options);
  EXPECT_EQ(p.collectives.size(), items.size());
  for (const CollectiveMeasurement& m : p.collectives) EXPECT_GT(m.median.v, 0);
  for (const InterferenceMeasurement& m : p.interference) {
    EXPECT_GT(m.collective_slowdown, 0);
    EXPECT_GT(m.slowdown, 0);
    EXPECT_EQ(m.beside, "linear_forward");
  }
}

TEST(WorldItems, AreGroupsWithinANodeAndAcrossThem) {
  const std::vector<WorldItem> items = world_items(16, 8, 4096);
  std::set<std::pair<std::int64_t, std::int64_t>> groups;
  for (const WorldItem& i : items) {
    groups.emplace(i.what.ranks, i.nodes);
    EXPECT_TRUE(i.what.op != Operator::send || i.what.ranks == 2);
  }
  EXPECT_EQ(groups, (std::set<std::pair<std::int64_t, std::int64_t>>{{2, 1}, {4, 1}, {8, 1}, {2, 2}, {16, 2}}));
  EXPECT_EQ(std::count_if(items.begin(), items.end(), [](const WorldItem& i) { return i.beside; }), 5 * 2 * 2);  // both sizes
  EXPECT_TRUE(world_items(1, 1, 4096).empty());
}

}  // namespace
}  // namespace orrery::profiler
