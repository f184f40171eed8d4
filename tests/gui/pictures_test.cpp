// What each page looks like, held to pictures with a tolerance for fonts: a figure drawn twice as wide, a page that lost its chart, dark on dark.
#include <gtest/gtest.h>

#include <QtWidgets>
#include <cmath>
#include <map>

#include "app/compare.h"
#include "app/run.h"
#include "gui/main_window.h"
#include "gui/page.h"
#include "gui/screenshot.h"
#include "gui/theme.h"
#include "gui/view/examples.h"
#include "support.h"

namespace orrery::gui {
namespace {

// Model and cluster of the first example: figures from data files, nothing of this machine.
struct Pictures : ::testing::TestWithParam<const char*> {};

TEST_P(Pictures, LookAsTheyDid) {
  testing::Asked asked{view::examples().front().question};
  MainWindow window(asked.state);
  window.statusBar()->hide();  // says how long the answer took
  ASSERT_TRUE(window.show_page(GetParam()));
  if (std::string(GetParam()) == "whatif") {
    asked.state.pin();
    asked.state.set("parallel.tp", "4");
  }
  EXPECT_TRUE(testing::looks_like(screenshot(window, asked.state, {1280, 800}), GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Pages, Pictures,
                         ::testing::Values("setup", "timeline", "memory", "network", "energy", "plans", "compare", "sweeps", "whatif"),
                         [](const auto& page) { return std::string(page.param); });

// Nothing of the machine that the test runs on: its figures are said outright, and the run is made up.
app::PlanFlags some_machine() {
  app::PlanFlags question = testing::tiny();
  question.settings.insert(question.settings.end(), {"cluster.device.peak.fp32=80 GFLOPS", "cluster.device.memory=2 GiB", "cluster.shared_cores=4"});
  return question;
}

// Thirty steps that take a little longer than predicted, and a timeline whose spans do, each by another factor.
std::shared_ptr<const app::RunReport> made_up_run(const Answer& answer) {
  auto run = std::make_shared<app::RunReport>(app::RunReport{*answer.inputs, "markov", 1.3, {}, {}, *answer.report(), {}, 0.03});
  executor::RunResult& r = run->result;
  const Plan& plan = answer.inputs->plan;
  const double predicted = answer.report()->step_time.v, tokens = static_cast<double>(plan.batch.global * plan.batch.sequence);
  for (int k = 0; k < 30; ++k) {
    executor::StepReport& step = r.steps.emplace_back();
    step.step = k;
    step.loss = 1.3 + 4.3 * std::exp(-k / 14.0);
    step.period = Seconds{predicted * (k == 0 ? 2 : 1.2 + 0.04 * (k * 7 % 5))};
    step.tokens_per_second = tokens / step.period.v;
    step.peak_live = answer.report()->summary.peak_memory_by_stage.front();
  }
  r.timeline = *answer.timeline();
  r.timeline.origin = "measured";
  r.timeline_step = 17;
  std::map<std::pair<std::uint32_t, std::uint16_t>, Picoseconds> late;  // by lane
  for (std::size_t i = 0; i < r.timeline.spans.size(); ++i) {
    Span& s = r.timeline.spans[i];
    Picoseconds& by = late[{s.rank, s.stream}];
    const Picoseconds length = s.end - s.start, longer{length.v * static_cast<std::int64_t>(i % 5) / 8};
    s.start += by;
    by += longer;
    s.end = s.start + length + longer;
    r.timeline.step = std::max(r.timeline.step, s.end);
  }
  r.step_time = to_seconds(r.timeline.step);
  run->measured = app::summarise(r.timeline, "measured");
  r.waterfall = run->measured.waterfall;
  return run;
}

TEST(PicturesOfARun, LookAsTheyDid) {
  testing::Asked asked{some_machine()};
  MainWindow window(asked.state);
  window.statusBar()->hide();
  ASSERT_TRUE(window.show_page("run"));
  asked.state.set_run(made_up_run(*asked.state.answer()));
  EXPECT_TRUE(testing::looks_like(screenshot(window, asked.state, {1280, 800}), "run"));
}

struct Dark : ::testing::TestWithParam<const char*> {};

TEST_P(Dark, IsAnotherPictureOfTheSame) {
  testing::Asked asked{view::examples().front().question};
  choose_theme(ThemeChoice::dark);
  MainWindow window(asked.state);
  window.statusBar()->hide();
  ASSERT_TRUE(window.show_page(GetParam()));
  const QImage image = screenshot(window, asked.state, {1280, 800});
  choose_theme(ThemeChoice::system);
  EXPECT_TRUE(testing::looks_like(image, GetParam() + std::string("-dark")));
}

INSTANTIATE_TEST_SUITE_P(Pages, Dark, ::testing::Values("setup", "timeline", "network", "energy"),
                         [](const auto& page) { return std::string(page.param); });

// The comparison itself: the same picture passes, one that moved by 40 pixels does not.
TEST(LooksLike, SeesAPageThatMoved) {
  if (qEnvironmentVariableIsSet("ORRERY_UPDATE_PICTURES")) GTEST_SKIP() << "would write what is wrong";
  testing::Asked asked{view::examples().front().question};
  MainWindow window(asked.state);
  window.statusBar()->hide();
  ASSERT_TRUE(window.show_page("timeline"));
  const QImage image = screenshot(window, asked.state, {1280, 800});
  ASSERT_TRUE(testing::looks_like(image, "timeline"));
  EXPECT_FALSE(testing::looks_like(image.copy(40, 0, image.width(), image.height()), "timeline"));
  QImage black(image.size(), QImage::Format_RGB32);
  black.fill(Qt::black);
  EXPECT_FALSE(testing::looks_like(black, "timeline"));
}

}  // namespace
}  // namespace orrery::gui
