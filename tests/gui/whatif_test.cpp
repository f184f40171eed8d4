// The What-if page: knobs turn, answers follow, and changes are told against what was pinned.
#include <gtest/gtest.h>

#include <QtTest>
#include <QtWidgets>

#include "gui/pages/knob_widget.h"
#include "gui/pages/whatif_page.h"
#include "support.h"

namespace orrery::gui {
namespace {

using testing::Asked;
using testing::find;
using testing::wait_for;

struct WhatIf : ::testing::Test {
  Asked asked;
  WhatIfPage page{asked.state};

  WhatIf() {
    page.resize(1100, 640);
    page.show();
    settle();
  }
  void settle() {
    EXPECT_TRUE(wait_for([&] { return asked.state.settled() && page.settled(); }));
  }
  QSlider* slider(const char* path) { return page.knob(path)->findChild<QSlider*>(); }
  const Plan& plan() { return asked.state.answer()->inputs->plan; }
};

TEST_F(WhatIf, ADragIsFollowedByAnswersAndIsOneStepOfUndo) {
  QSlider* tp = slider("parallel.tp");
  ASSERT_NE(tp, nullptr);
  ASSERT_GE(tp->maximum(), 2) << "1, 2 and 4 ranks";
  const int before = tp->value();
  tp->setSliderDown(true);
  tp->setSliderPosition(0);
  tp->setSliderPosition(2);
  tp->setSliderPosition(0);
  tp->setSliderDown(false);
  settle();
  EXPECT_EQ(plan().parallel.tp, 1);
  EXPECT_EQ(tp->value(), 0);
  asked.state.undo();
  settle();
  EXPECT_EQ(plan().parallel.tp, 2);
  EXPECT_EQ(tp->value(), before) << "the knob follows the question, too";
  EXPECT_FALSE(asked.state.can_undo());
}

TEST_F(WhatIf, KeysTurnAKnob) {
  QSlider* tp = slider("parallel.tp");
  tp->setFocus();
  QTest::keyClick(tp, Qt::Key_Left);
  settle();
  EXPECT_EQ(plan().parallel.tp, 1);
}

TEST_F(WhatIf, TheFirstTurnPinsWhatWasThere) {
  EXPECT_EQ(asked.state.pinned(), nullptr);
  slider("parallel.tp")->setValue(0);
  settle();
  ASSERT_NE(asked.state.pinned(), nullptr);
  EXPECT_EQ(asked.state.pinned()->inputs->plan.parallel.tp, 2);
  ASSERT_FALSE(page.figures().empty());
  EXPECT_FALSE(page.figures().front().pinned.empty());
  EXPECT_FALSE(page.figures().front().change.empty());
  EXPECT_TRUE(page.sentence().contains("pinned plan")) << page.sentence().toStdString();
  EXPECT_TRUE(page.csv()->contains("step time"));
}

TEST_F(WhatIf, ASlowerNetworkIsNeverFasterAndItsResetTakesItBack) {
  const double before = asked.state.answer()->report()->step_time.v;
  QSlider* network = slider("cluster.levels.0.bandwidth");
  ASSERT_NE(network, nullptr);
  EXPECT_EQ(network->value(), 0);
  network->setValue(network->minimum());
  settle();
  EXPECT_GE(asked.state.answer()->report()->step_time.v, before);
  EXPECT_EQ(page.figures().front().judgement, view::Judgement::worse);
  QTest::mouseClick(page.knob("cluster.levels.0.bandwidth")->findChild<QToolButton*>(), Qt::LeftButton);
  settle();
  EXPECT_EQ(asked.state.answer()->report()->step_time.v, before);
  EXPECT_EQ(network->value(), 0);
}

TEST_F(WhatIf, AllKnobsGoBackToThePinnedPlan) {
  const app::PlanFlags first = asked.state.question();
  slider("parallel.tp")->setValue(0);
  settle();
  slider("cluster.levels.0.latency")->setValue(2);
  settle();
  QTest::mouseClick(find<QPushButton>(&page, "Back to the pinned plan"), Qt::LeftButton);
  EXPECT_EQ(asked.state.question(), first);
  settle();
}

TEST_F(WhatIf, ChoicesSayWhatTheyChangeWithThem) {
  auto* schedule = page.knob("schedule")->findChild<QComboBox*>();
  ASSERT_NE(schedule, nullptr);
  const int at = schedule->findText("interleaved", Qt::MatchStartsWith);
  ASSERT_GE(at, 0);
  EXPECT_TRUE(schedule->itemText(at).contains("parallel.vp"));
  schedule->setCurrentIndex(at);
  Q_EMIT schedule->activated(at);
  settle();
  EXPECT_TRUE(asked.state.answer()->refusals.empty());
  EXPECT_EQ(plan().schedule, "interleaved");
  EXPECT_GE(plan().parallel.vp, 2);
}

TEST_F(WhatIf, ASliderThatIsHeldKeepsItsStops) {
  KnobWidget* knob = page.knob("parallel.tp");
  QSlider* held = slider("parallel.tp");
  const int most = held->maximum();
  ASSERT_GT(most, 0);
  held->setSliderDown(true);
  view::Knob fewer = knob->knob();
  fewer.stops.resize(1);
  fewer.value = fewer.stops.front().value;
  knob->show_knob(fewer);
  EXPECT_EQ(held->maximum(), most);
  EXPECT_EQ(view::most_position(knob->knob()), most);  // what the slider can reach has a stop
  held->setSliderDown(false);
  EXPECT_EQ(held->maximum(), 0);
  EXPECT_EQ(view::most_position(knob->knob()), 0);
}

TEST_F(WhatIf, PinningAgainStartsAnew) {
  slider("parallel.tp")->setValue(0);
  settle();
  QTest::mouseClick(find<QPushButton>(&page, "Pin this plan"), Qt::LeftButton);
  EXPECT_EQ(asked.state.pinned()->inputs->plan.parallel.tp, 1);
  EXPECT_TRUE(page.figures().front().change.empty());
  EXPECT_FALSE(find<QPushButton>(&page, "Pin this plan")->isEnabled());
}

}  // namespace
}  // namespace orrery::gui
