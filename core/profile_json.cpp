#include "core/profile_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/json_edge.h"
#include "core/schema.h"
#include "core/schema_fields.h"

namespace orrery {
namespace {

using schema::about;
using schema::In;
using schema::Words;

constexpr const char* kVersion = "profile/1";
const Words kCollectives{"all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "send_recv"};
const Words kDeviceCalls{"upload", "download", "fill", "allocate", "release"};

// What every measurement has. A count of zero is a guess, not a measurement.
template <class F, class M>
void measured(F& f, M& m) {
  f.constant("unit", "s", "medians are in seconds: \"unit\": \"s\"");
  f("median", m.median.v, about("of one call, in seconds").must().within(0, 1e9));
  f("spread", m.spread, about("half the interquartile range, relative to the median").must().within(0, 1e6));
  f("count", m.count, about("calls timed").must().within(1, 1e15));
}

}  // namespace

template <class F>
void fields(F& f, In<F, OperatorMeasurement>& m) {
  f("op", m.op, about("operator, e.g. linear_forward").must().filled());
  f("dims", m.dims, about("its shape, in the operator's own order").must().within(0, 1e15));
  f("dtype", m.dtype, about("element type").must());
  f("busy", m.busy, about("ranks that ran the same at the same time, each on its own data").within(1, 1 << 20));
  measured(f, m);
  f("footprint", m.footprint, about("bytes of all operands used in turn, per rank; 0: not said"));
}

template <class F>
void fields(F& f, In<F, CollectiveMeasurement>& m) {
  f("op", m.op, about("collective, or send_recv between two ranks").must().one_of(kCollectives));
  f("ranks", m.ranks, about("members").must().within(2, 1 << 24));
  f("bytes", m.bytes.v, about("payload").must());
  measured(f, m);
  f("nodes", m.nodes, about("that the members are spread over, as many on each").within(1, 1 << 24));
}

template <class F>
void fields(F& f, In<F, InterferenceMeasurement>& m) {
  f("op", m.op, about("the collective").must().one_of(kCollectives));
  f("ranks", m.ranks, about("its members").must().within(2, 1 << 24));
  f("bytes", m.bytes.v, about("its payload").must());
  f("beside", m.beside, about("the operator beside it").must().filled());
  f("dims", m.dims, about("the operator's shape").must().within(0, 1e15));
  f("collective_slowdown", m.collective_slowdown, about("of the collective, relative to itself alone").must().within(0, 1e6));
  f("slowdown", m.slowdown, about("of the operator, relative to itself alone").must().within(0, 1e6));
  f("count", m.count, about("collectives timed").must().within(1, 1e15));
}

template <class F>
void fields(F& f, In<F, DeviceCallMeasurement>& m) {
  f("what", m.what, about("from the host to the device, back, set on the device, or its memory taken or given back").must().one_of(kDeviceCalls));
  f("bytes", m.bytes.v, about("moved, set, taken or given back").must());
  measured(f, m);
}

template <class F>
void fields(F& f, In<F, PowerMeasurement>& m) {
  f("what", m.what, about("idle, or the class of work that ran").must().filled());
  f("power", m.power, about("drawn meanwhile, by the energy counter").must());
  f("time", m.time, about("that it was observed for").must());
  f("of", m.of, about("the operator that ran"));
}

template <class F>
void fields(F& f, In<F, DeviceState>& s) {
  f("when", s.when, about("begin or end").must().filled());
  f("clock_mhz", s.clock, about("of the multiprocessors; 0: unknown").within(0, 1e6));
  f("memory_clock_mhz", s.memory_clock, about("0: unknown").within(0, 1e6));
  f("temperature_c", s.temperature, about("0: unknown").within(0, 1000));
  f("power", s.power, about("drawn then; 0: unknown"));
  f("slowed_by", s.slowed_by, about("why clocks are not at their highest"));
  f("memory_errors", s.memory_errors, about("that could not be corrected").within(0, 1e15));
}

template <class F>
void fields(F& f, In<F, Transfer>& t) {
  f("from", t.from, about("the device that was measured").must().filled());
  f("arithmetic_error", t.arithmetic_error, about("relative, of what arithmetic bounds").must().within(0, 10));
  f("memory_error", t.memory_error, about("relative, of what memory bounds").must().within(0, 10));
}

template <class F>
void fields(F& f, In<F, Profile>& p) {
  f("device", p.device, about("what was measured").must().filled());
  f("kind", p.kind, about("gpu, or a CPU's cores"));
  f("part", p.part, about("name under topologies/devices; empty: none, or a CPU"));
  f("date", p.date, about("when").must().filled());
  f("clock", p.clock, about("clock while measuring").must().filled());
  f("driver", p.driver, about("driver or kernel version").must().filled());
  f("commit", p.commit, about("of the program that measured").must().filled());
  f("cores", p.cores, about("CPU: cores that ranks share; GPU: 1").within(1, 1 << 20));
  f("memory", p.memory, about("of the device").must());
  f("peak", p.peak, about("best rate of any matrix product measured, by one rank alone").must());
  f("memory_bandwidth", p.memory_bandwidth, about("of a copy, bytes read and written, by one rank alone").must());
  f("issue", p.issue, about("host time per instruction, to run it (CPU) or to enqueue it (GPU); 0: not measured"));
  f("issue_recorded", p.issue_recorded, about("the same where a recording is replayed; 0: not measured"));
  f("kernel", p.kernel, about("from one smallest kernel to the next, launched one by one; 0: not measured"));
  f("kernel_recorded", p.kernel_recorded, about("from one smallest kernel to the next in a recording; 0: not measured"));
  f("parameters", p.parameters, about("element type that parameters had"));
  f("gradients", p.gradients, about("element type that gradients of parameters had"));
  f("operators", p.operators, about("operators by shape").must());
  f("collectives", p.collectives, about("collectives by ranks and size"));
  f("interference", p.interference, about("collectives beside products; recorded for the reader, no price uses it"));
  f("device_calls", p.device_calls, about("copies between host and device, and its memory"));
  f("power", p.power, about("by class of work"));
  f("states", p.states, about("clocks, temperature and power"));
  f("transferred", p.transferred, about("how this follows from a profile of another device; null: it was measured"));
  f("left_out", p.left_out, about("what was asked for and not measured, for want of time or memory"));
}

Profile read_profile(std::string_view text, std::string_view file) { return schema::read_document<Profile>(text, file, kVersion); }
std::string write_profile(const Profile& profile) { return schema::write_document(profile, kVersion); }
std::string schema::profile_schema() { return schema_document<Profile>(kVersion, "Orrery profile"); }

Profile load_profile(const std::string& name) {
  std::error_code error;
  if (std::filesystem::exists(name, error) || name.find('/') != std::string::npos || name.find(".json") != std::string::npos) {
    return read_profile(read_text_file(name), name);
  }
  const std::filesystem::path folder = data_directory() / "profiles";
  std::vector<std::string> known;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".json") known.push_back(entry.path().stem().string());
  }
  std::sort(known.begin(), known.end());
  if (!std::binary_search(known.begin(), known.end(), name)) {
    throw Error("profile " + name, "is not known",
                known.empty() ? "give the path of a file that `orrery profile -o` wrote" : did_you_mean(name, known));
  }
  const std::string path = (folder / (name + ".json")).string();
  return read_profile(read_text_file(path), path);
}

}  // namespace orrery
