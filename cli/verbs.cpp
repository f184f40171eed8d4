#include "cli/verbs.h"

#include <fmt/format.h>

#include <cstdio>

#include "app/compare.h"
#include "app/details.h"
#include "app/file_kind.h"
#include "app/plan.h"
#include "app/schedule.h"
#include "app/show.h"
#include "app/simulate.h"
#include "app/sweep.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/files.h"
#include "core/plan_json.h"
#include "core/quantity_text.h"
#include "core/timeline_json.h"
#include "program/flops.h"

namespace orrery::cli {
namespace {

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, format, std::forward<Args>(args)...);
}

program::FlopsConvention convention_named(const std::string& word) {
  using program::FlopsConvention;
  std::vector<std::string> known;
  for (const FlopsConvention c : {FlopsConvention::causal_half, FlopsConvention::full, FlopsConvention::six_n}) {
    known.emplace_back(program::name(c));
    if (known.back() == word) return c;
  }
  throw Error("--flops-convention", fmt::format("'{}' is not a convention", word), did_you_mean(word, known));
}

// A profile of another device is used with a word about it.
void say_whose(const app::Inputs& inputs) {
  if (inputs.profile && inputs.profile->transferred)
    say("profile: measured on {}, carried over to {}: {:.0f} % wider where arithmetic bounds, {:.0f} % where memory does\n",
        inputs.profile->transferred->from, inputs.profile->part, 100 * inputs.profile->transferred->arithmetic_error,
        100 * inputs.profile->transferred->memory_error);
}

// Whatever is to be written is looked at before the work that fills it.
void check_outputs(std::initializer_list<std::string> files) {
  for (const std::string& file : files)
    if (!file.empty()) check_writable(file);
}

}  // namespace

int simulate(const SimulateCommand& command, const Common& common) {
  if (command.network != "analytic") throw Error("--network", fmt::format("'{}' is not built yet", command.network), "known: analytic");
  if (command.price && command.tokens.empty())
    throw Error("--price", "says nothing without the length of the run", "add --tokens, e.g. --tokens 15T");
  app::SimulateOptions options;
  options.convention = convention_named(command.convention);
  options.unfold = command.unfold;
  const bool looks = command.explain || !command.at.empty();  // into the timeline
  options.timeline = looks || !command.trace.empty();
  options.ranks = command.ranks;
  if (!command.ranks.empty() && command.trace.empty())
    throw Error("--ranks", "says whose spans a trace holds, but there is no --trace", "add --trace FILE");
  if (command.rank && command.at.empty()) throw Error("--rank", "says whom --at looks at, but there is no --at", "add --at TIME");
  check_outputs({command.trace, command.write_plan});
  if (!command.tokens.empty()) {
    options.tokens = parse_count(command.tokens, "--tokens");
    if (*options.tokens <= 0) throw Error("--tokens", "a run has at least one token", "e.g. --tokens 15T");
  }
  options.price_per_device_hour = command.price;
  options.checkpoints = true;
  if (!command.storage.empty()) options.storage = parse_bandwidth(command.storage, "--storage");
  if (options.storage && options.storage->v <= 0) throw Error("--storage", "nothing is ever written at that", "e.g. --storage \"20 GB/s\"");
  const app::Explored explored = [&] {
    try {
      const app::Inputs inputs = app::load_inputs(command.plan);
      say_whose(inputs);
      if (options.storage && !inputs.plan.checkpoint.every_steps)
        throw Error("--storage", "says nothing about a plan without checkpoints", "add --set checkpoint.every_steps=100");
      return *app::explore(inputs, options);
    } catch (const Error& e) {
      if (e.where() == "ranks") throw Error("--ranks", e.message(), e.hint());
      throw;
    }
  }();
  const app::SimulateReport& report = explored.report;
  if (!command.trace.empty()) {
    write_file_atomically(command.trace, write_chrome_trace(*report.timeline));
    say("trace: {} ({} spans); open it in ui.perfetto.dev\n", command.trace, report.timeline->spans.size());
  }
  if (!command.write_plan.empty()) {
    write_file_atomically(command.write_plan, write_plan(report.plan));
    say("plan: {}\n", command.write_plan);
  }
  std::optional<app::Details> details;
  std::optional<app::Moment> moment;
  if (looks) {
    // Of all ranks, whosever spans the trace holds.
    std::optional<app::Explored> whole;
    if (!options.ranks.empty()) {
      options.ranks.clear();
      whole = app::explore(explored.inputs, options);
    }
    const app::Explored& of = whole ? *whole : explored;
    if (command.explain) details = app::details(of);
    if (!command.at.empty()) moment = app::moment(of, to_nearest_picosecond(parse_duration(command.at, "--at")), command.rank);
  }
  if (common.json) {
    print(app::to_json(report, details, moment));
  } else {
    print(text(report, command.explain));
    if (details) print(text(*details));
    if (moment) print(text(*moment));
  }
  return kOk;
}

int plan(const PlanCommand& command, const Common& common) {
  if (command.objective != "time") throw Error("--objective", fmt::format("'{}' is not built yet", command.objective), "known: time");
  check_outputs({command.output});
  const app::Inputs inputs = app::load_inputs(command.plan);
  say_whose(inputs);
  const planner::Space space = app::pinned(command.space, inputs.plan, command.plan.settings);
  planner::Options options;
  options.top = static_cast<std::size_t>(command.top);
  options.threads = static_cast<unsigned>(command.threads);
  options.cancel = &interrupted();
  app::PlanReport report;
  {
    ProgressBar bar("searching");
    options.progress = [&](std::int64_t done, std::int64_t of) { bar.update(done, of); };
    report = app::plan(inputs, space, options);
  }
  print(common.json ? app::to_json(report) : text(report, command.explain));
  if (report.outcome.cancelled) {
    say("interrupted: the table holds the best of what was simulated until then\n");
    return kInterrupted;
  }
  if (report.outcome.ranked.empty()) return kFailed;
  if (!command.output.empty()) {
    write_file_atomically(command.output, write_plan(report.inputs.plan));
    say("plan: {}\n", command.output);
  }
  return kOk;
}

int sweep(const SweepCommand& command, const Common& common) {
  check_outputs({command.output});
  app::Sweep sweep;
  sweep.base = command.base;
  if (!command.file.empty()) {
    const app::Sweep file = app::read_sweep(read_text_file(command.file), command.file);
    sweep.axes = file.axes;
    const auto otherwise = [](std::string& flag, const std::string& in_file) {
      if (flag.empty()) flag = in_file;
    };
    otherwise(sweep.base.plan, file.base.plan);
    otherwise(sweep.base.model, file.base.model);
    otherwise(sweep.base.cluster, file.base.cluster);
    otherwise(sweep.base.profile, file.base.profile);
    for (const app::Given& given : file.file_settings)
      if (!app::sets(sweep.base.settings, given.path)) sweep.file_settings.push_back(given);
    sweep.base.settings.insert(sweep.base.settings.begin(), file.base.settings.begin(), file.base.settings.end());
  }
  for (const std::string& axis : command.grid) sweep.axes.push_back(app::parse_axis(axis));
  if (sweep.axes.empty()) throw Error("orrery sweep", "there is no grid to sweep", "name a sweep file, or axes: --grid parallel.tp=1,2,4");
  app::SweepReport report;
  {
    ProgressBar bar("sweeping");
    app::SweepOptions options;
    options.threads = static_cast<unsigned>(command.threads);
    options.cancel = &interrupted();
    options.progress = [&](std::int64_t done, std::int64_t of) { bar.update(done, of); };
    report = app::sweep(sweep, options);
  }
  const std::string table = common.json ? app::to_json(report) : app::to_csv(report);
  if (command.output.empty()) {
    print(table);
  } else {
    write_file_atomically(command.output, table);
    say("{} points: {}\n", report.rows.size(), command.output);
  }
  if (report.cancelled) return kInterrupted;
  if (report.internal_errors == 0) return kOk;
  say("{} of {} points failed by an internal error: please report it\n", report.internal_errors, report.rows.size());
  return kFailed;
}

int compare(const CompareCommand& command, const Common& common) {
  const bool by_then = !command.then.empty();
  if (by_then && command.with) throw Error("--then", "says what side B is, and so does --with", "give one of them");
  if (!by_then && !command.with) {
    for (const auto& [name, file] : {std::pair{"A", &command.a}, {"B", &command.b}})
      if (file->empty())
        throw Error("orrery compare", fmt::format("{} is required", name),
                    "give two files; or flags of a plan and --then PATH=VALUE, or --with and the other side");
  } else if (!command.b.empty()) {
    throw Error("orrery compare", fmt::format("'{}' is one word too many", command.b), "side B stands after --with, or is side A with --then");
  }
  const app::Operand a{command.a, command.plan};
  app::Operand b = command.with.value_or(app::Operand{by_then ? command.a : command.b, command.plan});
  if (by_then && !command.a.empty() && app::file_kind(command.a) != app::FileKind::plan)
    throw Error("--then", fmt::format("changes a plan, and {} is none", command.a), "lay it beside another file: orrery compare A B");
  b.flags.settings.insert(b.flags.settings.end(), command.then.begin(), command.then.end());
  const app::CompareReport report = app::compare(a, b);
  print(common.json ? app::to_json(report) : text(report));
  return kOk;
}

int schedule(const ScheduleCommand& command, const Common& common) {
  if (int{common.json} + int{command.csv} + int{command.csv_full} + int{command.svg} > 1)
    throw Error("orrery schedule", "has one form of output at a time", "give one of --json, --csv, --csv-full and --svg");
  check_outputs({command.output});
  const app::ScheduleReport report = app::schedule(command.request);
  if (report.fault) {
    say("{}\n", report.fault->what());
    return kFailed;
  }
  const std::string out = common.json        ? app::to_json(report)
                          : command.svg      ? app::to_svg(report)
                          : command.csv      ? app::to_csv(report, program::CsvForm::compute)
                          : command.csv_full ? app::to_csv(report, program::CsvForm::full)
                                             : text(report, command.width.value_or(terminal_width()));
  if (command.output.empty())
    print(out);
  else
    write_file_atomically(command.output, out);
  return kOk;
}

int show(const ShowCommand& command, const Common& common) {
  if (!command.name.empty() && (command.what == "models" || command.what == "clusters" || command.what == "devices"))
    throw Error("orrery show " + command.what, fmt::format("'{}' is one word too many", command.name),
                fmt::format("one of them: orrery show {} {}", command.what.substr(0, command.what.size() - 1), command.name));
  if (!command.settings.empty() && command.what != "model" && command.what != "cluster" && command.what != "plan")
    throw Error("--set", fmt::format("says nothing about '{}'", command.what), "it changes what is shown of a model, a cluster or a plan");
  print(command.svg   ? app::show_svg(command.what, command.name)
        : common.json ? app::show_json(command.what, command.name, command.settings)
                      : app::show(command.what, command.name, command.settings));
  return kOk;
}

}  // namespace orrery::cli
