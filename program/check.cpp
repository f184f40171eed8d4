#include "program/check.h"

#include <array>

#include "program/checks/checks.h"

namespace orrery::program {

std::string_view name(Rule rule) {
  static constexpr std::array<std::string_view, 6> kNames{"matched_point_to_point", "collective_order", "deadlock",
                                                          "written_before_read",    "freed_once",       "well_formed"};
  return kNames[static_cast<std::size_t>(rule)];
}

std::vector<Violation> check(const Program& program) {
  std::vector<Violation> out;
  checks::check_form(program, out);
  if (!out.empty()) return out;  // the other rules follow indices

  std::vector<IssueList> lists;
  for (const Role& role : program.roles) lists.push_back(issue_list(program, role, checks::kSteps));
  std::vector<IssueList> ranks;
  if (!program.segments.empty())
    for (std::int64_t rank = 0; rank < program.ranks(); ++rank) ranks.push_back(lists[program.stage_of(rank)]);
  const std::vector<IssueList>& actors = ranks.empty() ? lists : ranks;
  const checks::Meetings meetings = checks::match(program, actors, out);
  // Where communication does not match, a deadlock is its consequence, and already said.
  if (out.empty()) {
    if (const auto why = checks::find_deadlock(program, actors, meetings, false))
      out.push_back({Rule::deadlock, *why});
    else if (const auto blocked = checks::find_deadlock(program, actors, meetings, true))
      out.push_back({Rule::deadlock, "with one blocking thread per rank: " + *blocked});
  }
  for (const IssueList& list : lists) checks::check_buffers(program, list, out);
  return out;
}

}  // namespace orrery::program
