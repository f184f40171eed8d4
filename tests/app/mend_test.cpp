// Ways out of refused plans: each takes its refusal away and brings none.
#include "app/mend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "support/temporary_folder.h"

namespace orrery::app {
namespace {

using program::Refusal;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

PlanFlags flags(const std::string& model, const std::string& cluster, std::vector<std::string> settings = {}) {
  PlanFlags f;
  f.model = model;
  f.cluster = cluster;
  f.settings = std::move(settings);
  return f;
}
PlanFlags with(PlanFlags f, const std::vector<std::string>& settings) {
  f.settings.insert(f.settings.end(), settings.begin(), settings.end());
  return f;
}
std::vector<Refusal> refusals(const PlanFlags& f) {
  const Inputs in = load_inputs(f);
  return program::refusals(in.model, in.cluster, in.plan);
}
std::vector<std::string> words(const std::vector<Mend>& mends) {
  std::vector<std::string> out;
  for (const Mend& m : mends) out.push_back(m.words);
  return out;
}
std::vector<std::string> values(const std::vector<LegalValue>& legal) {
  std::vector<std::string> out;
  for (const LegalValue& v : legal) out.push_back(v.value);
  return out;
}

struct Case {
  const char* model;
  const char* cluster;
  std::vector<std::string> settings;
  const char* constraint;  // of the refusal that is to be mended
};

// The refusals that one meets in a first hour.
const std::vector<Case> kCases{
    {"llama-3.1-8b", "dgx-h100:48", {"parallel.tp=6", "batch.global=64"}, "tp divides heads"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.tp=16", "batch.global=64"}, "tp divides kv_heads"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.tp=4", "parallel.pp=3", "batch.global=64"}, "devices divide into replicas"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.tp=8", "parallel.pp=16", "batch.global=64"}, "devices divide into replicas"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.tp=2", "batch.global=48"}, "micro-batches divide the global batch"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.pp=64", "batch.global=64"}, "a layer per stage"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.sp=true"}, "sp needs tp"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.tp=8", "parallel.sp=true", "batch.sequence=4097", "batch.global=64"}, "tp divides sequence"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.cp=4", "batch.sequence=4100", "batch.global=64"}, "the context's chunks divide the sequence"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.cp=64", "parallel.cp_kind=a2a", "batch.global=64"}, "heads divide among the ranks that exchange them"},
    {"llama-3.1-8b", "dgx-h100:64", {"schedule=interleaved", "parallel.pp=4", "batch.global=64"}, "schedule takes the plan"},
    {"llama-3.1-8b",
     "dgx-h100:64",
     {"schedule=interleaved", "parallel.pp=4", "parallel.vp=2", "batch.global=96", "batch.micro=1"},
     "schedule takes the plan"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.vp=2", "parallel.pp=4", "batch.global=64"}, "schedule takes the plan"},
    {"llama-3.1-8b", "dgx-h100:64", {"schedule=dualpipe", "parallel.pp=4", "batch.global=64"}, "schedule takes the plan"},
    {"llama-3.1-8b", "dgx-h100:64", {"schedule=pipedream", "parallel.pp=4", "batch.global=64"}, "asynchronous stages do not clip"},
    {"llama-3.1-8b", "dgx-h100:64", {"data_parallel.kind=fsdp"}, "fsdp shards parameters"},
    {"llama-3.1-8b", "dgx-h100:64", {"data_parallel.kind=horovod", "sharding.zero=1"}, "its kind reduces whole gradients"},
    {"llama-3.1-8b", "dgx-h100:64", {"data_parallel.hierarchical=true", "sharding.zero=2"}, "hierarchical reductions are of whole gradients"},
    {"llama-3.1-8b", "dgx-h100:64", {"data_parallel.prefetch=2"}, "only sharded parameters are gathered ahead"},
    {"llama-3.1-8b", "dgx-h100:64", {"sharding.zero=1", "sharding.replicas=3"}, "replicas divide dp"},
    {"llama-3.1-8b", "dgx-h100:64", {"sharding.replicas=2"}, "replicas are of shards"},
    {"llama-3.1-8b", "dgx-h100:64", {"recompute.kind=selective"}, "not built yet: selective recomputation"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.tp=2", "parallel.sp=false", "overlap.tp=true"}, "overlapped tensor parallelism needs sp"},
    {"llama-3.1-8b", "dgx-h100:64", {"precision.compute=fp8"}, "fp8 has a recipe"},
    {"llama-3.1-8b", "dgx-h100:64", {"precision.recipe=delayed"}, "a recipe is of fp8"},
    {"llama-3.1-8b", "dgx-h100:64", {"precision.optimizer=bf16"}, "built types of precision.optimizer"},
    {"llama-3.1-8b", "dgx-h100:64", {"parallel.ep=2"}, "expert parallelism needs experts"},
    {"llama-3.1-8b", "dgx-h100:64", {"overlap.ep=true"}, "overlap of experts needs experts"},
    {"llama-3.1-8b", "dgx-h100:64", {"offload.optimizer=true"}, "not built yet: offloading"},
    {"llama-3.1-8b", "dgx-h100:64", {"stages=[16,16]"}, "stages has one entry per stage"},
    {"llama-3.1-8b", "dgx-h100:64", {"runtime.attention=unfused"}, "not built yet: attention 'unfused'"},
    {"llama-3.1-8b", "dgx-h100:64", {"optimizer.post_validation=true"}, "post-validation needs stages"},
    {"llama-3.1-8b", "dgx-h100:64", {"lora=r8"}, "not built yet: LoRA"},
    {"mixtral-8x7b", "dgx-h100:64", {"parallel.ep=3", "batch.global=64"}, "ep divides experts"},
    {"mixtral-8x7b", "dgx-h100:64", {"parallel.tp=2", "parallel.sp=false", "batch.global=64"}, "experts under tp need sp"},
    {"mixtral-8x7b", "dgx-h100:64", {"moe.drop=true"}, "tokens are dropped beyond a capacity"},
    {"mixtral-8x7b", "dgx-h100:64", {"moe.load=zipf:1"}, "a load is of routers that are free"},
    {"mixtral-8x7b", "dgx-h100:64", {"moe.load=zapf:1", "runtime.moe_balanced=false"}, "moe.load is known"},
    {"mixtral-8x7b", "dgx-h100:64", {"runtime.moe_dispatcher=deepep"}, "not built yet: the dispatcher 'deepep'"},
    {"mixtral-8x7b", "dgx-h100:16", {"parallel.ep=8", "parallel.pp=4", "batch.global=64"}, "experts fold into the ranks of a stage"},
    {"gpt2", "dgx-h100:8", {"batch.sequence=2048"}, "positions cover the sequence"},
    {"gpt2", "dgx-h100:8", {"parallel.tp=8", "batch.global=8"}, "tp divides heads"},
};

TEST(Mends, AreThereForCommonRefusalsAndTakeThemAway) {
  for (const Case& c : kCases) {
    const PlanFlags f = flags(c.model, c.cluster, c.settings);
    const std::vector<Refusal> before = refusals(f);
    std::set<std::pair<std::string, std::string>> known;
    for (const Refusal& r : before) known.emplace(r.constraint, r.field);
    const auto refusal = std::find_if(before.begin(), before.end(), [&](const Refusal& r) { return r.constraint == c.constraint; });
    ASSERT_NE(refusal, before.end()) << c.constraint << " is not refused with " << testing::PrintToString(c.settings) << ": "
                                     << (before.empty() ? "" : before.front().constraint);
    const std::vector<Mend> offered = mends(f, load_inputs(f), *refusal);
    EXPECT_THAT(offered, Not(IsEmpty())) << c.constraint << ": " << refusal->reason;
    for (const Mend& mend : offered) {
      const std::vector<Refusal> after = refusals(with(f, mend.settings));
      EXPECT_EQ(after.empty(), mend.legal) << c.constraint << ": " << mend.words;
      for (const Refusal& r : after) {
        EXPECT_NE(std::make_pair(r.constraint, r.field), std::make_pair(refusal->constraint, refusal->field)) << mend.words;
        EXPECT_TRUE(known.count({r.constraint, r.field})) << mend.words << " brings " << r.constraint;
      }
    }
  }
}

TEST(Mends, ChangeTheRefusedFieldAsLittleAsTheyCan) {
  // 6 does not divide 32 heads and 8 key heads; 4 and 8 do, and both divide the 48 devices into 12 and 6 replicas, of which the batch of 96 takes
  // both.
  const PlanFlags f = flags("llama-3.1-8b", "dgx-h100:48", {"parallel.tp=6", "batch.global=96"});
  const std::vector<Refusal> refused = refusals(f);
  ASSERT_FALSE(refused.empty());
  const std::vector<std::string> offered = words(mends(f, load_inputs(f), refused.front()));
  ASSERT_GE(offered.size(), 2U);
  EXPECT_EQ(offered[0], "parallel.tp = 8");
  EXPECT_EQ(offered[1], "parallel.tp = 4");
}

TEST(Mends, OfInputsAloneChangeTheirDocuments) {
  Inputs in = load_inputs(flags("llama-3.1-8b", "dgx-h100:64"));
  in.plan.data_parallel.kind = "fsdp";
  const std::vector<Refusal> refused = program::refusals(in.model, in.cluster, in.plan);
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_THAT(words(mends(in, refused.front())), testing::IsSupersetOf({"data_parallel.kind = ddp", "sharding.zero = 3"}));
}

TEST(Mends, AreFoundForWhatReadersRefuse) {
  const PlanFlags good = flags("llama-3.1-8b", "dgx-h100:64", {"batch.global=128"});
  const PlanFlags bad = with(good, {"batch.micro=3"});
  try {
    load_inputs(bad);
    FAIL() << "128 is no multiple of 3";
  } catch (const Error& e) {
    const std::vector<Mend> offered = mends(bad, load_inputs(good), e);
    ASSERT_THAT(offered, Not(IsEmpty())) << e.what();
    for (const Mend& mend : offered) EXPECT_NO_THROW(load_inputs(with(bad, mend.settings))) << mend.words;
  }
}

TEST(Mends, OfWhatNobodyCanMendAreNone) {
  const PlanFlags f = flags("gpt-oss-20b", "dgx-h100:8");
  const std::vector<Refusal> refused = refusals(f);
  ASSERT_THAT(refused, Not(IsEmpty()));
  EXPECT_EQ(refused.front().field, "model") << "biases of experts are not built";
  EXPECT_THAT(mends(f, load_inputs(f), refused.front()), IsEmpty());
}

TEST(LegalValues, OfTpDivideHeadsAndDevices) {
  const PlanFlags f = flags("llama-3.1-8b", "dgx-h100:64");  // 32 heads, 8 key heads
  const Inputs in = load_inputs(f);
  EXPECT_THAT(values(legal_values(f, in, "parallel.tp")), ElementsAre("1", "2", "4", "8"));
  EXPECT_THAT(values(legal_values(f, in, "parallel.pp")), ElementsAre("1", "2", "4", "8", "16", "32"));
  EXPECT_THAT(values(legal_values(f, in, "sharding.zero")), ElementsAre("0", "1", "2", "3"));
  EXPECT_THAT(values(legal_values(f, in, "recompute.kind")), ElementsAre("none", "full")) << "selective is not built";
  EXPECT_THAT(values(legal_values(f, in, "parallel.sp")), ElementsAre("false"));
  EXPECT_THAT(legal_values(f, in, "parallel.dp"), IsEmpty());
  EXPECT_THAT(legal_values(f, in, "cluster.device.memory"), IsEmpty());
}

TEST(LegalValues, AreEachLegal) {
  const PlanFlags f = flags("mixtral-8x7b", "dgx-h100:64", {"parallel.tp=2", "parallel.pp=2", "parallel.ep=4", "batch.global=256"});
  const Inputs in = load_inputs(f);
  for (const char* path : {"parallel.tp", "parallel.pp", "parallel.vp", "parallel.ep", "parallel.cp", "batch.micro", "batch.global", "batch.sequence",
                           "schedule", "cluster.devices", "data_parallel.kind", "precision.compute", "runtime.moe_dispatcher"}) {
    const std::vector<LegalValue> legal = legal_values(f, in, path, {.with_company = true});
    EXPECT_THAT(legal, Not(IsEmpty())) << path;
    for (const LegalValue& v : legal) {
      EXPECT_THAT(refusals(with(f, v.settings)), IsEmpty()) << path << " " << v.value;
      EXPECT_EQ(v.settings.front(), std::string(path) + "=" + v.value);
    }
  }
}

TEST(LegalValues, MayNeedCompany) {
  const PlanFlags f = flags("llama-3.1-8b", "dgx-h100:64", {"parallel.pp=4", "batch.global=64"});
  const Inputs in = load_inputs(f);
  EXPECT_THAT(values(legal_values(f, in, "schedule")), Not(Contains("interleaved"))) << "it has two chunks or more";
  const std::vector<LegalValue> legal = legal_values(f, in, "schedule", {.with_company = true});
  EXPECT_THAT(legal, Contains(LegalValue{"interleaved", {"schedule=interleaved", "parallel.vp=2"}}));
}

TEST(LegalValues, DoNotCountWhatIsRefusedAnyway) {
  const PlanFlags f = flags("llama-3.1-8b", "dgx-h100:64", {"lora=r8"});
  EXPECT_THAT(values(legal_values(f, load_inputs(f), "parallel.tp")), ElementsAre("1", "2", "4", "8"));
}

TEST(LegalValues, OfTheLargestSeedKeepItsDigits) {
  // 2^63 - 1, which no double holds: the nearest one, 2^63, is no number of 64 bits with a sign.
  const PlanFlags f = flags("cpu-llama-tiny", "dgx-h100:8", {"seed=9223372036854775807"});
  const std::vector<std::string> legal = values(legal_values(f, load_inputs(f), "seed"));
  EXPECT_THAT(legal, Contains("9223372036854775807"));
  EXPECT_THAT(legal, Contains("0"));
  EXPECT_THAT(legal, Not(Contains("-9223372036854775808")));
}

}  // namespace
}  // namespace orrery::app
