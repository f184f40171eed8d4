#include "gui/view/edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "core/settings.h"

namespace orrery::view {
namespace {

std::string trimmed(const std::string& text) {
  const auto from = text.find_first_not_of(" \t\n"), to = text.find_last_not_of(" \t\n");
  return from == std::string::npos ? std::string{} : text.substr(from, to - from + 1);
}

}  // namespace

std::string shown_text(const Field& field, const std::string& value) {
  if (value == "null" && field.nullable) return {};
  return field.kind == FieldKind::text || field.kind == FieldKind::choice ? setting_text(value) : value;
}

std::string shown_text(const Field& field) { return shown_text(field, field.value); }

std::string typed_value(const Field& field, const std::string& text) {
  const std::string plain = trimmed(text);
  if (plain.empty()) return field.nullable ? "null" : "";
  if (field.nullable && plain == "null") return plain;
  if (field.kind == FieldKind::text) return setting_value(plain);
  if (field.kind == FieldKind::list && plain.front() != '[') {
    if (field.element != FieldKind::whole) {
      const bool words = field.element == FieldKind::text || field.element == FieldKind::choice;
      std::string out;
      for (std::size_t from = 0; from <= plain.size();) {
        const std::size_t to = std::min(plain.find(',', from), plain.size());
        const std::string item = trimmed(plain.substr(from, to - from));
        out += fmt::format("{}{}", out.empty() ? "" : ", ", words ? fmt::format("\"{}\"", setting_text(item)) : item);
        from = to + 1;
      }
      return "[" + out + "]";
    }
    try {
      return fmt::format("[{}]", fmt::join(app::parse_stages(plain), ", "));
    } catch (const Error&) {  // the reader says what is wrong with it
    }
  }
  return plain;
}

app::PlanFlags with_setting(app::PlanFlags question, const std::string& path, const std::string& value) {
  question.settings.push_back(path + "=" + value);
  return question;
}

std::optional<Error> check_edit(const app::PlanFlags& question, const std::string& path, const std::string& value) {
  if (value.empty()) return std::nullopt;
  try {
    app::PlanFlags changed = with_setting(question, path, value);
    changed.profile.clear();  // what is measured decides nothing of what can be read
    app::load_inputs(changed);
  } catch (const Error& e) {
    return e;
  }
  return std::nullopt;
}

bool says(const app::PlanFlags& question, const std::string& path) {
  const std::string wanted = app::setting_path(path);
  if (std::any_of(question.settings.begin(), question.settings.end(), [&](const std::string& s) { return app::setting_path(s) == wanted; }))
    return true;
  const std::pair<const char*, bool> flags[] = {{"parallel.tp", question.tp.has_value()},
                                                {"parallel.cp", question.cp.has_value()},
                                                {"parallel.ep", question.ep.has_value()},
                                                {"parallel.pp", question.pp.has_value()},
                                                {"parallel.vp", question.vp.has_value()},
                                                {"parallel.sp", question.sp.has_value()},
                                                {"batch.global", question.global_batch.has_value()},
                                                {"batch.micro", question.micro_batch.has_value()},
                                                {"batch.sequence", question.sequence.has_value()},
                                                {"sharding.zero", question.zero.has_value()},
                                                {"schedule", question.schedule.has_value()},
                                                {"recompute.kind", question.recompute.has_value()},
                                                {"stages", question.stages.has_value()},
                                                {"precision.compute", question.precision.has_value()},
                                                {"precision.params", question.precision.has_value()}};
  return std::any_of(std::begin(flags), std::end(flags), [&](const auto& flag) { return flag.second && wanted == flag.first; });
}

std::string stepped(const std::vector<std::string>& values, const std::string& present, int steps) {
  if (values.empty()) return {};
  const auto last = static_cast<std::ptrdiff_t>(values.size()) - 1;
  std::ptrdiff_t at = std::find(values.begin(), values.end(), present) - values.begin();
  if (at > last) {  // between two: the first that is larger, and one less upwards
    const double number = std::strtod(present.c_str(), nullptr);
    at = std::find_if(values.begin(), values.end(), [&](const std::string& v) { return v != "null" && std::strtod(v.c_str(), nullptr) > number; }) -
         values.begin();
    if (steps > 0) --at;
  }
  return values[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(at + steps, 0, last))];
}

}  // namespace orrery::view
