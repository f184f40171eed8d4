#include "executor/kernels/cuda/cuda_kernels.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <mutex>
#include <type_traits>

#include "core/error.h"
#include "core/rope.h"
#include "executor/kernels/cuda/fused_attention.h"
#include "executor/kernels/cuda/gemm.h"
#include "program/quantised.h"

namespace orrery::executor::cuda {
namespace {

using program::Operator;

// An instruction's operands by their position in the operator's pattern; null where the instruction leaves one out.
class Operands {
 public:
  explicit Operands(const KernelContext& c) : c_(c), count_(c.buffers.size()) {
    assert(count_ <= program::access_pattern(c.shape.op).size());
    for (std::size_t i = 0; i < count_; ++i) at_[program::operand_position(c.shape.op, i, count_)] = c.buffers[i];
  }
  std::size_t count() const { return count_; }
  void* operator[](std::size_t position) const { return at_[position]; }
  float* floats(std::size_t position) const { return static_cast<float*>(at_[position]); }
  std::int32_t* integers(std::size_t position) const { return static_cast<std::int32_t*>(at_[position]); }
  double* scalar(std::size_t position) const { return static_cast<double*>(at_[position]); }
  Array parameter(std::size_t position) const { return {at_[position], c_.settings.parameters}; }
  Array gradient(std::size_t position) const { return {at_[position], c_.settings.gradients}; }

 private:
  const KernelContext& c_;
  std::array<void*, 8> at_{};  // no operator has more
  std::size_t count_;
};

Positions positions(std::span<const program::Run> runs, Index offset, Index rows) {
  if (!Positions::fits(runs))
    throw Error(
        "parallel.cp",
        fmt::format("the CUDA kernels take shares of a sequence of up to {} runs of positions; this one has {}", Positions::kMost, runs.size()),
        "use fewer ranks along cp, or cp_kind 'p2p'");
  return Positions::of(runs, offset, rows);
}
Positions row_positions(const KernelContext& c) {
  const Index micro = c.settings.micro_batch;
  return positions(c.rows, c.position_offset, (c.shape.dims[0] + micro - 1) / micro);
}

Rotation rotation(double theta, Index rotated, const RopeScaling& scaling) {
  Rotation r;
  r.pairs = rotated / 2;
  assert(r.pairs <= Rotation::kMost);
  if (rotated == 0) return r;
  const RopeAngles angles(theta, rotated, scaling);
  r.amplitude = angles.amplitude();
  for (Index i = 0; i < r.pairs; ++i) r.per_position[i] = angles.per_position(i);
  return r;
}

VocabularyShard vocabulary(const KernelContext& c) {
  return {c.settings.vocab_offset, std::clamp<Index>(c.settings.vocab - c.settings.vocab_offset, 0, c.shape.dims[1])};
}

Routing routing(const KernelContext& c) {
  const auto& d = c.shape.dims;
  const RouterSettings& r = c.settings.router;
  return {d[0], d[1], d[2], d[3], d[4], d[5] != 0, r.sigmoid, r.normalize, r.scale, c.settings.micro_batch};
}

Strides packed(Index batch, Index width, Index head) { return {batch * width, width, head}; }

// Pointers into rows of elements of `type`.
template <class Pointer>
Pointer at(Pointer base, DType type, Index element) {
  using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<Pointer>>, const std::byte, std::byte>;
  return static_cast<Byte*>(base) + bytes_of(type, element);
}

// The operands of attention in packed rows [q | k | v].
struct Packed {
  AttentionProblem problem;
  Index to_k, to_v;
  explicit Packed(const KernelContext& c) {
    const auto& d = c.shape.dims;
    const Index batch = d[0], sequence = d[1], width = (d[2] + d[3]) * d[4] + d[3] * d[5];
    to_k = d[2] * d[4], to_v = to_k + d[3] * d[4];
    const Positions all = Positions::of({}, 0, sequence);
    problem = {batch,
               sequence,
               sequence,
               d[2],
               d[3],
               d[4],
               d[5],
               d[6] != 0,
               packed(batch, width, d[4]),
               packed(batch, width, d[4]),
               packed(batch, width, d[5]),
               all,
               all};
  }
};

AttentionProblem block(const KernelContext& c) {
  const auto& d = c.shape.dims;
  const Index width = d[4] * (d[5] + d[6]);
  return {d[0],
          d[1],
          d[2],
          d[3],
          d[4],
          d[5],
          d[6],
          d[7] < 2 * d[1] * d[2],
          packed(d[0], d[8], d[5]),
          packed(d[0], width, d[5]),
          packed(d[0], width, d[6]),
          positions(c.rows, 0, d[1]),
          positions(c.keys, 0, d[2])};
}

Update update(const OptimizerSettings& o, std::int64_t step) {
  Update u;
  u.decay = static_cast<float>(1 - o.lr * o.weight_decay), u.rate = static_cast<float>(o.lr);
  if (o.kind == OptimizerSettings::Kind::sgd) return u;
  u.beta1 = static_cast<float>(o.betas[0]), u.beta2 = static_cast<float>(o.betas[1]);
  u.keep1 = static_cast<float>(1 - o.betas[0]), u.keep2 = static_cast<float>(1 - o.betas[1]);
  u.correct(o.lr, o.betas[0], o.betas[1], static_cast<double>(step));
  u.epsilon = static_cast<float>(o.eps);
  return u;
}

class CudaKernels final : public KernelSet {
 public:
  CudaKernels(int device, Stream stream, const CudaOptions& options, const std::shared_ptr<GemmChoicesByDevice>& choices)
      : device_(device),
        capability_(capability(device)),
        shared_memory_(shared_memory(device)),
        stream_(stream),
        gemm_(device, stream, options, choices),
        fused_(options.cudnn ? make_fused_attention(stream) : nullptr) {}

  bool has(const program::Shape& shape) const override {
    const DType type = shape.dtype;
    const bool known = type == DType::fp32 || type == DType::tf32 || type == DType::bf16 || type == DType::fp16;
    const auto& d = shape.dims;
    switch (shape.op) {
      case Operator::copy:
      case Operator::zero:
        return true;
      case Operator::accumulate:
        return known || type == DType::fp64;  // gradients; norms
      case Operator::rope_forward:
      case Operator::rope_backward:
      case Operator::mla_pack_forward:
      case Operator::mla_pack_backward:
        return known && d[3] <= 2 * Rotation::kMost;
      case Operator::attention_forward:
        return known && std::max(d[4], d[5]) <= kMostHead && AttentionTiles::forward_bytes(d[4], d[5]) <= shared_memory_;
      case Operator::attention_backward:
        return known && std::max(d[4], d[5]) <= kMostHead && AttentionTiles::backward_bytes(d[4], d[5]) <= shared_memory_;
      case Operator::attention_block_forward:
        return known && std::max(d[5], d[6]) <= kMostHead && AttentionTiles::forward_bytes(d[5], d[6]) <= shared_memory_;
      case Operator::attention_block_backward:
        return known && std::max(d[5], d[6]) <= kMostHead && AttentionTiles::backward_bytes(d[5], d[6]) <= shared_memory_;
      case Operator::route_forward:
      case Operator::route_backward:
        return known && d[1] <= ExpertPlaces::kMost && d[3] <= kMostRouterGroups;
      case Operator::expert_sort:
      case Operator::expert_sort_gathered:
        return known && d[2] <= ExpertPlaces::kMost;
      case Operator::embedding_forward:
      case Operator::embedding_backward:
      case Operator::position_forward:
      case Operator::position_backward:
      case Operator::norm_forward:
      case Operator::norm_backward:
      case Operator::linear_forward:
      case Operator::linear_input_grad:
      case Operator::linear_weight_grad:
        return known || has_in_8_bits(shape);
      case Operator::linear_activation_forward:
      case Operator::linear_activation_grad:
      case Operator::amax:
        return known;
      case Operator::quantise:
      case Operator::quantise_delayed:  // a turned row of codes is written by 16
        return known && d[1] % 8 == 0 && (d[3] == 0 || d[0] % 16 == 0);
      case Operator::update_scales:
        return type == DType::fp32;
      case Operator::attention_merge:
      case Operator::take_columns:
      case Operator::put_columns:
      case Operator::scatter_heads:
      case Operator::gather_heads:
      case Operator::scatter_columns:
      case Operator::gather_columns:
      case Operator::activation_forward:
      case Operator::activation_backward:
      case Operator::residual_forward:
      case Operator::bias_grad:
      case Operator::split_columns:
      case Operator::join_columns:
      case Operator::expert_sort_received:
      case Operator::expert_permute:
      case Operator::expert_unpermute:
      case Operator::expert_linear_forward:
      case Operator::expert_linear_input_grad:
      case Operator::expert_linear_weight_grad:
      case Operator::expert_activation_forward:
      case Operator::expert_activation_backward:
      case Operator::cross_entropy_max:
      case Operator::cross_entropy_sum:
      case Operator::cross_entropy_grad:
      case Operator::gradient_norm:
      case Operator::optimizer_step:
        return known;
      case Operator::load_tokens:
      case Operator::load_targets:
      case Operator::all_reduce:
      case Operator::all_reduce_max:
      case Operator::reduce_scatter:
      case Operator::all_gather:
      case Operator::all_to_all:
      case Operator::all_to_all_by_count:
      case Operator::broadcast:
      case Operator::rotate:
      case Operator::send:
      case Operator::recv:
      case Operator::wait:
        return false;
    }
    return false;
  }

  void run(const KernelContext& c) const override {
    assert(has(c.shape));
    check_cuda(cudaSetDevice(device_), "choosing a device");  // of this thread, which need not be the one that made the set
    const auto& d = c.shape.dims;
    const KernelSettings& s = c.settings;
    const DType type = c.shape.dtype;
    const Stream stream = stream_;
    const Operands o(c);
    const auto epsilon = static_cast<float>(s.norm_epsilon);
    switch (c.shape.op) {
      case Operator::embedding_forward:
        return embedding_forward(stream, type, d[0], d[1], d[2], s.vocab_offset, o.integers(0), o.parameter(1), o[2]);
      case Operator::embedding_backward:
        return embedding_backward(stream, type, d[0], d[1], d[2], s.vocab_offset, o.integers(0), o[1], o.gradient(2));
      case Operator::position_forward:
        return position_forward(stream, type, d[0], d[1], s.micro_batch, row_positions(c), o.parameter(0), o[1]);
      case Operator::position_backward:
        return position_backward(stream, type, d[0], d[1], s.micro_batch, row_positions(c), o[0], o.gradient(1));
      case Operator::norm_forward:
        return norm_forward(stream, type, s.layer_norm, d[0], d[1], epsilon, o[0], o.parameter(1), o.parameter(2), o[3], o.floats(4));
      case Operator::norm_backward:
        return norm_backward(stream, type, s.layer_norm, d[0], d[1], o[0], o[1], o.parameter(2), o.floats(3), o[4], o.gradient(5), o.gradient(6));
      case Operator::linear_forward:
        if (type == DType::fp8) return gemm_.forward_8(c.shape, o[0], o[1], o.parameter(2), o[3]);
        return gemm_.forward(type, d[0], d[1], d[2], o[0], o.parameter(1), o.parameter(2), o[3]);
      case Operator::linear_input_grad:
        if (type == DType::fp8) return gemm_.input_grad_8(c.shape, o[0], o[1], o[2]);
        return gemm_.input_grad(type, d[0], d[1], d[2], o[0], o.parameter(1), o[2]);
      case Operator::linear_weight_grad:
        if (type == DType::fp8) return gemm_.weight_grad_8(c.shape, o[0], o[1], o.gradient(2));
        gemm_.weight_grad(type, d[0], d[1], d[2], o[0], o[1], o.gradient(2));
        if (o[3]) bias_grad(stream, type, d[0], d[2], o[1], o.gradient(3));
        return;
      case Operator::rope_forward:
      case Operator::rope_backward:
        return rope(stream, type, c.shape.op == Operator::rope_forward, d[0], d[1], d[2], d[3], s.micro_batch, row_positions(c),
                    rotation(s.rope_theta, rotated_width(d[3], s.rope_fraction), s.rope_scaling), o[0]);
      case Operator::attention_forward:
        return packed_forward(c, o);
      case Operator::attention_backward:
        return packed_backward(c, o);
      case Operator::attention_block_forward:
        return attention_forward(stream, type, block(c), o[0], o[1], at(o[1], type, d[4] * d[5]), o[2], o.floats(3));
      case Operator::attention_block_backward:
        return attention_backward(stream, type, block(c), o[0], o[1], at(o[1], type, d[4] * d[5]), o[2], o.floats(3), o[4], o[5], o[6],
                                  at(o[6], type, d[4] * d[5]), true);
      case Operator::attention_merge:
        return attention_merge(stream, type, d[0], d[1], d[2], d[3], o[0], o.floats(1), o[2], o.floats(3));
      case Operator::take_columns:
        return copy_columns(stream, type, d[0], d[3], o[0], d[1], d[2], o[1], d[3], 0);
      case Operator::put_columns:
        return copy_columns(stream, type, d[0], d[3], o[0], d[3], 0, o[1], d[1], d[2]);
      case Operator::scatter_heads:
        return scatter_heads(stream, type, d[0], {d[1], d[2], d[3], d[4], d[5]}, o[0], o[1]);
      case Operator::gather_heads:
        return gather_heads(stream, type, d[0], {d[1], d[2], d[3], d[4], d[5]}, o[0], o[1]);
      case Operator::scatter_columns:
        for (Index p = 0; p < d[2]; ++p)
          copy_columns(stream, type, d[0], d[1], o[0], d[1] * d[2], d[1] * p, at(o[1], type, d[0] * d[1] * p), d[1], 0);
        return;
      case Operator::gather_columns:
        for (Index p = 0; p < d[2]; ++p)
          copy_columns(stream, type, d[0], d[1], at(o[0], type, d[0] * d[1] * p), d[1], 0, o[1], d[1] * d[2], d[1] * p);
        return;
      case Operator::activation_forward:
        return activation_forward(stream, type, s.activation, d[2] != 0, d[0], d[1], o[0], o[1]);
      case Operator::activation_backward:
        return activation_backward(stream, type, s.activation, d[2] != 0, d[0], d[1], o[0], o[1], o[2]);
      case Operator::residual_forward:
        return residual_forward(stream, type, d[0], d[1], o[0], o.parameter(1), o[2]);
      case Operator::bias_grad:
        return bias_grad(stream, type, d[0], d[1], o[0], o.gradient(1));
      case Operator::accumulate:
        return accumulate(stream, type, d[0], o[0], o[1]);
      case Operator::copy:
        return copy_bytes(stream, bytes_of(type, d[0]), o[0], o[1]);
      case Operator::split_columns:
        copy_columns(stream, type, d[0], d[1], o[0], d[1] + d[2], 0, o[1], d[1], 0);
        return copy_columns(stream, type, d[0], d[2], o[0], d[1] + d[2], d[1], o[2], d[2], 0);
      case Operator::join_columns:
        copy_columns(stream, type, d[0], d[1], o[0], d[1], 0, o[2], d[1] + d[2], 0);
        return copy_columns(stream, type, d[0], d[2], o[1], d[2], 0, o[2], d[1] + d[2], d[1]);
      case Operator::mla_pack_forward:
        return mla_pack_forward(stream, type, d[0], {d[1], d[2], d[3], d[4]}, s.micro_batch, row_positions(c),
                                rotation(s.rope_theta, d[3], s.rope_scaling), o[0], o[1], o[2], o[3]);
      case Operator::mla_pack_backward:
        return mla_pack_backward(stream, type, d[0], {d[1], d[2], d[3], d[4]}, s.micro_batch, row_positions(c),
                                 rotation(s.rope_theta, d[3], s.rope_scaling), o[0], o[1], o[2], o[3]);
      case Operator::route_forward:
        return route_forward(stream, type, routing(c), row_positions(c), o[0], o.floats(1), o.integers(2));
      case Operator::route_backward:
        return route_backward(stream, type, routing(c), o.floats(0), o[1], o.integers(2), o[3]);
      case Operator::expert_sort:
        return expert_sort(stream, d[0], d[1], ExpertPlaces::make(d[2], d[3], d[4], d[5], c.expert_places), o.integers(0), o.integers(1),
                           o.integers(2));
      case Operator::expert_sort_gathered:
        return expert_sort_gathered(stream, d[0], d[1], ExpertPlaces::make(d[2], 1, 1, d[5], c.expert_places), c.expert_rank * d[3], d[3], d[4],
                                    o.integers(0), o.integers(1), o.integers(2));
      case Operator::expert_sort_received:
        return expert_sort_received(stream, d[0], d[1], d[2], o.integers(0), o.integers(1), o.integers(2));
      case Operator::expert_permute:
        return expert_permute(stream, type, d[0], d[1], d[2], d[4] ? d[3] : 0, o[0], o.integers(1), o[2]);
      case Operator::expert_unpermute:
        return expert_unpermute(stream, type, d[0], d[1], d[2], o[0], o.integers(1), o[2]);
      case Operator::expert_linear_forward: {
        const Converted w(stream, d[1] * d[2] * d[3], o.parameter(2), type);
        return expert_linear_forward(stream, type, d[1], d[2], d[3], d[4], o[0], o.integers(1), w.data(), o[3]);
      }
      case Operator::expert_linear_input_grad: {
        const Converted w(stream, d[1] * d[2] * d[3], o.parameter(2), type);
        return expert_linear_input_grad(stream, type, d[1], d[2], d[3], d[4], o[0], o.integers(1), w.data(), o[3]);
      }
      case Operator::expert_linear_weight_grad:
        return expert_linear_weight_grad(stream, type, d[1], d[2], d[3], o[0], o[1], o.integers(2), o.gradient(3));
      case Operator::expert_activation_forward:
        return expert_activation_forward(stream, type, s.activation, d[2] != 0, d[3], d[1], d[4], o[0], o.integers(1), o.floats(2), o[3]);
      case Operator::expert_activation_backward:
        return expert_activation_backward(stream, type, s.activation, d[2] != 0, d[3], d[1], d[4], o[0], o.integers(1), o.floats(2), o[3], o[4],
                                          o.floats(5));
      case Operator::cross_entropy_max:
        return cross_entropy_max(stream, type, d[0], d[1], vocabulary(c), o[0], o.floats(1));
      case Operator::cross_entropy_sum:
        return cross_entropy_sum(stream, type, d[0], d[1], vocabulary(c), o[0], o.floats(1), o.integers(2), o.floats(3));
      case Operator::cross_entropy_grad:
        return cross_entropy_grad(stream, type, d[0], d[1], vocabulary(c), s.global_tokens, c.loss_weight, o.floats(0), o.floats(1), o.integers(2),
                                  o[3], o.scalar(4));
      case Operator::zero:
        return zero_bytes(stream, bytes_of(type, d[0]), o[0]);
      case Operator::gradient_norm:
        if (c.counts) gradient_norm(stream, d[0], {o[0], type}, o.scalar(1));
        return;
      case Operator::optimizer_step: {
        const bool adam = s.optimizer.kind == OptimizerSettings::Kind::adamw;
        const std::size_t states = adam ? 2 : 0;  // its optional operands are known by their count
        assert(o.count() == 3 + states || o.count() == 4 + states);
        const Correction correction{s.optimizer.lr, s.optimizer.betas[0], s.optimizer.betas[1], c.step_at};
        return optimizer_step(stream, d[0], update(s.optimizer, c.step), correction, s.optimizer.clip, o.scalar(0), o.gradient(1), {o[2], type},
                              adam ? o.floats(3) : nullptr, adam ? o.floats(4) : nullptr, o.floats(3 + states),
                              {d[1] != 0, c.rounding_key, c.first_element, c.step, c.step_at});
      }
      case Operator::linear_activation_forward:
        if (s.activation == Activation::gelu_tanh && gemm_.forward_gelu(type, d[0], d[1], d[2], o[0], o.parameter(1), o.parameter(2), o[3], o[4]))
          return;
        gemm_.forward(type, d[0], d[1], d[2], o[0], o.parameter(1), o.parameter(2), o[3]);
        return activation_forward(stream, type, s.activation, false, d[0], d[2], o[3], o[4]);
      case Operator::linear_activation_grad: {
        if (s.activation == Activation::gelu_tanh && gemm_.gelu_grad(type, d[0], d[1], d[2], o[0], o.parameter(1), o[2], o[3])) return;
        const Scratch da(stream, bytes_of(type, d[0] * d[1]));
        gemm_.input_grad(type, d[0], d[1], d[2], o[0], o.parameter(1), da.as<void>());
        return activation_backward(stream, type, s.activation, false, d[0], d[1], o[2], da.as<void>(), o[3]);
      }
      case Operator::amax:
        return largest(stream, type, d[0], o[0], o.floats(1));
      case Operator::quantise:
        return quantise(stream, type, quantised(c, o[2]), o[0], o.floats(1));
      case Operator::quantise_delayed:
        return quantise_delayed(stream, type, quantised(c, o[3]), o[0], o.floats(1), o.floats(2));
      case Operator::update_scales:
        return update_scales(stream, d[0], d[1], o.floats(0), o.floats(1), o.floats(2));
      case Operator::load_tokens:
      case Operator::load_targets:
      case Operator::all_reduce:
      case Operator::all_reduce_max:
      case Operator::reduce_scatter:
      case Operator::all_gather:
      case Operator::all_to_all:
      case Operator::all_to_all_by_count:
      case Operator::broadcast:
      case Operator::rotate:
      case Operator::send:
      case Operator::recv:
      case Operator::wait:
        assert(false && "the runtime executes this operator itself");
        return;
    }
  }

 private:
  void packed_forward(const KernelContext& c, const Operands& o) const {
    const Packed p(c);
    const DType type = c.shape.dtype;
    const void *k = at(o[0], type, p.to_k), *v = at(o[0], type, p.to_v);
    if (fused_ && fits(p.problem, type)) {
      const std::lock_guard lock(mutex_);
      if (fused_->forward(type, p.problem, o[0], k, v, o[1], o.floats(2))) return;
    }
    attention_forward(stream_, type, p.problem, o[0], k, v, o[1], o.floats(2));
  }
  void packed_backward(const KernelContext& c, const Operands& o) const {
    const Packed p(c);
    const DType type = c.shape.dtype;
    const void *k = at(o[0], type, p.to_k), *v = at(o[0], type, p.to_v);
    void *d_k = at(o[4], type, p.to_k), *d_v = at(o[4], type, p.to_v);
    if (fused_ && fits(p.problem, type)) {
      const std::lock_guard lock(mutex_);
      if (fused_->backward(type, p.problem, o[0], k, v, o[1], o.floats(2), o[3], o[4], d_k, d_v)) return;
    }
    attention_backward(stream_, type, p.problem, o[0], k, v, o[1], o.floats(2), o[3], o[4], d_k, d_v, false);
  }
  // cuBLASLt: rows of whole 16 bytes; one scale of a matrix from Ada on, of blocks on Hopper alone.
  bool has_in_8_bits(const program::Shape& shape) const {
    const auto q = program::quantised_operands(shape);
    if (!q) return false;
    const auto& d = shape.dims;
    const bool sized = d[0] % 16 == 0 && d[1] % 16 == 0 && d[2] % 16 == 0;
    return sized && (q->first.form.block_columns == 0 ? capability_ >= 89 : capability_ == 90);
  }
  static Quantised quantised(const KernelContext& c, void* to) {
    Quantised q{c.shape.dims[0], c.shape.dims[1], false, 0};
    for (const program::QuantisedPart& part : program::quantised_parts(c.shape)) {
      q.e5m2 = part.matrix.form.format == program::Fp8::e5m2, q.block_rows = part.matrix.form.block_rows;
      auto* codes = static_cast<std::uint8_t*>(to) + part.begin;
      (part.transposed ? q.turned : q.plain) = codes;
      (part.transposed ? q.turned_scales : q.plain_scales) = reinterpret_cast<float*>(codes + part.matrix.scales_begin());
    }
    return q;
  }

  // What cuDNN's fused attention can be asked for: 16-bit types, heads of whole 16 bytes, something to do.
  static bool fits(const AttentionProblem& p, DType type) {
    return bits(type) == 16 && p.qk_dim % 8 == 0 && p.v_dim % 8 == 0 && p.batch > 0 && p.queries > 0;
  }

  // That a block may have where it asks for more than 48 KB, bytes.
  static Index shared_memory(int device) {
    int bytes = 0;
    check_cuda(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "asking for the device");
    return bytes;
  }

  // 90: 9.0.
  static int capability(int device) {
    int major = 0, minor = 0;
    check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "asking for the device");
    check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "asking for the device");
    return 10 * major + minor;
  }

  int device_, capability_;
  Index shared_memory_;
  Stream stream_;
  Gemm gemm_;
  std::unique_ptr<FusedAttention> fused_;
  mutable std::mutex mutex_;  // of fused_
};

}  // namespace

std::unique_ptr<KernelSet> make_cuda_kernels(int device, Stream stream, const CudaOptions& options,
                                             const std::shared_ptr<GemmChoicesByDevice>& choices) {
  return std::make_unique<CudaKernels>(device, stream, options, choices);
}

}  // namespace orrery::executor::cuda
