// What somebody types into a field, as a change of the question.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/inputs.h"
#include "core/error.h"
#include "core/field.h"

namespace orrery::view {

// The text of the field's editor; empty for null.
std::string shown_text(const Field& field);
// The same for any value of the field.
std::string shown_text(const Field& field, const std::string& value);

// The VALUE that is meant by a text typed into the field. Nothing but spaces: null where there can be one, otherwise empty, which takes the setting
// away. Layers per stage may be written as "7,8x14,7", lists without brackets.
std::string typed_value(const Field& field, const std::string& text);

// Why the question could not be read with PATH=VALUE; nothing where it can. The words are the readers' own.
std::optional<Error> check_edit(const app::PlanFlags& question, const std::string& path, const std::string& value);

// The question with PATH=VALUE after everything else.
app::PlanFlags with_setting(app::PlanFlags question, const std::string& path, const std::string& value);

// Whether the question itself says something about the field, by a flag or by a setting of the very field.
bool says(const app::PlanFlags& question, const std::string& path);

// The value that is `steps` behind the present one in a list of legal values (before it: negative), or as far as the list goes. Empty for an empty
// list. A value between two of them steps to the next on its side.
std::string stepped(const std::vector<std::string>& values, const std::string& present, int steps);

}  // namespace orrery::view
