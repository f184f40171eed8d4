#include "executor/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/error.h"
#include "executor/hash.h"

namespace orrery::executor {
namespace {

constexpr int kPort = 29531;  // where nothing says another: beside torchrun's 29400 and 29500
// Ports that are made of a job's number: below those that Linux gives to outgoing connections (32768, net.ipv4.ip_local_port_range).
constexpr std::uint64_t kFirstJobPort = 20000, kJobPorts = 10000;

template <class T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}

  // Empty: not set, or set to nothing.
  std::string text(const char* name) const {
    const char* value = environment_ ? environment_(name) : nullptr;
    return value ? value : "";
  }
  bool has(const char* name) const { return !text(name).empty(); }
  std::int64_t count(const char* name, std::int64_t least) const {
    const std::string value = text(name);
    const auto n = number<std::int64_t>(value);
    if (!n || *n < least) throw Error(name, value.empty() ? "is not set" : fmt::format("'{}' is not a number from {}", value, least));
    return *n;
  }
  std::int64_t count_or(const char* name, std::int64_t least, std::int64_t otherwise) const { return has(name) ? count(name, least) : otherwise; }
  std::optional<int> port() const {
    if (!has("MASTER_PORT")) return std::nullopt;
    const std::int64_t p = count("MASTER_PORT", 1);
    if (p > 65535) throw Error("MASTER_PORT", fmt::format("{} is not a port: those are 1 to 65535", p));
    return static_cast<int>(p);
  }
  bool in_slurm_step() const { return has("SLURM_PROCID") && has("SLURM_STEP_ID"); }
  std::string slurm_address() const {
    for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"})
      if (has(name)) {
        try {
          return first_host(text(name));
        } catch (const Error& e) {
          throw Error(name, e.message(), "set MASTER_ADDR to the host of process 0");
        }
      }
    return {};
  }
  int slurm_port() const {
    const auto job = static_cast<std::uint64_t>(count_or("SLURM_JOB_ID", 0, 0)), step = static_cast<std::uint64_t>(count_or("SLURM_STEP_ID", 0, 0));
    return static_cast<int>(kFirstJobPort + (job + step) % kJobPorts);
  }

 private:
  const Environment& environment_;
};

// So that two jobs of one machine do not meet.
int port_of(const std::string& job) {
  if (job.empty()) return kPort;
  return static_cast<int>(kFirstJobPort + fnv1a(job) % kJobPorts);
}

Launch by_torchrun(const Variables& v) {
  Launch l;
  l.source = "torchrun";
  l.process = v.count("RANK", 0);
  l.processes = v.count("WORLD_SIZE", 1);
  l.local_process = v.count_or("LOCAL_RANK", 0, l.process);
  l.local_processes = v.count_or("LOCAL_WORLD_SIZE", 1, l.processes);
  l.address = v.text("MASTER_ADDR");
  l.port = v.port().value_or(kPort);
  // Its agent then listens at MASTER_PORT with a store of its own.
  if (v.text("TORCHELASTIC_USE_AGENT_STORE") == "True") l.port = l.port < 65535 ? l.port + 1 : l.port - 1;
  return l;
}

Launch by_slurm(const Variables& v) {
  Launch l;
  l.source = "Slurm";
  l.process = v.count("SLURM_PROCID", 0);
  l.processes = v.has("SLURM_STEP_NUM_TASKS") ? v.count("SLURM_STEP_NUM_TASKS", 1) : v.count("SLURM_NTASKS", 1);
  l.local_process = v.count_or("SLURM_LOCALID", 0, l.process);
  l.local_processes = l.processes;
  if (v.has("SLURM_STEP_TASKS_PER_NODE")) {
    try {
      l.local_processes = tasks_on_node(v.text("SLURM_STEP_TASKS_PER_NODE"), v.count_or("SLURM_NODEID", 0, 0));
    } catch (const Error& e) {
      throw Error("SLURM_STEP_TASKS_PER_NODE", e.message());
    }
  }
  l.address = v.has("MASTER_ADDR") ? v.text("MASTER_ADDR") : v.slurm_address();
  l.port = v.port().value_or(v.slurm_port());
  return l;
}

void meet_of_mpi(const Variables& v, Launch& l) {
  l.address = v.text("MASTER_ADDR");
  l.port = v.port().value_or(v.in_slurm_step() ? v.slurm_port() : port_of(v.text("PMIX_NAMESPACE")));
  if (l.address.empty() && l.local_processes == l.processes) l.address = "127.0.0.1";
  if (l.address.empty() && v.in_slurm_step()) l.address = v.slurm_address();
}

Launch by_open_mpi(const Variables& v) {
  Launch l;
  l.source = "Open MPI";
  l.process = v.count("OMPI_COMM_WORLD_RANK", 0);
  l.processes = v.count("OMPI_COMM_WORLD_SIZE", 1);
  l.local_process = v.count_or("OMPI_COMM_WORLD_LOCAL_RANK", 0, l.process);
  l.local_processes = v.count_or("OMPI_COMM_WORLD_LOCAL_SIZE", 1, l.processes);
  meet_of_mpi(v, l);
  return l;
}

Launch by_pmi(const Variables& v) {
  Launch l;
  l.source = "PMI";
  l.process = v.count("PMI_RANK", 0);
  l.processes = v.count("PMI_SIZE", 1);
  l.local_process = v.count_or("MPI_LOCALRANKID", 0, l.process);
  l.local_processes = v.count_or("MPI_LOCALNRANKS", 1, l.processes);
  meet_of_mpi(v, l);
  return l;
}

// Slurm's own PMI says what Slurm says; another's is of an mpirun inside the step.
bool pmi_is_slurms(const Variables& v) {
  return v.in_slurm_step() && v.text("PMI_RANK") == v.text("SLURM_PROCID") &&
         v.text("PMI_SIZE") == v.text(v.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS");
}

Launch by_launcher(const Variables& v) {
  if (v.has("RANK") && v.has("WORLD_SIZE")) return by_torchrun(v);
  if (v.has("OMPI_COMM_WORLD_RANK") && v.has("OMPI_COMM_WORLD_SIZE")) return by_open_mpi(v);
  const bool pmi = v.has("PMI_RANK") && v.has("PMI_SIZE");
  if (v.in_slurm_step() && (!pmi || pmi_is_slurms(v))) return by_slurm(v);
  if (pmi) return by_pmi(v);
  Launch l;
  l.source = "alone";
  return l;
}

}  // namespace

std::string first_host(std::string_view nodes) {
  std::string host;
  for (std::size_t i = 0; i < nodes.size() && nodes[i] != ',';) {
    if (nodes[i] != '[') {
      if (nodes[i] == ']') throw Error("", fmt::format("'{}' closes a bracket that nothing opened", nodes));
      host += nodes[i++];
      continue;
    }
    const std::size_t end = nodes.find(']', i);
    if (end == std::string_view::npos) throw Error("", fmt::format("'{}' opens a bracket that nothing closes", nodes));
    const std::string_view inside = nodes.substr(i + 1, end - i - 1);
    const std::string_view first = inside.substr(0, inside.find_first_of(",-"));
    if (first.empty() || first.find_first_not_of("0123456789") != std::string_view::npos)
      throw Error("", fmt::format("'{}' in '{}' does not begin with a number", inside, nodes));
    host += first;  // leading zeros are part of the name
    i = end + 1;
  }
  if (host.empty()) throw Error("", fmt::format("'{}' does not begin with a host", nodes));
  return host;
}

std::int64_t tasks_on_node(std::string_view tasks_per_node, std::int64_t node) {
  std::int64_t before = 0;
  for (std::string_view rest = tasks_per_node; !rest.empty();) {
    const std::string_view entry = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    const std::size_t bracket = entry.find('(');
    const auto tasks = number<std::int64_t>(entry.substr(0, bracket));
    std::optional<std::int64_t> nodes = 1;
    if (bracket != std::string_view::npos) {
      const bool whole = entry.size() > bracket + 3 && entry[bracket + 1] == 'x' && entry.back() == ')';
      nodes = whole ? number<std::int64_t>(entry.substr(bracket + 2, entry.size() - bracket - 3)) : std::nullopt;
    }
    if (!tasks || !nodes || *tasks < 1 || *nodes < 1)
      throw Error("", fmt::format("'{}' in '{}' is not of the form 4 or 4(x2)", entry, tasks_per_node));
    if (node < before + *nodes) return *tasks;
    before += *nodes;
  }
  throw Error("", fmt::format("'{}' has no node {}", tasks_per_node, node));
}

Launch detect_launch(const Environment& environment, const LaunchFlags& flags) {
  const Variables v(environment);
  if (flags.process.has_value() != flags.processes.has_value())
    throw Error(flags.process ? "--process" : "--processes", "is given without the other", "give both: --process 0 --processes 2");
  Launch l;
  if (flags.process) {
    l.source = "flags";
    l.process = *flags.process;
    l.processes = *flags.processes;
    l.local_process = flags.local_process.value_or(l.process);
    l.local_processes = flags.local_processes.value_or(l.processes);
    l.address = v.text("MASTER_ADDR");
    l.port = v.port().value_or(kPort);
    if (l.address.empty() && l.local_processes == l.processes) l.address = "127.0.0.1";
  } else {
    l = by_launcher(v);
    l.local_process = flags.local_process.value_or(l.local_process);
    l.local_processes = flags.local_processes.value_or(l.local_processes);
  }
  if (!flags.address.empty()) l.address = flags.address;
  if (flags.port) l.port = *flags.port;

  const std::string where = l.source == "flags" ? "--process" : l.source;
  if (l.processes < 1 || l.process < 0 || l.process >= l.processes)
    throw Error(where, fmt::format("there is no process {} among {}: they are counted from 0", l.process, l.processes));
  if (l.local_processes < 1 || l.local_process < 0 || l.local_process >= l.local_processes || l.local_processes > l.processes)
    throw Error(where,
                fmt::format("there is no local process {} among {} on this machine, of {} in all", l.local_process, l.local_processes, l.processes));
  if (l.processes == 1) {
    l.address.clear(), l.port = 0;
    return l;
  }
  if (l.address.empty() && flags.ask_mpi && (l.source == "Open MPI" || l.source == "PMI")) return l;
  if (l.address.empty())
    throw Error(where, fmt::format("started {} processes, and nothing says on which machine process 0 is", l.processes),
                l.source == "Open MPI" ? "mpirun -x MASTER_ADDR=HOST, with the host of the first process"
                                       : "set MASTER_ADDR to the host of process 0 on every machine");
  if (l.port < 1 || l.port > 65535) throw Error(where, fmt::format("{} is not a port: those are 1 to 65535", l.port));
  return l;
}

}  // namespace orrery::executor
