#include "gui/view/shown_names.h"

#include <fmt/format.h>

namespace orrery::view {

namespace {

// Names of what was run begin with what it is.
std::string title(const Source& source) {
  std::string kind(kind_of(source.origin));
  if (source.name.empty()) return kind;
  return source.name.starts_with(kind + ": ") ? source.name : fmt::format("{}: {}", kind, source.name);
}

}  // namespace

std::string_view kind_of(std::string_view origin) {
  if (origin.empty()) return "recorded";
  return origin == "simulated" ? "predicted" : origin;
}

ShownNames shown_names(const Source& own, const std::optional<Source>& other) {
  ShownNames names;
  names.own_title = title(own);
  if (!other) return names;
  names.other_title = title(*other);
  names.own = kind_of(own.origin);
  names.other = kind_of(other->origin);
  if (names.own != names.other) return names;
  const bool differ = own.name != other->name && !own.name.empty() && !other->name.empty();
  names.own = differ ? own.name : "upper";
  names.other = differ ? other->name : "lower";
  return names;
}

}  // namespace orrery::view
