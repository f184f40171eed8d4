// What the timelines on screen are called: in full where it is said what is shown, in a word where their lanes lie over each other.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace orrery::view {

// Where a timeline comes from.
struct Source {
  std::string origin;  // Timeline::origin
  std::string name;    // of a plan ("llama-3.1-8b on dgx-h100:64"), or of a file
};

struct ShownNames {
  std::string own, other;              // what tells them apart: "predicted" and "measured", or the files' names where both are of one kind
  std::string own_title, other_title;  // "measured: run.json"
  bool operator==(const ShownNames&) const = default;
};

std::string_view kind_of(std::string_view origin);  // "predicted", "measured", "recorded" where a trace does not say
// Nothing lies over it: no word is needed, and the other's are empty.
ShownNames shown_names(const Source& own, const std::optional<Source>& other);

}  // namespace orrery::view
