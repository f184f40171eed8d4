// JSON Schemas (draft 2020-12) of every document that has one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orrery::app {

// Those of core/schema.h, and: "sweep" (what `orrery sweep` reads), "table" (what its --json prints), "simulation" (what `orrery simulate --json`
// prints) and "summary" (the part of it that `orrery compare` reads). Throws Error with did-you-mean for anything else.
std::string schema(std::string_view document);
std::vector<std::string> schema_names();

}  // namespace orrery::app
