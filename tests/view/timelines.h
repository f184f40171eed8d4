// Timelines made by chance, as the simulator leaves them: spans of a lane in order, one after the other, each waiting at most since the one before
// ended.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/timeline.h"

namespace orrery::view::testing {

// One kind of each class of work.
inline std::vector<SpanKind> kinds_of_all_classes() {
  std::vector<SpanKind> kinds;
  for (std::size_t c = 0; c < kWorkClasses; ++c) {
    SpanKind kind;
    kind.work = static_cast<WorkClass>(c);
    kind.name = std::string(name(kind.work)) + (c % 2 == 0 ? "_forward" : "_backward");
    kinds.push_back(kind);
  }
  return kinds;
}

inline std::uint32_t kind_of(WorkClass work) { return static_cast<std::uint32_t>(work); }

struct LaneSpec {
  std::uint32_t rank = 0;
  std::uint16_t stream = 0;
  int spans = 0;
};

// `most`: picoseconds that a span lasts.
inline Timeline any_timeline(const std::vector<LaneSpec>& lanes, std::int64_t most = 50'000) {
  Timeline t;
  t.origin = "simulated";
  t.streams = {"compute", "tp", "dp", "send-next"};
  t.kinds = kinds_of_all_classes();
  std::uint32_t ranks = 0;
  for (const LaneSpec& lane : lanes) ranks = std::max(ranks, lane.rank + 1);
  for (std::uint32_t r = 0; r < ranks; ++r) t.ranks.push_back("pp" + std::to_string(r));
  std::int64_t end = 0;
  for (const LaneSpec& lane : lanes) {
    std::int64_t at = *rc::gen::inRange<std::int64_t>(-1000, most);
    // Lengths of very different sizes, as kernels have: counted random numbers (splitmix64), so that a failure prints one seed and not a list.
    std::uint64_t state = static_cast<std::uint64_t>(*rc::gen::inRange<std::int64_t>(0, 1LL << 40));
    const auto random = [&state] {
      std::uint64_t z = state += 0x9e3779b97f4a7c15U;
      z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
      z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
      return static_cast<std::uint32_t>(z >> 33U);
    };
    for (int i = 0; i < lane.spans; ++i) {
      const std::array<std::uint32_t, 3> drawn{random(), random(), random()};
      const auto draw = [&](std::size_t which) { return drawn[which]; };
      Span s;
      const std::int64_t idle = draw(0) % 3 == 0 ? draw(0) % most : 0;
      const std::int64_t length = draw(1) % 7 == 0 ? 0 : 1 + draw(1) % (draw(1) % 5 == 0 ? most : most / 50 + 1);
      s.start = Picoseconds{at + idle};
      s.end = s.start + Picoseconds{length};
      s.waited = Picoseconds{idle == 0 ? 0 : draw(2) % 2 == 0 ? idle : draw(2) % idle};
      s.rank = lane.rank;
      s.stream = lane.stream;
      s.kind = draw(2) % kWorkClasses;
      s.pass = static_cast<std::uint32_t>(i / 5);
      s.instruction = static_cast<std::uint16_t>(i % 5);
      s.microbatch = static_cast<std::uint16_t>(i / 10);
      s.layer = static_cast<std::uint16_t>(draw(0) % 4);
      s.cause = s.waited.v > 0 ? static_cast<WaitCause>(1 + draw(0) % 7) : WaitCause::none;
      s.recompute = draw(1) % 4 == 0;
      t.spans.push_back(s);
      at = s.end.v;
    }
    end = std::max(end, at);
  }
  t.step = Picoseconds{end};
  return t;
}

inline std::shared_ptr<const Timeline> shared(Timeline t) { return std::make_shared<const Timeline>(std::move(t)); }

// A span by hand.
inline Span span(std::uint32_t rank, std::uint16_t stream, std::int64_t start, std::int64_t end, WorkClass work = WorkClass::gemm) {
  Span s;
  s.rank = rank;
  s.stream = stream;
  s.start = Picoseconds{start};
  s.end = Picoseconds{end};
  s.kind = kind_of(work);
  return s;
}

}  // namespace orrery::view::testing
