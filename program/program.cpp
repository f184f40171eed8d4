#include "program/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <numeric>

namespace orrery::program {

std::string_view name(PassKind kind) {
  static constexpr std::array<std::string_view, 9> kNames{"forward",         "backward",         "input_grad", "weight_grad", "forward_backward",
                                                          "receive_forward", "receive_backward", "optimizer",  "release"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::int64_t Program::covered_bytes(const Buffer& buffer) const {
  const std::int64_t bytes = bytes_of(buffer.dtype, buffer.elements);
  return buffer.part_of < groups.size() && buffer.turn < 0 ? bytes * group_size(*this, groups[buffer.part_of]) : bytes;
}

// --- Ranks ---------------------------------------------------------------------------------------------------------------------------------------

namespace {

constexpr auto kPipe = static_cast<std::size_t>(Axis::pp), kTensor = static_cast<std::size_t>(Axis::tp);
using Part = Group::Part;

std::int64_t at_place(const Mesh& mesh, std::int64_t data, Coordinates c) {
  // By its place on both factors of dp, the others as they are.
  c[static_cast<std::size_t>(Axis::dp_inner)] = c[static_cast<std::size_t>(Axis::dp_outer)] = 0;
  return members(mesh, {kDpAxes, Part::whole}, mesh.rank(c))[static_cast<std::size_t>(data)];
}

}  // namespace

std::size_t Program::segment_of(std::int64_t rank) const {
  std::size_t s = 0;
  while (s + 1 < segments.size() && segments[s + 1].first_rank <= rank) ++s;
  return s;
}

std::size_t Program::segment_of_role(std::size_t role) const {
  std::size_t s = 0;
  while (s + 1 < segments.size() && segments[s + 1].first_stage <= static_cast<std::int64_t>(role)) ++s;
  return s;
}

std::size_t Program::stage_of(std::int64_t rank) const {
  const std::int64_t first = segments.empty() ? 0 : segments[segment_of(rank)].first_stage;
  return static_cast<std::size_t>(first + coordinates(rank)[kPipe]);
}

std::int64_t Program::ranks_of_role(std::size_t role) const {
  const Mesh& m = mesh_of(segment_of_role(role));
  return m.ranks() / m.size[kPipe];
}

std::int64_t Program::first_of_role(std::size_t role) const {
  const std::size_t s = segment_of_role(role);
  Coordinates c{};
  c[kPipe] = static_cast<std::int64_t>(role) - (segments.empty() ? 0 : segments[s].first_stage);
  return first_rank(s) + mesh_of(s).rank(c);
}

std::vector<std::int64_t> members(const Program& program, const Group& group, std::int64_t rank) {
  if (group.part == Part::everyone) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(program.ranks()));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    return all;
  }
  const auto stage_of = [&](std::size_t segment, std::int64_t stage) {  // its ranks, in order
    const Mesh& mesh = program.mesh_of(segment);
    std::vector<std::int64_t> out;
    for (std::int64_t r = 0; r < mesh.ranks(); ++r)
      if (mesh.coordinates(r)[kPipe] == stage) out.push_back(program.first_rank(segment) + r);
    return out;
  };
  if (group.part == Part::boundary) {
    std::vector<std::int64_t> out = stage_of(group.segment, program.mesh_of(group.segment).size[kPipe] - 1);
    const std::vector<std::int64_t> after = stage_of(group.segment + 1U, 0);
    out.insert(out.end(), after.begin(), after.end());
    return out;
  }
  const std::int64_t first = program.first_rank(group.segment);
  std::vector<std::int64_t> out = members(program.mesh_of(group.segment), group, rank - first);
  for (std::int64_t& r : out) r += first;
  return out;
}

std::int64_t group_size(const Program& program, const Group& group) {
  if (group.part == Part::everyone) return program.ranks();
  const auto in_stage = [&](std::size_t segment) { return program.mesh_of(segment).ranks() / program.mesh_of(segment).size[kPipe]; };
  if (group.part == Part::boundary) return in_stage(group.segment) + in_stage(group.segment + 1U);
  return group_size(program.mesh_of(group.segment), group);
}

std::int64_t first_member(const Program& program, const Group& group, std::int64_t rank) {
  if (group.part == Part::everyone) return 0;
  if (group.part == Part::boundary) return members(program, group, rank).front();
  const std::int64_t first = program.first_rank(group.segment);
  return first + first_member(program.mesh_of(group.segment), group, rank - first);
}

std::string label(const Program& program, std::int64_t rank) {
  if (program.segments.empty()) return label(program.mesh, rank);
  // Stages are counted through all segments; the rest is of the segment.
  Mesh stage = program.mesh_at(rank);
  Coordinates c = program.coordinates(rank);
  stage.size[kPipe] = 1, c[kPipe] = 0;
  const std::string out = fmt::format("pp{}", program.stage_of(rank));
  return stage.ranks() == 1 ? out : fmt::format("{} {}", out, label(stage, stage.rank(c)));
}

// --- Boundaries between segments -----------------------------------------------------------------------------------------------------------------

Boundary boundary(const Program& program, std::size_t before) {
  const Mesh &a = program.mesh_of(before), &b = program.mesh_of(before + 1);
  return {before, std::max(a.extent(kDpAxes), b.extent(kDpAxes)), std::max(a.size[kTensor], b.size[kTensor])};
}

Messages messages(const Program& program, const Boundary& boundary, std::size_t segment) {
  const Mesh& mesh = program.mesh_of(segment);
  return {boundary.sequence_parts / mesh.extent(kDpAxes), boundary.row_parts / mesh.size[kTensor]};
}

std::int64_t peer_of(const Program& program, std::int64_t rank, bool sends, std::uint16_t group, std::int8_t peer) {
  const std::size_t own = program.segment_of(rank);
  const Mesh& mesh = program.mesh_of(own);
  Coordinates c = program.coordinates(rank);
  if (group == kNone || program.groups[group].part != Part::boundary) {
    const std::int64_t stages = mesh.size[kPipe];
    c[kPipe] = ((c[kPipe] + peer) % stages + stages) % stages;
    return program.first_rank(own) + mesh.rank(c);
  }
  const Boundary at = boundary(program, program.groups[group].segment);
  const std::size_t other = own == at.before ? at.before + 1 : at.before;
  const Messages mine = messages(program, at, own), theirs = messages(program, at, other);
  const SegmentMesh &me = program.segments[own], &they = program.segments[other];
  // Which of the finest parts and blocks the message is. Where all ranks of tp have all rows, what a rank sends is every tp-th block, so that each of
  // its messages is the own one of tp equal blocks in a row; otherwise, and of what it receives, it has consecutive blocks.
  const std::int64_t part = mesh.place(c, kDpAxes) * mine.parts + peer / mine.blocks;
  const bool strided = sends && !me.sp;
  const std::int64_t block = strided ? peer % mine.blocks * mesh.size[kTensor] + c[kTensor] : c[kTensor] * mine.blocks + peer % mine.blocks;
  const Mesh& there = they.mesh;
  c[kTensor] = !sends && !they.sp ? block % there.size[kTensor] : block / theirs.blocks;
  c[kPipe] = other == at.before ? there.size[kPipe] - 1 : 0;
  return they.first_rank + at_place(there, part / theirs.parts, c);
}

std::int64_t peer_of(const Program& program, std::int64_t rank, const Instruction& in) {
  return peer_of(program, rank, in.opcode == Opcode::send, in.group, in.peer);
}

// --- Parameters ----------------------------------------------------------------------------------------------------------------------------------

Origin origin(const Parameter& p, const Coordinates& c, std::span<const std::int32_t> experts) {
  const auto at = [&](Axis axis) { return c[static_cast<std::size_t>(axis)]; };
  const std::int64_t shard = at(p.expert >= 0 ? Axis::etp : Axis::tp);
  Origin out{p.split == Parameter::Split::rows ? shard * p.rows : 0, p.split == Parameter::Split::cols ? shard * p.cols : 0};
  if (p.expert >= 0) {
    const std::int64_t place = at(Axis::ep) * p.local_experts + p.expert;
    out.row += (experts.empty() ? place : experts[static_cast<std::size_t>(place)]) * p.expert_rows;
  }
  return out;
}

}  // namespace orrery::program
