// Multi-token prediction: the loss and its gradient are those of a second implementation, written from DeepSeek-V3's formulas (arXiv 2412.19437, 2.2)
// in double precision, and other layouts compute what one rank does.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <numeric>

#include "run/alone.h"

namespace orrery::executor {
namespace {

Model predicting(Model m, std::int64_t modules, bool shared = false) {
  m.name += "-mtp";
  m.mtp_layers = modules, m.mtp_shared = shared;
  return m;
}

using Parameters = std::map<std::string, std::vector<double>>;
using Matrix = std::vector<std::vector<double>>;  // by row

// What a model of tiny_llama's shape loses on some windows, by the definitions.
class Reference {
 public:
  Reference(const Model& model, const Parameters& parameters, double weight) : m_(model), p_(parameters), weight_(weight) {}

  // Nats per token; L = L_main + λ/D Σ L_k, L_k = −1/T Σ log P(t_{i+k+1}), of which the last k of T positions have none.
  double loss(const std::vector<std::vector<std::int32_t>>& windows) const {
    double sum = 0, tokens = 0;
    for (const std::vector<std::int32_t>& window : windows) {
      const std::size_t length = window.size() - 1;
      Matrix h = embed(window, 0, length);
      for (std::int64_t l = 0; l < m_.layers; ++l) layer(l, h);
      h = norm(h, "final_norm");
      sum += lost(h, window, 1);
      for (std::int64_t k = 1; k <= m_.mtp_layers; ++k) {
        const std::int64_t number = m_.mtp_shared ? m_.layers : m_.layers + k - 1;
        const auto named = [&](const char* what) { return "layers." + std::to_string(number) + ".mtp." + what; };
        const auto ahead = static_cast<std::size_t>(k);
        h.resize(length - ahead);  // those with a target
        const Matrix e = norm(embed(window, ahead, length - ahead), named("embedding_norm"));
        h = norm(h, named("hidden_norm"));
        for (std::size_t i = 0; i < h.size(); ++i) {
          std::vector<double> joined = e[i];
          joined.insert(joined.end(), h[i].begin(), h[i].end());
          h[i] = times(named("projection"), joined);
        }
        layer(number, h);
        h = norm(h, named("final_norm"));
        sum += weight_ / static_cast<double>(m_.mtp_layers) * lost(h, window, ahead + 1);
      }
      tokens += static_cast<double>(length);
    }
    return sum / tokens;
  }

 private:
  const std::vector<double>& parameter(const std::string& name) const { return p_.at(name); }
  std::vector<double> times(const std::string& name, const std::vector<double>& x) const {
    const std::vector<double>& w = parameter(name);
    std::vector<double> y(w.size() / x.size(), 0);
    for (std::size_t o = 0; o < y.size(); ++o)
      y[o] = std::inner_product(x.begin(), x.end(), w.begin() + static_cast<std::ptrdiff_t>(o * x.size()), 0.0);
    return y;
  }
  Matrix embed(const std::vector<std::int32_t>& window, std::size_t first, std::size_t count) const {
    const std::vector<double>& table = parameter("embedding.table");
    Matrix out;
    for (std::size_t i = 0; i < count; ++i) {
      const auto row = table.begin() + static_cast<std::ptrdiff_t>(window[first + i]) * m_.hidden;
      out.emplace_back(row, row + m_.hidden);
    }
    return out;
  }
  Matrix norm(Matrix x, const std::string& name) const {
    const std::vector<double>& gain = parameter(name);
    for (std::vector<double>& row : x) {
      const double scale =
          1 / std::sqrt(std::inner_product(row.begin(), row.end(), row.begin(), 0.0) / static_cast<double>(row.size()) + m_.norm_epsilon);
      for (std::size_t i = 0; i < row.size(); ++i) row[i] *= scale * gain[i];
    }
    return x;
  }
  void turn(double* head, std::size_t position) const {
    const std::int64_t half = m_.head_dim / 2;
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * std::pow(m_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(m_.head_dim));
      const double a = head[i], b = head[i + half];
      head[i] = a * std::cos(angle) - b * std::sin(angle), head[i + half] = a * std::sin(angle) + b * std::cos(angle);
    }
  }
  void layer(std::int64_t number, Matrix& x) const {
    const std::string name = "layers." + std::to_string(number) + ".";
    const auto width = static_cast<std::size_t>(m_.head_dim), heads = static_cast<std::size_t>(m_.heads),
               shared = heads / static_cast<std::size_t>(m_.kv_heads);
    const Matrix in = norm(x, name + "attention.norm");
    Matrix q, k, v;
    for (std::size_t i = 0; i < x.size(); ++i) {
      q.push_back(times(name + "attention.q", in[i])), k.push_back(times(name + "attention.k", in[i])),
          v.push_back(times(name + "attention.v", in[i]));
      for (std::size_t h = 0; h < heads; ++h) turn(q[i].data() + h * width, i);
      for (std::size_t h = 0; h < heads / shared; ++h) turn(k[i].data() + h * width, i);
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      std::vector<double> attended(heads * width, 0);
      for (std::size_t h = 0; h < heads; ++h) {
        std::vector<double> score;
        double total = 0;
        for (std::size_t j = 0; j <= i; ++j) {
          double s = 0;
          for (std::size_t n = 0; n < width; ++n) s += q[i][h * width + n] * k[j][h / shared * width + n];
          score.push_back(std::exp(s / std::sqrt(static_cast<double>(width))));
          total += score.back();
        }
        for (std::size_t j = 0; j <= i; ++j)
          for (std::size_t n = 0; n < width; ++n) attended[h * width + n] += score[j] / total * v[j][h / shared * width + n];
      }
      const std::vector<double> out = times(name + "attention.out", attended);
      std::transform(out.begin(), out.end(), x[i].begin(), x[i].begin(), std::plus<>());
    }
    const Matrix normed = norm(x, name + "mlp.norm");
    for (std::size_t i = 0; i < x.size(); ++i) {
      std::vector<double> gate = times(name + "mlp.gate", normed[i]);
      const std::vector<double> up = times(name + "mlp.up", normed[i]);
      for (std::size_t n = 0; n < gate.size(); ++n) gate[n] *= up[n] / (1 + std::exp(-gate[n]));
      const std::vector<double> out = times(name + "mlp.down", gate);
      std::transform(out.begin(), out.end(), x[i].begin(), x[i].begin(), std::plus<>());
    }
  }
  // Of row i the token `ahead` places further on.
  double lost(const Matrix& h, const std::vector<std::int32_t>& window, std::size_t ahead) const {
    double sum = 0;
    for (std::size_t i = 0; i < h.size(); ++i) {
      const std::vector<double> logits = times(m_.tie_embeddings ? "embedding.table" : "head", h[i]);
      double total = 0;
      for (const double logit : logits) total += std::exp(logit);
      sum += std::log(total) - logits[static_cast<std::size_t>(window[i + ahead])];
    }
    return sum;
  }

  const Model& m_;
  const Parameters& p_;
  double weight_;
};

// One step of gradient descent on two windows; its parameters before and after say the gradient.
void expect_loss_and_gradient_of_the_reference(Model model) {
  model.layers = 2, model.vocab = 24;
  const auto source = open_tokens("markov", model.vocab, 8, 1);
  Plan plan = plan_of({}, 2, 8);
  plan.mtp.weight = 0.7;
  plan.optimizer.kind = "sgd", plan.optimizer.clip = 0, plan.optimizer.weight_decay = 0;
  const auto run_once = [&](double lr) {
    plan.optimizer.lr = lr;
    return run_layout(model, {}, plan, *source, poisoned(1));
  };
  const double lr = 64;
  const RunResult before = run_once(0), after = run_once(lr);
  Parameters parameters;
  for (const auto& [name, values] : before.parameters) parameters[name].assign(values.begin(), values.end());
  std::vector<std::vector<std::int32_t>> windows(2, std::vector<std::int32_t>(9));
  for (std::size_t i = 0; i < windows.size(); ++i) source->window(static_cast<std::int64_t>(i), windows[i]);
  const Reference reference(model, parameters, plan.mtp.weight);
  EXPECT_NEAR(before.steps[0].loss, reference.loss(windows), 1e-6 * before.steps[0].loss);

  double squared = 0;
  for (auto& [name, values] : parameters) {
    const std::vector<float>& now = after.parameters.at(name);
    double largest = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double g = (values[i] - static_cast<double>(now[i])) / lr;
      squared += g * g, largest = std::max(largest, std::abs(g));
    }
    EXPECT_GT(largest, 0) << name;
    for (std::size_t n = 0; n < 3; ++n) {  // central differences with a step of 1e-5: off by 1e-10 of the third derivative, and rounding
      const std::size_t i = (n * 7919 + 13) % values.size();
      const double x = values[i];
      values[i] = x + 1e-5;
      const double above = reference.loss(windows);
      values[i] = x - 1e-5;
      const double derivative = (above - reference.loss(windows)) / 2e-5;
      values[i] = x;
      EXPECT_NEAR((x - static_cast<double>(now[i])) / lr, derivative, 1e-4 * largest + 1e-6 * std::abs(x)) << name << " " << i;
    }
  }
  EXPECT_NEAR(std::sqrt(squared), before.steps[0].gradient_norm, 1e-3 * before.steps[0].gradient_norm);
}

TEST(Prediction, HasTheLossAndTheGradientOfASecondImplementation) {
  expect_loss_and_gradient_of_the_reference(predicting(tiny_llama(), 1));
  expect_loss_and_gradient_of_the_reference(predicting(tiny_llama(), 2));
  expect_loss_and_gradient_of_the_reference(predicting(tiny_llama(), 2, true));
  Model tied = predicting(tiny_llama(), 1);
  tied.tie_embeddings = true;
  expect_loss_and_gradient_of_the_reference(tied);
}

const Alone& llama() {
  static const Alone a(predicting(tiny_llama(), 2));
  return a;
}
const Alone& tied() {
  static const Alone a([] {
    Model m = predicting(tiny_latent(12), 2, true);
    m.tie_embeddings = true;
    return m;
  }());
  return a;
}
const Alone& deepseek() {
  static const Alone a(predicting(tiny_deepseek(), 1));
  return a;
}

class Prediction : public testing::TestWithParam<Layout> {};
TEST_P(Prediction, OfAnyLayoutIsThatOfOneRank) { expect_as_alone(llama(), GetParam()); }
TEST_P(Prediction, WithATiedTableAndLatentAttentionIsThatOfOneRank) { expect_as_alone(tied(), GetParam()); }
class PredictionOfMixtures : public testing::TestWithParam<Layout> {};
TEST_P(PredictionOfMixtures, OfAnyLayoutIsThatOfOneRank) { expect_as_alone(deepseek(), GetParam()); }

std::vector<Layout> layouts() {
  Layout kept{.dp = 2, .pp = 2, .schedule = "zb-h1", .zero = 3};
  kept.data = "kept_once_units";
  return {{.tp = 2, .micro = 2},
          {.tp = 2, .sp = true, .recompute = true},
          {.dp = 2, .pp = 2, .zero = 1},
          {.tp = 2, .pp = 2, .sp = true, .schedule = "zb-h2", .recompute = true},
          {.pp = 2, .schedule = "interleaved", .vp = 2},
          {.dp = 2, .pp = 2, .schedule = "zbv", .zero = 2, .vp = 2},
          {.tp = 2, .pp = 2, .sp = true, .schedule = "dualpipe"},
          {.dp = 2, .pp = 2, .schedule = "dualpipev", .zero = 3, .recompute = true, .vp = 2},
          kept,
          {.tp = 2, .sp = true, .cp = 2, .cp_kind = "a2a"},
          {.pp = 2, .schedule = "seq1f1b", .splits = 2}};
}
std::vector<Layout> layouts_of_mixtures() {
  return {{.dp = 2, .pp = 2, .schedule = "dualpipe", .ep = 2},
          {.dp = 2, .tp = 2, .pp = 2, .sp = true, .schedule = "zb-h1", .recompute = true, .ep = 2},
          {.dp = 4, .zero = 1, .ep = 4}};
}
const auto kName = [](const testing::TestParamInfo<Layout>& info) { return name(info.param); };
INSTANTIATE_TEST_SUITE_P(Layouts, Prediction, testing::ValuesIn(layouts()), kName);
INSTANTIATE_TEST_SUITE_P(Layouts, PredictionOfMixtures, testing::ValuesIn(layouts_of_mixtures()), kName);

}  // namespace
}  // namespace orrery::executor
