#include "core/schema_tree.h"

#include <fmt/format.h>

#include <cassert>
#include <cmath>

namespace orrery::schema {
namespace {

constexpr std::size_t kWidth = 140;

// Length of the UTF-8 sequence that starts `text`, 0 when it is not one (overlong forms, surrogates and what lies beyond U+10FFFF included).
std::size_t sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return 0;
  }
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0) || (first == 0xf0 && byte(1) < 0x90) ||
      (first == 0xf4 && byte(1) >= 0x90)) {
    return 0;
  }
  return length;
}

}  // namespace

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const std::size_t length = sequence(text.substr(i));
    if (length == 0) {
      out += "\xef\xbf\xbd";
      ++i;
      continue;
    }
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += text.substr(i, length);
    }
    i += length;
  }
  out += '"';
  return out;
}

Tree Tree::of(std::int64_t value) { return Tree(Kind::scalar, fmt::format("{}", value)); }
Tree Tree::of(std::uint64_t value) { return Tree(Kind::scalar, fmt::format("{}", value)); }
Tree Tree::of(double value) {
  assert(std::isfinite(value));
  return Tree(Kind::scalar, fmt::format("{}", value));
}

Tree& Tree::add(std::string_view key, Tree value) {
  assert(kind_ == Kind::object);
  children_.emplace_back(std::string(key), std::move(value));
  return *this;
}

Tree& Tree::push(Tree value) {
  assert(kind_ == Kind::list);
  children_.emplace_back(std::string(), std::move(value));
  return *this;
}

Tree& Tree::append(const Tree& object) {
  assert(kind_ == Kind::object && object.kind_ == Kind::object);
  children_.insert(children_.end(), object.children_.begin(), object.children_.end());
  return *this;
}

std::size_t Tree::width() const {
  if (kind_ == Kind::scalar) return scalar_.size();
  std::size_t sum = 2;
  for (const auto& [key, child] : children_) {
    sum += 2 + key.size() + (kind_ == Kind::object ? 4 : 0) + child.width();
    if (sum > kWidth) break;
  }
  return sum;
}

void Tree::print(std::string& out, std::size_t indent, std::size_t used, bool broken) const {
  if (kind_ == Kind::scalar) {
    out += scalar_;
    return;
  }
  const char open = kind_ == Kind::object ? '{' : '[', close = kind_ == Kind::object ? '}' : ']';
  broken = !children_.empty() && (broken || used + width() > kWidth);
  out += open;
  bool first = true;
  for (const auto& [key, child] : children_) {
    if (!first) out += broken ? "," : ", ";
    first = false;
    if (broken) out.append(1, '\n').append(indent + 2, ' ');
    std::size_t lead = indent + 2;
    if (kind_ == Kind::object) {
      const std::string name = quote(key);
      out += name + ": ";
      lead += name.size() + 2;
    }
    child.print(out, indent + 2, lead, false);
  }
  if (broken) out.append(1, '\n').append(indent, ' ');
  out += close;
}

std::string Tree::text() const {
  std::string out;
  print(out, 0, 0, true);
  out += '\n';
  return out;
}

std::string Tree::line() const {
  if (kind_ == Kind::scalar) return scalar_;
  std::string out(1, kind_ == Kind::object ? '{' : '[');
  for (const auto& [key, child] : children_) {
    if (out.size() > 1) out += ", ";
    if (kind_ == Kind::object) out += quote(key) + ": ";
    out += child.line();
  }
  return out + (kind_ == Kind::object ? '}' : ']');
}

}  // namespace orrery::schema
