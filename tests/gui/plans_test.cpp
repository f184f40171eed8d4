// The Plans page: a search with progress and cancel, its table and its points, what was refused, and what can be done with a plan.
#include "gui/pages/plans_page.h"

#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "app/plan.h"
#include "core/error.h"
#include "gui/charts/scatter_chart.h"
#include "gui/models/plan_table.h"
#include "gui/models/refused_tree.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

// Llama of four layers on eight H100: some plans are illegal, and with little memory some do not fit.
app::PlanFlags eight() {
  app::PlanFlags flags;
  flags.model = "cpu-llama-tiny";
  flags.cluster = "dgx-h100:8";
  flags.settings = {"batch.global=16", "batch.sequence=128", "parallel.tp=2", "cluster.device.memory=3 MB"};
  return flags;
}

void type(QWidget& page, const QString& field, const QString& text) {
  auto* edit = find<QLineEdit>(&page, field);
  ASSERT_NE(edit, nullptr);
  edit->setFocus();
  edit->selectAll();
  QTest::keyClicks(edit, text);
  if (text.isEmpty()) QTest::keyClick(edit, Qt::Key_Delete);
}

struct Searched {
  Asked asked{eight()};
  PlansPage page{asked.state};
  QTableView* table = nullptr;
  Searched() {
    page.resize(1100, 700);
    page.show();
    type(page, "values of schedule", "1f1b, gpipe");
    QTest::mouseClick(find<QPushButton>(&page, "Search"), Qt::LeftButton);
    EXPECT_TRUE(page.running());
    EXPECT_TRUE(wait_for([&] { return page.settled(); }));
    table = find<QTableView>(&page, "plans");
  }
  QModelIndex at(int row, int column) const { return table->model()->index(row, column); }
  double number(int row, int column) const { return at(row, column).data(PlanTable::kSortRole).toDouble(); }
  const planner::Outcome& outcome() const { return asked.state.search()->outcome; }
};

TEST(PlansPage, SearchesAndShowsEverythingThatItFound) {
  const Searched s;
  ASSERT_TRUE(s.asked.state.search());
  EXPECT_FALSE(s.page.running());
  EXPECT_GT(s.outcome().ranked.size(), 10U);
  EXPECT_EQ(s.table->model()->rowCount(), static_cast<int>(s.outcome().ranked.size()));
  EXPECT_EQ(static_cast<std::int64_t>(s.outcome().ranked.size()), s.outcome().simulated);  // not the best ten only
  EXPECT_EQ(s.number(0, PlanTable::step), to_seconds(s.outcome().ranked.front().step).v);
  EXPECT_TRUE(s.at(0, PlanTable::step).data().toString().contains("s"));
  EXPECT_TRUE(s.at(0, PlanTable::tp).data(Qt::TextAlignmentRole).toInt() & Qt::AlignRight);
  EXPECT_TRUE(s.table->isColumnHidden(PlanTable::price));  // no price is known
  // What the fields say is what the command searches.
  EXPECT_TRUE(s.page.command().contains("--schedule 1f1b,gpipe")) << s.page.command().toStdString();
  EXPECT_FALSE(s.page.command().contains("parallel.tp")) << s.page.command().toStdString();
}

TEST(PlansPage, IsSortedByNumbersAndFilteredByWords) {
  Searched s;
  s.table->sortByColumn(PlanTable::memory, Qt::AscendingOrder);
  for (int row = 1; row < s.table->model()->rowCount(); ++row) EXPECT_LE(s.number(row - 1, PlanTable::memory), s.number(row, PlanTable::memory));
  s.table->sortByColumn(PlanTable::energy, Qt::DescendingOrder);
  for (int row = 1; row < s.table->model()->rowCount(); ++row) EXPECT_GE(s.number(row - 1, PlanTable::energy), s.number(row, PlanTable::energy));
  const int all = s.table->model()->rowCount();
  type(s.page, "filter", "tp=1 gpipe");
  ASSERT_GT(s.table->model()->rowCount(), 0) << find<QLineEdit>(&s.page, "filter")->text().toStdString();
  EXPECT_LT(s.table->model()->rowCount(), all);
  for (int row = 0; row < s.table->model()->rowCount(); ++row) {
    EXPECT_EQ(s.number(row, PlanTable::tp), 1);
    EXPECT_EQ(s.at(row, PlanTable::schedule).data().toString(), "gpipe");
  }
  // The table is saved as it stands.
  EXPECT_EQ(s.page.csv()->count("\r\n"), s.table->model()->rowCount() + 1);
  EXPECT_TRUE(s.page.csv()->startsWith("#,step (s),memory (bytes),energy (J),tp,pp,")) << s.page.csv()->toStdString();
  type(s.page, "filter", "nonsense");
  EXPECT_EQ(s.table->model()->rowCount(), 0);
}

TEST(PlansPage, ColumnsAreChosen) {
  Searched s;
  EXPECT_TRUE(s.table->isColumnHidden(PlanTable::tokens));
  for (QAction* action : s.table->horizontalHeader()->actions())
    if (action->text() == "tokens/s") action->trigger();
  EXPECT_FALSE(s.table->isColumnHidden(PlanTable::tokens));
  EXPECT_TRUE(s.page.csv()->contains("tokens/s"));
}

TEST(PlansPage, TableAndPointsShareTheirSelection) {
  Searched s;
  auto* chart = s.page.findChild<ScatterChart*>();
  const auto point = std::find_if(chart->scatter().points.begin(), chart->scatter().points.end(),
                                  [](const view::PlanPoint& p) { return p.mark == view::PlanMark::front && p.index > 0; });
  ASSERT_NE(point, chart->scatter().points.end());
  QTest::mouseClick(chart, Qt::LeftButton, Qt::NoModifier, chart->place(*point).toPoint());
  ASSERT_EQ(s.table->selectionModel()->selectedRows().size(), 1);
  // Several plans may stand at the same point: what was picked is there.
  const auto& picked =
      s.outcome().ranked[static_cast<std::size_t>(s.number(s.table->selectionModel()->selectedRows().front().row(), PlanTable::rank)) - 1];
  EXPECT_EQ(to_seconds(picked.step).v, point->at.x);
  EXPECT_EQ(static_cast<double>(picked.peak_memory.v), point->at.y);
  QTest::keyClick(chart, Qt::Key_Right, Qt::ShiftModifier);
  EXPECT_EQ(s.table->selectionModel()->selectedRows().size(), 2);
  // Any two figures; money has no points without a price.
  find<QComboBox>(&s.page, "across")->setCurrentText("energy");
  EXPECT_EQ(chart->scatter().x, planner::Figure::energy);
  EXPECT_FALSE(chart->scatter().points.empty());
  find<QComboBox>(&s.page, "up")->setCurrentText("money");
  EXPECT_TRUE(chart->scatter().points.empty());
}

TEST(PlansPage, AChosenPlanBecomesTheQuestionAndUndoTakesItBack) {
  Searched s;
  const app::PlanFlags before = s.asked.state.question();
  s.table->selectRow(3);
  const Plan wanted = s.outcome().ranked[static_cast<std::size_t>(s.number(3, PlanTable::rank)) - 1].plan;
  QTest::mouseClick(find<QPushButton>(&s.page, "Use this plan"), Qt::LeftButton);
  EXPECT_EQ(app::load_inputs(s.asked.state.question()).plan, wanted);
  s.asked.state.undo();
  EXPECT_EQ(s.asked.state.question(), before);
}

TEST(PlansPage, TwoPlansAreComparedSideBySide) {
  Searched s;
  s.table->selectRow(0);
  EXPECT_EQ(find<QPushButton>(&s.page, "Compare with the question")->isEnabled(), true);
  s.table->selectionModel()->select(s.at(4, 0), QItemSelectionModel::Select | QItemSelectionModel::Rows);
  QTest::mouseClick(find<QPushButton>(&s.page, "Compare the two"), Qt::LeftButton);
  ASSERT_TRUE(wait_for([&] { return s.asked.state.compared().has_value(); }));
  const auto& [a, b] = *s.asked.state.compared();
  EXPECT_EQ(a.step, s.outcome().ranked[0].step);
  EXPECT_EQ(b.step, s.outcome().ranked[4].step);
  EXPECT_FALSE(a.operators.empty());
  EXPECT_TRUE(a.label.starts_with("plan 1: "));
}

TEST(PlansPage, SaysWhatWasRefusedAndWhy) {
  const Searched s;
  auto* tree = find<QTreeView>(const_cast<PlansPage*>(&s.page), "plans that were not chosen");
  const QAbstractItemModel& model = *tree->model();
  qlonglong plans = 0;
  bool memory = false;
  for (int group = 0; group < model.rowCount(); ++group) {
    const QModelIndex what = model.index(group, RefusedTree::what), count = model.index(group, RefusedTree::plans);
    plans += count.data().toLongLong();
    EXPECT_EQ(count.data().toLongLong(), model.rowCount(what));
    EXPECT_FALSE(model.index(group, RefusedTree::why).data().toString().isEmpty());
    EXPECT_TRUE(model.index(0, RefusedTree::what, what).data().toString().contains("tp="));
    memory = memory || what.data().toString() == "does not fit in memory";
  }
  EXPECT_TRUE(memory);
  EXPECT_EQ(plans, static_cast<qlonglong>(s.outcome().refused.size() + s.outcome().pruned.size()));
}

TEST(PlansPage, AWrongValueIsToldInPlace) {
  Asked asked(eight());
  PlansPage page(asked.state);
  type(page, "values of tp", "1, two");
  page.search();
  EXPECT_FALSE(page.running());
  EXPECT_TRUE(find<QLabel>(&page, "outcome")->text().startsWith("tp: 'two' is not a whole number"));
  type(page, "values of tp", "1");
  type(page, "values of schedule", "1f1d");
  page.search();
  EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  EXPECT_TRUE(find<QLabel>(&page, "outcome")->text().contains("1f1d"));
  EXPECT_FALSE(asked.state.search());
}

TEST(PlansPage, CancelledItKeepsWhatWasDone) {
  app::PlanFlags flags = eight();
  flags.model = "llama-3.1-8b";
  flags.settings = {"batch.global=256", "batch.sequence=8192"};
  Asked asked(flags);
  PlansPage page(asked.state);
  page.show();
  find<QSpinBox>(&page, "plans to keep")->setValue(1000);
  page.search();
  auto* cancel = find<QPushButton>(&page, "Cancel");
  ASSERT_TRUE(wait_for([&] { return find<QProgressBar>(&page, "progress")->value() > 0; }));
  QTest::mouseClick(cancel, Qt::LeftButton);
  EXPECT_FALSE(cancel->isEnabled());
  ASSERT_TRUE(wait_for([&] { return page.settled(); }));
  ASSERT_TRUE(asked.state.search());
  EXPECT_TRUE(asked.state.search()->outcome.cancelled);
  EXPECT_TRUE(find<QLabel>(&page, "outcome")->text().startsWith("Stopped"));
}

TEST(PlansPage, ItsModelsKeepTheRulesOfModels) {
  PlanTable table;
  RefusedTree tree;
  const QAbstractItemModelTester first(&table, QAbstractItemModelTester::FailureReportingMode::Fatal);
  const QAbstractItemModelTester second(&tree, QAbstractItemModelTester::FailureReportingMode::Fatal);
  planner::Options options;
  options.top = 3;
  const auto report = std::make_shared<const app::PlanReport>(app::plan(app::load_inputs(eight()), {}, options));
  for (const auto& each : {report, std::shared_ptr<const app::PlanReport>(), report}) {
    table.show_report(each);
    tree.show_report(each);
  }
  EXPECT_EQ(table.rowCount(), 3);
  EXPECT_GT(tree.rowCount(), 0);
}

}  // namespace
}  // namespace orrery::gui
