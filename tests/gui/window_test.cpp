// The window as a whole: first screen, undo, files, messages, closing.
#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "core/error.h"
#include "core/files.h"
#include "core/plan_json.h"
#include "gui/main_window.h"
#include "gui/message_strip.h"
#include "gui/page.h"
#include "gui/system_colours.h"
#include "gui/theme.h"
#include "gui/view/examples.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::wait_for;

TEST(Window, ShowsAllPagesByKey) {
  Asked asked;
  MainWindow window(asked.state);
  for (const char* key : {"setup", "timeline", "memory", "network", "energy", "whatif", "plans", "compare", "sweeps", "run"}) {
    EXPECT_TRUE(window.show_page(key)) << key;
    EXPECT_EQ(window.page()->key(), key);
  }
  EXPECT_FALSE(window.show_page("nowhere"));
}

TEST(Window, UndoAndRedoGoThroughTheQuestion) {
  Asked asked;
  MainWindow window(asked.state);
  window.show();
  asked.state.set("parallel.tp", "1");
  EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_EQ(asked.state.answer()->inputs->plan.parallel.tp, 1);
  QTest::keyClick(&window, Qt::Key_Z, Qt::ControlModifier);
  EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_EQ(asked.state.answer()->inputs->plan.parallel.tp, 2);
  EXPECT_EQ(asked.state.redo_what(), "parallel.tp = 1");
  asked.state.redo();
  EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_EQ(asked.state.answer()->inputs->plan.parallel.tp, 1);
}

TEST(Window, AnIllegalPlanIsNoErrorButARefusalAndTheLastFiguresStay) {
  Asked asked;
  asked.state.set("parallel.tp", "3");
  EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_FALSE(asked.state.answer()->refusals.empty());
  EXPECT_FALSE(asked.state.answer()->error);
  ASSERT_NE(asked.state.last_good(), nullptr);
  EXPECT_EQ(asked.state.last_good()->inputs->plan.parallel.tp, 2);
}

// What the file is wrong about is told in the words of the command line.
TEST(Window, ABrokenFileIsToldAsTheCommandLineTellsIt) {
  const QTemporaryDir folder;
  const QString path = folder.filePath("plan.json");
  write_file_atomically(path.toStdString(), "{\"orrery\": \"plan/1\", \"model\": \"llama-3-8b\", \"clutser\": \"dgx-h100:8\"}\n");
  std::string told;
  try {
    load_plan(path.toStdString());
  } catch (const Error& e) {
    told = e.what();
  }
  ASSERT_FALSE(told.empty());
  Asked asked;
  MainWindow window(asked.state);
  window.show();
  const app::PlanFlags before = asked.state.question();
  EXPECT_FALSE(asked.state.open(path));
  const auto* strip = window.findChild<MessageStrip*>();
  EXPECT_TRUE(strip->isVisible());
  EXPECT_EQ(strip->text().toStdString(), told);
  EXPECT_EQ(asked.state.question(), before);
}

TEST(Window, SavedPlansOpenAgainAndAreRemembered) {
  const QTemporaryDir folder;
  const QString plan = folder.filePath("saved.json"), memory = folder.filePath("memory.ini");
  Asked asked;
  asked.state.set("parallel.tp", "1");
  ASSERT_TRUE(wait_for([&] { return asked.state.settled(); }));
  const Plan saved = asked.state.answer()->inputs->plan;
  {
    MainWindow window(asked.state, memory);
    ASSERT_TRUE(asked.state.save_plan(plan));
    asked.state.undo();
    ASSERT_TRUE(asked.state.open(plan));
    ASSERT_TRUE(wait_for([&] { return asked.state.settled(); }));
    EXPECT_EQ(asked.state.answer()->inputs->plan, saved);
    window.show_page("memory");
    window.close();
  }
  const MainWindow again(asked.state, memory);
  EXPECT_EQ(again.recent(), QStringList{plan});
  EXPECT_EQ(again.page()->key(), "memory");
}

TEST(Window, SplittersAndColumnsStayAsTheyWerePut) {
  const QTemporaryDir folder;
  const QString memory = folder.filePath("memory.ini");
  Asked asked;
  const auto split = [](const MainWindow& window) { return window.page("timeline")->findChild<QSplitter*>(); };
  const auto table = [](const MainWindow& window) { return window.page("plans")->findChild<QTableView*>(); };
  const auto column = [&](const MainWindow& window) { return table(window)->horizontalHeader()->actions().at(1); };  // of its menu
  QList<int> sizes;
  bool shown = false;
  {
    MainWindow window(asked.state, memory);
    window.show_page("timeline");
    window.show();
    sizes = split(window)->sizes();
    ASSERT_GT(sizes.at(0), 400);
    sizes[0] -= 60, sizes[1] += 60;
    split(window)->setSizes(sizes);
    sizes = split(window)->sizes();
    shown = column(window)->isChecked();
    column(window)->trigger();
    ASSERT_NE(column(window)->isChecked(), shown);
    window.close();
  }
  MainWindow again(asked.state, memory);
  again.show();
  EXPECT_EQ(split(again)->sizes(), sizes);
  EXPECT_NE(column(again)->isChecked(), shown);
  EXPECT_EQ(table(again)->isColumnHidden(1), shown);
}

TEST(Window, ATraceIsShownUntilSomethingElseIsAsked) {
  const QTemporaryDir folder;
  Asked asked;
  ASSERT_TRUE(asked.state.save_trace(folder.filePath("trace.json")));
  const std::size_t spans = asked.state.timeline()->spans.size();
  MainWindow window(asked.state);
  ASSERT_TRUE(wait_for([&] { return !asked.state.busy_with_files(); }));
  ASSERT_TRUE(asked.state.open(folder.filePath("trace.json")));
  ASSERT_TRUE(wait_for([&] { return asked.state.trace().has_value(); }));
  EXPECT_EQ(window.page()->key(), "timeline");
  EXPECT_EQ(asked.state.timeline()->spans.size(), spans);
  asked.state.set("parallel.tp", "1");
  EXPECT_FALSE(asked.state.trace());
}

TEST(Window, APinIsGivenUpForAnotherModelAlone) {
  Asked asked;
  asked.state.pin();
  asked.state.set("parallel.tp", "1");
  ASSERT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_NE(asked.state.pinned(), nullptr);
  asked.state.ask(view::examples().front().question, "an example");
  ASSERT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_EQ(asked.state.pinned(), nullptr);
}

TEST(Window, OneGestureIsOneStepOfUndo) {
  Asked asked;
  const std::uint64_t gesture = ViewState::new_gesture();
  for (const char* seed : {"2", "3", "4"}) asked.state.set("seed", seed, gesture);
  asked.state.undo();
  EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_EQ(asked.state.answer()->inputs->plan.seed, 1U);
}

// Many questions at once: the last one is answered, and no answer is of an older question than the one before it.
TEST(Window, TheNewestQuestionWins) {
  Asked asked;
  std::uint64_t last = 0;
  QObject::connect(&asked.state, &ViewState::answer_changed, [&] {
    EXPECT_GE(asked.state.answer()->number, last);
    last = asked.state.answer()->number;
  });
  for (int i = 2; i < 40; ++i) asked.state.set("seed", std::to_string(i));
  EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_EQ(asked.state.answer()->inputs->plan.seed, 39U);
}

// The old timeline stays on screen until the new one is there, so that nothing flickers while a slider moves.
TEST(Window, TheTimelineStaysWhileANewOneIsMade) {
  Asked asked;
  int empty = 0;
  const auto look = [&] { empty += asked.state.timeline() == nullptr; };
  QObject::connect(&asked.state, &ViewState::answer_changed, look);
  QObject::connect(&asked.state, &ViewState::timeline_changed, look);
  const std::shared_ptr<const Timeline> old = asked.state.timeline();
  asked.state.set("parallel.tp", "1");
  EXPECT_EQ(asked.state.timeline(), old);
  EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_NE(asked.state.timeline(), old);
  EXPECT_EQ(empty, 0);
}

TEST(Window, AnIllegalPlanLeavesTheTimelineOfTheLastLegalOne) {
  Asked asked;
  const std::shared_ptr<const Timeline> old = asked.state.timeline();
  asked.state.set("parallel.tp", "3");
  EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
  EXPECT_FALSE(asked.state.answer()->refusals.empty());
  EXPECT_EQ(asked.state.timeline(), old);
}

TEST(Window, UndoTakesAnOpenedTraceAwayAsAnEditDoes) {
  const QTemporaryDir folder;
  Asked asked;
  asked.state.set("seed", "2");
  ASSERT_TRUE(wait_for([&] { return asked.state.settled(); }));
  ASSERT_TRUE(asked.state.save_trace(folder.filePath("trace.json")));
  ASSERT_TRUE(wait_for([&] { return !asked.state.busy_with_files(); }));
  ASSERT_TRUE(asked.state.open(folder.filePath("trace.json")));
  ASSERT_TRUE(wait_for([&] { return asked.state.trace().has_value(); }));
  asked.state.undo();
  EXPECT_FALSE(asked.state.trace());
}

// Empty, cut short, of another program, binary: the command line's words, and nothing changes.
TEST(Window, CorruptedFilesOfEveryKindAreTold) {
  const QTemporaryDir folder;
  Asked asked;
  ASSERT_TRUE(asked.state.save_trace(folder.filePath("trace.json")));
  ASSERT_TRUE(wait_for([&] { return !asked.state.busy_with_files(); }));
  const std::string trace = read_text_file(folder.filePath("trace.json").toStdString());
  const std::string config = read_text_file(ORRERY_SOURCE_DIR "/models/llama-3.1-8b.json");
  QString told;
  QObject::connect(&asked.state, &ViewState::message, [&](const QString& text, Tone tone) {
    if (tone == Tone::bad) told = text;
  });
  const app::PlanFlags before = asked.state.question();
  for (const std::string& text :
       {std::string(), std::string("\0\1\2\xff", 4), std::string("{\"orrery\": \"plan/1\""), trace.substr(0, trace.size() / 2),
        config.substr(0, config.size() / 2), std::string("{\"traceEvents\": [{\"name\": \"torch\"}]}"), std::string("{\"orrery\": \"cluster/1\"}"),
        std::string("{\"orrery\": \"profile/1\", \"x\": 1}")}) {
    const QString path = folder.filePath("file.json");
    write_file_atomically(path.toStdString(), text);
    told.clear();
    asked.state.open(path);
    EXPECT_TRUE(wait_for([&] { return !told.isEmpty() || (asked.state.settled() && asked.state.answer()->error); })) << text.substr(0, 40);
    if (told.isEmpty()) asked.state.undo();  // what only the whole question shows to be wrong
    EXPECT_EQ(asked.state.question(), before);
    EXPECT_FALSE(asked.state.trace());
  }
}

TEST(Window, FilesThatAreDroppedOpen) {
  const QTemporaryDir folder;
  const QString path = folder.filePath("plan.json");
  Asked asked;
  MainWindow window(asked.state);
  window.show();
  ASSERT_TRUE(asked.state.save_plan(path));
  QMimeData files;
  files.setUrls({QUrl::fromLocalFile(path)});
  QDragEnterEvent enter({10, 10}, Qt::CopyAction, &files, Qt::LeftButton, Qt::NoModifier);
  QCoreApplication::sendEvent(&window, &enter);
  EXPECT_TRUE(enter.isAccepted());
  QDropEvent drop({10, 10}, Qt::CopyAction, &files, Qt::LeftButton, Qt::NoModifier);
  QCoreApplication::sendEvent(&window, &drop);
  EXPECT_EQ(asked.state.question().plan, path.toStdString());
}

TEST(Window, EveryExampleOpensFromTheMenu) {
  Asked asked;
  MainWindow window(asked.state);
  for (const view::Example& example : view::examples()) {
    QAction* action = nullptr;
    for (QAction* each : window.findChildren<QAction*>())
      if (each->text() == QString::fromStdString(example.name)) action = each;
    ASSERT_NE(action, nullptr) << example.name;
    action->trigger();
    EXPECT_EQ(asked.state.question(), example.question);
    EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
    EXPECT_NE(asked.state.answer()->report(), nullptr) << example.name;
  }
}

TEST(Window, TheCommandOnTheClipboardAsksTheSame) {
  Asked asked;
  MainWindow window(asked.state);
  window.show();
  ASSERT_TRUE(QTest::qWaitForWindowActive(&window));
  QTest::keyClick(&window, Qt::Key_C, Qt::ControlModifier | Qt::ShiftModifier);
  const QString command = QApplication::clipboard()->text();
  EXPECT_TRUE(command.startsWith("orrery simulate ")) << command.toStdString();
  EXPECT_TRUE(command.contains("cpu-llama-tiny")) << command.toStdString();
}

// org.freedesktop.appearance: 0 no preference, 1 prefer dark, 2 prefer light; the portal's Read wraps its answer twice.
TEST(Colours, FollowThePortal) {
  EXPECT_EQ(SystemColours::dark_by(1U), true);
  EXPECT_EQ(SystemColours::dark_by(2U), false);
  EXPECT_EQ(SystemColours::dark_by(0U), std::nullopt);
  EXPECT_EQ(SystemColours::dark_by(QVariant::fromValue(QDBusVariant(QVariant::fromValue(QDBusVariant(1U))))), true);
  EXPECT_EQ(SystemColours::dark_by(QStringLiteral("dark")), std::nullopt);
}

TEST(Colours, DarkAndLightReachEveryWidget) {
  QWidget widget;
  widget.show();
  choose_theme(ThemeChoice::dark);
  QCoreApplication::processEvents();
  EXPECT_LT(widget.palette().color(QPalette::Window).lightness(), 100);
  choose_theme(ThemeChoice::light);
  QCoreApplication::processEvents();
  EXPECT_GT(widget.palette().color(QPalette::Window).lightness(), 200);
  choose_theme(ThemeChoice::system);
}

TEST(Message, ChoicesAreAskedInPlace) {
  MessageStrip strip;
  int chosen = 0;
  strip.say("still going on", Tone::bad, {{"stop", [&] { chosen = 1; }}, {"go on", [&] { chosen = 2; }}});
  EXPECT_TRUE(strip.isVisibleTo(nullptr));
  QTest::mouseClick(testing::find<QPushButton>(&strip, "go on"), Qt::LeftButton);
  EXPECT_EQ(chosen, 2);
  EXPECT_TRUE(strip.isHidden());
}

}  // namespace
}  // namespace orrery::gui
