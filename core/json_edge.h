// How documents come in: a JSON text as a tree that knows its lines, and a strict reader over it. Only the *_json.cpp files of core use this.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orrery::json {

// One value of a document, with the place it stands at.
struct Node {
  enum class Kind : std::uint8_t { null, boolean, integer, real, text, list, object };
  Kind kind = Kind::null;
  std::uint32_t line = 1;          // of its first character
  std::size_t begin = 0, end = 0;  // bytes of the document
  bool boolean = false;            // boolean
  std::int64_t integer = 0;        // integer
  double real = 0;                 // integer and real: the value; whole numbers beyond 64 bits are real
  std::string text;                // text: the value; integer and real: as written
  std::string key;                 // member of an object: its name
  std::vector<Node> children;      // of a list or an object, in order
};

class Object;

// A value and its address. Cheap to copy; lives no longer than its Document. Every conversion throws Error at "file:line: path".
class Value {
 public:
  Value(const Node& node, const std::string& file, std::string path) : node_(&node), file_(&file), path_(std::move(path)) {}

  bool is_null() const { return node_->kind == Node::Kind::null; }
  bool is_text() const { return node_->kind == Node::Kind::text; }
  bool is_number() const { return node_->kind == Node::Kind::integer || node_->kind == Node::Kind::real; }
  bool is_object() const { return node_->kind == Node::Kind::object; }
  bool is_list() const { return node_->kind == Node::Kind::list; }

  // A whole number within [least, most]; 8.0 and 1e3 are whole.
  std::int64_t integer(std::int64_t least = 0, std::int64_t most = kMost) const;
  // A finite number within [least, most].
  double number(double least = -1e300, double most = 1e300) const;
  bool boolean() const;
  const std::string& text() const;
  Object object() const;
  std::vector<Value> list() const;
  // A text that is one of `names`: its index, or Error with did-you-mean.
  std::size_t choice(const std::vector<std::string>& names) const;
  // The same for a table of names and values.
  template <class T, std::size_t N>
  T choice(const std::array<std::pair<std::string_view, T>, N>& table) const {
    std::vector<std::string> names;
    names.reserve(N);
    for (const auto& entry : table) names.emplace_back(entry.first);
    return table[choice(names)].second;
  }

  const std::string& path() const { return path_; }
  std::string where() const;
  // "'two'", "-3", "a list": the value as a message quotes it.
  std::string quoted() const;
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const;

  static constexpr std::int64_t kMost = 1'000'000'000'000'000;

 private:
  friend class Object;
  const Node* node_;
  const std::string* file_;
  std::string path_;
};

// Reads an object field by field and remembers which were asked for: done() refuses the rest.
class Object {
 public:
  explicit Object(Value value) : value_(std::move(value)) {}

  // The field, or Error that it is missing.
  Value required(const std::string& key);
  // The field; nothing when it is absent or null.
  std::optional<Value> optional(const std::string& key);
  bool has(const std::string& key) const { return find(key) != nullptr; }
  // All members, in order; all count as asked for.
  std::vector<std::pair<std::string, Value>> members();

  // The field into `out`, which keeps its value when the field is absent; null is refused, except for std::optional, which it empties.
  void read(const std::string& key, std::int64_t& out, std::int64_t least = 0, std::int64_t most = Value::kMost);
  void read(const std::string& key, double& out, double least = -1e300, double most = 1e300);
  void read(const std::string& key, bool& out);
  void read(const std::string& key, std::string& out);
  void read(const std::string& key, std::optional<std::int64_t>& out, std::int64_t least = 0, std::int64_t most = Value::kMost);
  void read(const std::string& key, std::optional<double>& out, double least = -1e300, double most = 1e300);
  void read(const std::string& key, std::optional<std::string>& out);
  template <class T, std::size_t N>
  void read(const std::string& key, T& out, const std::array<std::pair<std::string_view, T>, N>& table) {
    if (const std::optional<Value> value = present(key)) out = value->choice(table);
  }

  // The fields that were asked for so far.
  const std::set<std::string>& asked() const { return asked_; }
  // Refuses fields that nobody asked for, with did-you-mean over those that were.
  void done() const;

  const Value& value() const { return value_; }
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const { value_.fail(what, hint); }

 private:
  const Node* find(const std::string& key) const;
  std::string path_of(const std::string& key) const;
  std::optional<Value> present(const std::string& key);  // absent: nothing; null: a null value

  Value value_;
  std::set<std::string> asked_;
};

// Where a text stands when it is a piece of a larger document: its first line there, and the path of its value.
struct Origin {
  std::uint32_t line = 1;
  std::string path;
};

// A parsed text. Throws Error at "file:line" for what is not JSON (truncated, trailing text, invalid UTF-8, numbers beyond double), for a key given
// twice, and for hostile sizes: more than kLargestText bytes, kDeepest levels, or kMostValues values. A UTF-8 byte order mark is skipped.
class Document {
 public:
  static constexpr std::size_t kDeepest = 64;
  static constexpr std::size_t kMostValues = 1'000'000;

  Document(std::string_view text, std::string_view file_name, Origin origin = {});
  Document(const Document&) = delete;  // values point into it
  Document& operator=(const Document&) = delete;

  Value root() const { return Value(root_, file_, path_); }
  // The root, which must be an object.
  Object object() const { return root().object(); }
  const Node& node() const { return root_; }

 private:
  std::string file_, path_;
  Node root_;
};

}  // namespace orrery::json
