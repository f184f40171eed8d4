#include "app/network_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "core/error.h"
#include "sim/folding.h"

namespace orrery::app {
namespace {

constexpr std::uint32_t kNobody = UINT32_MAX;

bool communicates(program::Opcode opcode) {
  return opcode == program::Opcode::collective || opcode == program::Opcode::send || opcode == program::Opcode::recv;
}

double busier(const ByAxis& sent, const ByAxis& received) { return std::max(sum(sent), sum(received)); }

}  // namespace

std::string_view traffic_axis_name(std::size_t axis) {
  static constexpr std::array<std::string_view, kTrafficAxes> kNames{"tp", "cp", "ep", "pp", "dp"};
  return kNames[axis];
}

double sum(const ByAxis& amounts) { return std::accumulate(amounts.begin(), amounts.end(), 0.0); }

std::string_view name(cost::Algorithm algorithm) {
  switch (algorithm) {
    case cost::Algorithm::none:
      return "none";
    case cost::Algorithm::ring:
      return "ring";
    case cost::Algorithm::tree:
      return "tree";
    case cost::Algorithm::in_switch:
      return "in the switches";
    case cost::Algorithm::direct:
      return "direct";
  }
  return "none";
}

double NetworkLoad::Level::load(std::int64_t device, Seconds during) const {
  const auto d = static_cast<std::size_t>(device);
  const double most = bandwidth.v * during.v;
  return most > 0 ? busier(sent[d], received[d]) / most : 0;
}

double NetworkLoad::uplink_load(std::size_t level, std::int64_t device) const {
  const Level& l = levels[level];
  const std::int64_t first = device / l.uplink * l.uplink, last = std::min(devices, first + l.uplink);
  double sent = 0, received = 0;
  for (std::int64_t d = first; d < last; ++d) {
    sent += sum(l.sent[static_cast<std::size_t>(d)]);
    received += sum(l.received[static_cast<std::size_t>(d)]);
  }
  const double most = l.bandwidth.v * over.v * static_cast<double>(last - first);
  return most > 0 ? std::max(sent, received) / most : 0;
}

std::vector<HotLink> links_by_load(const NetworkLoad& load) {
  std::vector<HotLink> out;
  for (std::size_t l = 0; l < load.levels.size(); ++l) {
    const NetworkLoad::Level& level = load.levels[l];
    std::map<std::array<std::int64_t, 2 * kTrafficAxes>, std::size_t> known;
    for (std::int64_t d = 0; d < load.devices; ++d) {
      const ByAxis &sent = level.sent[static_cast<std::size_t>(d)], &received = level.received[static_cast<std::size_t>(d)];
      std::array<std::int64_t, 2 * kTrafficAxes> key{};
      for (std::size_t a = 0; a < kTrafficAxes; ++a) key[a] = std::llround(sent[a]), key[kTrafficAxes + a] = std::llround(received[a]);
      const auto [at, fresh] = known.try_emplace(key, out.size());
      if (fresh)
        out.push_back({l, d, 1, sent, received, load.load(l, d)});
      else
        ++out[at->second].alike;
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const HotLink& a, const HotLink& b) { return a.load > b.load; });
  return out;
}

NetworkTraffic::NetworkTraffic(const program::Program& program, const Cluster& cluster) : program_(&program), cluster_(&cluster) {
  uses_.resize(program.roles.size());
  for (std::size_t r = 0; r < program.roles.size(); ++r) {
    const program::Role& role = program.roles[r];
    std::vector<std::int64_t> times(role.passes.size());
    for (const program::PassInstance& instance : role.body) ++times[instance.pass];
    std::map<std::tuple<program::Opcode, std::uint32_t, std::uint16_t, std::uint16_t, std::int8_t>, std::size_t> known;
    for (std::size_t p = 0; p < role.passes.size(); ++p) {
      if (times[p] == 0) continue;
      for (std::uint32_t i = role.passes[p].first; i < role.passes[p].first + role.passes[p].count; ++i) {
        const program::Instruction& in = role.instructions[i];
        if (!communicates(in.opcode)) continue;
        const auto [at, fresh] = known.try_emplace({in.opcode, in.shape, in.load, in.group, in.peer}, uses_[r].size());
        if (fresh) uses_[r].push_back({in, 0});
        uses_[r][at->second].count += times[p];
      }
    }
  }
  const std::int64_t ranks = program.ranks();
  group_at_.resize(program.groups.size());
  member_at_.resize(program.groups.size());
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    for (const Use& use : uses_[program.stage_of(rank)]) {
      if (use.instruction.opcode != program::Opcode::collective) continue;
      const std::uint16_t g = use.instruction.group;
      if (group_at_[g].empty() || group_at_[g][static_cast<std::size_t>(rank)] == kNobody) meet(g, rank);
      const std::uint32_t group = group_at_[g][static_cast<std::size_t>(rank)], shape = shape_of(use.instruction, rank);
      if (const auto [at, fresh] = algorithms_.try_emplace({group, shape}); fresh) at->second = groups_[group].algorithm(program.shapes[shape]);
    }
  }
}

void NetworkTraffic::meet(std::uint16_t group, std::int64_t rank) {
  const auto ranks = static_cast<std::size_t>(program_->ranks());
  group_at_[group].resize(ranks, kNobody);
  member_at_[group].resize(ranks, 0);
  std::vector<std::int64_t> members = program::members(*program_, program_->groups[group], rank);
  for (std::size_t m = 0; m < members.size(); ++m) {
    group_at_[group][static_cast<std::size_t>(members[m])] = static_cast<std::uint32_t>(groups_.size());
    member_at_[group][static_cast<std::size_t>(members[m])] = static_cast<std::uint32_t>(m);
  }
  groups_.emplace_back(*cluster_, std::move(members));
}

std::uint32_t NetworkTraffic::shape_of(const program::Instruction& in, std::int64_t rank) const {
  return in.load == program::kNone ? in.shape : program_->shape_of(in, program_->coordinates(rank));
}

std::size_t NetworkTraffic::axis_of(std::uint16_t group) const {
  return traffic_axis(group < program_->group_class.size() ? program_->group_class[group] : WorkClass::dp_comm);
}

template <class Visit>
void NetworkTraffic::each_link(const program::Instruction& in, std::int64_t rank, Visit visit) const {
  if (cluster_->levels.empty()) return;
  const std::uint32_t number = shape_of(in, rank);
  const program::Shape& shape = program_->shapes[number];
  if (in.opcode == program::Opcode::collective) {
    const std::uint32_t group = group_at_[in.group][static_cast<std::size_t>(rank)];
    if (group == kNobody) return;
    const std::vector<cost::LinkBytes> bytes =
        groups_[group].bytes(shape, algorithms_.at({group, number}), member_at_[in.group][static_cast<std::size_t>(rank)]);
    for (std::size_t l = 0; l < bytes.size(); ++l)
      if (bytes[l] != cost::LinkBytes{}) visit(l, bytes[l]);
    return;
  }
  const std::int64_t peer = program::peer_of(*program_, rank, in);
  if (peer == rank) return;
  const std::size_t level = cluster_->level_between(rank, peer);
  const auto bytes = static_cast<double>(shape.bytes);
  for (std::size_t l = 0; l <= level; ++l)
    if (cost::crosses(l, level)) visit(l, in.opcode == program::Opcode::send ? cost::LinkBytes{bytes, 0} : cost::LinkBytes{0, bytes});
}

NetworkLoad NetworkTraffic::empty(Seconds over, bool moment) const {
  NetworkLoad out;
  out.devices = std::max(cluster_->devices, program_->ranks());
  out.over = over;
  out.moment = moment;
  for (std::size_t l = 0; l < cluster_->levels.size(); ++l) {
    const NetworkLevel& level = cluster_->levels[l];
    NetworkLoad::Level& to = out.levels.emplace_back();
    to.name = level.name;
    to.domain = l + 1 == cluster_->levels.size() ? std::max(level.size, out.devices) : level.size;
    to.uplink = l == 0 ? 1 : cluster_->levels[l - 1].size;
    to.bandwidth = level.bandwidth;
    to.sent.resize(static_cast<std::size_t>(out.devices));
    to.received.resize(static_cast<std::size_t>(out.devices));
  }
  return out;
}

NetworkLoad NetworkTraffic::of_step(Picoseconds step) const {
  NetworkLoad out = empty(to_seconds(step), false);
  for (std::int64_t rank = 0; rank < program_->ranks(); ++rank)
    for (const Use& use : uses_[program_->stage_of(rank)]) {
      const std::size_t axis = axis_of(use.instruction.group);
      each_link(use.instruction, rank, [&](std::size_t l, const cost::LinkBytes& bytes) {
        out.levels[l].sent[static_cast<std::size_t>(rank)][axis] += bytes.sent * static_cast<double>(use.count);
        out.levels[l].received[static_cast<std::size_t>(rank)][axis] += bytes.received * static_cast<double>(use.count);
      });
    }
  return out;
}

NetworkLoad NetworkTraffic::at(const Timeline& timeline, Picoseconds time) const {
  NetworkLoad out = empty(Seconds{1}, true);
  const program::Program& program = *program_;
  const auto key = [](const Span& s) { return std::tuple{s.rank, std::uint32_t{s.stream}, s.start}; };
  // A time and the one a step later are the same; a span that runs on beyond the step is met as many steps later.
  const Picoseconds step = timeline.step, first{step.v > 0 ? (time.v % step.v + step.v) % step.v : time.v};
  // What the recorded ranks do at the time.
  struct Running {
    program::Instruction instruction;
    double seconds = 0;
  };
  const auto running = [&](std::uint32_t rank) {
    std::vector<Running> list;
    const program::Role& role = program.role_of(rank);
    const auto last_until = [&](std::uint32_t stream, Picoseconds t) -> const Span* {
      const auto after = std::upper_bound(timeline.spans.begin(), timeline.spans.end(), std::tuple{rank, stream, t},
                                          [&](const auto& k, const Span& s) { return k < key(s); });
      if (after == timeline.spans.begin() || (after - 1)->rank != rank || (after - 1)->stream != stream) return nullptr;
      return &*(after - 1);
    };
    for (std::uint32_t stream = 0; stream < timeline.streams.size(); ++stream) {
      const Span* last = last_until(stream, Picoseconds{INT64_MAX});  // spans of a stream do not overlap: it ends last, too
      for (Picoseconds t = first; last != nullptr && t < last->end; t += step) {
        if (const Span* found = last_until(stream, t); found != nullptr && found->end > t) {
          const Span& span = *found;
          if (span.pass >= role.body.size() || span.instruction >= role.passes[role.body[span.pass].pass].count)
            throw Error{"timeline", "its spans are not of this plan's program"};
          const program::Instruction& in = role.instructions[role.passes[role.body[span.pass].pass].first + span.instruction];
          if (communicates(in.opcode)) list.push_back({in, to_seconds(span.end - span.start).v});
        }
        if (step.v <= 0) break;
      }
    }
    return list;
  };
  std::vector<std::vector<Running>> by_class;
  std::vector<bool> known;
  const auto recorded = [&](std::int64_t rank) {
    return rank < static_cast<std::int64_t>(timeline.ranks.size()) && !timeline.ranks[static_cast<std::size_t>(rank)].empty();
  };
  std::vector<std::uint32_t> classes(static_cast<std::size_t>(program.ranks()));
  const sim::Folding folding(program, *cluster_);
  for (std::int64_t rank = 0; rank < program.ranks(); ++rank) {
    const std::uint32_t c = classes[static_cast<std::size_t>(rank)] = folding.class_of(rank);
    if (by_class.size() <= c) by_class.resize(c + 1), known.resize(c + 1);
    if (recorded(rank) && !known[c]) known[c] = true, by_class[c] = running(static_cast<std::uint32_t>(rank));
  }
  for (std::int64_t rank = 0; rank < program.ranks(); ++rank) {
    const std::vector<Running> own = recorded(rank) ? running(static_cast<std::uint32_t>(rank)) : std::vector<Running>{};
    for (const Running& r : recorded(rank) ? own : by_class[classes[static_cast<std::size_t>(rank)]]) {
      const std::size_t axis = axis_of(r.instruction.group);
      each_link(r.instruction, rank, [&](std::size_t l, const cost::LinkBytes& bytes) {
        out.levels[l].sent[static_cast<std::size_t>(rank)][axis] += bytes.sent / r.seconds;
        out.levels[l].received[static_cast<std::size_t>(rank)][axis] += bytes.received / r.seconds;
      });
    }
  }
  return out;
}

std::vector<AlikeNodes> NetworkTraffic::nodes(const NetworkLoad& load) const {
  std::vector<AlikeNodes> out;
  const std::int64_t size = load.levels.empty() ? std::max<std::int64_t>(1, cluster_->node_size) : load.levels.front().domain;
  std::map<std::vector<std::int64_t>, std::size_t> known;
  const sim::Folding folding(*program_, *cluster_);
  for (std::int64_t node = 0; node * size < load.devices; ++node) {
    std::vector<std::int64_t> key;
    for (std::int64_t d = node * size; d < std::min(load.devices, (node + 1) * size); ++d) {
      key.push_back(d < program_->ranks() ? folding.class_of(d) : -1);
      for (const NetworkLoad::Level& level : load.levels)
        for (std::size_t a = 0; a < kTrafficAxes; ++a) {
          key.push_back(std::llround(level.sent[static_cast<std::size_t>(d)][a]));
          key.push_back(std::llround(level.received[static_cast<std::size_t>(d)][a]));
        }
    }
    const auto [at, fresh] = known.try_emplace(std::move(key), out.size());
    if (fresh)
      out.push_back({node, 1});
    else
      ++out[at->second].alike;
  }
  return out;
}

std::vector<LinkUse> NetworkTraffic::uses(std::int64_t device, std::size_t level) const {
  std::vector<LinkUse> out;
  if (device < 0 || device >= program_->ranks()) return out;
  for (const Use& use : uses_[program_->stage_of(device)]) {
    const program::Instruction& in = use.instruction;
    each_link(in, device, [&](std::size_t l, const cost::LinkBytes& bytes) {
      if (l != level) return;
      const std::uint32_t shape = shape_of(in, device);
      LinkUse one;
      one.operation = program::name(in.op);
      one.axis = axis_of(in.group);
      one.count = use.count;
      one.payload = program_->shapes[shape].bytes;
      one.sent = bytes.sent * static_cast<double>(use.count);
      one.received = bytes.received * static_cast<double>(use.count);
      one.ranks = 2;
      one.algorithm = cost::Algorithm::direct;
      if (in.opcode == program::Opcode::collective) {
        const std::uint32_t group = group_at_[in.group][static_cast<std::size_t>(device)];
        one.ranks = static_cast<std::int64_t>(groups_[group].devices().size());
        one.algorithm = algorithms_.at({group, shape});
      }
      // Messages to several peers, and operations at several places of the program, are one use where they are alike.
      const auto same = std::find_if(out.begin(), out.end(), [&](const LinkUse& u) {
        return u.operation == one.operation && u.axis == one.axis && u.payload == one.payload && u.ranks == one.ranks && u.algorithm == one.algorithm;
      });
      if (same == out.end()) {
        out.push_back(std::move(one));
      } else {
        same->count += one.count;
        same->sent += one.sent;
        same->received += one.received;
      }
    });
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const LinkUse& a, const LinkUse& b) { return std::max(a.sent, a.received) > std::max(b.sent, b.received); });
  return out;
}

}  // namespace orrery::app
