// What one instruction of a rank does: what it waits for, which positions it works on, its kernel or its communication.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <numeric>

#include "core/error.h"
#include "executor/random.h"
#include "executor/rank.h"

namespace orrery::executor {
namespace {

using program::Axis;
using program::DependencyKind;
using program::Instruction;
using program::Opcode;
using program::Operator;

constexpr auto kTp = static_cast<std::size_t>(Axis::tp);
constexpr auto kCpInner = static_cast<std::size_t>(Axis::cp_inner), kCpOuter = static_cast<std::size_t>(Axis::cp_outer);

constexpr std::int64_t kDispatchesKept = 1 << 14;  // of all ranks; a line each in a recorded load

}  // namespace

std::span<const std::int64_t> RankRunner::group(std::uint16_t index) {
  std::vector<std::int64_t>& m = groups_[index];
  if (m.empty()) m = program::members(program_, program_.groups[index], rank_);
  return m;
}

void RankRunner::gather_needs(const Instruction& in, std::uint16_t microbatch) {
  needs_.clear();
  for (std::uint32_t k = 0; k < in.dependency_count; ++k) {
    const program::Dependency& d = role_.dependencies[in.dependencies + k];
    const Started* need = nullptr;
    switch (d.kind) {
      case DependencyKind::local:
        need = &results_[d.index];
        break;
      case DependencyKind::event:
        need = &events_[first_event_[d.index] + (role_.events[d.index].per_microbatch ? microbatch : 0U)];
        break;
      case DependencyKind::issued:
        need = &last_on_stream_[d.index];
        break;
    }
    if (need->ticket.v != 0 || need->mark) needs_.push_back(*need);
    if (!immediate_ && d.kind == DependencyKind::issued && d.index == program::kComputeStream)
      needs_.push_back({{}, WorkClass::control, device_->mark(), ++order_});
  }
}

// Waits for needs_; says in `span` whether and for what it had to.
void RankRunner::block(Span& span) {
  span.cause = WaitCause::host;
  if (needs_.empty()) return;
  const std::int64_t from = now();
  std::int64_t latest = from;
  for (const Started& need : needs_) {
    const CommTimes times = communicator_.wait(need.ticket);
    const std::int64_t end = times.end_ns - setting_.origin_ns;
    if (end <= latest) continue;
    latest = end;
    span.cause = wait_cause(need.work);
    span.transfer = from_ns(end - std::max(from, times.arrived_ns - setting_.origin_ns));
  }
}

// --- Positions -----------------------------------------------------------------------------------------------------------------------------------

// Where the split that a pass works on begins.
std::int64_t RankRunner::split_begin(std::uint16_t microbatch) const { return microbatch % program_.splits * context_.sequence; }

// Of the rows that this rank holds outside of attention.
program::Runs RankRunner::own_positions(std::uint16_t microbatch) const {
  return program::shifted(program::positions(context_, coordinates_[kCpOuter], coordinates_[kCpInner]), split_begin(microbatch));
}

// Of those on which it works in attention.
program::Runs RankRunner::query_positions(std::uint16_t microbatch) const {
  return program::shifted(program::positions(context_, coordinates_[kCpOuter]), split_begin(microbatch));
}

// Of the keys that an attention block works on.
program::Runs RankRunner::key_positions(const Instruction& in, std::uint16_t microbatch) const {
  if (in.peer != program::kAllKeys) return program::positions(context_, (coordinates_[kCpOuter] - in.peer + context_.outer) % context_.outer);
  program::Runs all;
  for (std::int64_t begin = 0; begin <= split_begin(microbatch); begin += context_.sequence)
    for (std::int64_t member = 0; member < context_.outer; ++member)
      for (const program::Run& run : program::shifted(program::positions(context_, member), begin)) all.push_back(run);
  return all;
}

// --- Computing -----------------------------------------------------------------------------------------------------------------------------------

// What a load puts into its buffer, into tokens_.
void RankRunner::find_tokens(const Instruction& in, std::uint16_t microbatch) {
  const bool targets = in.op == Operator::load_targets;
  const std::int64_t micro = kernel_settings_.micro_batch, sequence = program_.sequence, dp = mesh_.extent(program::kDpAxes);
  const program::Runs runs = own_positions(microbatch);
  assert(program_.shapes[in.shape].dims[0] == micro * program::length(runs));
  tokens_.resize(static_cast<std::size_t>(program_.shapes[in.shape].dims[0]));
  std::int32_t* tokens = tokens_.data();
  window_.resize(static_cast<std::size_t>(sequence + 1));
  for (std::int64_t i = 0; i < micro; ++i) {
    setting_.source.window(pass_step_ * program_.global_batch + (microbatch / program_.splits * dp + replica_) * micro + i, window_);
    std::int64_t row = 0;
    for (const program::Run& run : runs)
      for (std::int64_t position = run.first; position < run.first + run.count; ++position)
        // Prediction modules look further ahead than the window goes.
        if (const std::int64_t place = position + in.peer + (targets ? 1 : 0); place <= sequence)
          tokens[row++ * micro + i] = window_[static_cast<std::size_t>(place)];
        else
          tokens[row++ * micro + i] = targets ? -1 : window_[static_cast<std::size_t>(sequence)];
  }
}

void RankRunner::compute(const Instruction& in, std::uint16_t microbatch) {
  if (is_load(in)) {
    find_tokens(in, microbatch);
    return device_->upload(operand(in, 0, microbatch), tokens_.data(), bytes_of(DType::int32, static_cast<std::int64_t>(tokens_.size())));
  }
  operands_.clear();
  for (std::uint32_t k = 0; k < in.access_count; ++k) operands_.push_back(operand(in, k, microbatch));
  const program::Shape& shape = program_.shapes[program_.shape_of(in, coordinates_)];
  KernelContext context{shape, operands_, kernel_settings_};
  program::Runs rows, keys;
  switch (in.op) {
    case Operator::position_forward:
    case Operator::position_backward:
      context.position_offset = setting_.model.position_offset.value_or(0);  // OPT's table begins with rows that no position uses
      [[fallthrough]];
    case Operator::rope_forward:
    case Operator::rope_backward:
    case Operator::mla_pack_forward:
    case Operator::mla_pack_backward:
    case Operator::route_forward:
    case Operator::route_backward: {
      rows = own_positions(microbatch);
      // Fewer rows than that are the block of them that a sequence-parallel rank holds.
      const std::int64_t count = shape.dims[0] / kernel_settings_.micro_batch;
      if (count < program::length(rows)) rows = program::part(rows, coordinates_[kTp] * count, count);
      break;
    }
    case Operator::attention_block_forward:
    case Operator::attention_block_backward:
      rows = query_positions(microbatch);
      keys = key_positions(in, microbatch);
      break;
    case Operator::expert_sort:
    case Operator::expert_sort_gathered:
      if (in.layer < expert_places_.size()) context.expert_places = expert_places_[in.layer];
      context.expert_rank = coordinates_[static_cast<std::size_t>(Axis::ep)];
      break;
    default:
      break;
  }
  context.rows = rows, context.keys = keys;
  if (static_) context.step_at = reinterpret_cast<const std::int64_t*>(step_at_);
  context.step = (pass_step_ * program_.microbatches + microbatch) / program_.micro_batches_per_update() + 1;
  if (in.op == Operator::cross_entropy_grad && in.peer > 0)
    context.loss_weight = setting_.plan.mtp.weight / static_cast<double>(setting_.model.mtp_layers);
  const auto only = [&](program::InstructionFlags flag, program::AxisMask axes) {
    return !(in.flags & flag) || mesh_.place(coordinates_, axes) == 0;
  };
  context.counts = !(in.flags & program::kCountNever) && only(program::kCountOnTp0, program::kTpAxis) &&
                   only(program::kCountOnData0, program::kCpAxes | program::kDpAxes) &&
                   only(program::kCountOnOuter0, program::mask(Axis::dp_outer)) && only(program::kCountOnEdp0, program::mask(Axis::edp));
  if (in.op == Operator::optimizer_step && shape.dims[1] != 0) {
    // Of the stage's parameters in their order, whoever holds which: all copies of a number are rounded alike.
    context.rounding_key = random_bits(random_key(setting_.plan.seed, "stochastic rounding"), static_cast<std::uint64_t>(role_.stage));
    context.first_element = offset_[role_.accesses[in.accesses + 2].buffer] * 8 / bits(shape.dtype);
  }
  if (in.op == Operator::expert_sort_received) check_room(operands_[0], shape.dims[1] * shape.dims[2], shape.dims[0]);
  device_->kernels().run(context);
  if (in.op == Operator::expert_sort_gathered) check_room(operands_[2], shape.dims[3], shape.dims[6]);
  if (in.op == Operator::route_forward) record_routing(in, microbatch);
}

void RankRunner::record_routing(const Instruction& in, std::uint16_t microbatch) {
  const auto& d = program_.shapes[in.shape].dims;
  const bool balanced = d[5] != 0;
  if (balanced || in.flags & program::kRecompute || !setting_.options.record_routing) return;
  std::vector<double>& counts = routed_[{pass_step_, microbatch, in.layer}];
  counts.assign(static_cast<std::size_t>(d[1]), 0.0);
  counts_.resize(static_cast<std::size_t>(d[0] * d[2]));
  device_->download(counts_.data(), operands_[2], bytes_of(DType::int32, d[0] * d[2]));
  for (const std::int32_t expert : counts_) ++counts[static_cast<std::size_t>(expert)];
  const std::int64_t groups = program_.mesh.ranks() / program_.mesh.extent(program::mask(Axis::etp) | program::mask(Axis::ep));
  while (static_cast<std::int64_t>(routed_.size()) > kDispatchesKept / groups) routed_.erase(routed_.begin());
}

// Before rows are moved to where they belong. Where routers are free, a device waits here for what they chose.
void RankRunner::check_room(const void* counts, std::int64_t n, std::int64_t room) {
  if (!immediate_ && (setting_.plan.runtime.moe_balanced || setting_.plan.moe.capacity_factor || setting_.plan.moe.room.value_or("") == "all"))
    return;
  counts_.resize(static_cast<std::size_t>(n));
  device_->download(counts_.data(), counts, bytes_of(DType::int32, n));
  const std::int64_t rows = std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
  if (rows > room) throw Error("", no_room(fmt::format("gets {} rows of tokens for its experts", rows), room));
}

RankRunner::Started RankRunner::communicate(const Instruction& in, std::uint16_t microbatch) {
  const program::Shape& shape = program_.shapes[in.shape];
  CommOperation o;
  o.op = in.op;
  o.dtype = shape.dtype;
  o.elements = shape.dims[0];
  o.stream = in.stream;
  o.input = operand(in, 0, microbatch);
  o.output = operand(in, in.access_count - 1U, microbatch);
  if (in.op == Operator::all_to_all_by_count) {
    o.counts = static_cast<const std::int32_t*>(operand(in, 1, microbatch));
    o.elements = shape.dims[0] * shape.dims[1];
    o.width = shape.dims[1];
    o.counts_per_rank = shape.dims[2];
    o.room = shape.dims[3];
  }
  std::int64_t pair[2] = {rank_, 0};
  if (in.opcode == Opcode::collective) {
    o.members = group(in.group);
    if (in.op == Operator::all_to_all) o.elements /= static_cast<std::int64_t>(o.members.size());  // of a pair of ranks
    // In place, the shard is the own part of the whole.
    const std::uint32_t in_buffer = role_.accesses[in.accesses].buffer, out_buffer = role_.accesses[in.accesses + in.access_count - 1U].buffer;
    if ((in.op == Operator::reduce_scatter || in.op == Operator::all_gather) && in_buffer == out_buffer) {
      const auto me = std::find(o.members.begin(), o.members.end(), rank_) - o.members.begin();
      auto* shard = static_cast<std::byte*>(o.output) + bytes_of(o.dtype, o.elements) / static_cast<std::int64_t>(o.members.size()) * me;
      (in.op == Operator::reduce_scatter ? o.output : *const_cast<void**>(&o.input)) = shard;
    }
  } else {
    pair[1] = program::peer_of(program_, rank_, in);
    o.members = pair;
    o.channel = in.channel;
  }
  std::uint64_t latest = 0;
  const auto after = [&](const Started& need) {
    if (need.ticket.v != 0) o.after.push_back(need.ticket);
    if (need.mark && need.order > latest) o.ready = need.mark, latest = need.order;
  };
  for (const Started& need : needs_) after(need);
  for (const Started& need : stream_needs_[in.stream]) after(need);
  stream_needs_[in.stream].clear();
  // The poison comes before the data.
  for (std::uint32_t k = 0; setting_.options.poison && k < in.access_count; ++k)
    if (role_.accesses[in.accesses + k].first) o.ready = device_->mark();
  const WorkClass work = in.group == program::kNone ? WorkClass::pp_comm : program_.group_class[in.group];
  return {communicator_.start(o), work};
}

}  // namespace orrery::executor
