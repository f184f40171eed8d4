#include "app/file_kind.h"

#include <gtest/gtest.h>

#include "app/compare.h"
#include "app/plan.h"
#include "app/run.h"
#include "app/simulate.h"
#include "app/sweep.h"
#include "core/error.h"
#include "core/files.h"
#include "core/plan_json.h"
#include "core/timeline_json.h"
#include "support/temporary_folder.h"

namespace orrery::app {
namespace {

PlanFlags tiny() {
  PlanFlags flags;
  flags.model = "cpu-llama-tiny";
  flags.cluster = "this-machine:2";
  flags.tp = 2;
  flags.global_batch = 2;
  flags.sequence = 64;
  return flags;
}

// Every kind as its own writer writes it.
TEST(FileKind, KnowsWhatOurWritersWrite) {
  const TemporaryFolder folder;
  const auto kind = [&](const std::string& text) { return file_kind(folder.write("file", text)); };
  const Inputs inputs = load_inputs(tiny());
  SimulateOptions options;
  options.timeline = true;
  const SimulateReport report = simulate(inputs, options);
  EXPECT_EQ(kind(write_plan(inputs.plan)), FileKind::plan);
  EXPECT_EQ(kind(to_json(report)), FileKind::summary) << "it holds the plan further down";
  EXPECT_EQ(kind(write_summary(report.summary)), FileKind::summary);
  EXPECT_EQ(kind(write_chrome_trace(*report.timeline)), FileKind::trace);
  Sweep grid;
  grid.base = tiny();
  grid.axes = {parse_axis("batch.micro=1,2")};
  EXPECT_EQ(kind(to_csv(sweep(grid))), FileKind::table);
  EXPECT_EQ(kind(to_json(sweep(grid))), FileKind::table);
  RunSettings settings;
  settings.data = "markov";
  settings.steps = 1;
  EXPECT_EQ(kind(to_json(run(inputs, settings))), FileKind::summary) << "it holds the plan, and the prediction";
}

TEST(FileKind, KnowsWhatShips) {
  for (const auto& [name, kind] : {std::pair{"models/llama-3.1-8b.json", FileKind::model},
                                   {"models/gpt2.json", FileKind::model},
                                   {"topologies/clusters/dgx-h100.json", FileKind::cluster},
                                   {"topologies/devices/h100-sxm.json", FileKind::device},
                                   {"examples/plans/deepseek-v3.json", FileKind::plan}})
    EXPECT_EQ(file_kind(std::string(ORRERY_SOURCE_DIR) + "/" + name), kind) << name;
}

TEST(FileKind, RefusesTheRestInWords) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& text) {
    try {
      file_kind(folder.write("file", text));
    } catch (const Error& e) {
      return e.message();
    }
    return std::string();
  };
  EXPECT_EQ(refused(""), "is empty");
  EXPECT_EQ(refused("#!/bin/sh\n"), "is neither a JSON document nor a table of Orrery's");
  EXPECT_EQ(refused("{\"a\": 1}"), "is no document that Orrery knows");
  EXPECT_EQ(refused("{\"orrery\": \"schedule/1\"}"), "is a document of the kind 'schedule/1', which cannot be opened");
  EXPECT_THROW(file_kind((folder.path() / "missing").string()), Error);
}

}  // namespace
}  // namespace orrery::app
