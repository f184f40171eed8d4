#include "executor/comm/nccl.h"

#include <gmock/gmock.h>

#include <future>
#include <set>
#include <thread>

#include "run/runs.h"
#include "support/communicator_under_test.h"
#include "support/fake_nccl.h"

namespace orrery::executor {

// The implementation that this binary tests: the host's part, with NCCL's played by the fake machine.
void run_on_ranks(std::int64_t ranks, const std::function<void(Communicator&)>& body) {
  static std::atomic<std::uint64_t> seed{1};
  FakeMachine machine(seed++);
  FakeNccl nccl(machine, true);
  NcclSettings settings;
  settings.ranks = ranks;
  NcclWorld world(settings);
  on_threads(0, ranks, [&](std::int64_t r) {
    const auto communicator = world.communicator(r, nccl.api(r));
    body(*communicator);
  });
}

namespace {

using program::Operator;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Runs `body` as each rank of a world with these settings, and says what each threw.
std::vector<std::string> failures(std::int64_t ranks, NcclSettings settings, FakeNccl& nccl, const std::function<void(Communicator&)>& body) {
  settings.ranks = ranks;
  NcclWorld world(settings);
  std::vector<std::string> out(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (std::int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        const auto communicator = world.communicator(r, nccl.api(r));
        body(*communicator);
      } catch (const Error& e) {
        out[static_cast<std::size_t>(r)] = e.message();
      }
    });
  for (std::thread& t : threads) t.join();
  return out;
}

TEST(NcclWorld, AnOperationThatTakesTooLongIsNamedToAll) {
  FakeMachine machine(3);
  FakeNccl nccl(machine, true);
  NcclSettings settings;
  settings.deadline = std::chrono::milliseconds{150}, settings.look = std::chrono::milliseconds{10};
  std::string told;
  std::mutex mutex;
  settings.tell = [&](const std::string& why) {
    const std::lock_guard lock(mutex);
    told = why;
  };
  std::promise<void> gone;
  const auto end = gone.get_future().share();
  std::atomic<int> left{2};
  const auto what = failures(3, settings, nccl, [&](Communicator& c) {
    const std::int64_t all[3] = {0, 1, 2};
    float x = 1;
    c.wait(c.start(operation(Operator::all_reduce, all, x)));
    if (c.rank() == 2) return end.wait();  // hangs, until the others have given it up
    try {
      c.wait(c.start(operation(Operator::all_reduce, all, x)));
    } catch (...) {
      if (--left == 0) gone.set_value();
      throw;
    }
  });
  EXPECT_THAT(what[0], ::testing::MatchesRegex(
                           "rank [01]: all_reduce of 1 elements among ranks 0,1,2 on stream 1 \\(number 2 there\\) did not complete within "
                           "0.15 s: a peer has died, hangs or does another operation"));
  EXPECT_EQ(what[1], what[0]);
  EXPECT_EQ(told, what[0]);
  EXPECT_EQ(nccl.aborted(), 3);
  EXPECT_EQ(nccl.destroyed(), 0);
}

TEST(NcclWorld, AnErrorInTheBackgroundIsNamedWithWhatWasGoingOn) {
  FakeMachine machine(4);
  FakeNccl nccl(machine, true);
  NcclSettings settings;
  settings.look = std::chrono::milliseconds{10};
  std::promise<void> gone;
  const auto end = gone.get_future().share();
  const auto what = failures(2, settings, nccl, [&](Communicator& c) {
    const std::int64_t all[2] = {0, 1};
    float x = 1;
    c.wait(c.start(operation(Operator::all_reduce, all, x)));
    if (c.rank() == 1) return end.wait();
    const Ticket t = c.start(operation(Operator::all_reduce, all, x));
    c.enqueued(t);
    nccl.set_trouble("NCCL: remote process exited or there was a network error");
    try {
      c.wait(t);
    } catch (...) {
      gone.set_value();
      throw;
    }
  });
  EXPECT_THAT(what[0], ::testing::MatchesRegex(
                           "rank [01]: ranks 0,1 on stream 1: NCCL: remote process exited or there was a network error( during all_reduce of 1 "
                           "elements among ranks 0,1 on stream 1 \\(number 2 there\\))?"));
  EXPECT_EQ(nccl.aborted(), 2);
}

TEST(NcclWorld, WhatOtherProcessesTellEndsWaiting) {
  FakeMachine machine(5);
  FakeNccl nccl(machine, true);
  NcclSettings settings;
  settings.ranks = 2;
  bool told = false;
  settings.tell = [&](const std::string&) { told = true; };
  NcclWorld world(settings);
  auto other = std::async(std::launch::async, [&] { return world.communicator(1, nccl.api(1)); });
  const auto c = world.communicator(0, nccl.api(0));
  const auto d = other.get();
  const std::int64_t all[2] = {0, 1};
  float x = 1;
  // Rank 1 does not come, not even to make a communicator.
  const Ticket t = c->start(operation(Operator::all_reduce, all, x));
  world.fail("process 1 of 2 has died");
  try {
    c->wait(t);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "process 1 of 2 has died");
  }
  EXPECT_FALSE(told);
}

TEST(NcclWorld, OperationsWaitForTheMarksOfTheComputeQueue) {
  FakeMachine machine(6);
  FakeNccl nccl(machine, true);
  NcclSettings settings;
  const auto what = failures(2, settings, nccl, [&](Communicator& c) {
    const std::int64_t all[2] = {0, 1};
    for (int round = 0; round < 50; ++round) {
      std::vector<float> x(3, -1);
      const std::size_t compute = machine.make_queue();
      for (std::size_t i = 0; i < x.size(); ++i) machine.push(compute, {[&x, i] { x[i] = static_cast<float>(i + 1); }, {}, {}});
      CommOperation o = operation(Operator::all_reduce, all, 3, x.data(), x.data());
      o.ready = machine.mark(compute);
      const Mark done = c.enqueued(c.start(o));
      machine.push(compute, {{}, done, {}});
      machine.push(compute, {[&x] { x[0] *= 10; }, {}, {}});
      machine.reached_ns(machine.mark(compute));
      EXPECT_THAT(x, ElementsAre(20, 4, 6));
    }
  });
  EXPECT_THAT(what, Each(""));
}

// An api whose queue has no room for a copy: what a rank's own thread survives, a stream's must.
class PoorNccl final : public NcclApi {
 public:
  explicit PoorNccl(std::unique_ptr<NcclApi> rich) : rich_(std::move(rich)) {}
  std::string make_id() override { return rich_->make_id(); }
  void* make(const std::string& id, std::int64_t n, std::int64_t i, int blocks, const Cancelled& c) override {
    return rich_->make(id, n, i, blocks, c);
  }
  std::string trouble(void* c) override { return rich_->trouble(c); }
  void abort(void* c) override { rich_->abort(c); }
  void destroy(void* c) override { rich_->destroy(c); }
  void* make_queue() override { return rich_->make_queue(); }
  Mark mark(void* q) override { return rich_->mark(q); }
  void wait(void* q, const Mark& m) override { rich_->wait(q, m); }
  bool reached(const Mark& m) override { return rich_->reached(m); }
  void block(const Mark& m) override { rich_->block(m); }
  std::int64_t reached_ns(const Mark& m) override { return rich_->reached_ns(m); }
  void* scratch(std::int64_t n) override { return rich_->scratch(n); }
  void copy(void*, void*, const void*, std::int64_t) override { throw std::bad_alloc(); }
  void upload(void* q, void* to, const void* from, std::int64_t n) override { rich_->upload(q, to, from, n); }
  void download(void* q, void* to, const void* from, std::int64_t n) override { rich_->download(q, to, from, n); }
  void all_reduce(void* c, void* q, const void* in, void* out, std::int64_t n, DType t, bool g, const Cancelled& f) override {
    rich_->all_reduce(c, q, in, out, n, t, g, f);
  }
  void reduce_scatter(void* c, void* q, const void* in, void* out, std::int64_t n, DType t, const Cancelled& f) override {
    rich_->reduce_scatter(c, q, in, out, n, t, f);
  }
  void all_gather(void* c, void* q, const void* in, void* out, std::int64_t n, const Cancelled& f) override {
    rich_->all_gather(c, q, in, out, n, f);
  }
  void broadcast(void* c, void* q, const void* in, void* out, std::int64_t n, std::int64_t r, const Cancelled& f) override {
    rich_->broadcast(c, q, in, out, n, r, f);
  }
  void exchange(void* c, void* q, std::span<const Transfer> t, const Cancelled& f) override { rich_->exchange(c, q, t, f); }

 private:
  std::unique_ptr<NcclApi> rich_;
};

TEST(NcclWorld, AStreamThatRunsOutOfMemorySaysSo) {
  FakeMachine machine(9);
  FakeNccl nccl(machine, true);
  NcclWorld world({});
  const auto c = world.communicator(0, std::make_unique<PoorNccl>(nccl.api(0)));
  const std::int64_t all[1] = {0};
  float x = 1;
  try {
    c->wait(c->start(operation(Operator::all_reduce, all, x)));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "rank 0: all_reduce of 1 elements among ranks 0 on stream 1: there is not enough memory");
  }
}

TEST(NcclWorld, SumsOfWhatItCannotSumAreRefused) {
  FakeMachine machine(7);
  FakeNccl nccl(machine, true);
  const auto what = failures(1, {}, nccl, [&](Communicator& c) {
    const std::int64_t all[1] = {0};
    float x = 1;
    CommOperation o = operation(Operator::all_reduce, all, x);
    o.dtype = DType::fp8;
    c.start(o);
  });
  EXPECT_EQ(what[0], "rank 0: all_reduce of 1 elements: NCCL does not sum fp8");
}

struct Case {
  std::string title;
  Model model;
  Layout layout;
  std::int64_t ranks;
};
std::vector<Case> cases() {
  return {{"tp2_pp2", tiny_llama(), {.tp = 2, .pp = 2, .sp = true}, 4},
          {"interleaved", tiny_llama(), {.pp = 2, .schedule = "interleaved", .vp = 2}, 2},
          {"zero3", tiny_gpt2(), {.dp = 4, .zero = 3}, 4},
          {"stages", tiny_llama(), {.pp = 3}, 3},
          {"dualpipe", tiny_llama(), {.pp = 4, .schedule = "dualpipe", .micro = 1}, 4},
          {"ring", tiny_llama(), {.cp = 2, .cp_kind = "p2p"}, 2},
          {"ulysses", tiny_llama(), {.cp = 2, .cp_kind = "a2a"}, 2},
          {"experts", tiny_mixture(), {.dp = 2, .tp = 2, .sp = true, .ep = 2}, 4}};
}

// What one member will use, all will: each makes its groups in ascending order, so that the smallest that is not made yet has all its members at it.
TEST(NcclNeeds, AllMembersOfAGroupNeedItAndInOneOrder) {
  for (const Case& c : cases()) {
    const program::Program program = program::compile(c.model, cores(c.ranks), plan_of(c.layout));
    std::vector<NcclNeeds> needs;
    for (std::int64_t r = 0; r < c.ranks; ++r) needs.push_back(nccl_needs(program, r));
    std::size_t groups = 0;
    for (std::int64_t r = 0; r < c.ranks; ++r) {
      const NcclNeeds& mine = needs[static_cast<std::size_t>(r)];
      groups += mine.groups.size();
      EXPECT_TRUE(std::is_sorted(mine.groups.begin(), mine.groups.end()));
      for (const NcclGroup& g : mine.groups)
        for (const std::int64_t m : g.members) {
          const NcclNeeds& theirs = needs[static_cast<std::size_t>(m)];
          EXPECT_TRUE(std::binary_search(theirs.groups.begin(), theirs.groups.end(), g)) << c.title << ": rank " << m << " does not know " << name(g);
          EXPECT_EQ(std::binary_search(mine.exchanges.begin(), mine.exchanges.end(), g),
                    std::binary_search(theirs.exchanges.begin(), theirs.exchanges.end(), g))
              << c.title << ": " << name(g);
        }
    }
    EXPECT_GT(groups, 0U) << c.title;
  }
}

// The queues run in an order that chance decides; what comes out is the threads' result all the same, to the bit, as the fake sums as they do.
TEST(NcclRun, TrainsAsThreadsDo) {
  const auto kernels = make_cpu_kernels();
  std::uint64_t seed = 11;
  for (const Case& c : cases()) {
    const Plan plan = plan_of(c.layout);
    const program::Program program = program::compile(c.model, cores(c.ranks), plan);
    const auto source = open_tokens("markov", c.model.vocab, 16, 1);
    RunOptions options;
    options.steps = 3;
    options.poison = options.keep_parameters = true;
    const RunResult by_threads = run(program, c.model, plan, *source, options);
    FakeNcclWorld world(program, *kernels, seed++);
    options.world = &world;
    const RunResult by_nccl = run(program, c.model, plan, *source, options);
    ASSERT_EQ(by_nccl.steps.size(), by_threads.steps.size());
    for (std::size_t i = 0; i < by_nccl.steps.size(); ++i) {
      EXPECT_EQ(by_nccl.steps[i].loss, by_threads.steps[i].loss) << c.title;
      EXPECT_EQ(by_nccl.steps[i].gradient_norm, by_threads.steps[i].gradient_norm) << c.title;
    }
    EXPECT_TRUE(by_nccl.parameters == by_threads.parameters) << c.title;
    // All that was made was made at once, and given back.
    std::int64_t needed = 0;
    for (std::int64_t r = 0; r < c.ranks; ++r) {
      const NcclNeeds needs = nccl_needs(program, r);
      EXPECT_EQ(world.nccl().made(r).size(), needs.groups.size()) << c.title;
      needed += static_cast<std::int64_t>(needs.groups.size());
    }
    EXPECT_EQ(world.nccl().destroyed(), needed) << c.title;
    EXPECT_EQ(world.nccl().aborted(), 0) << c.title;
  }
}

std::set<std::uint8_t> streams_of(const program::Role& role) {
  std::set<std::uint8_t> streams;
  for (const program::Instruction& in : role.instructions)
    if (program::is_communication(in.op)) streams.insert(in.stream);
  return streams;
}

// A middle stage has messages in both directions, to both sides; the ends have fewer. What all are given is what a middle one can afford.
TEST(NcclShare, IsThatOfTheStageWithTheMostStreams) {
  const program::Program program = program::compile(tiny_llama(), cores(6), plan_of({.dp = 2, .pp = 3}));
  std::vector<std::size_t> streams;
  for (const program::Role& role : program.roles) streams.push_back(streams_of(role).size());
  ASSERT_EQ(streams.size(), 3U);
  ASSERT_GT(streams[1], streams[0]);
  EXPECT_EQ(nccl_share(program, 132), static_cast<int>(132 / streams[1]));
  EXPECT_EQ(nccl_share(program, 1), 1);
  EXPECT_EQ(nccl_blocks(31), 31);
  EXPECT_EQ(nccl_blocks(32), 0);  // what NCCL takes by itself at most
}

TEST(NcclGroup, HasANamePeopleUnderstand) {
  EXPECT_EQ(name(NcclGroup{{0, 1, 2}, false, 3}), "0,1,2 on stream 3");
  EXPECT_EQ(name(NcclGroup{{0, 1}, true, 2}), "0>1 on channel 2");
  const std::int64_t pair[2] = {4, 2};
  float x = 0;
  EXPECT_EQ(group_of(operation(Operator::send, pair, x), 4), (NcclGroup{{4, 2}, true, 0}));
  EXPECT_EQ(group_of(operation(Operator::recv, pair, x), 4), (NcclGroup{{2, 4}, true, 0}));
}

}  // namespace
}  // namespace orrery::executor
