// The pages of memory, network and energy: what they show is what the library says, and what clicks and keys do.
#include <gtest/gtest.h>

#include <QAbstractItemModelTester>
#include <QtTest>
#include <QtWidgets>

#include "core/quantity_text.h"
#include "gui/charts/energy_chart.h"
#include "gui/charts/memory_chart.h"
#include "gui/charts/power_chart.h"
#include "gui/charts/stages_chart.h"
#include "gui/charts/topology_chart.h"
#include "gui/models/holdings_model.h"
#include "gui/models/link_models.h"
#include "gui/pages/energy_page.h"
#include "gui/pages/memory_page.h"
#include "gui/pages/network_page.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

app::PlanFlags sixteen() {
  app::PlanFlags flags;
  flags.model = "cpu-llama-tiny", flags.cluster = "dgx-h100:16";
  flags.settings = {"batch.global=16", "batch.micro=1", "batch.sequence=128", "parallel.tp=2", "parallel.pp=4"};
  return flags;
}

template <class P>
struct Shown {
  Asked asked;
  P page;
  explicit Shown(const app::PlanFlags& flags = sixteen()) : asked(flags), page(asked.state) {
    page.resize(1100, 700);
    page.show();
    EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  }
  const app::Explored& explored() const { return *asked.state.answer()->explored; }
  const Timeline& timeline() const { return *asked.state.answer()->timeline(); }
};

std::int64_t sum(const std::vector<app::Holding>& holdings) {
  std::int64_t bytes = 0;
  for (const app::Holding& h : holdings) bytes += h.bytes;
  return bytes;
}

TEST(MemoryPage, ShowsTheFullestStageAndWhatItsPeakConsistsOf) {
  const Shown<MemoryPage> s;
  const auto* stages = s.page.findChild<StagesChart*>();
  ASSERT_EQ(stages->rows().size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(stages->rows()[i].peak, s.explored().report.memory[i].peak);
  const auto* model = s.page.findChild<HoldingsModel*>();
  const auto fullest = static_cast<std::size_t>(s.explored().report.fullest_stage);
  EXPECT_EQ(sum(model->holdings()), s.explored().report.memory[fullest].peak);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(model->data(model->index(static_cast<int>(i), HoldingsModel::kBuffer)).toString().toStdString(),
              s.explored().report.memory[fullest].largest[i].name);
  }
}

TEST(MemoryPage, AClickOnAStageShowsItsRankAndKeysGoOn) {
  Shown<MemoryPage> s;
  auto* stages = s.page.findChild<StagesChart*>();
  QTest::mouseClick(stages, Qt::LeftButton, {}, stages->row_rect(2).center().toPoint());
  EXPECT_TRUE(wait_for([&] { return s.page.settled(); }));
  EXPECT_EQ(s.asked.state.rank(), stages->rows()[2].rank);
  const auto* model = s.page.findChild<HoldingsModel*>();
  EXPECT_EQ(sum(model->holdings()), stages->rows()[2].peak);
  QTest::keyClick(stages, Qt::Key_Up);
  EXPECT_TRUE(wait_for([&] { return s.page.settled(); }));
  EXPECT_EQ(s.asked.state.rank(), stages->rows()[1].rank);
  EXPECT_EQ(sum(model->holdings()), stages->rows()[1].peak);
}

TEST(MemoryPage, TheCursorIsSharedAndTheTableFollowsIt) {
  Shown<MemoryPage> s;
  auto* chart = s.page.findChild<MemoryChart*>();
  const QPoint middle = chart->plot().center().toPoint();
  QTest::mouseClick(chart, Qt::LeftButton, {}, middle);
  ASSERT_TRUE(s.asked.state.cursor());
  EXPECT_EQ(*s.asked.state.cursor(), chart->axis().time(middle.x() - chart->plot().left()));
  EXPECT_TRUE(find<QRadioButton>(&s.page, "At the &cursor")->isChecked());
  const auto rank =
      static_cast<std::int64_t>(s.page.findChild<StagesChart*>()->rows()[static_cast<std::size_t>(s.explored().report.fullest_stage)].rank);
  const app::MemoryStory story = app::memory_story(s.explored().program, s.timeline(), s.explored().report.capacity, rank);
  const auto* model = s.page.findChild<HoldingsModel*>();
  EXPECT_EQ(sum(model->holdings()), story.samples[story.at(*s.asked.state.cursor())].total());
  s.asked.state.set_cursor(Picoseconds{0});  // from another chart
  EXPECT_EQ(chart->cursor(), Picoseconds{0});
  EXPECT_EQ(sum(model->holdings()), story.samples[story.at(Picoseconds{0})].total());
}

TEST(MemoryPage, ShowsThePeakInTheTimeline) {
  Shown<MemoryPage> s;
  QString wanted;
  QObject::connect(&s.asked.state, &ViewState::page_wanted, [&](const QString& page) { wanted = page; });
  QTest::mouseClick(find<QPushButton>(&s.page, "Show in the &timeline"), Qt::LeftButton);
  EXPECT_EQ(wanted, "timeline");
  ASSERT_TRUE(s.asked.state.cursor());
  ASSERT_TRUE(s.asked.state.range());
  EXPECT_LE(s.asked.state.range()->first, *s.asked.state.cursor());
  EXPECT_GT(s.asked.state.range()->second, *s.asked.state.cursor());
}

TEST(MemoryPage, WheelAndKeysZoomTheRangeThatAllChartsShare) {
  Shown<MemoryPage> s;
  auto* chart = s.page.findChild<MemoryChart*>();
  QTest::keyClick(chart, Qt::Key_Plus);
  ASSERT_TRUE(s.asked.state.range());
  const Picoseconds once = s.asked.state.range()->second - s.asked.state.range()->first;
  QWheelEvent wheel(chart->plot().center(), chart->mapToGlobal(chart->plot().center()), {}, {0, 240}, Qt::NoButton, Qt::NoModifier, Qt::NoScrollPhase,
                    false);
  QApplication::sendEvent(chart, &wheel);
  EXPECT_LT(s.asked.state.range()->second - s.asked.state.range()->first, once);
  EXPECT_EQ(chart->axis().range().begin, s.asked.state.range()->first);
  QTest::keyClick(chart, Qt::Key_F);
  EXPECT_FALSE(s.asked.state.range());
}

TEST(MemoryPage, SaysWhatIsMissing) {
  ViewState state;
  MemoryPage page(state);
  page.resize(900, 600);
  page.show();
  EXPECT_FALSE(page.csv());
  EXPECT_FALSE(find<QPushButton>(&page, "Show in the &timeline")->isEnabled());
  page.grab();  // paints the empty charts
}

TEST(MemoryPage, WritesItsTable) {
  const Shown<MemoryPage> s;
  const QStringList lines = s.page.csv()->split("\r\n");
  EXPECT_EQ(lines[0], "rank,time_s,buffer,category,bytes,instances");
  EXPECT_EQ(lines.size() - 2, s.page.findChild<HoldingsModel*>()->rowCount());
}

TEST(HoldingsModel, IsAProperModel) {
  HoldingsModel model;
  const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::Fatal);
  model.show({{"parameters", app::MemoryCategory::parameters, 3 << 20, 1}, {"qkv", app::MemoryCategory::activations, 1 << 20, 4}});
  EXPECT_EQ(model.data(model.index(0, HoldingsModel::kShare)).toString(), "75 %");
  EXPECT_EQ(model.data(model.index(1, HoldingsModel::kBytes)).toString(), "1 MiB");
  model.show({{"parameters", app::MemoryCategory::parameters, 1 << 20, 1}, {"qkv", app::MemoryCategory::activations, 1 << 20, 4}});
  EXPECT_EQ(model.data(model.index(0, HoldingsModel::kShare)).toString(), "50 %");
  model.show({});
  EXPECT_EQ(model.rowCount(), 0);
}

TEST(NetworkPage, ListsHotLinksAndWhatLoadsTheBusiest) {
  const Shown<NetworkPage> s;
  const auto* hot = s.page.findChild<HotLinksModel*>();
  const app::NetworkTraffic traffic(s.explored().program, s.explored().inputs.cluster);
  const app::NetworkLoad load = traffic.of_step(s.timeline().step);
  const std::vector<app::HotLink> links = app::links_by_load(load);
  ASSERT_GT(hot->rowCount(), 0);
  EXPECT_EQ(hot->links().front(), links.front());
  const auto* uses = s.page.findChild<LinkUsesModel*>();
  double sent = 0;
  for (const app::LinkUse& use : uses->uses()) sent += use.sent;
  EXPECT_NEAR(sent, app::sum(links.front().sent), 1);
}

TEST(NetworkPage, AClickOnALinkShowsWhatLoadsIt) {
  Shown<NetworkPage> s;
  auto* chart = s.page.findChild<TopologyChart*>();
  const view::TopologyLayout layout = chart->layout_now();
  ASSERT_EQ(layout.nodes.size(), 2U);
  const view::Box adapter = layout.nodes[1].devices[2].links[1];
  QTest::mouseClick(chart, Qt::LeftButton, {}, QPointF(adapter.x + adapter.width / 2, adapter.y + adapter.height / 2).toPoint());
  EXPECT_EQ(chart->chosen_link(), (TopologyChart::Link{1, 10}));
  const app::NetworkTraffic traffic(s.explored().program, s.explored().inputs.cluster);
  const auto* uses = s.page.findChild<LinkUsesModel*>();
  EXPECT_EQ(uses->uses().size(), traffic.uses(10, 1).size());
  QTest::keyClick(chart, Qt::Key_Right);
  EXPECT_EQ(chart->chosen_link(), (TopologyChart::Link{1, 11}));
  QTest::keyClick(chart, Qt::Key_Down);
  EXPECT_EQ(chart->chosen_link(), (TopologyChart::Link{0, 11}));
  // A row of the list chooses a link, too.
  auto* table = find<QTableView>(&s.page, "Hot links");
  table->setCurrentIndex(table->model()->index(0, 0));
  const app::HotLink& first = s.page.findChild<HotLinksModel*>()->links().front();
  EXPECT_EQ(chart->chosen_link(), (TopologyChart::Link{first.level, first.device}));
}

TEST(NetworkPage, ShowsTheCursorsTimeOnDemand) {
  Shown<NetworkPage> s;
  const Picoseconds middle{s.timeline().step.v / 2};
  s.asked.state.set_cursor(middle);
  find<QRadioButton>(&s.page, "At the &cursor")->setChecked(true);
  EXPECT_TRUE(wait_for([&] { return s.page.settled(); }));
  const app::NetworkTraffic traffic(s.explored().program, s.explored().inputs.cluster);
  std::vector<app::HotLink> links = app::links_by_load(traffic.at(s.timeline(), middle));
  std::erase_if(links, [](const app::HotLink& l) { return l.load <= 0; });
  EXPECT_EQ(s.page.findChild<HotLinksModel*>()->links(), links);
  auto* slider = find<QSlider>(&s.page, "Time in the step");
  EXPECT_EQ(slider->value(), 500);
  QTest::keyClick(slider, Qt::Key_Home);
  EXPECT_EQ(s.asked.state.cursor(), Picoseconds{0});
  EXPECT_TRUE(wait_for([&] { return s.page.settled(); }));
  EXPECT_TRUE(s.page.csv()->startsWith("link,device,alike,load,sent_bytes_per_s"));
}

TEST(NetworkPage, OfOneDeviceSaysThatThereIsNone) {
  app::PlanFlags flags = sixteen();
  flags.cluster = "dgx-h100:1";
  flags.settings = {"batch.global=4", "batch.micro=1", "batch.sequence=128"};
  Shown<NetworkPage> s(flags);
  EXPECT_EQ(s.page.findChild<HotLinksModel*>()->rowCount(), 0);
  s.page.grab();
}

TEST(LinkModels, AreProperModels) {
  Shown<NetworkPage> s;
  const QAbstractItemModelTester hot(s.page.findChild<HotLinksModel*>(), QAbstractItemModelTester::FailureReportingMode::Fatal);
  const QAbstractItemModelTester uses(s.page.findChild<LinkUsesModel*>(), QAbstractItemModelTester::FailureReportingMode::Fatal);
  QTest::keyClick(s.page.findChild<TopologyChart*>(), Qt::Key_Up);
  find<QRadioButton>(&s.page, "At the &cursor")->setChecked(true);
  EXPECT_TRUE(wait_for([&] { return s.page.settled(); }));
}

TEST(EnergyPage, ShowsTheReportsEnergyAndItsGrade) {
  const Shown<EnergyPage> s;
  EXPECT_EQ(find<QLabel>(const_cast<EnergyPage*>(&s.page), "energy of a step")->text().toStdString(), format_energy(s.explored().report.energy));
  Joules total{};
  for (const EnergyChart::Bar& bar : s.page.findChild<EnergyChart*>()->bars()) total += bar.energy;
  EXPECT_NEAR(total.v, s.explored().report.energy.v, 1e-6 * total.v);
  bool graded = false;
  for (const QLabel* label : s.page.findChildren<QLabel*>()) graded |= label->text().startsWith("Assumed:");
  EXPECT_TRUE(graded);
  const QStringList lines = s.page.csv()->split("\r\n");
  EXPECT_EQ(lines[0], "class,energy_J,share");
  EXPECT_EQ(lines.size() - 2, static_cast<qsizetype>(s.page.findChild<EnergyChart*>()->bars().size()));
}

TEST(EnergyPage, ShowsOneDeviceOnDemandAndSharesTheCursor) {
  Shown<EnergyPage> s;
  auto* whose = find<QComboBox>(&s.page, "Whose power");
  whose->setCurrentIndex(1);
  EXPECT_TRUE(wait_for([&] { return s.page.settled(); }));
  EXPECT_TRUE(whose->itemText(1).startsWith("device of ")) << whose->itemText(1).toStdString();
  auto* chart = s.page.findChild<PowerChart*>();
  QTest::mouseMove(chart, chart->plot().center().toPoint());
  QTest::mouseClick(chart, Qt::LeftButton, {}, chart->plot().center().toPoint());
  EXPECT_TRUE(s.asked.state.cursor());
  EXPECT_EQ(chart->cursor(), s.asked.state.cursor());
  QTest::keyClick(chart, Qt::Key_Right);
  EXPECT_GT(*s.asked.state.cursor(), chart->axis().time(chart->plot().width() / 2 - 1));
}

// A new plan's figures take the place of the old ones by themselves.
TEST(EnergyPage, FollowsThePlan) {
  Shown<EnergyPage> s;
  s.asked.state.set("parallel.pp", "2");
  EXPECT_TRUE(wait_for([&] { return s.asked.state.settled() && s.page.settled(); }));
  EXPECT_EQ(find<QLabel>(&s.page, "energy of a step")->text().toStdString(), format_energy(s.explored().report.energy));
}

// A trace of the plan that is asked, and one of another plan, as opened by the user.
struct Traced {
  Asked asked{sixteen()};
  QTemporaryDir folder;
  std::shared_ptr<const Timeline> timeline;
  explicit Traced(bool of_another_plan) {
    const QString path = folder.filePath("trace.json");
    EXPECT_TRUE(asked.state.save_trace(path));
    EXPECT_TRUE(wait_for([&] { return !asked.state.busy_with_files(); }));
    timeline = asked.state.timeline();
    if (of_another_plan) {
      asked.state.set("parallel.pp", "2");
      EXPECT_TRUE(wait_for([&] { return asked.state.settled(); }));
    }
    EXPECT_TRUE(asked.state.open(path));
    EXPECT_TRUE(wait_for([&] { return asked.state.trace().has_value(); }));
  }
  template <class P>
  void show(P& page) {
    page.resize(1100, 700);
    page.show();
    EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  }
};

QString all_text(const QWidget& page) {
  QString out;
  for (const QLabel* label : page.findChildren<QLabel*>()) out += label->text() + "\n";
  return out;
}

TEST(OpenedTrace, OfAnotherPlanHasItsMemoryDrawnAndSaysThatItDoesNotKnowBuffers) {
  Traced t(true);
  MemoryPage page(t.asked.state);
  t.show(page);
  const auto* stages = page.findChild<StagesChart*>();
  ASSERT_EQ(stages->rows().size(), 4U);  // of the trace, not of the plan that is asked
  std::int64_t most = 0;
  std::uint32_t fullest = 0;
  for (const MemorySample& s : t.timeline->memory)
    if (s.bytes > most) most = s.bytes, fullest = s.rank;
  EXPECT_TRUE(all_text(page).contains(QString::fromStdString("at most " + format_bytes(Bytes{most})))) << all_text(page).toStdString();
  EXPECT_TRUE(all_text(page).contains("how much memory holds, not what"));
  EXPECT_EQ(page.findChild<HoldingsModel*>()->rowCount(), 0);
  EXPECT_TRUE(page.csv()->startsWith(QStringLiteral("rank,time_s,bytes\r\n%1,").arg(fullest))) << page.csv()->left(100).toStdString();
  // The curve stands in the picture: without samples there is none.
  auto* chart = page.findChild<MemoryChart*>();
  const QImage drawn = chart->picture(chart->size());
  QTest::mouseClick(find<QPushButton>(&page, "Show in the &timeline"), Qt::LeftButton);
  ASSERT_TRUE(t.asked.state.cursor());
  const auto peak = std::find_if(t.timeline->memory.begin(), t.timeline->memory.end(), [&](const MemorySample& s) { return s.bytes == most; });
  EXPECT_EQ(*t.asked.state.cursor(), peak->time);
  Timeline bare = *t.timeline;
  bare.memory.clear();
  t.asked.state.show_trace(Other{std::make_shared<const Timeline>(bare), "bare.json", std::nullopt});
  EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  EXPECT_NE(chart->picture(chart->size()), drawn);
  EXPECT_FALSE(page.csv());
}

TEST(OpenedTrace, OfThePlanThatIsAskedHasItsBuffersAndLinks) {
  Traced t(false);
  MemoryPage memory(t.asked.state);
  t.show(memory);
  const app::Explored& explored = *t.asked.state.last_good()->explored;
  EXPECT_EQ(sum(memory.findChild<HoldingsModel*>()->holdings()),
            explored.report.memory[static_cast<std::size_t>(explored.report.fullest_stage)].peak);
  NetworkPage network(t.asked.state);
  t.show(network);
  const app::NetworkTraffic traffic(explored.program, explored.inputs.cluster);
  EXPECT_EQ(network.findChild<HotLinksModel*>()->links().front(), app::links_by_load(traffic.of_step(t.timeline->step)).front());
}

TEST(OpenedTrace, OfAnotherPlanLoadsNoLinksAndSaysWhy) {
  Traced t(true);
  NetworkPage page(t.asked.state);
  t.show(page);
  EXPECT_EQ(page.findChild<HotLinksModel*>()->rowCount(), 0);
  EXPECT_FALSE(page.csv());
  EXPECT_FALSE(find<QRadioButton>(&page, "At the &cursor")->isEnabled());
}

TEST(OpenedTrace, HasItsEnergyAboveIdleAndWithoutFiguresSaysSo) {
  Traced t(true);
  EnergyPage page(t.asked.state);
  t.show(page);
  Joules above{};
  for (const Span& s : t.timeline->spans) above += t.timeline->kinds[s.kind].energy * static_cast<double>(t.timeline->weights[s.rank]);
  EXPECT_EQ(find<QLabel>(&page, "energy of a step")->text().toStdString(), format_energy(above));
  EXPECT_EQ(find<QLabel>(&page, "energy per token")->text(), QStringLiteral("–"));
  EXPECT_TRUE(all_text(page).contains("Above idle power"));
  Timeline measured = *t.timeline;
  for (SpanKind& kind : measured.kinds) kind.energy = {};
  t.asked.state.show_trace(Other{std::make_shared<const Timeline>(measured), "measured.json", std::nullopt});
  EXPECT_TRUE(wait_for([&] { return page.settled(); }));
  EXPECT_EQ(find<QLabel>(&page, "energy of a step")->text(), QStringLiteral("–"));
  EXPECT_FALSE(page.csv());
}

// Painting goes to files as to the screen.
TEST(TimeCharts, PaintThemselvesAnywhere) {
  Shown<MemoryPage> s;
  for (const Chart* chart : s.page.charts()) {
    EXPECT_FALSE(chart->picture({640, 360}, 2).isNull());
    EXPECT_TRUE(chart->svg({640, 360}).contains("<svg"));
  }
}

}  // namespace
}  // namespace orrery::gui
