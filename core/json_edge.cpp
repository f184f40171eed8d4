#include "core/json_edge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/schema_tree.h"
#include "core/settings.h"

namespace orrery::json {
namespace {

// Bytes of the UTF-8 character at the start of `text`; 0 when there is none.
std::size_t character_size(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0U) != 0x80U) return 0;
  }
  return size;
}

// For messages: no control characters, no broken ones, no novel.
std::string printable(std::string_view text, std::size_t most = 60) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= most) return out + "…";
    const auto byte = static_cast<unsigned char>(text.front());
    if (const std::size_t size = character_size(text); size > 1 || (size == 1 && byte >= 0x20 && byte != 0x7f)) {
      out += text.substr(0, size);
      text.remove_prefix(size);
    } else {
      out += fmt::format("\\x{:02x}", byte);
      text.remove_prefix(1);
    }
  }
  return out;
}

// Where the parser is: it reads at most one character beyond a number, so the line of the last character read is the line of the last token.
struct Position {
  std::size_t read = 0;  // characters read
  std::uint32_t line = 1;
  bool after_newline = false;
};

// Characters of the text, one by one, for nlohmann's lexer; counts lines on the way.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, Position* position) : at_(at), position_(position) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    if (position_->after_newline) ++position_->line;
    position_->after_newline = *at_ == '\n';
    ++position_->read;
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator& o) const { return at_ == o.at_; }
  bool operator!=(const CountingIterator& o) const { return at_ != o.at_; }

 private:
  const char* at_;
  Position* position_;
};

// Builds the tree from nlohmann's events.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(std::string_view text, const std::string& file, const Position& position, Node& root)
      : text_(text), file_(file), position_(position), root_(root) {}

  bool null() override { return scalar(Node::Kind::null) != nullptr; }
  bool boolean(bool value) override {
    scalar(Node::Kind::boolean)->boolean = value;
    return true;
  }
  bool number_integer(number_integer_t value) override {
    Node* node = scalar(Node::Kind::integer);
    node->integer = value;
    node->real = static_cast<double>(value);
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    const bool fits = value <= static_cast<std::uint64_t>(INT64_MAX);
    Node* node = scalar(fits ? Node::Kind::integer : Node::Kind::real);
    node->integer = fits ? static_cast<std::int64_t>(value) : 0;
    node->real = static_cast<double>(value);
    return true;
  }
  bool number_float(number_float_t value, const string_t&) override {
    scalar(Node::Kind::real)->real = value;
    return true;
  }
  bool string(string_t& value) override {
    scalar(Node::Kind::text)->text = std::move(value);
    return true;
  }
  bool binary(binary_t&) override { return false; }  // does not occur in text
  bool start_object(std::size_t) override { return open(Node::Kind::object); }
  bool start_array(std::size_t) override { return open(Node::Kind::list); }
  bool end_object() override {
    refuse_duplicates(*stack_.back());
    return close();
  }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    key_ = std::move(value);
    token_end_ = position_.read;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& e) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing value - WHY; last read: '…'"
    std::string why = e.what();
    if (const std::size_t bracket = why.find("] "); bracket != std::string::npos) why.erase(0, bracket + 2);
    if (const std::size_t dash = why.find(" - "); dash != std::string::npos) why.erase(0, dash + 3);
    if (const std::size_t last_read = why.find("; last read: "); last_read != std::string::npos) why.erase(last_read);
    const std::size_t token = std::min(text_.find_first_not_of(" \t\r\n,:", token_end_), text_.size());
    std::string hint;
    if (text_.find_first_not_of(" \t\r\n") == std::string_view::npos) {
      why = "is empty";
    } else if (why.find("unexpected end of input") != std::string::npos || why.find("missing closing quote") != std::string::npos) {
      why = "ends in the middle of the document";
      hint = "is the file truncated?";
    } else {
      why = fmt::format("is not JSON near '{}': {}", printable(text_.substr(token, 20), 20), why);
    }
    throw Error(fmt::format("{}:{}", file_, position_.line), why, hint);
  }

 private:
  // A new value at the end of the token just read.
  Node* add(Node::Kind kind) {
    if (++values_ > Document::kMostValues) fail(fmt::format("holds more than {} values", Document::kMostValues));
    Node* node = &root_;
    if (!stack_.empty()) node = &stack_.back()->children.emplace_back();
    node->kind = kind;
    node->line = position_.line;
    node->key = std::move(key_);
    key_.clear();
    node->begin = std::min(text_.find_first_not_of(" \t\r\n,:", token_end_), text_.size());
    return node;
  }
  Node* scalar(Node::Kind kind) {
    Node* node = add(kind);
    node->end = position_.read;
    if (kind == Node::Kind::integer || kind == Node::Kind::real) {
      node->end = std::min(text_.find_first_not_of("+-.0123456789eE", node->begin), text_.size());
      node->text = text_.substr(node->begin, node->end - node->begin);
    }
    token_end_ = node->end;
    return node;
  }
  bool open(Node::Kind kind) {
    if (stack_.size() >= Document::kDeepest) fail(fmt::format("is nested more than {} levels deep", Document::kDeepest));
    stack_.push_back(add(kind));
    token_end_ = position_.read;
    return true;
  }
  bool close() {
    stack_.back()->end = token_end_ = position_.read;
    stack_.pop_back();
    return true;
  }
  void refuse_duplicates(const Node& object) const {
    std::vector<const Node*> members;
    for (const Node& member : object.children) members.push_back(&member);
    std::stable_sort(members.begin(), members.end(), [](const Node* a, const Node* b) { return a->key < b->key; });
    const auto twin = std::adjacent_find(members.begin(), members.end(), [](const Node* a, const Node* b) { return a->key == b->key; });
    if (twin == members.end()) return;
    throw Error(fmt::format("{}:{}: {}", file_, twin[1]->line, printable(twin[1]->key)),
                fmt::format("is given twice, first on line {}", twin[0]->line), "remove one of them");
  }
  [[noreturn]] void fail(const std::string& what) const { throw Error(fmt::format("{}:{}", file_, position_.line), what); }

  std::string_view text_;
  const std::string& file_;
  const Position& position_;
  Node& root_;
  std::vector<Node*> stack_;  // the open objects and lists; a parent's children do not move while one of them is open
  std::string key_;
  std::size_t token_end_ = 0, values_ = 0;
};

const char* name(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::null:
      return "null";
    case Node::Kind::boolean:
      return "true or false";
    case Node::Kind::integer:
    case Node::Kind::real:
      return "a number";
    case Node::Kind::text:
      return "a text";
    case Node::Kind::list:
      return "a list";
    case Node::Kind::object:
      return "an object";
  }
  return "";
}

}  // namespace

Document::Document(std::string_view text, std::string_view file_name, Origin origin) : file_(file_name), path_(std::move(origin.path)) {
  if (text.size() > kLargestText) throw Error(file_, fmt::format("is larger than {} bytes", kLargestText), "is this the right file?");
  if (text.substr(0, 2) == "\xff\xfe" || text.substr(0, 2) == "\xfe\xff") throw Error(file_ + ":1", "is UTF-16, not UTF-8", "save it as UTF-8");
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
  // The lexer takes a zero byte for the end of the text, and would not look at what follows it.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n');
    throw Error(fmt::format("{}:{}", file_, origin.line + lines), "is not JSON: it holds a zero byte");
  }
  Position position;
  position.line = origin.line;
  TreeBuilder builder(text, file_, position, root_);
  nlohmann::json::sax_parse(CountingIterator(text.data(), &position), CountingIterator(text.data() + text.size(), &position), &builder);
}

std::string Value::where() const {
  std::string out = fmt::format("{}:{}", *file_, node_->line);
  if (!path_.empty()) out += ": " + path_;
  return out;
}

std::string Value::quoted() const {
  switch (node_->kind) {
    case Node::Kind::null:
      return "null";
    case Node::Kind::boolean:
      return node_->boolean ? "true" : "false";
    case Node::Kind::integer:
    case Node::Kind::real:
      return printable(node_->text);
    case Node::Kind::text:
      return "'" + printable(node_->text) + "'";
    case Node::Kind::list:
    case Node::Kind::object:
      return name(node_->kind);
  }
  return "";
}

void Value::fail(const std::string& what, const std::string& hint) const { throw Error(where(), what, hint); }

std::int64_t Value::integer(std::int64_t least, std::int64_t most) const {
  if (!is_number()) fail(quoted() + " is not a whole number");
  // Beyond 2^63 no cast; the ends are compared as doubles, which is exact enough to tell that a value is out of range there.
  const bool beyond = node_->kind == Node::Kind::real && std::abs(node_->real) >= 0x1p63;
  if (!beyond && node_->kind == Node::Kind::real && node_->real != std::floor(node_->real)) fail(quoted() + " is not a whole number");
  const bool negative = node_->real < 0;
  const std::int64_t value = beyond                            ? (negative ? INT64_MIN : INT64_MAX)
                             : node_->kind == Node::Kind::real ? static_cast<std::int64_t>(node_->real)
                                                               : node_->integer;
  if (value < least) fail(fmt::format("{} is less than {}", quoted(), least));
  if (value > most || beyond) fail(fmt::format("{} is more than {}", quoted(), most));
  return value;
}

double Value::number(double least, double most) const {
  if (!is_number()) fail(quoted() + " is not a number");
  if (node_->real < least) fail(fmt::format("{} is less than {}", quoted(), least));
  if (node_->real > most) fail(fmt::format("{} is more than {}", quoted(), most));
  return node_->real;
}

bool Value::boolean() const {
  if (node_->kind != Node::Kind::boolean) fail(quoted() + " is neither true nor false");
  return node_->boolean;
}

const std::string& Value::text() const {
  if (node_->kind != Node::Kind::text) fail(quoted() + " is not a text", "put it in double quotes");
  return node_->text;
}

Object Value::object() const {
  if (!is_object()) fail(quoted() + " is not an object");
  return Object(*this);
}

std::vector<Value> Value::list() const {
  if (!is_list()) fail(quoted() + " is not a list");
  std::vector<Value> out;
  out.reserve(node_->children.size());
  for (const Node& child : node_->children) out.emplace_back(child, *file_, fmt::format("{}[{}]", path_, out.size()));
  return out;
}

std::size_t Value::choice(const std::vector<std::string>& names) const {
  const std::string& word = text();
  const auto found = std::find(names.begin(), names.end(), word);
  if (found == names.end()) fail(quoted() + " is not known here", did_you_mean(word, names));
  return static_cast<std::size_t>(found - names.begin());
}

const Node* Object::find(const std::string& key) const {
  for (const Node& child : value_.node_->children) {
    if (child.key == key) return &child;
  }
  return nullptr;
}

std::string Object::path_of(const std::string& key) const { return value_.path_.empty() ? printable(key) : value_.path_ + "." + printable(key); }

std::optional<Value> Object::present(const std::string& key) {
  asked_.insert(key);
  const Node* node = find(key);
  if (node == nullptr) return std::nullopt;
  return Value(*node, *value_.file_, path_of(key));
}

Value Object::required(const std::string& key) {
  if (std::optional<Value> value = present(key)) return *value;
  throw Error(fmt::format("{}:{}: {}", *value_.file_, value_.node_->line, path_of(key)), "is missing");
}

std::optional<Value> Object::optional(const std::string& key) {
  std::optional<Value> value = present(key);
  if (value && value->is_null()) value.reset();
  return value;
}

std::vector<std::pair<std::string, Value>> Object::members() {
  std::vector<std::pair<std::string, Value>> out;
  for (const Node& child : value_.node_->children) {
    asked_.insert(child.key);
    out.emplace_back(child.key, Value(child, *value_.file_, path_of(child.key)));
  }
  return out;
}

void Object::read(const std::string& key, std::int64_t& out, std::int64_t least, std::int64_t most) {
  if (const auto value = present(key)) out = value->integer(least, most);
}
void Object::read(const std::string& key, double& out, double least, double most) {
  if (const auto value = present(key)) out = value->number(least, most);
}
void Object::read(const std::string& key, bool& out) {
  if (const auto value = present(key)) out = value->boolean();
}
void Object::read(const std::string& key, std::string& out) {
  if (const auto value = present(key)) out = value->text();
}
void Object::read(const std::string& key, std::optional<std::int64_t>& out, std::int64_t least, std::int64_t most) {
  if (const auto value = present(key)) out = value->is_null() ? std::nullopt : std::optional(value->integer(least, most));
}
void Object::read(const std::string& key, std::optional<double>& out, double least, double most) {
  if (const auto value = present(key)) out = value->is_null() ? std::nullopt : std::optional(value->number(least, most));
}
void Object::read(const std::string& key, std::optional<std::string>& out) {
  if (const auto value = present(key)) out = value->is_null() ? std::nullopt : std::optional(value->text());
}

void Object::done() const {
  for (const Node& child : value_.node_->children) {
    if (asked_.count(child.key) != 0) continue;
    const std::vector<std::string> known(asked_.begin(), asked_.end());
    throw Error(fmt::format("{}:{}: {}", *value_.file_, child.line, path_of(child.key)), "is not a known field", did_you_mean(child.key, known));
  }
}

}  // namespace orrery::json

namespace orrery {
namespace {

using json::Node;

// One step of a setting's path: "levels[1].bandwidth" has three.
std::vector<std::string> steps_of(const Setting& setting) {
  const std::string where = "--set " + json::printable(setting.path);
  std::vector<std::string> steps(1);
  for (std::size_t i = 0; i < setting.path.size(); ++i) {
    const char c = setting.path[i];
    if (c == '.' || c == '[') {
      steps.emplace_back();
    } else if (c == ']') {
      if (i + 1 < setting.path.size() && setting.path[i + 1] != '.' && setting.path[i + 1] != '[') throw Error(where, "has text after ']'");
    } else {
      steps.back() += c;
    }
  }
  for (const std::string& step : steps) {
    if (step.empty()) throw Error(where, "has an empty step", "write it like batch.micro=2");
  }
  if (steps.size() > json::Document::kDeepest / 2) throw Error(where, "has too many steps");
  return steps;
}

// A text as JSON.
std::string quote(const std::string& text, const std::string& where) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(where, "is not UTF-8");
  }
}

// The value as JSON, without line breaks (which JSON has only between tokens), so that the document's lines keep their numbers.
std::string value_text(std::string value, const std::string& where) {
  try {
    const json::Document document(value, "");
    value = value.substr((value.substr(0, 3) == "\xef\xbb\xbf" ? 3 : 0) + document.node().begin, document.node().end - document.node().begin);
  } catch (const Error&) {
    return quote(value, where);
  }
  std::replace_if(
      value.begin(), value.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return value;
}

std::string apply(const std::string& text, std::string_view file_name, const Setting& setting) {
  const std::vector<std::string> steps = steps_of(setting);
  const std::string where = "--set " + json::printable(setting.path);
  const json::Document document(text, file_name);
  const std::size_t mark = text.substr(0, 3) == "\xef\xbb\xbf" ? 3 : 0;  // offsets of nodes start after it
  const Node* node = &document.node();
  std::string value = value_text(setting.value, where);
  std::string so_far;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::string& step = steps[i];
    if (node->kind == Node::Kind::list) {
      const bool digits = step.find_first_not_of("0123456789") == std::string::npos && step.size() < 10;
      if (!digits || std::stoul(step) >= node->children.size()) {
        throw Error(where, fmt::format("{} has no element '{}'", so_far, step), fmt::format("it is a list of {}", node->children.size()));
      }
      node = &node->children[std::stoul(step)];
    } else if (node->kind == Node::Kind::object || (node->kind == Node::Kind::null && i > 0)) {
      const auto found = std::find_if(node->children.begin(), node->children.end(), [&](const Node& child) { return child.key == step; });
      if (found == node->children.end()) {
        for (std::size_t k = steps.size(); k-- > i;) {
          value = fmt::format("{}: {}", quote(steps[k], where), value);
          if (k > i) value = fmt::format("{{{}}}", value);
        }
        if (node->kind == Node::Kind::null) return text.substr(0, mark + node->begin) + "{" + value + "}" + text.substr(mark + node->end);
        return text.substr(0, mark + node->begin + 1) + value + (node->children.empty() ? "" : ", ") + text.substr(mark + node->begin + 1);
      }
      node = &*found;
    } else {
      throw Error(where, fmt::format("{} is not an object", so_far.empty() ? std::string(file_name) : so_far));
    }
    so_far += (i ? "." : "") + step;
  }
  return text.substr(0, mark + node->begin) + value + text.substr(mark + node->end);
}

}  // namespace

Setting parse_setting(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0)
    throw Error("--set " + json::printable(text), "is not PATH=VALUE", "write it like batch.micro=2");
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::string setting_value(const std::string& text) {
  if (text.empty()) return "\"\"";
  try {
    const json::Document document(text, "");
  } catch (const Error&) {
    return text;
  }
  return schema::quote(text);
}

std::string setting_text(const std::string& value) {
  try {
    const json::Document document(value, "");
    if (document.node().kind == Node::Kind::text) return document.node().text;
  } catch (const Error&) {  // no JSON: a text as it is
  }
  return value;
}

std::string apply_settings(std::string_view text, std::string_view file_name, std::span<const Setting> settings) {
  std::string out(text);
  for (const Setting& setting : settings) out = apply(out, file_name, setting);
  return out;
}

}  // namespace orrery
