// One table of fields per struct serves four visitors: the strict reader, the writer, the JSON Schema and the list of fields. Only core's *_json.cpp
// files use this.
//
//   template <class F> void fields(F& f, schema::In<F, BatchSpec>& b) { f("global", b.global, about("sequences per step").must().at_least(1)); … }
//
// A fields() must stand in the namespace of its struct, before it is used.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/cluster.h"
#include "core/dtype.h"
#include "core/field.h"
#include "core/json_edge.h"
#include "core/quantity_text.h"
#include "core/schema_tree.h"
#include "core/settings.h"
#include "core/units.h"

namespace orrery::schema {

using Words = std::vector<std::string>;

// What a field may hold. Limits apply to the elements of lists and the values of maps as well.
struct Rule {
  const char* text = "";
  bool required = false, not_empty = false, exclusive = false, above_zero = false;
  std::optional<double> least, most;
  const Words* choices = nullptr;       // of a text, or of each text in a list
  const Words* keys = nullptr;          // of a map
  std::optional<std::int64_t> if_null;  // a whole number: null stands for this

  Rule must() const {
    return with([](Rule& r) { r.required = true; });
  }
  Rule filled() const {
    return with([](Rule& r) { r.not_empty = true; });
  }
  Rule positive() const {
    return with([](Rule& r) { r.above_zero = true; });
  }  // of a quantity
  Rule at_least(double v) const {
    return with([v](Rule& r) { r.least = v; });
  }
  Rule within(double low, double high) const {
    return with([=](Rule& r) { r.least = low, r.most = high; });
  }
  Rule below(double v) const {
    return with([v](Rule& r) { r.most = v, r.exclusive = true; });
  }
  Rule one_of(const Words& words) const {
    return with([&](Rule& r) { r.choices = &words; });
  }
  Rule keyed_by(const Words& words) const {
    return with([&](Rule& r) { r.keys = &words; });
  }
  Rule null_is(std::int64_t v) const {
    return with([v](Rule& r) { r.if_null = v; });
  }

 private:
  template <class Change>
  Rule with(Change change) const {
    Rule out = *this;
    change(out);
    return out;
  }
};
inline Rule about(const char* text) {
  Rule out;
  out.text = text;
  return out;
}

// Names of an enumeration's values, in their order: specialise per type.
template <class T>
struct Names;
template <>
struct Names<DType> {
  static const Words& words();
};
template <>
struct Names<DeviceKind> {
  static const Words& words();
};

// A struct that may also be written in another form: specialise with
//   static bool read(const json::Value&, T&);     true when it was that form
//   static Tree schema(Tree of_the_object);
template <class T>
struct Special;
template <class T>
concept HasSpecial = requires {
  &Special<T>::read;
};

// The struct as a visitor sees it: the writer must not change it.
template <class F, class T>
using In = std::conditional_t<F::kWrites, const T, T>;

template <class T>
inline constexpr bool is_quantity = std::is_same_v<T, Bytes> || std::is_same_v<T, BytesPerSecond> || std::is_same_v<T, FlopsPerSecond> ||
                                    std::is_same_v<T, Watts> || std::is_same_v<T, Seconds>;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = true;
template <class T, std::size_t N>
inline constexpr bool is_list<std::array<T, N>> = true;
template <class T>
inline constexpr bool is_map = false;
template <class K, class T>
inline constexpr bool is_map<std::map<K, T>> = true;

// Refuse a quantity or a text without one; a quantity of zero where the rule says so.
void parse(const json::Value& value, Bytes& out, const Rule& rule);
void parse(const json::Value& value, BytesPerSecond& out, const Rule& rule);
void parse(const json::Value& value, FlopsPerSecond& out, const Rule& rule);
void parse(const json::Value& value, Watts& out, const Rule& rule);
void parse(const json::Value& value, Seconds& out, const Rule& rule);
// Refuses a number that is not below the rule's exclusive limit.
void check_below(const json::Value& value, double number, const Rule& rule);

class Reader {
 public:
  static constexpr bool kWrites = false;
  explicit Reader(json::Object& object) : object_(object) {}

  template <class T>
  void operator()(const char* key, T& member, const Rule& rule) {
    if (!object_.has(key)) {
      if (rule.required) missing(key, rule.text);
      object_.optional(key);  // counts as known, so that did-you-mean can offer it
      return;
    }
    read(object_.required(key), member, rule);
  }
  // A field that always holds the same text.
  void constant(const char* key, const char* text, const char* about);
  // A field that people expect but that has no place here.
  void refuse(const char* key, const char* what, const char* hint) {
    if (object_.has(key)) object_.required(key).fail(what, hint);
  }
  // Runs `test(address)` where address(key) is the value of a field, or the object when it is absent.
  template <class Test>
  void check(Test test) {
    test([this](const char* key) { return object_.has(key) ? object_.required(key) : object_.value(); });
  }

  template <class T>
  static void read(const json::Value& value, T& out, const Rule& rule) {
    if constexpr (std::is_same_v<T, bool>) {
      out = value.boolean();
    } else if constexpr (std::is_same_v<T, std::int64_t>) {
      if (rule.if_null && value.is_null()) {
        out = *rule.if_null;
      } else {
        out =
            value.integer(static_cast<std::int64_t>(rule.least.value_or(0)), rule.most ? static_cast<std::int64_t>(*rule.most) : json::Value::kMost);
      }
    } else if constexpr (std::is_same_v<T, std::uint64_t>) {
      out = static_cast<std::uint64_t>(value.integer(0, INT64_MAX));
    } else if constexpr (std::is_same_v<T, double>) {
      out = value.number(rule.least.value_or(-1e300), rule.most.value_or(1e300));
      check_below(value, out, rule);
    } else if constexpr (std::is_same_v<T, std::string>) {
      out = rule.choices ? (*rule.choices)[value.choice(*rule.choices)] : value.text();
      if (rule.not_empty && out.empty()) value.fail("is empty");
    } else if constexpr (is_quantity<T>) {
      parse(value, out, rule);
    } else if constexpr (std::is_enum_v<T>) {
      if (rule.choices) value.choice(*rule.choices);
      out = static_cast<T>(value.choice(Names<T>::words()));
    } else if constexpr (is_optional<T>) {
      out.reset();
      if (!value.is_null()) read(value, out.emplace(), rule);
    } else if constexpr (is_list<T>) {
      const std::vector<json::Value> elements = value.list();
      if constexpr (requires { out.clear(); }) {
        out.clear();
        out.reserve(elements.size());
        for (const json::Value& element : elements) read(element, out.emplace_back(), rule);
      } else {
        if (elements.size() != out.size()) value.fail(fmt_count(elements.size(), out.size()));
        for (std::size_t i = 0; i < out.size(); ++i) read(elements[i], out[i], rule);
      }
    } else if constexpr (is_map<T>) {
      out.clear();
      for (const auto& [key, member] : value.object().members()) {
        read(member, out[key_of<typename T::key_type>(member, key, rule)], rule);
      }
    } else {
      if constexpr (HasSpecial<T>) {
        if (Special<T>::read(value, out)) return;
      }
      json::Object object = value.object();
      Reader reader(object);
      fields(reader, out);
      object.done();
    }
  }

 private:
  [[noreturn]] void missing(const char* key, const char* about);
  static std::string fmt_count(std::size_t has, std::size_t wants);
  static std::size_t checked_key(const json::Value& member, const std::string& key, const Words& known);
  template <class K>
  static K key_of(const json::Value& member, const std::string& key, const Rule& rule) {
    if constexpr (std::is_enum_v<K>) {
      return static_cast<K>(checked_key(member, key, Names<K>::words()));
    } else {
      if (rule.keys) checked_key(member, key, *rule.keys);
      return key;
    }
  }
  json::Object& object_;
};

class Writer {
 public:
  static constexpr bool kWrites = true;

  template <class T>
  void operator()(const char* key, const T& member, const Rule& rule) {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      if (rule.if_null == member) {
        tree_.add(key, Tree::null());
        return;
      }
    }
    tree_.add(key, write(member));
  }
  void constant(const char* key, const char* text, const char*) { tree_.add(key, Tree::of(text)); }
  void refuse(const char*, const char*, const char*) {}
  template <class Test>
  void check(Test) {}
  Tree take() { return std::move(tree_); }

  template <class T>
  static Tree write(const T& value) {
    if constexpr (is_quantity<T>) {
      return Tree::of(exact_text(value));
    } else if constexpr (std::is_enum_v<T>) {
      return Tree::of(Names<T>::words().at(static_cast<std::size_t>(value)));
    } else if constexpr (is_optional<T>) {
      return value ? write(*value) : Tree::null();
    } else if constexpr (is_list<T>) {
      Tree out = Tree::list();
      for (const auto& element : value) out.push(write(element));
      return out;
    } else if constexpr (is_map<T>) {
      Tree out = Tree::object();
      for (const auto& [key, member] : value) {
        if constexpr (std::is_enum_v<typename T::key_type>) {
          out.add(Names<typename T::key_type>::words().at(static_cast<std::size_t>(key)), write(member));
        } else {
          out.add(key, write(member));
        }
      }
      return out;
    } else if constexpr (std::is_same_v<T, std::string> || std::is_arithmetic_v<T>) {
      return Tree::of(value);
    } else {
      Writer writer;
      fields(writer, value);
      return writer.take();
    }
  }

 private:
  Tree tree_ = Tree::object();
};

// Builds the JSON Schema (draft 2020-12) of a struct; defaults are those of a value-initialised struct.
class Schema {
 public:
  static constexpr bool kWrites = false;

  template <class T>
  void operator()(const char* key, T& member, const Rule& rule) {
    Tree property = Tree::object();
    if (*rule.text != '\0') property.add("description", Tree::of(rule.text));
    describe<T>(property, rule, false);
    if (rule.required) {
      required_.push(Tree::of(key));
    } else {
      property.add("default", Writer::write(member));
    }
    properties_.add(key, std::move(property));
  }
  void constant(const char* key, const char* text, const char* about);
  void refuse(const char*, const char*, const char*) {}
  template <class Test>
  void check(Test) {}

  // {"type": "object", …} of the fields seen so far.
  Tree take();
  // The same as a whole document.
  std::string take_document(const char* title);

  template <class T>
  static Tree of() {
    T value{};
    Schema schema;
    fields(schema, value);
    Tree out = schema.take();
    if constexpr (HasSpecial<T>) out = Special<T>::schema(std::move(out));
    return out;
  }

 private:
  template <class T>
  static void describe(Tree& out, const Rule& rule, bool nullable) {
    if constexpr (std::is_same_v<T, bool>) {
      type(out, "boolean", nullable);
    } else if constexpr (std::is_same_v<T, std::int64_t> || std::is_same_v<T, std::uint64_t>) {
      type(out, "integer", nullable || rule.if_null);
      out.add("minimum", Tree::of(rule.least.value_or(0)));
      if (rule.most) out.add("maximum", Tree::of(*rule.most));
    } else if constexpr (std::is_same_v<T, double>) {
      type(out, "number", nullable);
      if (rule.least) out.add("minimum", Tree::of(*rule.least));
      if (rule.most) out.add(rule.exclusive ? "exclusiveMaximum" : "maximum", Tree::of(*rule.most));
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (rule.choices) {
        choice(out, *rule.choices, nullable);
      } else {
        type(out, "string", nullable);
        if (rule.not_empty) out.add("minLength", Tree::of(std::int64_t{1}));
      }
    } else if constexpr (is_quantity<T>) {
      type(out, "string", nullable);
      out.add("pattern", Tree::of(quantity_pattern(T{})));
    } else if constexpr (std::is_enum_v<T>) {
      choice(out, rule.choices ? *rule.choices : Names<T>::words(), nullable);
    } else if constexpr (is_optional<T>) {
      describe<typename T::value_type>(out, rule, true);
    } else if constexpr (is_list<T>) {
      type(out, "array", nullable);
      Tree items = Tree::object();
      describe<typename T::value_type>(items, rule, false);
      out.add("items", std::move(items));
      if constexpr (!requires(T & t) { t.clear(); }) {
        out.add("minItems", Tree::of(static_cast<std::int64_t>(std::tuple_size_v<T>)));
        out.add("maxItems", Tree::of(static_cast<std::int64_t>(std::tuple_size_v<T>)));
      }
    } else if constexpr (is_map<T>) {
      type(out, "object", nullable);
      const Words* keys = rule.keys;
      if constexpr (std::is_enum_v<typename T::key_type>) keys = &Names<typename T::key_type>::words();
      if (keys) out.add("propertyNames", choice_of(*keys));
      Tree members = Tree::object();
      describe<typename T::mapped_type>(members, rule, false);
      out.add("additionalProperties", std::move(members));
    } else {
      if (nullable) {
        out.add("anyOf", Tree::list().push(of<T>()).push(Tree::object().add("type", Tree::of("null"))));
      } else {
        out.append(of<T>());
      }
    }
  }
  static void type(Tree& out, const char* name, bool nullable);
  static void choice(Tree& out, const Words& words, bool nullable);
  static Tree choice_of(const Words& words);
  static std::string quantity_pattern(Bytes);
  static std::string quantity_pattern(BytesPerSecond);
  static std::string quantity_pattern(FlopsPerSecond);
  static std::string quantity_pattern(Watts);
  static std::string quantity_pattern(Seconds);

  Tree properties_ = Tree::object(), required_ = Tree::list();
};

// Lists a struct's fields as they are. Structs inside come as their own fields; one that may be null, and lists of structs that a document can do
// without, come as a whole as well. Members of maps whose keys no path can name are left out.
class Lister {
 public:
  static constexpr bool kWrites = true;

  template <class T>
  void operator()(const char* key, const T& member, const Rule& rule) {
    list(prefix_ + key, member, rule);
  }
  void constant(const char*, const char*, const char*) {}
  void refuse(const char*, const char*, const char*) {}
  template <class Test>
  void check(Test) {}

  // With the defaults of a value-initialised struct.
  template <class T>
  static std::vector<Field> of(const T& value, const std::string& prefix = {}) {
    const auto listed = [&](const T& it) {
      Lister lister(prefix);
      fields(lister, it);
      return std::move(lister.fields_);
    };
    std::vector<Field> out = listed(value);
    take_fallbacks(out, listed(T{}));
    return out;
  }

 private:
  explicit Lister(std::string prefix) : prefix_(std::move(prefix)) {}
  static void take_fallbacks(std::vector<Field>& into, const std::vector<Field>& fresh);
  static bool can_name(const std::string& key);

  template <class T>
  static constexpr bool is_leaf = std::is_arithmetic_v<T> || std::is_same_v<T, std::string> || std::is_enum_v<T> || is_quantity<T>;
  template <class T>
  static constexpr FieldKind kind_of() {
    if constexpr (std::is_same_v<T, bool>) return FieldKind::yes_no;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return FieldKind::whole;
    if constexpr (std::is_floating_point_v<T>) return FieldKind::number;
    if constexpr (is_quantity<T>) return FieldKind::quantity;
    if constexpr (std::is_enum_v<T>) return FieldKind::choice;
    if constexpr (std::is_same_v<T, std::string>) return FieldKind::text;
    return FieldKind::object;
  }
  template <class T>
  static std::string text_of(const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      return setting_value(value);
    } else if constexpr (is_quantity<T>) {
      return exact_text(value);
    } else if constexpr (std::is_enum_v<T>) {
      return Names<T>::words().at(static_cast<std::size_t>(value));
    } else {
      return Writer::write(value).line();
    }
  }
  // Everything but the value.
  template <class T>
  static Field describe(const std::string& path, const Rule& rule, bool nullable) {
    Field out;
    out.path = path, out.about = rule.text, out.nullable = nullable, out.required = rule.required;
    if (nullable) out.null_means = meaning_of_null(rule.text);
    if constexpr (is_list<T>) {
      out = describe<typename T::value_type>(path, rule, nullable);
      out.element = out.kind;
      out.kind = FieldKind::list;
      return out;
    }
    out.kind = kind_of<T>();
    if constexpr (std::is_enum_v<T>) out.choices = Names<T>::words();
    if (rule.choices) {
      out.choices = *rule.choices;
      out.kind = FieldKind::choice;
    }
    if constexpr (is_quantity<T>) out.units = units_of(T{}), out.above_zero = rule.above_zero;
    if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
      out.least = rule.least, out.most = rule.most, out.below = rule.exclusive;
      if (std::is_integral_v<T> && !out.least) out.least = 0;
    }
    return out;
  }

  template <class T>
  void list(const std::string& path, const T& value, const Rule& rule, bool nullable = false) {
    if constexpr (is_optional<T>) {
      using Inner = typename T::value_type;
      if (value) {
        list(path, *value, rule, true);
      } else {
        fields_.push_back(describe<Inner>(path, rule, true));
        fields_.back().value = "null";
      }
    } else if constexpr (is_leaf<T>) {
      bool null = false;
      if constexpr (std::is_same_v<T, std::int64_t>) null = rule.if_null == value, nullable = nullable || rule.if_null;
      fields_.push_back(describe<T>(path, rule, nullable));
      fields_.back().value = null ? "null" : text_of(value);
    } else if constexpr (is_list<T>) {
      constexpr bool kOfLeaves = is_leaf<typename T::value_type>;
      if (kOfLeaves || nullable || !rule.required) {
        fields_.push_back(describe<T>(path, rule, nullable));
        fields_.back().value = Writer::write(value).line();
      }
      if constexpr (!kOfLeaves) {
        for (std::size_t i = 0; i < value.size(); ++i) append(of(value[i], path + "." + std::to_string(i) + "."));
      }
    } else if constexpr (is_map<T>) {
      for (const auto& [key, member] : value) {
        std::string name;
        if constexpr (std::is_enum_v<typename T::key_type>)
          name = Names<typename T::key_type>::words().at(static_cast<std::size_t>(key));
        else
          name = key;
        if (can_name(name)) list(path + "." + name, member, rule);
      }
    } else {
      if (nullable) {
        fields_.push_back(describe<T>(path, rule, true));
        fields_.back().value = Writer::write(value).line();
      }
      append(of(value, path + "."));
    }
  }
  void append(std::vector<Field> more);

  std::string prefix_;
  std::vector<Field> fields_;
};

// Whole documents: an object whose first field is "orrery": "plan/1".
void check_version(json::Object& object, const char* version);

template <class T>
T read_document(std::string_view text, std::string_view file, const char* version) {
  const json::Document document(text, file);
  json::Object object = document.object();
  check_version(object, version);
  T out{};
  Reader reader(object);
  fields(reader, out);
  object.done();
  return out;
}

template <class T>
std::string write_document(const T& value, const char* version) {
  Writer writer;
  writer.constant("orrery", version, "");
  fields(writer, value);
  return writer.take().text();
}

template <class T>
std::string schema_document(const char* version, const char* title) {
  Schema schema;
  schema.constant("orrery", version, "what this document is, and the version of its format");
  T value{};
  fields(schema, value);
  return schema.take_document(title);
}

}  // namespace orrery::schema
