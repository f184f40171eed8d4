#include "executor/rank.h"

#include <algorithm>
#include <cassert>
#include <chrono>

#include "executor/init.h"
#include "executor/kernels/low_precision.h"

namespace orrery::executor {
namespace {

using program::Axis;
using program::DependencyKind;
using program::Instruction;
using program::Lifetime;
using program::Opcode;
using program::Operator;

constexpr auto kTp = static_cast<std::size_t>(Axis::tp);
constexpr auto kCpInner = static_cast<std::size_t>(Axis::cp_inner), kCpOuter = static_cast<std::size_t>(Axis::cp_outer);

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

}  // namespace orrery::executor
