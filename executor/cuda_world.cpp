#include "executor/cuda_world.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "executor/comm/bytes.h"
#include "executor/comm/nccl.h"
#include "executor/comm/operations.h"

namespace orrery::executor {
namespace {

constexpr int kMostBlocks = 32;         // what a collective of NCCL takes at most, left to itself (comm/nccl.cpp)
constexpr int kRanksShareGpus = 23000;  // NCCL_MULTI_RANK_GPU_ENABLE came with NCCL 2.30

class NcclGpuWorld final : public World {
 public:
  NcclGpuWorld(const CudaPlugin& plugin, const program::Program& program, const CudaWorldSettings& settings, std::unique_ptr<KeyStore> store,
               std::vector<CudaDeviceInfo> infos, std::vector<int> devices, int most_blocks)
      : plugin_(plugin),
        program_(program),
        settings_(settings),
        store_(std::move(store)),
        infos_(std::move(infos)),
        devices_(std::move(devices)),
        first_(first_rank(process(), ranks(), processes())),
        nccl_(nccl_settings(most_blocks)),
        probe_(plugin.make_device(devices_.front(), settings.options)) {
    if (store_) store_->watch([this](const std::string& why) { nccl_.fail(why); });
  }
  ~NcclGpuWorld() override {
    if (store_) store_->watch({});
  }
  NcclGpuWorld(const NcclGpuWorld&) = delete;
  NcclGpuWorld& operator=(const NcclGpuWorld&) = delete;

  std::int64_t ranks() const override { return program_.ranks(); }
  std::vector<std::int64_t> here() const override {
    std::vector<std::int64_t> all(devices_.size());
    std::iota(all.begin(), all.end(), first_);
    return all;
  }
  bool has(const program::Shape& shape) const override {
    const std::lock_guard lock(mutex_);
    if (!probe_) probe_ = plugin_.make_device(devices_.front(), settings_.options);
    return probe_->kernels().has(shape);
  }
  std::unique_ptr<Device> device(std::int64_t rank) override {
    const int number = device_of(rank);
    if (number == devices_.front()) {
      const std::lock_guard lock(mutex_);
      if (probe_) return std::move(probe_);
    }
    return plugin_.make_device(number, settings_.options);
  }
  std::unique_ptr<Communicator> communicator(std::int64_t rank, Device&) override {
    return nccl_.communicator(rank, plugin_.make_nccl(device_of(rank)), nccl_needs(program_, rank));
  }
  void abort(const std::string& why) override { nccl_.abort(why); }
  std::int64_t memory() const override {
    std::int64_t sum = 0;
    for (const int number : std::set<int>(devices_.begin(), devices_.end())) sum += infos_[static_cast<std::size_t>(number)].memory;
    return sum;
  }
  std::int64_t process() const override { return store_ ? store_->process() : 0; }
  std::int64_t processes() const override { return store_ ? store_->processes() : 1; }
  std::vector<std::string> gather(const std::string& mine) override {
    return store_ ? store_->gather("a step's end", mine) : std::vector<std::string>{mine};
  }
  std::vector<std::string> gather_at_first(const std::string& mine) override {
    return store_ ? store_->gather("the run's end", mine, true) : std::vector<std::string>{mine};
  }
  std::int64_t clock_offset_ns() override { return store_ ? store_->clock().offset_ns : 0; }
  std::string failure() const override { return store_ ? store_->failure() : std::string(); }

 private:
  int device_of(std::int64_t rank) const { return devices_.at(static_cast<std::size_t>(rank - first_)); }
  NcclSettings nccl_settings(int most_blocks) {
    NcclSettings s;
    s.ranks = ranks();
    s.most_blocks = most_blocks;
    s.deadline = settings_.deadline;
    if (!store_) return s;
    KeyStore& store = *store_;
    s.rendezvous.set = [&store](const std::string& key, const std::string& value) { store.set(key, value); };
    s.rendezvous.get = [&store, most = settings_.deadline](const std::string& key) { return store.get(key, most); };
    s.tell = [&store](const std::string& why) { store.abort(why); };
    return s;
  }

  const CudaPlugin& plugin_;
  const program::Program& program_;
  const CudaWorldSettings settings_;
  const std::unique_ptr<KeyStore> store_;
  const std::vector<CudaDeviceInfo> infos_;  // by number
  const std::vector<int> devices_;           // by rank of this process
  const std::int64_t first_;
  NcclWorld nccl_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Device> probe_;  // until a rank takes it
};

// Processes would each find other algorithms the fastest, and then what ranks of several compute alike would differ in bits: all take those that
// process 0 knows already, and the first choice otherwise.
CudaOptions in_processes(CudaOptions options, KeyStore& store) {
  constexpr const char* kKey = "algorithms of products";
  if (store.process() == 0) {
    std::ostringstream known;
    if (std::ifstream file(options.gemm_cache); file) known << file.rdbuf();
    store.set(kKey, known.str());
  }
  options.tune = false, options.gemm_cache.clear(), options.gemm_known = store.get(kKey);
  return options;
}

// What cuBLASLt does.
bool is_product(program::Operator op) {
  using program::Operator;
  return op == Operator::linear_forward || op == Operator::linear_input_grad || op == Operator::linear_weight_grad ||
         op == Operator::linear_activation_forward || op == Operator::linear_activation_grad;
}

// Work of a pass's products, and of those that stand between communication and who in the same pass waits for it.
struct ProductsOfPass {
  double together = 0, beside = 0;
};
ProductsOfPass products_of(const program::Program& program, const program::Role& role, const program::PassTemplate& pass) {
  const program::Instruction* const first = role.instructions.data() + pass.first;
  std::vector<std::uint32_t> over(pass.count, 0);                // by communication: who waits for it, or for a later one on its stream
  std::map<std::uint8_t, std::vector<std::uint32_t>> under_way;  // by stream
  std::map<std::uint16_t, std::uint32_t> signalled;
  for (std::uint32_t i = 0; i < pass.count; ++i) {
    const auto waits_for = [&](std::uint8_t stream, std::uint32_t last) {
      std::vector<std::uint32_t>& open = under_way[stream];
      const auto end = std::upper_bound(open.begin(), open.end(), last);
      std::for_each(open.begin(), end, [&](std::uint32_t done) { over[done] = i; });
      open.erase(open.begin(), end);
    };
    for (std::uint32_t k = 0; first[i].stream == program::kComputeStream && k < first[i].dependency_count; ++k) {
      const program::Dependency& d = role.dependencies[first[i].dependencies + k];
      const auto signal = signalled.find(d.index);
      if (d.kind == program::DependencyKind::issued) waits_for(static_cast<std::uint8_t>(d.index), i);
      if (d.kind == program::DependencyKind::local) waits_for(first[d.index].stream, d.index);
      if (d.kind == program::DependencyKind::event && signal != signalled.end()) waits_for(first[signal->second].stream, signal->second);
    }
    if (program::is_communication(first[i].op)) under_way[first[i].stream].push_back(i);
    if (first[i].signal != program::kNone) signalled[first[i].signal] = i;
  }
  ProductsOfPass sum;
  std::uint32_t busy_until = 0;
  for (std::uint32_t i = 0; i < pass.count; ++i) {
    busy_until = std::max(busy_until, over[i]);
    if (!is_product(first[i].op)) continue;
    const double work = program::flops(program.shapes[first[i].shape]).v;
    sum.together += work, sum.beside += i < busy_until ? work : 0;
  }
  return sum;
}

std::string devices_text(std::int64_t n) { return fmt::format("{} GPU{}", n, n == 1 ? "" : "s"); }

}  // namespace

std::vector<int> share_of_devices(std::int64_t visible, std::int64_t ranks, std::int64_t local, std::int64_t locals) {
  if (visible < ranks)
    throw Error("--device", fmt::format("this process has {} ranks and sees {}", ranks, devices_text(visible)),
                "start one process for each GPU, look at CUDA_VISIBLE_DEVICES, or let all ranks share one: --device cuda:0");
  std::vector<int> all(static_cast<std::size_t>(ranks));
  std::iota(all.begin(), all.end(), visible >= ranks * locals ? static_cast<int>(ranks * local) : 0);
  return all;
}

std::int64_t check_devices(const std::vector<CudaDeviceInfo>& devices, bool mixed, bool may_share) {
  std::map<std::string, std::vector<std::size_t>> ranks;
  std::size_t most = 1;
  for (std::size_t r = 0; r < devices.size(); ++r) {
    const CudaDeviceInfo& d = devices[r];
    if (d.uuid.empty()) continue;
    std::vector<std::size_t>& same = ranks[d.uuid];
    same.push_back(r);
    most = std::max(most, same.size());
    if (same.size() > 1 && !may_share)
      throw Error("--device", fmt::format("ranks {} and {} have the same GPU ({}, {})", same.front(), r, d.name, d.uuid),
                  "give each process GPUs of its own by CUDA_VISIBLE_DEVICES, or start as many as there are; NCCL 2.30 lets ranks share one");
  }
  if (!mixed) refuse_unlike(devices);
  return static_cast<std::int64_t>(most);
}

int multiprocessors_of_products(const program::Program& program, int all) {
  double beside = 0, together = 0;
  for (const program::Role& role : program.roles) {
    for (std::size_t p = 0; p < role.passes.size(); ++p) {
      const auto times = std::count_if(role.body.begin(), role.body.end(), [&](const program::PassInstance& i) { return i.pass == p; });
      if (times == 0) continue;
      const ProductsOfPass products = products_of(program, role, role.passes[p]);
      beside += static_cast<double>(times) * products.beside, together += static_cast<double>(times) * products.together;
    }
  }
  const int taken = std::min(kMostBlocks, nccl_share(program, all));
  return beside > together / 2 ? std::max(1, all - taken) : 0;
}

std::vector<int> devices_of_ranks(const CudaPlugin& plugin, std::int64_t ranks, const std::vector<int>& named, const Launch& launch) {
  const auto visible = static_cast<std::int64_t>(plugin.devices().size());
  if (ranks < launch.processes)
    throw Error("processes", fmt::format("{} processes were started, and there are {} ranks", launch.processes, ranks),
                "start no more processes than ranks");
  for (const int number : named)
    if (number < 0 || number >= visible)
      throw Error("--device", fmt::format("there is no GPU {}: this process sees {}, counted from 0", number, devices_text(visible)));
  if (launch.processes == 1 && (ranks == 1 || visible == 1 || named.size() == 1))
    return std::vector<int>(static_cast<std::size_t>(ranks), named.empty() ? 0 : named.front());
  const std::int64_t mine = first_rank(launch.process + 1, ranks, launch.processes) - first_rank(launch.process, ranks, launch.processes);
  const bool may_share = plugin.nccl_version() >= kRanksShareGpus;
  std::vector<int> devices = named;
  if (devices.empty() && may_share && visible < mine) {
    devices.resize(static_cast<std::size_t>(visible));
    std::iota(devices.begin(), devices.end(), 0);
  }
  if (devices.empty()) devices = share_of_devices(visible, mine, launch.local_process, launch.local_processes);
  if (static_cast<std::int64_t>(devices.size()) < mine) {
    if (!may_share) share_of_devices(static_cast<std::int64_t>(devices.size()), mine, 0, 1);  // says what is wrong
    const std::size_t own = devices.size();
    for (std::size_t i = own; i < static_cast<std::size_t>(mine); ++i) devices.push_back(devices[i % own]);
  }
  devices.resize(static_cast<std::size_t>(mine));
  return devices;
}

std::unique_ptr<World> make_cuda_world(const CudaPlugin& plugin, const program::Program& program, const CudaWorldSettings& settings,
                                       std::unique_ptr<KeyStore> store, const Launch& launch) {
  const std::vector<CudaDeviceInfo> infos = plugin.devices();
  const std::int64_t ranks = program.ranks();
  Launch met = launch;
  met.process = store ? store->process() : 0, met.processes = store ? store->processes() : 1;
  std::vector<int> devices = devices_of_ranks(plugin, ranks, settings.devices, met);
  if (met.processes == 1 && (ranks == 1 || infos.size() == 1 || settings.devices.size() == 1))
    return make_shared_gpu_world(plugin, devices.front(), ranks, settings.options);
  const bool may_share = plugin.nccl_version() >= kRanksShareGpus;

  ByteWriter w;
  for (const int number : devices) {
    const CudaDeviceInfo& d = infos[static_cast<std::size_t>(number)];
    w.text(d.name), w.text(d.uuid), w.put(d.memory), w.put(d.capability), w.put(d.multiprocessors);
  }
  std::vector<std::string> all{w.take()};
  if (store) all = store->gather("the GPUs of all ranks", all.front());
  std::vector<CudaDeviceInfo> of_ranks;
  for (const std::string& part : all)
    for (ByteReader r(part); !r.empty();) {
      CudaDeviceInfo& d = of_ranks.emplace_back();
      d.name = r.text(), d.uuid = r.text(), d.memory = r.get<std::int64_t>(), d.capability = r.get<int>(), d.multiprocessors = r.get<int>();
    }
  const std::int64_t sharing = check_devices(of_ranks, settings.mixed, may_share);
  int multiprocessors = of_ranks.front().multiprocessors;
  for (const CudaDeviceInfo& d : of_ranks) multiprocessors = std::min(multiprocessors, d.multiprocessors);
  const int share = nccl_share(program, multiprocessors / static_cast<int>(sharing));
  // NCCL reads these when it is first used, which is later. It takes powers of two, and bounds what sends and receives occupy by nothing else.
  if (sharing > 1) setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1", 0);
  setenv("NCCL_MAX_P2P_NCHANNELS", std::to_string(std::bit_floor(static_cast<unsigned>(share))).c_str(), 0);
  CudaWorldSettings chosen = settings;
  chosen.options.sm_target = multiprocessors_of_products(program, infos[static_cast<std::size_t>(devices.front())].multiprocessors);
  if (store && met.processes > 1) chosen.options = in_processes(chosen.options, *store);
  return std::make_unique<NcclGpuWorld>(plugin, program, chosen, std::move(store), infos, std::move(devices), nccl_blocks(share));
}

}  // namespace orrery::executor
