// Ranks as coordinates on the axes of parallelism, and groups as masks of axes: members are computed, never stored.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orrery::program {

enum class Axis : std::uint8_t { tp, cp, dp, pp };
inline constexpr std::size_t kAxes = 4;
std::string_view name(Axis axis);

using AxisMask = std::uint8_t;
constexpr AxisMask mask(Axis a) { return static_cast<AxisMask>(1U << static_cast<unsigned>(a)); }

using Coordinates = std::array<std::int64_t, kAxes>;  // by Axis

struct Mesh {
  std::array<std::int64_t, kAxes> size{1, 1, 1, 1};                       // by Axis
  std::array<Axis, kAxes> order{Axis::tp, Axis::cp, Axis::dp, Axis::pp};  // fastest-varying first
  bool operator==(const Mesh&) const = default;

  std::int64_t ranks() const { return size[0] * size[1] * size[2] * size[3]; }
  std::int64_t extent(AxisMask axes) const;
  Coordinates coordinates(std::int64_t rank) const;
  std::int64_t rank(const Coordinates& c) const;
};

// The ranks that communicate when one of them executes a collective: those that differ from it only on the axes of `axes`.
struct Group {
  // Which coordinates on pp belong, where axes is mask(pp): all; the first and the last, which hold a tied embedding; or one and its mirror
  // image p − 1 − r, which hold the same two stages of a bidirectional pipeline.
  enum class Part : std::uint8_t { whole, ends, mirrored };
  AxisMask axes = 0;
  Part part = Part::whole;
  bool operator==(const Group&) const = default;
};

// Members of `rank`'s group in the order of their coordinates (which is the order of reduction and of gathered shards).
std::vector<std::int64_t> members(const Mesh& mesh, const Group& group, std::int64_t rank);
std::int64_t group_size(const Mesh& mesh, const Group& group);

}  // namespace orrery::program
