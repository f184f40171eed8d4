#include "executor/step_timeline.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

namespace orrery::executor {

using program::Instruction;
using program::Opcode;
using program::Program;

std::vector<WorkClass> kind_classes(const Program& program) {
  std::vector<WorkClass> classes;
  for (const program::Shape& shape : program.shapes) {
    const WorkClass axis = shape.group == program::kNone ? WorkClass::pp_comm : program.group_class[shape.group];
    classes.push_back(program::work_class(shape.op, axis));
    classes.push_back(WorkClass::optimizer);
  }
  return classes;
}

StepTimeline lay_out(const Program& program, bool last, FlopsPerSecond peak, const std::vector<WorkClass>& classes,
                     const std::vector<const StepRecord*>& records, Seconds period) {
  StepTimeline made;
  Timeline& t = made.timeline;
  t.origin = "measured";
  t.step = to_picoseconds(period);
  for (const program::StreamDecl& s : program.streams) t.streams.push_back(s.name);
  std::int64_t origin = std::numeric_limits<std::int64_t>::max();
  for (const StepRecord* r : records) origin = std::min(origin, r->begin_ns), made.step = r->step;
  const Picoseconds zero{origin * 1000};

  std::vector<std::uint32_t> kind(classes.size(), std::numeric_limits<std::uint32_t>::max());
  const auto kind_of = [&](std::uint32_t k) {
    if (kind[k] != std::numeric_limits<std::uint32_t>::max()) return kind[k];
    kind[k] = static_cast<std::uint32_t>(t.kinds.size());
    const program::Shape& shape = program.shapes[k / 2];
    SpanKind out;
    out.name = program::name(shape.op);
    out.work = classes[k];
    out.flops = program::flops(shape).v;
    out.bytes = program::is_communication(shape.op) ? shape.bytes : program::traffic(shape).v;
    if (peak.v > 0 && out.flops > 0) out.ideal = to_picoseconds(Flops{out.flops} / peak);
    t.kinds.push_back(std::move(out));
    return kind[k];
  };

  // By source, destination, channel, and the micro-batch of this step or of a later one.
  std::map<std::tuple<std::int64_t, std::int64_t, std::uint8_t, std::uint32_t>, std::pair<std::vector<std::uint32_t>, std::vector<std::uint32_t>>>
      messages;
  WaterfallBuilder waterfall(records.size());
  for (std::size_t r = 0; r < records.size(); ++r) {
    const auto rank = static_cast<std::int64_t>(r);
    const program::Role& role = program.role_of(rank);
    t.ranks.push_back(program::label(program, rank));
    std::vector<Span> spans = records[r]->spans;
    std::stable_sort(spans.begin(), spans.end(),
                     [](const Span& a, const Span& b) { return std::tie(a.stream, a.start) < std::tie(b.stream, b.start); });
    for (Span& span : spans) {
      span.start -= zero;
      span.end -= zero;
      span.kind = kind_of(span.kind);
      const SpanKind& k = t.kinds[span.kind];
      if (span.stream == program::kComputeStream)
        waterfall.add(span.rank, k.work, span.recompute, k.ideal, span.end - span.start, span.cause, span.waited, span.transfer);
      const program::PassInstance& instance = (last ? role.epilogue : role.body)[span.pass];
      const Instruction& in = role.instructions[role.passes[instance.pass].first + span.instruction];
      if (in.opcode == Opcode::send || in.opcode == Opcode::recv) {
        const std::int64_t peer = program::peer_of(program, rank, in);
        const bool sends = in.opcode == Opcode::send;
        auto& both = messages[{sends ? rank : peer, sends ? peer : rank, in.channel, std::uint32_t{instance.ahead} << 16U | instance.of(in)}];
        (sends ? both.first : both.second).push_back(static_cast<std::uint32_t>(t.spans.size()));
      }
      t.spans.push_back(span);
    }
    for (MemorySample m : records[r]->memory) {
      m.time -= zero;
      t.memory.push_back(m);
    }
  }
  for (const auto& [key, both] : messages)
    for (std::size_t k = 0; k < std::min(both.first.size(), both.second.size()); ++k) t.flows.push_back({both.first[k], both.second[k]});
  made.waterfall = waterfall.finish(t.step, std::vector<std::int64_t>(records.size(), 1), program.roles.size() > 1);
  return made;
}

}  // namespace orrery::executor
