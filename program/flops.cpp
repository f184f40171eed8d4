#include "program/flops.h"

#include <algorithm>
#include <array>

#include "program/operators.h"

namespace orrery::program {
namespace {

// Elements of the matrices that one token is multiplied with, router and shared experts included, routed experts as far as they are used.
double matrix_elements(const Model& m, std::int64_t layer) {
  const auto n = [](std::int64_t v) { return static_cast<double>(v); };
  const double hidden = n(m.hidden), heads = n(m.heads);
  double elements = heads * n(m.v_dim()) * hidden;  // the output projection
  if (m.mla) {
    const Mla& a = *m.mla;
    const double queries = heads * n(m.qk_dim());
    elements += a.q_lora_rank ? n(a.q_lora_rank) * (hidden + queries) : hidden * queries;
    elements += hidden * n(a.kv_lora_rank + a.qk_rope_head_dim) + n(a.kv_lora_rank) * heads * n(a.qk_nope_head_dim + a.v_head_dim);
  } else {
    elements += hidden * n(m.heads + 2 * m.kv_heads) * n(m.head_dim);
  }
  const double matrices = m.gated_mlp ? 3 : 2;
  if (!m.is_moe_layer(layer)) return elements + matrices * hidden * n(m.intermediate);
  const Moe& e = *m.moe;
  elements += hidden * n(e.experts) + matrices * hidden * n(e.shared_intermediate) + (e.shared_gate ? hidden : 0);
  elements += n(e.experts_per_token) * matrices * n(e.latent ? e.latent : m.hidden) * n(e.intermediate) + 2 * hidden * n(e.latent);
  return elements;
}

// Whether the layer attends to everything before it; otherwise within a window or a chunk.
bool attends_all(const Model& m, std::int64_t layer) { return m.sliding_window_pattern > 0 && (layer + 1) % m.sliding_window_pattern == 0; }

// Pairs of one head and one sequence under the convention.
double pairs(const Model& m, std::int64_t layer, std::int64_t sequence, FlopsConvention convention) {
  if (convention == FlopsConvention::full || !m.causal) return attended_pairs(sequence, false);
  const auto s = static_cast<double>(sequence);
  if (!attends_all(m, layer)) {
    if (const auto w = static_cast<double>(m.sliding_window); w > 0 && w < s) return w * s - w * w / 2;
    if (const auto c = static_cast<double>(m.attention_chunk); c > 0 && c < s) return s * c / 2;
  }
  return attended_pairs(sequence, true);
}

// What hardware_flops counts of one execution. A fused kernel's backward makes Q Kᵀ again: that is how the kernel works, not a recomputation that the
// plan chose, and counts in no published utilisation; so attention backward is twice the forward, as in the model's FLOPs.
double counted(Shape shape, bool full, bool causal) {
  double factor = 1;
  if (shape.op == Operator::attention_backward) {
    shape.op = Operator::attention_forward;
    factor = 2;
  }
  if (shape.op == Operator::attention_block_backward) {
    shape.op = Operator::attention_block_forward;
    factor = 2;
  }
  if (shape.op == Operator::attention_block_forward && full && causal) factor *= 2;
  if (shape.op == Operator::attention_forward && full) shape.dims[6] = 0;
  return factor * flops(shape).v;
}

}  // namespace

std::string_view name(FlopsConvention c) {
  static constexpr std::array<std::string_view, 3> kNames{"causal-half", "full", "6n"};
  return kNames[static_cast<std::size_t>(c)];
}

Flops model_flops(const Model& model, double tokens, std::int64_t sequence, FlopsConvention convention) {
  if (convention == FlopsConvention::six_n) return Flops{6 * static_cast<double>(count_parameters(model).active) * tokens};
  const auto n = [](std::int64_t v) { return static_cast<double>(v); };
  const double sequences = tokens / n(sequence), products = 2 * n(model.heads) * n(model.qk_dim() + model.v_dim());
  double forward = 0;
  const auto layer = [&](std::int64_t l) {
    forward += 2 * matrix_elements(model, l) * tokens + products * pairs(model, l, sequence, convention) * sequences;
  };
  for (std::int64_t l = 0; l < model.layers; ++l) layer(l);

  const double hidden = n(model.hidden), width = model.embedding_width ? n(model.embedding_width) : hidden;
  const double head = n(model.vocab) * width;
  double around = head;
  if (model.embedding_width) around += 2 * width * hidden;
  if (model.head_transform) around += hidden * hidden;
  forward += 2 * around * tokens;
  // BERT's pooler sees the first token of each sequence only.
  forward += 2 * ((model.pooler ? hidden * hidden : 0) + (model.next_sentence_head ? 2 * hidden : 0)) * sequences;
  for (std::int64_t i = 0; i < model.mtp_layers; ++i) {  // a projection of state and next embedding, one layer, the shared head
    layer(model.layers - 1);
    forward += 2 * (2 * hidden * hidden + head) * tokens;
  }
  return Flops{3 * forward};
}

Flops hardware_flops(const Program& program, const Model& model, FlopsConvention convention) {
  const bool six_n = convention == FlopsConvention::six_n;
  double total = 0;
  for (std::size_t r = 0; r < program.roles.size(); ++r) {
    const Role& role = program.roles[r];
    const auto ranks = static_cast<double>(program.ranks_of_role(r));
    std::vector<double> of_pass;
    for (const PassTemplate& pass : role.passes) {
      double sum = 0;
      for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
        const Instruction& it = role.instructions[i];
        if (it.opcode != Opcode::compute || (six_n && !(it.flags & kRecompute))) continue;
        const auto count = [&](std::uint32_t shape) { return counted(program.shapes[shape], convention == FlopsConvention::full, model.causal); };
        if (it.load == kNone || program.loads[it.load].axes == 0) {
          sum += count(it.shape);
          continue;
        }
        // As many ranks have each of a load's shapes.
        const std::vector<std::uint32_t>& shapes = program.loads[it.load].shapes;
        for (const std::uint32_t shape : shapes) sum += count(shape) / static_cast<double>(shapes.size());
      }
      of_pass.push_back(sum);
    }
    for (const PassInstance& pass : role.body) total += of_pass[pass.pass] * ranks;
  }
  if (six_n) {
    const auto tokens = static_cast<double>(program.global_batch) * static_cast<double>(program.sequence);
    total += model_flops(model, tokens, program.sequence, convention).v;
  }
  return Flops{total};
}

}  // namespace orrery::program
