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

TEST(DidYouMeanOfMany, NamesTheOneThatIsMeantOrAFewAndTheCommandThatListsAll) {
  const std::vector<std::string> known{"gpt2", "gpt2-xl", "gpt3-175b", "llama-3-8b", "llama-3.1-405b", "llama-3.1-70b", "llama-3.1-8b", "opt-66b"};
  const auto hint = [&](const char* word) { return did_you_mean_of_many(word, known, "orrery show models"); };
  EXPECT_EQ(hint("llama-3.1-8x"), "did you mean 'llama-3.1-8b'?");
  EXPECT_EQ(hint("Llama3.1_8B"), "did you mean 'llama-3.1-8b'?");  // neither case nor punctuation counts
  EXPECT_EQ(hint("llama"), "did you mean 'llama-3-8b', 'llama-3.1-405b', 'llama-3.1-70b' or 'llama-3.1-8b'? 'orrery show models' lists them all");
  EXPECT_EQ(hint("66b"), "did you mean 'opt-66b'? 'orrery show models' lists them all");
  EXPECT_EQ(hint("mistral-7b"), "'orrery show models' lists them all");
  EXPECT_EQ(hint(""), "'orrery show models' lists them all");
}

}  // namespace
}  // namespace orrery
