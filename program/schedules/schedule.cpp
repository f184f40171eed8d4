#include "program/schedules/schedule.h"

#include <fmt/format.h>

#include <array>
#include <limits>

#include "core/error.h"
#include "program/schedules/replay.h"

namespace orrery::program {
namespace {

struct Entry {
  std::string_view name;
  PassOrder (*order)(const ScheduleInput&);
  bool takes_chunks, takes_group, takes_splits;
};

constexpr std::array kSchedules{
    Entry{"1f1b", one_forward_one_backward, false, false, false},
    Entry{"gpipe", gpipe, false, false, false},
};

void refuse_bad_input(const Entry& entry, const ScheduleInput& in) {
  const auto positive = [](std::string_view field, std::int64_t value, std::int64_t most) {
    if (value < 1 || value > most) throw Error(std::string{field}, fmt::format("{} is not between 1 and {}", value, most));
  };
  positive("ranks", in.ranks, std::numeric_limits<std::uint16_t>::max());
  positive("microbatches", in.microbatches, std::numeric_limits<std::uint16_t>::max());  // PassInstance::microbatch
  positive("chunks", in.chunks, std::numeric_limits<std::uint16_t>::max());
  positive("replicas", in.replicas, std::numeric_limits<std::uint16_t>::max());
  const auto refuse = [&](std::string_view field, std::string_view what, std::string_view way_out) {
    throw Error(std::string{field}, fmt::format("schedule '{}' has no {}", entry.name, what), std::string{way_out});
  };
  if (!entry.takes_chunks && in.chunks != 1) refuse("chunks", "model chunks: every rank holds one stage", "use vp 1");
  if (!entry.takes_group && in.group) refuse("group", "groups of micro-batches", "leave schedule_args.group null");
  if (!entry.takes_splits && in.splits) refuse("splits", "sequence splits", "leave schedule_args.splits null");
  if (in.replicas != 1) refuse("replicas", "replicated stages", "use 1 replica");
}

}  // namespace

PassOrder schedule_order(std::string_view name, const ScheduleInput& input) {
  for (const Entry& entry : kSchedules) {
    if (entry.name != name) continue;
    refuse_bad_input(entry, input);
    return entry.order(input);
  }
  const std::vector<std::string> known = schedule_names();
  throw Error("schedule", fmt::format("'{}' is not a schedule that is built", name), did_you_mean(name, known));
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> out;
  for (const Entry& entry : kSchedules) out.emplace_back(entry.name);
  return out;
}

double bubble_fraction(const PassOrder& order) {
  const Replay r = replay(order, {.forward = 1, .input_grad = 1, .weight_grad = 1, .latency = 0});
  std::int64_t busy = 0;
  for (const std::int64_t b : r.busy) busy += b;
  const auto whole = static_cast<double>(r.makespan) * static_cast<double>(order.size());
  return whole > 0 ? 1 - static_cast<double>(busy) / whole : 0;
}

}  // namespace orrery::program
