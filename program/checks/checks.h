// The rooms of program/check.h: what each proof needs of the others. Not for use outside check.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "program/check.h"
#include "program/issue_list.h"

namespace orrery::program::checks {

using Violations = std::vector<Violation>;
inline constexpr std::uint32_t kNever = IssueList::kNever;
inline constexpr std::int32_t kSteps = 2;  // that are checked: from a cold start, and once more with what crosses the end of a step

// Every index within its table, every operator with the operands that it documents; no persistent buffer marked as allocated or freed. The other
// checks follow indices, and require that this one found nothing.
void check_form(const Program& program, Violations& out);

// The instructions that can only complete together: a send and its recv, or a collective's members on different stages.
//
// Actors meet: one for each role, whose ranks all do the same at the same time. Of a pipeline with segments each rank is one, since at their
// boundaries the ranks of a stage wait for different ones; then all collectives are meetings. The lists that follow are by actor.
struct Rendezvous {
  struct Party {
    std::size_t actor = 0;
    std::uint32_t issue = kNever;  // kNever: this one never comes
  };
  std::vector<Party> parties;
};

struct Meetings {
  std::vector<Rendezvous> all;
  std::vector<std::vector<std::uint32_t>> of;  // by actor, by issue: index into `all`; kNever: completes alone
};

// Matches sends with receives, and the collectives of groups that span actors. Says where they do not match.
Meetings match(const Program& program, const std::vector<IssueList>& lists, Violations& out);

// Who waits for whom when every actor has run as far as it can; nothing when all complete. Requires that everything matches. `inline_host`: one
// blocking thread per rank issues, which compute and waits hold until they are done.
std::optional<std::string> find_deadlock(const Program& program, const std::vector<IssueList>& lists, const Meetings& meetings, bool inline_host);

// Buffers of one role: written before read, in an order that the streams keep; allocated and freed once.
void check_buffers(const Program& program, const IssueList& list, Violations& out);

}  // namespace orrery::program::checks
