// Ranks as coordinates on the axes of parallelism, and groups as masks of axes: members are computed, never stored.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orrery::program {

// The dense axes, context and data parallelism each in two factors (all-to-all inside × ring across, shards × replicas, inside a node × across), and
// the axes of the second factoring, that of the experts, of the same ranks of a pipeline stage: etp · ep · edp = tp · cp · dp.
enum class Axis : std::uint8_t { tp, cp_inner, cp_outer, dp_inner, dp_outer, pp, etp, ep, edp };
inline constexpr std::size_t kDenseAxes = 6, kAxes = 9;
std::string_view name(Axis axis);

using AxisMask = std::uint16_t;
constexpr AxisMask mask(Axis a) { return static_cast<AxisMask>(1U << static_cast<unsigned>(a)); }
inline constexpr AxisMask kTpAxis = mask(Axis::tp), kCpAxes = mask(Axis::cp_inner) | mask(Axis::cp_outer),
                          kDpAxes = mask(Axis::dp_inner) | mask(Axis::dp_outer), kPpAxis = mask(Axis::pp);
// The ranks that hold the same dense parameters, and sum their gradients: those of a context work on parts of one sequence.
inline constexpr AxisMask kReplicaAxes = kDpAxes | kCpAxes;
inline constexpr AxisMask kExpertAxes = mask(Axis::etp) | mask(Axis::ep) | mask(Axis::edp);

using Coordinates = std::array<std::int64_t, kAxes>;  // by Axis; a rank has both its dense and its expert coordinates

struct Mesh {
  std::array<std::int64_t, kAxes> size{1, 1, 1, 1, 1, 1, 1, 1, 1};  // by Axis; without experts theirs are 1
  // Fastest-varying first. Experts' axes number the ranks of one stage in the order that these have without pp.
  std::array<Axis, kDenseAxes> order{Axis::tp, Axis::cp_inner, Axis::cp_outer, Axis::dp_inner, Axis::dp_outer, Axis::pp};
  std::array<Axis, kAxes - kDenseAxes> expert_order{Axis::etp, Axis::ep, Axis::edp};
  bool operator==(const Mesh&) const = default;

  std::int64_t ranks() const { return extent((1U << kDenseAxes) - 1U); }
  std::int64_t extent(AxisMask axes) const;
  Coordinates coordinates(std::int64_t rank) const;
  std::int64_t rank(const Coordinates& dense) const;
  // By the experts' coordinates and that on pp.
  std::int64_t expert_rank(const Coordinates& expert) const;
  // The place among the ranks that differ on these axes only: the fastest-varying first; of experts' axes etp first, then ep, then edp, however ranks
  // are numbered.
  std::int64_t place(const Coordinates& c, AxisMask axes) const;
};
// tp · cp · dp · pp ranks; neither cp nor dp in two factors.
Mesh dense_mesh(std::int64_t tp, std::int64_t cp, std::int64_t dp, std::int64_t pp);

// "pp0 dp3 tp1": on the axes that have more than one coordinate, fastest-varying last; "rank 0" where there is none.
std::string label(const Mesh& mesh, std::int64_t rank);

// The ranks that communicate when one of them executes a collective: those that differ from it only on the axes of `axes`, which are either dense
// ones or experts' ones.
struct Group {
  // Which coordinates on pp belong, where axes is mask(pp): all; the first and the last, which hold a tied embedding; or one and its mirror
  // image p − 1 − r, which hold the same two stages of a bidirectional pipeline.
  // Where a pipeline has segments (program.h), without axes: the ranks on both sides of the boundary after `segment`; every rank of all segments.
  enum class Part : std::uint8_t { whole, ends, mirrored, boundary, everyone };
  AxisMask axes = 0;
  Part part = Part::whole;
  std::uint8_t segment = 0;  // whose axes these are
  bool operator==(const Group&) const = default;
};

// These three know one mesh only, and so no groups of several segments; program.h has them for all.
// Members of `rank`'s group in the order of their coordinates (which is the order of reduction and of gathered shards).
std::vector<std::int64_t> members(const Mesh& mesh, const Group& group, std::int64_t rank);
std::int64_t group_size(const Mesh& mesh, const Group& group);
// The least of them on every axis, by which the group is known.
std::int64_t first_member(const Mesh& mesh, const Group& group, std::int64_t rank);

}  // namespace orrery::program
