// Ranks that share sequences, and passes over parts of them, compute what one rank computes of whole sequences, in the memory that was predicted.
#include "run/alone.h"

namespace orrery::executor {
namespace {

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

// `rest` with its sequences on cp ranks.
Layout shared(Layout rest, std::int64_t cp, const char* kind, std::int64_t inner = 1, bool balanced = true) {
  rest.cp = cp, rest.cp_kind = kind, rest.cp_inner = inner, rest.cp_balanced = balanced;
  return rest;
}
Layout in_splits(Layout rest, std::int64_t splits) {
  rest.schedule = "seq1f1b", rest.splits = splits;
  return rest;
}

// Of the tiny models' 8 query and 4 key heads and 16 positions.
std::vector<Layout> contexts() {
  const Layout plain{}, sharded{.dp = 2, .zero = 1, .micro = 2}, pipelined{.tp = 2, .pp = 2, .sp = true, .recompute = true},
      split{.pp = 2, .schedule = "zb-h1"}, zbv{.tp = 2, .pp = 2, .sp = true, .schedule = "zbv", .recompute = true, .vp = 2};
  std::vector<Layout> out;
  for (const auto& [cp, kind] : {std::pair{2, "allgather"}, {4, "allgather"}, {2, "p2p"}, {4, "p2p"}, {2, "a2a"}, {4, "a2a"}, {8, "a2a"}})
    out.push_back(shared(plain, cp, kind));
  for (const char* kind : {"allgather", "p2p", "a2a"})
    for (const Layout& rest : {sharded, pipelined, split, zbv}) out.push_back(shared(rest, 2, kind));
  out.push_back(shared(plain, 4, "a2a+p2p", 2));
  out.push_back(shared(pipelined, 4, "a2a+p2p", 2));
  out.push_back(shared(plain, 8, "a2a+p2p", 4));
  for (const char* kind : {"allgather", "p2p"}) out.push_back(shared(plain, 4, kind, 1, false));
  out.push_back(shared(pipelined, 4, "a2a+p2p", 2, false));
  return out;
}

std::vector<Layout> split_sequences() {
  const Layout staged{.tp = 2, .pp = 2, .sp = true};
  return {in_splits({}, 2),
          in_splits({.pp = 2, .micro = 2}, 4),
          in_splits({.pp = 4}, 4),
          in_splits({.dp = 2, .tp = 2, .pp = 2, .sp = true, .zero = 1}, 2),
          in_splits({.tp = 2, .pp = 2, .sp = true, .recompute = true, .micro = 2, .overlap = false}, 2),
          in_splits({.pp = 2, .recompute = true}, 8),
          in_splits(shared(staged, 2, "allgather"), 2),
          in_splits(shared(staged, 2, "allgather", 1, false), 2),
          in_splits(shared(staged, 2, "a2a"), 2)};
}

// With tensor-parallel collectives taken apart. The hidden width is 32: four parts of eight columns.
std::vector<Layout> overlapped() {
  std::vector<Layout> out{{.tp = 2, .sp = true},
                          {.dp = 2, .tp = 4, .sp = true, .zero = 1, .recompute = true, .micro = 2},
                          {.tp = 4, .pp = 2, .sp = true, .schedule = "zb-h1"},
                          {.tp = 2, .pp = 2, .sp = true, .schedule = "dualpipev", .vp = 2},
                          shared({.tp = 2, .pp = 2, .sp = true, .schedule = "zbv", .recompute = true, .vp = 2}, 2, "p2p")};
  for (Layout& l : out) l.overlap_tp = true;
  return out;
}

std::vector<Layout> some() {
  return {shared({.tp = 2, .sp = true}, 4, "allgather"), shared({}, 4, "p2p"), shared({}, 4, "a2a"), shared({.tp = 2, .sp = true}, 4, "a2a+p2p", 2),
          in_splits({.pp = 2}, 4)};
}

class Contexts : public testing::TestWithParam<Layout> {};
TEST_P(Contexts, ComputeWhatOneRankAloneComputes) { expect_as_alone(llama(), GetParam()); }
class Models : public testing::TestWithParam<Layout> {};
TEST_P(Models, WithLearnedPositionsThatBeginLate) { expect_as_alone(opt(), GetParam()); }
TEST_P(Models, WithLatentAttention) { expect_as_alone(latent(), GetParam()); }
TEST_P(Models, ThatAttendForwardsToo) {
  if (GetParam().splits == 1) expect_as_alone(both_ways(), GetParam());
}
class Splits : public testing::TestWithParam<Layout> {};
TEST_P(Splits, ComputeWhatWholeSequencesCompute) { expect_as_alone(llama(), GetParam()); }

const auto kName = [](const testing::TestParamInfo<Layout>& info) { return name(info.param); };
INSTANTIATE_TEST_SUITE_P(All, Contexts, testing::ValuesIn(contexts()), kName);
INSTANTIATE_TEST_SUITE_P(Overlapped, Contexts, testing::ValuesIn(overlapped()), kName);
INSTANTIATE_TEST_SUITE_P(All, Splits, testing::ValuesIn(split_sequences()), kName);
INSTANTIATE_TEST_SUITE_P(Some, Models, testing::ValuesIn(some()), kName);

}  // namespace
}  // namespace orrery::executor
