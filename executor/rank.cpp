#include "executor/rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "executor/init.h"
#include "executor/kernels/low_precision.h"
#include "executor/random.h"

namespace orrery::executor {
namespace {

using program::Access;
using program::Axis;
using program::DependencyKind;
using program::Instruction;
using program::Lifetime;
using program::Opcode;
using program::Operator;

constexpr auto kTp = static_cast<std::size_t>(Axis::tp);
constexpr auto kCpInner = static_cast<std::size_t>(Axis::cp_inner), kCpOuter = static_cast<std::size_t>(Axis::cp_outer);

constexpr std::int64_t kDispatchesKept = 1 << 14;  // of all ranks; a line each in a recorded load

bool is_load(const Instruction& in) { return in.op == Operator::load_tokens || in.op == Operator::load_targets; }

Picoseconds ps(std::int64_t ns) { return Picoseconds{ns * 1000}; }

KernelSettings kernel_settings(const program::Program& program, const Model& model, const Plan& plan, std::int64_t rank) {
  KernelSettings s;
  s.layer_norm = model.norm == Normalization::layernorm;
  s.norm_epsilon = model.norm_epsilon;
  s.rope_theta = model.rope_theta;
  s.rope_fraction = model.rope_fraction;
  s.rope_scaling = model.rope_scaling;
  s.activation = model.activation;
  s.micro_batch = program.micro_batch_at(rank);
  const std::int64_t tp = program.mesh_at(rank).size[kTp];
  s.vocab_offset = program.coordinates(rank)[kTp] * ((model.vocab + tp - 1) / tp);  // the table is padded
  s.vocab = model.vocab;
  s.global_tokens = program.global_batch * program.sequence / program.microbatches * program.micro_batches_per_update();
  if (model.moe) s.router = {model.moe->router_sigmoid, model.moe->router_normalized, model.moe->router_scale};
  s.parameters = plan.precision.params;
  s.gradients = plan.precision.grads;
  s.optimizer.kind = plan.optimizer.kind == "sgd" ? OptimizerSettings::Kind::sgd : OptimizerSettings::Kind::adamw;
  s.optimizer.lr = plan.optimizer.lr;
  s.optimizer.betas = plan.optimizer.betas;
  s.optimizer.eps = plan.optimizer.eps;
  s.optimizer.weight_decay = plan.optimizer.weight_decay;
  s.optimizer.clip = plan.optimizer.clip;
  return s;
}

}  // namespace

RankRunner::RankRunner(const Setting& setting, std::int64_t rank, std::unique_ptr<Device> device, Communicator& communicator)
    : setting_(setting),
      program_(setting.program),
      rank_(rank),
      mesh_(program_.mesh_at(rank)),
      coordinates_(program_.coordinates(rank)),
      replica_(mesh_.place(coordinates_, program::kDpAxes)),
      context_{program_.sequence / program_.splits, mesh_.size[kCpInner], mesh_.size[kCpOuter], program_.balanced_context},
      role_(program_.role_of(rank)),
      device_(std::move(device)),
      immediate_(device_->immediate()),
      communicator_(communicator),
      kernel_settings_(kernel_settings(program_, setting.model, setting.plan, rank)),
      memory_(device_->allocate(setting.arena_bytes)) {
  groups_.resize(program_.groups.size());
  for (std::uint32_t i = 0; i < role_.buffers.size(); ++i) {
    const program::Buffer& b = role_.buffers[i];
    std::uint32_t owner = i;
    std::int64_t offset = 0;
    while (role_.buffers[owner].alias >= 0) {
      offset += role_.buffers[owner].alias_offset;
      owner = static_cast<std::uint32_t>(role_.buffers[owner].alias);
    }
    if (b.part_of != program::kNone) {
      const std::span<const std::int64_t> owners = group(b.part_of);
      const std::int64_t part = bytes_of(b.dtype, b.elements), own = std::find(owners.begin(), owners.end(), rank_) - owners.begin();
      const auto n = static_cast<std::int64_t>(owners.size());
      offset += b.turn < 0 ? part * own : part * ((own - b.turn + n) % n - b.turn);
    }
    owner_.push_back(owner);
    offset_.push_back(offset);
    first_slot_.push_back(blocks_.size());
    blocks_.insert(blocks_.end(), b.alias >= 0 ? 0 : program_.instances(b), program::Arena::Block{-1, 0});
  }
  for (std::uint32_t i = 0; i < role_.buffers.size(); ++i)
    if (role_.buffers[i].alias < 0 && role_.buffers[i].lifetime == Lifetime::persistent) allocate(i, 0);
  measured_.persistent = live_;
  for (const Instruction& in : role_.instructions)
    if (in.op == Operator::optimizer_step && norm_buffer_ < 0) norm_buffer_ = static_cast<std::int32_t>(role_.accesses[in.accesses].buffer);
  draw_parameters();

  for (const std::vector<std::int32_t>& experts : program_.experts) {
    std::vector<std::int32_t>& places = expert_places_.emplace_back(experts.size());
    for (std::size_t place = 0; place < experts.size(); ++place) places[static_cast<std::size_t>(experts[place])] = static_cast<std::int32_t>(place);
  }

  std::size_t slots = 0;
  for (const program::Event& e : role_.events) {
    first_event_.push_back(slots);
    slots += e.per_microbatch ? static_cast<std::size_t>(program_.microbatches) : 1;
  }
  events_.resize(slots);
  last_on_stream_.resize(program_.streams.size());
  stream_needs_.resize(program_.streams.size());
  if (!immediate_) find_marked();
  static_ = is_static();
  if (static_) step_at_ = device_->allocate(sizeof(std::int64_t));
}

// Whether the rows that experts get cannot be more than there is room for.
bool RankRunner::knows_rows() const {
  const Plan& p = setting_.plan;
  return !setting_.model.moe || p.runtime.moe_balanced || p.moe.capacity_factor || p.moe.room.value_or("") == "all";
}

// Whether the host has nothing to decide in a step, so that it can be recorded once and run again and again.
bool RankRunner::is_static() const {
  const auto communicates = [](const Instruction& in) { return program::is_communication(in.op); };
  return setting_.plan.runtime.cuda_graphs && device_->can_record() && role_.prologue.empty() && role_.epilogue.empty() &&
         role_.validation == program::kNone && program_.update_every == 0 && knows_rows() &&
         (!setting_.model.moe || setting_.plan.runtime.moe_balanced || !setting_.options.record_routing) &&
         std::all_of(role_.body.begin(), role_.body.end(), [](const program::PassInstance& p) { return p.ahead == 0; }) &&
         std::all_of(role_.buffers.begin(), role_.buffers.end(), [](const program::Buffer& b) { return b.versions == 1; }) &&
         (communicator_.can_record() || std::none_of(role_.instructions.begin(), role_.instructions.end(), communicates));
}

void RankRunner::draw_parameters() {
  if (role_.parameter_buffer < 0) return;
  std::vector<float> values;
  std::vector<std::byte> narrowed;
  const auto draw = [&](std::int32_t buffer, DType type, bool owned) {
    auto* flat = static_cast<std::byte*>(at(static_cast<std::uint32_t>(buffer), 0));
    for_each_part(owned, [&](const program::Parameter& p, std::int64_t first, std::int64_t count, std::int64_t place) {
      values.resize(static_cast<std::size_t>(count));
      initialise(p, program::origin(p, coordinates_, program_.experts_of(p.layer)), setting_.plan.seed, first, values);
      narrowed.resize(static_cast<std::size_t>(bytes_of(type, count)));
      narrow(type, count, values.data(), narrowed.data());
      device_->upload(flat + bytes_of(type, place), narrowed.data(), bytes_of(type, count));
    });
  };
  draw(role_.parameter_buffer, kernel_settings_.parameters, false);
  if (role_.master_buffer >= 0) draw(role_.master_buffer, DType::fp32, true);
}

// Marks cost a little: only work that communication depends on gets one.
void RankRunner::find_marked() {
  marked_.assign(role_.instructions.size(), false);
  for (const program::PassTemplate& pass : role_.passes)
    for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
      const Instruction& in = role_.instructions[i];
      if (in.signal != program::kNone) marked_[i] = true;
      if (in.stream == program::kComputeStream && in.opcode != Opcode::host_wait) continue;
      for (std::uint32_t k = 0; k < in.dependency_count; ++k)
        if (const program::Dependency& d = role_.dependencies[in.dependencies + k]; d.kind == DependencyKind::local)
          marked_[pass.first + d.index] = true;
    }
}

std::int64_t RankRunner::now() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count() - setting_.origin_ns;
}

// --- Buffers -------------------------------------------------------------------------------------------------------------------------------------

std::size_t RankRunner::slot(std::uint32_t owner, std::uint16_t microbatch) const {
  return first_slot_[owner] + program_.instance(role_.buffers[owner], microbatch);
}

void* RankRunner::at(std::uint32_t buffer, std::uint16_t microbatch) const {
  const program::Buffer& owner = role_.buffers[owner_[buffer]];
  const program::Arena::Block& block = blocks_[slot(owner_[buffer], microbatch)];
  assert(block.offset >= 0);
  std::int64_t version = 0;
  if (owner.versions > 1)
    version = program_.updates(role_, role_.buffers[buffer].version, pass_step_ * program_.microbatches + microbatch) % owner.versions;
  return memory_ + block.offset + version * owner.bytes + offset_[buffer];
}

void RankRunner::allocate(std::uint32_t buffer, std::uint16_t microbatch) {
  const std::uint32_t owner = owner_[buffer];
  const std::int64_t bytes = role_.buffers[owner].bytes * role_.buffers[owner].versions;
  program::Arena::Block& block = blocks_[slot(owner, microbatch)];
  assert(block.offset < 0);
  block = arena_.allocate(bytes);
  assert(block.offset + block.bytes <= setting_.arena_bytes);
  live_ += bytes;
  measured_.peak_live = std::max(measured_.peak_live, live_);
  measured_.arena = std::max(measured_.arena, arena_.high_water());
  if (setting_.options.poison && role_.buffers[owner].lifetime != Lifetime::persistent) device_->fill(memory_ + block.offset, 0xff, bytes);
}

void RankRunner::release(std::uint32_t buffer, std::uint16_t microbatch) {
  const std::uint32_t owner = owner_[buffer];
  program::Arena::Block& block = blocks_[slot(owner, microbatch)];
  assert(block.offset >= 0);
  arena_.release(block);
  block.offset = -1;
  live_ -= role_.buffers[owner].bytes;
}

std::vector<float> RankRunner::parameters() const {
  if (role_.parameter_buffer < 0) return {};
  const bool mastered = role_.master_buffer >= 0;
  const auto buffer = static_cast<std::uint32_t>(mastered ? role_.master_buffer : role_.parameter_buffer);
  const program::Buffer& b = role_.buffers[buffer];
  const std::int64_t updates = (step_ + 1) * program_.microbatches / program_.micro_batches_per_update();
  std::vector<float> values(static_cast<std::size_t>(b.elements));
  std::vector<std::byte> stored(static_cast<std::size_t>(b.bytes));
  device_->download(stored.data(), memory_ + blocks_[slot(buffer, 0)].offset + updates % b.versions * b.bytes, b.bytes);
  widen(b.dtype, b.elements, stored.data(), values.data());
  return values;
}

void RankRunner::for_each_parameter(const Visit& visit) { for_each_part(role_.master_buffer >= 0, visit); }

void RankRunner::for_each_part(bool owned, const Visit& visit) {
  for (const program::Bucket& bucket : role_.buckets) {
    std::int64_t begin = bucket.offset, end = begin + bucket.elements;
    if (const std::uint16_t sharing = owned ? bucket.owners : bucket.shards; sharing != program::kNone) {
      const std::span<const std::int64_t> owners = group(sharing);
      const std::int64_t part = bucket.elements / static_cast<std::int64_t>(owners.size());
      begin += part * (std::find(owners.begin(), owners.end(), rank_) - owners.begin());
      end = begin + part;
    }
    const std::int64_t place = owned ? bucket.owned_offset : bucket.shard_offset;
    for (const program::Parameter& p : role_.parameters) {
      const std::int64_t from = std::max(begin, p.offset), to = std::min(end, p.offset + p.rows * p.cols);
      if (from < to) visit(p, from - p.offset, to - from, place + from - begin);
    }
  }
}

double RankRunner::scalar(std::uint32_t buffer) const {
  double value = 0;
  device_->download(&value, at(buffer, 0), sizeof(value));
  return value;
}

void RankRunner::fetch(void* to, std::int32_t buffer, std::int64_t from, std::int64_t bytes) {
  device_->download(to, static_cast<std::byte*>(at(static_cast<std::uint32_t>(buffer), 0)) + from, bytes);
}

void RankRunner::store(std::int32_t buffer, std::int64_t to, const void* from, std::int64_t bytes) {
  device_->upload(static_cast<std::byte*>(at(static_cast<std::uint32_t>(buffer), 0)) + to, from, bytes);
}

double RankRunner::take_loss() {
  if (role_.loss_buffer < 0) return 0;
  const auto buffer = static_cast<std::uint32_t>(role_.loss_buffer);
  const double loss = scalar(buffer);
  device_->fill(at(buffer, 0), 0, sizeof(loss));
  return loss;
}

double RankRunner::squared_gradient_norm() const { return norm_buffer_ < 0 ? 0 : scalar(static_cast<std::uint32_t>(norm_buffer_)); }

void* RankRunner::operand(const Instruction& in, std::uint32_t place, std::uint16_t microbatch) const {
  return at(role_.accesses[in.accesses + place].buffer, microbatch);
}

// --- Instructions --------------------------------------------------------------------------------------------------------------------------------

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
    span.transfer = ps(end - std::max(from, times.arrived_ns - setting_.origin_ns));
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

void RankRunner::run_pass(const program::PassInstance& instance, std::uint32_t index) {
  const program::PassTemplate& pass = role_.passes[instance.pass];
  pass_step_ = step_ + instance.ahead;
  StepRecord& record = records_.back();
  results_.assign(pass.count, {});
  for (std::uint32_t i = 0; i < pass.count; ++i) {
    const Instruction& in = role_.instructions[pass.first + i];
    const std::span<const Access> accesses(role_.accesses.data() + in.accesses, in.access_count);
    const std::uint16_t microbatch = instance.of(in);
    gather_needs(in, microbatch);
    const std::int64_t live_before = live_;
    for (const Access& a : accesses)
      if (a.first) allocate(a.buffer, microbatch);
    if (live_ != live_before) sample_memory(record);

    Span span;
    span.rank = static_cast<std::uint32_t>(rank_);
    span.kind = 2 * program_.shape_of(in, coordinates_) + (in.flags & program::kOptimizer && in.opcode == Opcode::compute ? 1U : 0U);
    span.pass = index;
    span.instruction = static_cast<std::uint16_t>(i);
    span.stream = in.stream;
    span.layer = in.layer;
    span.microbatch = microbatch;
    span.recompute = in.flags & program::kRecompute;
    if (program::is_communication(in.op)) {
      results_[i] = last_on_stream_[in.stream] = communicate(in, microbatch);
      if (timed_) pending_.communication.emplace_back(static_cast<std::uint32_t>(record.spans.size()), results_[i].ticket);
      if (timed_) record.spans.push_back(span);
    } else if (is_wait(in) && in.opcode == Opcode::wait && in.stream != program::kComputeStream) {
      auto& later = stream_needs_[in.stream];
      later.insert(later.end(), needs_.begin(), needs_.end());
    } else if (!immediate_) {
      span.stream = program::kComputeStream;
      results_[i] = enqueue(in, microbatch, static_cast<std::uint32_t>(record.spans.size()), marked_[pass.first + i]);
      if (timed_) record.spans.push_back(span);
    } else {
      block(span);
      const std::int64_t start = now();
      if (!is_wait(in)) compute(in, microbatch);
      const std::int64_t end = is_wait(in) ? start : now();
      span.stream = program::kComputeStream;
      span.start = ps(start);
      span.end = ps(end);
      span.waited = ps(start - compute_free_ns_);
      compute_free_ns_ = end;
      record.spans.push_back(span);
    }
    if (in.signal != program::kNone) events_[first_event_[in.signal] + (role_.events[in.signal].per_microbatch ? microbatch : 0U)] = results_[i];

    const std::int64_t live_now = live_;
    for (const Access& a : accesses)
      if (a.last) release(a.buffer, microbatch);
    if (live_ != live_now) sample_memory(record);
  }
}

void RankRunner::sample_memory(StepRecord& record) {
  if (!timed_) return;
  if (!immediate_) pending_.memory.emplace_back(record.memory.size(), device_->mark());
  record.memory.push_back({ps(now()), static_cast<std::uint32_t>(rank_), live_});
}

// Puts into the compute queue what is to run next there, behind what it needs.
RankRunner::Started RankRunner::enqueue(const Instruction& in, std::uint16_t microbatch, std::uint32_t span, bool marked) {
  for (const Started& need : needs_) {
    if (need.ticket.v != 0) device_->wait(communicator_.enqueued(need.ticket));
    if (in.opcode != Opcode::host_wait) continue;
    if (need.ticket.v != 0)
      communicator_.wait(need.ticket);
    else
      device_->reached_ns(need.mark);
  }
  const Mark begin = timed_ ? device_->mark() : nullptr;
  if (!is_wait(in)) compute(in, microbatch);
  const Mark end = timed_ || marked ? device_->mark() : nullptr;
  if (timed_) pending_.compute.push_back({span, begin, end, needs_});
  return {{}, setting_.classes[2 * in.shape], end, ++order_};
}

// Fills in when communication of a recorded step took place, and what a device did.
void RankRunner::take_times(StepRecord& record, Pending& pending) {
  std::int64_t free_ns = record.begin_ns;
  for (const Enqueued& e : pending.compute) {
    Span& span = record.spans[e.span];
    const std::int64_t start = device_->reached_ns(e.begin) - setting_.origin_ns, end = device_->reached_ns(e.end) - setting_.origin_ns;
    span.start = ps(start);
    span.end = ps(std::max(start, end));
    span.waited = ps(std::max<std::int64_t>(0, start - free_ns));
    span.cause = WaitCause::host;
    std::int64_t latest = free_ns;
    for (const Started& need : e.needs) {
      if (need.ticket.v == 0) continue;
      const CommTimes times = communicator_.wait(need.ticket);
      const std::int64_t over = times.end_ns - setting_.origin_ns;
      if (over <= latest) continue;
      latest = over;
      span.cause = wait_cause(need.work);
      span.transfer = ps(over - std::max(free_ns, times.arrived_ns - setting_.origin_ns));
    }
    free_ns = std::max(start, end);
  }
  for (const auto& [sample, mark] : pending.memory) record.memory[sample].time = ps(device_->reached_ns(mark) - setting_.origin_ns);
  std::vector<std::int64_t> free(program_.streams.size(), record.begin_ns);
  for (const auto& [index, ticket] : pending.communication) {
    const CommTimes times = communicator_.wait(ticket);
    Span& span = record.spans[index];
    const std::int64_t arrived = times.arrived_ns - setting_.origin_ns, end = times.end_ns - setting_.origin_ns;
    span.start = ps(arrived);
    span.end = ps(end);
    span.waited = ps(std::max<std::int64_t>(0, arrived - free[span.stream]));
    span.cause = wait_cause(setting_.classes[span.kind]);
    free[span.stream] = end;
  }
  pending = {};
}

// Whether the update before was right not to clip.
bool RankRunner::validates() const {
  return clip_coefficient(setting_.plan.optimizer.clip, scalar(static_cast<std::uint32_t>(role_.validated_norm))) == 1;
}

// Leaves nothing of the passes since the step began, and makes the update of step `update` again. Whatever they sent has been received.
void RankRunner::redo(std::int64_t update) {
  for (const Started& s : last_on_stream_)
    if (s.ticket.v != 0) communicator_.wait(s.ticket);
  StepRecord& record = records_.back();
  for (std::uint32_t i = 0; i < role_.buffers.size(); ++i) {
    const program::Buffer& b = role_.buffers[i];
    if (b.alias >= 0 || b.lifetime == Lifetime::persistent) continue;
    for (std::size_t k = 0; k < program_.instances(b); ++k)
      if (program::Arena::Block& block = blocks_[first_slot_[i] + k]; block.offset >= 0) {
        arena_.release(block);
        block.offset = -1;
        live_ -= b.bytes * b.versions;
      }
  }
  sample_memory(record);
  // No pass of the step has its spans, nor those of what will be run again: the compute stream waits for all that.
  const bool anew = update < step_;
  const std::size_t spans = anew ? 0 : record.spans.size(), open = anew ? 0 : pending_.communication.size(),
                    queued = anew ? 0 : pending_.compute.size();
  const std::int64_t free = anew ? record.begin_ns : compute_free_ns_, current = step_;
  step_ = update;
  run_pass({role_.redo, 0}, 0);
  step_ = current, compute_free_ns_ = free;
  record.spans.resize(spans), pending_.communication.resize(open), pending_.compute.resize(queued);
  ++redone_;
}

void RankRunner::run_passes(bool last) {
  if (static_) {
    const std::int64_t update = step_ + 1;
    device_->upload(step_at_, &update, sizeof(update));
  }
  if (step_ == 0)
    for (const program::PassInstance& p : role_.prologue) run_pass(p, 0);
  const std::vector<program::PassInstance>& passes = last && !role_.epilogue.empty() ? role_.epilogue : role_.body;
  bool warm = false;
  for (std::uint32_t i = 0; i < passes.size(); ++i) {
    run_pass(passes[i], i);
    if (role_.validation == program::kNone || passes[i].pass != role_.validation) continue;
    // A step's first validation is of the update before, which step 0 does not have; the last step has one more, of its own.
    if ((warm || step_ > 0) && !validates()) {
      redo(warm ? step_ : step_ - 1);  // of an earlier step: all that this one has done is void
      for (std::uint32_t again = 0; !warm && again < i; ++again) run_pass(passes[again], again);
    }
    warm = true;
  }
}

// Nothing of the steps before is left to wait for: what is recorded and what is not cannot wait for one another.
void RankRunner::settle() {
  for (const Started& s : last_on_stream_)
    if (s.ticket.v != 0) communicator_.wait(s.ticket);
  std::fill(events_.begin(), events_.end(), Started{});
  std::fill(last_on_stream_.begin(), last_on_stream_.end(), Started{});
  for (std::vector<Started>& needs : stream_needs_) needs.clear();
}

void RankRunner::record_step(bool last) {
  settle();
  device_->begin_recording();
  run_passes(last);
  for (const Started& s : last_on_stream_)
    if (s.ticket.v != 0) device_->wait(communicator_.enqueued(s.ticket));
  recording_ = device_->end_recording();
  std::fill(last_on_stream_.begin(), last_on_stream_.end(), Started{});
  settle();
}

// Runs the recorded step, with this step's number and tokens.
void RankRunner::replay() {
  settle();
  std::size_t source = 0;
  const std::int64_t update = step_ + 1;
  std::memcpy(recording_->source(source++), &update, sizeof(update));
  pass_step_ = step_;
  for (const program::PassInstance& instance : role_.body) {
    const program::PassTemplate& pass = role_.passes[instance.pass];
    for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
      const Instruction& in = role_.instructions[i];
      if (!is_load(in)) continue;
      find_tokens(in, instance.of(in));
      std::memcpy(recording_->source(source++), tokens_.data(), tokens_.size() * sizeof(tokens_.front()));
    }
  }
  device_->replay(*recording_);
  ++replayed_;
}

void RankRunner::step(std::int64_t number, bool last) {
  step_ = number;
  StepRecord& record = records_.emplace_back();
  if (records_.size() > 1) {
    record.spans.reserve(records_[records_.size() - 2].spans.size());
    record.memory.reserve(records_[records_.size() - 2].memory.size());
  }
  record.step = number;
  record.begin_ns = compute_free_ns_ = now();
  record.timed = timed_ = immediate_ || is_timed(number, setting_.options);
  sample_memory(record);
  if (static_ && !recording_ && records_.size() > 1 && !timed_) record_step(last);  // the first step here has let the kernels choose how they work
  if (recording_ && !timed_)
    replay();
  else
    run_passes(last);
  device_->synchronise();
  record.end_ns = now();
  measured_.beside = device_->beside();
  if (records_.size() > 1) take_times(records_[records_.size() - 2], pending_before_);
  std::swap(pending_, pending_before_);
  timed_records_ += timed_ ? 1 : 0;
  for (; timed_records_ > setting_.records_kept; --timed_records_) {
    const auto oldest = std::find_if(records_.begin(), records_.end(), [](const StepRecord& r) { return r.timed; });
    *oldest = {oldest->step, oldest->begin_ns, oldest->end_ns, false, {}, {}};
  }
}

void RankRunner::finish() {
  if (!records_.empty()) take_times(records_.back(), pending_before_);
  for (const Started& s : last_on_stream_)
    if (s.ticket.v != 0) communicator_.wait(s.ticket);
}

}  // namespace orrery::executor
