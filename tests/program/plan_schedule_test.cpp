// From a plan's fields to its schedule.
#include <gtest/gtest.h>

#include "core/error.h"
#include "program/compile.h"
#include "program/schedules/csv.h"
#include "program/schedules/replay.h"
#include "program/small_models.h"
#include "support/temporary_folder.h"

namespace orrery::program {
namespace {

// What a plan's schedule is refused for: field, reason and hint.
std::string refusal(const Plan& plan, std::int64_t microbatches) {
  try {
    (void)plan_schedule(plan, microbatches);
  } catch (const Error& e) {
    return e.what();
  }
  return "was taken";
}

Plan plan_of(const std::string& schedule, std::int64_t pp, std::int64_t vp = 1) {
  Plan p = small_plan(1, pp);
  p.schedule = schedule, p.parallel.vp = vp;
  return p;
}

// 12 micro-batches on 4 ranks are 3 rounds of 4; 10 on 4 are 2 rounds of 5, which Megatron's groups of 4 do not give.
TEST(PlanSchedule, InterleavesInPyTorchsRounds) {
  Plan p = plan_of("interleaved", 4, 2);
  p.schedule_args.rounds = true;
  EXPECT_EQ(plan_schedule(p, 10), make_schedule("interleaved", {.ranks = 4, .microbatches = 10, .chunks = 2, .rounds = true}));
  p.schedule_args.group = 5;
  EXPECT_EQ(refusal(p, 10), "schedule_args.group: is given, and so are PyTorch's rounds, which choose it\n  hint: leave one of them out");
}

TEST(PlanSchedule, PlacesPassesByThePlansCostsUnderItsLimit) {
  Plan p = plan_of("zb-auto", 4);
  p.schedule_args.costs = PassCostSpec{.forward = 10, .input_grad = 12, .weight_grad = 8, .latency = 3};
  p.schedule_args.memory_limit = 5;
  ScheduleInput input{.ranks = 4, .microbatches = 12};
  input.costs = PassCosts{.forward = 10, .input_grad = 12, .weight_grad = 8, .latency = 3};
  input.memory_limit = 5;
  const Schedule s = plan_schedule(p, 12);
  EXPECT_EQ(s, make_schedule("zb-auto", input));
  EXPECT_NO_THROW(check(s, 5));
  p.schedule_args.costs = PassCostSpec{.forward = -1};
  EXPECT_EQ(refusal(p, 12), "schedule_args.costs: -1 is not between 0 and 4398046511104");
}

TEST(PlanSchedule, RefusesArgumentsThatTheScheduleDoesNotTake) {
  Plan p = plan_of("1f1b", 2);
  p.schedule_args.costs = PassCostSpec{};
  EXPECT_EQ(refusal(p, 4), "schedule_args.costs: schedule '1f1b' has no use for costs of passes: its order is fixed\n  hint: leave the costs out");
  p.schedule_args = {};
  p.schedule_args.memory_limit = 2;
  EXPECT_EQ(refusal(p, 4), "schedule_args.memory_limit: schedule '1f1b' has no memory limit to keep\n  hint: leave the limit out");
  p.schedule_args = {};
  p.schedule_args.csv = "order.csv";
  EXPECT_EQ(refusal(p, 4), "schedule_args.csv: names a file, and the schedule is '1f1b'\n  hint: use schedule csv, or leave schedule_args.csv null");
}

TEST(PlanSchedule, ReadsTheFileThatAPlanNames) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "order.csv").string();
  const Schedule zbv = make_schedule("zbv", {.ranks = 2, .microbatches = 4, .chunks = 2});
  folder.write("order.csv", write_schedule_csv(zbv, CsvForm::full));
  Plan p = plan_of("csv", 2, 2);
  EXPECT_EQ(refusal(p, 4), "schedule_args.csv: schedule 'csv' names no file\n  hint: e.g. --schedule order.csv");
  p.schedule_args.csv = file;
  Schedule got = plan_schedule(p, 4);
  EXPECT_EQ(got.name, "csv");
  got.name = zbv.name;
  EXPECT_EQ(got, zbv);
  EXPECT_EQ(refusal(p, 5),
            "batch.global: " + file + " has 4 micro-batches, and the plan 5\n  hint: use a global batch of 4 micro-batches per replica");
  p.schedule_args.memory_limit = 4;  // 2p half-chunks
  EXPECT_EQ(refusal(p, 4), "was taken");
  p.schedule_args.memory_limit = 3;
  EXPECT_EQ(refusal(p, 4), "schedule_args.csv: " + file + ": rank 0 holds 4 activations at once, more than 3");
  p.schedule_args = {};
  p.schedule_args.csv = file, p.schedule_args.rounds = true;
  EXPECT_EQ(refusal(p, 4), "schedule_args.rounds: says nothing about " + file + ", whose order is fixed\n  hint: leave it out");
  p = plan_of("csv", 4, 2);
  p.schedule_args.csv = file;
  EXPECT_EQ(refusal(p, 4), "parallel.pp: " + file + " has 2 ranks, and the plan 4\n  hint: use pp 2");
  p.schedule_args.csv = (folder.path() / "missing.csv").string();
  EXPECT_EQ(refusal(p, 4), *p.schedule_args.csv + ": no such file");
}

// The same order by name and by file is the same program.
TEST(PlanSchedule, AFileIsCompiledLikeItsName) {
  const TemporaryFolder folder;
  for (const auto& [name, vp] : {std::pair{"1f1b", 1}, {"zb-h1", 1}, {"interleaved", 2}, {"zbv", 2}}) {
    Plan by_name = plan_of(name, 2, vp);
    Plan by_file = by_name;
    by_file.schedule = "csv";
    by_file.schedule_args.csv = (folder.path() / "order.csv").string();
    folder.write("order.csv", write_schedule_csv(plan_schedule(by_name, 4), CsvForm::compute));
    const Program a = compile(small_llama(), small_cluster(by_name), by_name), b = compile(small_llama(), small_cluster(by_file), by_file);
    EXPECT_TRUE(a == b) << name;
  }
}

TEST(ScheduleArguments, EachScheduleSaysWhatItTakes) {
  EXPECT_TRUE(schedule_takes("interleaved", "rounds"));
  EXPECT_TRUE(schedule_takes("zb-auto", "costs"));
  EXPECT_TRUE(schedule_takes("v-half", "memory_limit"));
  EXPECT_TRUE(schedule_takes("pipedream", "replicas"));
  EXPECT_FALSE(schedule_takes("1f1b", "costs"));
  EXPECT_FALSE(schedule_takes("1f1b", "frobs"));
  EXPECT_FALSE(schedule_takes("frob", "costs"));
  // With as many chunks as it says is usual every schedule has so many stages on p ranks.
  for (const std::string& name : schedule_names()) {
    const ChunkRange range = schedule_chunks(name);
    EXPECT_LE(range.least, range.usual) << name;
    EXPECT_LE(range.usual, range.most) << name;
    const Schedule s = make_schedule(name, {.ranks = 4, .microbatches = 8, .chunks = range.usual});
    EXPECT_EQ(stages(s), 4 * range.usual) << name;
  }
}

}  // namespace
}  // namespace orrery::program
