#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "program/arena.h"
#include "program/checks/checks.h"

namespace orrery::program::checks {
namespace {

// Whether the modes of `accesses` are those of the operator's pattern, whose capital letters may be missing.
bool fits(std::string_view pattern, std::span<const Access> accesses) {
  constexpr std::string_view kLetters = "rwu";
  if (pattern.empty()) return accesses.empty();
  const char letter = pattern.front();
  const bool optional = letter >= 'A' && letter <= 'Z';
  const char mode = optional ? static_cast<char>(letter - 'A' + 'a') : letter;
  if (!accesses.empty() && kLetters[static_cast<std::size_t>(accesses.front().mode)] == mode && fits(pattern.substr(1), accesses.subspan(1)))
    return true;
  return optional && fits(pattern.substr(1), accesses);
}

class WellFormed {
 public:
  WellFormed(const Program& program, Violations& out) : program_(program), out_(out) {}

  void run() {
    const std::size_t stages = program_.stage_of(program_.ranks() - 1) + 1;
    if (program_.roles.size() != stages) say("{} roles for {} pipeline stages", program_.roles.size(), stages);
    if (program_.streams.empty() || program_.streams[kComputeStream].kind != StreamKind::compute)
      say("stream {} is not a compute stream", kComputeStream);
    if (program_.group_class.size() != program_.groups.size())
      say("{} group classes for {} groups", program_.group_class.size(), program_.groups.size());
    if (program_.microbatches < 1) say("{} micro-batches", program_.microbatches);
    for (std::size_t g = 0; g < program_.groups.size(); ++g) {
      const std::size_t needs = program_.groups[g].segment + (program_.groups[g].part == Group::Part::boundary ? 2U : 1U);
      if (needs <= std::max<std::size_t>(1, program_.segments.size())) continue;
      say("group {} is of segment {}, but there are {}", g, program_.groups[g].segment, program_.segments.size());
      return;
    }
    for (std::size_t r = 0; r < program_.roles.size(); ++r) check_role(r);
  }

 private:
  template <class... Args>
  void say(fmt::format_string<Args...> words, Args&&... args) {
    out_.push_back({Rule::well_formed, fmt::format(words, std::forward<Args>(args)...)});
  }

  void check_role(std::size_t r) {
    const Role& role = program_.roles[r];
    check_buffers(role);
    for (const auto* list : {&role.prologue, &role.body, &role.epilogue})
      for (const PassInstance& pass : *list) {
        if (pass.pass >= role.passes.size())
          say("{} runs pass {}, but has {}", role.name, pass.pass, role.passes.size());
        else if (const std::uint16_t most = std::max(pass.microbatch, pass.second); most >= program_.microbatches)
          say("{} runs {} of micro-batch {}, but a step has {}", role.name, role.passes[pass.pass].name, most, program_.microbatches);
      }
    for (const PassTemplate& pass : role.passes) {
      if (std::uint64_t{pass.first} + pass.count > role.instructions.size()) {
        say("{}'s {} ends at instruction {}, but there are {}", role.name, pass.name, std::uint64_t{pass.first} + pass.count,
            role.instructions.size());
        continue;
      }
      for (std::uint32_t i = 0; i < pass.count; ++i) check_instruction(role, pass, i);
    }
  }

  void check_buffers(const Role& role) {
    for (std::size_t b = 0; b < role.buffers.size(); ++b) {
      const Buffer& buffer = role.buffers[b];
      std::int64_t offset = 0;
      std::size_t owner = b, hops = 0;
      while (role.buffers[owner].alias >= 0 && hops++ <= role.buffers.size()) {
        offset += role.buffers[owner].alias_offset;
        const auto next = static_cast<std::size_t>(role.buffers[owner].alias);
        if (next >= role.buffers.size()) {
          say("{}'s buffer {} is an alias of buffer {}, but there are {}", role.name, buffer.name, next, role.buffers.size());
          return;
        }
        owner = next;
      }
      if (hops > role.buffers.size()) {
        say("{}'s buffer {} is an alias of itself", role.name, buffer.name);
        return;
      }
      const std::int64_t bytes = program_.covered_bytes(buffer);
      if (owner != b && buffer.bytes != 0) say("{}'s buffer {} is an alias and owns {} bytes", role.name, buffer.name, buffer.bytes);
      if (bytes < 0 || offset < 0 || offset + bytes > role.buffers[owner].bytes)
        say("{}'s buffer {} covers bytes {} to {} of {}, which has {}", role.name, buffer.name, offset, offset + bytes, role.buffers[owner].name,
            role.buffers[owner].bytes);
      if (buffer.part_of != kNone && (owner == b || buffer.part_of >= program_.groups.size()))
        say("{}'s buffer {} is a part of group {}, of which it cannot be", role.name, buffer.name, buffer.part_of);
      if (role.buffers[owner].versions < 1) say("{}'s buffer {} has no version", role.name, buffer.name);
    }
  }

  void check_instruction(const Role& role, const PassTemplate& pass, std::uint32_t index) {
    const Instruction& it = role.instructions[pass.first + index];
    const std::string where = fmt::format("{}'s {} (instruction {} of {})", role.name, name(it.op), index, pass.name);
    const bool waits = it.opcode == Opcode::wait || it.opcode == Opcode::host_wait;
    const bool consistent = waits                             ? it.op == Operator::wait
                            : it.opcode == Opcode::collective ? is_collective(it.op)
                            : it.opcode == Opcode::send       ? it.op == Operator::send
                            : it.opcode == Opcode::recv       ? it.op == Operator::recv
                                                              : !is_communication(it.op) && it.op != Operator::wait;
    if (!consistent) say("{} has the opcode of another kind of operator", where);
    if (it.stream >= program_.streams.size()) say("{} is on stream {}, but there are {}", where, it.stream, program_.streams.size());
    if (!waits) {
      if (it.shape >= program_.shapes.size())
        say("{} has shape {}, but there are {}", where, it.shape, program_.shapes.size());
      else if (program_.shapes[it.shape].op != it.op)
        say("{} has the shape of a {}", where, name(program_.shapes[it.shape].op));
    }
    if (is_communication(it.op) && it.group >= program_.groups.size())
      say("{} names group {}, but there are {}", where, it.group, program_.groups.size());
    if (is_point_to_point(it.op) && !program_.roles.empty() && !crosses_boundary(role, it, where) &&
        it.peer % static_cast<std::int64_t>(program_.roles.size()) == 0)
      say("{} has itself as its peer", where);
    if (it.signal != kNone && it.signal >= role.events.size()) say("{} signals event {}, but there are {}", where, it.signal, role.events.size());
    if (std::uint64_t{it.dependencies} + it.dependency_count > role.dependencies.size()) {
      say("{} has dependencies beyond the table", where);
    } else {
      for (std::uint32_t d = it.dependencies; d < it.dependencies + it.dependency_count; ++d)
        check_dependency(role, role.dependencies[d], index, where);
    }
    if (std::uint64_t{it.accesses} + it.access_count > role.accesses.size()) {
      say("{} has accesses beyond the table", where);
      return;
    }
    const auto accesses = std::span(role.accesses).subspan(it.accesses, it.access_count);
    for (const Access& access : accesses) {
      if (access.buffer >= role.buffers.size()) {
        say("{} touches buffer {}, but there are {}", where, access.buffer, role.buffers.size());
        return;
      }
    }
    if (waits || it.shape >= program_.shapes.size()) return;
    if (!fits(access_pattern(it.op), accesses)) {
      say("{} touches {} buffers, not in the order that its operator documents", where, accesses.size());
      return;
    }
    const std::int64_t group = it.group < program_.groups.size() ? group_size(program_, program_.groups[it.group]) : 1;
    for (std::size_t n = 0; n < accesses.size(); ++n) {
      const std::size_t position = operand_position(it.op, n, accesses.size());
      const std::int64_t needs = operand_elements(program_.shapes[it.shape], position, group);
      const Buffer& buffer = role.buffers[accesses[n].buffer];
      if (buffer.elements < needs) say("{} needs {} elements of {}, which has {}", where, needs, buffer.name, buffer.elements);
    }
  }

  // Whether it is a message between segments, of the number that the boundary has.
  bool crosses_boundary(const Role& role, const Instruction& it, const std::string& where) {
    if (it.group >= program_.groups.size() || program_.groups[it.group].part != Group::Part::boundary) return false;
    const std::size_t after = program_.groups[it.group].segment, own = program_.segment_of_role(static_cast<std::size_t>(role.stage));
    if (after + 1 >= program_.segments.size() || (own != after && own != after + 1)) {
      say("{} crosses the boundary after segment {}, where its stage is not", where, after);
      return true;
    }
    const Messages all = messages(program_, boundary(program_, after), own);
    if (it.peer < 0 || it.peer >= all.parts * all.blocks) say("{} is message {} of {}", where, it.peer, all.parts * all.blocks);
    return true;
  }

  void check_dependency(const Role& role, const Dependency& dependency, std::uint32_t index, const std::string& where) {
    switch (dependency.kind) {
      case DependencyKind::local:
        if (dependency.index >= index) say("{} depends on instruction {}, which is issued later", where, dependency.index);
        break;
      case DependencyKind::event:
        if (dependency.index >= role.events.size()) say("{} depends on event {}, but there are {}", where, dependency.index, role.events.size());
        break;
      case DependencyKind::issued:
        if (dependency.index >= program_.streams.size())
          say("{} depends on stream {}, but there are {}", where, dependency.index, program_.streams.size());
        break;
    }
  }

  const Program& program_;
  Violations& out_;
};

void check_marks(const Program& program, Violations& out) {
  for (const Role& role : program.roles) {
    const Ownership own = ownership(role);
    for (const Access& access : role.accesses)
      if ((access.first || access.last) && role.buffers[own.owner[access.buffer]].lifetime == Lifetime::persistent) {
        out.push_back(
            {Rule::well_formed, fmt::format("{} marks {} as allocated or freed, but it is persistent", role.name, role.buffers[access.buffer].name)});
        break;
      }
  }
}

}  // namespace

void check_form(const Program& program, Violations& out) {
  WellFormed(program, out).run();
  if (out.empty()) check_marks(program, out);  // follows indices
}

}  // namespace orrery::program::checks
