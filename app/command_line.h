// The command that a question is: what somebody would type to have the program ask the same.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "app/compare.h"
#include "app/inputs.h"

namespace orrery::app {

// The words of `orrery VERB …` for the flags, program and verb included: "simulate", "plan", "sweep", "run", "profile" or "compare". Short flags
// stand in place of settings where the verb has them and nothing else sets the same field: loading what the words say gives the inputs that `flags`
// give.
std::vector<std::string> command_words(const PlanFlags& flags, std::string_view verb);

// A word as a POSIX shell takes it: in quotation marks where it needs them.
std::string shell_quoted(const std::string& word);
// Words on one line, to be copied to a shell.
std::string shell_line(const std::vector<std::string>& words);

// shell_line of command_words, then `more` (its words as they are).
std::string command_line(const PlanFlags& flags, std::string_view verb, const std::vector<std::string>& more = {});

// The words of `orrery compare …` of the two: two files; a plan and --then what is different in the other; or one side --with the other.
std::vector<std::string> compare_words(const Operand& a, const Operand& b);

// The settings that hold, in their order: without those that a later one overrides.
std::vector<std::string> tidied(const std::vector<std::string>& settings);

}  // namespace orrery::app
