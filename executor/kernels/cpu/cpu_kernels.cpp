#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <vector>

#include "executor/kernels/cpu/cpu.h"
#include "executor/kernels/kernels.h"

namespace orrery::executor {
namespace {

using cpu::Index;
using program::Operator;

// An instruction's operands by their position in the operator's pattern; null where the instruction leaves one out.
class Operands {
 public:
  explicit Operands(const KernelContext& context) : count_(context.buffers.size()) {
    assert(count_ <= program::access_pattern(context.shape.op).size());
    for (std::size_t i = 0; i < count_; ++i) at_[program::operand_position(context.shape.op, i, count_)] = context.buffers[i];
  }
  std::size_t count() const { return count_; }
  void* raw(std::size_t position) const { return at_[position]; }
  float* operator[](std::size_t position) const { return static_cast<float*>(at_[position]); }
  std::int32_t* integers(std::size_t position) const { return static_cast<std::int32_t*>(at_[position]); }
  const std::int32_t* tokens(std::size_t position) const { return static_cast<const std::int32_t*>(at_[position]); }
  double* scalar(std::size_t position) const { return static_cast<double*>(at_[position]); }

 private:
  std::array<void*, 8> at_{};  // no operator has more
  std::size_t count_;
};

void norm_forward(const KernelContext& c, const Operands& o) {
  const auto& d = c.shape.dims;
  const auto epsilon = static_cast<float>(c.settings.norm_epsilon);
  if (c.settings.layer_norm) {
    cpu::layer_norm_forward(d[0], d[1], epsilon, o[0], o[1], o[2], o[3], o[4]);
  } else {
    assert(!o[2]);
    cpu::rms_norm_forward(d[0], d[1], epsilon, o[0], o[1], o[3], o[4]);
  }
}

void norm_backward(const KernelContext& c, const Operands& o) {
  const auto& d = c.shape.dims;
  if (c.settings.layer_norm) {
    cpu::layer_norm_backward(d[0], d[1], o[0], o[1], o[2], o[3], o[4], o[5], o[6]);
  } else {
    assert(!o[6]);
    cpu::rms_norm_backward(d[0], d[1], o[0], o[1], o[2], o[3], o[4], o[5]);
  }
}

// Calls visit(first row, rows, position of the first) for runs of rows of consecutive positions.
template <class Visit>
void each_run(const KernelContext& c, Index rows, Visit visit) {
  if (c.rows.empty()) return visit(Index{0}, rows, c.position_offset);
  Index row = 0;
  for (const program::Run& run : c.rows) {
    const Index n = run.count * c.settings.micro_batch;
    visit(row, n, c.position_offset + run.first);
    row += n;
  }
  assert(row == rows);
}

void rope(const KernelContext& c, const Operands& o, bool forward) {
  const auto& d = c.shape.dims;
  const KernelSettings& s = c.settings;
  each_run(c, d[0], [&](Index row, Index rows, Index position) {
    cpu::rope({rows, d[1], d[2], d[3], position, s.micro_batch, s.rope_theta, s.rope_fraction, s.rope_scaling}, forward,
              o[0] + row * (d[1] + 2 * d[2]) * d[3]);
  });
}

void optimizer_step(const KernelContext& c, const Operands& o) {
  const bool adam = c.settings.optimizer.kind == OptimizerSettings::Kind::adamw;
  const std::size_t states = adam ? 2 : 0;
  assert(o.count() == 3 + states || o.count() == 4 + states);
  cpu::optimizer_step(c.settings.optimizer, c.step, c.shape.dims[0], *o.scalar(0), o[1], o[2], adam ? o[3] : nullptr, adam ? o[4] : nullptr,
                      o[3 + states]);  // its optional operands are known by their count
}

cpu::VocabularyShard vocabulary(const KernelContext& c) {
  return {c.settings.vocab_offset, std::clamp<Index>(c.settings.vocab - c.settings.vocab_offset, 0, c.shape.dims[1])};
}

cpu::AttentionShape attention(const KernelContext& c) {
  const auto& d = c.shape.dims;
  assert(d[3] > 0 && d[2] % d[3] == 0);
  return {d[0], d[1], d[2], d[3], d[4], d[5], d[6] != 0};
}

void mla_pack(const KernelContext& c, const Operands& o, bool forward) {
  const auto& d = c.shape.dims;
  const KernelSettings& s = c.settings;
  const Index q = d[1] * (d[2] + d[3]), kv = d[1] * (d[2] + d[4]), packed = 2 * q + d[1] * d[4];
  each_run(c, d[0], [&](Index row, Index rows, Index position) {
    const cpu::LatentShape shape{rows, d[1], d[2], d[3], d[4], position, s.micro_batch, s.rope_theta, s.rope_scaling};
    if (forward)
      cpu::mla_pack_forward(shape, o[0] + row * q, o[1] + row * kv, o[2] + row * d[3], o[3] + row * packed);
    else
      cpu::mla_pack_backward(shape, o[0] + row * packed, o[1] + row * q, o[2] + row * kv, o[3] + row * d[3]);
  });
}

cpu::Routing routing(const KernelContext& c, Index rows, Index position) {
  const auto& d = c.shape.dims;
  return {rows, d[1], d[2], d[3], d[4], d[5] != 0, position * c.settings.micro_batch, c.settings.router};
}

cpu::AttentionBlock attention_block(const KernelContext& c, const program::Run& queries, const program::Run& keys) {
  const auto& d = c.shape.dims;
  assert(d[4] > 0 && d[3] % d[4] == 0);
  return {d[0],
          d[1],
          d[2],
          d[3],
          d[4],
          d[5],
          d[6],
          d[8],
          d[7] < 2 * d[1] * d[2],
          c.rows.empty() ? std::span(&queries, 1) : c.rows,
          c.keys.empty() ? std::span(&keys, 1) : c.keys};
}

class CpuKernels final : public KernelSet {
 public:
  bool has(const program::Shape& shape) const override {
    switch (shape.op) {
      case Operator::copy:
      case Operator::zero:
        return true;
      case Operator::embedding_forward:
      case Operator::embedding_backward:
      case Operator::position_forward:
      case Operator::position_backward:
      case Operator::norm_forward:
      case Operator::norm_backward:
      case Operator::linear_forward:
      case Operator::linear_input_grad:
      case Operator::linear_weight_grad:
      case Operator::linear_activation_forward:
      case Operator::linear_activation_grad:
      case Operator::rope_forward:
      case Operator::rope_backward:
      case Operator::attention_forward:
      case Operator::attention_backward:
      case Operator::attention_block_forward:
      case Operator::attention_block_backward:
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
      case Operator::mla_pack_forward:
      case Operator::mla_pack_backward:
      case Operator::route_forward:
      case Operator::route_backward:
      case Operator::expert_sort:
      case Operator::expert_sort_received:
      case Operator::expert_sort_gathered:
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
        return shape.dtype == DType::fp32;
      case Operator::accumulate:
        return shape.dtype == DType::fp32 || shape.dtype == DType::fp64;  // gradients; norms
      case Operator::amax:
      case Operator::quantise:
      case Operator::quantise_delayed:
      case Operator::update_scales:
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
    const auto& d = c.shape.dims;
    const KernelSettings& s = c.settings;
    const Operands o(c);
    switch (c.shape.op) {
      case Operator::embedding_forward:
        return cpu::embedding_forward(d[0], d[1], d[2], s.vocab_offset, o.tokens(0), o[1], o[2]);
      case Operator::embedding_backward:
        return cpu::embedding_backward(d[0], d[1], d[2], s.vocab_offset, o.tokens(0), o[1], o[2]);
      case Operator::position_forward:
        return each_run(c, d[0], [&](Index row, Index rows, Index position) {
          cpu::position_forward(rows, d[1], position, s.micro_batch, o[0], o[1] + row * d[1]);
        });
      case Operator::position_backward:
        return each_run(c, d[0], [&](Index row, Index rows, Index position) {
          cpu::position_backward(rows, d[1], position, s.micro_batch, o[0] + row * d[1], o[1]);
        });
      case Operator::norm_forward:
        return norm_forward(c, o);
      case Operator::norm_backward:
        return norm_backward(c, o);
      case Operator::linear_forward:
        return cpu::linear_forward(d[0], d[1], d[2], o[0], o[1], o[2], o[3]);
      case Operator::linear_input_grad:
        return cpu::linear_input_grad(d[0], d[1], d[2], o[0], o[1], o[2]);
      case Operator::linear_weight_grad:
        return cpu::linear_weight_grad(d[0], d[1], d[2], o[0], o[1], o[2], o[3]);
      case Operator::linear_activation_forward:
        cpu::linear_forward(d[0], d[1], d[2], o[0], o[1], o[2], o[3]);
        return cpu::activation_forward(s.activation, false, d[0], d[2], o[3], o[4]);
      case Operator::linear_activation_grad: {
        std::vector<float> da(static_cast<std::size_t>(d[0] * d[1]));
        cpu::linear_input_grad(d[0], d[1], d[2], o[0], o[1], da.data());
        return cpu::activation_backward(s.activation, false, d[0], d[1], o[2], da.data(), o[3]);
      }
      case Operator::rope_forward:
        return rope(c, o, true);
      case Operator::rope_backward:
        return rope(c, o, false);
      case Operator::attention_forward:
        return cpu::attention_forward(attention(c), o[0], o[1], o[2]);
      case Operator::attention_backward:
        return cpu::attention_backward(attention(c), o[0], o[1], o[2], o[3], o[4]);
      case Operator::attention_block_forward:
      case Operator::attention_block_backward: {
        const program::Run queries{0, d[1]}, keys{0, d[2]};
        const cpu::AttentionBlock block = attention_block(c, queries, keys);
        if (c.shape.op == Operator::attention_block_forward) return cpu::attention_block_forward(block, o[0], o[1], o[2], o[3]);
        return cpu::attention_block_backward(block, o[0], o[1], o[2], o[3], o[4], o[5], o[6]);
      }
      case Operator::attention_merge:
        return cpu::attention_merge(d[0], d[1], d[2], d[3], o[0], o[1], o[2], o[3]);
      case Operator::take_columns:
        return cpu::take_columns(d[0], d[1], d[2], d[3], o[0], o[1]);
      case Operator::put_columns:
        return cpu::put_columns(d[0], d[1], d[2], d[3], o[0], o[1]);
      case Operator::scatter_heads:
        return cpu::scatter_heads({d[0], d[1], d[2], d[3], d[4], d[5]}, o[0], o[1]);
      case Operator::gather_heads:
        return cpu::gather_heads({d[0], d[1], d[2], d[3], d[4], d[5]}, o[0], o[1]);
      case Operator::scatter_columns:
        return cpu::scatter_columns(d[0], d[1], d[2], o[0], o[1]);
      case Operator::gather_columns:
        return cpu::gather_columns(d[0], d[1], d[2], o[0], o[1]);
      case Operator::activation_forward:
        return cpu::activation_forward(s.activation, d[2] != 0, d[0], d[1], o[0], o[1]);
      case Operator::activation_backward:
        return cpu::activation_backward(s.activation, d[2] != 0, d[0], d[1], o[0], o[1], o[2]);
      case Operator::residual_forward:
        return cpu::residual_forward(d[0], d[1], o[0], o[1], o[2]);
      case Operator::bias_grad:
        return cpu::bias_grad(d[0], d[1], o[0], o[1]);
      case Operator::accumulate:
        if (c.shape.dtype == DType::fp32) return cpu::accumulate(d[0], o[0], o[1]);
        for (std::int64_t i = 0; i < d[0]; ++i) o.scalar(1)[i] += o.scalar(0)[i];
        return;
      case Operator::copy:
        std::memcpy(o.raw(1), o.raw(0), static_cast<std::size_t>(bytes_of(c.shape.dtype, d[0])));
        return;
      case Operator::split_columns:
        return cpu::split_columns(d[0], d[1], d[2], o[0], o[1], o[2]);
      case Operator::join_columns:
        return cpu::join_columns(d[0], d[1], d[2], o[0], o[1], o[2]);
      case Operator::mla_pack_forward:
        return mla_pack(c, o, true);
      case Operator::mla_pack_backward:
        return mla_pack(c, o, false);
      case Operator::route_forward:
        return each_run(c, d[0], [&](Index row, Index rows, Index position) {
          cpu::route_forward(routing(c, rows, position), o[0] + row * d[1], o[1] + row * d[2], o.integers(2) + row * d[2]);
        });
      case Operator::route_backward:
        return each_run(c, d[0], [&](Index row, Index rows, Index position) {
          cpu::route_backward(routing(c, rows, position), o[0] + row * d[2], o[1] + row * d[1], o.integers(2) + row * d[2], o[3] + row * d[1]);
        });
      case Operator::expert_sort:
        return cpu::expert_sort(d[0], d[1], {d[2], d[3], d[4], d[5], c.expert_places}, o.integers(0), o.integers(1), o.integers(2));
      case Operator::expert_sort_gathered:
        return cpu::expert_sort_gathered(d[0], d[1], {d[2], 1, 1, d[5], c.expert_places}, c.expert_rank * d[3], d[3], d[4], o.integers(0),
                                         o.integers(1), o.integers(2));
      case Operator::expert_sort_received:
        return cpu::expert_sort_received(d[0], d[1], d[2], o.integers(0), o.integers(1), o.integers(2));
      case Operator::expert_permute:
        return cpu::expert_permute(d[0], d[1], d[2], d[4] ? d[3] : 0, o[0], o.integers(1), o[2]);
      case Operator::expert_unpermute:
        return cpu::expert_unpermute(d[0], d[1], d[2], o[0], o.integers(1), o[2]);
      case Operator::expert_linear_forward:
        return cpu::expert_linear_forward(d[1], d[2], d[3], o[0], o.integers(1), o[2], o[3]);
      case Operator::expert_linear_input_grad:
        return cpu::expert_linear_input_grad(d[1], d[2], d[3], o[0], o.integers(1), o[2], o[3]);
      case Operator::expert_linear_weight_grad:
        return cpu::expert_linear_weight_grad(d[1], d[2], d[3], o[0], o[1], o.integers(2), o[3]);
      case Operator::expert_activation_forward:
        return cpu::expert_activation_forward(s.activation, d[2] != 0, d[3], d[1], o[0], o.integers(1), o[2], o[3]);
      case Operator::expert_activation_backward:
        return cpu::expert_activation_backward(s.activation, d[2] != 0, d[3], d[1], o[0], o.integers(1), o[2], o[3], o[4], o[5]);
      case Operator::cross_entropy_max:
        return cpu::cross_entropy_max(d[0], d[1], vocabulary(c), o[0], o[1]);
      case Operator::cross_entropy_sum:
        return cpu::cross_entropy_sum(d[0], d[1], vocabulary(c), o[0], o[1], o.tokens(2), o[3]);
      case Operator::cross_entropy_grad:
        return cpu::cross_entropy_grad(d[0], d[1], vocabulary(c), s.global_tokens, c.loss_weight, o[0], o[1], o.tokens(2), o[3], o.scalar(4));
      case Operator::zero:
        std::memset(o.raw(0), 0, static_cast<std::size_t>(bytes_of(c.shape.dtype, d[0])));
        return;
      case Operator::gradient_norm:
        if (c.counts) *o.scalar(1) += cpu::sum_of_squares(d[0], o[0]);
        return;
      case Operator::optimizer_step:
        return optimizer_step(c, o);
      case Operator::amax:
      case Operator::quantise:
      case Operator::quantise_delayed:
      case Operator::update_scales:
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
};

}  // namespace

std::unique_ptr<KernelSet> make_cpu_kernels() { return std::make_unique<CpuKernels>(); }

}  // namespace orrery::executor
