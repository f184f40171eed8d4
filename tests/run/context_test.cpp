// Ranks that share sequences, and passes over parts of them, compute what one rank computes of whole sequences, in the memory that was predicted.
#include <gtest/gtest.h>

#include <map>

#include "program/memory.h"
#include "run/runs.h"

namespace orrery::executor {
namespace {

constexpr std::int64_t kSteps = 12;

struct Shared {
  std::int64_t cp = 1;
  std::string kind = "allgather";
  std::int64_t inner = 1;  // of a2a+p2p
  Layout rest{};
  bool balanced = true;
  std::int64_t splits = 1;
  bool overlaps_tp = false;
};

std::string name(const Shared& s) {
  std::string kind = s.kind;
  std::replace(kind.begin(), kind.end(), '+', '_');
  if (s.splits > 1 && s.cp == 1) return fmt::format("splits{}_{}", s.splits, name(s.rest));
  if (s.splits > 1) return fmt::format("splits{}_cp{}_{}{}_{}", s.splits, s.cp, kind, s.balanced ? "" : "_contiguous", name(s.rest));
  return fmt::format("cp{}_{}{}{}_{}", s.cp, kind, s.kind == "a2a+p2p" ? std::to_string(s.inner) : "", s.balanced ? "" : "_contiguous",
                     name(s.rest)) +
         (s.overlaps_tp ? "_overlapped" : "");
}

Plan plan(const Shared& s, bool adam = true) {
  Plan p = plan_of(s.rest);
  p.parallel.cp = s.cp, p.parallel.cp_kind = s.kind, p.parallel.cp_balanced = s.balanced;
  if (s.kind == "a2a+p2p") p.parallel.cp_inner = s.inner;
  if (s.splits > 1) p.schedule_args.splits = s.splits;
  p.overlap.tp = s.overlaps_tp;
  if (!adam) p.optimizer.kind = "sgd", p.optimizer.lr = 0.2, p.optimizer.clip = 0;
  return p;
}

RunOptions options() {
  RunOptions o;
  o.steps = kSteps;
  o.poison = o.keep_parameters = true;
  return o;
}

struct Alone {
  const Model model;
  const std::unique_ptr<TokenSource> source;
  const RunResult adam, sgd;

  explicit Alone(Model m)
      : model(std::move(m)),
        source(open_tokens("markov", model.vocab, 16, 1)),
        adam(run_layout(model, {}, plan({}), *source, options())),
        sgd(run_layout(model, {}, plan({}, false), *source, options())) {}
};
const Alone& llama() {
  static const Alone a(tiny_llama());
  return a;
}
const Alone& opt() {
  static const Alone a(tiny_opt());
  return a;
}
const Alone& latent() {
  static const Alone a(tiny_latent(12));
  return a;
}
const Alone& both_ways() {
  static const Alone a([] {
    Model m = tiny_gpt2();
    m.causal = false;
    return m;
  }());
  return a;
}

// Largest difference of two values, as a multiple of 1e-6 + 1e-5 |value|.
double worst(const RunResult& a, const RunResult& b) {
  double most = 0;
  EXPECT_EQ(a.parameters.size(), b.parameters.size());
  for (const auto& [name, x] : a.parameters) {
    const std::vector<float>& y = b.parameters.at(name);
    EXPECT_EQ(x.size(), y.size()) << name;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double p = x[i], q = y[i], d = std::abs(p - q) / (1e-6 + 1e-5 * std::abs(p));
      most = std::isnan(d) ? 1e30 : std::max(most, d);
    }
  }
  return most;
}

void expect_as_alone(const Alone& alone, const Shared& s) {
  const Plan p = plan(s);
  const program::Program program = compiled(alone.model, p, s.rest.dp);
  const RunResult r = run(program, alone.model, p, *alone.source, options());
  ASSERT_EQ(r.steps.size(), static_cast<std::size_t>(kSteps));
  for (std::size_t i = 0; i < r.steps.size(); ++i) {
    EXPECT_LE(relative(r.steps[i].loss, alone.adam.steps[i].loss), 1e-5) << "step " << i;
    EXPECT_LE(relative(r.steps[i].gradient_norm, alone.adam.steps[i].gradient_norm), 1e-5) << "step " << i;
  }
  EXPECT_EQ(r.replica_difference, 0);
  for (std::int64_t rank = 0; rank < program.mesh.ranks(); ++rank) {
    const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
    const RankMemory& measured = r.memory[static_cast<std::size_t>(rank)];
    EXPECT_EQ(measured.persistent, predicted.persistent) << "rank " << rank;
    EXPECT_EQ(measured.peak_live, predicted.peak_live) << "rank " << rank;
    EXPECT_EQ(measured.arena, predicted.arena) << "rank " << rank;
  }
  const RunResult plain = run_layout(alone.model, s.rest, plan(s, false), *alone.source, options());
  EXPECT_LE(worst(alone.sgd, plain), 1);
}

// Of the tiny models' 8 query and 4 key heads and 16 positions; `rest` varies what else a plan combines.
std::vector<Shared> contexts() {
  std::vector<Shared> out;
  const Layout plain{}, sharded{2, 1, 1, false, "1f1b", 1, false, 2, true, 1}, pipelined{1, 2, 2, true, "1f1b", 0, true, 1, true, 1},
      split{1, 1, 2, false, "zb-h1", 0, false, 1, true, 1}, zbv{1, 2, 2, true, "zbv", 0, true, 1, true, 2};
  for (const auto& [cp, kind, inner] : {std::tuple{2, "allgather", 1},
                                        {4, "allgather", 1},
                                        {2, "p2p", 1},
                                        {4, "p2p", 1},
                                        {2, "a2a", 1},
                                        {4, "a2a", 1},
                                        {8, "a2a", 1},
                                        {4, "a2a+p2p", 2}})
    out.push_back({cp, kind, inner, plain});
  for (const auto& [kind, inner] : {std::pair{"allgather", 1}, {"p2p", 1}, {"a2a", 1}})
    for (const Layout& rest : {sharded, pipelined, split, zbv}) out.push_back({2, kind, inner, rest});
  out.push_back({4, "a2a+p2p", 2, pipelined});
  out.push_back({8, "a2a+p2p", 4, plain});
  for (const char* kind : {"allgather", "p2p"}) out.push_back({4, kind, 1, plain, false});
  out.push_back({4, "a2a+p2p", 2, pipelined, false});
  return out;
}

std::vector<Shared> split_sequences() {
  std::vector<Shared> out;
  for (const auto& [splits, rest] : {std::pair{2, Layout{1, 1, 1, false, "seq1f1b"}},
                                     {4, Layout{1, 1, 2, false, "seq1f1b", 0, false, 2}},
                                     {4, Layout{1, 1, 4, false, "seq1f1b"}},
                                     {2, Layout{2, 2, 2, true, "seq1f1b", 1, false, 1}},
                                     {2, Layout{1, 2, 2, true, "seq1f1b", 0, true, 2, false}},
                                     {8, Layout{1, 1, 2, false, "seq1f1b", 0, true, 1}}}) {
    Shared s;
    s.rest = rest, s.splits = splits;
    out.push_back(s);
  }
  for (const auto& [cp, kind, balanced] : {std::tuple{2, "allgather", true}, {2, "allgather", false}, {2, "a2a", true}})
    out.push_back({cp, kind, 1, Layout{1, 2, 2, true, "seq1f1b"}, balanced, 2});
  return out;
}

// With tensor-parallel collectives taken apart. The hidden width is 32: four parts of eight columns.
std::vector<Shared> overlapped() {
  std::vector<Shared> out;
  for (const auto& [cp, rest] : {std::pair{1, Layout{1, 2, 1, true}},
                                 {1, Layout{2, 4, 1, true, "1f1b", 1, true, 2}},
                                 {1, Layout{1, 4, 2, true, "zb-h1"}},
                                 {1, Layout{1, 2, 2, true, "dualpipev", 0, false, 1, true, 2}},
                                 {2, Layout{1, 2, 2, true, "zbv", 0, true, 1, true, 2}}})
    out.push_back({cp, "p2p", 1, rest, true, 1, true});
  return out;
}

class Contexts : public testing::TestWithParam<Shared> {};
TEST_P(Contexts, ComputeWhatOneRankAloneComputes) { expect_as_alone(llama(), GetParam()); }
class Models : public testing::TestWithParam<Shared> {};
TEST_P(Models, WithLearnedPositionsThatBeginLate) { expect_as_alone(opt(), GetParam()); }
TEST_P(Models, WithLatentAttention) { expect_as_alone(latent(), GetParam()); }
TEST_P(Models, ThatAttendForwardsToo) {
  if (GetParam().splits == 1) expect_as_alone(both_ways(), GetParam());
}
class Splits : public testing::TestWithParam<Shared> {};
TEST_P(Splits, ComputeWhatWholeSequencesCompute) { expect_as_alone(llama(), GetParam()); }

const auto kName = [](const testing::TestParamInfo<Shared>& info) { return name(info.param); };
INSTANTIATE_TEST_SUITE_P(All, Contexts, testing::ValuesIn(contexts()), kName);
INSTANTIATE_TEST_SUITE_P(Overlapped, Contexts, testing::ValuesIn(overlapped()), kName);
INSTANTIATE_TEST_SUITE_P(All, Splits, testing::ValuesIn(split_sequences()), kName);
INSTANTIATE_TEST_SUITE_P(Some, Models,
                         testing::ValuesIn(std::vector<Shared>{{4, "allgather", 1, Layout{1, 2, 1, true}},
                                                               {4, "p2p", 1, Layout{}},
                                                               {4, "a2a", 1, Layout{}},
                                                               {4, "a2a+p2p", 2, Layout{1, 2, 1, true}},
                                                               {1, "allgather", 1, Layout{1, 1, 2, false, "seq1f1b"}, true, 4}}),
                         kName);

}  // namespace
}  // namespace orrery::executor
