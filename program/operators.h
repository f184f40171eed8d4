// The semantic operators: what each computes, which buffers it touches in which order, which dimensions it has, and what work that is.
// This table is the contract between the compiler (which emits them), the cost model (which prices them) and the executor (which runs them).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/dtype.h"
#include "core/timeline.h"
#include "core/units.h"

namespace orrery::program {

// Layout of activations: [sequence, micro-batch, width], row = position * micro + sample ("tokens" below counts rows). A sequence-parallel shard is
// therefore a contiguous block of rows. Weights are [out, in] as in Hugging Face; y = x Wᵀ + b. The packed qkv row is [q heads | k heads | v heads].
// position_* with fewer tokens than a micro-batch has: the rank's block of rows (tp coordinate x tokens).
// In "accesses", [x] is present only where the model has it; r: read, w: written whole, u: updated in place (for gradients of parameters:
// accumulated).
enum class Operator : std::uint8_t {
  //                       dims                                          accesses, in this order
  load_tokens,         // {tokens}                                      w tokens(int32): this micro-batch's inputs, or those so many places further
                       //   on as Instruction::peer says; beyond the end any token
  load_targets,        // {tokens}                                      w targets(int32): this micro-batch's next tokens, or as above; beyond the end
                       //   -1
  embedding_forward,   // {tokens, hidden, table rows}                  r tokens, r table, w x — rows of other vocabulary shards give zeros
  embedding_backward,  // {tokens, hidden, table rows}                  r tokens, r dx, u d_table
  position_forward,    // {tokens, hidden}                              r table, u x — x += table[position]
  position_backward,   // {tokens, hidden}                              r dx, u d_table
  norm_forward,        // {tokens, width}                               r x, r gamma, [r beta], w y, w statistics(fp32: 1/σ; LayerNorm also μ)
  norm_backward,       // {tokens, width}                               r dy, r x, r gamma, r statistics, u dx, u d_gamma, [u d_beta] — dx += …
  // In fp8 x, W and dy are quantised matrices (program/quantised.h), W of an input_grad and both of a weight_grad transposed, so that both
  // operands of every product lie along what is summed over; results and biases are not fp8, and scaling is 1 + the number of the
  // operands' Scaling.
  linear_forward,      // {tokens, in, out, scaling}                    r x, r W, [r bias], w y
  linear_input_grad,   // {tokens, in, out, scaling}                    r dy, r W, w dx
  linear_weight_grad,  // {tokens, in, out, scaling}                    r x, r dy, u dW, [u d_bias]
  rope_forward,        // {tokens, q heads, kv heads, head_dim}         u qkv
  rope_backward,       // {tokens, q heads, kv heads, head_dim}         u d_qkv
  attention_forward,   // {batch, sequence, q heads, kv heads, qk_dim, v_dim, causal}  r qkv, w out, w lse(fp32)
  attention_backward,  // same                                          r qkv, r out, r lse, r d_out, w d_qkv
  // Attention of some positions to some others, whose positions the runtime knows (program/positions.h). The mask hides pairs only where fewer attend
  // than queries x keys.
  attention_block_forward,   // {batch, queries, keys, q heads, kv heads, qk_dim, v_dim, 2 x attended pairs of a head and sample, row width of q}
                             //   r q (rows [q heads | …]), r kv (rows [k heads | v heads]), w out, w lse(fp32) — without keys: zeros and -inf
  attention_block_backward,  // same        r q, r kv, r out, r lse, r d_out, u d_q (rows as q's; += …), w d_kv — out, lse: of all keys
  attention_merge,           // {batch, queries, q heads, v_dim}  r out, r lse (of some keys), u out, u lse (of others; becomes of both)
  take_columns,              // {rows, row width of x, first column, columns}  r x, w y — y = those columns of x
  put_columns,               // {rows, row width of y, first column, columns}  r x, u y — those columns of y = x
  // From all heads of some positions to some heads of all: part p of `parts` gets the p-th share of the heads, each part whole rows of its own; where
  // there are fewer kv heads than parts, several parts get the same one. Backwards, gather_heads adds them up.
  scatter_heads,  // {rows, q heads, kv heads, qk_dim, v_dim, parts}  r x (rows [q | k | v]), w y (parts, each as many rows)
  gather_heads,   // same                                             r y, w x
  // Rows of `parts` times as many columns, to and from parts of all rows of some columns each.
  scatter_columns,      // {rows, columns of a part, parts}               r x, w y (parts, each as many rows)
  gather_columns,       // same                                           r y, w x
  activation_forward,   // {tokens, width of the result, gated}          r u, w a — gated: u = [gate | up] per row
  activation_backward,  // same                                          r u, r da, w du
  residual_forward,     // {tokens, width}                               r x, [r bias], u y — y += x + bias
  bias_grad,            // {tokens, width}                               r dy, u d_bias
  accumulate,           // {elements}                                    r x, u y — y += x
  copy,                 // {elements}                                    r x, w y
  // A linear without a gate behind it and its activation as one product (runtime.fused_epilogues): a = f(u), u = x Wᵀ + b; and back from
  // the gradient dy of the next linear's result: du = (dy W) f'(u).
  linear_activation_forward,  // {tokens, in, out}                       r x, r W, [r bias], w u, w a
  linear_activation_grad,     // {tokens, in, out}                       r dy, r W, r u, w du
  // Numbers of eight bits (program/quantised.h): form is the number of the Quantisation of x's rows, or of its columns as rows if
  // `transposed`. A scale of the whole is from amax, the largest |x|, which for delayed scaling is what is expected after earlier steps
  // (0: not known; then x's own), while `seen` becomes at least this x's.
  amax,              // {elements}                                       r x, w amax(fp32, 1 element)
  quantise,          // {rows, columns, form, ways}                      r x, [r amax], w q
  quantise_delayed,  // same                                             r x, r amax(fp32), u seen(fp32), w q
  // What was seen of each matrix becomes the latest of its history, `expected` the largest of that, and seen 0.
  update_scales,  // {matrices, steps of history}                        u seen, u history(steps x matrices), w expected (all fp32)
  // Latent attention (DeepSeek-V2). Rows of q: per head [nope | rope]; of kv: per head [nope | v]; k_rope is shared by the heads; the rope parts are
  // rotated on the way into qkv. d_k_rope is the sum over these heads.
  split_columns,      // {rows, left, right}               r x, w left, w right
  join_columns,       // {rows, left, right}               r left, r right, w x
  mla_pack_forward,   // {tokens, heads, nope, rope, v}    r q, r kv, r k_rope, w qkv
  mla_pack_backward,  // same                              r d_qkv, w d_q, w d_kv, w d_k_rope
  // Mixtures of experts. `balanced`: the experts of row r are (r·k + j) mod experts, whatever the logits. Sorted rows are by (ep rank, etp rank, its
  // expert), of each in order of tokens, and `index` is where a copy is; with a capacity each expert has exactly so many rows and the index of a copy
  // beyond is -1. Received rows are by (source, expert) and sorted to (expert, source). What permute does not write holds anything, or zero if
  // `padded`. `rows` is what is expected, and so the work; `most` what there is room for; counts (int32, per expert) what there is.
  route_forward,         // {tokens, experts, k, groups, chosen groups, balanced}    r logits, w weights(fp32), w chosen(int32): tokens·k
  route_backward,        // same                                                     r d_weights, r logits, r chosen, w d_logits
  expert_sort,           // {tokens, k, experts, ep, etp, capacity}    r chosen, w index(int32: tokens·k·etp), w counts(experts·etp)
  expert_sort_received,  // {most, sources, experts}                   r counts(sources·experts), w index(int32: most), w sums(experts)
  // Of all tokens of the ranks that share the experts, the copies for this rank's own, whose rows are by expert, of each in order of tokens; the
  // index of all others is -1. A capacity is each source's.
  expert_sort_gathered,  // {tokens, k, experts, local, sources, capacity, most}   r chosen, w index(int32: tokens·k), w counts(local)
  // moved: copies expected; 0: all.
  expert_permute,              // {tokens, k, width, most, padded, moved}    r x, r index(tokens·k), w rows
  expert_unpermute,            // {tokens, k, width, most, 0, moved}         r rows, r index(tokens·k), w x — the sum of its copies
  expert_linear_forward,       // {rows, experts, in, out, most}             r x, r counts, r W[experts, out, in], w y
  expert_linear_input_grad,    // same                                       r dy, r counts, r W, w dx
  expert_linear_weight_grad,   // same                                       r x, r dy, r counts, u dW
  expert_activation_forward,   // {rows, width, gated, experts, most}        r u, r counts, r weights(fp32, per row), w a — a = weight · f(u)
  expert_activation_backward,  // same                                       r u, r counts, r weights, r da, w du, w d_weights(fp32)
  // Losses, parameters and communication.
  cross_entropy_max,   // {tokens, local vocabulary}                    r logits, w max(fp32)
  cross_entropy_sum,   // {tokens, local vocabulary}                    r logits, r max, r targets, w sums(fp32, 2 x tokens: Σexp, target logit)
  cross_entropy_grad,  // {tokens, local vocabulary}                    r max, r sums, r targets, u logits (becomes d_logits), u loss
                       //   d_logits is of the mean over the *global* batch's tokens; loss accumulates the local sum of losses (fp64, 1 element);
                       //   a row without target (-1) has neither. Of a prediction module (Instruction::peer): both times its weight
  zero,                // {elements}                                    w x
  gradient_norm,       // {elements}                                    r gradient, u norm² (fp64, 1 element; flags say which ranks count)
  // at random: the parameter, which has no master, is rounded up or down with the probabilities that keep its mean
  optimizer_step,       // {elements, at random}                         r norm², u gradient, u parameter, [u m, u v], [u master]
  all_reduce,           // {elements, servers}, reduces in place         u x — servers: 0, or the group's first so many add up for all
  all_reduce_max,       // {elements}                                    u x
  reduce_scatter,       // {elements of the whole}                       r whole, w shard
  all_gather,           // {elements of the whole}                       r shard, w whole
  all_to_all,           // {elements that a rank sends in all}           r send, w receive — the members' parts in their order
  all_to_all_by_count,  // {rows sent, width, counts per rank, most}     r send, r counts(int32: ranks·counts per rank), w receive
                        //   to each member in turn the rows that its counts say; received in the order of the members
  broadcast,            // {elements}                                    u x
  rotate,               // {elements}                                    r x, w y — what the member before this one sent
  send,                 // {elements}                                    r x
  recv,                 // {elements}                                    w x
  wait,                 // {}                                            (buffers freed here)
};
inline constexpr std::size_t kOperators = static_cast<std::size_t>(Operator::wait) + 1;

std::string_view name(Operator op);
// Inverse of name; throws std::out_of_range for a word that names none.
Operator operator_named(std::string_view word);

// The operator's accesses in order, as letters: r, w, u; a capital letter is present only where the model has the operand.
std::string_view access_pattern(Operator op);

// The position in the operator's pattern of access number `place` of an instruction that has `count` of them: it leaves out the one optional operand
// in the middle of its pattern, or some at its end.
std::size_t operand_position(Operator op, std::size_t place, std::size_t count);

// One operator at one size: what cost prices and what a measurement is of.
struct Shape {
  Operator op = Operator::wait;
  DType dtype = DType::fp32;
  std::uint16_t group = 0xffff;        // collectives, send, recv: index into Program::groups
  std::array<std::int64_t, 9> dims{};  // as documented at the operator; unused ones are 0
  std::int64_t bytes = 0;  // collectives: payload as in NCCL's conventions (all_gather, reduce_scatter: the whole); send, recv: the message
  bool operator==(const Shape&) const = default;
};

// Elements that the operator touches of the operand at `position` of its pattern, at least. `group` is the number of ranks of a collective.
std::int64_t operand_elements(const Shape& shape, std::size_t position, std::int64_t group = 1);

// The type of the operand at `position` of its pattern where parameters and their gradients are of these types: the shape's for activations. tf32 is
// stored as fp32.
DType operand_type(const Shape& shape, std::size_t position, DType parameters, DType gradients);

// Pairs of a query and a key that one head of one sample attends: s², and s²/2 when causal. (A kernel that works row by row executes s(s+1)/2; the
// half is what published rates count, and the difference is 1/s.)
double attended_pairs(std::int64_t sequence, bool causal);

// Floating-point operations that the hardware executes; a causal attention's masked half is not executed. Matrix work only: element-wise operators
// give 0. Linears: 2 · tokens · in · out. Attention: two products over attended_pairs forward, and five backward (fused kernels make Q Kᵀ again), so
// 2.5 times the forward where keys and values are equally wide.
Flops flops(const Shape& shape);

// Bytes read and written if every operand crosses the memory bus once (an update twice), in the shape's type; statistics, optimizer states and
// gradients of parameters in fp32; results of fp8 products in bf16. Biases are left out, and optimizer_step is taken for AdamW. Communication gives
// 0: its traffic is the network's.
Bytes traffic(const Shape& shape);

// `axis_class` applies to communication only.
WorkClass work_class(Operator op, WorkClass axis_class = WorkClass::tp_comm);

constexpr bool is_collective(Operator op) { return op >= Operator::all_reduce && op <= Operator::rotate; }
constexpr bool is_point_to_point(Operator op) { return op == Operator::send || op == Operator::recv; }
constexpr bool is_communication(Operator op) { return is_collective(op) || is_point_to_point(op); }

}  // namespace orrery::program
