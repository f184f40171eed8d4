#include "core/schema_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "core/error.h"

namespace orrery::schema {

const Words& Names<DType>::words() {
  static const Words kWords{"fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int32", "uint8", "fp64"};
  return kWords;
}

const Words& Names<DeviceKind>::words() {
  static const Words kWords{"gpu", "cpu_core"};
  return kWords;
}

namespace {
// A quantity is a text; a bare number has no unit, and gets an example.
const std::string& quantity_text(const json::Value& value, std::string_view example) {
  if (!value.is_text()) value.fail(value.quoted() + " has no unit", fmt::format("write a text with number and unit: \"{}\"", example));
  return value.text();
}
template <class T>
T checked(const json::Value& value, T quantity, const Rule& rule) {
  if (rule.above_zero && !(quantity > T{})) value.fail(value.quoted() + " is zero");
  return quantity;
}
}  // namespace

void parse(const json::Value& value, Bytes& out, const Rule& rule) {
  out = checked(value, parse_bytes(quantity_text(value, "80 GB"), value.where()), rule);
}
void parse(const json::Value& value, BytesPerSecond& out, const Rule& rule) {
  out = checked(value, parse_bandwidth(quantity_text(value, "50 GB/s"), value.where()), rule);
}
void parse(const json::Value& value, FlopsPerSecond& out, const Rule& rule) {
  out = checked(value, parse_compute_rate(quantity_text(value, "989.5 TFLOPS"), value.where()), rule);
}
void parse(const json::Value& value, Watts& out, const Rule& rule) {
  out = checked(value, parse_power(quantity_text(value, "700 W"), value.where()), rule);
}
void parse(const json::Value& value, Seconds& out, const Rule& rule) {
  out = checked(value, parse_duration(quantity_text(value, "2 us"), value.where()), rule);
}

void check_below(const json::Value& value, double number, const Rule& rule) {
  if (rule.exclusive && rule.most && number >= *rule.most) value.fail(fmt::format("{} is not below {}", value.quoted(), *rule.most));
}

void Reader::constant(const char* key, const char* text, const char* about) {
  if (!object_.has(key)) missing(key, about);
  const json::Value value = object_.required(key);
  if (value.text() != text) value.fail(fmt::format("{} is not '{}'", value.quoted(), text), about);
}

void Reader::missing(const char* key, const char* about) {
  try {
    object_.required(key);
  } catch (const Error& e) {
    throw Error(e.where(), e.message(), about);
  }
  throw std::logic_error("the field is there");  // not reached: only called for a field that is missing
}

std::string Reader::fmt_count(std::size_t has, std::size_t wants) { return fmt::format("has {} element{}, not {}", has, has == 1 ? "" : "s", wants); }

std::size_t Reader::checked_key(const json::Value& member, const std::string& key, const Words& known) {
  const auto found = std::find(known.begin(), known.end(), key);
  if (found == known.end()) member.fail("is not a known name here", did_you_mean(key, known));
  return static_cast<std::size_t>(found - known.begin());
}

void Schema::constant(const char* key, const char* text, const char* about) {
  Tree property = Tree::object();
  if (*about != '\0') property.add("description", Tree::of(about));
  property.add("const", Tree::of(text));
  properties_.add(key, std::move(property));
  required_.push(Tree::of(key));
}

Tree Schema::take() {
  Tree out = Tree::object();
  out.add("type", Tree::of("object")).add("additionalProperties", Tree::of(false));
  if (!required_.empty()) out.add("required", std::move(required_));
  out.add("properties", std::move(properties_));
  return out;
}

std::string Schema::take_document(const char* title) {
  Tree out = Tree::object();
  out.add("$schema", Tree::of("https://json-schema.org/draft/2020-12/schema")).add("title", Tree::of(title));
  out.add("type", Tree::of("object")).add("additionalProperties", Tree::of(false));
  if (!required_.empty()) out.add("required", std::move(required_));
  out.add("properties", std::move(properties_));
  return out.text();
}

void Schema::type(Tree& out, const char* name, bool nullable) {
  if (!nullable) {
    out.add("type", Tree::of(name));
    return;
  }
  Tree types = Tree::list();
  types.push(Tree::of(name)).push(Tree::of("null"));
  out.add("type", std::move(types));
}

void Schema::choice(Tree& out, const Words& words, bool nullable) {
  Tree list = Tree::list();
  for (const std::string& word : words) list.push(Tree::of(word));
  if (nullable) list.push(Tree::null());
  out.add("enum", std::move(list));
}

Tree Schema::choice_of(const Words& words) {
  Tree out = Tree::object();
  choice(out, words, false);
  return out;
}

namespace {
std::string pattern(const std::vector<std::string>& units) {
  return fmt::format("^[0-9]+(\\.[0-9]*)?([eE][+-]?[0-9]+)? ?({})$", fmt::join(units, "|"));
}
}  // namespace
std::string Schema::quantity_pattern(Bytes) { return pattern(units_of(Bytes{})); }
std::string Schema::quantity_pattern(BytesPerSecond) { return pattern(units_of(BytesPerSecond{})); }
std::string Schema::quantity_pattern(FlopsPerSecond) { return pattern(units_of(FlopsPerSecond{})); }
std::string Schema::quantity_pattern(Watts) { return pattern(units_of(Watts{})); }
std::string Schema::quantity_pattern(Seconds) { return pattern(units_of(Seconds{})); }

void Lister::take_fallbacks(std::vector<Field>& into, const std::vector<Field>& fresh) {
  std::size_t at = 0;  // both lists are in the order of the table
  for (Field& field : into) {
    for (std::size_t i = at; i < fresh.size(); ++i) {
      if (fresh[i].path != field.path) continue;
      if (!field.required) field.fallback = fresh[i].value;
      at = i + 1;
      break;
    }
  }
}

bool Lister::can_name(const std::string& key) { return !key.empty() && key.find_first_of(".[]=") == std::string::npos; }

void Lister::append(std::vector<Field> more) {
  fields_.insert(fields_.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void check_version(json::Object& object, const char* version) {
  const std::string_view name = std::string_view(version).substr(0, std::string_view(version).find('/'));
  const std::string hint = fmt::format("a {} starts with {{\"orrery\": \"{}\", …", name, version);
  if (!object.has("orrery")) object.fail(fmt::format("is not a {}: \"orrery\" is missing", name), hint);
  const json::Value value = object.required("orrery");
  if (!value.is_text()) value.fail(fmt::format("{} is not '{}'", value.quoted(), version), hint);
  const std::string& found = value.text();
  if (found == version) return;
  const bool other_version = found.substr(0, found.find('/')) == name;
  value.fail(fmt::format("{} is not '{}'", value.quoted(), version),
             other_version ? fmt::format("this program reads version {} only", version + name.size() + 1) : hint);
}

}  // namespace orrery::schema

std::string orrery::meaning_of_null(std::string_view about) {
  constexpr std::string_view kMark = "null: ";
  const std::size_t at = about.rfind(kMark);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = about.substr(at + kMark.size());
  return std::string(rest.substr(0, rest.find(';')));
}
