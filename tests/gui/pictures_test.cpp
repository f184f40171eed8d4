// What each page looks like, held to pictures with a tolerance for fonts: a figure drawn twice as wide, a page that lost its chart, dark on dark.
#include <gtest/gtest.h>

#include <QtWidgets>

#include "gui/main_window.h"
#include "gui/page.h"
#include "gui/screenshot.h"
#include "gui/theme.h"
#include "gui/view/examples.h"
#include "support.h"

namespace orrery::gui {
namespace {

// Model and cluster of the first example: figures from data files, nothing of this machine.
struct Pictures : ::testing::TestWithParam<const char*> {};

TEST_P(Pictures, LookAsTheyDid) {
  testing::Asked asked{view::examples().front().question};
  MainWindow window(asked.state);
  window.statusBar()->hide();  // says how long the answer took
  ASSERT_TRUE(window.show_page(GetParam()));
  if (std::string(GetParam()) == "whatif") {
    asked.state.pin();
    asked.state.set("parallel.tp", "4");
  }
  screenshot(window, asked.state, {1280, 800});
  for (QLabel* label : window.findChildren<QLabel*>())
    if (label->text().startsWith("answered in")) label->setText("answered");
  EXPECT_TRUE(testing::looks_like(screenshot(window, asked.state, {1280, 800}), GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Pages, Pictures,
                         ::testing::Values("setup", "timeline", "memory", "network", "energy", "plans", "compare", "sweeps", "whatif"),
                         [](const auto& page) { return std::string(page.param); });

TEST(Dark, IsAnotherPictureOfTheSame) {
  testing::Asked asked{view::examples().front().question};
  choose_theme(ThemeChoice::dark);
  MainWindow window(asked.state);
  window.statusBar()->hide();
  ASSERT_TRUE(window.show_page("timeline"));
  const QImage image = screenshot(window, asked.state, {1280, 800});
  choose_theme(ThemeChoice::system);
  EXPECT_TRUE(testing::looks_like(image, "timeline-dark"));
}

// The comparison itself: the same picture passes, one that moved by 40 pixels does not.
TEST(LooksLike, SeesAPageThatMoved) {
  if (qEnvironmentVariableIsSet("ORRERY_UPDATE_PICTURES")) GTEST_SKIP() << "would write what is wrong";
  testing::Asked asked{view::examples().front().question};
  MainWindow window(asked.state);
  window.statusBar()->hide();
  ASSERT_TRUE(window.show_page("timeline"));
  const QImage image = screenshot(window, asked.state, {1280, 800});
  ASSERT_TRUE(testing::looks_like(image, "timeline"));
  EXPECT_FALSE(testing::looks_like(image.copy(40, 0, image.width(), image.height()), "timeline"));
  QImage black(image.size(), QImage::Format_RGB32);
  black.fill(Qt::black);
  EXPECT_FALSE(testing::looks_like(black, "timeline"));
}

}  // namespace
}  // namespace orrery::gui
