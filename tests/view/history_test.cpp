#include "gui/view/history.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace orrery::view {
namespace {

// The model: a list of values and a place in it.
RC_GTEST_PROP(History, UndoAndRedoWalkThroughWhatWasPushed, (const std::vector<int>& edits)) {
  History<int> history(0);
  std::vector<int> model{0};
  std::size_t at = 0;
  for (const int e : edits) {
    if (e % 3 == 0) {
      RC_ASSERT(history.undo() == (at > 0));
      if (at > 0) --at;
    } else if (e % 3 == 1) {
      RC_ASSERT(history.redo() == (at + 1 < model.size()));
      if (at + 1 < model.size()) ++at;
    } else {
      const bool other = e != model[at];
      RC_ASSERT(history.push(e, "edit") == other);
      if (other) {
        model.resize(++at);
        model.push_back(e);
      }
    }
    RC_ASSERT(history.now() == model[at]);
    RC_ASSERT(history.can_undo() == (at > 0));
    RC_ASSERT(history.can_redo() == (at + 1 < model.size()));
  }
}

TEST(History, EditsOfOneGestureAreOneStep) {
  History<int> history(0);
  history.push(1, "a", 7);
  history.push(2, "a", 7);
  history.push(3, "b", 8);
  EXPECT_TRUE(history.undo());
  EXPECT_EQ(history.now(), 2);
  EXPECT_EQ(history.redo_what(), "b");
  EXPECT_TRUE(history.undo());
  EXPECT_EQ(history.now(), 0);
  EXPECT_FALSE(history.undo());
}

TEST(History, KeepsALimitedNumberOfSteps) {
  History<int> history(0);
  for (int i = 1; i <= 1000; ++i) history.push(i, "");
  std::size_t undone = 0;
  while (history.undo()) ++undone;
  EXPECT_EQ(undone, History<int>::kMost - 1);
  EXPECT_EQ(history.now(), 1000 - static_cast<int>(undone));
}

}  // namespace
}  // namespace orrery::view
