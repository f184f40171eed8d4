#include "program/program.h"

#include <array>

namespace orrery::program {

std::string_view name(PassKind kind) {
  static constexpr std::array<std::string_view, 9> kNames{"forward",         "backward",         "input_grad", "weight_grad", "forward_backward",
                                                          "receive_forward", "receive_backward", "optimizer",  "release"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::int64_t Program::covered_bytes(const Buffer& buffer) const {
  const std::int64_t bytes = bytes_of(buffer.dtype, buffer.elements);
  return buffer.part_of < groups.size() && buffer.turn < 0 ? bytes * group_size(mesh, groups[buffer.part_of]) : bytes;
}

Origin origin(const Parameter& p, const Coordinates& c) {
  const auto at = [&](Axis axis) { return c[static_cast<std::size_t>(axis)]; };
  const std::int64_t shard = at(p.expert >= 0 ? Axis::etp : Axis::tp);
  Origin out{p.split == Parameter::Split::rows ? shard * p.rows : 0, p.split == Parameter::Split::cols ? shard * p.cols : 0};
  if (p.expert >= 0) out.row += (at(Axis::ep) * p.local_experts + p.expert) * p.expert_rows;
  return out;
}

}  // namespace orrery::program
