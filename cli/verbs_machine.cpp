// The verbs that use this machine: profile, run, demo.
#include <fmt/format.h>

#include <cstdio>

#include "app/demo.h"
#include "app/profile.h"
#include "app/run.h"
#include "app/show.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "core/files.h"
#include "core/profile_json.h"
#include "core/quantity_text.h"
#include "core/timeline_json.h"

namespace orrery::cli {
namespace {

void need_cpu(const std::string& device) {
  if (device != "cpu")
    throw Error("--device", fmt::format("'{}' cannot be used by this build", device), "known: cpu; this version does not run or profile on GPUs");
}

}  // namespace

int profile(const ProfileCommand& command, const Common& common) {
  need_cpu(command.device);
  app::ProfileSettings settings;
  settings.plan = command.plan;
  settings.of_plan = !command.plan.plan.empty() || !command.plan.model.empty();
  if (settings.of_plan && settings.plan.cluster.empty() && settings.plan.plan.empty()) settings.plan.cluster = "this-machine";
  check_writable(command.output);
  settings.budget = Seconds{command.seconds};
  settings.cancel = &interrupted();
  Profile measured;
  {
    ProgressBar bar("measuring");
    settings.progress = [&](std::int64_t done, std::int64_t of, const std::string& note) { bar.update(done, of, note); };
    measured = app::profile(settings);
  }
  write_file_atomically(command.output, write_profile(measured));
  const std::string text = common.json ? app::show_json("profile", command.output) : app::show("profile", command.output);
  print(text);
  if (const std::size_t n = measured.left_out.size(); n > 0)
    fmt::print(stderr, "left out for want of time or memory: {}{} ('left_out' in the profile)\n", measured.left_out.front(),
               n > 1 ? fmt::format(" and {} more", n - 1) : "");
  fmt::print(stderr, "profile: {}\n", command.output);
  return interrupted() ? kInterrupted : kOk;
}

int run(const RunCommand& command, const Common& common) {
  app::check_device(command.device);
  for (const std::string& file : {command.trace, command.report, command.expert_load})
    if (!file.empty()) check_writable(file);
  app::PlanFlags flags = command.plan;
  if (flags.plan.empty() && flags.cluster.empty()) flags.cluster = "this-machine";
  app::RunSettings settings;
  settings.data = command.data;
  settings.steps = command.steps;
  settings.device = command.device;
  settings.record_routing = command.device == "cpu" || !command.expert_load.empty();
  settings.cancel = &interrupted();
  settings.checkpoints.folder = command.checkpoint, settings.checkpoints.resume = command.resume, settings.checkpoints.init = command.init;
  if (command.checkpoint_every) {
    if (command.checkpoint.empty()) throw Error("--checkpoint-every", "nothing says where to", "give a folder: --checkpoint DIR");
    flags.settings.push_back(fmt::format("checkpoint.every_steps={}", *command.checkpoint_every));
  }
  const app::Inputs inputs = app::load_inputs(flags);
  if (!command.expert_load.empty() && (!inputs.model.moe || inputs.plan.runtime.moe_balanced))
    throw Error("--expert-load", fmt::format("no router of {} is free to choose", inputs.model.name),
                "run a mixture of experts with --set runtime.moe_balanced=false");
  app::RunReport report;
  {
    ProgressBar bar("running");
    settings.progress = [&](const executor::StepReport& s) {
      bar.update(s.step + 1, command.steps,
                 fmt::format("loss {:.4f}  norm {:.3f}  {:.0f} tokens/s  {}", s.loss, s.gradient_norm, s.tokens_per_second,
                             format_bytes(Bytes{s.peak_live})));
    };
    report = app::run(inputs, settings);
  }
  if (!command.trace.empty()) {
    write_file_atomically(command.trace, write_chrome_trace(report.result.timeline));
    fmt::print(stderr, "trace: {}\n", command.trace);
  }
  if (!command.report.empty()) {
    write_file_atomically(command.report, app::to_json(report));
    fmt::print(stderr, "report: {}\n", command.report);
  }
  if (!command.expert_load.empty()) {
    if (!report.expert_load.empty()) write_file_atomically(command.expert_load, report.expert_load);
    fmt::print(stderr, "expert load: {}\n", report.expert_load.empty() ? "nothing was routed" : command.expert_load);
  }
  if (report.result.checkpoint > 0)
    fmt::print(stderr, "checkpoint: {} has {} steps{}\n", command.checkpoint, report.result.checkpoint,
               report.result.cancelled ? fmt::format(": the same command with --resume {} goes on from there", command.checkpoint) : "");
  const std::string out = common.json ? app::to_json(report) : text(report);
  print(out);
  return report.result.cancelled ? kInterrupted : kOk;
}

int demo(const DemoCommand& command, const Common& common) {
  app::DemoSettings settings;
  settings.folder = command.folder;
  settings.model = command.model;
  settings.steps = command.steps;
  settings.settings = command.settings;
  settings.cancel = &interrupted();
  std::unique_ptr<ProgressBar> bar;
  settings.stage = [&](const std::string& what) {
    bar.reset();
    fmt::print(stderr, "{} …\n", what);
    bar = std::make_unique<ProgressBar>(" ");
  };
  settings.progress = [&](std::int64_t done, std::int64_t of, const std::string& note) {
    if (bar) bar->update(done, of, note);
  };
  const app::DemoReport report = app::demo(settings);
  bar.reset();
  const std::string out = common.json ? app::to_json(report) : text(report);
  print(out);
  return report.cancelled ? kInterrupted : kOk;
}

}  // namespace orrery::cli
