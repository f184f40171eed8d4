// How documents go out: a JSON text built from the inside out and printed so that a person can read and edit it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orrery::schema {

// A text as a JSON string. What is not UTF-8 becomes the replacement character.
std::string quote(std::string_view text);

// A JSON value to be written. Lists and objects stay on one line where they fit; the members of the outermost object get a line each.
class Tree {
 public:
  static Tree object() { return Tree(Kind::object, {}); }
  static Tree list() { return Tree(Kind::list, {}); }
  static Tree null() { return Tree(Kind::scalar, "null"); }
  static Tree of(bool value) { return Tree(Kind::scalar, value ? "true" : "false"); }
  static Tree of(std::int64_t value);
  static Tree of(std::uint64_t value);
  static Tree of(double value);  // shortest text that reads back to the same double; requires a finite one
  static Tree of(std::string_view value) { return Tree(Kind::scalar, quote(value)); }
  static Tree of(const char* value) { return of(std::string_view(value)); }
  static Tree of(const std::string& value) { return of(std::string_view(value)); }

  Tree& add(std::string_view key, Tree value);  // to an object
  Tree& push(Tree value);                       // to a list
  Tree& append(const Tree& object);             // all members of one object to another

  bool empty() const { return children_.empty(); }
  // The whole text, ending with a newline.
  std::string text() const;
  // The same on one line, without the newline.
  std::string line() const;

 private:
  enum class Kind : std::uint8_t { scalar, list, object };
  Tree(Kind kind, std::string scalar) : kind_(kind), scalar_(std::move(scalar)) {}
  std::size_t width() const;
  void print(std::string& out, std::size_t indent, std::size_t used, bool broken) const;

  Kind kind_;
  std::string scalar_;
  std::vector<std::pair<std::string, Tree>> children_;
};

}  // namespace orrery::schema
