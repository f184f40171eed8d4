// One field of a document as data, for whoever shows it or lets it be edited. Made from the tables of fields that readers and schemas use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orrery {

enum class FieldKind : std::uint8_t { whole, number, yes_no, choice, text, quantity, list, object };

struct Field {
  std::string path;   // as in --set: "parallel.tp", "levels.1.bandwidth"
  std::string about;  // one line; may be empty
  FieldKind kind = FieldKind::text;
  FieldKind element = FieldKind::text;  // of a list: what its elements are
  std::vector<std::string> choices;     // of a choice, or of each element of a list
  std::vector<std::string> units;       // of a quantity, smallest first
  std::optional<double> least, most;    // of a number, or of each element of a list
  bool below = false;                   // `most` itself is not taken
  bool above_zero = false;              // of a quantity
  bool nullable = false;
  std::string null_means;               // what null stands for, where the table says so: "as stored"
  bool required = false;                // a document without it is refused
  std::optional<std::string> fallback;  // what a document without it has, in the form of `value`
  std::string value;                    // the VALUE of --set PATH=VALUE that changes nothing
  bool operator==(const Field&) const = default;
};

// "as stored" of "on the wire; null: as stored"; empty where the text says nothing about null.
std::string meaning_of_null(std::string_view about);

}  // namespace orrery
