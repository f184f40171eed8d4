#include "sim/machine.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.h"

namespace orrery::sim {
namespace {

using program::DependencyKind;
using program::Instruction;
using program::Opcode;
using program::PassInstance;
using program::Program;
using program::Role;

bool is_wait(const Instruction& i) { return i.opcode == Opcode::wait || i.opcode == Opcode::host_wait; }

class RoleLayout {
 public:
  // As laid out for the ranks of a class.
  RoleLayout(const Program& program, const cost::Table& cost, const Folding& folding, const Folding::Class& of, bool shared, bool unfold)
      : program_(program),
        cost_(cost),
        folding_(folding),
        role_(program.role_of(of.rank)),
        place_(program.coordinates(of.rank)),
        slowness_(of.slowness),
        shared_(shared),
        unfold_(unfold) {}

  // A link as the role knows it; who is at the other end depends on the rank.
  struct Link {
    bool collective = false, send = false;
    std::uint16_t group = 0;
    std::uint8_t stream = 0, channel = 0;
    std::int8_t peer = 0;
    std::uint16_t boundary = program::kNone;  // the group of a boundary that it crosses
    auto operator<=>(const Link&) const = default;
  };

  LoweredRole run() {
    out_.role = &role_;
    place_events();
    out_.steps.resize(role_.instructions.size());
    out_.classes.resize(role_.instructions.size(), WorkClass::control);
    if (shared_) out_.shares.resize(role_.instructions.size());
    if (!program_.loads.empty())
      for (const Instruction& in : role_.instructions) out_.shapes.push_back(program_.shape_of(in, place_));
    for (const program::PassTemplate& pass : role_.passes) {
      double energy = 0;
      for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
        lay_out_step(i, pass);
        const Instruction& in = role_.instructions[i];
        if (!is_wait(in)) energy += cost_.entries[shape_of(out_, i)].energy.v * (in.opcode == Opcode::compute ? slowness_ : 1);
      }
      out_.pass_energy.push_back(energy);
    }
    const auto count = [&](const std::vector<PassInstance>& list, std::vector<std::uint32_t>* bases) {
      std::uint32_t n = 0;
      for (const PassInstance& p : list) {
        if (bases) bases->push_back(n);
        n += role_.passes[p.pass].count;
      }
      return n;
    };
    out_.prologue = count(role_.prologue, nullptr);
    out_.body = count(role_.body, &out_.body_base);
    out_.epilogue = count(role_.epilogue, nullptr);
    return std::move(out_);
  }
  const std::map<Link, std::uint16_t>& links() const { return links_; }

 private:
  void place_events() {
    std::uint32_t instances = 1;
    for (const auto* list : {&role_.prologue, &role_.body, &role_.epilogue})
      for (const PassInstance& p : *list) instances = std::max<std::uint32_t>(instances, std::max(p.microbatch, p.second) + 1U);
    std::uint32_t next = static_cast<std::uint32_t>(program_.streams.size());
    for (const program::Event& e : role_.events) {
      event_slot_.push_back(next);
      next += e.per_microbatch ? instances : 1;
    }
    out_.slots = next + 1;
  }

  std::int64_t stretched(std::int64_t duration) const {
    const double longer = std::ceil(static_cast<double>(duration) * slowness_);
    return longer < 9e18 ? static_cast<std::int64_t>(longer) : INT64_MAX / 16;  // which is refused below
  }
  bool crosses(const Instruction& in) const { return in.group != program::kNone && program_.groups[in.group].part == program::Group::Part::boundary; }
  std::int64_t simulated_members(const program::Group& group) const {
    return unfold_ ? program::group_size(program_, group) : folding_.representatives(group);
  }
  std::uint16_t link(const Link& l) { return links_.try_emplace(l, static_cast<std::uint16_t>(links_.size())).first->second; }

  void lay_out_step(std::uint32_t index, const program::PassTemplate& pass) {
    const Instruction& in = role_.instructions[index];
    Step s;
    s.stream = in.stream;
    s.second = (in.flags & program::kSecond) != 0;
    const bool inlined = program_.launch == program::Launch::inline_host;
    const cost::Entry* entry = is_wait(in) ? nullptr : &cost_.entries[shape_of(out_, index)];
    if (entry) {
      s.duration = entry->duration.v;
      if (slowness_ != 1 && in.opcode == Opcode::compute) s.duration = stretched(s.duration);
      s.issue = cost_.issue.v;
      s.shared = shared_ && entry->core_share > 0 && s.duration > 0;
    }
    if (s.shared) out_.shares[index] = {entry->core_share, entry->memory_share};
    WorkClass work = WorkClass::control;
    switch (in.opcode) {
      case Opcode::compute:
        s.kind = inlined ? (s.shared ? StepKind::inline_shared : StepKind::inline_work) : s.shared ? StepKind::shared_work : StepKind::work;
        work = program::work_class(in.op);
        break;
      case Opcode::wait:
        s.kind = inlined && in.stream == program::kComputeStream ? StepKind::inline_work : StepKind::work;
        break;
      case Opcode::host_wait:
        s.kind = StepKind::host_wait;
        break;
      case Opcode::collective:
        work = program::work_class(in.op, program_.group_class[in.group]);
        if (simulated_members(program_.groups[in.group]) > 1) {
          s.kind = StepKind::meet;
          s.link = link({.collective = true, .group = in.group, .stream = in.stream});
        } else {
          s.kind = s.shared ? StepKind::shared_work : StepKind::work;
        }
        break;
      case Opcode::send:
      case Opcode::recv:
        work = in.group == program::kNone ? WorkClass::pp_comm : program::work_class(in.op, program_.group_class[in.group]);
        s.kind = in.opcode == Opcode::send ? StepKind::send : StepKind::recv;
        s.link =
            link({.send = in.opcode == Opcode::send, .channel = in.channel, .peer = in.peer, .boundary = crosses(in) ? in.group : program::kNone});
        break;
    }
    if (in.flags & program::kOptimizer && !is_communication(work) && !is_wait(in)) work = WorkClass::optimizer;
    s.signal = out_.slots - 1;
    if (in.signal != program::kNone) {
      s.signal = event_slot_[in.signal];
      s.signal_mask = role_.events[in.signal].per_microbatch ? 0xffff : 0;
    }
    add_dependencies(s, in, pass);
    out_.steps[index] = s;
    out_.classes[index] = work;
  }

  void add_dependencies(Step& s, const Instruction& in, const program::PassTemplate& pass) {
    s.dependencies = static_cast<std::uint32_t>(out_.dependencies.size());
    for (std::uint32_t k = 0; k < in.dependency_count; ++k) {
      const program::Dependency& d = role_.dependencies[in.dependencies + k];
      StepDependency dep;
      switch (d.kind) {
        case DependencyKind::local: {
          const Instruction& other = role_.instructions[pass.first + d.index];
          // Said already by the stream's order.
          if (other.stream == in.stream && in.opcode != Opcode::host_wait && other.opcode != Opcode::host_wait) continue;
          dep = {.index = d.index, .mask = 0, .local = 1};
          break;
        }
        case DependencyKind::event:
          dep = {.index = event_slot_[d.index], .mask = static_cast<std::uint16_t>(role_.events[d.index].per_microbatch ? 0xffff : 0), .local = 0};
          break;
        case DependencyKind::issued:
          if (d.index == in.stream && in.opcode != Opcode::host_wait) continue;
          dep = {.index = d.index, .mask = 0, .local = 0};
          break;
      }
      out_.dependencies.push_back(dep);
      ++s.dependency_count;
    }
  }

  const Program& program_;
  const cost::Table& cost_;
  const Folding& folding_;
  const Role& role_;
  program::Coordinates place_;
  double slowness_;
  bool shared_, unfold_;
  LoweredRole out_;
  std::vector<std::uint32_t> event_slot_;
  std::map<Link, std::uint16_t> links_;
};

// Nodes as classes: nodes that hold the same number of ranks of every role are one. False when the ranks of one role live in unlike nodes.
bool fold_nodes(const Program& program, const Cluster& cluster, std::vector<SimulatedRank>& representatives, std::uint32_t& nodes, Cancel cancel) {
  const std::int64_t n = program.ranks(), per_node = std::max<std::int64_t>(1, cluster.node_size);
  std::vector<std::vector<std::uint32_t>> held(static_cast<std::size_t>((n + per_node - 1) / per_node),
                                               std::vector<std::uint32_t>(representatives.size(), 0));
  const auto role = [&](std::int64_t r) { return static_cast<std::size_t>(lowered_role(program, r)); };
  for (std::int64_t r = 0; r < n; ++r) {
    cancel.check();
    ++held[static_cast<std::size_t>(r / per_node)][role(r)];
  }
  for (std::int64_t r = 0; r < n; ++r)
    if (held[static_cast<std::size_t>(r / per_node)] != held[static_cast<std::size_t>(representatives[role(r)].rank / per_node)]) return false;
  std::map<std::vector<std::uint32_t>, std::uint32_t> classes;
  for (SimulatedRank& r : representatives) {
    const auto& mix = held[static_cast<std::size_t>(r.rank / per_node)];
    r.node = classes.try_emplace(mix, static_cast<std::uint32_t>(classes.size())).first->second;
    r.weight_on_node = mix[r.role];
  }
  nodes = static_cast<std::uint32_t>(classes.size());
  return true;
}

void place_ranks(Machine& m, const Cluster& cluster, bool& unfold, Cancel cancel) {
  const std::int64_t ranks = m.program->ranks();
  m.nodes = 1;
  if (!unfold) {
    const std::vector<Folding::Class>& classes = m.folding.classes();
    for (std::uint32_t role = 0; role < classes.size(); ++role)
      m.ranks.push_back({.rank = classes[role].rank, .role = role, .weight = classes[role].weight});
    if (!m.shared || fold_nodes(*m.program, cluster, m.ranks, m.nodes, cancel)) return;
    unfold = true;
    m.ranks.clear();
  }
  const std::int64_t per_node = m.shared ? std::max<std::int64_t>(1, cluster.node_size) : ranks;
  for (std::int64_t r = 0; r < ranks; ++r) {
    cancel.check();
    m.ranks.push_back({.rank = r, .role = m.folding.class_of(r), .weight = 1, .node = static_cast<std::uint32_t>(r / per_node)});
  }
  m.nodes = static_cast<std::uint32_t>((ranks + per_node - 1) / per_node);
}

// No instruction ends later than if all ran one after the other. Where cores are shared, that counts every rank of a node: whenever something runs
// there, at least one core or the whole bus is busy with it.
void refuse_overflow(const Machine& m, std::int64_t periods) {
  std::vector<__int128> by_role;
  for (const LoweredRole& role : m.roles) {
    std::vector<__int128> pass;
    for (const program::PassTemplate& t : role.role->passes) {
      __int128 sum = 0;
      for (std::uint32_t i = t.first; i < t.first + t.count; ++i) {
        // What it would take at the device's peak is added up too, and may be longer where a profile measured more than that.
        const Instruction& in = role.role->instructions[i];
        const std::int64_t ideal = in.opcode == Opcode::compute ? m.cost->entries[shape_of(role, i)].ideal.v : 0;
        sum += __int128{std::max(role.steps[i].duration, ideal)} + role.steps[i].issue;
      }
      pass.push_back(sum);
    }
    __int128 total = 0;
    for (const PassInstance& p : role.role->body) total += pass[p.pass] * periods;
    for (const PassInstance& p : role.role->prologue) total += pass[p.pass];
    for (const PassInstance& p : role.role->epilogue) total += pass[p.pass];
    by_role.push_back(total);
  }
  __int128 total = 0;
  if (m.shared) {
    for (const SimulatedRank& r : m.ranks) total += by_role[r.role] * r.weight_on_node;
  } else {
    for (const __int128 t : by_role) total += t;
  }
  constexpr std::int64_t kHorizon = INT64_MAX / 16 * 15;  // 100 days
  if (total > kHorizon)
    throw Error{"plan", "a step could take longer than simulated time can count (100 days for all simulated periods)",
                "use more or faster devices, or a smaller batch or model"};
}

}  // namespace

std::uint32_t shape_of(const LoweredRole& role, std::uint32_t step) {
  return role.shapes.empty() ? role.role->instructions[step].shape : role.shapes[step];
}

Position locate(const LoweredRole& role, std::uint32_t position) {
  // The last pass that begins at or before it; passes without instructions begin where the next one does.
  const auto after = std::upper_bound(role.body_base.begin(), role.body_base.end(), position);
  const auto pass = static_cast<std::uint32_t>(after - role.body_base.begin() - 1);
  const std::uint32_t i = position - role.body_base[pass];
  return {.pass = pass, .instruction = i, .step = role.role->passes[role.role->body[pass].pass].first + i};
}

Machine lay_out(const program::Program& program, const cost::Table& cost, const Cluster& cluster, bool unfold, std::int64_t periods, Cancel cancel) {
  assert(program.roles.size() == program.stage_of(program.ranks() - 1) + 1);
  assert(cost.entries.size() == program.shapes.size());
  Machine m;
  m.program = &program;
  m.cost = &cost;
  m.streams = static_cast<std::uint32_t>(program.streams.size());
  m.cores = static_cast<std::uint32_t>(cluster.shared_cores);
  m.shared = cluster.shared_cores > 0 && std::any_of(cost.entries.begin(), cost.entries.end(), [](const cost::Entry& e) { return e.core_share > 0; });
  m.folding = Folding{program, cluster};
  if (m.shared && !cluster.slow.empty())
    throw Error{"cluster.slow", "devices whose ranks share cores cannot be told to be slow", "leave cluster.slow out"};
  if (!m.folding.folds()) unfold = true;
  place_ranks(m, cluster, unfold, cancel);

  std::vector<std::map<RoleLayout::Link, std::uint16_t>> links;
  for (const Folding::Class& of : m.folding.classes()) {
    cancel.check();
    RoleLayout layout{program, cost, m.folding, of, m.shared, unfold};
    m.roles.push_back(layout.run());
    links.push_back(layout.links());
  }
  std::map<std::tuple<std::int64_t, std::int64_t, std::uint8_t>, std::uint32_t> channels;   // source, destination, channel
  std::map<std::tuple<std::uint16_t, std::uint8_t, std::int64_t>, std::uint32_t> meetings;  // group, stream, first member
  for (SimulatedRank& r : m.ranks) {
    cancel.check();
    r.links.resize(links[r.role].size());
    for (const auto& [link, index] : links[r.role]) {
      if (link.collective) {
        const program::Group& group = program.groups[link.group];
        const auto [at, fresh] =
            meetings.try_emplace({link.group, link.stream, first_member(program, group, r.rank)}, static_cast<std::uint32_t>(meetings.size()));
        if (fresh)
          m.meeting_size.push_back(static_cast<std::uint32_t>(unfold ? program::group_size(program, group) : m.folding.representatives(group)));
        r.links[index] = at->second;
      } else {
        const std::int64_t peer = program::peer_of(program, r.rank, link.send, link.boundary, link.peer);
        const auto key = link.send ? std::tuple{r.rank, peer, link.channel} : std::tuple{peer, r.rank, link.channel};
        r.links[index] = channels.try_emplace(key, static_cast<std::uint32_t>(channels.size())).first->second;
      }
    }
  }
  m.channels = static_cast<std::uint32_t>(channels.size());
  refuse_overflow(m, periods + 1);
  return m;
}

}  // namespace orrery::sim
