// Questions that come faster than their answers.
#include "gui/state/asker.h"

#include <gtest/gtest.h>

#include <QTimer>

#include "support.h"

namespace orrery::gui {
namespace {

// One every 2 ms, while each answer takes tens of milliseconds: were each cancelled by the next, none would ever be there.
TEST(Asker, QuestionsThatComeFasterThanAnswersStillGetSome) {
  Asker asker;
  app::PlanFlags question;
  question.plan = ORRERY_SOURCE_DIR "/examples/plans/llama-3.1-405b-interleaved.json";
  std::uint64_t newest = 0;
  int on_the_way = 0;
  QObject::connect(&asker, &Asker::answered, &asker, [&](const std::shared_ptr<const Answer>& answer) {
    if (answer->number == newest) return;
    ++on_the_way;
    EXPECT_FALSE(answer->complete);
    EXPECT_NE(answer->report(), nullptr);
  });
  QTimer timer;
  QObject::connect(&timer, &QTimer::timeout, [&] {
    question.settings = {"seed=" + std::to_string(newest + 2)};
    newest = asker.ask(question);
  });
  timer.start(2);
  EXPECT_TRUE(testing::wait_for([&] { return on_the_way >= 2; }));
}

}  // namespace
}  // namespace orrery::gui
