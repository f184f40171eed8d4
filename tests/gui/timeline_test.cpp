// The timeline page under mouse and keys.
#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>
#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "app/plan.h"
#include "gui/charts/timeline_chart.h"
#include "gui/pages/timeline_page.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

// A small pipeline on this machine's CPU, on a page of a fixed size.
app::PlanFlags piped() {
  app::PlanFlags question = testing::tiny();
  question.settings.push_back("parallel.pp=2");
  question.settings.push_back("parallel.tp=1");
  return question;
}

struct Shown {
  explicit Shown(const app::PlanFlags& question = piped()) : asked(question), page(asked.state) {
    page.resize(1200, 700);
    page.show();
    EXPECT_TRUE(wait_for([&] { return page.settled() && chart().index() != nullptr; }));
  }
  Asked asked;
  TimelinePage page;

  TimelineChart& chart() { return page.chart(); }
  ViewState& state() { return asked.state; }
  const Timeline& timeline() { return chart().index()->timeline(); }
  void key(int key, Qt::KeyboardModifiers modifiers = Qt::NoModifier) { QTest::keyClick(&chart(), static_cast<Qt::Key>(key), modifiers); }
  QPoint middle() { return chart().plot_rect().center().toPoint(); }
  void wheel(int notches, Qt::KeyboardModifiers modifiers, QPoint at) {
    QWheelEvent event(at, chart().mapToGlobal(QPointF(at)), {}, {0, notches * 120}, Qt::NoButton, modifiers, Qt::NoScrollPhase, false);
    QCoreApplication::sendEvent(&chart(), &event);
  }
  void hover(QPoint at) {
    QMouseEvent event(QEvent::MouseMove, at, chart().mapToGlobal(QPointF(at)), Qt::NoButton, Qt::NoButton, Qt::NoModifier);
    QCoreApplication::sendEvent(&chart(), &event);
  }
  // The longest span that satisfies `wanted`.
  view::SpanId longest(const std::function<bool(const Span&)>& wanted) {
    view::SpanId best = view::kNoSpan;
    for (view::SpanId i = 0; i < timeline().spans.size(); ++i) {
      const Span& s = timeline().spans[i];
      if (wanted(s) && (best == view::kNoSpan || s.end - s.start > timeline().spans[best].end - timeline().spans[best].start)) best = i;
    }
    return best;
  }
  QString details() { return find<QTextBrowser>(&page, "Details")->toPlainText(); }
};

TEST(TimelinePage, ShowsAllOfTheStepAtFirst) {
  Shown shown;
  EXPECT_EQ(shown.chart().axis().range(), shown.chart().axis().whole());
  EXPECT_FALSE(shown.state().range());
  EXPECT_GE(shown.chart().lanes().rows().size(), 2U);
  EXPECT_TRUE(shown.details().contains("One step")) << shown.details().toStdString();
}

TEST(TimelinePage, WithoutATimelineSaysWhatToDo) {
  ViewState state;
  TimelinePage page(state);
  page.resize(900, 500);
  page.show();
  EXPECT_EQ(page.chart().index(), nullptr);
  EXPECT_TRUE(find<QToolButton>(&page, "Take it away")->isHidden());  // nothing lies over it
  EXPECT_FALSE(page.csv());
  EXPECT_TRUE(page.settled());
  QTest::keyClick(&page.chart(), Qt::Key_W);
  QTest::keyClick(&page.chart(), Qt::Key_Right);
  QTest::mouseClick(&page.chart(), Qt::LeftButton, {}, {400, 300});
  EXPECT_FALSE(page.chart().selection());
}

TEST(TimelinePage, CtrlWheelZoomsAboutThePointer) {
  Shown shown;
  const QPoint at = shown.middle() + QPoint(100, 0);
  const double x = at.x() - shown.chart().plot_rect().left();
  const Picoseconds under = shown.chart().axis().time(x);
  const double before = shown.chart().axis().pixels_per_picosecond();
  shown.wheel(3, Qt::ControlModifier, at);
  EXPECT_NEAR(shown.chart().axis().pixels_per_picosecond() / before, std::pow(1.25, 3), 1e-6);  // a quarter closer each notch
  EXPECT_NEAR(shown.chart().axis().pixel(under), x, 1);
  ASSERT_TRUE(shown.state().range());
  EXPECT_EQ(shown.state().range()->first, shown.chart().axis().range().begin);
  shown.wheel(-20, Qt::ControlModifier, at);
  EXPECT_FALSE(shown.state().range());  // all again
}

TEST(TimelinePage, KeysZoomMoveAndFit) {
  Shown shown;
  shown.chart().set_cursor(std::nullopt);
  const view::TimeRange all = shown.chart().axis().range();
  shown.key(Qt::Key_W);
  shown.key(Qt::Key_W);
  const view::TimeRange closer = shown.chart().axis().range();
  EXPECT_LT(closer.length(), all.length());
  shown.key(Qt::Key_D);
  EXPECT_GT(shown.chart().axis().range().begin, closer.begin);
  shown.key(Qt::Key_A);
  EXPECT_EQ(shown.chart().axis().range(), closer);
  shown.key(Qt::Key_S);
  shown.key(Qt::Key_S);
  shown.key(Qt::Key_S);
  EXPECT_EQ(shown.chart().axis().range(), all);
  shown.key(Qt::Key_W, Qt::ShiftModifier);
  shown.key(Qt::Key_F);
  EXPECT_EQ(shown.chart().axis().range(), all);
}

TEST(TimelinePage, AClickSelectsAndTheDetailsSayWhatAndWhy) {
  Shown shown;
  const view::SpanId wanted = shown.longest([&](const Span& s) { return shown.timeline().kinds[s.kind].work == WorkClass::gemm; });
  ASSERT_NE(wanted, view::kNoSpan);
  shown.chart().reveal({wanted, false});
  const QRectF where = shown.chart().span_rect({wanted, false});
  ASSERT_FALSE(where.isEmpty());
  QTest::mouseClick(&shown.chart(), Qt::LeftButton, {}, where.center().toPoint());
  ASSERT_TRUE(shown.chart().selection());
  EXPECT_EQ(shown.chart().selection()->span, wanted);
  EXPECT_EQ(shown.state().selection(), wanted);
  EXPECT_EQ(shown.state().rank(), shown.timeline().spans[wanted].rank);
  const QString details = shown.details();
  const std::string& name = shown.timeline().kinds[shown.timeline().spans[wanted].kind].name;
  EXPECT_TRUE(details.contains(QString::fromStdString(name))) << details.toStdString();
  EXPECT_TRUE(details.contains("Needed before it could start")) << details.toStdString();
  shown.key(Qt::Key_Escape);
  EXPECT_FALSE(shown.state().selection());
}

TEST(TimelinePage, DependenciesAreLinks) {
  Shown shown;
  const view::SpanId wanted = shown.longest([&](const Span& s) { return shown.timeline().kinds[s.kind].work == WorkClass::gemm; });
  shown.chart().select(SpanAt{wanted, false});
  auto* details = find<QTextBrowser>(&shown.page, "Details");
  const QString source = details->document()->toHtml();
  const qsizetype at = source.indexOf("href=\"span:");
  ASSERT_GE(at, 0) << source.toStdString();
  const QString target = source.mid(at + 6, source.indexOf('"', at + 6) - at - 6);
  Q_EMIT details->anchorClicked(QUrl(target));
  ASSERT_TRUE(shown.state().selection());
  EXPECT_EQ(*shown.state().selection(), target.mid(5).toUInt());
}

TEST(TimelinePage, ArrowsWalkTheSpans) {
  Shown shown;
  shown.key(Qt::Key_Right);
  ASSERT_TRUE(shown.chart().selection());
  const view::SpanId first = shown.chart().selection()->span;
  shown.key(Qt::Key_Right);
  EXPECT_EQ(shown.chart().selection()->span, shown.chart().index()->next(first));
  shown.key(Qt::Key_Left);
  EXPECT_EQ(shown.chart().selection()->span, first);
  shown.key(Qt::Key_Down);
  EXPECT_NE(shown.chart().index()->lane_of(shown.chart().selection()->span), shown.chart().index()->lane_of(first));
  shown.key(Qt::Key_Up);
  EXPECT_EQ(shown.chart().index()->lane_of(shown.chart().selection()->span), shown.chart().index()->lane_of(first));
  // F fits it; once more shows everything.
  shown.key(Qt::Key_F);
  const Span& s = shown.timeline().spans[shown.chart().selection()->span];
  EXPECT_LE((shown.chart().axis().range().length()).v, std::max<std::int64_t>((s.end - s.start).v * 2, view::TimeAxis::kClosest.v));
  shown.key(Qt::Key_F);
  EXPECT_EQ(shown.chart().axis().range(), shown.chart().axis().whole());
}

TEST(TimelinePage, SearchFindsSelectsAndGoesOn) {
  Shown shown;
  shown.key(Qt::Key_Slash);
  auto* field = find<QLineEdit>(&shown.page, "Search spans");
  QTest::keyClicks(field, "gemm mb 1");
  ASSERT_NE(shown.page.matches(), nullptr);
  ASSERT_GT(shown.page.matches()->size(), 2U);
  for (const view::SpanId id : *shown.page.matches()) {
    EXPECT_EQ(shown.timeline().spans[id].microbatch, 1);
    EXPECT_EQ(shown.timeline().kinds[shown.timeline().spans[id].kind].work, WorkClass::gemm);
  }
  QTest::keyClick(field, Qt::Key_Return);
  ASSERT_TRUE(shown.state().selection());
  const view::SpanId first = *shown.state().selection();
  QTest::keyClick(field, Qt::Key_Escape);
  shown.key(Qt::Key_N);
  EXPECT_GE(shown.timeline().spans[*shown.state().selection()].start, shown.timeline().spans[first].start);
  EXPECT_NE(*shown.state().selection(), first);
  shown.key(Qt::Key_N, Qt::ShiftModifier);
  EXPECT_EQ(*shown.state().selection(), first);
  EXPECT_FALSE(shown.chart().span_rect({first, false}).isEmpty());
  shown.key(Qt::Key_Escape);  // the selection
  shown.key(Qt::Key_Escape);  // the search
  EXPECT_EQ(shown.page.matches(), nullptr);
  field->setText("nosuchthing");
  bool told = false;
  for (const QLabel* label : shown.page.findChildren<QLabel*>()) told = told || label->text().contains("nosuchthing");
  EXPECT_TRUE(told);
}

TEST(TimelinePage, ShiftDragMeasures) {
  Shown shown;
  const QPoint from = shown.middle() - QPoint(100, 0), to = shown.middle() + QPoint(100, 0);
  QTest::mousePress(&shown.chart(), Qt::LeftButton, Qt::ShiftModifier, from);
  QTest::mouseMove(&shown.chart(), to);
  QMouseEvent move(QEvent::MouseMove, to, shown.chart().mapToGlobal(QPointF(to)), Qt::NoButton, Qt::LeftButton, Qt::ShiftModifier);
  QCoreApplication::sendEvent(&shown.chart(), &move);
  QTest::mouseRelease(&shown.chart(), Qt::LeftButton, Qt::ShiftModifier, to);
  ASSERT_TRUE(shown.chart().measured());
  const double expected = 200 / shown.chart().axis().pixels_per_picosecond();
  EXPECT_NEAR(static_cast<double>(shown.chart().measured()->length().v), expected, expected * 0.01);
  EXPECT_TRUE(shown.details().contains("Measured")) << shown.details().toStdString();
  shown.key(Qt::Key_Escape);
  EXPECT_FALSE(shown.chart().measured());
}

TEST(TimelinePage, MarksMeasureToo) {
  Shown shown;
  shown.hover(shown.middle() - QPoint(50, 0));
  shown.key(Qt::Key_M);
  EXPECT_FALSE(shown.chart().measured());
  shown.hover(shown.middle() + QPoint(50, 0));
  shown.key(Qt::Key_M);
  ASSERT_TRUE(shown.chart().measured());
  const double expected = 100 / shown.chart().axis().pixels_per_picosecond();
  EXPECT_NEAR(static_cast<double>(shown.chart().measured()->length().v), expected, expected * 0.02);
}

TEST(TimelinePage, TheCursorIsShared) {
  Shown shown;
  shown.hover(shown.middle());
  ASSERT_TRUE(shown.state().cursor());
  EXPECT_EQ(*shown.state().cursor(), shown.chart().axis().time(shown.middle().x() - shown.chart().plot_rect().left()));
  shown.state().set_cursor(Picoseconds{12345});  // as the memory page does
  EXPECT_EQ(shown.chart().cursor(), Picoseconds{12345});
  QEvent leave(QEvent::Leave);
  QCoreApplication::sendEvent(&shown.chart(), &leave);
  EXPECT_FALSE(shown.state().cursor());
}

TEST(TimelinePage, ARangeAndASelectionFromElsewhereAreShown) {
  Shown shown;
  const view::TimeRange whole = shown.chart().axis().whole();
  const Picoseconds begin = whole.begin + whole.length() / std::int64_t{4}, end = begin + whole.length() / std::int64_t{4};
  shown.state().set_range(ViewState::Range{begin, end});
  EXPECT_EQ(shown.chart().axis().range(), (view::TimeRange{begin, end}));
  const view::SpanId wanted = shown.longest([](const Span& s) { return s.rank != 0; });
  ASSERT_NE(wanted, view::kNoSpan);
  shown.state().select(wanted);
  ASSERT_TRUE(shown.chart().selection());
  EXPECT_EQ(shown.chart().selection()->span, wanted);
  EXPECT_FALSE(shown.chart().span_rect({wanted, false}).isEmpty());
}

TEST(TimelinePage, TheLegendHighlightsByClickAndByNumber) {
  Shown shown;
  const std::size_t slot = shown.chart().legend().at(1);
  QTest::mouseClick(&shown.chart(), Qt::LeftButton, {}, shown.chart().legend_rect(slot).center().toPoint());
  EXPECT_EQ(shown.chart().highlight(), 1U << slot);
  shown.key(Qt::Key_1);
  EXPECT_EQ(shown.chart().highlight(), 1U << slot | 1U << shown.chart().legend()[0]);
  shown.key(Qt::Key_Escape);
  EXPECT_EQ(shown.chart().highlight(), 0U);
}

TEST(TimelinePage, AClickOnARankFoldsItsStreamsAway) {
  Shown shown;
  const std::size_t rows = shown.chart().lanes().rows().size();
  QTest::mouseClick(&shown.chart(), Qt::LeftButton, {}, {20, static_cast<int>(shown.chart().plot_rect().top()) + 8});
  EXPECT_LT(shown.chart().lanes().rows().size(), rows);
  EXPECT_EQ(shown.chart().layout_choice().collapsed.size(), 1U);
  // What is selected in a folded stream unfolds it.
  const std::uint32_t rank = *shown.chart().layout_choice().collapsed.begin();
  const view::SpanId hidden = shown.longest([&](const Span& s) { return s.rank == rank && s.stream != 0; });
  ASSERT_NE(hidden, view::kNoSpan);
  shown.state().select(hidden);
  EXPECT_EQ(shown.chart().lanes().rows().size(), rows);
}

TEST(TimelinePage, TheMinimapMovesWhatIsSeen) {
  Shown shown;
  shown.key(Qt::Key_W, Qt::ShiftModifier);
  const QRectF map = shown.chart().minimap_rect();
  QTest::mouseClick(&shown.chart(), Qt::LeftButton, {}, QPointF(map.left() + map.width() * 0.75, map.center().y()).toPoint());
  const view::TimeRange range = shown.chart().axis().range(), whole = shown.chart().axis().whole();
  const double centre = static_cast<double>(((range.begin + range.end) / std::int64_t{2} - whole.begin).v) / static_cast<double>(whole.length().v);
  EXPECT_NEAR(centre, 0.75, 0.01);
}

TEST(TimelinePage, TheCriticalPathIsMarkedOnRequest) {
  Shown shown;
  ASSERT_FALSE(shown.timeline().critical.empty());
  const QImage before = shown.chart().picture({900, 500});
  shown.key(Qt::Key_C);
  EXPECT_TRUE(find<QToolButton>(&shown.page, "Critical path")->isChecked());
  EXPECT_NE(shown.chart().picture({900, 500}), before);
  find<QToolButton>(&shown.page, "Critical path")->click();
  EXPECT_EQ(shown.chart().picture({900, 500}), before);
}

// A thousand tiny spans in the first hundredth of a step are marked there, and nowhere else.
TEST(TimelineChart, TheCriticalPathIsMarkedWhereItIs) {
  auto timeline = std::make_shared<Timeline>();
  timeline->streams = {"compute"};
  timeline->ranks = {"pp0"};
  timeline->step = Picoseconds{1'000'000'000};
  SpanKind kind;
  kind.name = "linear_forward";
  kind.work = WorkClass::gemm;
  timeline->kinds = {kind};
  for (std::uint32_t i = 0; i < 1000; ++i) {
    Span s;
    s.start = Picoseconds{i * 10'000};
    s.end = Picoseconds{(i + 1) * 10'000};
    timeline->spans.push_back(s);
    timeline->critical.push_back(i);
  }
  TimelineChart chart;
  chart.resize(800, 400);
  chart.show_timeline(std::make_shared<const view::SpanIndex>(timeline));
  chart.set_critical(true);
  const QImage image = chart.picture({800, 400});
  const QRect plot = chart.plot_rect().toRect();
  const QRgb wanted = theme().critical.rgb();
  int right = -1;
  for (int y = plot.top(); y < plot.bottom(); ++y)
    for (int x = plot.left(); x < plot.right(); ++x)
      if (image.pixel(x, y) == wanted) right = std::max(right, x - plot.left());
  EXPECT_GE(right, 0);
  EXPECT_LE(right, plot.width() / 100 + 1);
}

// Stripes of a wait are as far apart on a dense screen as on any other.
TEST(TimelineChart, StripesKeepTheirDistanceOnADenseScreen) {
  auto timeline = std::make_shared<Timeline>();
  timeline->streams = {"compute"};
  timeline->ranks = {"pp0"};
  timeline->step = Picoseconds{1'000'000};
  timeline->kinds.resize(1);
  timeline->kinds[0].work = WorkClass::gemm;
  timeline->spans.resize(2);
  timeline->spans[0].end = Picoseconds{100'000};
  timeline->spans[1].start = Picoseconds{900'000};
  timeline->spans[1].end = Picoseconds{1'000'000};
  timeline->spans[1].waited = Picoseconds{800'000};
  timeline->spans[1].cause = WaitCause::pp;
  TimelineChart chart;
  chart.resize(800, 400);
  chart.show_timeline(std::make_shared<const view::SpanIndex>(timeline));
  const QRectF last = chart.span_rect({1, false}), plot = chart.plot_rect();
  const auto stripes = [&](int scale) {
    const QImage image = chart.picture({800, 400}, scale);
    const int y = static_cast<int>(last.center().y()) * scale;
    int changes = 0;
    for (int x = static_cast<int>(plot.left() + plot.width() * 0.2) * scale; x < static_cast<int>(plot.left() + plot.width() * 0.8) * scale; ++x)
      changes += image.pixel(x, y) != image.pixel(x + 1, y) ? 1 : 0;
    return changes;
  };
  EXPECT_NEAR(stripes(1), plot.width() * 0.6 / 8 * 2, 3);  // one of 2 in 8 pixels: two changes
  EXPECT_NEAR(stripes(2), stripes(1), 3);
}

// The same plan with slower and later instructions, laid over the prediction.
std::shared_ptr<const Timeline> slower(const Timeline& t) {
  auto other = std::make_shared<Timeline>(t);
  other->origin = "measured";
  for (Span& s : other->spans) {
    s.start = Picoseconds{s.start.v / 2 * 3};
    s.end = Picoseconds{s.end.v / 2 * 3};
  }
  other->step = Picoseconds{t.step.v / 2 * 3};
  return other;
}

TEST(TimelinePage, AMeasuredTimelineIsLaidOverWithItsDifferences) {
  Shown shown;
  const std::size_t rows = shown.chart().lanes().rows().size();
  shown.state().set_measured(Other{slower(shown.timeline()), "measured: test"});
  ASSERT_TRUE(wait_for([&] { return shown.chart().over() != nullptr; }));
  EXPECT_EQ(shown.chart().lanes().rows().size(), 3 * rows);
  EXPECT_EQ(shown.chart().differences()->matched(), shown.timeline().spans.size());
  EXPECT_GE(shown.chart().axis().whole().end.v, shown.chart().over()->timeline().step.v);
  // A click in the measured lane selects there, and the shared selection is its twin in the prediction.
  const view::SpanId wanted = shown.longest([&](const Span& s) { return shown.timeline().kinds[s.kind].work == WorkClass::gemm; });
  shown.chart().reveal({wanted, true});
  const QRectF where = shown.chart().span_rect({wanted, true});
  QTest::mouseClick(&shown.chart(), Qt::LeftButton, {}, where.center().toPoint());
  ASSERT_TRUE(shown.chart().selection());
  EXPECT_TRUE(shown.chart().selection()->other);
  EXPECT_EQ(shown.state().selection(), wanted);
  EXPECT_TRUE(shown.details().contains("longer by")) << shown.details().toStdString();
  EXPECT_TRUE(shown.details().contains("50 %")) << shown.details().toStdString();
  find<QToolButton>(&shown.page, "Take it away")->click();
  EXPECT_EQ(shown.chart().lanes().rows().size(), rows);
}

// Steps of a run that goes on come one after the other under the eyes of whoever looks.
TEST(TimelinePage, StepsThatComeDisturbNeitherZoomNorSelection) {
  Shown shown;
  auto lay = [&, n = 0](bool live) mutable {
    const auto step = slower(shown.timeline());
    ++n;
    shown.state().set_measured(Other{step, QString("step %1").arg(n), std::nullopt, live});
    return step;
  };
  lay(true);
  ASSERT_TRUE(shown.chart().over());
  shown.key(Qt::Key_W);
  shown.key(Qt::Key_W);
  const view::TimeRange range = shown.chart().axis().range();
  auto newest = lay(true);
  EXPECT_EQ(shown.chart().over()->shared(), newest);
  EXPECT_EQ(shown.chart().axis().range(), range);
  // What is selected is not exchanged for another step's while it is looked into.
  const view::SpanId span = shown.longest([&](const Span& s) { return shown.timeline().kinds[s.kind].work == WorkClass::gemm; });
  shown.chart().select(SpanAt{span, true});
  const QString details = shown.details();
  lay(true);
  EXPECT_EQ(shown.chart().over()->shared(), newest);
  EXPECT_EQ(shown.chart().selection(), (SpanAt{span, true}));
  EXPECT_EQ(shown.details(), details);
  // When it is let go, the next is shown; and the last one of the run in any case.
  shown.chart().select(std::nullopt);
  newest = lay(true);
  EXPECT_EQ(shown.chart().over()->shared(), newest);
  shown.chart().select(SpanAt{span, true});
  newest = lay(false);
  EXPECT_EQ(shown.chart().over()->shared(), newest);
}

TEST(TimelinePage, EveryColourOfTheLegendIsReachedByKeys) {
  Shown shown;
  auto* legend = find<QWidget>(&shown.chart(), "Legend");
  EXPECT_EQ(legend->focusPolicy() & Qt::TabFocus, Qt::TabFocus);
  legend->setFocus();
  std::set<std::uint32_t> seen;
  for (std::size_t i = 0; i < shown.chart().legend().size(); ++i) {
    QTest::keyClick(legend, Qt::Key_Space);
    EXPECT_EQ(shown.chart().highlight(), 1U << shown.chart().legend()[i]);
    seen.insert(shown.chart().highlight());
    QTest::keyClick(legend, Qt::Key_Right);
  }
  EXPECT_EQ(seen.size(), shown.chart().legend().size());
  // Round the end, which is the first again; with Shift as well, and once more away.
  const std::uint32_t last = 1U << shown.chart().legend().back(), first = 1U << shown.chart().legend().front();
  QTest::keyClick(legend, Qt::Key_Space, Qt::ShiftModifier);
  EXPECT_EQ(shown.chart().highlight(), last | first);
  QTest::keyClick(legend, Qt::Key_Space, Qt::ShiftModifier);
  EXPECT_EQ(shown.chart().highlight(), last);
  QTest::keyClick(legend, Qt::Key_Left);
  QTest::keyClick(legend, Qt::Key_Space);
  EXPECT_EQ(shown.chart().highlight(), 0U);  // it was alone: all again
  // Other keys are the chart's.
  QTest::keyClick(legend, Qt::Key_C);
  EXPECT_TRUE(shown.chart().critical());
}

TEST(TimelinePage, RFoldsTheRankOfWhatIsSelected) {
  Shown shown;
  const std::size_t rows = shown.chart().lanes().rows().size();
  const view::SpanId span = shown.longest([](const Span& s) { return s.rank != 0; });
  ASSERT_NE(span, view::kNoSpan);
  const std::uint32_t rank = shown.timeline().spans[span].rank;
  shown.chart().select(SpanAt{span, false});
  shown.key(Qt::Key_R);
  EXPECT_EQ(shown.chart().layout_choice().collapsed, (std::set<std::uint32_t>{rank}));
  shown.key(Qt::Key_R);
  EXPECT_EQ(shown.chart().lanes().rows().size(), rows);
  shown.key(Qt::Key_R, Qt::ShiftModifier);
  EXPECT_EQ(shown.chart().layout_choice().collapsed, (std::set<std::uint32_t>{0, rank}));
  shown.key(Qt::Key_R, Qt::ShiftModifier);
  EXPECT_TRUE(shown.chart().layout_choice().collapsed.empty());
  shown.chart().select(std::nullopt);
  shown.key(Qt::Key_R);
  EXPECT_EQ(shown.chart().layout_choice().collapsed, (std::set<std::uint32_t>{0}));  // the uppermost
}

TEST(TimelinePage, KeysMoveTheCursorAndMeasure) {
  Shown shown;
  shown.chart().set_cursor(std::nullopt);
  shown.key(Qt::Key_Right, Qt::ControlModifier);
  ASSERT_TRUE(shown.state().cursor());
  const double at = shown.chart().axis().pixel(*shown.state().cursor());
  EXPECT_NEAR(at, shown.chart().axis().width() / 2 + 1, 0.5);  // from the middle on
  shown.key(Qt::Key_M);
  for (int i = 0; i < 3; ++i) shown.key(Qt::Key_Right, Qt::ControlModifier | Qt::ShiftModifier);
  shown.key(Qt::Key_Left, Qt::ControlModifier);
  shown.key(Qt::Key_M);
  ASSERT_TRUE(shown.chart().measured());
  EXPECT_NEAR(static_cast<double>(shown.chart().measured()->length().v) * shown.chart().axis().pixels_per_picosecond(), 3 * 20 - 1, 1);
  // What is selected is measured at once.
  const view::SpanId span = shown.longest([](const Span& s) { return s.rank != 0; });
  ASSERT_NE(span, view::kNoSpan);
  shown.chart().select(SpanAt{span, false});
  shown.key(Qt::Key_M, Qt::ShiftModifier);
  EXPECT_EQ(*shown.chart().measured(), (view::TimeRange{shown.timeline().spans[span].start, shown.timeline().spans[span].end}));
}

TEST(TimelinePage, TheCursorTakesTheViewAlong) {
  Shown shown;
  shown.key(Qt::Key_W, Qt::ShiftModifier);
  const view::TimeRange before = shown.chart().axis().range();
  for (int i = 0; i < 60; ++i) shown.key(Qt::Key_Right, Qt::ControlModifier | Qt::ShiftModifier);  // 1200 pixels
  EXPECT_GT(shown.chart().axis().range().begin, before.begin);
  EXPECT_EQ(shown.chart().axis().range().length(), before.length());
  EXPECT_TRUE(shown.chart().axis().range().contains(*shown.chart().cursor()));
}

TEST(TimelinePage, KeysGoToTheEndsAsTheMinimapDoes) {
  Shown shown;
  shown.key(Qt::Key_W, Qt::ShiftModifier);
  const Picoseconds length = shown.chart().axis().range().length();
  shown.key(Qt::Key_End, Qt::ControlModifier);
  EXPECT_EQ(shown.chart().axis().range().end, shown.chart().axis().whole().end);
  shown.key(Qt::Key_Home, Qt::ControlModifier);
  EXPECT_EQ(shown.chart().axis().range().begin, shown.chart().axis().whole().begin);
  EXPECT_EQ(shown.chart().axis().range().length(), length);
}

TEST(TimelinePage, SaysWhatIsShownWhereItIsNotThePrediction) {
  Shown shown;
  auto* own = find<QLabel>(&shown.page, "Shown");
  auto* other = find<QLabel>(&shown.page, "Laid over it");
  EXPECT_TRUE(own->isHidden() || !own->isVisible());
  const auto predicted = std::make_shared<Timeline>(shown.timeline());
  shown.state().set_measured(Other{slower(shown.timeline()), "/tmp/folder/run.json"});
  EXPECT_TRUE(own->isVisible());
  EXPECT_TRUE(own->text().contains("predicted: cpu-llama-tiny on")) << own->text().toStdString();
  EXPECT_TRUE(other->text().contains("measured: run.json")) << other->text().toStdString();
  EXPECT_EQ(other->toolTip(), "/tmp/folder/run.json");
  EXPECT_EQ(shown.chart().names().own, "predicted");
  EXPECT_EQ(shown.chart().names().other, "measured");
  // A trace in place of the prediction, and the way back.
  shown.state().set_measured(std::nullopt);
  EXPECT_FALSE(own->isVisible());
  shown.state().show_trace(Other{predicted, "/tmp/folder/saved.json"});
  EXPECT_TRUE(own->text().contains("predicted: saved.json")) << own->text().toStdString();
  find<QToolButton>(&shown.page, "Back to the prediction")->click();
  EXPECT_FALSE(shown.state().trace());
  EXPECT_FALSE(own->isVisible());
}

TEST(TimelinePage, TimelinesWithoutACommonInstructionAreSaidToBe) {
  Shown shown;
  auto other = std::make_shared<Timeline>(shown.timeline());
  for (Span& s : other->spans) s.pass += 1'000'000;
  shown.state().set_measured(Other{other, "run.json"});
  EXPECT_TRUE(find<QLabel>(&shown.page, "Differences")->text().contains("no instruction in common"));
}

TEST(TimelinePage, ANewAnswerKeepsTheView) {
  Shown shown;
  shown.key(Qt::Key_W);
  const view::TimeRange range = shown.chart().axis().range();
  shown.state().set("batch.micro", "2");
  ASSERT_TRUE(wait_for([&] { return shown.state().settled() && shown.page.settled(); }));
  EXPECT_EQ(shown.chart().index()->shared(), shown.state().timeline());
  EXPECT_TRUE(shown.chart().axis().range().overlaps(range));
}

TEST(TimelinePage, TheTableIsByRankStreamAndWhat) {
  Shown shown;
  const auto table = shown.page.csv();
  ASSERT_TRUE(table);
  const QStringList lines = table->split('\n', Qt::SkipEmptyParts);
  EXPECT_EQ(lines.front(), "rank,name,ranks_like_it,stream,what,seconds");
  double matrix = 0;
  for (const QString& line : lines)
    if (line.contains(",matrix products,")) matrix += line.section(',', -1).toDouble();
  double expected = 0;
  for (const Span& s : shown.timeline().spans)
    if (shown.timeline().kinds[s.kind].work == WorkClass::gemm && !s.recompute) expected += to_seconds(s.end - s.start).v;
  EXPECT_NEAR(matrix, expected, expected * 1e-9);
  EXPECT_TRUE(shown.page.command().contains("--trace trace.json"));
}

TEST(TimelinePage, PicturesAreRectanglesInSvgToo) {
  Shown shown;
  const QByteArray svg = shown.chart().svg({900, 500});
  EXPECT_TRUE(svg.contains("<rect") || svg.contains("<path"));
  EXPECT_FALSE(svg.contains("<image"));
}

}  // namespace
}  // namespace orrery::gui
