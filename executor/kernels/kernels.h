// The seam between the runtime and what computes: a kernel set runs the operators of program/operators.h on buffers that the runtime hands it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>

#include "core/model.h"
#include "program/operators.h"
#include "program/positions.h"

namespace orrery::executor {

// The optimizer's hyper-parameters, in PyTorch's meaning of each.
struct OptimizerSettings {
  enum class Kind : std::uint8_t { adamw, sgd };  // sgd: no momentum; both decay weights by lr · weight_decay, decoupled from the gradient
  Kind kind = Kind::adamw;
  double lr = 3e-4;
  std::array<double, 2> betas{0.9, 0.95};
  double eps = 1e-8, weight_decay = 0.1;
  double clip = 1.0;  // global gradient norm; 0: no clipping
  bool operator==(const OptimizerSettings&) const = default;
};

// What a gradient of this squared norm is multiplied with, as in torch.nn.utils.clip_grad_norm_; 1: it is not clipped. A norm that is no number stays
// one, so that nobody trains on garbage.
inline double clip_coefficient(double clip, double squared_norm) {
  const double norm = std::sqrt(squared_norm);
  if (clip <= 0) return 1;
  return std::isnan(norm) ? norm : std::min(1.0, clip / (norm + 1e-6));
}

// How a router turns its logits into the weights of the experts that it chose: scores by softmax over all experts or by a sigmoid each, divided by
// the sum of those chosen if `normalize`, times `scale`.
struct RouterSettings {
  bool sigmoid = false, normalize = true;
  double scale = 1;
  bool operator==(const RouterSettings&) const = default;
};

// What stays the same for all instructions of one rank during a run and is not in a Shape.
struct KernelSettings {
  bool layer_norm = false;  // false: RMSNorm
  double norm_epsilon = 1e-5;
  double rope_theta = 10000, rope_fraction = 1;
  RopeScaling rope_scaling;
  Activation activation = Activation::silu;
  std::int64_t micro_batch = 1;    // sequences per micro-batch: position of row r = position_offset + r / micro_batch
  std::int64_t vocab_offset = 0;   // embedding, cross entropy: the token of this rank's first table row or logits column
  std::int64_t vocab = 0;          // tokens without padding; columns whose token is >= vocab count as -inf and get no gradient
  std::int64_t global_tokens = 1;  // of the global batch: the loss is the mean over them
  // Element types of operands that are not of the shape's: parameters and their gradients. Of the rest, statistics, lse, max, sums, weights of
  // experts, m, v and master are fp32; loss and norm² fp64; optimizer_step's shape has the parameters' type, gradient_norm's the gradients'
  // (program::operand_type).
  DType parameters = DType::fp32, gradients = DType::fp32;
  RouterSettings router;
  OptimizerSettings optimizer;
  bool operator==(const KernelSettings&) const = default;
};

// One call. `buffers` are the instruction's accesses in the order that operators.h documents; an operand in [brackets] is either there or left out,
// which program::operand_position tells by their count. optimizer_step's count means: sgd 3 or 4 (master), adamw 5 or 6 (master).
// Buffers that an operator writes whole may hold anything before; an empty shape (a dimension of 0) is legal. Layouts that only kernels look into:
//   statistics  [tokens] 1/σ, then, for LayerNorm, [tokens] μ
//   lse         [q heads, batch, sequence], natural logarithm, of scores scaled by 1/sqrt(qk_dim)
//   sums        [tokens] Σ exp(logit - max), then [tokens] the target's logit (0 where another shard has the target)
// The runtime's own operators (load_*, collectives, send, recv, wait) never come here.
struct KernelContext {
  const program::Shape& shape;
  std::span<void* const> buffers;
  const KernelSettings& settings;
  std::int64_t position_offset = 0;  // added to the positions of `rows`
  std::int64_t step = 1;             // optimizer_step: 1 in the first step, for the bias correction
  bool counts = true;                // gradient_norm: false where another rank counts these parameters; nothing is added then
  // position_*, rope_*, mla_pack_*, route_*, attention_block_* (of the queries): positions of the rows; empty: all from 0 on
  std::span<const program::Run> rows{};
  std::span<const program::Run> keys{};  // attention_block_*: positions of the rows of kv; empty: all from 0 on
  // expert_sort*: by expert, its place where experts are in the order of the ranks that hold them; empty: its number. And this rank's place on ep.
  std::span<const std::int32_t> expert_places{};
  std::int64_t expert_rank = 0;
  double loss_weight = 1;  // cross_entropy_grad: by which this loss and its gradient are multiplied
  const std::int64_t* step_at =
      nullptr;  // optimizer_step on a device: where it finds `step` when it runs, which may be again and again; null: as above
  // optimizer_step at random: of all steps' random numbers (executor/kernels/narrow.h), and the number of the first element among one step's.
  std::uint64_t rounding_key = 0;
  std::int64_t first_element = 0;
};

// Runs operators one at a time on the calling thread. Results depend on the arguments alone, bit for bit; calls from several threads at once are
// fine.
class KernelSet {
 public:
  virtual ~KernelSet() = default;
  // Whether `run` can execute this shape (operator and element type).
  virtual bool has(const program::Shape& shape) const = 0;
  // Requires has(context.shape) and buffers as documented (asserted).
  virtual void run(const KernelContext& context) const = 0;
};

// fp32 on the calling thread, with whatever instruction set the build allows (CMake option ORRERY_NATIVE).
std::unique_ptr<KernelSet> make_cpu_kernels();

}  // namespace orrery::executor
