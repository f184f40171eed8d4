#include "executor/checkpoint/state.h"

#include <fmt/format.h>

#include <algorithm>

namespace orrery::executor {
namespace {

using program::AxisMask;
using program::Bucket;
using program::Buffer;
using program::BufferKind;
using program::Parameter;
using program::Program;
using program::Role;

// The part of a range that member k of n has.
struct Part {
  std::int64_t begin = 0, end = 0;
};
Part part(std::int64_t begin, std::int64_t elements, std::int64_t k, std::int64_t n) {
  return {begin + elements * k / n, begin + elements * (k + 1) / n};
}

// The axes on which ranks that own a part of a bucket all own the same.
AxisMask replicas(const Program& program, const Role& role, const Bucket& bucket) {
  const auto inside = std::find_if(role.parameters.begin(), role.parameters.end(),
                                   [&](const Parameter& p) { return p.offset >= bucket.offset && p.offset < bucket.offset + bucket.elements; });
  const bool experts = inside != role.parameters.end() && inside->expert >= 0;
  unsigned axes = experts ? program::mask(program::Axis::edp) : program::kReplicaAxes;
  if (bucket.owners != program::kNone) axes &= ~static_cast<unsigned>(program.groups[bucket.owners].axes);
  if (bucket.count_flags & program::kCountOnTp0) axes |= program::kTpAxis;
  return static_cast<AxisMask>(axes);
}

template <class Add>
void cut(const Role& role, std::int64_t begin, std::int64_t end, Add add) {
  for (const Parameter& p : role.parameters) {
    const std::int64_t from = std::max(begin, p.offset), to = std::min(end, p.offset + p.rows * p.cols);
    if (from < to) add(p, from, to);
  }
}

std::int64_t place_in(const Program& program, std::uint16_t group, std::int64_t rank, std::int64_t& size) {
  const std::vector<std::int64_t> owners = program::members(program, program.groups[group], rank);
  size = static_cast<std::int64_t>(owners.size());
  return std::find(owners.begin(), owners.end(), rank) - owners.begin();
}

}  // namespace

StateBuffers state_buffers(const Role& role) {
  StateBuffers out;
  out.parameters = role.parameter_buffer;
  const auto root = [&](std::uint32_t b) {
    while (role.buffers[b].alias >= 0) b = static_cast<std::uint32_t>(role.buffers[b].alias);
    return static_cast<std::int32_t>(b);
  };
  for (const program::Instruction& in : role.instructions) {
    if (in.op != program::Operator::optimizer_step) continue;
    for (std::uint32_t k = 0; k < in.access_count; ++k) {
      const std::uint32_t b = role.accesses[in.accesses + k].buffer;
      if (role.buffers[b].kind == BufferKind::optimizer_state) {
        if (const std::int32_t flat = root(b); out.m < 0)
          out.m = flat;
        else if (flat != out.m)
          out.v = flat;
      }
      if (role.buffers[b].kind == BufferKind::master) out.master = root(b);
    }
  }
  return out;
}

std::vector<Stretch> held_parameters(const Program& program, std::int64_t rank) {
  const Role& role = program.role_of(rank);
  const program::Coordinates c = program.coordinates(rank);
  std::vector<Stretch> out;
  for (const Bucket& bucket : role.buckets) {
    std::int64_t begin = bucket.offset, end = begin + bucket.elements;
    if (bucket.shards != program::kNone) {
      std::int64_t n = 1;
      const std::int64_t k = place_in(program, bucket.shards, rank, n);
      const Part own = part(begin, bucket.elements, k, n);
      begin = own.begin, end = own.end;
    }
    cut(role, begin, end, [&](const Parameter& p, std::int64_t from, std::int64_t to) {
      out.push_back({&p, program::origin(p, c, program.experts_of(p.layer)), from - p.offset, to - from, bucket.shard_offset + from - begin});
    });
  }
  return out;
}

std::vector<OwnedStretch> owned_states(const Program& program, std::int64_t rank, bool share) {
  const Role& role = program.role_of(rank);
  const program::Mesh& mesh = program.mesh_at(rank);
  const program::Coordinates c = program.coordinates(rank);
  std::vector<OwnedStretch> out;
  for (const Bucket& bucket : role.buckets) {
    Part own{bucket.offset, bucket.offset + bucket.elements};
    if (bucket.owners != program::kNone) {
      std::int64_t n = 1;
      const std::int64_t k = place_in(program, bucket.owners, rank, n);
      own = part(bucket.offset, bucket.elements, k, n);
    }
    Part mine = own;
    if (share) {
      if (bucket.count_flags & program::kCountNever) continue;
      const AxisMask axes = replicas(program, role, bucket);
      mine = part(own.begin, own.end - own.begin, mesh.place(c, axes), mesh.extent(axes));
    }
    const std::int64_t parameters = bucket.shard_offset - (bucket.shards != program::kNone ? own.begin : bucket.offset);
    cut(role, mine.begin, mine.end, [&](const Parameter& p, std::int64_t from, std::int64_t to) {
      OwnedStretch s;
      s.parameter = &p, s.origin = program::origin(p, c, program.experts_of(p.layer));
      s.first = from - p.offset, s.count = to - from, s.at = bucket.owned_offset + from - own.begin;
      s.in_parameters = parameters + from;
      out.push_back(s);
    });
  }
  return out;
}

std::vector<KeptScales> kept_scales(const Role& role) {
  std::string layers;
  for (const program::Chunk& c : role.chunks)
    if (c.layers > 0) layers += fmt::format("{}{}-{}", layers.empty() ? "" : ",", c.first_layer, c.first_layer + c.layers - 1);
  std::vector<KeptScales> out;
  for (std::size_t i = 0; i < role.buffers.size(); ++i) {
    const Buffer& b = role.buffers[i];
    if (b.alias < 0 && b.lifetime == program::Lifetime::persistent && b.kind == BufferKind::scalar && b.name.starts_with("fp8."))
      out.push_back({static_cast<std::int32_t>(i), fmt::format("{} of layers {}", b.name, layers), b.elements});
  }
  return out;
}

Rows rows_of(const Stretch& s) {
  const Parameter& p = *s.parameter;
  return {std::min(p.global_rows, s.origin.row + s.first / p.cols), std::min(p.global_rows, s.origin.row + (s.first + s.count - 1) / p.cols + 1)};
}

void for_each_run(const Stretch& s, const StoredPlace& place, const VisitRun& visit) {
  const Parameter& p = *s.parameter;
  const std::int64_t end = s.first + s.count;
  const std::int64_t first_row = std::max(s.first / p.cols, place.row - s.origin.row);
  const std::int64_t end_row = std::min({(end + p.cols - 1) / p.cols, place.row + place.rows - s.origin.row, p.global_rows - s.origin.row});
  const std::int64_t width = std::min(p.cols, p.global_cols - s.origin.col);  // without padding
  if (place.transposed) {
    const std::int64_t stored_width = place.shape[1];
    for (std::int64_t c = 0; c < width; ++c) {
      std::int64_t from = first_row, to = end_row;
      while (from < to && from * p.cols + c < s.first) ++from;
      while (from < to && (to - 1) * p.cols + c >= end) --to;
      if (from < to)
        visit((s.origin.col + c) * stored_width + place.first + s.origin.row + from - place.row, from * p.cols + c - s.first, to - from, p.cols);
    }
    return;
  }
  std::int64_t stored = 0, begin = 0, count = 0;  // of the run so far
  for (std::int64_t r = first_row; r < end_row; ++r) {
    const std::int64_t from = std::max(r * p.cols, s.first), to = std::min(r * p.cols + width, end);
    if (from >= to) continue;
    const std::int64_t at = (place.first + s.origin.row + r - place.row) * p.global_cols + s.origin.col + from - r * p.cols;
    if (count > 0 && at == stored + count && from - s.first == begin + count) {
      count += to - from;
      continue;
    }
    if (count > 0) visit(stored, begin, count, 1);
    stored = at, begin = from - s.first, count = to - from;
  }
  if (count > 0) visit(stored, begin, count, 1);
}

}  // namespace orrery::executor
