// The Setup page: fields are edited, illegal ones are told and mended, and everything can be undone.
#include <gtest/gtest.h>

#include <QAbstractItemModelTester>
#include <QtTest>
#include <QtWidgets>

#include "gui/models/catalog_model.h"
#include "gui/pages/field_list.h"
#include "gui/pages/problems_card.h"
#include "gui/pages/setup_page.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

struct Setup : ::testing::Test {
  Asked asked;
  SetupPage page{asked.state};

  Setup() {
    page.resize(1100, 700);
    page.show();
    EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  }
  FieldRow* row(const std::string& path) {
    FieldRow* found = page.fields().row(path);
    EXPECT_NE(found, nullptr) << path;
    return found;
  }
  // As a person does: all of the text away, another one, Enter.
  void type(const std::string& path, const QString& text, bool enter = true) {
    auto* line = qobject_cast<QLineEdit*>(row(path)->editor());
    ASSERT_NE(line, nullptr) << path;
    line->setFocus();
    line->selectAll();
    QTest::keyClick(line, Qt::Key_Delete);
    QTest::keyClicks(line, text);
    if (enter) QTest::keyClick(line, Qt::Key_Return);
  }
  void settle() {
    EXPECT_TRUE(wait_for([&] { return asked.state.settled() && page.settled(); }));
  }
  const Plan& plan() { return asked.state.answer()->inputs->plan; }
};

TEST_F(Setup, AnEditIsAskedAndOneStepOfUndo) {
  type("batch.sequence", "64");
  EXPECT_EQ(asked.state.undo_what(), "batch.sequence = 64");
  settle();
  EXPECT_EQ(plan().batch.sequence, 64);
  asked.state.undo();
  settle();
  EXPECT_EQ(plan().batch.sequence, 128);
  EXPECT_EQ(qobject_cast<QLineEdit*>(row("batch.sequence")->editor())->text(), "128");
}

TEST_F(Setup, AChoiceIsAskedWhenItIsMade) {
  auto* combo = qobject_cast<QComboBox*>(row("recompute.kind")->editor());
  ASSERT_NE(combo, nullptr);
  combo->setFocus();
  QTest::keyClicks(combo, "full");
  Q_EMIT combo->activated(combo->currentIndex());
  settle();
  EXPECT_EQ(plan().recompute.kind, "full");
}

// tp 3 divides neither 4 devices nor the heads.
TEST_F(Setup, AnIllegalEditIsToldAtTheFieldAndMendedByOneClick) {
  type("parallel.tp", "3");
  settle();
  EXPECT_FALSE(asked.state.answer()->refusals.empty());
  FieldRow* tp = row("parallel.tp");
  EXPECT_TRUE(tp->problem().contains("tp 3")) << tp->problem().toStdString();
  ASSERT_FALSE(page.problems().problems().empty());
  const std::vector<app::Mend>& mends = page.problems().problems().front().mends;
  ASSERT_FALSE(mends.empty());
  EXPECT_TRUE(page.problems().isVisible());
  QTest::mouseClick(find<QPushButton>(tp, QString::fromStdString(mends.front().words)), Qt::LeftButton);
  settle();
  EXPECT_TRUE(asked.state.answer()->refusals.empty());
  EXPECT_TRUE(row("parallel.tp")->problem().isEmpty());
  EXPECT_FALSE(page.problems().isVisible());
  asked.state.undo();
  settle();
  EXPECT_EQ(plan().parallel.tp, 3) << "the mend is a step of its own";
}

TEST_F(Setup, AListOnTopLeadsToTheField) {
  type("parallel.tp", "3");
  settle();
  type("batch.sequence", "", false);
  auto buttons = page.problems().findChildren<QToolButton*>();
  ASSERT_FALSE(buttons.isEmpty());
  QTest::mouseClick(buttons.front(), Qt::LeftButton);
  EXPECT_TRUE(row("parallel.tp")->editor()->hasFocus());
}

TEST_F(Setup, WhatCannotBeReadIsToldWhileItIsTypedAndTheQuestionStays) {
  const app::PlanFlags before = asked.state.question();
  type("parallel.tp", "0", false);
  EXPECT_TRUE(row("parallel.tp")->problem().contains("0")) << row("parallel.tp")->problem().toStdString();
  QTest::keyClick(row("parallel.tp")->editor(), Qt::Key_Return);
  EXPECT_EQ(asked.state.question(), before);
  QTest::keyClick(row("parallel.tp")->editor(), Qt::Key_A, Qt::ControlModifier);
  type("parallel.tp", "4");
  EXPECT_TRUE(row("parallel.tp")->problem().isEmpty());
  settle();
  EXPECT_EQ(plan().parallel.tp, 4);
}

// 8 sequences are no whole number of micro-batches of 3, which the reader says; 6 or 9 would be.
TEST_F(Setup, WhatCannotBeReadCanBeMendedToo) {
  type("batch.micro", "3");
  FieldRow* micro = row("batch.micro");
  EXPECT_FALSE(micro->problem().isEmpty());
  const QList<QPushButton*> mends = micro->findChildren<QPushButton*>();
  ASSERT_FALSE(mends.isEmpty());
  QTest::mouseClick(mends.front(), Qt::LeftButton);
  settle();
  ASSERT_FALSE(asked.state.answer()->error);
  EXPECT_EQ(plan().batch.micro, 3);
}

TEST_F(Setup, ResetTakesAnEditBack) {
  type("optimizer.clip", "2.5");
  settle();
  EXPECT_EQ(plan().optimizer.clip, 2.5);
  QTest::mouseClick(find<QToolButton>(&page, "Reset optimizer.clip"), Qt::LeftButton);
  settle();
  EXPECT_EQ(plan().optimizer.clip, 1.0);
}

TEST_F(Setup, FieldsOfClusterAndModelAreEditedInTheSameWay) {
  type("model.num_hidden_layers", "8");
  settle();
  EXPECT_EQ(asked.state.answer()->inputs->model.layers, 8);
  type("cluster.levels.0.bandwidth", "11 GB/s");
  settle();
  EXPECT_EQ(asked.state.answer()->inputs->cluster.levels[0].bandwidth.v, 11e9);
  type("cluster.levels.0.bandwidth", "11");
  EXPECT_TRUE(row("cluster.levels.0.bandwidth")->problem().contains("unit"));
}

TEST_F(Setup, TheFilterFindsFieldsOfEveryDocument) {
  auto* filter = find<QLineEdit>(&page, "Find a field");
  filter->setFocus();
  QTest::keyClicks(filter, "latency");
  EXPECT_EQ(page.fields().matches(app::DocumentKind::model), 0);
  EXPECT_GE(page.fields().matches(app::DocumentKind::cluster), 1);
  EXPECT_TRUE(row("cluster.levels.0.latency")->isVisible());
  EXPECT_FALSE(row("parallel.tp")->isVisible());
  filter->clear();
  EXPECT_TRUE(row("parallel.tp")->isVisible());
  EXPECT_FALSE(row("cluster.levels.0.latency")->isVisible());
}

TEST_F(Setup, OnlyWhatDiffersCanBeShown) {
  find<QCheckBox>(&page, "only what differs")->click();
  EXPECT_TRUE(row("parallel.tp")->isVisible());
  EXPECT_FALSE(row("parallel.cp")->isVisible());
}

TEST_F(Setup, ArrowsStepThroughLegalValues) {
  row("parallel.tp")->focus_editor();
  EXPECT_TRUE(wait_for([&] { return page.settled() && !row("parallel.tp")->legal().empty(); }));
  EXPECT_EQ(row("parallel.tp")->legal().front(), "1");
  QTest::keyClick(row("parallel.tp")->editor(), Qt::Key_Down);
  settle();
  EXPECT_EQ(plan().parallel.tp, 1);
}

TEST_F(Setup, AnotherModelLeavesWhatWasChangedInTheOneBefore) {
  type("model.num_hidden_layers", "8");
  settle();
  auto* model = find<QComboBox>(&page, "Model");
  model->setEditText("cpu-llama-small");
  QTest::keyClick(model->lineEdit(), Qt::Key_Return);
  settle();
  EXPECT_EQ(asked.state.answer()->inputs->model.name, "cpu-llama-small");
  for (const std::string& s : asked.state.question().settings) EXPECT_FALSE(s.starts_with("model.")) << s;
}

TEST_F(Setup, ANameThatIsNoneIsToldInPlace) {
  const app::PlanFlags before = asked.state.question();
  auto* model = find<QComboBox>(&page, "Model");
  model->setEditText("cpu-llama-smal");
  QTest::keyClick(model->lineEdit(), Qt::Key_Return);
  EXPECT_EQ(asked.state.question(), before);
  bool told = false;
  for (const QLabel* label : page.findChildren<QLabel*>()) told = told || (label->isVisible() && label->text().contains("cpu-llama-small"));
  EXPECT_TRUE(told) << "did you mean";
}

TEST_F(Setup, TheTableHasEveryField) {
  const QString csv = page.csv().value_or(QString());
  EXPECT_TRUE(csv.startsWith("path,value,default,about\r\n"));
  EXPECT_TRUE(csv.contains("\r\nparallel.tp,2,1,"));
  EXPECT_TRUE(csv.contains("\r\ncluster.devices,4,,"));
}

TEST(CatalogModel, IsAModel) {
  CatalogModel model;
  const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::Fatal);
  model.show_entries(view::cluster_catalog());
  EXPECT_EQ(model.rowCount(), static_cast<int>(model.entries().size()));
  EXPECT_EQ(model.data(model.index(0)).toString().toStdString(), model.entries().front().name);
  EXPECT_EQ(model.data(model.index(0), Qt::ToolTipRole).toString().toStdString(), model.entries().front().facts);
  model.show_entries({});
  EXPECT_EQ(model.rowCount(), 0);
}

}  // namespace
}  // namespace orrery::gui
