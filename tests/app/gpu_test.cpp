#include "app/gpu.h"

#include <gtest/gtest.h>

#include "app/profile.h"
#include "app/simulate.h"
#include "core/error.h"
#include "core/files.h"
#include "core/profile_json.h"
#include "program/compile.h"
#include "support/temporary_folder.h"
#include "support/virtual_device.h"

namespace orrery::app {
namespace {

executor::CudaDeviceInfo gpu(const char* name, std::int64_t gib = 80) {
  executor::CudaDeviceInfo d;
  d.name = name, d.uuid = "GPU-1", d.memory = gib << 30U, d.l2 = 50 << 20, d.driver = d.runtime = 13000;
  return d;
}

// Virtual machines behind the plugin's interface.
class FakePlugin final : public executor::CudaPlugin {
 public:
  explicit FakePlugin(std::vector<executor::CudaDeviceInfo> devices) : devices_(std::move(devices)) {}
  std::vector<executor::CudaDeviceInfo> devices() const override { return devices_; }
  std::unique_ptr<executor::Device> make_device(int, const executor::CudaOptions& options) const override {
    tuned = options.tune;
    return std::make_unique<profiler::VirtualDevice>(machine);
  }
  std::unique_ptr<executor::Mover> make_mover(int) const override { return nullptr; }
  std::unique_ptr<executor::NcclApi> make_nccl(int) const override { return nullptr; }
  int nccl_version() const override { return 0; }
  mutable profiler::VirtualMachine machine;
  mutable bool tuned = false;

 private:
  std::vector<executor::CudaDeviceInfo> devices_;
};

TEST(CudaNumber, IsReadFromTheWordThatNamesADevice) {
  EXPECT_EQ(cuda_number("cpu"), std::nullopt);
  EXPECT_EQ(cuda_number("cuda"), 0);
  EXPECT_EQ(cuda_number("cuda:3"), 3);
  for (const char* bad : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda:x", "cuda1", "CUDA"}) EXPECT_THROW(cuda_number(bad), Error) << bad;
}

TEST(PartOf, KnowsShippedDevicesByCudasNames) {
  EXPECT_EQ(part_of(gpu("NVIDIA H200", 140)), "h200-sxm");
  EXPECT_EQ(part_of(gpu("NVIDIA H100 80GB HBM3")), "h100-sxm");
  EXPECT_EQ(part_of(gpu("NVIDIA A100-SXM4-80GB")), "a100-80-sxm");
  EXPECT_EQ(part_of(gpu("NVIDIA A100-SXM4-40GB", 40)), "a100-40-sxm");
  EXPECT_EQ(part_of(gpu("NVIDIA GB200", 186)), "gb200");
  EXPECT_EQ(part_of(gpu("NVIDIA B200", 180)), "b200-sxm");
  EXPECT_EQ(part_of(gpu("Tesla V100-SXM2-16GB", 16)), "v100-sxm2");
  for (const char* other :
       {"NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA GH200 480GB", "NVIDIA A100 80GB PCIe", "NVIDIA GeForce RTX 4090", "NVIDIA L40S"})
    EXPECT_EQ(part_of(gpu(other)), "") << other;
}

TEST(GpuCluster, IsAShippedOneOfTheSameDevices) {
  EXPECT_EQ(gpu_cluster(gpu("NVIDIA H200", 140), 2), "dgx-h200:2");
  EXPECT_EQ(gpu_cluster(gpu("NVIDIA H100 80GB HBM3"), 8), "dgx-h100:8");
  EXPECT_THROW(gpu_cluster(gpu("NVIDIA GeForce RTX 4090"), 1), Error);
  EXPECT_THROW(gpu_cluster(gpu("NVIDIA H200", 140), 9), Error);  // not in one machine
  const std::vector two{gpu("NVIDIA H200", 140), gpu("NVIDIA H200", 140)};
  EXPECT_EQ(gpu_cluster_for("this-machine", two, 0), "dgx-h200:2");
  EXPECT_EQ(gpu_cluster_for("this-machine:4", two, 1), "dgx-h200:4");
  EXPECT_EQ(gpu_cluster_for("dgx-b200:64", two, 0), "dgx-b200:64");
  EXPECT_EQ(gpu_cluster_for("this-machine:x", two, 0), "this-machine:x");
}

// A profile of all that one plan needs, on a virtual H200.
Profile virtual_h200(const FakePlugin& plugin, const Inputs& in, std::optional<Profile> earlier = {}, const std::string& commit = "abc",
                     std::string* noted = nullptr) {
  const std::array programs{compile(in)};
  GpuProfileSettings settings;
  settings.clock = plugin.machine.clock();
  settings.earlier = std::move(earlier);
  settings.commit = commit;
  settings.note = [noted](const std::string& what) {
    if (noted) *noted += what + "\n";
  };
  settings.grid = [&](const executor::KernelSet& kernels) {
    return profiler::grid_for(programs, profiler::settings_of(in.model, in.plan), kernels, profiler::kGpuFootprints);
  };
  return profile_gpu(plugin, 0, settings);
}

Inputs tiny() {
  PlanFlags flags;
  flags.model = "cpu-llama-tiny", flags.cluster = "dgx-h200:1", flags.sequence = 64, flags.global_batch = 2;
  return load_inputs(flags);
}

TEST(ProfileGpu, PricesAPlanThatRunsOnTheSameDeviceAndSaysWhoseItIsOnAnother) {
  const TemporaryFolder folder;
  const FakePlugin plugin({gpu("NVIDIA H200", 140)});
  const Inputs in = tiny();
  const Profile p = virtual_h200(plugin, in);
  EXPECT_TRUE(plugin.tuned);
  EXPECT_EQ(p.part, "h200-sxm");
  EXPECT_EQ(p.parameters, DType::bf16);
  const std::string file = (folder.path() / "h200.json").string();
  write_file_atomically(file, write_profile(p));

  PlanFlags flags;
  flags.model = "cpu-llama-tiny", flags.cluster = "dgx-h200:1", flags.sequence = 64, flags.global_batch = 2, flags.profile = file;
  const auto share = [](const SimulateReport& r, Grade grade) {
    double sum = 0;
    for (const auto& s : r.sources)
      if (s.grade == grade) sum += s.share;
    return sum;
  };
  EXPECT_GT(share(simulate(load_inputs(flags)), Grade::measured_here), 0.7);  // a virtual device has no kernel for rope
  flags.cluster = "dgx-h100:1";
  const Inputs other = load_inputs(flags);
  ASSERT_TRUE(other.profile->transferred);
  EXPECT_EQ(other.profile->transferred->from, "NVIDIA H200");
  EXPECT_GT(share(simulate(other), Grade::measured_elsewhere), 0.7);
  flags.cluster = "dgx-b200:1";
  EXPECT_THROW(load_inputs(flags), Error);
  flags.cluster = "this-machine:1";
  EXPECT_THROW(load_inputs(flags), Error);
  // Twice the bandwidth, as a what-if: the same device by name, and yet another.
  flags.cluster = "dgx-h200:1";
  flags.settings = {"cluster.device.memory_bandwidth=9600 GB/s"};
  EXPECT_TRUE(load_inputs(flags).profile->transferred);
  EXPECT_EQ(transferred(p, "h100-sxm").part, "h100-sxm");
  // Nobody knows what a profile without a part is of, or that it is the cluster's device.
  Profile nameless = p;
  nameless.device = "NVIDIA H100 PCIe", nameless.part = "";
  write_file_atomically(file, write_profile(nameless));
  flags.settings = {};
  try {
    load_inputs(flags);
    ADD_FAILURE() << "was taken for an H200's";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("of NVIDIA H100 PCIe"), std::string::npos) << e.what();
    EXPECT_NE(e.hint().find("\"part\": \"h200-sxm\""), std::string::npos) << e.hint();
  }
  // A device that ships nowhere is the cluster's own where both name it.
  nameless.part = "my-h100-pcie";
  write_file_atomically(file, write_profile(nameless));
  flags.settings = {"cluster.device.name=my-h100-pcie"};
  EXPECT_FALSE(load_inputs(flags).profile->transferred);
  EXPECT_THROW(transferred(transferred(p, "h100-sxm"), "h200-sxm"), Error);
}

TEST(ProfileGpu, ContinuesAnEarlierProfileOfTheSameDeviceOnly) {
  const FakePlugin plugin({gpu("NVIDIA H200", 140)}), other({gpu("NVIDIA H100 80GB HBM3")});
  const Inputs in = tiny();
  const Profile p = virtual_h200(plugin, in);
  const std::int64_t kernels = plugin.machine.kernels;
  EXPECT_EQ(virtual_h200(plugin, in, p).operators, p.operators);
  EXPECT_LT(plugin.machine.kernels - kernels, kernels / 20);
  virtual_h200(other, in, p);
  EXPECT_GT(other.machine.kernels, kernels / 2);
  // Kernels of another commit may have become faster: nothing of what the old ones took is stamped with the new commit.
  const std::int64_t before = plugin.machine.kernels;
  std::string noted;
  EXPECT_EQ(virtual_h200(plugin, in, p, "abd", &noted).commit, "abd");
  EXPECT_GT(plugin.machine.kernels - before, kernels / 2);
  EXPECT_NE(noted.find("by the kernels of commit abc, and this is abd: it is not continued"), std::string::npos) << noted;
}

TEST(ProfileGpu, SaysThatThereIsNoSuchDevice) {
  const FakePlugin plugin({gpu("NVIDIA H200", 140)});
  GpuProfileSettings settings;
  settings.grid = [](const executor::KernelSet&) { return profiler::ProfileGrid{}; };
  EXPECT_THROW(profile_gpu(plugin, 1, settings), Error);
  ProfileSettings verb;
  verb.device = "cuda:7";
  EXPECT_THROW(profile(verb, plugin), Error);
}

}  // namespace
}  // namespace orrery::app
