// NCCL itself: its calls on one GPU, and the whole communicator between two.
#include <gmock/gmock.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "core/error.h"
#include "executor/comm/nccl.h"
#include "executor/cuda_world.h"
#include "run/runs.h"

namespace orrery::executor {
namespace {

using program::Operator;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kSkipped = 77;  // what CTest takes for "skipped" (tests/CMakeLists.txt)

const CudaPlugin& plugin() { return load_cuda_plugin(ORRERY_CUDA_PLUGIN); }

// Ends the program where there is no GPU or no NCCL: these tests never pass there.
class NeedsNccl final : public testing::Environment {
 public:
  void SetUp() override {
    try {
      plugin().devices();
      plugin().make_nccl(0);
    } catch (const Error& e) {
      std::printf("not run on a GPU: %s\n", e.what());
      std::exit(kSkipped);
    }
  }
};
[[maybe_unused]] const testing::Environment* const kNeedsNccl = testing::AddGlobalTestEnvironment(new NeedsNccl);

bool two_ranks_can_run() {
  if (plugin().devices().size() >= 2) return true;
  if (plugin().nccl_version() < 23000) return false;
  setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1", 0);  // both on the only one
  return true;
}
int device_of(std::int64_t rank) { return plugin().devices().size() >= 2 ? static_cast<int>(rank) : 0; }

// A buffer of floats on a device.
class Floats {
 public:
  Floats(Device& device, const std::vector<float>& values) : device_(device), n_(values.size()) {
    memory_ = device.allocate(static_cast<std::int64_t>(n_ * sizeof(float)));
    device.upload(memory_, values.data(), static_cast<std::int64_t>(n_ * sizeof(float)));
    device.synchronise();
  }
  float* data() const { return reinterpret_cast<float*>(memory_); }
  std::vector<float> values() const {
    std::vector<float> out(n_);
    device_.download(out.data(), memory_, static_cast<std::int64_t>(n_ * sizeof(float)));
    return out;
  }

 private:
  Device& device_;
  std::size_t n_;
  std::byte* memory_;
};

TEST(Nccl, ACommunicatorOfOneDoesAllItsCalls) {
  const auto device = plugin().make_device(0, {});
  const auto nccl = plugin().make_nccl(0);
  const NcclApi::Cancelled never = [] { return false; };
  void* const c = nccl->make(nccl->make_id(), 1, 0, 4, never);
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(nccl->trouble(c), "");
  void* const queue = nccl->make_queue();
  const Floats in(*device, {1, 2, 3}), out(*device, {0, 0, 0});
  nccl->all_reduce(c, queue, in.data(), out.data(), 3, DType::fp32, false, never);
  const Mark end = nccl->mark(queue);
  nccl->block(end);
  EXPECT_TRUE(nccl->reached(end));
  EXPECT_GT(nccl->reached_ns(end), 0);
  EXPECT_THAT(out.values(), ElementsAre(1, 2, 3));
  nccl->reduce_scatter(c, queue, in.data(), out.data(), 3, DType::fp32, never);
  nccl->all_gather(c, queue, in.data(), out.data(), 12, never);
  nccl->broadcast(c, queue, in.data(), out.data(), 12, 0, never);
  const NcclApi::Transfer both[2] = {{true, 0, in.data(), 8}, {false, 0, out.data() + 1, 8}};
  nccl->exchange(c, queue, both, never);
  std::vector<float> host(3);
  nccl->download(queue, host.data(), out.data(), 12);
  EXPECT_THAT(host, ElementsAre(1, 1, 2));
  EXPECT_EQ(nccl->trouble(c), "");
  nccl->destroy(c);
}

TEST(Nccl, ACommunicatorWhoseMembersDoNotComeIsGivenUp) {
  const auto nccl = plugin().make_nccl(0);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  EXPECT_EQ(nccl->make(nccl->make_id(), 2, 0, 0, [&] { return std::chrono::steady_clock::now() > until; }), nullptr);
}

// Runs `body` as two ranks with a GPU each; returns what they threw.
std::vector<std::string> on_two(NcclSettings settings, const std::function<void(Communicator&, Device&)>& body) {
  settings.ranks = 2;
  NcclWorld world(settings);
  std::vector<std::string> out(2);
  std::vector<std::thread> threads;
  for (std::int64_t r = 0; r < 2; ++r)
    threads.emplace_back([&, r] {
      try {
        const auto device = plugin().make_device(device_of(r), {});
        const auto c = world.communicator(r, plugin().make_nccl(device_of(r)));
        body(*c, *device);
      } catch (const Error& e) {
        out[static_cast<std::size_t>(r)] = e.message();
      }
    });
  for (std::thread& t : threads) t.join();
  return out;
}

CommOperation between_two(Operator op, std::int64_t elements, const void* in, void* out, std::span<const std::int64_t> members) {
  CommOperation o;
  o.op = op, o.elements = elements, o.input = in, o.output = out, o.members = members, o.stream = 1;
  return o;
}

TEST(NcclWorld, DoesEveryOperationBetweenTwoRanks) {
  if (!two_ranks_can_run()) GTEST_SKIP() << "one GPU, and NCCL before 2.30";
  const auto what = on_two({}, [](Communicator& c, Device& device) {
    const std::int64_t all[2] = {0, 1}, pair[2] = {c.rank(), 1 - c.rank()};
    const auto me = static_cast<float>(c.rank());
    const Floats x(device, {me + 1, me + 2, me + 3, me + 4}), y(device, {0, 0, 0, 0});
    const auto now = [&](const CommOperation& o) {
      const CommTimes t = c.wait(c.start(o));
      EXPECT_LE(t.start_ns, t.end_ns);
    };
    now(between_two(Operator::all_reduce, 4, x.data(), y.data(), all));
    EXPECT_THAT(y.values(), ElementsAre(3, 5, 7, 9));
    now(between_two(Operator::all_reduce_max, 4, x.data(), y.data(), all));
    EXPECT_THAT(y.values(), ElementsAre(2, 3, 4, 5));
    now(between_two(Operator::reduce_scatter, 4, x.data(), y.data(), all));
    EXPECT_THAT(y.values(), c.rank() == 0 ? ElementsAre(3, 5, 4, 5) : ElementsAre(7, 9, 4, 5));
    now(between_two(Operator::all_gather, 4, x.data(), y.data(), all));
    EXPECT_THAT(y.values(), ElementsAre(1, 2, 2, 3));
    now(between_two(Operator::all_to_all, 2, x.data(), y.data(), all));
    EXPECT_THAT(y.values(), c.rank() == 0 ? ElementsAre(1, 2, 2, 3) : ElementsAre(3, 4, 4, 5));
    now(between_two(Operator::rotate, 4, x.data(), y.data(), all));
    EXPECT_THAT(y.values(), c.rank() == 0 ? ElementsAre(2, 3, 4, 5) : ElementsAre(1, 2, 3, 4));
    CommOperation broadcast = between_two(Operator::broadcast, 4, x.data(), y.data(), all);
    broadcast.root = 1;
    now(broadcast);
    EXPECT_THAT(y.values(), ElementsAre(2, 3, 4, 5));
    now(between_two(c.rank() == 0 ? Operator::send : Operator::recv, 4, x.data(), y.data(), pair));
    EXPECT_THAT(y.values(), c.rank() == 0 ? ElementsAre(2, 3, 4, 5) : ElementsAre(1, 2, 3, 4));
    // Rank 0 has one row for itself and three for the other, rank 1 two and two; a row is one element.
    const std::int32_t counts[2] = {c.rank() == 0 ? 1 : 2, c.rank() == 0 ? 3 : 2};
    std::byte* const on_device = device.allocate(sizeof counts);
    device.upload(on_device, counts, sizeof counts);
    const Floats z(device, {0, 0, 0, 0, 0});
    CommOperation rows = between_two(Operator::all_to_all_by_count, 4, x.data(), z.data(), all);
    rows.counts = reinterpret_cast<const std::int32_t*>(on_device), rows.counts_per_rank = 1, rows.width = 1, rows.room = 5;
    rows.ready = device.mark();
    now(rows);
    EXPECT_THAT(z.values(), c.rank() == 0 ? ElementsAre(1, 2, 3, 0, 0) : ElementsAre(2, 3, 4, 4, 5));
    now(between_two(Operator::all_reduce, 0, nullptr, nullptr, all));
  });
  EXPECT_THAT(what, ElementsAre("", ""));
}

TEST(NcclWorld, APeerThatDoesNotComeIsGivenUpAfterTheDeadline) {
  if (!two_ranks_can_run()) GTEST_SKIP() << "one GPU, and NCCL before 2.30";
  NcclSettings settings;
  settings.deadline = std::chrono::seconds(3);
  std::mutex mutex;
  std::condition_variable changed;
  bool gone = false;
  const auto what = on_two(settings, [&](Communicator& c, Device& device) {
    const std::int64_t all[2] = {0, 1};
    const Floats x(device, {1});
    const CommOperation o = between_two(Operator::all_reduce, 1, x.data(), x.data(), all);
    c.wait(c.start(o));
    std::unique_lock lock(mutex);
    if (c.rank() == 1) return changed.wait(lock, [&] { return gone; });
    lock.unlock();
    try {
      c.wait(c.start(o));
    } catch (...) {
      lock.lock();
      gone = true;
      changed.notify_all();
      throw;
    }
  });
  EXPECT_THAT(what[0], HasSubstr("rank 0: all_reduce of 1 elements among ranks 0,1 on stream 1 (number 2 there) did not complete within 3 s"));
}

TEST(CudaWorld, TwoGpusTrainAsTheCpuDoes) {
  if (plugin().devices().size() < 2) GTEST_SKIP() << "one GPU";
  const Model model = tiny_llama();
  for (const Layout& layout : {Layout{.dp = 2}, Layout{.tp = 2, .sp = true}, Layout{.pp = 2}}) {
    const Plan plan = plan_of(layout);
    const program::Program program = program::compile(model, cores(2), plan);
    const auto source = open_tokens("markov", model.vocab, 16, 1);
    RunOptions options;
    options.steps = 10;
    const RunResult by_cpu = run(program, model, plan, *source, options);
    const auto world = make_cuda_world(plugin(), program, {});
    options.world = world.get();
    const RunResult by_gpus = run(program, model, plan, *source, options);
    ASSERT_EQ(by_gpus.steps.size(), by_cpu.steps.size());
    for (std::size_t i = 0; i < by_cpu.steps.size(); ++i) EXPECT_NEAR(by_gpus.steps[i].loss, by_cpu.steps[i].loss, 1e-3) << name(layout);
  }
}

}  // namespace
}  // namespace orrery::executor
