// The whole executor learns what there is to learn: on generated text, the loss comes down to the text's own entropy and no further.
#include <gtest/gtest.h>

#include "run/runs.h"

namespace orrery::executor {
namespace {

TEST(Learning, ComesWithinFivePercentOfTheEntropyRate) {
  Model m = tiny_llama();
  m.layers = 2, m.hidden = 64, m.intermediate = 128, m.heads = m.kv_heads = 4, m.head_dim = 16, m.vocab = 256;
  const Layout l{.dp = 2, .zero = 1, .micro = 16};
  Plan p = plan_of(l, 32, 64);
  p.optimizer.lr = 5e-3, p.optimizer.betas = {0.9, 0.99}, p.optimizer.weight_decay = 0;
  const auto source = open_tokens("markov", m.vocab, 64, p.seed);
  RunOptions o;
  o.steps = 340;
  const RunResult r = run_layout(m, l, p, *source, o);
  // The first token of each window of 64 has no context of two, which costs about 1 %. Mean of 20 steps: 40960 tokens, ± 0.4 %.
  double mean = 0;
  for (std::size_t i = r.steps.size() - 20; i < r.steps.size(); ++i) mean += r.steps[i].loss / 20;
  EXPECT_LE(mean, 1.05 * *source->entropy_rate());
  EXPECT_GE(mean, 0.98 * *source->entropy_rate());
}

}  // namespace
}  // namespace orrery::executor
