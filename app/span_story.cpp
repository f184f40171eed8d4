#include "app/span_story.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "core/quantity_text.h"
#include "cost/collectives.h"
#include "cost/link_traffic.h"
#include "program/dimensions.h"

namespace orrery::app {
namespace {

using program::DependencyKind;
using program::Instruction;
using program::Opcode;
using program::PassKind;
using program::Program;

constexpr std::uint16_t kNone = 0xffff;

// Where in the program a span stands.
struct Place {
  const program::Role* role = nullptr;
  const program::PassInstance* instance = nullptr;
  const program::PassTemplate* pass = nullptr;
  const Instruction* instruction = nullptr;
  explicit operator bool() const { return instruction != nullptr; }
};

bool is_wait(const Instruction& in) { return in.opcode == Opcode::wait || in.opcode == Opcode::host_wait; }
bool is_message(const Instruction& in) { return in.opcode == Opcode::send || in.opcode == Opcode::recv; }

// "pp3 dp0 tp1" beside "pp4 dp0 tp1": "pp3".
std::string told_apart(const std::string& name, const std::string& from) {
  std::istringstream words{name}, others{from};
  const std::set<std::string> known{std::istream_iterator<std::string>{others}, {}};
  std::string out;
  for (std::string word; words >> word;)
    if (!known.count(word)) out += (out.empty() ? "" : " ") + word;
  return out.empty() || name.starts_with("rank ") ? name : out;
}

const char* cause_text(WaitCause cause) {
  switch (cause) {
    case WaitCause::none:
      return "nothing";
    case WaitCause::host:
      return "the host";
    case WaitCause::compute:
      return "compute on another stream";
    case WaitCause::tp:
      return "tensor-parallel communication";
    case WaitCause::cp:
      return "context-parallel communication";
    case WaitCause::ep:
      return "expert-parallel communication";
    case WaitCause::pp:
      return "the pipeline";
    case WaitCause::dp:
      return "data-parallel communication";
  }
  return "";
}

const char* grade_text(Grade grade) {
  switch (grade) {
    case Grade::measured_here:
      return "measured here";
    case Grade::measured_elsewhere:
      return "measured elsewhere";
    case Grade::fitted:
      return "fitted";
    case Grade::datasheet:
      return "datasheet";
    case Grade::assumed:
      return "assumed";
  }
  return "";
}

// Points in time lie close together late in a long step: to a thousandth of their unit.
std::string at_text(Picoseconds t) {
  const double size = std::abs(static_cast<double>(t.v));
  for (const auto& [unit, worth] : {std::pair{"s", 1e12}, {"ms", 1e9}, {"us", 1e6}, {"ns", 1e3}}) {
    if (size < worth) continue;
    std::string number = fmt::format("{:.{}f}", static_cast<double>(t.v) / worth, worth == 1e12 ? 6 : 3);
    number.erase(number.find_last_not_of('0') + 1);
    if (number.back() == '.') number.pop_back();
    return number + " " + unit;
  }
  return fmt::format("{} ps", t.v);
}

// Of overlapped passes, the one that the instruction is of.
PassKind kind_of(const Place& at) {
  if (at.pass->kind != PassKind::forward_backward) return at.pass->kind;
  return at.instruction->flags & program::kSecond ? PassKind::backward : PassKind::forward;
}

const char* pass_words(PassKind kind) {
  switch (kind) {
    case PassKind::forward:
    case PassKind::receive_forward:
    case PassKind::forward_backward:
      return "forward";
    case PassKind::backward:
    case PassKind::receive_backward:
      return "backward";
    case PassKind::input_grad:
      return "input gradients";
    case PassKind::weight_grad:
      return "weight gradients";
    case PassKind::optimizer:
      return "optimizer";
    case PassKind::release:
      return "release";
  }
  return "";
}

// What a communication puts on the busiest of all links that it uses, measured by their bandwidth: bytes one way, and the level of that link. No
// bytes: it crosses none.
struct BusiestLink {
  double bytes = 0;
  std::size_t level = 0;
};

BusiestLink busiest_of_message(const Cluster& cluster, std::size_t meeting_level, double bytes) {
  BusiestLink out;
  for (std::size_t l = 0; l <= meeting_level; ++l)
    if (cost::crosses(l, meeting_level) && (out.bytes <= 0 || cluster.levels[l].bandwidth < cluster.levels[out.level].bandwidth)) out = {bytes, l};
  return out;
}

BusiestLink busiest_of_collective(const Cluster& cluster, const program::Shape& shape, const cost::GroupTraffic& group, std::size_t own) {
  const cost::Algorithm algorithm = group.algorithm(shape);
  const std::size_t members = group.devices().size();
  std::vector<std::size_t> asked;
  // Servers carry most, and the first and the last of them lie as their nodes are filled; every other collective is asked about all its members.
  if (const auto servers = static_cast<std::size_t>(shape.op == program::Operator::all_reduce ? shape.dims[1] : 0); servers > 0) {
    asked = {0, std::min(servers, members) - 1, own};
  } else {
    for (std::size_t m = 0; m < members; ++m) asked.push_back(m);
  }
  BusiestLink out;
  double longest = 0;
  for (const std::size_t m : asked) {
    const std::vector<cost::LinkBytes> links = group.bytes(shape, algorithm, m);
    for (std::size_t l = 0; l < links.size(); ++l) {
      const double bytes = std::max(links[l].sent, links[l].received), seconds = bytes / cluster.levels[l].bandwidth.v;
      if (bytes > 0 && seconds > longest) out = {bytes, l}, longest = seconds;
    }
  }
  return out;
}

std::string axes_text(const Program& program, const program::Group& group) {
  using Part = program::Group::Part;
  switch (group.part) {
    case Part::everyone:
      return "all ranks";
    case Part::ends:
      return "first and last stage";
    case Part::mirrored:
      return "mirrored stages";
    case Part::boundary:
      return "boundary between segments";
    case Part::whole:
      break;
  }
  const program::Mesh& mesh = program.mesh_of(group.segment);
  std::string out;
  const auto add = [&](std::string_view word) { out += fmt::format("{}{}", out.empty() ? "" : " x ", word); };
  for (std::size_t a = 0; a < program::kAxes; ++a) {
    const auto axis = static_cast<program::Axis>(a);
    if (!(group.axes & program::mask(axis)) || mesh.size[a] == 1) continue;
    const bool factor = axis >= program::Axis::cp_inner && axis <= program::Axis::dp_outer;
    const std::size_t sibling = ((a - 1) ^ 1U) + 1;  // cp_inner and cp_outer, dp_inner and dp_outer
    if (!factor || (mesh.size[sibling] > 1 && !(group.axes >> sibling & 1U)))
      add(program::name(axis));
    else if (mesh.size[sibling] == 1 || a < sibling)
      add(program::name(axis).substr(0, 2));
  }
  return out.empty() ? "one rank" : out;
}

class Teller {
 public:
  Teller(const Timeline& timeline, const Explored* explored) : t_(timeline), x_(explored) {
    simulated_ = t_.origin == "simulated";
    own_ = x_ && x_->report.timeline && &*x_->report.timeline == &t_;
    steady_ = own_ && simulated_ && x_->report.steady;
    // One span that is not the program's, and none is: others would only happen to look alike.
    for (std::uint32_t i = 0; x_ && !own_ && i < t_.spans.size(); ++i)
      if (!is_of_program(i)) x_ = nullptr;
  }

  bool knows_program() const { return x_ != nullptr; }

  SpanStory tell(std::uint32_t index) {
    assert(index < t_.spans.size());
    const Span& s = t_.spans[index];
    const SpanKind& kind = t_.kinds[s.kind];
    const Place at = place(index);
    SpanStory out;
    out.span = index;
    out.operation = kind.name;
    out.work = kind.work;
    out.rank = rank_name(s.rank);
    if (s.rank < t_.weights.size()) out.stands_for = t_.weights[s.rank];
    out.stream = t_.streams[s.stream];
    out.recompute = s.recompute;
    out.critical = on_critical_path(index);
    if (s.layer != kNone) out.layer = s.layer;
    if (s.microbatch != kNone) out.microbatch = s.microbatch;
    out.flops = kind.flops;
    out.bytes = kind.bytes;
    out.start = s.start, out.end = s.end, out.duration = s.end - s.start;
    out.waited = s.waited, out.transfer = s.transfer, out.cause = s.cause;
    out.source = kind.source;
    out.energy = kind.energy;
    const double seconds = to_seconds(out.duration).v;
    if (seconds > 0) {
      out.flop_rate = FlopsPerSecond{kind.flops / seconds};
      out.share_of_peak = static_cast<double>(kind.ideal.v) / static_cast<double>(out.duration.v);
      out.byte_rate = BytesPerSecond{static_cast<double>(kind.bytes) / seconds};
    }
    if (at) add_program(s, at, out);
    out.pass = pass_text(index);
    out.needed = needed(index);
    add_peers(index, out.needed);
    decide(index, out.needed);
    for (Needed& n : out.needed)
      if (n.text.empty()) n.text = n.span == kNoSpan ? "" : noun(n.span, s.rank);
    out.why = why(index, out);
    return out;
  }

 private:
  std::string rank_name(std::uint32_t rank) const {
    if (rank < t_.ranks.size() && !t_.ranks[rank].empty()) return t_.ranks[rank];
    return x_ && rank < x_->program.ranks() ? program::label(x_->program, rank) : fmt::format("rank {}", rank);
  }
  bool recorded(std::int64_t rank) const {
    return rank < static_cast<std::int64_t>(t_.ranks.size()) && !t_.ranks[static_cast<std::size_t>(rank)].empty();
  }
  bool on_critical_path(std::uint32_t index) const {
    const auto& spans = t_.spans;
    const auto at = std::lower_bound(t_.critical.begin(), t_.critical.end(), spans[index].start,
                                     [&](std::uint32_t i, Picoseconds start) { return spans[i].start < start; });
    for (auto i = at; i != t_.critical.end() && spans[*i].start == spans[index].start; ++i)
      if (*i == index) return true;
    return false;
  }

  // --- Spans and instructions --------------------------------------------------------------------------------------------------------------------
  Place place(std::uint32_t index) const {
    if (!x_) return {};
    const Span& s = t_.spans[index];
    if (s.rank >= x_->program.ranks()) return {};
    Place at;
    at.role = &x_->program.role_of(s.rank);
    if (s.pass >= at.role->body.size()) return {};
    at.instance = &at.role->body[s.pass];
    at.pass = &at.role->passes[at.instance->pass];
    if (s.instruction >= at.pass->count) return {};
    const Instruction* in = &at.role->instructions[at.pass->first + s.instruction];
    const std::string_view operation = in->opcode == Opcode::host_wait ? "host_wait" : in->opcode == Opcode::wait ? "wait" : program::name(in->op);
    if (operation != t_.kinds[s.kind].name && !(in->opcode == Opcode::host_wait && t_.kinds[s.kind].name == "wait")) return {};
    at.instruction = in;
    return at;
  }

  // Whether the instruction at its place does the work that the timeline says.
  bool is_of_program(std::uint32_t index) const {
    const Place at = place(index);
    if (!at || is_wait(*at.instruction)) return static_cast<bool>(at);
    const Span& s = t_.spans[index];
    const SpanKind& kind = t_.kinds[s.kind];
    const program::Shape& shape = x_->program.shapes[x_->program.shape_of(*at.instruction, x_->program.coordinates(s.rank))];
    return kind.bytes == (program::is_communication(shape.op) ? shape.bytes : program::traffic(shape).v) && kind.flops == program::flops(shape).v;
  }

  struct Range {
    std::uint32_t begin = 0, end = 0;
  };
  template <class Key>
  Range equal(Range in, Key key, std::uint32_t value) const {
    const auto first = t_.spans.begin() + in.begin, last = t_.spans.begin() + in.end;
    const auto low = std::partition_point(first, last, [&](const Span& s) { return key(s) < value; });
    const auto high = std::partition_point(low, last, [&](const Span& s) { return key(s) == value; });
    return {static_cast<std::uint32_t>(low - t_.spans.begin()), static_cast<std::uint32_t>(high - t_.spans.begin())};
  }
  // Spans are by rank, then stream.
  Range of_rank(std::uint32_t rank) {
    const auto [at, fresh] = ranks_.try_emplace(rank);
    if (fresh)
      at->second = equal(
          {0, static_cast<std::uint32_t>(t_.spans.size())}, [](const Span& s) { return s.rank; }, rank);
    return at->second;
  }
  Range of_stream(std::uint32_t rank, std::uint32_t stream) {
    return equal(
        of_rank(rank), [](const Span& s) { return std::uint32_t{s.stream}; }, stream);
  }
  std::uint32_t find(std::uint32_t rank, std::uint32_t stream, std::uint32_t pass, std::uint32_t instruction) {
    const auto is = [&](const Span& s) { return s.pass == pass && s.instruction == instruction; };
    const auto [begin, end] = of_stream(rank, stream);
    // In issue order, but for waits of the host, which hold no stream.
    const auto at = std::partition_point(t_.spans.begin() + begin, t_.spans.begin() + end,
                                         [&](const Span& s) { return s.pass != pass ? s.pass < pass : s.instruction < instruction; });
    if (at != t_.spans.begin() + end && is(*at)) return static_cast<std::uint32_t>(at - t_.spans.begin());
    for (std::uint32_t i = begin; i < end; ++i)
      if (is(t_.spans[i])) return i;
    return kNoSpan;
  }

  // --- What it needed on its own rank ------------------------------------------------------------------------------------------------------------
  std::vector<Needed> needed(std::uint32_t index) {
    const Place at = place(index);
    return at ? by_program(index, at) : by_times(index);
  }

  // What its instruction names: searched for backwards from it in issue order, and then from the end of the step before.
  std::vector<Needed> by_program(std::uint32_t index, const Place& at) {
    const Span& s = t_.spans[index];
    const Instruction& in = *at.instruction;
    const std::uint16_t microbatch = at.instance->of(in);
    struct Sought {
      Needed::How how;
      std::uint16_t index = 0;
      bool found = false;
      Needed as{};
    };
    std::vector<Sought> list;
    const bool holds = in.opcode != Opcode::host_wait;  // its stream
    if (holds) list.push_back({.how = Needed::How::stream, .index = in.stream});
    for (std::uint32_t d = in.dependencies; d < in.dependencies + in.dependency_count; ++d) {
      const program::Dependency& dependency = at.role->dependencies[d];
      switch (dependency.kind) {
        case DependencyKind::local:
          if (const Instruction& other = at.role->instructions[at.pass->first + dependency.index];
              !holds || other.stream != in.stream || other.opcode == Opcode::host_wait)
            list.push_back({.how = Needed::How::instruction, .index = dependency.index});
          break;
        case DependencyKind::event:
          list.push_back({.how = Needed::How::event, .index = dependency.index});
          break;
        case DependencyKind::issued:
          if (!holds || dependency.index != in.stream) list.push_back({.how = Needed::How::issued, .index = dependency.index});
          break;
      }
    }
    std::size_t left = list.size();
    const auto visit = [&](std::uint32_t pass, std::uint32_t k, bool previous) {
      const program::PassInstance& instance = at.role->body[pass];
      const Instruction& other = at.role->instructions[at.role->passes[instance.pass].first + k];
      for (Sought& sought : list) {
        if (sought.found) continue;
        bool match = false;
        switch (sought.how) {
          case Needed::How::instruction:
            match = !previous && pass == s.pass && k == sought.index;
            break;
          case Needed::How::event:
            match = other.signal == sought.index && (!at.role->events[sought.index].per_microbatch || instance.of(other) == microbatch);
            break;
          default:
            match = other.stream == sought.index && other.opcode != Opcode::host_wait;
        }
        if (!match) continue;
        sought.found = true;
        --left;
        const std::uint32_t found = find(s.rank, other.stream, pass, k);
        if (found == kNoSpan) continue;  // runs do not record every wait
        sought.as.how = sought.how;
        sought.as.span = found;
        sought.as.previous = previous;
        sought.as.at = t_.spans[found].end - (previous ? t_.step : Picoseconds{});
      }
    };
    for (std::uint32_t pass = s.pass + 1; pass-- > 0 && left > 0;)
      for (std::uint32_t k = pass == s.pass ? s.instruction : at.role->passes[at.role->body[pass].pass].count; k-- > 0 && left > 0;)
        visit(pass, k, false);
    // Only where one step is like the next, does this one's timeline say when the one before ended what.
    if (steady_)
      for (auto pass = static_cast<std::uint32_t>(at.role->body.size()); pass-- > s.pass && left > 0;) {
        const std::uint32_t first = pass == s.pass ? s.instruction : 0;
        for (std::uint32_t k = at.role->passes[at.role->body[pass].pass].count; k-- > first && left > 0;) visit(pass, k, true);
      }
    std::vector<Needed> out;
    for (Sought& sought : list) {
      const Needed& n = sought.as;
      if (n.span == kNoSpan) continue;
      if (std::none_of(out.begin(), out.end(), [&](const Needed& o) { return o.span == n.span && o.previous == n.previous; })) out.push_back(n);
    }
    return out;
  }

  // Without a program: what ran before it on its stream, and what ended last on the rank's others.
  std::vector<Needed> by_times(std::uint32_t index) {
    const Span& s = t_.spans[index];
    std::vector<Needed> out;
    if (index > 0 && t_.spans[index - 1].rank == s.rank && t_.spans[index - 1].stream == s.stream && t_.spans[index - 1].end <= s.start)
      out.push_back({.how = Needed::How::stream, .span = index - 1, .at = t_.spans[index - 1].end});
    if (s.waited.v <= 0 || s.cause == WaitCause::none || s.cause == WaitCause::host) return out;
    std::uint32_t best = kNoSpan;
    for (std::uint32_t stream = 0; stream < t_.streams.size(); ++stream) {
      if (stream == s.stream) continue;
      const auto [begin, end] = of_stream(s.rank, stream);
      const auto first = t_.spans.begin() + begin, last = t_.spans.begin() + end;
      for (auto at = std::partition_point(first, last, [&](const Span& o) { return o.start <= s.start; }); at != first;) {
        --at;
        if (at->end > s.start || wait_cause(t_.kinds[at->kind].work) != s.cause) continue;
        if (best == kNoSpan || at->end > t_.spans[best].end) best = static_cast<std::uint32_t>(at - t_.spans.begin());
        break;
      }
    }
    if (best != kNoSpan) out.push_back({.how = Needed::How::seen, .span = best, .at = t_.spans[best].end});
    return out;
  }

  // --- What it needed of others ------------------------------------------------------------------------------------------------------------------
  std::uint32_t other_end(std::uint32_t index) const {
    for (const Flow& f : t_.flows) {
      if (f.from == index) return f.to;
      if (f.to == index) return f.from;
    }
    return kNoSpan;
  }

  // When it could have begun, if nobody had kept it waiting.
  Picoseconds ready(std::uint32_t index) {
    const Span& s = t_.spans[index];
    Picoseconds out = s.start - s.waited;
    for (const Needed& n : needed(index)) out = std::max(out, n.at);
    return std::min(out, s.start);
  }

  // Which of the collectives in its group, on its stream, this is; and the other way round.
  std::int64_t count_in_group(const Place& at, std::uint32_t pass, std::uint32_t instruction) const {
    std::int64_t n = 0;
    for (std::uint32_t p = 0; p <= pass; ++p) {
      const program::PassTemplate& t = at.role->passes[at.role->body[p].pass];
      for (std::uint32_t k = 0; k < (p == pass ? instruction : t.count); ++k) n += same_group(at.role->instructions[t.first + k], *at.instruction);
    }
    return n;
  }
  static bool same_group(const Instruction& a, const Instruction& b) {
    return a.opcode == Opcode::collective && a.group == b.group && a.stream == b.stream;
  }
  std::uint32_t collective_of(std::uint32_t rank, const program::Role& role, const Instruction& like, std::int64_t number) {
    for (std::uint32_t p = 0; p < role.body.size(); ++p) {
      const program::PassTemplate& t = role.passes[role.body[p].pass];
      for (std::uint32_t k = 0; k < t.count; ++k)
        if (same_group(role.instructions[t.first + k], like) && number-- == 0) return find(rank, like.stream, p, k);
    }
    return kNoSpan;
  }

  std::vector<std::uint32_t> members(std::uint32_t index) {
    const Span& s = t_.spans[index];
    std::vector<std::uint32_t> out;
    if (const Place at = place(index)) {
      std::vector<std::int64_t> ranks = program::members(x_->program, x_->program.groups[at.instruction->group], s.rank);
      std::int64_t number = -1;
      for (const std::int64_t rank : ranks) {
        if (rank == s.rank || !recorded(rank)) continue;
        const program::Role& role = x_->program.role_of(rank);
        const auto r = static_cast<std::uint32_t>(rank);
        if (&role == at.role) {
          out.push_back(find(r, at.instruction->stream, s.pass, s.instruction));
        } else {
          if (number < 0) number = count_in_group(at, s.pass, s.instruction);
          out.push_back(collective_of(r, role, *at.instruction, number));
        }
        // All members of a collective begin and end together; steps may be shifted against each other.
        if (out.back() == kNoSpan || (simulated_ && t_.spans[out.back()].start != s.start)) out.pop_back();
      }
    }
    return out;
  }

  void add_peers(std::uint32_t index, std::vector<Needed>& list) {
    const SpanKind& kind = t_.kinds[t_.spans[index].kind];
    if (!is_communication(kind.work)) return;
    if (const std::uint32_t other = other_end(index); other != kNoSpan)
      list.push_back({.how = Needed::How::message, .span = other, .at = ready(other)});
    if (const Place at = place(index); at && at.instruction->opcode == Opcode::collective)
      for (const std::uint32_t member : members(index)) list.push_back({.how = Needed::How::member, .span = member, .at = ready(member)});
  }

  // Marks what was there last; where that does not explain when the span started, the host is to blame, or somebody who was not recorded.
  void decide(std::uint32_t index, std::vector<Needed>& list) {
    const Span& s = t_.spans[index];
    const Place at = place(index);
    const WaitCause own = wait_cause(t_.kinds[s.kind].work);
    const bool meets = at ? is_message(*at.instruction) || at.instruction->opcode == Opcode::collective : is_communication(t_.kinds[s.kind].work);
    Needed* last = nullptr;
    for (Needed& n : list)
      if (!last || n.at > last->at) last = &n;
    // What its wait began with is not what it waited for, unless some of a run's own work was in between that was not recorded.
    const bool began = last && last->how == Needed::How::stream && last->at < s.start && s.waited.v > 0 && (!at || (meets && s.cause == own));
    const bool explained = last && !began && (last->at >= s.start || (!simulated_ && s.cause != WaitCause::host));
    if (!explained && s.waited.v > 0) {
      if (meets && s.cause == own) {
        const auto late = std::find_if(list.begin(), list.end(), [&](const Needed& n) {
          return (n.how == Needed::How::message || n.how == Needed::How::member) && t_.spans[n.span].cause == WaitCause::host;
        });
        if (late != list.end()) {  // its host
          late->at = s.start;
          last = &*late;
        } else {
          const bool message = at ? is_message(*at.instruction) : t_.kinds[s.kind].work == WorkClass::pp_comm;
          list.push_back({.how = message ? Needed::How::message : Needed::How::member, .at = s.start, .text = somebody(index, message)});
          last = &list.back();
        }
      } else if (s.cause == WaitCause::host || steady_) {
        list.push_back({.how = Needed::How::host, .at = s.start, .text = "the host"});
        last = &list.back();
      } else if (began && !at) {
        last = nullptr;
      }
    }
    if (last) last->last = true;
  }

  // Whom it waited for, where no recorded time says so.
  std::string somebody(std::uint32_t index, bool message) const {
    const Place at = place(index);
    const std::uint32_t rank = t_.spans[index].rank;
    if (message) {
      if (at) return told_apart(program::label(x_->program, program::peer_of(x_->program, rank, *at.instruction)), rank_name(rank));
      const std::uint32_t other = other_end(index);
      return other != kNoSpan ? told_apart(rank_name(t_.spans[other].rank), rank_name(rank)) : "the other end";
    }
    if (at) {
      const std::vector<std::int64_t> ranks = program::members(x_->program, x_->program.groups[at.instruction->group], rank);
      if (!std::all_of(ranks.begin(), ranks.end(), [&](std::int64_t r) { return recorded(r); })) return "a rank that was not recorded";
    }
    return "another member of its group";
  }

  // --- Words -------------------------------------------------------------------------------------------------------------------------------------
  void add_program(const Span& s, const Place& at, SpanStory& out) const {
    const Program& program = x_->program;
    const Instruction& in = *at.instruction;
    const Cluster& cluster = x_->inputs.cluster;
    out.direction = program::name(kind_of(at));
    if (out.microbatch && program.splits > 1) {
      out.split = *out.microbatch % program.splits;
      *out.microbatch /= program.splits;
    }
    if (!at.role->chunks.empty()) {
      const program::Chunk& chunk = at.role->chunks[std::min<std::size_t>(at.pass->chunk, at.role->chunks.size() - 1)];
      out.stage = chunk.stage;
      if (at.role->chunks.size() > 1) out.chunk = at.pass->chunk;
    }
    if (kind_of(at) == PassKind::optimizer) out.microbatch.reset(), out.split.reset();
    if (is_wait(in)) return;
    const std::uint32_t index = program.shape_of(in, program.coordinates(s.rank));
    const program::Shape& shape = program.shapes[index];
    out.shape = program::shape_text(shape);
    const double seconds = to_seconds(out.duration).v;
    if (program::is_communication(in.op)) {
      add_group(s, in, shape, out);
    } else if (seconds > 0) {
      const auto& profile = x_->inputs.profile;
      const bool here = profile && cluster.device.kind == DeviceKind::cpu_core && profile->memory_bandwidth.v > 0;
      const double bandwidth = here ? profile->memory_bandwidth.v : cluster.device.memory_bandwidth.v;
      if (bandwidth > 0) out.share_of_bandwidth = out.byte_rate.v / bandwidth;
      out.bandwidth_of = "memory";
    }
    if (!own_ || index >= x_->cost.entries.size()) return;
    const cost::Entry& entry = x_->cost.entries[index];
    if (entry.source < x_->cost.sources.size()) {
      const Source& source = x_->cost.sources[entry.source];
      out.source = source.name, out.grade = source.grade, out.sigma = source.sigma;
    }
    out.energy_grade = x_->cost.energy;
  }

  void add_group(const Span& s, const Instruction& in, const program::Shape& shape, SpanStory& out) const {
    const Program& program = x_->program;
    const Cluster& cluster = x_->inputs.cluster;
    std::vector<std::int64_t> ranks;
    if (is_message(in)) {
      const std::int64_t peer = program::peer_of(program, s.rank, in);
      ranks = {std::int64_t{s.rank}, peer};
      out.group = fmt::format("{} {}", in.opcode == Opcode::send ? "to" : "from", program::label(program, peer));
      out.group_ranks = 2;
    } else {
      const program::Group& group = program.groups[in.group];
      ranks = program::members(program, group, s.rank);
      out.group_ranks = static_cast<std::int64_t>(ranks.size());
      out.group = fmt::format("{}: {} ranks", axes_text(program, group), out.group_ranks);
    }
    if (cluster.levels.empty()) return;
    BusiestLink link;
    std::size_t level = 0;  // that the members span
    if (is_message(in)) {
      level = cluster.level_between(ranks[0], ranks[1]);
      if (ranks[0] != ranks[1]) link = busiest_of_message(cluster, level, static_cast<double>(shape.bytes));
    } else {
      const auto own = static_cast<std::size_t>(std::find(ranks.begin(), ranks.end(), std::int64_t{s.rank}) - ranks.begin());
      const cost::GroupTraffic group(cluster, std::move(ranks));
      level = std::max<std::size_t>(1, group.placement().levels.size()) - 1;
      link = busiest_of_collective(cluster, shape, group, own);
    }
    out.group += fmt::format(" over {}", cluster.levels[level].name);
    if (out.duration.v <= 0 || link.bytes <= 0) return;
    out.bandwidth_of = cluster.levels[link.level].name;
    out.wire_rate = BytesPerSecond{link.bytes / to_seconds(out.duration).v};
    out.share_of_bandwidth = out.wire_rate.v / cluster.levels[link.level].bandwidth.v;
  }

  // "forward of micro-batch 3, stage 5".
  std::string pass_text(std::uint32_t index) const {
    const Span& s = t_.spans[index];
    const Place at = place(index);
    if (!at) return s.microbatch == kNone ? "" : fmt::format("micro-batch {}", s.microbatch);
    std::string out = pass_words(kind_of(at));
    const auto microbatch = at.instance->of(*at.instruction);
    if (kind_of(at) != PassKind::optimizer) {
      const std::int64_t splits = x_->program.splits;
      out += fmt::format(" of micro-batch {}", microbatch / splits);
      if (splits > 1) out += fmt::format(", split {}", microbatch % splits);
    }
    if (at.role->chunks.size() > 1)
      out += fmt::format(", stage {}", at.role->chunks[std::min<std::size_t>(at.pass->chunk, at.role->chunks.size() - 1)].stage);
    return out;
  }

  // "the activations of micro-batch 3 from pp2", "all_gather of layer 3 over tp", "linear_forward of layer 3".
  std::string noun(std::uint32_t index, std::uint32_t beside) const {
    const Span& s = t_.spans[index];
    const Place at = place(index);
    const std::string whose = s.rank == beside ? "" : told_apart(rank_name(s.rank), rank_name(beside)) + "'s ";
    if (at && is_message(*at.instruction)) {
      const Instruction& in = *at.instruction;
      const bool update = at.pass->kind == PassKind::optimizer;
      const std::string other = told_apart(program::label(x_->program, program::peer_of(x_->program, s.rank, in)), rank_name(s.rank));
      return fmt::format("{}{} of the {}{} {} {}", whose, in.opcode == Opcode::send ? "send" : "receive",
                         update                ? "gradients' norm"
                         : in.channel % 2 == 0 ? "activations"
                                               : "gradients",
                         update ? "" : fmt::format(" of micro-batch {}", at.instance->of(in) / x_->program.splits),
                         in.opcode == Opcode::send ? "to" : "from", other);
    }
    std::string out = whose + t_.kinds[s.kind].name;
    if (s.layer != kNone) out += fmt::format(" of layer {}", s.layer);
    if (at && at.instruction->opcode == Opcode::collective) out += " over " + axes_text(x_->program, x_->program.groups[at.instruction->group]);
    return out;
  }
  // The same with the pass that it is of.
  std::string noun_in_pass(std::uint32_t index, std::uint32_t beside) const {
    const std::string pass = pass_text(index);
    const Place at = place(index);
    if (pass.empty() || (at && is_message(*at.instruction))) return noun(index, beside);
    return fmt::format("{} in the {}", noun(index, beside), pass);
  }
  static const Needed* last_of(const std::vector<Needed>& list) {
    const auto at = std::find_if(list.begin(), list.end(), [](const Needed& n) { return n.last; });
    return at == list.end() ? nullptr : &*at;
  }
  std::string when(const Needed& n) const { return n.previous ? "in the step before" : fmt::format("at {}", at_text(n.at)); }

  // What ended last before `index` could begin, on its own rank: "pp2's residual_forward in the forward of micro-batch 3 ended at 14.1 ms".
  std::string reason(std::uint32_t index, std::uint32_t beside) {
    std::vector<Needed> list = needed(index);
    const Needed* last = nullptr;
    for (const Needed& n : list)
      if (!last || n.at > last->at) last = &n;
    if (!last) return {};
    const Needed through = through_waits(*last);
    return fmt::format("{} ended {}", noun_in_pass(through.span, beside), when(through));
  }

  // Waits without work end when what they wait for does: that is named in their place.
  Needed through_waits(Needed n) {
    for (int i = 0; i < 8 && n.span != kNoSpan && t_.kinds[t_.spans[n.span].kind].work == WorkClass::control; ++i) {
      const Needed* last = nullptr;
      const std::vector<Needed> list = needed(n.span);
      for (const Needed& o : list)
        if (!last || o.at > last->at) last = &o;
      if (!last || last->span == n.span) break;
      const bool previous = n.previous || last->previous;
      const Picoseconds at = n.at;
      if (n.previous && last->previous) break;  // two steps ago
      n = *last;
      n.previous = previous, n.at = at;
    }
    return n;
  }

  std::string why(std::uint32_t index, const SpanStory& story) {
    const Span& s = t_.spans[index];
    const Needed* const last = last_of(story.needed);
    const std::string waited = format_seconds(s.waited);
    const Place at = place(index);
    if (at && at.instruction->opcode == Opcode::host_wait)
      return last && last->span != kNoSpan
                 ? fmt::format("The host issued nothing here until {} had ended, {}.", noun_in_pass(last->span, s.rank), when(*last))
                 : "The host had nothing to wait for here.";
    if (s.waited.v <= 0) {
      if (!last || last->span == kNoSpan) return "Nothing kept it waiting.";
      return fmt::format("Did not wait: it started as soon as its stream was free, after {}{}.", noun(last->span, s.rank),
                         last->previous ? " of the step before" : "");
    }
    if (!last)
      return fmt::format("Waited {} for {}{}.", waited, cause_text(s.cause),
                         simulated_ && x_ ? ", in a step that is not like the one before it" : "");
    switch (last->how) {
      case Needed::How::host:
        return fmt::format("Waited {} for the host: {}.", waited, host_reason(index));
      case Needed::How::message:
      case Needed::How::member: {
        const Picoseconds own = own_ready(story);
        if (last->span == kNoSpan) return fmt::format("Was ready at {}, and waited for {}: {} in all.", at_text(own), last->text, waited);
        const std::string because = reason(last->span, s.rank);
        const std::string other = told_apart(rank_name(t_.spans[last->span].rank), rank_name(s.rank));
        return fmt::format("Waited {} for {}{}, which was ready at {}{}.", waited, last->how == Needed::How::member ? "the last of its group, " : "",
                           other, at_text(last->at), because.empty() ? "" : ": " + because);
      }
      case Needed::How::seen:
        return fmt::format("Waited {} for {}: {} ended {}{}.", waited, cause_text(s.cause), noun(last->span, s.rank), when(*last), of_that(s));
      case Needed::How::stream:
      case Needed::How::instruction:
      case Needed::How::event:
      case Needed::How::issued:
        break;
    }
    const Needed through = through_waits(*last);
    const Span& awaited = t_.spans[through.span];
    if (!is_communication(t_.kinds[awaited.kind].work))
      return fmt::format("Waited {} for {}, which ended {} on the {} stream.", waited, noun_in_pass(through.span, s.rank), when(through),
                         t_.streams[awaited.stream]);
    std::string because;
    if (!through.previous) {
      // Whoever came last to the exchange.
      std::vector<Needed> list = needed(through.span);
      add_peers(through.span, list);
      const Needed* late = nullptr;
      for (const Needed& n : list)
        if (!late || n.at > late->at) late = &n;
      if (late && (late->how == Needed::How::message || late->how == Needed::How::member))
        because = reason(late->span, s.rank);
      else if (late && late->how != Needed::How::stream)
        because = fmt::format("{} ended {}", noun_in_pass(through_waits(*late).span, s.rank), when(*late));
      else
        because = fmt::format("it ended {}", when(through));
    } else {
      because = "it ended in the step before";
    }
    return fmt::format("Waited {} for the {}{}{}.", waited, noun(through.span, s.rank), because.empty() ? "" : ": " + because, of_that(s));
  }
  static std::string of_that(const Span& s) {
    if (s.transfer.v <= 0) return {};
    if (s.transfer == s.waited) return "; all of it was the transfer itself";
    return fmt::format("; {} of that was the transfer itself", format_seconds(s.transfer));
  }
  static Picoseconds own_ready(const SpanStory& story) {
    Picoseconds out = story.start - story.waited;
    for (const Needed& n : story.needed)
      if (n.how != Needed::How::message && n.how != Needed::How::member && n.how != Needed::How::host) out = std::max(out, n.at);
    return out;
  }

  // The latest instruction before it at which the host stood, where what was issued since explains the time exactly.
  std::string host_reason(std::uint32_t index) {
    const Span& s = t_.spans[index];
    const Place at = place(index);
    if (!at || !own_ || !simulated_) return "it had not issued it yet";  // predicted times say nothing of a run's
    const Picoseconds issue = x_->cost.issue;
    const bool inlined = x_->program.launch == program::Launch::inline_host;
    std::int64_t issued = 1;
    for (std::uint32_t pass = s.pass + 1; pass-- > 0;) {
      const program::PassTemplate& t = at.role->passes[at.role->body[pass].pass];
      for (std::uint32_t k = pass == s.pass ? s.instruction : t.count; k-- > 0;) {
        const Instruction& in = at.role->instructions[t.first + k];
        if (in.opcode != Opcode::host_wait && !(inlined && in.stream == program::kComputeStream)) {
          issued += is_wait(in) ? 0 : 1;
          continue;
        }
        const std::uint32_t found = find(s.rank, in.stream, pass, k);
        if (found == kNoSpan) break;
        const Picoseconds since = t_.spans[found].end;
        if (since + Picoseconds{issue.v * issued} != s.start) return fmt::format("it issues an instruction every {}", format_seconds(issue));
        if (in.opcode != Opcode::host_wait) return fmt::format("it ran {} until {}", noun_in_pass(found, s.rank), at_text(since));
        return fmt::format("it stood at a wait until {} and took {} to issue what followed", at_text(since),
                           format_seconds(Picoseconds{issue.v * issued}));
      }
    }
    return issue.v > 0 ? fmt::format("it issues an instruction every {}, and had not come to this one", format_seconds(issue))
                       : "it had not issued it yet";
  }

  const Timeline& t_;
  const Explored* x_;
  bool simulated_ = false, steady_ = false;
  bool own_ = false;  // the timeline is the report's: the prices are its, too
  std::map<std::uint32_t, Range> ranks_;
};

}  // namespace

std::string_view name(Needed::How how) {
  switch (how) {
    case Needed::How::stream:
      return "before it on its stream";
    case Needed::How::instruction:
      return "in the same pass";
    case Needed::How::event:
      return "in another pass";
    case Needed::How::issued:
      return "all before it on another stream";
    case Needed::How::host:
      return "the host";
    case Needed::How::message:
      return "the other end";
    case Needed::How::member:
      return "a member of its group";
    case Needed::How::seen:
      return "ended last before it";
  }
  return "";
}

SpanStory explain_span(const Explored& explored, std::uint32_t span) { return Teller(explored.report.timeline.value(), &explored).tell(span); }
SpanStory explain_span(const Timeline& timeline, std::uint32_t span) { return Teller(timeline, nullptr).tell(span); }
SpanStory explain_span(const Explored& explored, const Timeline& measured, std::uint32_t span) { return Teller(measured, &explored).tell(span); }

bool of_program(const Explored& explored, const Timeline& timeline) { return Teller(timeline, &explored).knows_program(); }

std::vector<std::pair<std::string, std::string>> lines(const SpanStory& s) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto add = [&](const char* name, std::string value) {
    if (!value.empty()) out.emplace_back(name, std::move(value));
  };
  add("Operator", s.operation + (s.recompute ? " (run again)" : ""));
  add("Class", std::string(name(s.work)));
  add("Rank", s.stands_for > 1 ? fmt::format("{}, and {} that did the same", s.rank, s.stands_for - 1) : s.rank);
  add("Stream", s.stream);
  add("Pass", s.pass);
  if (s.layer) add("Layer", fmt::format("{}", *s.layer));
  add("Shape", s.shape);
  add("Group", s.group);
  if (s.flops > 0) {
    std::string work = format_rate(FlopsPerSecond{s.flops});
    work.pop_back();  // FLOP, not FLOPS
    add("Work", fmt::format("{} at {}{}", work, format_rate(s.flop_rate),
                            s.share_of_peak > 0 ? fmt::format(", {} of peak", format_percent(s.share_of_peak)) : ""));
  }
  if (s.bytes > 0) {
    std::string text =
        fmt::format("{} {}at {}", format_bytes(Bytes{s.bytes}), is_communication(s.work) ? "" : "of memory traffic ", format_rate(s.byte_rate));
    if (s.wire_rate.v > 0 && s.wire_rate != s.byte_rate) text += fmt::format(", {} on the wire", format_rate(s.wire_rate));
    if (s.share_of_bandwidth > 0)
      text += fmt::format(", {} of what {} allows", format_percent(s.share_of_bandwidth), s.bandwidth_of.empty() ? "bandwidth" : s.bandwidth_of);
    add(is_communication(s.work) ? "Payload" : "Traffic", text);
  }
  add("Time", fmt::format("{}, from {} to {}", format_seconds(s.duration), at_text(s.start), at_text(s.end)));
  if (s.waited.v > 0) add("Waited", fmt::format("{} for {}", format_seconds(s.waited), cause_text(s.cause)));
  if (!s.source.empty())
    add("Price", s.grade ? fmt::format("{} ({}{})", s.source, grade_text(*s.grade),
                                       s.sigma && *s.sigma > 0 ? fmt::format(", \xc2\xb1 {}", format_percent(*s.sigma)) : "")
                         : s.source);
  if (s.energy.v > 0)
    add("Energy", fmt::format("{} above idle{}", format_energy(s.energy), s.energy_grade ? fmt::format(" ({})", grade_text(*s.energy_grade)) : ""));
  if (s.critical) add("Critical path", "on it");
  return out;
}

}  // namespace orrery::app
