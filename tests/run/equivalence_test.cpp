// Same program, two machines: whatever the layout, a run computes what one rank alone computes, in the memory that was predicted.
#include "run/alone.h"

namespace orrery::executor {
namespace {

const Alone& llama() {
  static const Alone c(tiny_llama());
  return c;
}
const Alone& gpt2() {
  static const Alone c(tiny_gpt2());
  return c;
}
const Alone& opt() {
  static const Alone c(tiny_opt());
  return c;
}
const Alone& stretched() {
  static const Alone c(tiny_stretched());
  return c;
}
const Alone& tied_llama() {
  static const Alone c([] {
    Model m = tiny_llama();
    m.tie_embeddings = true;
    return m;
  }());
  return c;
}

const Alone& latent() {
  static const Alone c(tiny_latent(12));
  return c;
}
const Alone& latent_keys() {
  static const Alone c(tiny_latent(0));
  return c;
}

const Alone& mixture() {
  static const Alone c(tiny_mixture());
  return c;
}
const Alone& deepseek() {
  static const Alone c(tiny_deepseek());
  return c;
}

std::vector<Layout> all_layouts() {
  std::vector<Layout> out;
  for (const std::int64_t dp : {1, 2, 4})
    for (const std::int64_t tp : {1, 2, 4})
      for (const std::int64_t pp : {1, 2, 4})
        for (const bool sp : {false, true})
          for (const char* schedule : {"1f1b", "gpipe"})
            for (const std::int64_t zero : {0, 1})
              for (const bool recompute : {false, true})
                if (dp * tp * pp <= 8 && (tp > 1 || !sp)) out.push_back({dp, tp, pp, sp, schedule, zero, recompute, 1, true});
  return out;
}

// What does not vary above: micro-batches of two sequences, nothing overlapped.
std::vector<Layout> some_layouts() {
  return {{1, 1, 1, false, "1f1b", 0, true, 2, false}, {2, 1, 2, false, "1f1b", 1, false, 2, true},  {2, 1, 2, false, "gpipe", 0, true, 1, false},
          {1, 2, 2, true, "1f1b", 0, false, 2, false}, {2, 2, 2, true, "1f1b", 1, true, 2, false},   {2, 2, 2, false, "gpipe", 1, false, 1, true},
          {1, 1, 4, false, "1f1b", 0, true, 1, true},  {4, 2, 1, true, "1f1b", 1, false, 1, false},  {2, 4, 1, true, "gpipe", 1, true, 1, true},
          {1, 4, 2, false, "1f1b", 1, false, 2, true}, {2, 1, 4, false, "1f1b", 1, false, 1, false}, {4, 1, 2, false, "gpipe", 1, true, 1, true}};
}

// Schedules of several chunks per rank, and of split backward passes, with the other dimensions. The models have four layers.
std::vector<Layout> scheduled_layouts() {
  std::vector<Layout> out;
  const std::pair<const char*, std::int64_t> schedules[]{{"interleaved", 2}, {"looped-bfs", 2}, {"circular", 2}, {"zb-h1", 1},
                                                         {"zb-h2", 1},       {"zb-auto", 1},    {"zbv", 2},      {"v-half", 2},
                                                         {"v-min", 2},       {"dualpipe", 1},   {"dualpipev", 2}};
  for (const auto& [schedule, vp] : schedules) {
    out.push_back({1, 1, 2, false, schedule, 0, false, 1, true, vp});
    out.push_back({1, 2, 2, true, schedule, 0, true, 1, true, vp});
    out.push_back({2, 1, 2, false, schedule, 1, true, 1, false, vp});
    out.push_back({2, 2, 2, true, schedule, 1, false, 1, true, vp});
  }
  out.push_back({1, 1, 4, false, "dualpipe"});
  return out;
}

// What layers of unlike structure must be tried under: tensor and sequence parallelism, whole and split backward passes, recomputation.
std::vector<Layout> layer_layouts() {
  return {{1, 2, 1, false, "1f1b", 0, false, 2, true},  {1, 4, 1, true, "1f1b", 0, true, 1, true},
          {2, 2, 1, true, "1f1b", 1, false, 1, true},   {1, 2, 2, true, "zb-h1", 0, true, 1, true},
          {1, 2, 2, false, "zb-h2", 0, false, 1, true}, {2, 1, 2, false, "interleaved", 1, true, 1, false, 2}};
}

// Kinds of data parallelism, with the other dimensions and schedules. `data` as in plan_of.
std::vector<Layout> sharded_layouts() {
  const auto with = [](std::int64_t dp, std::int64_t tp, std::int64_t pp, const char* schedule, std::int64_t zero, const char* data,
                       std::int64_t vp = 1, bool recompute = false, bool overlap = true) {
    Layout l{dp, tp, pp, tp > 1, schedule, zero, recompute, 1, overlap, vp};
    l.data = data;
    return l;
  };
  return {with(2, 1, 1, "1f1b", 2, ""),
          with(4, 1, 1, "1f1b", 2, "once_units"),
          with(2, 2, 2, "1f1b", 2, "", 1, true),
          with(2, 1, 2, "zb-h1", 2, ""),
          with(2, 1, 2, "zbv", 2, "once", 2, false, false),
          with(2, 1, 1, "1f1b", 3, "units"),
          with(4, 1, 1, "1f1b", 3, "ahead_limited", 1, true),
          with(4, 1, 1, "1f1b", 3, "kept_once_units"),
          with(2, 2, 1, "1f1b", 3, "units", 1, true, false),
          with(2, 2, 2, "gpipe", 3, "kept"),
          with(2, 1, 2, "interleaved", 3, "", 2, true),
          with(2, 2, 2, "zb-h1", 3, "units_limited"),
          with(2, 1, 2, "zbv", 3, "kept_once", 2),
          with(2, 1, 2, "v-half", 3, "outside", 2, true),
          with(2, 1, 2, "dualpipe", 2, ""),
          with(2, 1, 2, "dualpipe", 3, "kept_once"),
          with(2, 1, 2, "dualpipev", 3, "units", 2, true),
          with(4, 1, 1, "1f1b", 1, "replicas"),
          with(4, 1, 2, "1f1b", 2, "replicas"),
          with(4, 2, 1, "1f1b", 3, "replicas_units"),
          with(4, 1, 2, "zb-h2", 3, "replicas_kept_once"),
          with(2, 1, 2, "1f1b", 3, "replicas"),
          with(4, 1, 1, "1f1b", 0, "levels"),
          with(2, 2, 1, "1f1b", 0, "horovod"),
          with(2, 1, 2, "1f1b", 0, "horovod_cycle"),
          with(4, 1, 1, "1f1b", 0, "servers"),
          with(2, 2, 2, "1f1b", 0, "priority"),
          with(2, 1, 1, "1f1b", 0, "priority", 1, false, false)};
}

class Equivalence : public testing::TestWithParam<Layout> {};
TEST_P(Equivalence, ComputesWhatOneRankAloneComputes) { expect_as_alone(llama(), GetParam()); }

class OtherModels : public testing::TestWithParam<Layout> {};
TEST_P(OtherModels, Gpt2) { expect_as_alone(gpt2(), GetParam()); }
TEST_P(OtherModels, Opt) { expect_as_alone(opt(), GetParam()); }
TEST_P(OtherModels, StretchedAndPartlyRotatedLlama) { expect_as_alone(stretched(), GetParam()); }
TEST_P(OtherModels, LlamaWithATiedTable) { expect_as_alone(tied_llama(), GetParam()); }
TEST_P(OtherModels, Llama) { expect_as_alone(llama(), GetParam()); }

class Latent : public testing::TestWithParam<Layout> {};
TEST_P(Latent, QueriesAndKeys) { expect_as_alone(latent(), GetParam()); }
TEST_P(Latent, KeysAlone) { expect_as_alone(latent_keys(), GetParam()); }

std::vector<Layout> expert_layouts() {
  return {{.pp = 2, .micro = 2},
          {.pp = 2, .schedule = "zb-h1", .recompute = true},
          {.tp = 2, .sp = true, .recompute = true},
          {.dp = 2, .ep = 2},
          {.dp = 2, .zero = 2, .ep = 1},
          {.dp = 4, .zero = 1, .ep = 2},
          {.dp = 2, .tp = 2, .sp = true, .ep = 4},
          {.dp = 2, .tp = 2, .sp = true, .zero = 3, .ep = 2},
          {.dp = 2, .tp = 2, .sp = true, .recompute = true, .overlap = false, .ep = 2},
          {.dp = 2, .tp = 2, .sp = true, .ep = 2, .etp = 2},
          {.dp = 2, .pp = 2, .schedule = "zbv", .vp = 2, .ep = 2},
          {.dp = 2, .tp = 2, .pp = 2, .sp = true, .schedule = "zb-h1", .recompute = true, .etp = 2},
          {.pp = 2, .schedule = "dualpipe"},
          {.dp = 2, .pp = 2, .schedule = "dualpipev", .vp = 2, .ep = 2},
          {.dp = 2, .pp = 2, .schedule = "dualpipe", .recompute = true, .ep = 2},
          {.dp = 2, .recompute = true, .data = "gathered", .ep = 2},
          {.dp = 2, .tp = 2, .sp = true, .data = "gathered_robin", .ep = 2, .etp = 2},
          {.dp = 2, .pp = 2, .schedule = "zb-h1", .data = "gathered", .ep = 2},
          {.dp = 2, .tp = 2, .sp = true, .zero = 1, .data = "robin", .ep = 4}};
}

class Experts : public testing::TestWithParam<Layout> {};
TEST_P(Experts, Mixture) { expect_as_alone(mixture(), GetParam()); }
TEST_P(Experts, DeepSeek) { expect_as_alone(deepseek(), GetParam()); }

TEST(Angles, OfTheModelAreThoseThatRun) {
  Model plain = tiny_stretched();
  plain.rope_scaling = {};
  const RunResult r = run_layout(plain, {}, plan_of({}), *stretched().source, poisoned(kAdamSteps));
  EXPECT_NE(r.steps.back().loss, stretched().by_adam.steps.back().loss);  // one program run twice gives the same bits
}

const auto kName = [](const testing::TestParamInfo<Layout>& info) { return name(info.param); };
INSTANTIATE_TEST_SUITE_P(All, Equivalence, testing::ValuesIn(all_layouts()), kName);
INSTANTIATE_TEST_SUITE_P(Scheduled, OtherModels, testing::ValuesIn(scheduled_layouts()), kName);
INSTANTIATE_TEST_SUITE_P(Layers, Latent, testing::ValuesIn(layer_layouts()), kName);
INSTANTIATE_TEST_SUITE_P(Sharded, OtherModels, testing::ValuesIn(sharded_layouts()), kName);
INSTANTIATE_TEST_SUITE_P(Experts, Experts, testing::ValuesIn(expert_layouts()), kName);
INSTANTIATE_TEST_SUITE_P(Some, OtherModels, testing::ValuesIn(some_layouts()), kName);

}  // namespace
}  // namespace orrery::executor
