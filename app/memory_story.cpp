#include "app/memory_story.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.h"
#include "program/memory.h"

namespace orrery::app {

std::string_view name(MemoryCategory category) {
  static constexpr std::array<std::string_view, kMemoryCategories> kNames{
      "parameters", "gradients", "optimizer states", "activations", "logits", "communication buffers", "temporary", "other"};
  return kNames[static_cast<std::size_t>(category)];
}

MemoryCategory category(program::BufferKind kind) {
  using program::BufferKind;
  switch (kind) {
    case BufferKind::parameter:
      return MemoryCategory::parameters;
    case BufferKind::gradient:
      return MemoryCategory::gradients;
    case BufferKind::optimizer_state:
    case BufferKind::master:
      return MemoryCategory::optimizer;
    case BufferKind::activation:
      return MemoryCategory::activations;
    case BufferKind::logits:
      return MemoryCategory::logits;
    case BufferKind::communication:
      return MemoryCategory::communication;
    case BufferKind::temporary:
      return MemoryCategory::temporary;
    case BufferKind::input:
    case BufferKind::scalar:
      return MemoryCategory::other;
  }
  return MemoryCategory::other;
}

std::int64_t MemoryStory::Sample::total() const { return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0}); }

std::size_t MemoryStory::at(Picoseconds time) const {
  const auto after = std::upper_bound(samples.begin(), samples.end(), time, [](Picoseconds t, const Sample& s) { return t < s.time; });
  if (after == samples.begin()) return 0;
  auto best = after - 1;
  if (best->time != time) return static_cast<std::size_t>(best - samples.begin());
  for (auto s = best; s->time == time; --s) {
    if (s->total() >= best->total()) best = s;
    if (s == samples.begin()) break;
  }
  return static_cast<std::size_t>(best - samples.begin());
}

MemoryStory memory_story(const program::Program& program, const Timeline& timeline, Bytes capacity, std::int64_t rank) {
  if (rank < 0 || rank >= program.ranks()) throw Error{"rank", fmt::format("there is no rank {} in this plan", rank)};
  MemoryStory story;
  story.rank = rank;
  story.stage = program.stage_of(rank);
  story.label = program::label(program, rank);
  story.capacity = capacity;
  const program::Role& role = program.roles[story.stage];
  const program::MemoryHistory history = program::memory_history(program, role);
  const auto& curve = history.report.curve;

  std::map<std::pair<std::string, MemoryCategory>, std::uint32_t> numbers;
  std::vector<std::uint32_t> number_of(role.buffers.size());
  for (std::size_t b = 0; b < role.buffers.size(); ++b) {
    const program::Buffer& buffer = role.buffers[b];
    const auto [at, fresh] = numbers.try_emplace({buffer.name, category(buffer.kind)}, static_cast<std::uint32_t>(story.names.size()));
    if (fresh) story.names.push_back({buffer.name, at->first.second});
    number_of[b] = at->second;
  }

  MemoryStory::Sample now;
  const auto change = [&](std::size_t sample, std::size_t buffer, std::int64_t instances) {
    const std::int64_t bytes = instances * role.buffers[buffer].bytes;
    now.bytes[static_cast<std::size_t>(category(role.buffers[buffer].kind))] += bytes;
    story.changes.push_back({static_cast<std::uint32_t>(sample), number_of[buffer], static_cast<std::int32_t>(instances), bytes});
  };
  for (std::size_t b = 0; b < role.buffers.size(); ++b)
    if (history.at_start[b] != 0) change(0, b, history.at_start[b]);

  story.samples.reserve(curve.size() + 1);
  auto next = history.changes.begin();
  for (const MemorySample& sample : timeline.memory) {
    if (sample.rank != static_cast<std::uint64_t>(rank)) continue;
    const std::size_t s = story.samples.size();
    if (s > curve.size())
      throw Error{"memory of " + story.label, "the timeline has more changes of memory than the program", "compare like with like"};
    if (s > 0) {
      for (; next != history.changes.end() && next->step == s - 1; ++next) change(s, next->buffer, next->instances);
      now.pass = curve[s - 1].pass, now.instruction = curve[s - 1].instruction;
    }
    now.time = sample.time;
    story.samples.push_back(now);
    if (now.total() != sample.bytes)
      throw Error{"memory of " + story.label,
                  fmt::format("the timeline has {} bytes where the program has {}: it is not this plan's", sample.bytes, now.total())};
    if (now.total() > story.samples[story.peak].total()) story.peak = s;
  }
  if (story.samples.empty()) throw Error{"memory of " + story.label, "this rank was not recorded", "choose one of the recorded ranks"};
  if (story.samples.size() <= curve.size()) throw Error{"memory of " + story.label, "the timeline has fewer changes of memory than the program"};
  return story;
}

std::vector<Holding> holdings(const MemoryStory& story, std::size_t sample) {
  std::vector<Holding> by_name(story.names.size());
  for (const MemoryStory::Change& c : story.changes) {
    if (c.sample > sample) break;
    by_name[c.name].bytes += c.bytes;
    by_name[c.name].instances += c.instances;
  }
  std::vector<Holding> out;
  for (std::size_t n = 0; n < by_name.size(); ++n) {
    if (by_name[n].instances == 0) continue;
    by_name[n].name = story.names[n].name;
    by_name[n].category = story.names[n].category;
    out.push_back(std::move(by_name[n]));
  }
  std::stable_sort(out.begin(), out.end(), [](const Holding& a, const Holding& b) { return std::tie(b.bytes, a.name) < std::tie(a.bytes, b.name); });
  return out;
}

std::string occasion(const program::Program& program, const MemoryStory& story, std::size_t sample) {
  if (sample == 0 || sample >= story.samples.size()) return "the beginning of the step";
  const program::Role& role = program.roles[story.stage];
  const MemoryStory::Sample& s = story.samples[sample];
  const program::PassInstance& instance = role.body[s.pass];
  const program::PassTemplate& pass = role.passes[instance.pass];
  const program::Instruction& in = role.instructions[pass.first + s.instruction];
  std::string out = pass.name;
  // The split is in the name of its pass.
  if (pass.kind != program::PassKind::optimizer) out += fmt::format(" of micro-batch {}", instance.of(in) / program.splits);
  const bool works = in.opcode != program::Opcode::wait && in.opcode != program::Opcode::host_wait;
  if (works) out += fmt::format(": {}", program::name(in.op));
  if (in.layer != program::kNone) out += fmt::format("{} layer {}", works ? "," : ":", in.layer);
  return out;
}

}  // namespace orrery::app
