// A prediction beside a pinned one: figures, and what moved most in a sentence.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/compare.h"
#include "app/simulate.h"

namespace orrery::view {

enum class Judgement : std::uint8_t { neither, better, worse };

struct Figure {
  std::string name, about;  // "step time", a line on what it is
  std::string now, pinned;  // "14.8 s"; `pinned` is empty where nothing is
  std::string change;       // "+22 %", "-1.2 GiB"; empty where it is the same, or nothing is pinned
  Judgement judgement = Judgement::neither;
  bool operator==(const Figure&) const = default;
};

// `pinned` may be null.
std::vector<Figure> figures(const app::SimulateReport& now, const app::SimulateReport* pinned);

// "22 % slower: exposed tp +2.1 s, bubble +910 ms; kernel efficiency -400 ms". At most three parts, those that go with the step's change first.
std::string change_sentence(const app::CompareReport& report);

}  // namespace orrery::view
