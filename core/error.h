// What a user can cause, as one exception type with an address and a way out; what only we can cause is an assert.
#pragma once

#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace orrery {

// `where` is an address the user can go to (file:line: field, a flag, a plan field); `what` says what is wrong with the value found there;
// `hint` says how to mend it, and may be empty.
class Error : public std::exception {
 public:
  Error(std::string where, std::string what, std::string hint = {});

  const std::string& where() const { return where_; }
  const std::string& message() const { return what_; }
  const std::string& hint() const { return hint_; }
  // "where: what\n  hint: …", without a trailing newline.
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string where_, what_, hint_, text_;
};

// The candidate nearest to `word` by edit distance, or empty when none is near enough to be meant (distance <= max(1, |word| / 3)).
std::string nearest(std::string_view word, std::span<const std::string> candidates);

// "did you mean 'x'?" or, when nothing is near, "known: a, b, c".
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

// For names too many to list: "did you mean 'x'?" where one is clearly meant, otherwise up to four that are near or hold the word ("did you mean 'x',
// 'y' or 'z'?"), and always the command that lists all: "'orrery show models' lists them all". Case and punctuation do not count.
std::string did_you_mean_of_many(std::string_view word, std::span<const std::string> candidates, std::string_view list_command);

}  // namespace orrery
