// The Sweeps page: fields and values, the run of a grid, its map, and tables from files.
#include "gui/pages/sweeps_page.h"

#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "core/files.h"
#include "gui/charts/heat_chart.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

struct Page {
  Asked asked;
  SweepsPage page{asked.state};
  HeatChart* chart = page.findChild<HeatChart*>();
  Page() {
    page.resize(1000, 640);
    page.show();
    EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  }
  void field(int number, const QString& path, const QString& values) {
    find<QComboBox>(&page, QString("field %1").arg(number))->setEditText(path);
    find<QLineEdit>(&page, QString("values %1").arg(number))->setText(values);
  }
  void sweep() {
    QTest::mouseClick(find<QPushButton>(&page, "Sweep"), Qt::LeftButton);
    EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  }
  void click(std::size_t cell) { QTest::mouseClick(chart, Qt::LeftButton, Qt::NoModifier, chart->middle_of(cell).toPoint()); }
  QString outcome() { return find<QLabel>(&page, "outcome")->text(); }
};

TEST(SweepsPage, SweepsTwoFieldsAndMakesACellTheQuestion) {
  Page p;
  p.field(1, "parallel.tp", "1, 2");
  p.field(2, "batch.micro", "1, 2");
  p.sweep();
  ASSERT_TRUE(p.asked.state.sweep());
  EXPECT_EQ(p.asked.state.sweep()->rows.size(), 4U);
  ASSERT_TRUE(p.chart->map());
  EXPECT_EQ(p.chart->map()->columns, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(p.chart->map()->y, "batch.micro");
  const app::PlanFlags before = p.asked.state.question();
  p.click(2);  // the second line's first cell: micro-batches of 2, tp 1
  const app::Inputs inputs = app::load_inputs(p.asked.state.question());
  EXPECT_EQ(inputs.plan.parallel.tp, 1);
  EXPECT_EQ(inputs.plan.batch.micro, 2);
  EXPECT_EQ(p.chart->current(), 2U);
  EXPECT_TRUE(find<QLabel>(&p.page, "cell")->text().contains("batch.micro = 2"));
  p.asked.state.undo();
  EXPECT_EQ(p.asked.state.question(), before);
  EXPECT_TRUE(p.page.csv()->startsWith("parallel.tp,batch.micro,status,"));
  EXPECT_TRUE(p.page.command().contains("--grid parallel.tp=1,2 --grid batch.micro=1,2")) << p.page.command().toStdString();
}

// The values that a fresh page looks for are worth waiting for.
TEST(SweepsPage, PressedAtOnceItSweepsWhenItHasValues) {
  Asked asked;
  SweepsPage page(asked.state);  // nor is it seen yet, as where only a picture is wanted
  page.act();
  EXPECT_FALSE(page.settled());
  EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  ASSERT_TRUE(asked.state.sweep());
  EXPECT_EQ(asked.state.sweep()->axes.front().path, "parallel.tp");
}

TEST(SweepsPage, IsWalkedByKeys) {
  Page p;
  p.field(1, "parallel.tp", "1, 2");
  p.field(2, "batch.micro", "1, 2");
  p.sweep();
  p.chart->setFocus();
  QTest::keyClick(p.chart, Qt::Key_Right);
  EXPECT_EQ(p.chart->current(), 0U);  // the first key begins
  QTest::keyClick(p.chart, Qt::Key_Right);
  QTest::keyClick(p.chart, Qt::Key_Down);
  QTest::keyClick(p.chart, Qt::Key_Down);
  EXPECT_EQ(p.chart->current(), 3U);
  QTest::keyClick(p.chart, Qt::Key_Return);
  EXPECT_EQ(app::load_inputs(p.asked.state.question()).plan.batch.micro, 2);
}

TEST(SweepsPage, ShowsAnyTwoFieldsAndAnyFigure) {
  Page p;
  p.field(1, "parallel.tp", "1, 2");
  p.field(2, "batch.micro", "1, 2");
  p.field(3, "recompute.kind", "none, full");
  p.sweep();
  ASSERT_EQ(p.asked.state.sweep()->rows.size(), 8U);
  find<QComboBox>(&p.page, "field down")->setCurrentText("recompute.kind");
  EXPECT_EQ(p.chart->map()->lines, (std::vector<std::string>{"none", "full"}));
  EXPECT_EQ(p.chart->map()->cells[0].points, 2U);
  find<QComboBox>(&p.page, "figure")->setCurrentText("peak memory");
  EXPECT_EQ(p.chart->map()->figure, view::SweepFigure::memory);
  // Recomputing everything needs less.
  EXPECT_LT(*p.chart->map()->cells[2].value, *p.chart->map()->cells[0].value);
}

TEST(SweepsPage, ARefusedPointSaysWhy) {
  Page p;
  p.field(1, "parallel.tp", "2, 3");
  p.field(2, "", "");
  p.sweep();
  ASSERT_TRUE(p.chart->map());
  EXPECT_FALSE(p.chart->map()->cells[1].value);
  EXPECT_TRUE(QString::fromStdString(p.chart->map()->cells[1].why).contains("tp 3"));
}

TEST(SweepsPage, SuggestsLegalValues) {
  Page p;
  EXPECT_FALSE(find<QLineEdit>(&p.page, "values 1")->text().isEmpty());  // of tp, from the start
  p.field(2, "sharding.zero", "");
  QTest::mouseClick(find<QToolButton>(&p.page, "suggest values 2"), Qt::LeftButton);
  ASSERT_TRUE(wait_for([&] { return p.page.settled(); }));
  EXPECT_TRUE(find<QLineEdit>(&p.page, "values 2")->text().startsWith("0, 1")) << find<QLineEdit>(&p.page, "values 2")->text().toStdString();
}

TEST(SweepsPage, LooksOnceForValuesOfFieldsThatHaveNone) {
  Page p;
  p.field(1, "seed", "");
  p.field(2, "cluster.device.memory", "");
  QTest::mouseClick(find<QToolButton>(&p.page, "suggest values 1"), Qt::LeftButton);
  EXPECT_TRUE(wait_for([&] { return p.page.settled(); }));  // two fields without values must not ask for each other for ever
  QCoreApplication::processEvents();
  EXPECT_TRUE(p.page.settled());
}

TEST(SweepsPage, SuggestsInTurnWhatIsAskedForMeanwhile) {
  Page p;
  p.field(1, "parallel.tp", "");
  p.field(2, "sharding.zero", "9");
  QTest::mouseClick(find<QToolButton>(&p.page, "suggest values 1"), Qt::LeftButton);
  QTest::mouseClick(find<QToolButton>(&p.page, "suggest values 2"), Qt::LeftButton);
  ASSERT_TRUE(wait_for([&] { return p.page.settled(); }));
  EXPECT_TRUE(find<QLineEdit>(&p.page, "values 1")->text().startsWith("1")) << find<QLineEdit>(&p.page, "values 1")->text().toStdString();
  EXPECT_TRUE(find<QLineEdit>(&p.page, "values 2")->text().startsWith("0, 1")) << find<QLineEdit>(&p.page, "values 2")->text().toStdString();
}

TEST(SweepsPage, TellsWhatIsWrongInPlace) {
  Page p;
  p.field(1, "parallel.tp", "");
  p.sweep();
  EXPECT_TRUE(p.outcome().startsWith("parallel.tp: has no values"));
  p.field(1, "paralel.tp", "1");
  p.field(2, "", "");
  p.sweep();
  EXPECT_TRUE(p.outcome().contains("paralel")) << p.outcome().toStdString();
  EXPECT_FALSE(p.asked.state.sweep());
}

TEST(SweepsPage, OpensTablesAndSweeps) {
  const QTemporaryDir folder;
  const QString table = folder.filePath("t.csv"), sweep = folder.filePath("s.json"), broken = folder.filePath("b.csv");
  Page p;
  p.field(1, "parallel.tp", "1, 2");
  p.field(2, "seed", "1, 2");
  p.sweep();
  const app::SweepReport made = *p.asked.state.sweep();
  write_file_atomically(table.toStdString(), app::to_csv(made));
  write_file_atomically(sweep.toStdString(), R"({"orrery": "sweep/1", "grid": {"batch.micro": [1, 2], "schedule": ["gpipe"]}})");
  write_file_atomically(broken.toStdString(), "parallel.tp,status,step_time_s\r\n1,ok\r\n");
  p.asked.state.set_sweep(nullptr);
  EXPECT_FALSE(p.chart->map());
  ASSERT_TRUE(p.asked.state.open(table));
  ASSERT_TRUE(p.asked.state.sweep());
  EXPECT_EQ(p.asked.state.sweep()->rows.size(), made.rows.size());
  EXPECT_TRUE(p.outcome().startsWith("t.csv: 4 points"));
  p.click(0);  // of the present question, since nobody knows what the table was made from
  EXPECT_EQ(app::load_inputs(p.asked.state.question()).plan.parallel.tp, 1);
  ASSERT_TRUE(p.asked.state.open(sweep));
  EXPECT_EQ(find<QComboBox>(&p.page, "field 1")->currentText(), "batch.micro");
  EXPECT_EQ(find<QLineEdit>(&p.page, "values 2")->text(), "gpipe");
  QSignalSpy told(&p.asked.state, &ViewState::message);
  p.page.open(broken);
  ASSERT_EQ(told.count(), 1);
  EXPECT_TRUE(told[0][0].toString().contains("b.csv:2: has 2 fields, and the header 3"));
}

TEST(SweepsPage, CancelledItKeepsWhatWasDone) {
  Page p;
  QStringList seeds;
  for (int seed = 0; seed < 3000; ++seed) seeds << QString::number(seed);
  p.field(1, "seed", seeds.join(", "));
  p.field(2, "", "");
  QTest::mouseClick(find<QPushButton>(&p.page, "Sweep"), Qt::LeftButton);
  ASSERT_TRUE(wait_for([&] { return find<QProgressBar>(&p.page, "progress")->value() > 0; }));
  EXPECT_EQ(p.page.running(), "a sweep");
  QSignalSpy told(&p.asked.state, &ViewState::message);
  p.page.open("table.csv");
  ASSERT_EQ(told.count(), 1);
  EXPECT_TRUE(told[0][0].toString().contains("table.csv"));
  p.page.stop();
  ASSERT_TRUE(wait_for([&] { return p.page.settled(); }));
  ASSERT_TRUE(p.asked.state.sweep());
  EXPECT_TRUE(p.asked.state.sweep()->cancelled);
  EXPECT_FALSE(p.asked.state.sweep()->rows.empty());
  EXPECT_TRUE(p.outcome().startsWith("Stopped: "));
}

}  // namespace
}  // namespace orrery::gui
