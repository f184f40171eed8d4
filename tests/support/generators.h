// Random documents for property tests: legal ones, with every field in play. rapidcheck shrinks what fails.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/cluster.h"
#include "core/plan.h"
#include "core/plan_json.h"
#include "core/profile.h"
#include "core/timeline.h"

namespace orrery::gen {

// Within [low, high], both included.
inline std::int64_t whole(std::int64_t low, std::int64_t high) { return *rc::gen::inRange<std::int64_t>(low, high + 1); }
inline bool coin() { return *rc::gen::arbitrary<bool>(); }

// A double between 10^low and 10^high with 53 random bits; now and then a round one.
inline double real(int low, int high) {
  const double scale = std::pow(10.0, static_cast<double>(whole(low, high - 1)));
  if (coin()) return static_cast<double>(whole(1, 9)) * scale;
  return scale * (1 + 9 * std::ldexp(static_cast<double>(whole(0, (1LL << 52) - 1)), -52));
}

// Not empty; quotes, control characters and all of UTF-8 included.
inline std::string text() {
  static const std::vector<std::string> kPieces{"a",  "Z",  "0",    " ",    "-", ".",  "/", ":", "\"",  "\\",
                                                "\n", "\t", "\x01", "\x7f", "é", "字", "🚀", "{", "null"};
  std::string out;
  for (const std::size_t i : *rc::gen::nonEmpty(rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, kPieces.size()))))
    out += kPieces[i];
  return out;
}
inline std::string word(const std::vector<std::string>& words) { return *rc::gen::elementOf(words); }
template <class T>
T one_of(std::initializer_list<T> values) {
  return *rc::gen::elementOf(std::vector<T>(values));
}
template <class Make>
auto maybe(Make make) -> std::optional<decltype(make())> {
  if (coin()) return make();
  return std::nullopt;
}
template <class Make>
auto list(Make make, std::int64_t most = 4) -> std::vector<decltype(make())> {
  std::vector<decltype(make())> out;
  for (std::int64_t n = whole(0, most); n > 0; --n) out.push_back(make());
  return out;
}
inline DType float_type() { return one_of({DType::fp32, DType::tf32, DType::bf16, DType::fp16, DType::fp8, DType::fp4}); }

inline ParallelSpec parallel() {
  ParallelSpec p;
  p.tp = whole(1, 1024), p.cp = whole(1, 1024), p.pp = whole(1, 1024), p.vp = whole(1, 64), p.ep = whole(1, 1024), p.etp = whole(1, 64);
  p.sp = coin();
  p.cp_kind = word({"allgather", "p2p", "a2a", "a2a+p2p"});
  p.cp_inner = maybe([] { return whole(1, 64); }), p.cp_balanced = coin();
  p.order = word({"tp-cp-ep-dp-pp", "pp-dp-ep-cp-tp", "tp-pp-cp-dp-ep"});
  return p;
}
inline ShardingSpec sharding() { return {whole(0, 3), coin(), coin(), whole(1, 64)}; }
inline RecomputeSpec recompute() {
  return {word({"none", "selective", "full"}), list([] { return word(recompute_modules()); }), maybe([] { return whole(1, 200); }), maybe([] {
            return word({"uniform", "block"});
          })};
}
inline PrecisionSpec precision() {
  return {float_type(), maybe([] { return word({"delayed", "current", "blockwise", "mxfp8", "nvfp4"}); }),
          float_type(), float_type(),
          float_type(), maybe(float_type)};
}

inline Plan plan() {
  Plan p;
  p.model = text(), p.cluster = text(), p.preset = maybe(text);
  p.seed = static_cast<std::uint64_t>(whole(0, INT64_MAX - 1));
  p.batch.micro = whole(1, 64);
  p.batch.global = p.batch.micro * whole(1, 4096);
  p.batch.sequence = whole(1, 1 << 20);
  p.parallel = parallel();
  p.schedule = word(known_schedules());
  p.schedule_args = {maybe([] { return whole(1, 64); }),
                     maybe([] { return whole(1, 64); }),
                     coin(),
                     maybe([] {
                       return PassCostSpec{whole(0, 64), whole(0, 64), whole(0, 64), whole(0, 64)};
                     }),
                     maybe([] { return whole(1, 64); }),
                     maybe(text),
                     maybe(text)};
  p.stages = maybe([] { return list([] { return whole(0, 100); }); });
  p.segments = maybe([] {
    return list(
        [] {
          return SegmentSpec{whole(0, 100),    whole(1, 100), maybe([] { return whole(1, 100); }), maybe(parallel), maybe(sharding), maybe(recompute),
                             maybe(precision), maybe(text)};
        },
        2);
  });
  p.placement = maybe([] { return list([] { return whole(0, 1000); }); });
  p.data_parallel = {word(data_parallel_kinds()),
                     maybe([] { return whole(1, 1LL << 40); }),
                     maybe([] { return whole(0, 100); }),
                     maybe([] { return whole(1, 100); }),
                     maybe([] { return whole(1, 100); }),
                     maybe([] { return real(-6, 2); }),
                     maybe([] { return real(-6, 2); }),
                     maybe([] { return real(-6, 2); }),
                     coin(),
                     maybe([] {
                       return word({"fp16", "powersgd"});
                     })};
  p.sharding = sharding();
  p.recompute = recompute();
  p.precision = precision();
  p.overlap = {coin(), coin(), coin(), coin(), coin()};
  p.offload = {coin(), coin(), maybe(text)};
  p.moe = {maybe([] { return real(-2, 2); }), coin(), text(), maybe([] { return word({"all", "load"}); }), maybe(text)};
  p.lora = maybe(text);
  p.runtime = {
      text(), word({"flash", "unfused"}), coin(), coin(), maybe([] { return word({"allgather", "alltoall", "deepep", "hybridep"}); }), coin(), coin(),
      coin()};
  p.optimizer = {word({"adamw", "sgd"}),
                 real(-6, 0),
                 {real(-3, 0) / 10, real(-3, 0) / 10},
                 real(-12, -3),
                 real(-3, 1),
                 coin() ? 0.0 : real(-2, 2),
                 coin(),
                 coin()};
  p.mtp.weight = real(-3, 1);
  p.clocks = maybe(text);
  p.checkpoint = {maybe([] { return whole(1, 100000); }), word({"async", "sync"})};
  return p;
}

inline std::map<std::string, std::string> sources() {
  std::map<std::string, std::string> out;
  for (std::string& key : list(text)) out[std::move(key)] = text();
  return out;
}

inline Device device() {
  Device d;
  d.name = text();
  d.kind = one_of({DeviceKind::gpu, DeviceKind::cpu_core});
  for (const DType t : {DType::fp32, DType::tf32, DType::bf16, DType::fp16, DType::fp8, DType::fp4, DType::uint8, DType::int32}) {
    if (d.peak.empty() || coin()) d.peak[t] = FlopsPerSecond{real(9, 17)};
  }
  d.memory = Bytes{whole(1, 1LL << 45)};
  d.memory_bandwidth = BytesPerSecond{real(9, 14)};
  d.sms = whole(1, 1000);
  d.idle_power = Watts{real(-1, 2)};
  d.tdp = d.idle_power + Watts{real(1, 4)};
  d.launch = Seconds{real(-8, -3)};
  if (coin()) d.clock = static_cast<double>(whole(50, 150)) / 100;
  for (const char* key : {"gemm", "grouped_gemm", "attention_forward", "attention_backward", "memory"}) {
    if (coin()) d.efficiency[key] = {real(-2, 0), text()};
  }
  d.sources = sources();
  return d;
}

inline Cluster cluster() {
  Cluster c;
  c.name = text();
  c.device = device();
  c.node_size = whole(1, 72);
  c.devices = coin() ? whole(1, c.node_size) : c.node_size * whole(1, 1000);
  const auto level = [](std::int64_t size) {
    return NetworkLevel{text(), size, BytesPerSecond{real(8, 13)}, real(-2, 0), Seconds{real(-7, -3)}, text()};
  };
  if (c.devices > c.node_size) {
    c.levels.push_back(level(c.node_size));
    if (c.devices > 8 * c.node_size && coin()) c.levels.push_back(level(8 * c.node_size));
  }
  c.levels.push_back(level(coin() ? c.devices : c.devices + whole(1, 100)));
  c.shared_cores = coin() ? 0 : whole(1, 256);
  c.price_per_device_hour = coin() ? 0 : real(-1, 2);
  if (c.shared_cores == 0 && coin()) c.slow.push_back({whole(0, c.devices - 1), 1 + real(-2, 2)});
  c.sources = sources();
  return c;
}

inline Profile profile() {
  Profile p;
  p.device = text(), p.clock = text(), p.driver = text(), p.date = text(), p.commit = text();
  p.cores = whole(1, 256);
  p.memory = Bytes{whole(0, 1LL << 45)};
  p.peak = FlopsPerSecond{coin() ? 0 : real(9, 16)};
  p.memory_bandwidth = BytesPerSecond{coin() ? 0 : real(9, 13)};
  p.operators = list([] {
    return OperatorMeasurement{text(),
                               list([] { return whole(0, 1 << 20); }),
                               one_of({DType::fp32, DType::bf16, DType::int32, DType::fp64}),
                               whole(1, 64),
                               Seconds{real(-9, 1)},
                               coin() ? 0 : real(-4, 0),
                               whole(1, 1000000),
                               Bytes{coin() ? 0 : whole(1, 1LL << 40)}};
  });
  p.collectives = list([] {
    return CollectiveMeasurement{word({"all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "send_recv"}),
                                 whole(2, 1024),
                                 Bytes{whole(0, 1LL << 40)},
                                 Seconds{real(-9, 1)},
                                 coin() ? 0 : real(-4, 0),
                                 whole(1, 1000000),
                                 whole(1, 64)};
  });
  p.issue = Seconds{coin() ? 0 : real(-9, -3)};
  p.left_out = list(text);
  p.kind = one_of({DeviceKind::gpu, DeviceKind::cpu_core});
  if (coin()) p.part = text();
  p.issue_recorded = Seconds{coin() ? 0 : real(-9, -3)};
  p.kernel = Seconds{coin() ? 0 : real(-9, -3)};
  p.kernel_recorded = Seconds{coin() ? 0 : real(-9, -3)};
  p.parameters = one_of({DType::fp32, DType::bf16});
  p.gradients = one_of({DType::fp32, DType::bf16});
  p.device_calls = list([] {
    return DeviceCallMeasurement{word({"upload", "download", "fill", "allocate", "release"}), Bytes{whole(0, 1LL << 40)}, Seconds{real(-9, 1)},
                                 coin() ? 0 : real(-4, 0), whole(1, 1000000)};
  });
  p.power = list([] { return PowerMeasurement{text(), Watts{real(0, 4)}, Seconds{real(-3, 2)}, coin() ? text() : std::string()}; });
  p.states = list([] {
    return DeviceState{
        text(), coin() ? 0 : real(2, 4), coin() ? 0 : real(2, 4), coin() ? 0 : real(1, 2), Watts{coin() ? 0 : real(0, 4)}, list(text), whole(0, 9)};
  });
  p.interference = list([] {
    return InterferenceMeasurement{word({"all_reduce", "send_recv"}),
                                   whole(2, 1024),
                                   Bytes{whole(0, 1LL << 40)},
                                   text(),
                                   list([] { return whole(0, 1 << 20); }),
                                   real(-1, 1),
                                   real(-1, 1),
                                   whole(1, 1000)};
  });
  if (coin()) p.transferred = Transfer{text(), real(-3, 0), real(-3, 0)};
  return p;
}

inline Timeline timeline() {
  Timeline t;
  t.origin = word({"simulated", "measured"});
  t.step = Picoseconds{whole(0, 1LL << 60)};
  t.streams = list(text);
  t.streams.push_back(text());
  t.ranks = list([] { return coin() ? text() : std::string(); });
  t.ranks.push_back(text());
  if (coin())
    for (std::size_t r = 0; r < t.ranks.size(); ++r) t.weights.push_back(whole(0, 100'000));
  if (coin()) t.all_ranks = whole(1, 100'000);
  t.kinds = list([] {
    return SpanKind{coin() ? text() : std::string(),
                    static_cast<WorkClass>(whole(0, kWorkClasses - 1)),
                    Picoseconds{whole(0, 1LL << 50)},
                    coin() ? 0 : real(0, 20),
                    whole(0, 1LL << 50),
                    coin() ? text() : std::string(),
                    Joules{coin() ? 0 : real(0, 20)}};
  });
  t.kinds.push_back({text(), WorkClass::gemm, Picoseconds{1}, 2.5, 3, text()});
  const auto index = [](std::size_t size) { return whole(0, static_cast<std::int64_t>(size) - 1); };
  t.spans = list(
      [&] {
        Span s;
        s.start = Picoseconds{whole(-1000, 1LL << 60)};
        s.end = s.start + Picoseconds{whole(0, 1LL << 40)};
        s.waited = Picoseconds{coin() ? 0 : whole(-5, 1LL << 40)};
        s.transfer = Picoseconds{coin() ? 0 : whole(0, 1LL << 40)};
        s.rank = static_cast<std::uint32_t>(index(t.ranks.size()));
        s.kind = static_cast<std::uint32_t>(index(t.kinds.size()));
        s.pass = static_cast<std::uint32_t>(whole(0, UINT32_MAX));
        s.instruction = static_cast<std::uint16_t>(whole(0, UINT16_MAX));
        s.stream = static_cast<std::uint16_t>(index(t.streams.size()));
        if (coin()) s.layer = static_cast<std::uint16_t>(whole(0, UINT16_MAX));
        if (coin()) s.microbatch = static_cast<std::uint16_t>(whole(0, UINT16_MAX));
        s.cause = static_cast<WaitCause>(whole(0, 7));
        s.recompute = coin();
        return s;
      },
      8);
  std::stable_sort(t.spans.begin(), t.spans.end(),
                   [](const Span& a, const Span& b) { return std::tie(a.rank, a.stream, a.start) < std::tie(b.rank, b.stream, b.start); });
  for (std::uint32_t i = 0; i < t.spans.size(); ++i)
    if (coin()) t.critical.push_back(i);
  std::stable_sort(t.critical.begin(), t.critical.end(), [&](std::uint32_t a, std::uint32_t b) { return t.spans[a].start < t.spans[b].start; });
  if (!t.spans.empty()) {
    t.flows = list([&] { return Flow{static_cast<std::uint32_t>(index(t.spans.size())), static_cast<std::uint32_t>(index(t.spans.size()))}; });
  }
  t.memory = list([&] {
    return MemorySample{Picoseconds{whole(0, 1LL << 60)}, static_cast<std::uint32_t>(index(t.ranks.size())), whole(0, 1LL << 50)};
  });
  return t;
}

}  // namespace orrery::gen
