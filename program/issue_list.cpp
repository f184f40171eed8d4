#include "program/issue_list.h"

#include <fmt/format.h>

#include <algorithm>

namespace orrery::program {

std::string IssueList::in_words(std::uint32_t issue) const {
  const Issue& i = issues[issue];
  const Pass& pass = passes[i.pass];
  const PassTemplate& of = role->passes[pass.instance.pass];
  const Instruction& it = role->instructions[i.instruction];
  std::string_view what = name(it.op);
  if (it.opcode == Opcode::host_wait) what = "host_wait";
  std::string text = fmt::format("{}'s {} (instruction {} of {}", role->name, what, i.instruction - of.first, of.name);
  if (of.kind != PassKind::optimizer) text += fmt::format(" of micro-batch {}", pass.instance.of(it));
  if (pass.step < 0) text += " in the prologue";
  if (pass.step > 0) text += fmt::format(" in step {}", pass.step + 1);
  return text + ")";
}

IssueList issue_list(const Program& program, const Role& role, std::int32_t steps) {
  IssueList list;
  list.role = &role;
  for (const PassInstance& pass : role.prologue) list.passes.push_back({pass, -1});
  for (std::int32_t step = 0; step < steps; ++step)
    for (const PassInstance& pass : role.body) list.passes.push_back({pass, step});
  for (const PassInstance& pass : role.epilogue) list.passes.push_back({pass, steps});

  // Most recent signal of each event: one for all micro-batches, or one for each.
  const auto microbatches = static_cast<std::size_t>(program.microbatches);
  std::vector<std::uint32_t> signals(role.events.size() * microbatches, IssueList::kNever);
  const auto signal = [&](std::size_t event, std::uint16_t microbatch) -> std::uint32_t& {
    return signals[event * microbatches + (role.events[event].per_microbatch ? microbatch : 0U)];
  };
  std::vector<std::uint32_t> last_on_stream(program.streams.size(), IssueList::kNever);

  std::size_t total = 0;
  for (const IssueList::Pass& pass : list.passes) total += role.passes[pass.instance.pass].count;
  list.issues.reserve(total);
  for (std::uint32_t p = 0; p < list.passes.size(); ++p) {
    const PassInstance& instance = list.passes[p].instance;
    const PassTemplate& of = role.passes[instance.pass];
    const auto start = static_cast<std::uint32_t>(list.issues.size());
    for (std::uint32_t i = 0; i < of.count; ++i) {
      const Instruction& it = role.instructions[of.first + i];
      IssueList::Issue issue{.instruction = of.first + i, .pass = p};
      const auto id = static_cast<std::uint32_t>(list.issues.size());
      issue.first_need = static_cast<std::uint32_t>(list.needs.size());
      for (std::uint32_t d = it.dependencies; d < it.dependencies + it.dependency_count; ++d) {
        const Dependency& dependency = role.dependencies[d];
        std::uint32_t need = IssueList::kNever;
        switch (dependency.kind) {
          case DependencyKind::local:
            need = start + dependency.index;
            break;
          case DependencyKind::event:
            need = signal(dependency.index, instance.of(it));
            break;
          case DependencyKind::issued:
            need = last_on_stream[dependency.index];
            break;
        }
        if (need != IssueList::kNever) list.needs.push_back(need);
      }
      issue.end_need = static_cast<std::uint32_t>(list.needs.size());
      if (it.opcode != Opcode::host_wait) {
        issue.previous = last_on_stream[it.stream];
        last_on_stream[it.stream] = id;
      }
      if (it.signal != kNone) signal(it.signal, instance.of(it)) = id;
      list.issues.push_back(issue);
    }
  }
  return list;
}

}  // namespace orrery::program
