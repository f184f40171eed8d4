// The Run page: a plan trained on this machine's CPU, from the window.
#include "gui/pages/run_page.h"

#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "core/files.h"
#include "gui/charts/curve_chart.h"
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
    EXPECT_EQ(p.chart("step times")->points()[i].y, result.steps[i].period.v);
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

TEST(RunPage, CancelledItKeepsWhatWasDone) {
  Page p;
  p.run(100'000);
  ASSERT_TRUE(wait_for([&] { return p.chart("loss")->points().size() >= 2; }));
  EXPECT_TRUE(p.page.running()->startsWith("a run, step "));
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
