// What a new user does first, with mouse and keys, in one window: an example, tp, why is it slower, another plan, save, run, overlay.
#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "app/plan.h"
#include "app/simulate.h"
#include "app/sweep.h"
#include "core/files.h"
#include "core/plan_json.h"
#include "core/timeline_json.h"
#include "gui/charts/curve_chart.h"
#include "gui/charts/timeline_chart.h"
#include "gui/main_window.h"
#include "gui/message_strip.h"
#include "gui/page.h"
#include "gui/pages/compare_page.h"
#include "gui/pages/knob_widget.h"
#include "gui/pages/whatif_page.h"
#include "gui/view/examples.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

// Widgets that flash up as windows of their own, since they were shown before they had a parent: they take the keyboard away.
struct Flashes : QObject {
  QStringList seen;
  Flashes() { qApp->installEventFilter(this); }
  bool eventFilter(QObject* object, QEvent* event) override {
    const auto* widget = qobject_cast<const QWidget*>(object);
    if (event->type() == QEvent::Show && widget != nullptr && widget->isWindow() && !widget->inherits("orrery::gui::MainWindow") &&
        widget->windowType() == Qt::Window)
      seen << QString::fromUtf8(widget->metaObject()->className()) + " '" + widget->accessibleName() + "'";
    return false;
  }
};

struct User : ::testing::Test {
  Flashes flashes;
  Asked asked{view::examples().back().question};  // the one of this machine
  MainWindow window{asked.state};

  User() {
    window.resize(1280, 800);
    window.show();
    EXPECT_TRUE(QTest::qWaitForWindowActive(&window));
  }
  // To where a person's keys go.
  void keys(Qt::Key key, Qt::KeyboardModifiers modifiers = Qt::ControlModifier) {
    QWidget* focus = QApplication::focusWidget();
    QTest::keyClick(focus != nullptr ? focus : &window, key, modifiers);
  }
  ~User() override { EXPECT_TRUE(flashes.seen.isEmpty()) << flashes.seen.join(", ").toStdString(); }
  bool settle() {
    return wait_for([&] { return asked.state.settled() && window.page()->settled(); });
  }
  ViewState& state() { return asked.state; }
};

TEST_F(User, OpensTurnsComparesSavesRunsAndOverlays) {
  // Another tp, by the keyboard alone: Ctrl+6 is What-if.
  keys(Qt::Key_6);
  ASSERT_EQ(window.page()->key(), "whatif");
  ASSERT_TRUE(settle());  // the knobs know where they may stop
  auto* whatif = qobject_cast<WhatIfPage*>(window.page());
  auto* tp = whatif->knob("parallel.tp")->findChild<QSlider*>();
  tp->setFocus();
  QTest::keyClick(tp, Qt::Key_Left);
  ASSERT_TRUE(settle());
  EXPECT_EQ(state().answer()->inputs->plan.parallel.tp, 1);

  // Why? The sentence names what moved, against what was pinned without being asked to.
  ASSERT_NE(state().pinned(), nullptr);
  EXPECT_TRUE(whatif->sentence().contains("pinned plan")) << whatif->sentence().toStdString();

  // On the timeline a span says what it is and why it waited.
  keys(Qt::Key_2);
  ASSERT_EQ(window.page()->key(), "timeline");
  ASSERT_TRUE(settle());
  auto* chart = window.page()->findChild<TimelineChart*>();
  ASSERT_NE(chart, nullptr);
  chart->setFocus();
  QTest::keyClick(chart, Qt::Key_Right);
  EXPECT_TRUE(state().selection());

  // Other plans: search, and compare the best with the question.
  keys(Qt::Key_7);
  ASSERT_EQ(window.page()->key(), "plans");
  keys(Qt::Key_Return);
  ASSERT_TRUE(settle());
  ASSERT_NE(state().search(), nullptr);
  ASSERT_FALSE(state().search()->outcome.ranked.empty());
  auto* table = window.page()->findChild<QTableView*>();
  table->selectRow(1);  // the first may be the question itself
  for (QPushButton* button : window.page()->findChildren<QPushButton*>())
    if (button->text().startsWith("Compare")) QTest::mouseClick(button, Qt::LeftButton);
  ASSERT_TRUE(wait_for([&] { return window.page()->key() == "compare" && window.page()->settled(); }));
  EXPECT_TRUE(qobject_cast<ComparePage*>(window.page())->report());

  // Saved, and what the command line reads is what was on screen.
  const QTemporaryDir folder;
  const QString file = folder.filePath("plan.json");
  ASSERT_TRUE(state().save_plan(file));
  app::PlanFlags flags;
  flags.plan = file.toStdString();
  EXPECT_EQ(app::simulate(app::load_inputs(flags)).summary.step, state().answer()->report()->summary.step);

  // Run for real; closing meanwhile asks, and "let it go on" lets it.
  window.show_page("run");
  find<QSpinBox>(window.page(), "steps")->setValue(4);
  keys(Qt::Key_Return);
  ASSERT_TRUE(window.page()->running());
  window.close();
  EXPECT_TRUE(window.isVisible());
  QTest::mouseClick(find<QPushButton>(window.findChild<MessageStrip*>(), "Let it go on"), Qt::LeftButton);
  ASSERT_TRUE(settle());
  ASSERT_NE(state().run(), nullptr);
  EXPECT_EQ(state().run()->result.steps.size(), 4U);

  // Its timeline lies under the prediction.
  ASSERT_TRUE(state().measured());
  QTest::mouseClick(find<QPushButton>(window.page(), "Over the prediction"), Qt::LeftButton);
  EXPECT_EQ(window.page()->key(), "timeline");
  EXPECT_TRUE(settle());
}

TEST_F(User, TheThreeThingsToTryDoWhatTheySay) {
  state().ask(view::examples().front().question, "example");
  ASSERT_TRUE(settle());
  QTest::mouseClick(find<QPushButton>(&window, "1  Turn tp from 8 to 4"), Qt::LeftButton);
  ASSERT_TRUE(settle());
  EXPECT_EQ(window.page()->key(), "whatif");
  EXPECT_EQ(state().answer()->inputs->plan.parallel.tp, 4);
  EXPECT_EQ(state().pinned()->inputs->plan.parallel.tp, 8);
  QTest::mouseClick(find<QPushButton>(&window, "2  See what waits for what"), Qt::LeftButton);
  EXPECT_EQ(window.page()->key(), "timeline");
  QTest::mouseClick(find<QPushButton>(&window, "3  Search for a faster plan"), Qt::LeftButton);
  EXPECT_EQ(window.page()->key(), "plans");
  EXPECT_TRUE(window.page()->running());
  window.page()->stop();
  EXPECT_TRUE(wait_for([&] { return !window.page()->running(); }));
}

// Closing stops what runs, keeps what it found in files, says where, and then closes.
struct Closing : ::testing::Test {
  const QTemporaryDir folder;
  const QByteArray before = qgetenv("XDG_DATA_HOME");
  Closing() { qputenv("XDG_DATA_HOME", folder.path().toUtf8()); }
  ~Closing() override { before.isNull() ? qunsetenv("XDG_DATA_HOME") : qputenv("XDG_DATA_HOME", before); }

  std::string kept(const char* file) const { return read_text_file(folder.filePath(QString("orrery/") + file).toStdString()); }
  // Closes while the page, whose button was pressed, is at work.
  void close(MainWindow& window) {
    ASSERT_TRUE(window.page()->running());
    window.close();
    EXPECT_TRUE(window.isVisible());
    auto* strip = window.findChild<MessageStrip*>();
    const QString told = strip->text();
    EXPECT_TRUE(told.contains(*window.page()->running())) << told.toStdString();
    EXPECT_TRUE(told.contains(folder.filePath("orrery/last-" + window.page()->key()))) << told.toStdString();
    QTest::mouseClick(find<QPushButton>(strip, "Stop, keep it and close"), Qt::LeftButton);
    window.close();  // impatience changes nothing
    EXPECT_TRUE(wait_for([&] { return !window.isVisible(); }));
    EXPECT_FALSE(window.page()->running());
  }
};

TEST_F(Closing, DuringARunKeepsItsStepsAndItsTrace) {
  Asked asked{view::examples().back().question};
  MainWindow window(asked.state, folder.filePath("memory.ini"));
  window.show();
  window.show_page("run");
  find<QSpinBox>(window.page(), "steps")->setValue(100000);
  window.page()->act();
  const auto* losses = find<CurveChart>(window.page(), "loss");
  ASSERT_TRUE(wait_for([&] { return losses->points().size() > 1; }));
  close(window);
  EXPECT_NE(kept("last-run/run.json").find("\"run/1\""), std::string::npos);
  EXPECT_EQ(load_timeline(folder.filePath("orrery/last-run/trace.json").toStdString()).origin, "measured");
}

TEST_F(Closing, DuringASearchKeepsWhatItFoundAndItsQuestion) {
  app::PlanFlags question;
  question.model = "llama-3.1-8b", question.cluster = "dgx-h100:8", question.settings = {"batch.global=256", "batch.sequence=8192"};
  Asked asked(question);
  MainWindow window(asked.state, folder.filePath("memory.ini"));
  window.show();
  window.show_page("plans");
  find<QSpinBox>(window.page(), "plans to keep")->setValue(1000);
  window.page()->act();
  ASSERT_TRUE(wait_for([&] { return find<QProgressBar>(window.page(), "progress")->value() > 550; }));  // of 1000: it simulates
  close(window);
  ASSERT_TRUE(asked.state.search());
  EXPECT_EQ(kept("last-plans/plans.csv"), window.page()->csv()->toStdString());
  EXPECT_EQ(load_plan(folder.filePath("orrery/last-plans/question.json").toStdString()),
            app::load_inputs(app::searching_from(asked.state.question())).plan);
  ASSERT_FALSE(asked.state.search()->outcome.ranked.empty());
  EXPECT_EQ(load_plan(folder.filePath("orrery/last-plans/best.json").toStdString()), asked.state.search()->outcome.ranked.front().plan);
}

TEST_F(Closing, DuringASweepKeepsItsRowsAndItsQuestion) {
  Asked asked;
  MainWindow window(asked.state, folder.filePath("memory.ini"));
  window.show();
  window.show_page("sweeps");
  ASSERT_TRUE(wait_for([&] { return window.page()->settled(); }));
  QStringList seeds;
  for (int seed = 0; seed < 3000; ++seed) seeds << QString::number(seed);
  find<QComboBox>(window.page(), "field 1")->setEditText("seed");
  find<QLineEdit>(window.page(), "values 1")->setText(seeds.join(", "));
  find<QComboBox>(window.page(), "field 2")->setEditText("");
  window.page()->act();
  ASSERT_TRUE(wait_for([&] { return find<QProgressBar>(window.page(), "progress")->value() > 0; }));
  close(window);
  const app::SweepReport report = app::read_sweep_report(kept("last-sweeps/sweeps.csv"), "sweeps.csv");
  EXPECT_FALSE(report.rows.empty());
  EXPECT_LT(report.rows.size(), 3000U);
  EXPECT_EQ(report.rows.size(), asked.state.sweep()->rows.size());
  EXPECT_EQ(load_plan(folder.filePath("orrery/last-sweeps/question.json").toStdString()), asked.state.answer()->inputs->plan);
}

// Nothing was found: nothing is written.
TEST_F(Closing, WithNothingToKeepLeavesNoFolder) {
  Asked asked;
  MainWindow window(asked.state, folder.filePath("memory.ini"));
  window.show();
  window.close();
  EXPECT_FALSE(window.isVisible());
  EXPECT_FALSE(QFile::exists(folder.filePath("orrery")));
}

TEST_F(User, EveryPageFitsACommonScreenAndItsButtonsHaveNames) {
  for (Page* page : window.pages()) {
    window.show_page(page->key());
    QCoreApplication::processEvents();
    EXPECT_LE(page->minimumSizeHint().width(), 1280 - 148) << page->key().toStdString() << ": scrolls sideways at 1280";
    EXPECT_LE(page->minimumSizeHint().height(), 800 - 160) << page->key().toStdString() << ": scrolls at 800";
    for (const QAbstractButton* button : page->findChildren<QAbstractButton*>()) {
      if (qobject_cast<const QAbstractItemView*>(button->parentWidget()) != nullptr) continue;  // a table's corner
      if (qobject_cast<const QLineEdit*>(button->parentWidget()) != nullptr) continue;          // Qt's own, which clears the line
      EXPECT_TRUE(!button->text().isEmpty() || !button->accessibleName().isEmpty() || !button->toolTip().isEmpty())
          << page->key().toStdString() << ": a button without a name in " << button->parentWidget()->metaObject()->className();
    }
  }
}

}  // namespace
}  // namespace orrery::gui
