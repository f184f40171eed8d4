// Segments of unlike meshes: one pipeline through all of them computes what one rank alone computes.
#include "run/alone.h"
#include "support/segmented_plans.h"

namespace orrery::executor {
namespace {

using test::Split;

struct Segmented {
  std::vector<Split> splits;
  std::string schedule = "1f1b";
  std::int64_t micro = 1;
  std::int64_t zero = 0;
  bool overlap = true;
};

std::string name(const Segmented& s) {
  std::string out = s.schedule;
  for (const Split& split : s.splits) out += "__" + test::name(split);
  if (s.micro > 1) out += fmt::format("__micro{}", s.micro);
  out += s.zero > 0 ? fmt::format("__zero{}", s.zero) : "";
  std::replace(out.begin(), out.end(), '-', '_');
  return out + (s.overlap ? "" : "__sync");
}

void expect_segments_as_alone(const Alone& alone, const Segmented& s) {
  Plan plan = plan_of({.schedule = s.schedule, .zero = s.zero, .micro = s.micro, .overlap = s.overlap});
  const Cluster cluster = cores(test::divide(plan, alone.model, s.splits));
  expect_as_alone(alone, plan, cluster);
}

const Alone& llama() {
  static const Alone c(tiny_llama());
  return c;
}
const Alone& opt() {
  static const Alone c([] {
    Model m = tiny_opt();
    m.tie_embeddings = false;
    return m;
  }());
  return c;
}

std::vector<Segmented> cases() {
  return {{.splits = {{.tp = 2}, {.dp = 2}}, .micro = 2},
          {.splits = {{.dp = 2}, {.tp = 2, .sp = true}}},
          {.splits = {{.pp = 2}, {.dp = 2, .tp = 2}}, .schedule = "gpipe", .micro = 4},
          {.splits = {{.pp = 2}, {.dp = 2, .tp = 2, .sp = true}}, .micro = 2},
          {.splits = {{.dp = 2, .tp = 2}, {.pp = 2, .recompute = true}}, .micro = 2},
          {.splits = {{.dp = 4}, {.tp = 2, .sp = true, .recompute = true}, {.dp = 2}}},
          {.splits = {{.tp = 4, .sp = true}, {.tp = 2}, {.dp = 2}}, .schedule = "zb-h1", .micro = 2},
          {.splits = {{.dp = 2}, {.dp = 2, .tp = 2}}, .schedule = "zb-h1"},
          {.splits = {{.tp = 4}, {.dp = 2, .tp = 2, .sp = true}}, .micro = 2, .overlap = false},
          {.splits = {{.dp = 2, .tp = 2}, {.dp = 1, .tp = 1, .pp = 2}}, .schedule = "zb-h2"},
          {.splits = {{.dp = 2, .tp = 1, .cp = 2}, {.dp = 1, .tp = 2, .sp = true, .cp = 2}}},
          {.splits = {{.dp = 4}, {.dp = 2, .tp = 2}}, .zero = 1},
          {.splits = {{.dp = 2, .tp = 2, .sp = true}, {.dp = 4}}, .schedule = "gpipe", .micro = 2, .zero = 3}};
}

class Segments : public testing::TestWithParam<Segmented> {};
TEST_P(Segments, ComputeWhatOneRankAloneComputes) { expect_segments_as_alone(llama(), GetParam()); }
const auto kName = [](const testing::TestParamInfo<Segmented>& info) { return name(info.param); };
INSTANTIATE_TEST_SUITE_P(All, Segments, testing::ValuesIn(cases()), kName);

TEST(SegmentsOfOpt, WithBiasesAndLearnedPositionsToo) {
  expect_segments_as_alone(opt(), {.splits = {{.tp = 2, .sp = true}, {.dp = 2, .tp = 1}, {.tp = 4}}, .micro = 2});
}

}  // namespace
}  // namespace orrery::executor
