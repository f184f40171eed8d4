#include "program/memory.h"

#include <algorithm>
#include <map>

#include "program/arena.h"

namespace orrery::program {
namespace {

// An allocation or a release, as a pass template marks it.
struct Mark {
  std::uint32_t instruction = 0, buffer = 0;
  bool release = false, second = false;
  std::uint16_t microbatch(const PassInstance& pass) const { return second ? pass.second : pass.microbatch; }
};

// By pass template: its marks on device memory in the order in which they take effect.
std::vector<std::vector<Mark>> marks_of(const Role& role) {
  const Ownership own = ownership(role);
  std::vector<std::vector<Mark>> out(role.passes.size());
  for (std::size_t p = 0; p < role.passes.size(); ++p)
    for (std::uint32_t i = 0; i < role.passes[p].count; ++i) {
      const Instruction& instruction = role.instructions[role.passes[p].first + i];
      for (const bool release : {false, true})
        for (std::uint32_t a = instruction.accesses; a < instruction.accesses + instruction.access_count; ++a)
          if (const Access& access = role.accesses[a]; release ? access.last : access.first) {
            const std::uint32_t owner = own.owner[access.buffer];
            if (role.buffers[owner].space == Space::device) out[p].push_back({i, owner, release, (instruction.flags & kSecond) != 0});
          }
    }
  return out;
}

void apply(Allocations& to, const Mark& mark, const PassInstance& pass) {
  if (mark.release)
    to.release(mark.buffer, mark.microbatch(pass));
  else
    to.allocate(mark.buffer, mark.microbatch(pass));
}

// A pipeline that is not empty between steps may lay out each step anew, until one begins as an earlier one did; and it may end after any of them.
void count_endless(const Program& program, const Role& role, const std::vector<std::vector<Mark>>& marks, MemoryReport& report) {
  const auto run = [&](Allocations& state, const std::vector<PassInstance>& passes) {
    for (const PassInstance& pass : passes)
      for (const Mark& mark : marks[pass.pass]) {
        apply(state, mark, pass);
        report.most_live = std::max(report.most_live, state.live());
      }
  };
  constexpr std::size_t kMostSteps = 256;  // a handful suffices
  Allocations state(program, role);
  run(state, role.prologue);
  std::vector<Allocations> seen;
  while (seen.size() < kMostSteps && std::none_of(seen.begin(), seen.end(), [&](const Allocations& s) { return s.same_places(state); })) {
    seen.push_back(state);
    Allocations ending = state;
    run(ending, role.epilogue);
    report.arena = std::max(report.arena, ending.high_water());
    run(state, role.body);
  }
  report.arena = std::max(report.arena, state.high_water());
}

// `history`: also to fill in, all but its report; or null.
MemoryReport report_of(const Program& program, const Role& role, MemoryHistory* history) {
  const std::vector<std::vector<Mark>> marks = marks_of(role);
  Allocations allocations(program, role);
  for (const PassInstance& pass : role.prologue)
    for (const Mark& mark : marks[pass.pass]) apply(allocations, mark, pass);
  std::vector<std::int64_t> instances(role.buffers.size());  // at the start; further down, at the peak
  for (std::uint32_t b = 0; b < role.buffers.size(); ++b) instances[b] = allocations.instances(b);
  if (history) history->at_start = instances;

  MemoryReport report;
  report.persistent = allocations.persistent();
  report.at_start = allocations.live();
  report.peak_live = allocations.live();
  std::size_t changes = 0;
  for (const PassInstance& pass : role.body) changes += marks[pass.pass].size();
  report.curve.reserve(changes);
  if (history) history->changes.reserve(changes);
  std::size_t peak_mark = 0;  // marks of the pass applied when the peak was reached
  for (std::uint32_t p = 0; p < role.body.size(); ++p) {
    const PassInstance& pass = role.body[p];
    const std::vector<Mark>& of_pass = marks[pass.pass];
    for (std::size_t m = 0; m < of_pass.size(); ++m) {
      const Mark& mark = of_pass[m];
      apply(allocations, mark, pass);
      if (history) history->changes.push_back({static_cast<std::uint32_t>(report.curve.size()), mark.buffer, mark.release ? -1 : 1});
      if (m + 1 < of_pass.size() && of_pass[m + 1].instruction == mark.instruction && of_pass[m + 1].release == mark.release) continue;
      report.curve.push_back({p, mark.instruction, allocations.live()});
      if (allocations.live() > report.peak_live) {
        report.peak_live = allocations.live();
        report.peak_pass = p;
        report.peak_instruction = mark.instruction;
        peak_mark = m + 1;
      }
    }
  }
  report.arena = allocations.high_water();
  report.most_live = report.peak_live;
  if (!role.epilogue.empty()) count_endless(program, role, marks, report);

  // What was live at the peak: counted once more up to there, without placing anything.
  for (std::uint32_t p = 0; p < role.body.size() && p <= report.peak_pass; ++p) {
    const std::vector<Mark>& of_pass = marks[role.body[p].pass];
    const std::size_t count = p == report.peak_pass ? peak_mark : of_pass.size();
    for (std::size_t m = 0; m < count; ++m) instances[of_pass[m].buffer] += of_pass[m].release ? -1 : 1;
  }
  std::map<std::string, BufferAtPeak> by_name;
  for (std::uint32_t b = 0; b < role.buffers.size(); ++b) {
    if (instances[b] == 0) continue;
    BufferAtPeak& entry = by_name[role.buffers[b].name];
    entry.name = role.buffers[b].name;
    entry.instances += instances[b];
    entry.bytes += instances[b] * role.buffers[b].bytes;
  }
  for (auto& [name, entry] : by_name) report.at_peak.push_back(std::move(entry));
  std::stable_sort(report.at_peak.begin(), report.at_peak.end(), [](const BufferAtPeak& a, const BufferAtPeak& b) { return a.bytes > b.bytes; });
  return report;
}

}  // namespace

MemoryReport memory(const Program& program, const Role& role) { return report_of(program, role, nullptr); }

MemoryHistory memory_history(const Program& program, const Role& role) {
  MemoryHistory history;
  history.report = report_of(program, role, &history);
  return history;
}

}  // namespace orrery::program
