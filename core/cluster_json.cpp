#include "core/cluster_json.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/json_edge.h"
#include "core/schema.h"
#include "core/schema_fields.h"
#include "core/settings.h"

namespace orrery {
namespace schema {

template <>
struct Special<Device> {
  static bool read(const json::Value& value, Device& out) {
    if (!value.is_text()) return false;
    try {
      out = load_device(value.text());
    } catch (const Error& e) {
      // A mistake in the name belongs to whoever wrote the name; a mistake in the device's own file has its address already.
      if (e.where() == "device " + value.text()) value.fail(e.message(), e.hint());
      throw;
    }
    return true;
  }
  static Tree schema(Tree of_the_object) {
    Tree forms = Tree::list();
    forms.push(Tree::object().add("type", Tree::of("string"))).push(std::move(of_the_object));
    return Tree::object().add("anyOf", std::move(forms));
  }
};

}  // namespace schema

using schema::about;
using schema::In;

namespace {

constexpr const char* kClusterVersion = "cluster/1";
constexpr const char* kDeviceVersion = "device/1";
constexpr const char* kThisMachine = "this-machine";
// So that products of a few axes stay far from 2^63.
constexpr double kMostDevices = 1 << 24;

const schema::Words kEfficiencies{"gemm", "grouped_gemm", "attention_forward", "attention_backward", "memory"};

// Throws Error at `where` when the count neither fits one node nor fills whole nodes.
void check_devices(std::int64_t devices, std::int64_t node, std::string_view where) {
  if (devices < 1) throw Error(std::string(where), fmt::format("{} is not a positive number of devices", devices));
  if (devices > static_cast<std::int64_t>(kMostDevices)) {
    throw Error(std::string(where), fmt::format("{} is more than {} devices", devices, static_cast<std::int64_t>(kMostDevices)));
  }
  if (devices > node && devices % node != 0) {
    throw Error(std::string(where), fmt::format("{} devices do not fill whole nodes of {}", devices, node),
                fmt::format("the nearest sizes are {} and {}", devices / node * node, (devices / node + 1) * node));
  }
}

}  // namespace

template <class F>
void fields(F& f, In<F, Device::Efficiency>& e) {
  f("value", e.value, about("share of the roofline, measured rates above the nominal peak allowed").must().within(1e-6, 2));
  f("source", e.source, about("where the share comes from").must().filled());
}

template <class F>
void fields(F& f, In<F, Device>& d) {
  f("name", d.name, about("file name under topologies/devices").must().filled());
  f("kind", d.kind, about("gpu, or one core of a CPU").must());
  f("peak", d.peak, about("dense rate by element type, without sparsity").must().positive());
  f("memory", d.memory, about("memory that a program can use").must().positive());
  f("memory_bandwidth", d.memory_bandwidth, about("nominal rate of that memory").must().positive());
  f("sms", d.sms, about("streaming multiprocessors, or compute units").at_least(1).must());
  f("idle_power", d.idle_power, about("drawn without work"));
  f("tdp", d.tdp, about("thermal design power"));
  f("launch", d.launch, about("host time to issue one kernel"));
  f("clock", d.clock, about("share of the clock at which the peak holds: arithmetic goes with it").within(0.5, 1.5));
  f("efficiency", d.efficiency, about("share of the roofline that a class of operators reaches").keyed_by(kEfficiencies));
  f("sources", d.sources, about("where each figure comes from, by field").filled());
  f.check([&](const auto& at) {
    if (d.peak.empty()) at("peak").fail("is empty", "give at least one: \"peak\": {\"bf16\": \"989.5 TFLOPS\"}");
    if (d.tdp < d.idle_power) at("tdp").fail(fmt::format("{} is less than the idle power, {}", exact_text(d.tdp), exact_text(d.idle_power)));
  });
}

template <class F>
void fields(F& f, In<F, NetworkLevel>& l) {
  f("name", l.name, about("nvlink, infiniband, shared-memory …").must().filled());
  f("size", l.size, about("devices within one domain of this level; null in the last: all").must().within(1, kMostDevices).null_is(0));
  f("bandwidth", l.bandwidth, about("of one device, in one direction, nominal").must().positive());
  f("efficiency", l.efficiency, about("share of the bandwidth that a large collective reaches").must().within(1e-6, 2));
  f("latency", l.latency, about("of one step between two devices").must());
  f("source", l.source, about("where these figures come from").must().filled());
}

template <class F>
void fields(F& f, In<F, SlowDevice>& s) {
  f("device", s.device, about("its number, from 0").must().within(0, kMostDevices));
  f("factor", s.factor, about("its computation takes so many times as long").must().within(1, 1000));
}

template <class F>
void fields(F& f, In<F, Cluster>& c) {
  f("name", c.name, about("file name under topologies/clusters").must().filled());
  f("device", c.device, about("a name under topologies/devices, or a whole device").must());
  f("devices", c.devices, about("ranks that the cluster can hold").must().within(1, kMostDevices));
  f("node_size", c.node_size, about("devices of one node").must().within(1, kMostDevices));
  f("levels", c.levels, about("networks, innermost first; the last spans the cluster").must());
  f("shared_cores", c.shared_cores, about("CPU: cores that the ranks of a node share; 0: every device is its own").within(0, 1 << 20));
  f("price_per_device_hour", c.price_per_device_hour, about("US dollars; 0: unknown").within(0, 1e9));
  f("slow", c.slow, about("stragglers, each with how many times as long its computation takes"));
  f("sources", c.sources, about("where each figure comes from, by field").filled());
  if constexpr (!F::kWrites) {
    f.check([&](const auto& at) {
      if (c.levels.empty()) at("levels").fail("is empty", "describe at least one network level");
      const std::vector<json::Value> levels = at("levels").list();
      const auto size_of = [&](std::size_t l) { return levels[l].object().required("size"); };
      std::int64_t inner = 0;
      for (std::size_t l = 0; l < c.levels.size(); ++l) {
        const bool last = l + 1 == c.levels.size();
        std::int64_t& size = c.levels[l].size;
        if (size == 0) {
          if (!last) size_of(l).fail("null is not a number of devices here", "only the last level may leave its size to the cluster");
          size = std::max(c.devices, inner);
        }
        if (size < inner)
          size_of(l).fail(fmt::format("{} is less than {}, the size of the level before", size, inner), "list the innermost level first");
        inner = size;
      }
      if (c.levels.back().size < c.devices) {
        size_of(levels.size() - 1)
            .fail(fmt::format("{} is less than the cluster's {} devices", c.levels.back().size, c.devices),
                  "write null: the last level spans the cluster");
      }
      check_devices(c.devices, c.node_size, at("devices").where());
      for (std::size_t i = 0; i < c.slow.size(); ++i) {
        const json::Value at_device = at("slow").list()[i].object().required("device");
        if (c.shared_cores > 0) at("slow").fail("is for devices that share nothing", "the ranks of this cluster share the cores of a node");
        if (c.slow[i].device >= c.devices)
          at_device.fail(fmt::format("{} is not one of the {} devices", c.slow[i].device, c.devices), "they are counted from 0");
        for (std::size_t j = 0; j < i; ++j)
          if (c.slow[j].device == c.slow[i].device) at_device.fail(fmt::format("{} is named twice", c.slow[i].device), "name each device once");
      }
      // Levels beyond the first that holds all devices carry nothing.
      const auto spans = std::find_if(c.levels.begin(), c.levels.end(), [&](const NetworkLevel& l) { return l.size >= c.devices; });
      c.levels.erase(std::next(spans), c.levels.end());
    });
  }
}

namespace {

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".json") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() < 100 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '+'; });
}

// "name:64" in its parts; no count: 0.
struct Specification {
  std::string base;
  std::int64_t devices = 0;
};
Specification take_apart(const std::string& specification) {
  const std::size_t colon = specification.rfind(':');
  if (colon == std::string::npos) return {specification, 0};
  const std::string_view count = std::string_view(specification).substr(colon + 1);
  const std::string where = "cluster " + specification;
  std::int64_t devices = 0;
  const auto [end, problem] = std::from_chars(count.data(), count.data() + count.size(), devices);
  const bool number = end == count.data() + count.size() && problem == std::errc{};
  if (!number || devices < 1) {
    throw Error(where, fmt::format("'{}' is not a positive whole number of devices", count),
                fmt::format("write it like {}:64", specification.substr(0, colon)));
  }
  return {specification.substr(0, colon), devices};
}

// Nominal clock in hertz and floating-point operations per clock of one core, each with the way it was found.
struct Core {
  double hertz = 2.5e9;
  std::int64_t flops_per_clock = 8;
  std::string clock_source = "assumed, the system does not say", width_source = "assumed, 128-bit vectors";
};

Core detect_core() {
  Core core;
  std::ifstream limit("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq");
  if (double kilohertz = 0; limit >> kilohertz && kilohertz > 1e5 && kilohertz < 2e7) {
    core.hertz = kilohertz * 1e3;
    core.clock_source = "cpufreq/cpuinfo_max_freq";
  } else {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
      if (line.rfind("cpu MHz", 0) != 0) continue;
      const std::size_t colon = line.find(':');
      if (colon == std::string::npos) break;
      const double megahertz = std::strtod(line.c_str() + colon + 1, nullptr);
      if (megahertz > 100 && megahertz < 20000) {
        core.hertz = std::round(megahertz) * 1e6;
        core.clock_source = "/proc/cpuinfo";
      }
      break;
    }
  }
  // Two fused multiply-adds a clock, each on a whole vector of 32-bit numbers: 2 x 2 x lanes.
#if defined(__x86_64__) || defined(__i386__)
  if (__builtin_cpu_supports("avx512f")) {
    core.flops_per_clock = 64;
    core.width_source = "AVX-512";
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    core.flops_per_clock = 32;
    core.width_source = "AVX2";
  }
#elif defined(__aarch64__)
  core.flops_per_clock = 16;
  core.width_source = "NEON";
#endif
  return core;
}

}  // namespace

Device read_device(std::string_view text, std::string_view file) { return schema::read_document<Device>(text, file, kDeviceVersion); }
Cluster read_cluster(std::string_view text, std::string_view file) { return schema::read_document<Cluster>(text, file, kClusterVersion); }
std::string write_device(const Device& device) { return schema::write_document(device, kDeviceVersion); }

namespace {
// As a document has it.
Cluster to_be_written(const Cluster& cluster) {
  Cluster out = cluster;
  if (!out.levels.empty() && out.levels.back().size == out.devices)
    out.levels.back().size = 0;  // null: it spans the cluster, also after `--set devices=…`
  return out;
}
}  // namespace
std::string write_cluster(const Cluster& cluster) { return schema::write_document(to_be_written(cluster), kClusterVersion); }
std::vector<Field> cluster_fields(const Cluster& cluster) { return schema::Lister::of(to_be_written(cluster)); }

std::string schema::cluster_schema() { return schema_document<Cluster>(kClusterVersion, "Orrery cluster"); }
std::string schema::device_schema() { return schema_document<Device>(kDeviceVersion, "Orrery device"); }

std::vector<std::string> device_names() { return names_in(data_directory() / "topologies" / "devices"); }

std::vector<std::string> cluster_names() {
  std::vector<std::string> out = names_in(data_directory() / "topologies" / "clusters");
  out.insert(std::upper_bound(out.begin(), out.end(), kThisMachine), kThisMachine);
  return out;
}

Device load_device(const std::string& name) {
  const std::filesystem::path path = data_directory() / "topologies" / "devices" / (name + ".json");
  std::error_code error;
  if (!is_name(name) || !std::filesystem::is_regular_file(path, error)) {
    throw Error("device " + name, "is not known", did_you_mean_of_many(name, device_names(), "orrery show devices"));
  }
  return read_device(read_text_file(path), path.string());
}

Cluster this_machine(std::int64_t devices) {
  const auto cores = static_cast<std::int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  const std::int64_t ranks = devices > 0 ? devices : cores;
  const std::int64_t physical = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::int64_t>(sysconf(_SC_PAGE_SIZE));
  const Core core = detect_core();

  Cluster out;
  out.name = kThisMachine;
  out.device = load_device("cpu-core");
  out.device.peak = {{DType::fp32, FlopsPerSecond{core.hertz * static_cast<double>(core.flops_per_clock)}}};
  out.device.memory = Bytes{std::max<std::int64_t>(physical / ranks, 1)};
  out.device.sources["peak"] = fmt::format("assumed: {:.2f} GHz ({}) x {} FLOP per clock ({}, two fused multiply-adds)", core.hertz * 1e-9,
                                           core.clock_source, core.flops_per_clock, core.width_source);
  out.device.sources["memory"] = fmt::format("physical memory of {}, shared by {} ranks", format_bytes(Bytes{physical}), ranks);
  out.devices = out.node_size = ranks;
  out.shared_cores = cores;
  out.levels = {{"shared-memory", ranks, BytesPerSecond{5.5e9}, 1.0, Seconds{2.3e-6},
                 "assumed: all-reduce of 1 MB and of 1 KB between two Open MPI 4.1.4 ranks in shared memory on a 2-core server"}};
  out.sources = {{"shared_cores", "std::thread::hardware_concurrency"}, {"devices", "one rank per core unless a number is given"}};
  check_devices(ranks, ranks, fmt::format("cluster {}:{}", kThisMachine, ranks));
  return out;
}

ClusterText cluster_text(const std::string& specification) {
  const bool is_path = specification.find('/') != std::string::npos || specification.find(".json") != std::string::npos;
  std::error_code error;
  if (is_path && std::filesystem::is_regular_file(specification, error)) return {read_text_file(specification), specification};
  const Specification parts = take_apart(specification);
  const std::string where = "cluster " + specification;
  if (parts.base == kThisMachine) return {write_cluster(this_machine(parts.devices)), where};

  std::filesystem::path path = parts.base;
  if (!is_path) {
    path = data_directory() / "topologies" / "clusters" / (parts.base + ".json");
    if (!is_name(parts.base) || !std::filesystem::is_regular_file(path, error)) {
      throw Error(where, "is not known", did_you_mean_of_many(parts.base, cluster_names(), "orrery show clusters"));
    }
  }
  const std::string file = path.string(), text = read_text_file(path);
  if (parts.devices == 0) return {text, file};
  check_devices(parts.devices, read_cluster(text, file).node_size, where);  // so that a wrong count is answered at the specification, not at the file
  const Setting count{"devices", fmt::format("{}", parts.devices)};
  return {apply_settings(text, file, std::span(&count, 1)), file};
}

Cluster load_cluster(const std::string& specification, std::span<const Setting> settings) {
  const ClusterText source = cluster_text(specification);
  return read_cluster(apply_settings(source.text, source.file, settings), source.file);
}

}  // namespace orrery
