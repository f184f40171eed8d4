// What the compiler writes passes every check, over the plans that it takes.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "program/check.h"
#include "program/compile.h"
#include "program/memory.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

std::string first_violation(const Program& program) {
  const std::vector<Violation> violations = check(program);
  return violations.empty() ? "" : fmt::format("{} violations, first {}: {}", violations.size(), name(violations[0].rule), violations[0].what);
}

struct Case {
  Model model;
  Plan plan;
  std::int64_t dp = 1;
};

std::string in_words(const Case& c) {
  return fmt::format("{} tp {} sp {} pp {} dp {} zero {} {} recompute {} overlap {}{}{} accumulate {}", c.model.family, c.plan.parallel.tp,
                     c.plan.parallel.sp, c.plan.parallel.pp, c.dp, c.plan.sharding.zero, c.plan.schedule, c.plan.recompute.kind,
                     c.plan.overlap.grad_reduce, c.plan.overlap.param_gather, c.plan.overlap.p2p, c.plan.batch.global / c.dp);
}

TEST(CheckCompiled, EveryCombinationOfSmallPlansIsSound) {
  for (const bool gpt2 : {false, true})
    for (const std::int64_t tp : {1, 2, 4})
      for (const std::int64_t pp : {1, 2, 4})
        for (const std::int64_t dp : {1, 2, 4})
          for (const std::int64_t zero : {0, 1})
            for (const std::string schedule : {"gpipe", "1f1b"})
              for (const std::string recompute : {"none", "full"}) {
                if (tp * pp * dp > 8) continue;
                Case c{gpt2 ? small_gpt2() : small_llama(), small_plan(tp, pp, dp, 4), dp};
                c.plan.parallel.sp = tp > 1 && zero == 1;
                c.plan.sharding.zero = zero;
                c.plan.schedule = schedule;
                c.plan.recompute.kind = recompute;
                ASSERT_EQ(first_violation(compile(c.model, small_cluster(c.plan, dp), c.plan)), "") << in_words(c);
              }
}

RC_GTEST_PROP(CheckCompiledProperty, AnyPlanThatCompilesIsSoundAndItsArenaHoldsItsPeak, ()) {
  Case c;
  c.model = *rc::gen::element(small_gpt2(), small_llama());
  c.model.tie_embeddings = *rc::gen::arbitrary<bool>();
  c.model.parallel_block = *rc::gen::weightedElement<bool>({{4, false}, {1, true}});
  c.dp = *rc::gen::element<std::int64_t>(1, 2, 3);
  c.plan =
      small_plan(*rc::gen::element<std::int64_t>(1, 2, 4), *rc::gen::element<std::int64_t>(1, 2, 3, 4), c.dp, *rc::gen::inRange<std::int64_t>(1, 9));
  c.plan.parallel.sp = *rc::gen::arbitrary<bool>();
  c.plan.sharding.zero = *rc::gen::element<std::int64_t>(0, 1);
  c.plan.schedule = *rc::gen::element<std::string>("gpipe", "1f1b");
  c.plan.recompute.kind = *rc::gen::element<std::string>("none", "full");
  c.plan.overlap.grad_reduce = *rc::gen::arbitrary<bool>();
  c.plan.overlap.param_gather = *rc::gen::arbitrary<bool>();
  c.plan.overlap.p2p = *rc::gen::arbitrary<bool>();
  c.plan.optimizer.kind = *rc::gen::element<std::string>("adamw", "sgd");
  c.plan.precision.params = c.plan.precision.compute = *rc::gen::element(DType::fp32, DType::bf16);
  c.plan.data_parallel.bucket_bytes = *rc::gen::element<std::int64_t>(1, 1000, 1 << 20);
  const Cluster cluster = small_cluster(c.plan, c.dp);
  RC_PRE(refusals(c.model, cluster, c.plan).empty());
  const Program program = compile(c.model, cluster, c.plan);
  const std::string violation = first_violation(program);
  if (!violation.empty()) RC_FAIL(in_words(c) + ": " + violation);
  for (const Role& role : program.roles) {
    const MemoryReport report = memory(program, role);
    RC_ASSERT(report.arena >= report.peak_live);
    RC_ASSERT(report.peak_live >= report.persistent);
    RC_ASSERT(report.curve.back().bytes == report.persistent);
  }
}

}  // namespace
}  // namespace orrery::program
