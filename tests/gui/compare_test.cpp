// The Compare page: pinned and current, pairs that other pages give, files.
#include "gui/pages/compare_page.h"

#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "gui/models/difference_table.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

void ask(Asked& asked, const std::string& path, const std::string& value) {
  asked.state.set(path, value);
  ASSERT_TRUE(wait_for([&] { return asked.state.settled(); }));
}

TEST(ComparePage, SaysWhatToDoWhileThereIsNothingToCompare) {
  Asked asked;
  ComparePage page(asked.state);
  EXPECT_FALSE(page.report());
  EXPECT_FALSE(page.csv());
  EXPECT_FALSE(find<QPushButton>(&page, "swap sides")->isEnabled());
  EXPECT_EQ(find<QLabel>(&page, "headline")->text(), "Two steps side by side");
}

TEST(ComparePage, ComparesThePinnedAnswerWithThePresentOne) {
  Asked asked;
  ComparePage page(asked.state);
  page.resize(1100, 700);
  page.show();
  const Picoseconds before = asked.state.answer()->report()->summary.step;
  asked.state.pin();
  ask(asked, "recompute.kind", "full");
  ASSERT_TRUE(page.report());
  EXPECT_EQ(page.report()->a.step, before);
  EXPECT_EQ(page.report()->b.step, asked.state.answer()->report()->summary.step);
  EXPECT_TRUE(find<QLabel>(&page, "headline")->text().contains("longer than A (+")) << find<QLabel>(&page, "headline")->text().toStdString();
  // It follows the question.
  ask(asked, "recompute.kind", "none");
  EXPECT_EQ(page.report()->b.step, before);
  EXPECT_EQ(find<QLabel>(&page, "headline")->text(), "A and B take the same time");
}

TEST(ComparePage, ListsDifferencesLargestFirst) {
  Asked asked;
  ComparePage page(asked.state);
  asked.state.pin();
  ask(asked, "parallel.tp", "1");
  const auto* model = find<QTableView>(&page, "differences")->model();
  for (const char* rows : {"operators", "classes of work", "waterfall"}) {
    find<QComboBox>(&page, "rows of the table")->setCurrentText(rows);
    ASSERT_GT(model->rowCount(), 1) << rows;
    for (int row = 1; row < model->rowCount(); ++row)
      EXPECT_GE(model->index(row - 1, DifferenceTable::difference).data(DifferenceTable::kSortRole).toDouble(),
                model->index(row, DifferenceTable::difference).data(DifferenceTable::kSortRole).toDouble());
  }
  EXPECT_TRUE(page.csv()->startsWith("table,part,a,b,difference,unit\r\nwaterfall,ideal,"));
}

TEST(ComparePage, SwapsItsSides) {
  Asked asked;
  ComparePage page(asked.state);
  app::Summary a, b;
  a.label = "one", b.label = "two";
  a.step = a.waterfall.step = a.waterfall.ideal = Picoseconds{1'000'000'000};
  b.step = b.waterfall.step = b.waterfall.ideal = Picoseconds{2'000'000'000};
  asked.state.compare(a, b);
  ASSERT_TRUE(page.report());
  EXPECT_EQ(page.report()->a.label, "one");
  EXPECT_EQ(find<QLabel>(&page, "headline")->text(), "B takes 1 ms longer than A (+100.0 %)");
  QTest::mouseClick(find<QPushButton>(&page, "swap sides"), Qt::LeftButton);
  EXPECT_EQ(page.report()->a.label, "two");
  EXPECT_EQ(find<QLabel>(&page, "headline")->text(), "B takes 1 ms less than A (-50.0 %)");
}

TEST(ComparePage, ReadsFilesAndTellsWhatIsWrongWithThem) {
  const QTemporaryDir folder;
  const QString plan = folder.filePath("plan.json"), trace = folder.filePath("trace.json");
  Asked asked;
  ASSERT_TRUE(asked.state.save_plan(plan));
  ASSERT_TRUE(asked.state.save_trace(trace));
  ComparePage page(asked.state);
  QSignalSpy told(&asked.state, &ViewState::message);
  page.open(folder.filePath("missing.json"), true);
  ASSERT_TRUE(wait_for([&] { return page.settled(); }));
  ASSERT_EQ(told.count(), 1);
  EXPECT_TRUE(told[0][0].toString().contains("missing.json"));
  page.open(plan, true);
  ASSERT_TRUE(wait_for([&] { return page.settled(); }));
  page.open(trace, false);
  ASSERT_TRUE(wait_for([&] { return page.settled(); }));
  ASSERT_TRUE(page.report());
  EXPECT_EQ(page.report()->a.step, page.report()->b.step);
  EXPECT_EQ(page.report()->a.origin, "simulated");
  EXPECT_TRUE(page.command().contains("compare")) << page.command().toStdString();
  EXPECT_TRUE(page.command().contains(plan));
}

TEST(ComparePage, ItsTableKeepsTheRulesOfModels) {
  DifferenceTable table;
  const QAbstractItemModelTester tester(&table, QAbstractItemModelTester::FailureReportingMode::Fatal);
  table.show_rows({{"more", 1, 2}, {"new", 0, 1}, {"same", 1, 1}}, false);
  EXPECT_EQ(table.index(0, DifferenceTable::difference).data().toString(), "+1 s");
  EXPECT_EQ(table.index(0, DifferenceTable::relative).data().toString(), "+100.0 %");
  EXPECT_EQ(table.index(1, DifferenceTable::relative).data().toString(), "");
  EXPECT_EQ(table.index(2, DifferenceTable::difference).data().toString(), "");
  table.show_rows({{"stage 0", 3 * 1024, 1024}}, true);
  EXPECT_EQ(table.index(0, DifferenceTable::difference).data().toString(), "-2 KiB");
  table.show_rows({}, false);
}

}  // namespace
}  // namespace orrery::gui
