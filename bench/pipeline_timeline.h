// A timeline of any size, for benchmarks of what shows it: a pipeline of 16 ranks, forward and backward passes of layers of twelve kernels and four
// collectives each, as the simulator leaves it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/timeline.h"

namespace orrery::bench {

inline std::shared_ptr<const Timeline> pipeline_timeline(std::size_t wanted) {
  constexpr std::uint32_t kRanks = 16, kLayers = 8;
  auto t = std::make_shared<Timeline>();
  t->origin = "simulated";
  t->streams = {"compute", "tp", "dp", "send-next", "recv-previous"};
  constexpr std::array<std::pair<const char*, WorkClass>, 8> kKinds{{{"linear_forward", WorkClass::gemm},
                                                                     {"attention_forward", WorkClass::attention},
                                                                     {"norm_forward", WorkClass::norm},
                                                                     {"swiglu_forward", WorkClass::elementwise},
                                                                     {"all_gather", WorkClass::tp_comm},
                                                                     {"send", WorkClass::pp_comm},
                                                                     {"recv", WorkClass::pp_comm},
                                                                     {"linear_input_grad", WorkClass::gemm}}};
  for (const auto& [name, work] : kKinds) {
    SpanKind kind;
    kind.name = name;
    kind.work = work;
    t->kinds.push_back(kind);
  }
  t->spans.reserve(wanted + 1024);
  std::uint64_t state = 1;
  const auto random = [&state](std::int64_t low, std::int64_t high) {  // splitmix64
    std::uint64_t z = state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return low + static_cast<std::int64_t>((z >> 1U) % static_cast<std::uint64_t>(high - low));
  };
  const std::size_t passes = wanted / kRanks / (kLayers * 16 + 2);
  std::int64_t end = 0;
  for (std::uint32_t r = 0; r < kRanks; ++r) {
    t->ranks.push_back("pp" + std::to_string(r));
    std::array<std::vector<Span>, 5> streams;
    std::int64_t at = r * 30'000'000LL;
    for (std::size_t p = 0; p < passes; ++p) {
      const bool backward = p % 2 == 1;
      Span s;
      s.rank = r;
      s.pass = static_cast<std::uint32_t>(p);
      s.microbatch = static_cast<std::uint16_t>(p / 2 % 512);
      const auto put = [&](std::uint16_t stream, std::uint32_t kind, std::int64_t start, std::int64_t length) {
        s.stream = stream;
        s.kind = kind;
        s.start = Picoseconds{start};
        s.end = Picoseconds{start + length};
        streams[stream].push_back(s);
        ++s.instruction;
      };
      const std::int64_t idle = random(0, 40'000'000);  // the peer's message
      put(4, 6, at + idle / 2, idle / 2 + 1);
      at += idle;
      s.waited = Picoseconds{idle};
      s.cause = WaitCause::pp;
      for (std::uint16_t l = 0; l < kLayers; ++l) {
        s.layer = l;
        for (int k = 0; k < 12; ++k) {
          const std::int64_t length = random(1'000'000, 9'000'000);
          s.recompute = backward && k < 6;
          put(0, k == 4 ? 1 : k % 3 == 0 ? (backward ? 7 : 0) : k % 3 == 1 ? 2 : 3, at, length);
          s.recompute = false;
          s.waited = {};
          s.cause = WaitCause::none;
          if (k % 3 == 2) put(1, 4, at, length / 2);
          at += length;
        }
      }
      put(3, 5, at, random(1'000'000, 20'000'000));
    }
    for (const auto& stream : streams) t->spans.insert(t->spans.end(), stream.begin(), stream.end());
    end = std::max(end, at);
  }
  // Sends of one pass may overlap the next's in this toy; put them one after the other.
  for (std::size_t i = 1; i < t->spans.size(); ++i) {
    Span &a = t->spans[i - 1], &b = t->spans[i];
    if (a.rank == b.rank && a.stream == b.stream && b.start < a.end) a.end = b.start;
  }
  t->step = Picoseconds{end};
  return t;
}

}  // namespace orrery::bench
