#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "program/checks/checks.h"

namespace orrery::program::checks {
namespace {

bool spans_actors(const Program& program, const Group& group) {
  if (!program.segments.empty()) return true;
  return group.part != Group::Part::whole || ((group.axes & mask(Axis::pp)) != 0 && program.mesh.size[static_cast<std::size_t>(Axis::pp)] > 1);
}

// Ranks, of segments: each group once.
std::vector<std::vector<std::size_t>> groups_of_ranks(const Program& program, const Group& group) {
  std::vector<std::vector<std::size_t>> out;
  for (std::int64_t rank = 0; rank < program.ranks(); ++rank) {
    if (group.part != Group::Part::everyone && program.segment_of(rank) != group.segment) continue;
    const std::vector<std::int64_t> all = members(program, group, rank);
    if (all.empty() || *std::min_element(all.begin(), all.end()) != rank) continue;
    out.emplace_back(all.begin(), all.end());
  }
  return out;
}

// The actors that meet each other in the group.
std::vector<std::vector<std::size_t>> parties(const Program& program, const Group& group) {
  if (!program.segments.empty()) return groups_of_ranks(program, group);
  const std::size_t last = program.roles.size() - 1;
  std::vector<std::vector<std::size_t>> out;
  switch (group.part) {
    case Group::Part::whole:
    case Group::Part::everyone:
    case Group::Part::boundary:
      out.emplace_back(last + 1);
      std::iota(out[0].begin(), out[0].end(), std::size_t{0});
      break;
    case Group::Part::ends:
      out.push_back({0});
      if (last > 0) out[0].push_back(last);
      break;
    case Group::Part::mirrored:
      for (std::size_t r = 0; r <= last - r; ++r) {
        out.push_back({r});
        if (r != last - r) out.back().push_back(last - r);
      }
  }
  return out;
}

std::string in_words(const Program& program, std::uint16_t group) {
  const Group& g = program.groups[group];
  if (g.part == Group::Part::ends) return fmt::format("group {} (embedding)", group);
  if (g.part == Group::Part::mirrored) return fmt::format("group {} (mirrored stages)", group);
  if (g.part == Group::Part::boundary) return fmt::format("group {} (boundary after segment {})", group, g.segment);
  if (g.part == Group::Part::everyone) return fmt::format("group {} (all ranks)", group);
  std::vector<std::string_view> axes;
  for (std::size_t a = 0; a < kAxes; ++a)
    if (g.axes >> a & 1U) axes.push_back(name(static_cast<Axis>(a)));
  return fmt::format("group {} ({})", group, axes.empty() ? "one rank" : fmt::format("{}", fmt::join(axes, "·")));
}

std::size_t other_end(const Program& program, std::size_t actor, const Instruction& in) {
  if (!program.segments.empty()) return static_cast<std::size_t>(peer_of(program, static_cast<std::int64_t>(actor), in));
  const auto stages = static_cast<std::int64_t>(program.roles.size());
  return static_cast<std::size_t>(((static_cast<std::int64_t>(actor) + in.peer) % stages + stages) % stages);
}

class Matcher {
 public:
  Matcher(const Program& program, const std::vector<IssueList>& lists, Violations& out) : program_(program), lists_(lists), out_(out) {
    for (const IssueList& list : lists) meetings_.of.emplace_back(list.issues.size(), kNever);
  }

  Meetings run() {
    match_point_to_point();
    for (std::size_t g = 0; g < program_.groups.size(); ++g)
      if (spans_actors(program_, program_.groups[g])) match_collectives(static_cast<std::uint16_t>(g));
    return std::move(meetings_);
  }

 private:
  void meet(std::vector<Rendezvous::Party> parties) {
    for (const auto& party : parties)
      if (party.issue != kNever) meetings_.of[party.actor][party.issue] = static_cast<std::uint32_t>(meetings_.all.size());
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
        if (it.opcode == Opcode::send) channels[{r, other_end(program_, r, it), it.channel}].sends.push_back(i);
        if (it.opcode == Opcode::recv) channels[{other_end(program_, r, it), r, it.channel}].recvs.push_back(i);
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
                                    lists_[from].in_words(ends.sends[both]), lists_[to].role->name, channel, ends.sends.size(), both)});
      if (ends.recvs.size() > both)
        out_.push_back({Rule::matched_point_to_point,
                        fmt::format("{} receives from {} on channel {}, which never sends it: {} receives for {} sends",
                                    lists_[to].in_words(ends.recvs[both]), lists_[from].role->name, channel, ends.recvs.size(), both)});
    }
  }

  void match_collectives(std::uint16_t group) {
    std::vector<std::vector<std::uint32_t>> sequences(lists_.size());
    for (std::size_t r = 0; r < lists_.size(); ++r)
      for (std::uint32_t i = 0; i < lists_[r].issues.size(); ++i)
        if (const Instruction& it = lists_[r].instruction(i); it.opcode == Opcode::collective && it.group == group) sequences[r].push_back(i);
    std::vector<bool> belongs(lists_.size(), false);
    for (const std::vector<std::size_t>& roles : parties(program_, program_.groups[group])) {
      std::size_t longest = 0;
      for (const std::size_t r : roles) belongs[r] = true, longest = std::max(longest, sequences[r].size());
      for (std::size_t k = 0; k < longest; ++k) {
        std::vector<Rendezvous::Party> meeting;
        meeting.reserve(roles.size());
        for (const std::size_t r : roles) meeting.push_back({r, k < sequences[r].size() ? sequences[r][k] : kNever});
        meet(std::move(meeting));
      }
      for (std::size_t n = 1; n < roles.size(); ++n) compare(group, roles[0], sequences[roles[0]], roles[n], sequences[roles[n]]);
    }
    for (std::size_t r = 0; r < lists_.size(); ++r)
      if (!belongs[r] && !sequences[r].empty())
        out_.push_back({Rule::collective_order, fmt::format("{} is in {}, to which {} does not belong", lists_[r].in_words(sequences[r].front()),
                                                            in_words(program_, group), lists_[r].role->name)});
  }

  // Reports the first operation in which the two sequences differ.
  void compare(std::uint16_t group, std::size_t a, const std::vector<std::uint32_t>& left, std::size_t b, const std::vector<std::uint32_t>& right) {
    const auto shape = [&](std::size_t role, std::uint32_t issue) -> const Shape& { return program_.shapes[lists_[role].instruction(issue).shape]; };
    const auto one = [&](std::size_t role, const std::vector<std::uint32_t>& sequence, std::size_t k) {
      if (k >= sequence.size()) return lists_[role].role->name + " has none";
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

}  // namespace

Meetings match(const Program& program, const std::vector<IssueList>& lists, Violations& out) { return Matcher(program, lists, out).run(); }

}  // namespace orrery::program::checks
