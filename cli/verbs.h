// What each verb does once its command line is parsed. Every function returns the exit code and throws Error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/compare.h"
#include "app/inputs.h"
#include "app/schedule.h"
#include "planner/space.h"

namespace orrery::cli {

inline constexpr int kOk = 0, kFailed = 1, kBadInput = 2, kInterrupted = 130;  // exit codes

// Flags that every verb has.
struct Common {
  bool json = false;
};

struct SimulateCommand {
  app::PlanFlags plan;
  std::string convention = "causal-half", trace, tokens, write_plan, network = "analytic", storage, at;
  std::vector<std::int64_t> ranks;
  std::optional<std::int64_t> rank;  // that `at` looks at
  std::optional<double> price;
  bool unfold = false, explain = false;
};

struct PlanCommand {
  app::PlanFlags plan;
  planner::Space space;
  std::int64_t top = 10, threads = 0;
  bool explain = false;
  std::string output, objective = "time";
};

struct SweepCommand {
  std::string file, output;
  app::PlanFlags base;
  std::vector<std::string> grid;
  std::int64_t threads = 0;
};

struct CompareCommand {
  std::string a, b;               // files
  app::PlanFlags plan;            // for operands that are plans
  std::vector<std::string> then;  // side B is side A with these set
  std::optional<app::Operand> with;
};

struct ShowCommand {
  std::string what, name;
  std::vector<std::string> settings;
  bool svg = false;
};

struct ProfileCommand {
  std::string output, device = "cpu";
  app::PlanFlags plan;  // with a plan: the shapes that it needs; otherwise the standard grid
  std::optional<double> seconds;
  bool anew = false;
  std::string transfer_to, measured;  // the profile in the file `measured` as one of this device
};

struct RunCommand {
  app::PlanFlags plan;
  std::string data = "markov", trace, report, expert_load, device = "cpu";
  std::string checkpoint, resume, init;
  std::optional<std::int64_t> checkpoint_every;
  std::int64_t steps = 20;
  std::optional<std::int64_t> process, processes;
  std::string meet;
};

struct ScheduleCommand {
  app::ScheduleRequest request;
  std::string output;
  std::optional<std::size_t> width;
  bool csv = false, csv_full = false, svg = false;
};

struct DemoCommand {
  std::string folder = "orrery-demo", model, device = "cpu";
  std::vector<std::string> settings;
  std::int64_t steps = 20;
};

int simulate(const SimulateCommand& command, const Common& common);
int plan(const PlanCommand& command, const Common& common);
int sweep(const SweepCommand& command, const Common& common);
int compare(const CompareCommand& command, const Common& common);
int show(const ShowCommand& command, const Common& common);
int profile(const ProfileCommand& command, const Common& common);
int run(const RunCommand& command, const Common& common);
int schedule(const ScheduleCommand& command, const Common& common);
int demo(const DemoCommand& command, const Common& common);

}  // namespace orrery::cli
