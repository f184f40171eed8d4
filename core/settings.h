// `--set PATH=VALUE`, the one what-if mechanism: a change to a document's text before it is read.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace orrery {

struct Setting {
  std::string path;   // "batch.micro", "levels[1].bandwidth" or "levels.1.bandwidth"
  std::string value;  // JSON; anything that is not JSON is a text: schedule=1f1b
  bool operator==(const Setting&) const = default;
};

// Takes "PATH=VALUE" apart. Throws Error at "--set TEXT" without a path or an '='.
Setting parse_setting(std::string_view text);

// The VALUE that stands for a text: the text itself, in quotation marks where it would be read as something else ("8", "null", nothing at all).
std::string setting_value(const std::string& text);
// The text that such a VALUE stands for: what is in quotation marks, or all of it.
std::string setting_text(const std::string& value);

// The JSON object `text` of file `file_name` with each setting applied, in order: values are replaced in place and new ones added (with the objects
// on the way), on the line of the object that holds them, so that the lines of `text` keep their numbers. Throws Error at "--set PATH" when a path
// goes through something that is neither object nor list, or past the end of a list; whether a field is known is for the reader of the document to
// say.
std::string apply_settings(std::string_view text, std::string_view file_name, std::span<const Setting> settings);

}  // namespace orrery
