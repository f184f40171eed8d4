#include <fmt/format.h>

#include <algorithm>

#include "program/checks/checks.h"

namespace orrery::program::checks {
namespace {

// Lets every role run as far as it can, without time. `inline_host`: compute and waits hold the issuing thread until they are done.
class TokenRun {
 public:
  TokenRun(const Program& program, const std::vector<IssueList>& lists, const Meetings& meetings, bool inline_host)
      : program_(program), lists_(lists), meetings_(meetings), inline_host_(inline_host), arrived_(meetings.all.size(), 0) {
    for (const IssueList& list : lists) {
      State state;
      state.complete.assign(list.issues.size(), false);
      state.arrived.assign(list.issues.size(), false);
      state.queues.resize(program.streams.size());
      state.heads.assign(program.streams.size(), 0);
      states_.push_back(std::move(state));
    }
  }

  // Nothing, or who waits for whom.
  std::optional<std::string> deadlock() {
    for (bool progress = true; progress;) {
      progress = false;
      for (std::size_t r = 0; r < states_.size(); ++r)
        while (advance(r)) progress = true;
    }
    for (std::size_t r = 0; r < states_.size(); ++r) {
      const auto stuck = std::find(states_[r].complete.begin(), states_[r].complete.end(), false);
      if (stuck != states_[r].complete.end()) return explain(r, static_cast<std::uint32_t>(stuck - states_[r].complete.begin()));
    }
    return std::nullopt;
  }

 private:
  struct State {
    std::uint32_t host = 0;  // next issue
    std::vector<bool> complete, arrived;
    std::vector<std::vector<std::uint32_t>> queues;  // by stream, what was issued
    std::vector<std::size_t> heads;                  // first of each queue that is not complete
  };

  bool holds_host(const Instruction& it) const {
    return it.opcode == Opcode::host_wait || (inline_host_ && (it.opcode == Opcode::compute || it.opcode == Opcode::wait));
  }

  bool ready(std::size_t r, std::uint32_t issue) const {
    const State& state = states_[r];
    const std::uint32_t previous = lists_[r].issues[issue].previous;
    if (previous != kNever && !state.complete[previous]) return false;
    for (const std::uint32_t need : lists_[r].needs_of(issue))
      if (!state.complete[need]) return false;
    return true;
  }

  bool advance(std::size_t r) {
    State& state = states_[r];
    const IssueList& list = lists_[r];
    bool progress = false;
    while (state.host < list.issues.size()) {
      const Instruction& it = list.instruction(state.host);
      if (holds_host(it)) {
        if (!ready(r, state.host)) break;
        state.complete[state.host] = true;
      } else {
        state.queues[it.stream].push_back(state.host);
      }
      ++state.host;
      progress = true;
    }
    for (std::size_t s = 0; s < state.queues.size(); ++s)
      for (std::size_t& head = state.heads[s]; head < state.queues[s].size(); ++head) {
        const std::uint32_t issue = state.queues[s][head];
        if (!state.complete[issue]) {
          if (state.arrived[issue] || !ready(r, issue)) break;
          progress = true;
          if (!arrive(r, issue)) break;
        }
      }
    return progress;
  }

  // Whether the issue is complete at once. The last party of a meeting completes it for all.
  bool arrive(std::size_t r, std::uint32_t issue) {
    const std::uint32_t meeting = meetings_.of[r][issue];
    states_[r].arrived[issue] = true;
    if (meeting == kNever) {
      states_[r].complete[issue] = true;
      return true;
    }
    const auto& parties = meetings_.all[meeting].parties;
    if (++arrived_[meeting] < parties.size()) return false;
    for (const auto& party : parties) states_[party.actor].complete[party.issue] = true;
    return true;
  }

  std::string explain(std::size_t role, std::uint32_t issue) const {
    struct Link {
      std::size_t role;
      std::uint32_t issue;
      std::string words;  // "… waits for"
    };
    std::vector<Link> chain;
    std::string end;
    for (;;) {
      const auto again = std::find_if(chain.begin(), chain.end(), [&](const Link& l) { return l.role == role && l.issue == issue; });
      if (again != chain.end()) {
        end = lists_[role].in_words(issue);
        chain.erase(chain.begin(), again);
        break;
      }
      const IssueList& list = lists_[role];
      const State& state = states_[role];
      const std::string me = list.in_words(issue);
      if (issue > state.host || (issue == state.host && !holds_host(list.instruction(issue)))) {
        chain.push_back({role, issue, me + " is not issued before "});
        issue = state.host;
        continue;
      }
      const auto needs = list.needs_of(issue);
      const auto need = std::find_if(needs.begin(), needs.end(), [&](std::uint32_t n) { return !state.complete[n]; });
      if (need != needs.end()) {
        chain.push_back({role, issue, me + " waits for "});
        issue = *need;
        continue;
      }
      if (const std::uint32_t previous = list.issues[issue].previous; previous != kNever && !state.complete[previous]) {
        chain.push_back({role, issue, fmt::format("{} comes on stream {} after ", me, program_.streams[list.instruction(issue).stream].name)});
        issue = previous;  // the first on the stream that is not complete, however many wait behind it
        for (std::uint32_t p = previous; p != kNever; p = list.issues[p].previous)
          if (!state.complete[p]) issue = p;
        continue;
      }
      const auto& parties = meetings_.all[meetings_.of[role][issue]].parties;
      const auto late =
          std::find_if(parties.begin(), parties.end(), [&](const auto& p) { return p.issue == kNever || !states_[p.actor].arrived[p.issue]; });
      chain.push_back({role, issue, me + " meets "});
      if (late->issue == kNever) {
        end = fmt::format("nothing on {}", lists_[late->actor].role->name);
        break;
      }
      role = late->actor;
      issue = late->issue;
    }
    std::string text;
    for (const Link& link : chain)
      text += (text.empty() ? "" : "; ") + link.words + (&link == &chain.back() ? end : lists_[(&link + 1)->role].in_words((&link + 1)->issue));
    return text;
  }

  const Program& program_;
  const std::vector<IssueList>& lists_;
  const Meetings& meetings_;
  bool inline_host_;
  std::vector<State> states_;
  std::vector<std::size_t> arrived_;  // by meeting
};

}  // namespace

std::optional<std::string> find_deadlock(const Program& program, const std::vector<IssueList>& lists, const Meetings& meetings, bool inline_host) {
  return TokenRun(program, lists, meetings, inline_host).deadlock();
}

}  // namespace orrery::program::checks
