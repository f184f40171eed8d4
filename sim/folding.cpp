#include "sim/folding.h"

#include <algorithm>
#include <numeric>
#include <set>

namespace orrery::sim {
namespace {

using program::Axis;
using program::Program;

// Which ranks of a segment's stages differ, besides on loaded axes: the first so many places on dp and on tp. Each other one does at all times what
// the one of these does that it equals modulo them, since exchanges at boundaries stay among ranks that are as many such numbers on: all segments
// have a common number of replicas that are cut alike, and of parts of rows. Without segments one of each stands for all.
struct Unlike {
  std::int64_t dp = 1, tp = 1;
};
std::vector<Unlike> unlike(const Program& program) {
  if (program.segments.empty()) return {{}};
  std::int64_t replicas = 0, shards = 0;
  for (std::size_t s = 0; s < program.segments.size(); ++s) {
    const program::SegmentMesh& mine = program.segments[s];
    const std::int64_t tp = mine.mesh.extent(program::kTpAxis);
    replicas = std::gcd(replicas, mine.mesh.extent(program::kDpAxes)), shards = std::gcd(shards, tp);
    if (mine.mesh.extent(program::mask(program::Axis::dp_outer)) > 1) replicas = 1;  // ranks of one node are not like those of others
    // Where each rank of tp has all rows and the other side has more ranks, it sends every tp-th block of them.
    for (const std::size_t other : {s - 1, s + 1})
      if (other < program.segments.size() && !mine.sp && program.segments[other].mesh.extent(program::kTpAxis) > tp) shards = 1;
  }
  std::vector<Unlike> out;
  for (const program::SegmentMesh& s : program.segments)
    out.push_back(
        {s.mesh.extent(program::kDpAxes) / std::max<std::int64_t>(1, replicas), s.mesh.extent(program::kTpAxis) / std::max<std::int64_t>(1, shards)});
  return out;
}

// Classes of ranks in a stage of the segment.
std::int64_t classes(const Program& program, const std::vector<Unlike>& all, std::size_t segment) {
  return all[segment].dp * all[segment].tp * program.mesh_of(segment).extent(program.loaded_axes());
}

// Members of the group that are simulated, of one rank of each class.
std::int64_t simulated_members(const Program& program, const program::Group& group) {
  using Part = program::Group::Part;
  if (group.part != Part::whole && group.part != Part::everyone) return program::group_size(program, group);
  const std::vector<Unlike> all = unlike(program);
  if (group.part == Part::everyone) {
    std::int64_t n = 0;
    for (std::size_t r = 0; r < program.roles.size(); ++r) n += classes(program, all, program.segment_of_role(r));
    return n;
  }
  const program::Mesh& mesh = program.mesh_of(group.segment);
  std::int64_t n = mesh.extent(static_cast<program::AxisMask>(group.axes & (program::kPpAxis | program.loaded_axes())));
  if (program.segments.empty()) return n;
  if (group.axes & program::kTpAxis) n *= all[group.segment].tp;
  // Either dp is not cut in two, or all of its places are told apart.
  const std::int64_t dp = mesh.extent(static_cast<program::AxisMask>(group.axes & program::kDpAxes));
  return dp > 1 ? n * std::min(dp, all[group.segment].dp) : n;
}

// By lowered role, the first rank of its class.
std::vector<std::int64_t> first_ranks(const Program& program) {
  const program::AxisMask loaded = program.loaded_axes();
  const std::vector<Unlike> all = unlike(program);
  std::vector<std::int64_t> out;
  const auto of = [&](program::AxisMask axes, std::uint8_t segment, std::int64_t rank) {  // in the order of their places
    return program::members(program, {axes, program::Group::Part::whole, segment}, rank);
  };
  for (std::size_t p = 0; p < program.roles.size(); ++p) {
    const auto segment = static_cast<std::uint8_t>(program.segment_of_role(p));
    const auto dp = static_cast<std::size_t>(all[segment].dp), tp = static_cast<std::size_t>(all[segment].tp);
    const std::vector<std::int64_t> replicas = of(program::kDpAxes, segment, program.first_of_role(p));
    for (std::size_t d = 0; d < dp; ++d) {
      const std::vector<std::int64_t> shards = of(program::kTpAxis, segment, replicas[d]);
      for (std::size_t t = 0; t < tp; ++t)
        for (const std::int64_t rank : of(loaded, segment, shards[t])) out.push_back(rank);
    }
  }
  return out;
}

std::int64_t class_size(const Program& program, const std::vector<Unlike>& all, std::int64_t rank) {
  return program.ranks_of_role(program.stage_of(rank)) / classes(program, all, program.segment_of(rank));
}

}  // namespace

std::uint32_t lowered_role(const program::Program& program, std::int64_t rank) {
  const std::vector<Unlike> all = unlike(program);
  const program::AxisMask loaded = program.loaded_axes();
  const std::size_t segment = program.segment_of(rank), stage = program.stage_of(rank);
  const program::Mesh& mesh = program.mesh_of(segment);
  const program::Coordinates c = program.coordinates(rank);
  std::int64_t index = 0;
  for (std::size_t r = 0; r < stage; ++r) index += classes(program, all, program.segment_of_role(r));
  index += mesh.place(c, program::kDpAxes) % all[segment].dp * all[segment].tp * mesh.extent(loaded);
  index += mesh.place(c, program::kTpAxis) % all[segment].tp * mesh.extent(loaded);
  return static_cast<std::uint32_t>(index + mesh.place(c, loaded));
}

Folding::Folding(const Program& program, const Cluster& cluster) : program_(&program) {
  for (const SlowDevice& s : cluster.slow)
    if (s.device < program.ranks() && s.factor != 1) slow_.push_back(s);
  std::sort(slow_.begin(), slow_.end(), [](const SlowDevice& a, const SlowDevice& b) { return a.device < b.device; });
  folds_ = slow_.empty() || (program.segments.empty() && program.mesh.extent(program::kExpertAxes) == 1);
  if (!slow_.empty() && folds_) {
    tell_apart();
    return;
  }
  const std::vector<Unlike> all = unlike(program);
  for (const std::int64_t rank : first_ranks(program)) classes_.push_back({.rank = rank, .weight = class_size(program, all, rank)});
  for (const SlowDevice& s : slow_) {
    --classes_[lowered_role(program, s.device)].weight;
    classes_.push_back({.rank = s.device, .weight = 1, .slowness = s.factor});
  }
}

void Folding::tell_apart() {
  const program::Mesh& mesh = program_->mesh;
  const program::AxisMask apart = static_cast<program::AxisMask>(program_->loaded_axes() | program::kPpAxis);
  std::array<std::vector<std::int64_t>, program::kDenseAxes> places;  // those that are simulated
  for (std::size_t a = 0; a < program::kDenseAxes; ++a) {
    std::set<std::int64_t> own;
    for (const SlowDevice& s : slow_) own.insert(mesh.coordinates(s.device)[a]);
    if (apart & program::mask(static_cast<Axis>(a)))
      for (std::int64_t c = 0; c < mesh.size[a]; ++c) own.insert(c);
    own_[a].assign(own.begin(), own.end());
    rest_[a] = static_cast<std::int64_t>(own.size()) < mesh.size[a];
    places[a] = own_[a];
    if (!rest_[a]) continue;
    std::int64_t other = 0;
    while (own.count(other)) ++other;
    places[a].push_back(other);
  }
  // Stages are the slowest to vary, as among lowered roles.
  std::size_t count = 1;
  for (const auto& axis : places) count *= axis.size();
  for (std::size_t i = 0; i < count; ++i) {
    program::Coordinates c{};
    std::size_t left = i;
    Class made;
    for (std::size_t a = 0; a < program::kDenseAxes; ++a) {  // pp is the last of them
      const std::size_t at = left % places[a].size();
      left /= places[a].size();
      c[a] = places[a][at];
      if (at == own_[a].size()) made.weight *= mesh.size[a] - static_cast<std::int64_t>(own_[a].size());
    }
    made.rank = mesh.rank(c);
    const auto slow = std::find_if(slow_.begin(), slow_.end(), [&](const SlowDevice& s) { return s.device == made.rank; });
    if (slow != slow_.end()) made.slowness = slow->factor;
    classes_.push_back(made);
  }
}

std::uint32_t Folding::class_of(std::int64_t rank) const {
  if (slow_.empty()) return lowered_role(*program_, rank);
  if (!folds_) {
    const auto slow = std::find_if(slow_.begin(), slow_.end(), [&](const SlowDevice& s) { return s.device == rank; });
    if (slow == slow_.end()) return lowered_role(*program_, rank);
    return static_cast<std::uint32_t>(classes_.size() - slow_.size() + static_cast<std::size_t>(slow - slow_.begin()));
  }
  const program::Coordinates c = program_->mesh.coordinates(rank);
  std::size_t index = 0, unit = 1;
  for (std::size_t a = 0; a < program::kDenseAxes; ++a) {
    const auto at = std::lower_bound(own_[a].begin(), own_[a].end(), c[a]);
    index += (at != own_[a].end() && *at == c[a] ? static_cast<std::size_t>(at - own_[a].begin()) : own_[a].size()) * unit;
    unit *= own_[a].size() + (rest_[a] ? 1 : 0);
  }
  return static_cast<std::uint32_t>(index);
}

std::int64_t Folding::representatives(const program::Group& group) const {
  if (slow_.empty()) return simulated_members(*program_, group);
  if (group.part != program::Group::Part::whole) return program::group_size(*program_, group);
  std::int64_t n = 1;
  for (std::size_t a = 0; a < program::kDenseAxes; ++a)
    if (group.axes & program::mask(static_cast<Axis>(a))) n *= static_cast<std::int64_t>(own_[a].size()) + (rest_[a] ? 1 : 0);
  return n;
}

}  // namespace orrery::sim
