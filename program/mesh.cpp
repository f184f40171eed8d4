#include "program/mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace orrery::program {
namespace {

constexpr std::size_t index(Axis axis) { return static_cast<std::size_t>(axis); }
constexpr auto kPipe = index(Axis::pp);
constexpr bool has(AxisMask axes, Axis axis) { return axes & mask(axis); }

// The rank with the coordinates `c`, of which the group varies.
std::int64_t member(const Mesh& mesh, AxisMask axes, const Coordinates& c) { return axes & kExpertAxes ? mesh.expert_rank(c) : mesh.rank(c); }

// Calls `visit(axis)` for the axes that a group may have, in the order of members: the dense ones as they vary among ranks, experts' always with the
// shards of an expert first, since that is how copies of tokens are sorted (expert_sort).
template <class Visit>
void each_axis(const Mesh& mesh, AxisMask axes, Visit visit) {
  if (axes & kExpertAxes) {
    assert(!(axes & ~(kExpertAxes | kPpAxis)));
    for (const Axis axis : {Axis::etp, Axis::ep, Axis::edp, Axis::pp})
      if (has(axes, axis)) visit(axis);
  } else {
    for (const Axis axis : mesh.order)
      if (has(axes, axis)) visit(axis);
  }
}

}  // namespace

std::string_view name(Axis axis) {
  static constexpr std::array<std::string_view, kAxes> kNames{"tp", "cp inner", "cp outer", "dp inner", "dp outer", "pp", "etp", "ep", "edp"};
  return kNames[index(axis)];
}

std::int64_t Mesh::extent(AxisMask axes) const {
  std::int64_t n = 1;
  for (std::size_t a = 0; a < kAxes; ++a)
    if (axes >> a & 1U) n *= size[a];
  return n;
}

Coordinates Mesh::coordinates(std::int64_t rank) const {
  Coordinates c{};
  std::int64_t in_stage = 0, unit = 1;
  for (const Axis axis : order) {
    const std::size_t a = index(axis);
    c[a] = rank % size[a];
    rank /= size[a];
    if (axis == Axis::pp) continue;
    in_stage += c[a] * unit;
    unit *= size[a];
  }
  for (const Axis axis : expert_order) {
    const std::size_t a = index(axis);
    c[a] = in_stage % size[a];
    in_stage /= size[a];
  }
  return c;
}

std::int64_t Mesh::rank(const Coordinates& dense) const {
  std::int64_t r = 0;
  for (std::size_t i = order.size(); i-- > 0;) r = r * size[index(order[i])] + dense[index(order[i])];
  return r;
}

std::int64_t Mesh::expert_rank(const Coordinates& expert) const {
  std::int64_t in_stage = 0;
  for (std::size_t i = expert_order.size(); i-- > 0;) in_stage = in_stage * size[index(expert_order[i])] + expert[index(expert_order[i])];
  Coordinates dense{};
  for (const Axis axis : order) {
    if (axis == Axis::pp) continue;
    dense[index(axis)] = in_stage % size[index(axis)];
    in_stage /= size[index(axis)];
  }
  dense[kPipe] = expert[kPipe];
  return rank(dense);
}

std::int64_t Mesh::place(const Coordinates& c, AxisMask axes) const {
  std::int64_t at = 0, unit = 1;
  each_axis(*this, axes, [&](Axis axis) {
    at += c[index(axis)] * unit;
    unit *= size[index(axis)];
  });
  return at;
}

Mesh dense_mesh(std::int64_t tp, std::int64_t cp, std::int64_t dp, std::int64_t pp) {
  Mesh mesh;
  mesh.size[index(Axis::tp)] = tp, mesh.size[index(Axis::cp_outer)] = cp, mesh.size[index(Axis::dp_inner)] = dp, mesh.size[kPipe] = pp;
  return mesh;
}

std::string label(const Mesh& mesh, std::int64_t rank) {
  const Coordinates c = mesh.coordinates(rank);
  std::string out;
  AxisMask done = 0;
  for (std::size_t i = mesh.order.size(); i-- > 0;)
    for (const auto& [name, axes] : {std::pair{"tp", kTpAxis}, {"cp", kCpAxes}, {"dp", kDpAxes}, {"pp", kPpAxis}})
      if (has(axes, mesh.order[i]) && !(done & axes)) {
        done = static_cast<AxisMask>(done | axes);
        if (mesh.extent(axes) > 1) out += fmt::format("{}{}{}", out.empty() ? "" : " ", name, mesh.place(c, axes));
      }
  return out.empty() ? fmt::format("rank {}", rank) : out;
}

std::vector<std::int64_t> members(const Mesh& mesh, const Group& group, std::int64_t rank) {
  Coordinates c = mesh.coordinates(rank);
  std::vector<std::int64_t> out;
  if (group.part != Group::Part::whole) {
    const std::int64_t last = mesh.size[kPipe] - 1;
    const std::int64_t first = group.part == Group::Part::ends ? 0 : std::min(c[kPipe], last - c[kPipe]);
    c[kPipe] = first;
    out.push_back(mesh.rank(c));
    c[kPipe] = last - first;
    if (c[kPipe] != first) out.push_back(mesh.rank(c));
    return out;
  }
  const std::int64_t n = mesh.extent(group.axes);
  out.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t rest = i;
    each_axis(mesh, group.axes, [&](Axis axis) {
      c[index(axis)] = rest % mesh.size[index(axis)];
      rest /= mesh.size[index(axis)];
    });
    out.push_back(member(mesh, group.axes, c));
  }
  return out;
}

std::int64_t group_size(const Mesh& mesh, const Group& group) {
  if (group.part != Group::Part::whole) return mesh.size[kPipe] > 1 ? 2 : 1;
  return mesh.extent(group.axes);
}

std::int64_t first_member(const Mesh& mesh, const Group& group, std::int64_t rank) {
  Coordinates c = mesh.coordinates(rank);
  const std::int64_t pipe = c[kPipe];
  each_axis(mesh, group.axes, [&](Axis axis) { c[index(axis)] = 0; });
  if (group.part == Group::Part::mirrored) c[kPipe] = std::min(pipe, mesh.size[kPipe] - 1 - pipe);
  return member(mesh, group.axes, c);
}

}  // namespace orrery::program
