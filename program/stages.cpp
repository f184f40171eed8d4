#include "program/compile.h"

#include <algorithm>
#include <numeric>
#include <queue>
#include <tuple>

namespace orrery::program {

namespace {

// Layers of one model are alike, so a balanced split needs no search: each next layer goes where the sum stays smallest, and the earliest stage wins
// a tie. That minimises the largest stage, then the second largest, and so on.
std::vector<std::int64_t> balanced(const Model& model, const Plan& plan, std::int64_t of_stages, std::int64_t of_layers, bool head_after) {
  // Forward FLOPs per token, halved, since only the ratio counts: weights of the linears, attention's two products over the causal half.
  const double h = static_cast<double>(model.hidden), s = static_cast<double>(plan.batch.sequence);
  const double q = static_cast<double>(model.heads * model.qk_dim()), v = static_cast<double>(model.heads * model.v_dim());
  const double kv = static_cast<double>(model.kv_heads * (model.qk_dim() + model.v_dim()));
  double ffn = static_cast<double>(model.intermediate) * (model.gated_mlp ? 3 : 2), last_ffn = ffn;
  if (model.moe) {  // the mean over the layers, of the experts that a token uses
    const Moe& m = *model.moe;
    const double mixture = static_cast<double>(m.experts_per_token * m.intermediate + m.shared_intermediate) * (model.gated_mlp ? 3 : 2) +
                           static_cast<double>(m.experts);
    double sum = 0;
    for (std::int64_t l = 0; l < model.layers; ++l) sum += model.is_moe_layer(l) ? mixture : ffn;
    ffn = sum / static_cast<double>(model.layers), last_ffn = model.is_moe_layer(model.layers - 1) ? mixture : last_ffn;
  }
  const double attention = h * (q + kv + v) + (q + v) * s * (model.causal ? 0.5 : 1.0), layer = attention + h * ffn;
  const double head = h * static_cast<double>(model.vocab);

  const auto stages = static_cast<std::size_t>(of_stages);
  std::vector<std::int64_t> layers(stages, 0);
  std::vector<double> load(stages, 0);
  // A prediction module: a projection of two hidden states to one, a layer like the last, the head again.
  if (head_after) load.back() += head + static_cast<double>(model.mtp_layers) * (2 * h * h + attention + h * last_ffn + head);
  for (std::size_t i = 0; i < stages && static_cast<std::int64_t>(i) < of_layers; ++i) ++layers[i], load[i] += layer;
  using Entry = std::pair<double, std::size_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> next;
  for (std::size_t i = 0; i < stages; ++i) next.emplace(load[i] + layer, i);
  for (std::int64_t left = of_layers - std::accumulate(layers.begin(), layers.end(), std::int64_t{0}); left > 0; --left) {
    const auto [would, i] = next.top();
    next.pop();
    ++layers[i];
    next.emplace(would + layer, i);
  }
  return layers;
}

}  // namespace

std::vector<std::int64_t> stage_layers(const Model& model, const Plan& plan) {
  if (plan.stages) return *plan.stages;
  if (plan.segments) {  // each balanced in itself
    std::vector<std::int64_t> all;
    for (const SegmentSpec& segment : *plan.segments) {
      const std::vector<std::int64_t> own = balanced(model, plan, plan.parallel_of(segment).pp, segment.layers, &segment == &plan.segments->back());
      all.insert(all.end(), own.begin(), own.end());
    }
    return all;
  }
  return balanced(model, plan, plan.parallel.pp * plan.parallel.vp, model.layers, true);
}

}  // namespace orrery::program
