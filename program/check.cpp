#include "program/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "program/arena.h"
#include "program/issue_list.h"

namespace orrery::program {
namespace {

constexpr std::uint32_t kNever = IssueList::kNever;
constexpr std::int32_t kSteps = 2;  // from a cold start, and once more with what crosses the end of a step

using Violations = std::vector<Violation>;

bool spans_stages(const Program& program, const Group& group) {
  return group.embedding || ((group.axes & mask(Axis::pp)) != 0 && program.mesh.size[static_cast<std::size_t>(Axis::pp)] > 1);
}

bool belongs(const Program& program, const Group& group, std::size_t role) {
  return !group.embedding || role == 0 || role + 1 == program.roles.size();
}

std::string in_words(const Program& program, std::uint16_t group) {
  const Group& g = program.groups[group];
  if (g.embedding) return fmt::format("group {} (embedding)", group);
  std::vector<std::string_view> axes;
  for (std::size_t a = 0; a < kAxes; ++a)
    if (g.axes >> a & 1U) axes.push_back(name(static_cast<Axis>(a)));
  return fmt::format("group {} ({})", group, axes.empty() ? "one rank" : fmt::format("{}", fmt::join(axes, "·")));
}

std::size_t peer_of(const Program& program, std::size_t role, std::int8_t peer) {
  const auto stages = static_cast<std::int64_t>(program.roles.size());
  return static_cast<std::size_t>(((static_cast<std::int64_t>(role) + peer) % stages + stages) % stages);
}

// --- well_formed ---------------------------------------------------------------------------------------------------------------------------------

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
    const auto stages = static_cast<std::size_t>(program_.mesh.size[static_cast<std::size_t>(Axis::pp)]);
    if (program_.roles.size() != stages) say("{} roles for {} pipeline stages", program_.roles.size(), stages);
    if (program_.streams.empty() || program_.streams[kComputeStream].kind != StreamKind::compute)
      say("stream {} is not a compute stream", kComputeStream);
    if (program_.group_class.size() != program_.groups.size())
      say("{} group classes for {} groups", program_.group_class.size(), program_.groups.size());
    if (program_.microbatches < 1) say("{} micro-batches", program_.microbatches);
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
        else if (pass.microbatch >= program_.microbatches)
          say("{} runs {} of micro-batch {}, but a step has {}", role.name, role.passes[pass.pass].name, pass.microbatch, program_.microbatches);
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
      const std::int64_t bytes = bytes_of(buffer.dtype, buffer.elements);
      if (owner != b && buffer.bytes != 0) say("{}'s buffer {} is an alias and owns {} bytes", role.name, buffer.name, buffer.bytes);
      if (bytes < 0 || offset < 0 || offset + bytes > role.buffers[owner].bytes)
        say("{}'s buffer {} covers bytes {} to {} of {}, which has {}", role.name, buffer.name, offset, offset + bytes, role.buffers[owner].name,
            role.buffers[owner].bytes);
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
    if (is_point_to_point(it.op) && !program_.roles.empty() && it.peer % static_cast<std::int64_t>(program_.roles.size()) == 0)
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
    const std::string_view pattern = access_pattern(it.op);
    const std::size_t optional = pattern.find_first_not_of("rwu");
    const std::int64_t group = it.group < program_.groups.size() ? group_size(program_.mesh, program_.groups[it.group]) : 1;
    for (std::size_t n = 0; n < accesses.size(); ++n) {
      // An operator leaves out the one optional operand in its middle, or some at its end, which are all of one size.
      const std::size_t position = accesses.size() < pattern.size() && n >= optional ? n + 1 : n;
      const std::int64_t needs = operand_elements(program_.shapes[it.shape], position, group);
      const Buffer& buffer = role.buffers[accesses[n].buffer];
      if (buffer.elements < needs) say("{} needs {} elements of {}, which has {}", where, needs, buffer.name, buffer.elements);
    }
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

// --- Who meets whom ------------------------------------------------------------------------------------------------------------------------------

// The instructions that can only complete together: a send and its recv, or a collective's members on different stages.
struct Rendezvous {
  struct Party {
    std::size_t role = 0;
    std::uint32_t issue = kNever;  // kNever: this role never comes
  };
  std::vector<Party> parties;
};

struct Meetings {
  std::vector<Rendezvous> all;
  std::vector<std::vector<std::uint32_t>> of;  // by role, by issue: index into `all`; kNever: completes alone
};

class Matcher {
 public:
  Matcher(const Program& program, const std::vector<IssueList>& lists, Violations& out) : program_(program), lists_(lists), out_(out) {
    for (const IssueList& list : lists) meetings_.of.emplace_back(list.issues.size(), kNever);
  }

  Meetings run() {
    match_point_to_point();
    for (std::uint16_t g = 0; g < program_.groups.size(); ++g)
      if (spans_stages(program_, program_.groups[g])) match_collectives(g);
    return std::move(meetings_);
  }

 private:
  void meet(std::vector<Rendezvous::Party> parties) {
    for (const auto& party : parties)
      if (party.issue != kNever) meetings_.of[party.role][party.issue] = static_cast<std::uint32_t>(meetings_.all.size());
    meetings_.all.push_back({std::move(parties)});
  }

  void match_point_to_point() {
    struct Ends {
      std::vector<std::uint32_t> sends, recvs;
    };
    std::map<std::tuple<std::size_t, std::size_t, std::uint8_t>, Ends> channels;  // by (from, to, channel)
    for (std::size_t r = 0; r < lists_.size(); ++r)
      for (std::uint32_t i = 0; i < lists_[r].issues.size(); ++i) {
        const Instruction& it = lists_[r].instruction(i);
        if (it.opcode == Opcode::send) channels[{r, peer_of(program_, r, it.peer), it.channel}].sends.push_back(i);
        if (it.opcode == Opcode::recv) channels[{peer_of(program_, r, it.peer), r, it.channel}].recvs.push_back(i);
      }
    for (const auto& [key, ends] : channels) {
      const auto [from, to, channel] = key;
      for (std::size_t k = 0; k < std::max(ends.sends.size(), ends.recvs.size()); ++k) {
        const std::uint32_t send = k < ends.sends.size() ? ends.sends[k] : kNever, recv = k < ends.recvs.size() ? ends.recvs[k] : kNever;
        meet({{from, send}, {to, recv}});
      }
      const std::size_t both = std::min(ends.sends.size(), ends.recvs.size());
      for (std::size_t k = 0; k < both; ++k) {
        const std::int64_t sent = program_.shapes[lists_[from].instruction(ends.sends[k]).shape].bytes,
                           received = program_.shapes[lists_[to].instruction(ends.recvs[k]).shape].bytes;
        if (sent == received) continue;
        out_.push_back(
            {Rule::matched_point_to_point, fmt::format("{} sends {} bytes on channel {}, but {} expects {}", lists_[from].in_words(ends.sends[k]),
                                                       sent, channel, lists_[to].in_words(ends.recvs[k]), received)});
        break;
      }
      if (ends.sends.size() > both)
        out_.push_back({Rule::matched_point_to_point,
                        fmt::format("{} sends to {} on channel {}, which never receives it: {} sends for {} receives",
                                    lists_[from].in_words(ends.sends[both]), program_.roles[to].name, channel, ends.sends.size(), both)});
      if (ends.recvs.size() > both)
        out_.push_back({Rule::matched_point_to_point,
                        fmt::format("{} receives from {} on channel {}, which never sends it: {} receives for {} sends",
                                    lists_[to].in_words(ends.recvs[both]), program_.roles[from].name, channel, ends.recvs.size(), both)});
    }
  }

  void match_collectives(std::uint16_t group) {
    std::vector<std::size_t> roles;
    std::vector<std::vector<std::uint32_t>> sequences;
    std::size_t longest = 0;
    for (std::size_t r = 0; r < lists_.size(); ++r) {
      std::vector<std::uint32_t> sequence;
      for (std::uint32_t i = 0; i < lists_[r].issues.size(); ++i)
        if (const Instruction& it = lists_[r].instruction(i); it.opcode == Opcode::collective && it.group == group) sequence.push_back(i);
      if (!belongs(program_, program_.groups[group], r)) {
        if (!sequence.empty())
          out_.push_back({Rule::collective_order, fmt::format("{} is in {}, to which {} does not belong", lists_[r].in_words(sequence.front()),
                                                              in_words(program_, group), program_.roles[r].name)});
        continue;
      }
      roles.push_back(r);
      longest = std::max(longest, sequence.size());
      sequences.push_back(std::move(sequence));
    }
    for (std::size_t k = 0; k < longest; ++k) {
      std::vector<Rendezvous::Party> parties;
      for (std::size_t n = 0; n < roles.size(); ++n) parties.push_back({roles[n], k < sequences[n].size() ? sequences[n][k] : kNever});
      meet(std::move(parties));
    }
    for (std::size_t n = 1; n < roles.size(); ++n) compare(group, roles[0], sequences[0], roles[n], sequences[n]);
  }

  // Reports the first operation in which the two sequences differ.
  void compare(std::uint16_t group, std::size_t a, const std::vector<std::uint32_t>& left, std::size_t b, const std::vector<std::uint32_t>& right) {
    const auto shape = [&](std::size_t role, std::uint32_t issue) -> const Shape& { return program_.shapes[lists_[role].instruction(issue).shape]; };
    const auto one = [&](std::size_t role, const std::vector<std::uint32_t>& sequence, std::size_t k) {
      if (k >= sequence.size()) return program_.roles[role].name + " has none";
      return fmt::format("{} has {} elements", lists_[role].in_words(sequence[k]), shape(role, sequence[k]).dims[0]);
    };
    for (std::size_t k = 0; k < std::max(left.size(), right.size()); ++k) {
      if (k < left.size() && k < right.size()) {
        const Shape &x = shape(a, left[k]), &y = shape(b, right[k]);
        if (x.op == y.op && x.dims == y.dims && x.dtype == y.dtype && x.bytes == y.bytes) continue;
      }
      out_.push_back({Rule::collective_order,
                      fmt::format("operation {} in {} differs: {}, {}", k, in_words(program_, group), one(a, left, k), one(b, right, k))});
      return;
    }
  }

  const Program& program_;
  const std::vector<IssueList>& lists_;
  Violations& out_;
  Meetings meetings_;
};

// --- deadlock ------------------------------------------------------------------------------------------------------------------------------------

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
    for (const auto& party : parties) states_[party.role].complete[party.issue] = true;
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
          std::find_if(parties.begin(), parties.end(), [&](const auto& p) { return p.issue == kNever || !states_[p.role].arrived[p.issue]; });
      chain.push_back({role, issue, me + " meets "});
      if (late->issue == kNever) {
        end = fmt::format("nothing on {}", program_.roles[late->role].name);
        break;
      }
      role = late->role;
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

// --- Buffers -------------------------------------------------------------------------------------------------------------------------------------

// Follows every instance of every buffer of one role in issue order. Which issue is surely complete before another starts is kept as one clock per
// issue: for each stream, how many of its instructions.
class BufferCheck {
 public:
  BufferCheck(const Program& program, const IssueList& list, Violations& out)
      : program_(program), list_(list), role_(*list.role), out_(out), own_(ownership(role_)), streams_(program.streams.size()) {
    clocks_.assign(list.issues.size() * streams_, 0);
    slot_.assign(role_.buffers.size(), 0);
    for (std::size_t b = 0; b < role_.buffers.size(); ++b)
      end_.push_back(own_.offset[b] + bytes_of(role_.buffers[b].dtype, role_.buffers[b].elements));
    std::size_t slots = 0;
    for (std::size_t b = 0; b < role_.buffers.size(); ++b) {
      slot_[b] = slots;
      if (role_.buffers[b].alias < 0) slots += role_.buffers[b].lifetime == Lifetime::microbatch ? static_cast<std::size_t>(program.microbatches) : 1;
    }
    instances_.resize(slots);
    freed_.resize(streams_);
    for (std::size_t b = 0; b < role_.buffers.size(); ++b)
      if (role_.buffers[b].alias < 0 && role_.buffers[b].lifetime == Lifetime::persistent) instances_[slot_[b]].state = Instance::live;
  }

  void run() {
    std::vector<std::uint32_t> host(streams_, 0), issued(streams_, 0);
    std::int32_t step = list_.passes.empty() ? 0 : list_.passes.front().step;
    for (std::uint32_t i = 0; i < list_.issues.size(); ++i) {
      const std::int32_t now = list_.passes[list_.issues[i].pass].step;
      // Without a prologue a step ends as it began, so whatever is live is a leak; with one only the end of the whole tells.
      if (now != step && role_.prologue.empty()) leaks(fmt::format("step {}", step + 1));
      step = now;
      const Instruction& it = list_.instruction(i);
      std::uint32_t* clock = &clocks_[i * streams_];
      const auto join = [&](const std::uint32_t* other) {
        for (std::size_t s = 0; s < streams_; ++s) clock[s] = std::max(clock[s], other[s]);
      };
      join(host.data());
      if (const std::uint32_t previous = list_.issues[i].previous; previous != kNever) join(&clocks_[previous * streams_]);
      for (const std::uint32_t need : list_.needs_of(i)) join(&clocks_[need * streams_]);

      const auto accesses = std::span(role_.accesses).subspan(it.accesses, it.access_count);
      for (const Access& access : accesses)
        if (access.first) {
          // Memory is given back in issue order: what is allocated here may be what any earlier instruction freed.
          for (std::size_t other = 0; other < streams_; ++other)
            if (other != it.stream && clock[other] < freed_[other].number)
              say(Rule::freed_once, i, access.buffer,
                  fmt::format("{} allocates {} without waiting for {}, which may still use memory that it frees", list_.in_words(i),
                              name_of(access.buffer), list_.in_words(freed_[other].issue)));
          allocate(i, access);
        }
      const std::uint32_t number = it.opcode == Opcode::host_wait ? 0 : ++issued[it.stream];
      for (const Access& access : accesses) use(i, access, number);
      if (number) clock[it.stream] = number;
      for (const Access& access : accesses)
        if (access.last) {
          release(i, access);
          if (number) freed_[it.stream] = {number, i};  // what a host_wait frees is free for all that is issued after it
        }
      if (it.opcode == Opcode::host_wait) std::copy(clock, clock + streams_, host.begin());
    }
    leaks(role_.prologue.empty() ? fmt::format("step {}", kSteps) : std::string("the program"));
  }

 private:
  // What one stream did to one view of an instance: number and issue of its last write and last read; number 0: none.
  struct Use {
    std::uint32_t view = 0;
    std::uint8_t stream = 0;
    std::uint32_t write = 0, write_issue = 0, read = 0, read_issue = 0;
  };
  struct Instance {
    enum State : std::uint8_t { never, live, freed } state = never;
    std::uint32_t freed_by = 0, allocated_by = 0;
    std::vector<Use> uses;
  };

  Instance& instance(const Access& access, std::uint32_t issue) {
    const std::uint32_t owner = own_.owner[access.buffer];
    return instances_[slot_[owner] + (role_.buffers[owner].lifetime == Lifetime::microbatch ? list_.microbatch(issue) : 0U)];
  }
  const std::string& name_of(std::uint32_t buffer) const { return role_.buffers[buffer].name; }
  std::int64_t begin(std::uint32_t view) const { return own_.offset[view]; }
  std::int64_t end(std::uint32_t view) const { return end_[view]; }

  // Once for each instruction and buffer: a fault in a template shows in every micro-batch.
  void say(Rule rule, std::uint32_t issue, std::uint32_t buffer, std::string words) {
    if (said_.insert({static_cast<int>(rule), list_.issues[issue].instruction, buffer}).second) out_.push_back({rule, std::move(words)});
  }

  void allocate(std::uint32_t issue, const Access& access) {
    Instance& of = instance(access, issue);
    if (of.state == Instance::live)
      say(Rule::freed_once, issue, access.buffer,
          fmt::format("{} allocates {}, which {} allocated and nothing freed since", list_.in_words(issue), name_of(access.buffer),
                      list_.in_words(of.allocated_by)));
    of = {.state = Instance::live, .freed_by = 0, .allocated_by = issue, .uses = {}};
  }

  void release(std::uint32_t issue, const Access& access) {
    Instance& of = instance(access, issue);
    if (of.state == Instance::never) {
      say(Rule::freed_once, issue, access.buffer,
          fmt::format("{} frees {}, which was never allocated", list_.in_words(issue), name_of(access.buffer)));
      return;
    }
    if (of.state == Instance::freed) {
      say(Rule::freed_once, issue, access.buffer,
          fmt::format("{} frees {}, which {} freed before", list_.in_words(issue), name_of(access.buffer), list_.in_words(of.freed_by)));
      return;
    }
    const std::uint32_t* clock = &clocks_[issue * streams_];
    for (const Use& u : of.uses) {
      if (clock[u.stream] >= std::max(u.write, u.read)) continue;
      say(Rule::freed_once, issue, access.buffer,
          fmt::format("{} frees {} while {} may still use it on stream {}", list_.in_words(issue), name_of(access.buffer),
                      list_.in_words(u.write > u.read ? u.write_issue : u.read_issue), program_.streams[u.stream].name));
    }
    of.state = Instance::freed;
    of.freed_by = issue;
    of.uses.clear();
  }

  void use(std::uint32_t issue, const Access& access, std::uint32_t number) {
    Instance& of = instance(access, issue);
    const std::uint32_t view = access.buffer;
    const bool reads = access.mode != AccessMode::write, writes = access.mode != AccessMode::read;
    if (of.state == Instance::never) {
      if (reads)
        say(Rule::written_before_read, issue, view, fmt::format("{} reads {}, which was never written", list_.in_words(issue), name_of(view)));
      else
        say(Rule::freed_once, issue, view, fmt::format("{} writes {}, which was never allocated", list_.in_words(issue), name_of(view)));
      return;
    }
    if (of.state == Instance::freed) {
      say(Rule::freed_once, issue, view,
          fmt::format("{} {} {}, which {} freed before", list_.in_words(issue), reads ? "reads" : "writes", name_of(view),
                      list_.in_words(of.freed_by)));
      return;
    }
    const bool persistent = role_.buffers[own_.owner[view]].lifetime == Lifetime::persistent;
    if (reads && !persistent && !covered(of, view))
      say(Rule::written_before_read, issue, view, fmt::format("{} reads {}, which was never written whole", list_.in_words(issue), name_of(view)));

    const std::uint32_t* clock = &clocks_[issue * streams_];
    const std::uint8_t stream = list_.instruction(issue).stream;
    const bool host = number == 0;
    Use* mine = nullptr;
    for (Use& u : of.uses) {
      if (u.view == view && u.stream == stream) mine = &u;
      const bool ordered = (u.stream == stream && !host) || (u.write <= clock[u.stream] && (!writes || u.read <= clock[u.stream]));
      if (ordered || begin(u.view) >= end(view) || begin(view) >= end(u.view)) continue;
      if (u.write > clock[u.stream])
        say(Rule::written_before_read, issue, view,
            fmt::format("{} {} {}, which {} writes on stream {}: nothing orders the two", list_.in_words(issue), reads ? "reads" : "writes",
                        name_of(view), list_.in_words(u.write_issue), program_.streams[u.stream].name));
      else if (writes && u.read > clock[u.stream])
        say(Rule::written_before_read, issue, view,
            fmt::format("{} writes {}, which {} reads on stream {}: nothing orders the two", list_.in_words(issue), name_of(view),
                        list_.in_words(u.read_issue), program_.streams[u.stream].name));
    }
    if (host) return;
    if (!mine) mine = &of.uses.emplace_back(Use{.view = view, .stream = stream});
    if (reads) {
      mine->read = number;
      mine->read_issue = issue;
    }
    if (writes) {
      mine->write = number;
      mine->write_issue = issue;
    }
  }

  // Whether what was written to the instance so far leaves no byte of the view out.
  bool covered(const Instance& of, std::uint32_t view) const {
    std::vector<std::pair<std::int64_t, std::int64_t>> written;
    for (const Use& u : of.uses) {
      if (!u.write) continue;
      if (begin(u.view) <= begin(view) && end(u.view) >= end(view)) return true;
      written.emplace_back(begin(u.view), end(u.view));
    }
    std::sort(written.begin(), written.end());
    std::int64_t upto = begin(view);
    for (const auto& [from, to] : written)
      if (from <= upto) upto = std::max(upto, to);
    return upto >= end(view);
  }

  void leaks(const std::string& end_of) {
    for (std::uint32_t b = 0; b < role_.buffers.size(); ++b) {
      const Buffer& buffer = role_.buffers[b];
      if (buffer.alias >= 0 || buffer.lifetime == Lifetime::persistent) continue;
      const std::size_t count = buffer.lifetime == Lifetime::microbatch ? static_cast<std::size_t>(program_.microbatches) : 1;
      for (std::size_t m = 0; m < count; ++m) {
        Instance& of = instances_[slot_[b] + m];
        if (of.state == Instance::live)
          say(Rule::freed_once, of.allocated_by, b,
              fmt::format("{} allocates {}, which nothing frees by the end of {}", list_.in_words(of.allocated_by), buffer.name, end_of));
        of = {};
      }
    }
  }

  const Program& program_;
  const IssueList& list_;
  const Role& role_;
  Violations& out_;
  Ownership own_;
  std::vector<std::int64_t> end_;  // by buffer: where it ends in its owner
  std::size_t streams_;
  std::vector<std::uint32_t> clocks_;  // by issue, by stream: what is complete when the issue is
  std::vector<std::size_t> slot_;
  std::vector<Instance> instances_;
  struct Free {
    std::uint32_t number = 0, issue = 0;
  };
  std::vector<Free> freed_;  // by stream: its latest instruction that freed anything
  std::set<std::tuple<int, std::uint32_t, std::uint32_t>> said_;
};

}  // namespace

std::string_view name(Rule rule) {
  static constexpr std::array<std::string_view, 6> kNames{"matched_point_to_point", "collective_order", "deadlock",
                                                          "written_before_read",    "freed_once",       "well_formed"};
  return kNames[static_cast<std::size_t>(rule)];
}

std::vector<Violation> check(const Program& program) {
  Violations out;
  WellFormed(program, out).run();
  if (!out.empty()) return out;  // the other rules follow indices
  check_marks(program, out);
  if (!out.empty()) return out;

  std::vector<IssueList> lists;
  for (const Role& role : program.roles) lists.push_back(issue_list(program, role, kSteps));
  const Meetings meetings = Matcher(program, lists, out).run();
  // Where communication does not match, a deadlock is its consequence, and already said.
  if (out.empty()) {
    if (const auto why = TokenRun(program, lists, meetings, false).deadlock())
      out.push_back({Rule::deadlock, *why});
    else if (const auto blocked = TokenRun(program, lists, meetings, true).deadlock())
      out.push_back({Rule::deadlock, "with one blocking thread per rank: " + *blocked});
  }
  for (const IssueList& list : lists) BufferCheck(program, list, out).run();
  return out;
}

}  // namespace orrery::program
