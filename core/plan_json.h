// Plans as documents, and the words that a plan may use.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/field.h"
#include "core/plan.h"
#include "core/settings.h"

namespace orrery {

// Throws Error at "file:line: field". `model`, `cluster` and `batch` are required; everything else has the default of core/plan.h. What is legal in a
// plan but not built yet is refused by the compiler, not here.
Plan read_plan(std::string_view text, std::string_view file);
// Complete: every field, also those that hold their default.
std::string write_plan(const Plan& plan);

// Every field, with its present value.
std::vector<Field> plan_fields(const Plan& plan);

// The plan in the file `path`, with `settings` applied.
Plan load_plan(const std::string& path, std::span<const Setting> settings = {});

// The words of the schema, for the faces that list or check them before there is a plan.
const std::vector<std::string>& known_schedules();
const std::vector<std::string>& recompute_modules();
const std::vector<std::string>& data_parallel_kinds();

}  // namespace orrery
