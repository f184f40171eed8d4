// The engine against the definition of its times: the least solution of start = max(stream, dependencies, host, peers), found by plain iteration.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "sim/simulate.h"
#include "support/arbitrary_programs.h"

namespace orrery::sim {
namespace {

using program::DependencyKind;
using program::Instruction;
using program::Opcode;

// Start and finish of every instruction of `periods` periods on all ranks, none folded, no shared cores. Returns the ends of the periods.
std::vector<std::int64_t> ends_by_iteration(const test::Timed& t, std::int64_t periods) {
  const program::Program& program = t.program;
  const std::int64_t n = program.mesh.ranks();
  // Who meets whom: sends and receives by (source, destination, channel), collectives by (group, stream, first member), numbered in issue order.
  using Meeting = std::tuple<int, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  std::map<Meeting, std::pair<std::int64_t, std::int64_t>> meetings, next;  // latest readiness, longest duration
  std::vector<std::int64_t> ends(static_cast<std::size_t>(periods));
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> finish;  // by rank and number of the instruction
  const bool inlined = program.launch == program::Launch::inline_host;
  for (bool changed = true; changed;) {
    changed = false;
    next.clear();
    std::fill(ends.begin(), ends.end(), 0);
    for (std::int64_t rank = 0; rank < n; ++rank) {
      const program::Role& role = program.role_of(rank);
      std::int64_t host = 0, number = 0;
      std::map<std::uint32_t, std::int64_t> stream;
      std::map<std::pair<std::uint32_t, std::uint32_t>, std::int64_t> event;
      std::map<std::tuple<int, std::int64_t, std::int64_t, std::int64_t>, std::int64_t> count;
      for (std::int64_t p = 0; p < periods; ++p)
        for (const program::PassInstance& instance : role.body) {
          const std::int64_t base = number;
          for (std::uint32_t i = 0; i < role.passes[instance.pass].count; ++i, ++number) {
            const Instruction& in = role.instructions[role.passes[instance.pass].first + i];
            const bool waits = in.opcode == Opcode::wait || in.opcode == Opcode::host_wait;
            std::int64_t duration = waits ? 0 : t.cost.entries[in.shape].duration.v;
            if (!waits) host += t.cost.issue.v;
            std::int64_t start = std::max(host, in.opcode == Opcode::host_wait ? 0 : stream[in.stream]);
            for (std::uint32_t d = in.dependencies; d < in.dependencies + in.dependency_count; ++d) {
              const program::Dependency& on = role.dependencies[d];
              const auto key = [&](std::uint16_t e) {
                return std::pair<std::uint32_t, std::uint32_t>{e, role.events[e].per_microbatch ? instance.microbatch : 0};
              };
              switch (on.kind) {
                case DependencyKind::local:
                  start = std::max(start, finish[{rank, base + on.index}]);
                  break;
                case DependencyKind::event:
                  start = std::max(start, event[key(on.index)]);
                  break;
                case DependencyKind::issued:
                  start = std::max(start, stream[on.index]);
                  break;
              }
            }
            if (!waits && in.opcode != Opcode::compute) {
              std::tuple<int, std::int64_t, std::int64_t, std::int64_t> with;
              if (in.opcode == Opcode::collective) {
                with = {0, in.group, in.stream, program::members(program.mesh, program.groups[in.group], rank).front()};
              } else {
                program::Coordinates c = program.mesh.coordinates(rank);
                c[5] = (c[5] + in.peer + program.mesh.size[5]) % program.mesh.size[5];
                const std::int64_t peer = program.mesh.rank(c);
                with = in.opcode == Opcode::send ? std::tuple<int, std::int64_t, std::int64_t, std::int64_t>{1, rank, peer, in.channel}
                                                 : std::tuple<int, std::int64_t, std::int64_t, std::int64_t>{1, peer, rank, in.channel};
              }
              // Sends and receives of one channel are numbered apart.
              auto counted = with;
              if (in.opcode == Opcode::recv) std::get<0>(counted) = 2;
              const Meeting m = std::tuple_cat(with, std::tuple{count[counted]++});
              auto& [ready, longest] = next[m];
              ready = std::max(ready, start);
              longest = std::max(longest, duration);
              if (const auto before = meetings.find(m); before != meetings.end()) {
                start = std::max(start, before->second.first);
                duration = std::max(duration, before->second.second);
              }
            }
            const std::int64_t end = start + duration;
            std::int64_t& known = finish[{rank, number}];
            changed |= known != end;
            known = end;
            ends[static_cast<std::size_t>(p)] = std::max(ends[static_cast<std::size_t>(p)], end);
            if (in.opcode == Opcode::host_wait)
              host = end;
            else
              stream[in.stream] = end;
            if (in.signal != program::kNone) event[{in.signal, role.events[in.signal].per_microbatch ? instance.microbatch : 0}] = end;
            if (inlined && (in.opcode == Opcode::compute || (in.opcode == Opcode::wait && in.stream == program::kComputeStream))) host = end;
          }
        }
    }
    std::swap(meetings, next);
  }
  return ends;
}

RC_GTEST_PROP(Engine, FindsTheLeastSolutionOfItsDefinition, ()) {
  test::Timed t = test::arbitrary_program();
  t.cluster.shared_cores = 0;
  const Result r = simulate(t.program, t.cost, t.cluster, {});
  const auto ends = ends_by_iteration(t, r.periods);
  RC_ASSERT(r.makespan.v == ends.front());
  RC_ASSERT(r.step.v == ends.back() - (ends.size() > 1 ? ends[ends.size() - 2] : 0));
}

}  // namespace
}  // namespace orrery::sim
