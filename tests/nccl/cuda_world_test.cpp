#include "executor/cuda_world.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <fstream>

#include "processes/processes.h"
#include "run/runs.h"
#include "support/fake_nccl.h"
#include "support/temporary_folder.h"

namespace orrery::executor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CudaDeviceInfo h200(const std::string& uuid) {
  CudaDeviceInfo d;
  d.name = "NVIDIA H200", d.uuid = uuid, d.memory = std::int64_t{141} << 30, d.capability = 90, d.multiprocessors = 132;
  return d;
}

// A machine with some GPUs, all of them the fake machine.
class FakePlugin final : public CudaPlugin {
 public:
  FakePlugin(std::int64_t gpus, const KernelSet& kernels, int nccl) : kernels_(kernels), version_(nccl) {
    for (std::int64_t i = 0; i < gpus; ++i) infos_.push_back(h200("GPU-" + std::to_string(i)));
  }
  std::vector<CudaDeviceInfo> devices() const override { return infos_; }
  std::unique_ptr<Device> make_device(int number, const CudaOptions& options) const override {
    const std::lock_guard lock(mutex_);
    used_.push_back(number);
    options_.push_back(options);
    return std::make_unique<FakeDevice>(machine_, kernels_);
  }
  std::unique_ptr<Mover> make_mover(int) const override { return std::make_unique<FakeMover>(machine_); }
  std::unique_ptr<NcclApi> make_nccl(int number) const override {
    const std::lock_guard lock(mutex_);
    by_nccl_.push_back(number);
    return nccl_.api(number);
  }
  int nccl_version() const override { return version_; }

  std::vector<int> used() const { return sorted(used_); }
  std::vector<int> by_nccl() const { return sorted(by_nccl_); }
  std::vector<CudaOptions> options() const { return options_; }
  std::vector<CudaDeviceInfo> infos_;

 private:
  static std::vector<int> sorted(std::vector<int> v) {
    std::sort(v.begin(), v.end());
    return v;
  }
  const KernelSet& kernels_;
  int version_;
  mutable std::mutex mutex_;
  mutable FakeMachine machine_{21};
  mutable FakeNccl nccl_{machine_, false};
  mutable std::vector<int> used_, by_nccl_;
  mutable std::vector<CudaOptions> options_;
};

struct Job {
  Model model = tiny_llama();
  Plan plan;
  program::Program program;
  std::unique_ptr<TokenSource> source = open_tokens("markov", 61, 16, 1);
  std::unique_ptr<KernelSet> kernels = make_cpu_kernels();
  explicit Job(const Layout& layout, std::int64_t ranks) : plan(plan_of(layout)), program(program::compile(model, cores(ranks), plan)) {}
  std::vector<double> losses(World* world) const {
    RunOptions options;
    options.steps = 2;
    options.world = world;
    std::vector<double> out;
    for (const StepReport& s : run(program, model, plan, *source, options).steps) out.push_back(s.loss);
    return out;
  }
  std::string failure(const FakePlugin& plugin, const CudaWorldSettings& settings = {}) const {
    try {
      make_cuda_world(plugin, program, settings);
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  }
};

TEST(CudaWorld, GivesEachRankAGpuOfItsOwn) {
  const Job job({.dp = 2, .tp = 2}, 4);
  const FakePlugin plugin(8, *job.kernels, 22809);
  const auto world = make_cuda_world(plugin, job.program, {});
  EXPECT_THAT(world->here(), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(world->memory(), 4 * (std::int64_t{141} << 30));
  EXPECT_EQ(job.losses(world.get()), job.losses(nullptr));
  EXPECT_THAT(plugin.used(), ElementsAre(0, 1, 2, 3));  // the first is asked for its kernels, and then a rank's
  EXPECT_THAT(plugin.by_nccl(), ElementsAre(0, 1, 2, 3));
}

TEST(CudaWorld, TakesTheGpusThatAreNamed) {
  const Job job({.dp = 2}, 2);
  const FakePlugin plugin(8, *job.kernels, 22809);
  CudaWorldSettings settings;
  settings.devices = {5, 2};
  const auto world = make_cuda_world(plugin, job.program, settings);
  EXPECT_EQ(job.losses(world.get()), job.losses(nullptr));
  EXPECT_THAT(plugin.used(), ElementsAre(2, 5));
  settings.devices = {8};
  EXPECT_EQ(job.failure(plugin, settings), "--device: there is no GPU 8: this process sees 8 GPUs, counted from 0");
}

TEST(CudaWorld, PutsAllRanksOnTheOnlyGpu) {
  const Job job({.dp = 2, .tp = 2}, 4);
  const FakePlugin plugin(1, *job.kernels, 0);
  const auto world = make_cuda_world(plugin, job.program, {});
  EXPECT_EQ(job.losses(world.get()), job.losses(nullptr));
  EXPECT_THAT(plugin.used(), ElementsAre(0, 0, 0, 0));
  EXPECT_TRUE(plugin.by_nccl().empty());
}

TEST(CudaWorld, SharesGpusByNcclOnlyWhereItCan) {
  const Job job({.dp = 4}, 4);
  const FakePlugin old(2, *job.kernels, 22809), recent(2, *job.kernels, 23003);
  unsetenv("NCCL_MULTI_RANK_GPU_ENABLE");
  unsetenv("NCCL_MAX_P2P_NCHANNELS");
  EXPECT_EQ(job.failure(old),
            "--device: this process has 4 ranks and sees 2 GPUs\n"
            "  hint: start one process for each GPU, look at CUDA_VISIBLE_DEVICES, or let all ranks share one: --device cuda:0");
  const auto world = make_cuda_world(recent, job.program, {});
  EXPECT_EQ(job.losses(world.get()), job.losses(nullptr));
  EXPECT_THAT(recent.by_nccl(), ElementsAre(0, 0, 1, 1));
  EXPECT_STREQ(getenv("NCCL_MULTI_RANK_GPU_ENABLE"), "1");
  // 132 multiprocessors, of two ranks, among the streams of communication.
  const int share = nccl_share(job.program, 66), channels = std::stoi(getenv("NCCL_MAX_P2P_NCHANNELS"));
  EXPECT_LE(channels, share);
  EXPECT_GT(2 * channels, share);
}

// Each of two processes (threads here) is shown the same GPU, as it has a rank for it.
TEST(CudaWorld, ProcessesThatShareAGpuTellNccl) {
  const Job job({.dp = 2}, 2);
  const FakePlugin plugin(1, *job.kernels, 23003);
  unsetenv("NCCL_MULTI_RANK_GPU_ENABLE");
  const std::vector<double> alone = job.losses(nullptr);
  const auto results = in_threads(2, [&](std::unique_ptr<KeyStore> store) {
    Launch launch;
    launch.process = launch.local_process = store->process(), launch.processes = launch.local_processes = 2;
    const auto world = make_cuda_world(plugin, job.program, {}, std::move(store), launch);
    return job.losses(world.get()) == alone ? std::string("the same") : std::string("other losses");
  });
  EXPECT_THAT(results, ElementsAre("the same", "the same"));
  EXPECT_STREQ(getenv("NCCL_MULTI_RANK_GPU_ENABLE"), "1");
}

// Of unlike GPUs the least decides for all: the fake NCCL refuses members that do not agree.
TEST(CudaWorld, GivesNcclTheSameRoomOnUnlikeGpus) {
  const Job job({.pp = 3}, 3);
  FakePlugin plugin(3, *job.kernels, 22809);
  plugin.infos_[1].multiprocessors = 78;
  CudaWorldSettings settings;
  settings.mixed = true;
  const auto world = make_cuda_world(plugin, job.program, settings);
  EXPECT_EQ(job.losses(world.get()), job.losses(nullptr));
}

TEST(CudaWorld, RefusesGpusThatDiffer) {
  const Job job({.dp = 2}, 2);
  FakePlugin plugin(2, *job.kernels, 22809);
  plugin.infos_[1].name = "NVIDIA A100-SXM4-80GB", plugin.infos_[1].capability = 80, plugin.infos_[1].memory = std::int64_t{80} << 30;
  EXPECT_THAT(job.failure(plugin), HasSubstr("the GPUs of this run are not alike"));
  CudaWorldSettings settings;
  settings.mixed = true;
  EXPECT_EQ(job.failure(plugin, settings), "");
}

TEST(CudaWorld, RefusesOneGpuForTwoRanks) {
  EXPECT_EQ(check_devices({h200("a"), h200("b"), h200(""), h200("")}, false, false), 1);
  EXPECT_EQ(check_devices({h200("a"), h200("b"), h200("a")}, false, true), 2);
  try {
    check_devices({h200("a"), h200("b"), h200("a")}, false, false);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "ranks 0 and 2 have the same GPU (NVIDIA H200, a)");
  }
}

TEST(CudaWorld, ProcessesOfAMachineShareItsGpusOut) {
  EXPECT_THAT(share_of_devices(8, 2, 3, 4), ElementsAre(6, 7));
  EXPECT_THAT(share_of_devices(8, 1, 5, 8), ElementsAre(5));
  EXPECT_THAT(share_of_devices(1, 1, 5, 8), ElementsAre(0));  // each is shown its own
  EXPECT_THAT(share_of_devices(2, 2, 1, 4), ElementsAre(0, 1));
  EXPECT_THROW(share_of_devices(1, 2, 0, 1), Error);
}

// Two processes (threads here) with two ranks each, on one machine with four GPUs.
TEST(CudaWorld, RanksOfSeveralProcessesTrainTogether) {
  const Job job({.dp = 2, .pp = 2}, 4);
  const FakePlugin plugin(4, *job.kernels, 22809);
  const std::vector<double> alone = job.losses(nullptr);
  const auto results = in_threads(2, [&](std::unique_ptr<KeyStore> store) {
    Launch launch;
    launch.process = launch.local_process = store->process(), launch.processes = launch.local_processes = 2;
    const auto world = make_cuda_world(plugin, job.program, {}, std::move(store), launch);
    EXPECT_EQ(world->here().size(), 2U);
    return job.losses(world.get()) == alone ? std::string("the same") : std::string("other losses");
  });
  EXPECT_THAT(results, ElementsAre("the same", "the same"));
  EXPECT_THAT(plugin.by_nccl(), ElementsAre(0, 1, 2, 3));
}

// Each with a cache of its own, as on machines that share no files.
TEST(CudaWorld, SeveralProcessesChooseProductsAlikeAndOneMayTimeThem) {
  const Job job({.dp = 2}, 2);
  const FakePlugin plugin(2, *job.kernels, 22809), alone(2, *job.kernels, 22809);
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "0") << "of process 0";
  std::ofstream(folder.path() / "1") << "of process 1";
  in_threads(2, [&](std::unique_ptr<KeyStore> store) {
    Launch launch;
    launch.process = launch.local_process = store->process(), launch.processes = launch.local_processes = 2;
    CudaWorldSettings settings;
    settings.options.tune = true;
    settings.options.gemm_cache = (folder.path() / std::to_string(store->process())).string();
    make_cuda_world(plugin, job.program, settings, std::move(store), launch);
    return std::string();
  });
  EXPECT_EQ(plugin.options().size(), 2U);
  for (const CudaOptions& o : plugin.options()) {
    EXPECT_FALSE(o.tune);
    EXPECT_EQ(o.gemm_cache, "");
    EXPECT_EQ(o.gemm_known, "of process 0");
  }
  CudaWorldSettings settings;
  settings.options.tune = true, settings.options.gemm_cache = (folder.path() / "0").string();
  make_cuda_world(alone, job.program, settings);
  ASSERT_EQ(alone.options().size(), 1U);
  EXPECT_TRUE(alone.options().front().tune);
  EXPECT_EQ(alone.options().front().gemm_cache, settings.options.gemm_cache);
}

// Of 132 multiprocessors, with a collective on 32 of them.
TEST(CudaWorld, LeavesMultiprocessorsToCommunicationThatProductsRunBeside) {
  const auto left = [](const Layout& layout, std::int64_t ranks) { return multiprocessors_of_products(Job(layout, ranks).program, 132); };
  EXPECT_EQ(left({}, 1), 0);
  EXPECT_EQ(left({.dp = 2}, 2), 0);              // gradients' sums: waited for at the step's end
  EXPECT_EQ(left({.tp = 2, .sp = true}, 2), 0);  // each waited for at once
  EXPECT_EQ(left({.tp = 2, .sp = true, .overlap_tp = true}, 2), 100);
  EXPECT_EQ(left({.dp = 2, .zero = 3}, 2), 100);  // the next layer's parameters, while this one computes
}

TEST(CudaWorld, AProcessThatFailsEndsTheOthersWithItsReason) {
  const Job job({.dp = 2}, 2);
  const FakePlugin plugin(2, *job.kernels, 22809);
  const auto results = in_threads(2, [&](std::unique_ptr<KeyStore> store) {
    Launch launch;
    launch.process = launch.local_process = store->process(), launch.processes = launch.local_processes = 2;
    const auto world = make_cuda_world(plugin, job.program, {}, std::move(store), launch);
    RunOptions options;
    options.steps = 1000;
    options.world = world.get();
    options.progress = [&](const StepReport& s) {
      if (launch.process == 1 && s.step == 1) world->abort("GPU 1 fell off the bus");
    };
    run(job.program, job.model, job.plan, *job.source, options);
    return std::string("came to an end");
  });
  for (const std::string& what : results) EXPECT_THAT(what, HasSubstr("GPU 1 fell off the bus"));
}

}  // namespace
}  // namespace orrery::executor
