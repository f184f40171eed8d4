#include "program/schedules/schedule.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "program/schedules/replay.h"
#include "program/schedules/schedules.h"

namespace orrery::program {
namespace {

// What a schedule takes beside ranks and micro-batches.
enum Takes : std::uint8_t { kNothing = 0, kChunks = 1, kGroup = 2, kSplits = 4, kReplicas = 8, kMemoryLimit = 16, kTwoChunks = 32, kCosts = 64 };

struct Entry {
  std::string_view name;
  Schedule (*make)(const ScheduleInput&);
  int takes;
};

constexpr std::array kSchedules{
    Entry{"1f1b", one_forward_one_backward, kNothing},
    Entry{"circular", circular, kChunks},
    Entry{"dualpipe", dualpipe, kTwoChunks},
    Entry{"dualpipev", dualpipev, kTwoChunks},
    Entry{"gpipe", gpipe, kNothing},
    Entry{"interleaved", interleaved, kChunks | kGroup},
    Entry{"looped-bfs", looped_bfs, kChunks},
    Entry{"pipedream", pipedream, kReplicas},
    Entry{"pipedream-2bw", pipedream_2bw, kNothing},
    Entry{"seq1f1b", seq1f1b, kSplits},
    Entry{"v-half", v_half, kTwoChunks | kMemoryLimit},
    Entry{"v-min", v_min, kTwoChunks},
    Entry{"zb-auto", zb_auto, kMemoryLimit | kCosts},
    Entry{"zb-h1", zb_h1, kNothing},
    Entry{"zb-h2", zb_h2, kNothing},
    Entry{"zbv", zbv, kTwoChunks},
};

void refuse_bad_input(const Entry& entry, const ScheduleInput& in) {
  constexpr std::int64_t kMost = std::numeric_limits<std::uint16_t>::max();  // PassInstance::microbatch
  const auto positive = [kMost](std::string_view field, std::int64_t value) {
    if (value < 1 || value > kMost) throw Error(std::string{field}, fmt::format("{} is not between 1 and {}", value, kMost));
  };
  positive("ranks", in.ranks);
  positive("microbatches", in.microbatches);
  positive("chunks", in.chunks);
  if (in.group) positive("group", *in.group);
  if (in.splits) positive("splits", *in.splits);
  if (in.memory_limit) positive("memory_limit", *in.memory_limit);
  constexpr std::int64_t kMostCost = std::int64_t{1} << 42U;  // of 2^24 passes far below 2^63
  if (in.costs)
    for (const std::int64_t cost : {in.costs->forward, in.costs->input_grad, in.costs->weight_grad, in.costs->latency})
      if (cost < 0 || cost > kMostCost) throw Error("costs", fmt::format("{} is not between 0 and {}", cost, kMostCost));
  constexpr std::int64_t kMostPasses = std::int64_t{1} << 24U;  // half a gigabyte of them
  if (in.ranks * in.microbatches > kMostPasses / in.chunks / in.splits.value_or(1))
    throw Error("microbatches", fmt::format("{} micro-batches on {} ranks are more passes than can be listed", in.microbatches, in.ranks),
                "use fewer");
  const auto refuse = [&](std::string_view field, std::string_view what, std::string_view way_out) {
    throw Error(std::string{field}, fmt::format("schedule '{}' has no {}", entry.name, what), std::string{way_out});
  };
  if ((entry.takes & (kChunks | kTwoChunks)) == 0 && in.chunks != 1) refuse("chunks", "model chunks: every rank holds one stage", "use 1 chunk");
  if ((entry.takes & kTwoChunks) != 0 && in.chunks > 2) refuse("chunks", fmt::format("{} chunks: every rank holds two stages", in.chunks), "use 2");
  if ((entry.takes & kGroup) == 0 && in.group) refuse("group", "groups of micro-batches", "leave the group out");
  if ((entry.takes & kGroup) == 0 && in.rounds) refuse("rounds", "groups of micro-batches", "leave the rounds out");
  if ((entry.takes & kSplits) == 0 && in.splits) refuse("splits", "sequence splits", "leave the splits out");
  if ((entry.takes & kMemoryLimit) == 0 && in.memory_limit) refuse("memory_limit", "memory limit to keep", "leave the limit out");
  if ((entry.takes & kCosts) == 0 && in.costs) refuse("costs", "use for costs of passes: its order is fixed", "leave the costs out");
  if (in.replicas.empty()) return;
  if ((entry.takes & kReplicas) == 0) refuse("replicas", "replicated stages", "leave the replicas out");
  for (const std::int64_t n : in.replicas) positive("replicas", n);
  const std::int64_t sum = std::accumulate(in.replicas.begin(), in.replicas.end(), std::int64_t{0});
  if (sum != in.ranks) throw Error("replicas", fmt::format("the stages' replicas add up to {}, but there are {} ranks", sum, in.ranks));
}

}  // namespace

std::string_view name(Placement placement) {
  switch (placement) {
    case Placement::loop:
      return "loop";
    case Placement::vee:
      return "vee";
    case Placement::mirrored:
      return "mirrored";
  }
  return "";
}

std::int64_t stages(Placement placement, std::int64_t ranks, std::int64_t chunks) {
  return placement == Placement::loop ? ranks * chunks : placement == Placement::vee ? 2 * ranks : ranks;
}

std::int64_t stage_of(Placement placement, std::int64_t ranks, std::int64_t rank, std::int64_t chunk) {
  if (placement == Placement::loop) return chunk * ranks + rank;
  return chunk == 0 ? rank : stages(placement, ranks, 2) - 1 - rank;
}

Home home(Placement placement, std::int64_t ranks, std::int64_t stage, std::int64_t direction) {
  switch (placement) {
    case Placement::loop:
      return {stage % ranks, static_cast<std::uint16_t>(stage / ranks)};
    case Placement::vee:
      return stage < ranks ? Home{stage, 0} : Home{2 * ranks - 1 - stage, 1};
    case Placement::mirrored:
      return direction == 0 ? Home{stage, 0} : Home{ranks - 1 - stage, 1};
  }
  return {};
}

std::int64_t stages(const Schedule& s) {
  return s.replicas.empty() ? stages(s.placement, s.ranks, s.chunks) : static_cast<std::int64_t>(s.replicas.size());
}

std::int64_t stage_of(const Schedule& s, std::int64_t rank, std::int64_t chunk) {
  if (s.replicas.empty()) return stage_of(s.placement, s.ranks, rank, chunk);
  std::int64_t stage = 0;
  for (std::int64_t left = rank; left >= s.replicas[static_cast<std::size_t>(stage)]; ++stage) left -= s.replicas[static_cast<std::size_t>(stage)];
  return stage;
}

Home home(const Schedule& s, std::int64_t stage, std::int64_t direction, std::int64_t microbatch) {
  if (s.replicas.empty()) return home(s.placement, s.ranks, stage, direction);
  const std::int64_t before = std::accumulate(s.replicas.begin(), s.replicas.begin() + stage, std::int64_t{0});
  return {before + microbatch % s.replicas[static_cast<std::size_t>(stage)], 0};
}

std::int64_t PassCosts::of(PassKind kind) const {
  switch (kind) {
    case PassKind::forward:
      return forward;
    case PassKind::backward:
      return backward();
    case PassKind::input_grad:
      return input_grad;
    case PassKind::weight_grad:
      return weight_grad;
    case PassKind::forward_backward:
      return forward_backward.value_or(forward + backward());
    default:
      return 0;
  }
}

Pass forward_half(const Pass& pass) {
  return {.kind = PassKind::forward, .chunk = pass.chunk, .direction = pass.direction, .split = pass.split, .microbatch = pass.microbatch};
}

Pass backward_half(const Pass& pass) {
  return {.kind = PassKind::backward,
          .chunk = pass.backward_chunk,
          .direction = pass.backward_direction,
          .split = pass.backward_split,
          .microbatch = pass.backward_microbatch};
}

Schedule make_schedule(std::string_view name, const ScheduleInput& input) {
  for (const Entry& entry : kSchedules) {
    if (entry.name != name) continue;
    refuse_bad_input(entry, input);
    Schedule schedule = entry.make(input);
    schedule.name = name;
    return schedule;
  }
  const std::vector<std::string> known = schedule_names();
  throw Error("schedule", fmt::format("'{}' is not a schedule that is built", name), did_you_mean(name, known));
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> out;
  out.reserve(kSchedules.size());
  for (const Entry& entry : kSchedules) out.emplace_back(entry.name);
  return out;
}

bool schedule_takes(std::string_view name, std::string_view field) {
  constexpr std::pair<std::string_view, int> kFields[]{
      {"chunks", kChunks | kTwoChunks}, {"group", kGroup}, {"rounds", kGroup}, {"splits", kSplits}, {"replicas", kReplicas}, {"costs", kCosts},
      {"memory_limit", kMemoryLimit}};
  for (const Entry& entry : kSchedules)
    for (const auto& [of_input, flags] : kFields)
      if (entry.name == name && of_input == field) return (entry.takes & flags) != 0;
  return false;
}

ChunkRange schedule_chunks(std::string_view name) {
  constexpr std::int64_t kMost = std::numeric_limits<std::uint16_t>::max();
  if (name == "dualpipe" || !schedule_takes(name, "chunks")) return {};  // dualpipe: p stages, each held twice
  if (name == "interleaved") return {2, kMost, 2};
  for (const Entry& entry : kSchedules)
    if (entry.name == name && (entry.takes & kTwoChunks) != 0) return {2, 2, 2};
  return {1, kMost, 2};
}

double bubble_fraction(const Schedule& schedule) {
  const Replay r = replay(schedule, {.forward = 1, .input_grad = 1, .weight_grad = 1});
  std::int64_t busy = 0;
  for (const std::int64_t b : r.busy) busy += b;
  const auto whole = static_cast<double>(r.makespan) * static_cast<double>(schedule.order.size());
  return whole > 0 ? 1 - static_cast<double>(busy) / whole : 0;
}

}  // namespace orrery::program
