#include "core/error.h"

#include <gtest/gtest.h>

namespace orrery {
namespace {

TEST(Error, SaysWhereWhatAndHint) {
  const Error e("plan.json:3: batch.micro", "'two' is not a whole number", "write 2");
  EXPECT_STREQ(e.what(), "plan.json:3: batch.micro: 'two' is not a whole number\n  hint: write 2");
}

TEST(Nearest, FindsTheWordThatWasMeantAndNothingWhenNoneWas) {
  const std::vector<std::string> known{"gpipe", "1f1b", "interleaved"};
  EXPECT_EQ(nearest("1f1d", known), "1f1b");
  EXPECT_EQ(nearest("interleved", known), "interleaved");
  EXPECT_EQ(nearest("gpiep", known), "gpipe");  // two neighbours swapped are one slip
  EXPECT_EQ(nearest("zero-bubble", known), "");
  EXPECT_EQ(did_you_mean("zero-bubble", known), "known: gpipe, 1f1b, interleaved");
}

}  // namespace
}  // namespace orrery
