// What the window's pages show of a simulated step beyond its report, for whoever asks from a shell: what links carry, power, what memory holds; of
// the step, and at a time of it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/memory_story.h"
#include "app/network_load.h"
#include "app/power.h"
#include "app/simulate.h"
#include "app/span_story.h"

namespace orrery::app {

// Links that carry something, busiest first.
struct LoadedLink {
  HotLink link;  // bytes of the step, or bytes per second at a time of it
  std::string level;
  BytesPerSecond bandwidth;   // one way
  std::vector<LinkUse> uses;  // what loads the first of them over the step, most first
};

// What a rank's memory holds at a time.
struct HeldMemory {
  std::int64_t rank = 0;
  std::size_t stage = 0;
  std::string label;  // of the rank: "pp0 dp0 tp0"
  Picoseconds time;
  std::array<std::int64_t, kMemoryCategories> by_category{};
  std::vector<Holding> holdings;  // largest first
  std::string occasion;           // the instruction that made it so
  std::int64_t total() const;
};

struct Details {
  std::vector<LoadedLink> links;
  PowerStory power;
  std::vector<HeldMemory> memory;  // at its peak, by stage: of the first recorded rank of each
};
// The report must have its timeline.
Details details(const Explored& explored);

// The step, halted.
struct Moment {
  Picoseconds time;
  Watts power;  // of all devices
  std::vector<LoadedLink> links;
  std::int64_t asked_rank = 0;   // the rank that was asked for; memory.rank stands for it
  HeldMemory memory;             // of the rank
  std::vector<SpanStory> spans;  // that run on it
};
// `rank`: nothing: the one that stands for the fullest stage; one that was not recorded is looked at where the one is that stands for it. Throws
// Error for a time outside of the step and a rank that there is none of.
Moment moment(const Explored& explored, Picoseconds time, std::optional<std::int64_t> rank = {});

// As to_json(report), with "details" and "moment" where they are there.
std::string to_json(const SimulateReport& report, const std::optional<Details>& details, const std::optional<Moment>& moment);

}  // namespace orrery::app
