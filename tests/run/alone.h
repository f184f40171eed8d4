// What one rank alone computes of a model, and the comparison of other layouts with it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "program/memory.h"
#include "run/runs.h"

namespace orrery::executor {

inline constexpr std::int64_t kAdamSteps = 20, kSgdSteps = 5;

inline Plan sgd(Plan p) {
  p.optimizer.kind = "sgd", p.optimizer.lr = 0.2, p.optimizer.clip = 0;
  return p;
}

inline RunOptions poisoned(std::int64_t steps) {
  RunOptions o;
  o.steps = steps;
  o.poison = o.keep_parameters = true;
  return o;
}

struct Alone {
  const Model model;
  const std::unique_ptr<TokenSource> source;
  const RunResult by_adam, by_sgd;

  explicit Alone(Model m)
      : model(std::move(m)),
        source(open_tokens("markov", model.vocab, 16, 1)),
        by_adam(run_layout(model, {}, plan_of({}), *source, poisoned(kAdamSteps))),
        by_sgd(run_layout(model, {}, sgd(plan_of({})), *source, poisoned(kSgdSteps))) {}
};

// Largest difference of two values, as a multiple of 1e-6 + 1e-5 |value|.
inline double worst(const std::map<std::string, std::vector<float>>& a, const std::map<std::string, std::vector<float>>& b) {
  double most = 0;
  EXPECT_EQ(a.size(), b.size());
  for (const auto& [name, x] : a) {
    const std::vector<float>& y = b.at(name);
    EXPECT_EQ(x.size(), y.size()) << name;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double p = x[i], q = y[i], d = std::abs(p - q) / (1e-6 + 1e-5 * std::abs(p));
      most = std::isnan(d) ? 1e30 : std::max(most, d);
    }
  }
  return most;
}

// Losses and gradient norms of 20 steps, parameters after 5 steps of gradient descent, and memory to the byte.
inline void expect_as_alone(const Alone& alone, const Plan& plan, const Cluster& cluster) {
  const program::Program program = program::compile(alone.model, cluster, plan);
  const RunResult r = run(program, alone.model, plan, *alone.source, poisoned(kAdamSteps));
  ASSERT_EQ(r.steps.size(), static_cast<std::size_t>(kAdamSteps));
  for (std::size_t s = 0; s < r.steps.size(); ++s) {
    EXPECT_LE(relative(r.steps[s].loss, alone.by_adam.steps[s].loss), 1e-5) << "step " << s;
    EXPECT_LE(relative(r.steps[s].gradient_norm, alone.by_adam.steps[s].gradient_norm), 1e-5) << "step " << s;
  }
  EXPECT_EQ(r.replica_difference, 0);

  for (std::int64_t rank = 0; rank < program.ranks(); ++rank) {
    const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
    const RankMemory& measured = r.memory[static_cast<std::size_t>(rank)];
    EXPECT_EQ(measured.persistent, predicted.persistent) << "rank " << rank;
    EXPECT_EQ(measured.peak_live, predicted.peak_live) << "rank " << rank;
    EXPECT_EQ(measured.arena, predicted.arena) << "rank " << rank;
  }

  const RunResult plain = run(program::compile(alone.model, cluster, sgd(plan)), alone.model, sgd(plan), *alone.source, poisoned(kSgdSteps));
  EXPECT_LE(worst(alone.by_sgd.parameters, plain.parameters), 1);
  EXPECT_EQ(plain.replica_difference, 0);
}

inline void expect_as_alone(const Alone& alone, const Layout& l) {
  const Plan plan = plan_of(l);
  expect_as_alone(alone, plan, cluster_of(plan, l.dp));
}

}  // namespace orrery::executor
