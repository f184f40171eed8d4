// What all pages have in common: the command that prints what is on screen, the picture of it, and that they say when it is not of the present
// question.
#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "app/plan.h"
#include "core/quantity_text.h"
#include "gui/charts/chart.h"
#include "gui/main_window.h"
#include "gui/models/holdings_model.h"
#include "gui/models/link_models.h"
#include "gui/pages/compare_page.h"
#include "gui/pages/memory_page.h"
#include "gui/picture.h"
#include "gui/screenshot.h"
#include "gui/theme.h"
#include "gui/veil.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

app::PlanFlags two_nodes() {
  app::PlanFlags flags;
  flags.model = "cpu-llama-tiny", flags.cluster = "dgx-h100:16";
  flags.settings = {"batch.global=16", "batch.micro=1", "batch.sequence=128", "parallel.tp=2", "parallel.pp=4"};
  return flags;
}

// What the built program prints for the command, as JSON; `more` stands behind it.
QJsonValue printed(const QString& command, const QString& more = QStringLiteral(" --json")) {
  QProcess program;
  EXPECT_TRUE(command.startsWith("orrery ")) << command.toStdString();
  program.start("/bin/sh", {"-c", "'" ORRERY_PROGRAM "' " + command.mid(7) + more});
  EXPECT_TRUE(program.waitForFinished(60000));
  EXPECT_EQ(program.exitCode(), 0) << command.toStdString() << "\n" << program.readAllStandardError().toStdString();
  return QJsonDocument::fromJson(program.readAllStandardOutput()).object();
}

struct Windowed {
  Asked asked;
  MainWindow window;
  explicit Windowed(const app::PlanFlags& flags = two_nodes()) : asked(flags), window(asked.state) { screenshot(window, asked.state, {1280, 800}); }
  Page* show(const char* key) {
    EXPECT_TRUE(window.show_page(key));
    settle();
    return window.page();
  }
  void settle() {
    EXPECT_TRUE(wait_for([&] { return asked.state.settled() && window.page()->settled(); }));
  }
};

TEST(Command, OfMemoryPrintsTheBuffersOnScreen) {
  Windowed w;
  Page* page = w.show("memory");
  for (const char* when : {"peak", "cursor"}) {
    if (std::string(when) == "cursor") {
      w.asked.state.set_cursor(Picoseconds{w.asked.state.timeline()->step.v / 3});
      find<QRadioButton>(page, "At the &cursor")->setChecked(true);
    }
    const QJsonArray buffers = printed(page->command())["moment"]["memory"]["buffers"].toArray();
    const auto& shown = page->findChild<HoldingsModel*>()->holdings();
    ASSERT_EQ(buffers.size(), static_cast<qsizetype>(shown.size())) << when;
    for (qsizetype i = 0; i < buffers.size(); ++i) {
      EXPECT_EQ(buffers[i]["name"].toString().toStdString(), shown[static_cast<std::size_t>(i)].name);
      EXPECT_EQ(buffers[i]["bytes"].toInteger(), shown[static_cast<std::size_t>(i)].bytes);
    }
  }
}

TEST(Command, OfNetworkPrintsTheLinksOnScreen) {
  Windowed w;
  Page* page = w.show("network");
  const auto compare = [&](const QJsonArray& links) {
    const auto& shown = page->findChild<HotLinksModel*>()->links();
    ASSERT_EQ(links.size(), static_cast<qsizetype>(shown.size()));
    for (qsizetype i = 0; i < links.size(); ++i) {
      EXPECT_EQ(links[i]["device"].toInteger(), shown[static_cast<std::size_t>(i)].device);
      EXPECT_DOUBLE_EQ(links[i]["load"].toDouble(), shown[static_cast<std::size_t>(i)].load);
    }
  };
  compare(printed(page->command())["details"]["links"].toArray());
  w.asked.state.set_cursor(Picoseconds{w.asked.state.timeline()->step.v / 2});
  find<QRadioButton>(page, "At the &cursor")->setChecked(true);
  w.settle();
  compare(printed(page->command())["moment"]["links"].toArray());
}

TEST(Command, OfEnergyPrintsTheFiguresOnScreen) {
  Windowed w;
  Page* page = w.show("energy");
  const QJsonValue power = printed(page->command())["details"]["power"];
  EXPECT_EQ(find<QLabel>(page, "mean power")->text().toStdString(), format_power(Watts{power["mean_w"].toDouble()}));
  EXPECT_EQ(find<QLabel>(page, "highest power")->text().toStdString(), format_power(Watts{power["highest_w"].toDouble()}));
}

TEST(Command, OfASelectedSpanPrintsWhatThePanelSays) {
  Windowed w;
  Page* page = w.show("timeline");
  const std::shared_ptr<const Timeline> timeline = w.asked.state.timeline();
  EXPECT_TRUE(page->command().contains("--trace"));
  w.asked.state.select(static_cast<std::uint32_t>(timeline->spans.size() / 2));
  const QJsonArray spans = printed(page->command())["moment"]["spans"].toArray();
  const bool there = std::any_of(spans.begin(), spans.end(),
                                 [&](const QJsonValue& s) { return s["span"].toInteger() == static_cast<qint64>(timeline->spans.size() / 2); });
  EXPECT_TRUE(there) << page->command().toStdString();
}

// Plans that nobody saved: the pinned one and the question, and two of a search.
TEST(Command, OfComparePrintsTheSameComparison) {
  Windowed w;
  Page* page = w.show("compare");
  EXPECT_TRUE(page->command().isEmpty());
  EXPECT_FALSE(page->without_command().isEmpty());
  const auto agree = [&](const app::CompareReport& shown) {
    const QJsonValue out = printed(page->command());
    const QJsonArray rows = out["waterfall_s"].toArray();
    ASSERT_EQ(rows.size(), static_cast<qsizetype>(shown.waterfall.size())) << QJsonDocument(out.toObject()).toJson().toStdString().substr(0, 2000);
    for (qsizetype i = 0; i < rows.size(); ++i) {
      EXPECT_DOUBLE_EQ(rows[i]["a"].toDouble(), shown.waterfall[static_cast<std::size_t>(i)].a);
      EXPECT_DOUBLE_EQ(rows[i]["b"].toDouble(), shown.waterfall[static_cast<std::size_t>(i)].b);
    }
  };
  w.asked.state.pin();
  w.asked.state.set("parallel.tp", "4");
  w.settle();
  EXPECT_TRUE(page->command().contains("--then parallel.tp=4")) << page->command().toStdString();
  const auto& report = dynamic_cast<ComparePage&>(*page).report();
  ASSERT_TRUE(report);
  agree(*report);
  // The same from What-if, where the change is on screen.
  EXPECT_EQ(w.show("whatif")->command(), page->command());
  w.show("compare");
  app::PlanFlags fewer = two_nodes();
  fewer.settings.pop_back();  // what the pinned one says of pp cannot be taken back by a setting
  w.asked.state.ask(fewer, "another");
  w.settle();
  EXPECT_TRUE(page->command().contains("--with")) << page->command().toStdString();
  agree(*report);
  w.asked.state.ask(two_nodes(), "again");
  w.show("plans");
  w.window.page()->act();
  EXPECT_TRUE(wait_for([&] { return w.asked.state.search() != nullptr && !w.window.page()->running(); }));
  auto* table = w.window.page()->findChild<QTableView*>();
  table->selectionModel()->select(table->model()->index(1, 0), QItemSelectionModel::ClearAndSelect | QItemSelectionModel::Rows);
  table->selectionModel()->select(table->model()->index(2, 0), QItemSelectionModel::Select | QItemSelectionModel::Rows);
  QTest::mouseClick(find<QPushButton>(w.window.page(), "Compare the two"), Qt::LeftButton);
  EXPECT_TRUE(wait_for([&] { return w.window.page()->key() == "compare" && w.window.page()->settled(); }));
  agree(*report);
}

TEST(Command, OfAnOpenedTraceIsAboutTheTrace) {
  const QTemporaryDir folder;
  const QString path = folder.filePath("my trace.json");
  Windowed w;
  ASSERT_TRUE(w.asked.state.save_trace(path));
  ASSERT_TRUE(wait_for([&] { return !w.asked.state.busy_with_files(); }));
  ASSERT_TRUE(w.asked.state.open(path));
  ASSERT_TRUE(wait_for([&] { return w.asked.state.trace().has_value(); }));
  EXPECT_EQ(w.show("timeline")->command(), "orrery show timeline '" + path + "' --svg");
  EXPECT_EQ(w.show("memory")->command(), "orrery show timeline '" + path + "'");
  const QJsonValue shown = printed(w.window.page()->command());
  std::int64_t most = 0;
  for (const MemorySample& s : w.asked.state.timeline()->memory) most = std::max(most, s.bytes);
  qint64 told = 0;
  for (const QJsonValue& rank : shown["peak_memory_bytes"].toArray()) told = std::max(told, rank["bytes"].toInteger());
  EXPECT_EQ(told, most);
  EXPECT_TRUE(w.show("network")->command().isEmpty());
  EXPECT_TRUE(w.window.page()->without_command().contains("trace"));
}

// --- Pictures

// A picture has as many parts as the page has charts, each where it stands on the page.
TEST(Picture, OfAPageHoldsAllOfItsCharts) {
  Windowed w;
  w.asked.state.pin();
  w.asked.state.set("parallel.tp", "4");
  for (const char* key : {"memory", "energy", "compare", "whatif", "network", "timeline"}) {
    const Page* page = w.show(key);
    const QByteArray svg = svg_of(*page);
    const QImage image = picture_of(*page, 1);
    int charts = 0, widest = 0, highest = 0;
    for (const Chart* chart : page->charts()) {
      if (!chart->isVisibleTo(page)) continue;
      ++charts;
      widest = std::max(widest, chart->width()), highest = std::max(highest, chart->height());
    }
    ASSERT_GT(charts, 0) << key;
    for (const Chart* chart : page->charts()) {
      if (charts == 1 || !chart->isVisibleTo(page)) continue;
      EXPECT_TRUE(svg.contains(chart->title().toUtf8())) << key << ": " << chart->title().toStdString();
    }
    EXPECT_GE(image.width(), widest) << key;
    EXPECT_GT(image.height(), highest) << key;
    // SVG and PNG are of one size.
    EXPECT_TRUE(svg.contains(QStringLiteral("viewBox=\"0 0 %1 %2\"").arg(image.width()).arg(image.height()).toUtf8())) << key;
    EXPECT_EQ(picture_of(*page, 2).width(), 2 * image.width());
  }
}

TEST(Picture, DrawsEachChartAsItPaintsItself) {
  Windowed w;
  const Page* page = w.show("energy");  // power above the bars, both as wide as the page
  const QImage image = picture_of(*page, 1);
  const QList<const Chart*> charts = page->charts();
  ASSERT_EQ(charts.size(), 2);
  // The lower one stands at the bottom, a margin of 16 around it.
  const QImage bars = charts[1]->picture(charts[1]->size());
  const QImage part = image.copy(16, image.height() - 16 - bars.height(), bars.width(), bars.height());
  EXPECT_EQ(part.convertToFormat(QImage::Format_RGB32), bars.convertToFormat(QImage::Format_RGB32));
}

// --- Of the present question, or not

TEST(Staleness, IsSeenOnEveryPageThatShowsTheLastLegalPlan) {
  Windowed w;
  w.asked.state.pin();
  for (const char* key : {"timeline", "memory", "network", "energy", "whatif", "compare"}) {
    Page* page = w.show(key);
    const auto veiled = [&] {
      const QList<Veil*> veils = page->findChildren<Veil*>();
      return std::any_of(veils.begin(), veils.end(), [](const Veil* v) { return v->isVisible(); });
    };
    EXPECT_FALSE(veiled()) << key;
    const QImage before = page->grab().toImage();
    const QString command = page->command();
    w.asked.state.set("parallel.tp", "3");
    w.settle();
    ASSERT_FALSE(w.asked.state.answer()->refusals.empty());
    EXPECT_TRUE(page->stale()) << key;
    EXPECT_TRUE(veiled()) << key;
    EXPECT_EQ(page->command(), command) << key;  // of what is on screen
    EXPECT_NE(page->grab().toImage(), before) << key;
    w.asked.state.undo();
    w.settle();
    EXPECT_FALSE(veiled()) << key;
  }
}

TEST(Staleness, IsNotThatOfAnOpenedTraceOrOfWhatDoesNotShowTheQuestion) {
  const QTemporaryDir folder;
  Windowed w;
  ASSERT_TRUE(w.asked.state.save_trace(folder.filePath("t.json")));
  ASSERT_TRUE(wait_for([&] { return !w.asked.state.busy_with_files(); }));
  w.asked.state.set("parallel.tp", "3");
  w.settle();
  ASSERT_TRUE(w.asked.state.open(folder.filePath("t.json")));
  ASSERT_TRUE(wait_for([&] { return w.asked.state.trace().has_value(); }));
  for (const char* key : {"timeline", "memory", "setup", "plans", "sweeps", "run"}) {
    ASSERT_TRUE(w.window.show_page(key));
    for (const Veil* veil : w.window.page()->findChildren<Veil*>()) EXPECT_FALSE(veil->isVisible()) << key;
  }
}

}  // namespace
}  // namespace orrery::gui
