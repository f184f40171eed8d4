// The Run page: a plan trained on this machine's CPU, from the window.
#include "gui/pages/run_page.h"

#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "core/files.h"
#include "gui/charts/curve_chart.h"
#include "gui/charts/step_chart.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

struct Page {
  explicit Page(const app::PlanFlags& question = testing::tiny()) : asked(question), page(asked.state) {
    page.resize(1100, 700);
    page.show();
  }
  Asked asked;
  RunPage page;
  CurveChart* chart(const QString& name) { return find<CurveChart>(&page, name); }
  QString outcome() { return find<QLabel>(&page, "outcome")->text(); }
  void run(int steps) {
    find<QSpinBox>(&page, "steps")->setValue(steps);
    QTest::mouseClick(find<QPushButton>(&page, "Run"), Qt::LeftButton);
  }
};

TEST(RunPage, TrainsAndShowsLossesAndAMeasuredTimeline) {
  Page p;
  p.run(3);
  EXPECT_TRUE(p.page.running());
  ASSERT_TRUE(wait_for([&] { return p.page.settled(); })) << p.outcome().toStdString();
  ASSERT_TRUE(p.asked.state.run()) << p.outcome().toStdString();
  const executor::RunResult& result = p.asked.state.run()->result;
  ASSERT_EQ(result.steps.size(), 3U);
  const auto& points = p.chart("loss")->points();
  ASSERT_EQ(points.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(points[i].x, static_cast<double>(i + 1));
    EXPECT_EQ(points[i].y, result.steps[i].loss);
    EXPECT_EQ(p.chart("throughput")->points()[i].y, result.steps[i].tokens_per_second);
  }
  ASSERT_TRUE(p.asked.state.measured());
  EXPECT_EQ(p.asked.state.measured()->timeline->origin, "measured");
  EXPECT_FALSE(p.asked.state.measured()->timeline->spans.empty());
  EXPECT_TRUE(find<QLabel>(&p.page, "time per step")->text().contains("s"));
  EXPECT_TRUE(find<QLabel>(&p.page, "verdict")->text().startsWith("3 steps of "));
  EXPECT_EQ(p.page.csv()->count("\r\n"), 4);
  QSignalSpy wanted(&p.asked.state, &ViewState::page_wanted);
  QTest::mouseClick(find<QPushButton>(&p.page, "Compare in detail"), Qt::LeftButton);
  ASSERT_EQ(wanted.count(), 1);
  EXPECT_EQ(wanted[0][0].toString(), "compare");
}

// The newest step stands beside its prediction, here and on the Timeline page, as long as the run goes on.
TEST(RunPage, ShowsTheMeasuredTimelineWhileItRuns) {
  Page p;
  const auto* chart = p.page.findChild<StepChart*>();
  EXPECT_FALSE(chart->step().measured);
  ASSERT_TRUE(chart->step().predicted);  // what the answer says is there before anything runs
  EXPECT_EQ(&chart->step().predicted->timeline(), p.asked.state.timeline().get());
  p.run(1'000'000);
  EXPECT_FALSE(chart->step().predicted);
  ASSERT_TRUE(wait_for([&] { return chart->step().measured && chart->step().name != "step 1"; }));
  ASSERT_TRUE(p.page.running());
  const Timeline& measured = chart->step().measured->timeline();
  EXPECT_EQ(measured.origin, "measured");
  EXPECT_EQ(measured.ranks.size(), 4U);
  ASSERT_TRUE(chart->step().predicted);
  EXPECT_EQ(&chart->step().predicted->timeline(), p.asked.state.timeline().get());
  EXPECT_GT(chart->step().differences->matched(), 0U);
  EXPECT_GE(chart->until(), measured.step);
  ASSERT_TRUE(p.asked.state.measured());
  EXPECT_EQ(p.asked.state.measured()->timeline.get(), &measured);
  EXPECT_TRUE(p.asked.state.measured()->live);
  EXPECT_TRUE(p.asked.state.measured()->name.startsWith("running: step "));
  EXPECT_TRUE(find<QPushButton>(&p.page, "Over the prediction")->isEnabled());
  // What the user took away does not come back before the end.
  p.asked.state.set_measured(std::nullopt);
  const QString name = chart->step().name;
  ASSERT_TRUE(wait_for([&] { return chart->step().name != name; }));
  EXPECT_FALSE(p.asked.state.measured());
  p.page.stop();
  ASSERT_TRUE(wait_for([&] { return p.page.settled(); }));
  ASSERT_TRUE(p.asked.state.measured());
  EXPECT_FALSE(p.asked.state.measured()->live);
  EXPECT_EQ(&chart->step().measured->timeline(), &p.asked.state.run()->result.timeline);
  QSignalSpy wanted(&p.asked.state, &ViewState::page_wanted);
  QTest::mouseClick(p.page.findChild<StepChart*>(), Qt::LeftButton);
  ASSERT_EQ(wanted.count(), 1);
  EXPECT_EQ(wanted[0][0].toString(), "timeline");
}

// A run of another model than the question's says nothing about it.
TEST(RunPage, IsNotLaidOverThePredictionOfAnotherModel) {
  Page p;
  p.run(1'000'000);
  ASSERT_TRUE(wait_for([&] { return p.asked.state.measured().has_value(); }));
  p.asked.state.set("model", "cpu-llama-small");
  ASSERT_TRUE(wait_for([&] { return p.asked.state.settled() && !p.asked.state.measured(); }));
  const auto* chart = p.page.findChild<StepChart*>();
  const QString name = chart->step().name;
  ASSERT_TRUE(wait_for([&] { return chart->step().name != name; }));
  EXPECT_FALSE(p.asked.state.measured());
  p.page.stop();
  ASSERT_TRUE(wait_for([&] { return p.page.settled(); }));
  ASSERT_TRUE(p.asked.state.run());
  EXPECT_FALSE(p.asked.state.measured());
}

TEST(RunPage, CancelledItKeepsWhatWasDone) {
  Page p;
  p.run(100'000);
  ASSERT_TRUE(wait_for([&] { return p.chart("loss")->points().size() >= 2; }));
  EXPECT_TRUE(p.page.running()->startsWith("a run, step "));
  // Of very many steps, the chart shows so many that the curve is one.
  EXPECT_LE(p.chart("loss")->last_step(), std::max(32.0, 4.0 * static_cast<double>(p.chart("loss")->points().size())));
  EXPECT_TRUE(p.page.running()->endsWith(" of 100000"));
  QTest::mouseClick(find<QPushButton>(&p.page, "Cancel"), Qt::LeftButton);
  ASSERT_TRUE(wait_for([&] { return p.page.settled(); }));
  EXPECT_FALSE(p.page.running());
  ASSERT_TRUE(p.asked.state.run());
  EXPECT_TRUE(p.asked.state.run()->result.cancelled);
  EXPECT_GE(p.asked.state.run()->result.steps.size(), 2U);
  EXPECT_EQ(p.chart("loss")->points().size(), p.asked.state.run()->result.steps.size());
  EXPECT_FALSE(p.asked.state.measured()->timeline->spans.empty());
  EXPECT_EQ(p.outcome(), "stopped; what was done is kept");
}

TEST(RunPage, OffersAWayOutWhereTheClusterIsNotThisMachine) {
  app::PlanFlags far;
  far.model = "cpu-llama-tiny";
  far.cluster = "dgx-h100:8";
  far.settings = {"batch.global=16", "batch.sequence=128"};
  Page p(far);
  EXPECT_FALSE(find<QPushButton>(&p.page, "Run")->isEnabled());
  p.page.run();
  EXPECT_FALSE(p.page.running());
  EXPECT_TRUE(find<QLabel>(&p.page, "why it cannot run")->text().contains("dgx-h100:8, is not this machine"));
  QTest::mouseClick(find<QPushButton>(&p.page, "Switch to a tiny model on this CPU"), Qt::LeftButton);
  ASSERT_TRUE(wait_for([&] { return p.asked.state.settled(); }));
  EXPECT_TRUE(find<QPushButton>(&p.page, "Run")->isEnabled());
  EXPECT_EQ(p.asked.state.answer()->inputs->cluster.device.kind, DeviceKind::cpu_core);
  p.asked.state.undo();
  EXPECT_EQ(p.asked.state.question(), far);
}

TEST(RunPage, AnIllegalPlanIsNotRun) {
  Page p;
  p.asked.state.set("parallel.tp", "3");
  ASSERT_TRUE(wait_for([&] { return p.asked.state.settled(); }));
  EXPECT_FALSE(find<QPushButton>(&p.page, "Run")->isEnabled());
  EXPECT_TRUE(find<QLabel>(&p.page, "why it cannot run")->text().startsWith("The plan is not legal: "));
}

TEST(RunPage, TellsWhatIsWrongWithTheDataInPlace) {
  Page p;
  find<QComboBox>(&p.page, "data")->setEditText("nowhere.txt");
  p.run(1);
  ASSERT_TRUE(wait_for([&] { return p.page.settled(); }));
  EXPECT_TRUE(p.outcome().contains("nowhere.txt")) << p.outcome().toStdString();
  EXPECT_FALSE(p.asked.state.run());
}

}  // namespace
}  // namespace orrery::gui
