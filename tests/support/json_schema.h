// Whether a document conforms to one of our JSON Schemas.
#pragma once

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

namespace orrery {

// The part of JSON Schema that ours use, written from the specification and not from the readers. Returns why `value` does not conform, or nothing.
inline std::string schema_mismatch(const nlohmann::json& schema, const nlohmann::json& value, const std::string& path = "$") {
  using nlohmann::json;
  static const std::vector<std::string> kKnown{"$schema",       "title",    "description",
                                               "default",       "type",     "enum",
                                               "const",         "pattern",  "minLength",
                                               "minimum",       "maximum",  "exclusiveMaximum",
                                               "properties",    "required", "additionalProperties",
                                               "propertyNames", "items",    "minItems",
                                               "maxItems",      "anyOf"};
  for (const auto& [key, ignored] : schema.items()) {
    if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) return path + ": the schema says " + key;
  }
  if (schema.contains("anyOf")) {
    std::string why;
    for (const json& option : schema["anyOf"]) {
      const std::string reason = schema_mismatch(option, value, path);
      if (reason.empty()) return "";
      why += reason + "; ";
    }
    return why;
  }
  if (schema.contains("type")) {
    const json types = schema["type"].is_array() ? schema["type"] : json::array({schema["type"]});
    const auto is = [&](const std::string& type) {
      return (type == "object" && value.is_object()) || (type == "array" && value.is_array()) || (type == "string" && value.is_string()) ||
             (type == "boolean" && value.is_boolean()) || (type == "null" && value.is_null()) || (type == "number" && value.is_number()) ||
             (type == "integer" && value.is_number() && value.get<double>() == std::floor(value.get<double>()));
    };
    if (std::none_of(types.begin(), types.end(), [&](const json& t) { return is(t.get<std::string>()); })) return path + ": type";
  }
  if (schema.contains("const") && schema["const"] != value) return path + ": const";
  if (schema.contains("enum") && std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) return path + ": enum";
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    if (schema.contains("pattern") && !std::regex_search(text, std::regex(schema["pattern"].get<std::string>()))) return path + ": pattern, " + text;
    if (schema.contains("minLength") && text.size() < schema["minLength"].get<std::size_t>()) return path + ": minLength";
  }
  if (value.is_number()) {
    const double number = value.get<double>();
    if (schema.contains("minimum") && number < schema["minimum"].get<double>()) return path + ": minimum";
    if (schema.contains("maximum") && number > schema["maximum"].get<double>()) return path + ": maximum";
    if (schema.contains("exclusiveMaximum") && number >= schema["exclusiveMaximum"].get<double>()) return path + ": exclusiveMaximum";
  }
  if (value.is_array()) {
    if (schema.contains("minItems") && value.size() < schema["minItems"].get<std::size_t>()) return path + ": minItems";
    if (schema.contains("maxItems") && value.size() > schema["maxItems"].get<std::size_t>()) return path + ": maxItems";
    for (std::size_t i = 0; schema.contains("items") && i < value.size(); ++i) {
      if (auto why = schema_mismatch(schema["items"], value[i], path + "[" + std::to_string(i) + "]"); !why.empty()) return why;
    }
  }
  if (value.is_object()) {
    for (const json& key : schema.value("required", json::array())) {
      if (!value.contains(key.get<std::string>())) return path + ": " + key.get<std::string>() + " is required";
    }
    for (const auto& [key, member] : value.items()) {
      if (schema.contains("propertyNames")) {
        if (auto why = schema_mismatch(schema["propertyNames"], json(key), path + "." + key); !why.empty()) return why;
      }
      if (schema.contains("properties") && schema["properties"].contains(key)) {
        if (auto why = schema_mismatch(schema["properties"][key], member, path + "." + key); !why.empty()) return why;
      } else if (schema.contains("additionalProperties")) {
        const json& more = schema["additionalProperties"];
        if (more.is_boolean() && !more.get<bool>()) return path + "." + key + ": is not a property";
        if (more.is_object()) {
          if (auto why = schema_mismatch(more, member, path + "." + key); !why.empty()) return why;
        }
      }
    }
  }
  return "";
}

}  // namespace orrery
