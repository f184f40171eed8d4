// Questions to begin with.
#pragma once

#include <string>
#include <vector>

#include "app/inputs.h"

namespace orrery::view {

struct Example {
  std::string name, about;  // "Llama 3.1 70B on 64 H100", a sentence
  app::PlanFlags question;
};

// The first is what the window shows when it is given nothing; the last runs on any machine's CPU.
const std::vector<Example>& examples();

}  // namespace orrery::view
