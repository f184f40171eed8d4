// The verbs that use this machine: profile, run, demo.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "app/demo.h"
#include "app/gpu.h"
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
#include "executor/mpi.h"

namespace orrery::cli {
namespace {

// As the flags say, or whoever started this process.
executor::Launch launch_of(const RunCommand& command) {
  executor::LaunchFlags flags;
  flags.process = command.process, flags.processes = command.processes;
  const std::size_t colon = command.meet.rfind(':');
  flags.address = command.meet.substr(0, colon);
  if (colon != std::string::npos) {
    const std::string port = command.meet.substr(colon + 1);
    int number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc() || end != port.data() + port.size() || number < 1 || number > 65535)
      throw Error("--meet", fmt::format("'{}' is not a port", port), "write HOST or HOST:PORT, with a port from 1 to 65535");
    flags.port = number;
  }
  flags.ask_mpi = true;
  executor::Launch launch = executor::detect_launch([](const char* name) { return std::getenv(name); }, flags);
  executor::ask_mpi(launch);
  return launch;
}

}  // namespace

int profile(const ProfileCommand& command, const Common& common) {
  if (command.transfer_to.empty() && !command.measured.empty())
    throw Error("orrery profile", fmt::format("'{}' is one word too many", command.measured),
                "with --transfer-to DEVICE it is the profile to transfer");
  if (!command.transfer_to.empty() && command.measured.empty())
    throw Error("--transfer-to", "says nothing without a profile",
                fmt::format("e.g. orrery profile h200.json --transfer-to {}", command.transfer_to));
  const bool gpu = command.device != "cpu";
  const std::string output = !command.output.empty()        ? command.output
                             : !command.transfer_to.empty() ? fmt::format("profile-{}.json", command.transfer_to)
                             : gpu                          ? "profile-gpu.json"
                                                            : "profile.json";  // each its own: none is overwritten by another's
  check_writable(output);
  Profile measured;
  if (!command.transfer_to.empty()) {
    measured = app::transferred(load_profile(command.measured), command.transfer_to);
  } else {
    app::ProfileSettings settings;
    settings.device = command.device;
    settings.plan = command.plan;
    settings.of_plan = !command.plan.plan.empty() || !command.plan.model.empty();
    if (settings.of_plan && settings.plan.cluster.empty() && settings.plan.plan.empty()) settings.plan.cluster = "this-machine";
    if (command.seconds) settings.budget = Seconds{*command.seconds};
    settings.cancel = &interrupted();
    if (gpu) settings.launch = executor::detect_launch([](const char* name) { return std::getenv(name); });
    if (std::error_code none; gpu && !command.anew && std::filesystem::is_regular_file(output, none))
      settings.earlier = read_profile(read_text_file(output), output);
    if (gpu) settings.save = [&](const Profile& p) { write_file_atomically(output, write_profile(p)); };
    settings.note = [](const std::string& what) { fmt::print(stderr, "{}\n", what); };
    ProgressBar bar("measuring");
    settings.progress = [&](std::int64_t done, std::int64_t of, const std::string& note) { bar.update(done, of, note); };
    measured = app::profile(settings);
    if (settings.launch.process > 0) return interrupted() ? kInterrupted : kOk;  // the first one reports
  }
  write_file_atomically(output, write_profile(measured));
  const std::string text = common.json ? app::show_json("profile", output) : app::show("profile", output);
  print(text);
  if (const std::size_t n = measured.left_out.size(); n > 0)
    fmt::print(stderr, "left out for want of time or memory: {}{} ('left_out' in the profile)\n", measured.left_out.front(),
               n > 1 ? fmt::format(" and {} more", n - 1) : "");
  fmt::print(stderr, "profile: {}\n", output);
  return interrupted() ? kInterrupted : kOk;
}

int run(const RunCommand& command, const Common& common) {
  app::check_device(command.device);
  const executor::Launch launch = launch_of(command);
  const bool first = launch.process == 0;  // the one that reports
  for (const std::string& file : {command.trace, command.report, command.expert_load})
    if (first && !file.empty()) check_writable(file);
  app::PlanFlags flags = command.plan;
  if (flags.plan.empty() && flags.cluster.empty()) flags.cluster = "this-machine";
  flags.cluster = app::cluster_on(command.device, flags.cluster);
  app::RunSettings settings;
  settings.data = command.data;
  settings.steps = command.steps;
  settings.device = command.device;
  settings.launch = launch;
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
    std::optional<ProgressBar> bar;
    if (first) bar.emplace("running");
    settings.progress = [&](const executor::StepReport& s) {
      if (!bar) return;
      bar->update(s.step + 1, command.steps,
                  fmt::format("loss {:.4f}  norm {:.3f}  {:.0f} tokens/s  {}", s.loss, s.gradient_norm, s.tokens_per_second,
                              format_bytes(Bytes{s.peak_live})));
    };
    report = app::run(inputs, settings);
  }
  if (!first) return report.result.cancelled ? kInterrupted : kOk;
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
  settings.device = command.device;
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
