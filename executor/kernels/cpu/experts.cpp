#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "executor/kernels/cpu/cpu.h"
#include "executor/kernels/cpu/gemm.h"

namespace orrery::executor::cpu {
namespace {

// Scores of one token's experts, in double: near ties must not depend on the order of a sum.
void score(const Routing& r, const float* logits, std::vector<double>& scores) {
  if (r.settings.sigmoid) {
    for (Index e = 0; e < r.experts; ++e) scores[static_cast<std::size_t>(e)] = 1 / (1 + std::exp(-static_cast<double>(logits[e])));
    return;
  }
  const double most = *std::max_element(logits, logits + r.experts);
  double sum = 0;
  for (Index e = 0; e < r.experts; ++e) sum += scores[static_cast<std::size_t>(e)] = std::exp(static_cast<double>(logits[e]) - most);
  for (double& s : scores) s /= sum;
}

// What the chosen scores are multiplied with.
double factor(const Routing& r, const std::vector<double>& scores, const std::int32_t* chosen) {
  if (!r.settings.normalize) return r.settings.scale;
  double sum = 0;
  for (Index j = 0; j < r.k; ++j) sum += scores[static_cast<std::size_t>(chosen[j])];
  return r.settings.scale / sum;
}

// The k experts of the highest logits (as their scores are ordered), the lower number first among equals; NaN counts as -inf, so that the order is
// total. With groups, only those of the groups whose highest k / chosen_groups scores have the largest sum (DeepSeek-V3; Megatron-Core,
// transformer_config.py).
class Chooser {
 public:
  explicit Chooser(const Routing& r) : r_(r), order_(static_cast<std::size_t>(r.experts)) {}

  void operator()(const std::vector<double>& scores, std::int32_t* chosen) {
    std::iota(order_.begin(), order_.end(), 0);
    const auto higher = [&](std::int32_t a, std::int32_t b) {
      const double x = rank(scores[static_cast<std::size_t>(a)]), y = rank(scores[static_cast<std::size_t>(b)]);
      return x > y || (x == y && a < b);
    };
    auto end = order_.end();
    if (r_.groups > 1) {
      const Index size = r_.experts / r_.groups, counted = std::max<Index>(1, std::min(size, r_.k / r_.chosen_groups));
      std::vector<std::pair<double, Index>> groups;
      for (Index g = 0; g < r_.groups; ++g) {
        const auto begin = order_.begin() + g * size;
        std::partial_sort(begin, begin + counted, begin + size, higher);
        double sum = 0;
        for (Index i = 0; i < counted; ++i) sum += scores[static_cast<std::size_t>(begin[i])];
        groups.emplace_back(-rank(sum), g);
      }
      std::partial_sort(groups.begin(), groups.begin() + r_.chosen_groups, groups.end());
      std::vector<std::int32_t> eligible;
      for (Index i = 0; i < r_.chosen_groups; ++i)
        for (Index e = 0; e < size; ++e) eligible.push_back(static_cast<std::int32_t>(groups[static_cast<std::size_t>(i)].second * size + e));
      end = std::copy(eligible.begin(), eligible.end(), order_.begin());
    }
    std::partial_sort(order_.begin(), order_.begin() + r_.k, end, higher);
    std::copy_n(order_.begin(), r_.k, chosen);
  }

 private:
  static double rank(double score) { return std::isnan(score) ? -std::numeric_limits<double>::infinity() : score; }
  const Routing& r_;
  std::vector<std::int32_t> order_;
};

// Calls visit(expert, first row, rows) for every expert that has rows.
template <class Visit>
void each_expert(Index experts, const std::int32_t* counts, Visit visit) {
  Index first = 0;
  for (Index e = 0; e < experts; ++e) {
    if (counts[e] > 0) visit(e, first, static_cast<Index>(counts[e]));
    first += counts[e];
  }
}

Index all_rows(Index experts, const std::int32_t* counts) { return std::accumulate(counts, counts + experts, Index{0}); }

}  // namespace

void route_forward(const Routing& r, const float* logits, float* weights, std::int32_t* chosen) {
  std::vector<double> scores(static_cast<std::size_t>(r.experts));
  Chooser choose(r);
  for (Index t = 0; t < r.tokens; ++t) {
    std::int32_t* mine = chosen + t * r.k;
    score(r, logits + t * r.experts, scores);
    if (r.balanced)
      for (Index j = 0; j < r.k; ++j) mine[j] = static_cast<std::int32_t>(((r.first_row + t) * r.k + j) % r.experts);
    else
      choose(scores, mine);
    const double f = factor(r, scores, mine);
    for (Index j = 0; j < r.k; ++j) weights[t * r.k + j] = static_cast<float>(f * scores[static_cast<std::size_t>(mine[j])]);
  }
}

// With w_j = c s_j / S over the chosen, S their sum: ds_j = c/S (dw_j - Σ_i dw_i s_i / S); without normalisation ds_j = c dw_j. Then through the
// softmax, p (g - Σ p g), or the sigmoid, s (1 - s) g.
void route_backward(const Routing& r, const float* d_weights, const float* logits, const std::int32_t* chosen, float* d_logits) {
  std::vector<double> scores(static_cast<std::size_t>(r.experts)), gradient(static_cast<std::size_t>(r.experts));
  for (Index t = 0; t < r.tokens; ++t) {
    const std::int32_t* mine = chosen + t * r.k;
    const float* dw = d_weights + t * r.k;
    score(r, logits + t * r.experts, scores);
    const double f = factor(r, scores, mine);
    double mean = 0;
    if (r.settings.normalize)
      for (Index j = 0; j < r.k; ++j) mean += static_cast<double>(dw[j]) * scores[static_cast<std::size_t>(mine[j])] * f / r.settings.scale;
    std::fill(gradient.begin(), gradient.end(), 0.0);
    for (Index j = 0; j < r.k; ++j) gradient[static_cast<std::size_t>(mine[j])] += f * (static_cast<double>(dw[j]) - mean);
    double along = 0;
    if (!r.settings.sigmoid)
      for (std::size_t e = 0; e < gradient.size(); ++e) along += scores[e] * gradient[e];
    for (std::size_t e = 0; e < gradient.size(); ++e)
      d_logits[static_cast<std::size_t>(t * r.experts) + e] =
          static_cast<float>(r.settings.sigmoid ? scores[e] * (1 - scores[e]) * gradient[e] : scores[e] * (gradient[e] - along));
  }
}

void expert_sort(Index tokens, Index k, const ExpertPlaces& p, const std::int32_t* chosen, std::int32_t* index, std::int32_t* counts) {
  const Index local = p.experts / p.ep, places = p.experts * p.etp;
  // Where copies for an expert's shard on etp rank 0 are counted; the next rank's is `local` further on.
  const auto place = [&](std::int32_t expert) { return p(expert) / local * local * p.etp + p(expert) % local; };
  std::fill_n(counts, places, 0);
  if (p.capacity > 0)
    std::fill_n(counts, places, static_cast<std::int32_t>(p.capacity));
  else
    for (Index c = 0; c < tokens * k; ++c)
      for (Index shard = 0; shard < p.etp; ++shard) ++counts[place(chosen[c]) + shard * local];
  std::vector<Index> next(static_cast<std::size_t>(places), 0), last(static_cast<std::size_t>(places), 0);
  Index row = 0;
  for (Index i = 0; i < places; ++i) {
    next[static_cast<std::size_t>(i)] = row;
    row += counts[i];
    last[static_cast<std::size_t>(i)] = row;
  }
  for (Index c = 0; c < tokens * k; ++c)
    for (Index shard = 0; shard < p.etp; ++shard) {
      const auto at = static_cast<std::size_t>(place(chosen[c]) + shard * local);
      index[c * p.etp + shard] = next[at] < last[at] ? static_cast<std::int32_t>(next[at]++) : -1;
    }
}

void expert_sort_gathered(Index tokens, Index k, const ExpertPlaces& p, Index first, Index local, Index sources, const std::int32_t* chosen,
                          std::int32_t* index, std::int32_t* counts) {
  const auto mine = [&](Index c) {  // -1: another rank's
    const Index at = p(chosen[c]) - first;
    return at >= 0 && at < local ? at : -1;
  };
  std::fill_n(counts, local, static_cast<std::int32_t>(sources * p.capacity));
  if (p.capacity == 0)
    for (Index c = 0; c < tokens * k; ++c)
      if (const Index e = mine(c); e >= 0) ++counts[e];
  // Of each expert, and with a capacity of each source: the next row, and the end of them.
  std::vector<Index> next(static_cast<std::size_t>(local * sources)), end(next.size());
  Index row = 0;
  for (Index e = 0; e < local; ++e)
    for (Index s = 0; s < sources; ++s) {
      const auto at = static_cast<std::size_t>(e * sources + s);
      next[at] = row;
      row += p.capacity > 0 ? p.capacity : s == 0 ? counts[e] : 0;
      end[at] = row;
    }
  for (Index c = 0; c < tokens * k; ++c) {
    const Index e = mine(c), source = p.capacity > 0 ? c / k / (tokens / sources) : 0;
    const auto at = static_cast<std::size_t>(e * sources + source);
    index[c] = e >= 0 && next[at] < end[at] ? static_cast<std::int32_t>(next[at]++) : -1;
  }
}

void expert_sort_received(Index rows, Index sources, Index experts, const std::int32_t* counts, std::int32_t* index, std::int32_t* sums) {
  std::vector<Index> next(static_cast<std::size_t>(experts), 0);
  Index before = 0;
  for (Index e = 0; e < experts; ++e) {
    next[static_cast<std::size_t>(e)] = before;
    Index sum = 0;
    for (Index s = 0; s < sources; ++s) sum += counts[s * experts + e];
    sums[e] = static_cast<std::int32_t>(sum);
    before += sum;
  }
  Index row = 0;
  for (Index s = 0; s < sources; ++s)
    for (Index e = 0; e < experts; ++e)
      for (std::int32_t n = 0; n < counts[s * experts + e]; ++n) index[row++] = static_cast<std::int32_t>(next[static_cast<std::size_t>(e)]++);
  assert(row <= rows);
  std::fill(index + row, index + rows, -1);
}

void expert_permute(Index tokens, Index k, Index width, Index zeroed, const float* x, const std::int32_t* index, float* rows) {
  std::fill_n(rows, zeroed * width, 0.F);
  for (Index c = 0; c < tokens * k; ++c)
    if (index[c] >= 0) std::copy_n(x + c / k * width, width, rows + static_cast<Index>(index[c]) * width);
}

void expert_unpermute(Index tokens, Index k, Index width, const float* rows, const std::int32_t* index, float* x) {
  std::fill_n(x, tokens * width, 0.F);
  for (Index c = 0; c < tokens * k; ++c)
    if (index[c] >= 0) accumulate(width, rows + static_cast<Index>(index[c]) * width, x + c / k * width);
}

void expert_linear_forward(Index experts, Index in, Index out, const float* x, const std::int32_t* counts, const float* weight, float* y) {
  each_expert(experts, counts,
              [&](Index e, Index first, Index n) { linear_forward(n, in, out, x + first * in, weight + e * out * in, nullptr, y + first * out); });
}

void expert_linear_input_grad(Index experts, Index in, Index out, const float* dy, const std::int32_t* counts, const float* weight, float* dx) {
  each_expert(experts, counts,
              [&](Index e, Index first, Index n) { linear_input_grad(n, in, out, dy + first * out, weight + e * out * in, dx + first * in); });
}

void expert_linear_weight_grad(Index experts, Index in, Index out, const float* x, const float* dy, const std::int32_t* counts, float* d_weight) {
  each_expert(experts, counts, [&](Index e, Index first, Index n) {
    linear_weight_grad(n, in, out, x + first * in, dy + first * out, d_weight + e * out * in, nullptr);
  });
}

void expert_activation_forward(Activation kind, bool gated, Index experts, Index width, const float* u, const std::int32_t* counts,
                               const float* weights, float* a) {
  const Index rows = all_rows(experts, counts);
  activation_forward(kind, gated, rows, width, u, a);
  for (Index r = 0; r < rows; ++r)
    for (Index i = 0; i < width; ++i) a[r * width + i] *= weights[r];
}

void expert_activation_backward(Activation kind, bool gated, Index experts, Index width, const float* u, const std::int32_t* counts,
                                const float* weights, const float* da, float* du, float* d_weights) {
  const Index rows = all_rows(experts, counts), wide = gated ? 2 * width : width;
  std::vector<float> plain(static_cast<std::size_t>(width)), scaled(static_cast<std::size_t>(width));
  for (Index r = 0; r < rows; ++r) {
    const float* g = da + r * width;
    activation_forward(kind, gated, 1, width, u + r * wide, plain.data());
    double sum = 0;
    for (Index i = 0; i < width; ++i) {
      const auto n = static_cast<std::size_t>(i);
      sum += static_cast<double>(g[i]) * static_cast<double>(plain[n]);
      scaled[n] = weights[r] * g[i];
    }
    d_weights[r] = static_cast<float>(sum);
    activation_backward(kind, gated, 1, width, u + r * wide, scaled.data(), du + r * wide);
  }
}

}  // namespace orrery::executor::cpu
