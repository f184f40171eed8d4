// The schedule that a plan names, by name or by file.
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "program/compile.h"
#include "program/schedules/csv.h"
#include "program/schedules/replay.h"

namespace orrery::program {
namespace {

Schedule csv_schedule(const Plan& plan, std::int64_t microbatches) {
  const ScheduleArgs& args = plan.schedule_args;
  if (!args.csv) throw Error("schedule_args.csv", "schedule 'csv' names no file", "e.g. --schedule order.csv");
  const std::string& file = *args.csv;
  const auto meaningless = [&](bool given, const char* field) {
    if (given) throw Error(field, fmt::format("says nothing about {}, whose order is fixed", file), "leave it out");
  };
  meaningless(args.group.has_value(), "schedule_args.group");
  meaningless(args.splits.has_value(), "schedule_args.splits");
  meaningless(args.rounds, "schedule_args.rounds");
  meaningless(args.costs.has_value(), "schedule_args.costs");
  try {
    Schedule schedule = read_schedule_csv(read_text_file(file), file);
    const auto agree = [&](const char* field, std::int64_t has, const char* what, std::int64_t planned, const std::string& hint) {
      if (has != planned) throw Error(field, fmt::format("{} has {} {}, and the plan {}", file, has, what, planned), hint);
    };
    agree("parallel.pp", schedule.ranks, "ranks", pipeline_ranks(plan), fmt::format("use pp {}", schedule.ranks));
    agree("parallel.vp", schedule.chunks, "chunks per rank", plan.parallel.vp, fmt::format("use vp {}", schedule.chunks));
    agree("batch.global", schedule.microbatches, "micro-batches", microbatches,
          fmt::format("use a global batch of {} micro-batches per replica", schedule.microbatches));
    check(schedule, args.memory_limit);
    return schedule;
  } catch (const Error& e) {
    if (e.where() == "schedule") throw Error("schedule_args.csv", fmt::format("{}: {}", file, e.message()), e.hint());
    throw;
  }
}

}  // namespace

Schedule plan_schedule(const Plan& plan, std::int64_t microbatches) {
  if (plan.schedule == "csv") return csv_schedule(plan, microbatches);
  const ScheduleArgs& args = plan.schedule_args;
  if (args.csv)
    throw Error("schedule_args.csv", fmt::format("names a file, and the schedule is '{}'", plan.schedule),
                "use schedule csv, or leave schedule_args.csv null");
  ScheduleInput input;
  input.ranks = pipeline_ranks(plan), input.microbatches = microbatches, input.chunks = plan.parallel.vp;
  input.group = args.group, input.splits = args.splits, input.rounds = args.rounds, input.memory_limit = args.memory_limit;
  if (args.costs)
    input.costs = PassCosts{
        .forward = args.costs->forward, .input_grad = args.costs->input_grad, .weight_grad = args.costs->weight_grad, .latency = args.costs->latency};
  try {
    Schedule schedule = make_schedule(plan.schedule, input);
    if (stages(schedule) != input.ranks * plan.parallel.vp)
      throw Error("chunks",
                  fmt::format("schedule '{}' puts {} stages on each rank", plan.schedule, schedule.placement == Placement::vee ? "two" : "its"),
                  fmt::format("use vp {}", stages(schedule) / input.ranks));
    return plan.overlap.ep ? overlap_neighbours(schedule) : schedule;
  } catch (const Error& e) {
    static constexpr std::pair<std::string_view, std::string_view> kFields[]{
        {"ranks", "parallel.pp"},           {"microbatches", "batch.global"},
        {"chunks", "parallel.vp"},          {"group", "schedule_args.group"},
        {"rounds", "schedule_args.rounds"}, {"splits", "schedule_args.splits"},
        {"costs", "schedule_args.costs"},   {"memory_limit", "schedule_args.memory_limit"}};
    for (const auto& [argument, field] : kFields)
      if (e.where() == argument) throw Error(std::string(field), e.message(), e.hint());
    throw;
  }
}

}  // namespace orrery::program
