#include "program/mesh.h"

#include <algorithm>

namespace orrery::program {

std::string_view name(Axis axis) {
  static constexpr std::array<std::string_view, kAxes> kNames{"tp", "cp", "dp", "pp"};
  return kNames[static_cast<std::size_t>(axis)];
}

std::int64_t Mesh::extent(AxisMask axes) const {
  std::int64_t n = 1;
  for (std::size_t a = 0; a < kAxes; ++a)
    if (axes >> a & 1U) n *= size[a];
  return n;
}

Coordinates Mesh::coordinates(std::int64_t rank) const {
  Coordinates c{};
  for (const Axis axis : order) {
    const auto a = static_cast<std::size_t>(axis);
    c[a] = rank % size[a];
    rank /= size[a];
  }
  return c;
}

std::int64_t Mesh::rank(const Coordinates& c) const {
  std::int64_t r = 0;
  for (std::size_t i = kAxes; i-- > 0;) {
    const auto a = static_cast<std::size_t>(order[i]);
    r = r * size[a] + c[a];
  }
  return r;
}

std::vector<std::int64_t> members(const Mesh& mesh, const Group& group, std::int64_t rank) {
  Coordinates c = mesh.coordinates(rank);
  constexpr auto kPipe = static_cast<std::size_t>(Axis::pp);
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
    for (const Axis axis : mesh.order) {
      const auto a = static_cast<std::size_t>(axis);
      if (group.axes >> a & 1U) {
        c[a] = rest % mesh.size[a];
        rest /= mesh.size[a];
      }
    }
    out.push_back(mesh.rank(c));
  }
  return out;
}

std::int64_t group_size(const Mesh& mesh, const Group& group) {
  if (group.part != Group::Part::whole) return mesh.size[static_cast<std::size_t>(Axis::pp)] > 1 ? 2 : 1;
  return mesh.extent(group.axes);
}

}  // namespace orrery::program
