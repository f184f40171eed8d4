#include "gui/view/knobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "app/fields.h"
#include "core/quantity_text.h"
#include "gui/view/edit.h"

namespace orrery::view {
namespace {

struct Known {
  std::string path, label;
  std::string about{};  // empty: the field's own
};
const std::vector<Known>& of_the_plan() {
  static const std::vector<Known> list{{"parallel.tp", "tensor parallel"},
                                       {"parallel.sp", "sequence parallel"},
                                       {"parallel.pp", "pipeline stages"},
                                       {"parallel.vp", "chunks per stage"},
                                       {"parallel.cp", "context parallel"},
                                       {"parallel.ep", "expert parallel"},
                                       {"batch.micro", "micro-batch"},
                                       {"batch.global", "global batch"},
                                       {"schedule", "schedule"},
                                       {"recompute.kind", "recompute"},
                                       {"sharding.zero", "ZeRO"}};
  return list;
}

// A number and the unit behind it.
struct Quantity {
  double number = 0;
  std::string unit;
};
std::optional<Quantity> quantity(const std::string& text) {
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{}) return std::nullopt;
  return Quantity{number, std::string(end, text.data() + text.size())};
}

// To three digits, without an exponent.
std::string rounded(double number) {
  if (number <= 0) return "0";
  const int digits = std::max(0, 2 - static_cast<int>(std::floor(std::log10(number))));
  std::string text = fmt::format("{:.{}f}", number, digits);
  if (digits > 0) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

// A quantity in the unit in which people say it: "1100 GB/s" may stay, "0.00225 s" is "2.25 ms".
std::string plainly(const std::string& text) {
  const auto say = [&](auto parse, auto format) -> std::optional<std::string> {
    try {
      return format(parse(text, ""));
    } catch (const Error&) {
      return std::nullopt;
    }
  };
  if (auto t = say(parse_bandwidth, [](BytesPerSecond v) { return format_rate(v); })) return *t;
  if (auto t = say(parse_duration, [](Seconds v) { return format_seconds(v); })) return *t;
  if (auto t = say(parse_compute_rate, [](FlopsPerSecond v) { return format_rate(v); })) return *t;
  if (auto t = say(parse_bytes, [](Bytes v) { return format_bytes(v); })) return *t;
  return text;
}

}  // namespace

std::string scaled(const std::string& base, int position) {
  if (position == 0) return base;
  const std::optional<Quantity> q = quantity(base);
  if (!q) return base;
  return rounded(q->number * std::exp2(static_cast<double>(position) / kOctave)) + q->unit;
}

std::vector<Knob> knobs(const app::PlanFlags& question, const app::Inputs& inputs) {
  const std::vector<app::EditableField> all = app::fields(inputs);
  std::vector<Knob> out;
  for (const Known& known : of_the_plan()) {
    const app::EditableField* field = app::find_field(all, known.path);
    if (field == nullptr || (field->field.path == "parallel.ep" && !inputs.model.moe)) continue;
    Knob knob;
    knob.kind = field->field.kind == FieldKind::whole    ? KnobKind::stops
                : field->field.kind == FieldKind::choice ? KnobKind::choice
                                                         : KnobKind::yes_no;
    knob.path = field->field.path, knob.label = known.label, knob.about = field->field.about, knob.group = "Plan";
    knob.value = field->field.value;
    knob.said = says(question, knob.path);
    knob.stops = {{knob.value, {knob.path + "=" + knob.value}}};
    out.push_back(std::move(knob));
  }

  std::vector<Known> machine;
  for (std::size_t l = 0; l < inputs.cluster.levels.size(); ++l) {
    const NetworkLevel& level = inputs.cluster.levels[l];
    machine.push_back({fmt::format("cluster.levels.{}.bandwidth", l), level.name, "bandwidth of one device, in one direction"});
    if (l + 1 == inputs.cluster.levels.size()) machine.push_back({fmt::format("cluster.levels.{}.latency", l), level.name + " latency"});
  }
  machine.push_back(
      {"cluster.device.memory_bandwidth", inputs.cluster.device.kind == DeviceKind::gpu ? "HBM" : "memory", "bandwidth of the device's memory"});
  machine.push_back({"cluster.device.memory", "memory size"});
  machine.push_back({"cluster.device.clock", "clock"});
  // What the question itself says of the machine must not count as what the machine has.
  app::PlanFlags plain = question;
  std::erase_if(plain.settings, [&](const std::string& s) {
    app::PlanFlags one;
    one.settings = {s};
    return std::any_of(machine.begin(), machine.end(), [&](const Known& k) { return says(one, k.path); });
  });
  std::vector<app::EditableField> base = all;
  if (plain.settings.size() != question.settings.size()) {
    try {
      plain.profile.clear();
      base = app::fields(app::load_inputs(plain));
    } catch (const Error&) {  // they hold only together: the present values are the base then
    }
  }
  for (const Known& known : machine) {
    const app::EditableField* field = app::find_field(all, known.path);
    const app::EditableField* before = app::find_field(base, known.path);
    if (field == nullptr || before == nullptr || !quantity(before->field.value) || quantity(before->field.value)->number <= 0) continue;
    Knob knob;
    knob.kind = KnobKind::factor;
    knob.path = field->field.path, knob.label = known.label, knob.group = "Machine";
    knob.about = known.about.empty() ? field->field.about : known.about;
    knob.value = field->field.value, knob.base = before->field.value;
    const double number = quantity(knob.base)->number;  // plain numbers have limits, in the same unit
    const auto allowed = [&](int at) {
      const double value = number * std::exp2(static_cast<double>(at) / kOctave);
      return field->field.kind != FieldKind::number || (value >= field->field.least.value_or(0) && value <= field->field.most.value_or(1e300));
    };
    knob.least = -kReach, knob.most = kReach;
    while (knob.least < 0 && !allowed(knob.least)) ++knob.least;
    while (knob.most > 0 && !allowed(knob.most)) --knob.most;
    knob.said = says(question, knob.path);
    out.push_back(std::move(knob));
  }
  if (const app::EditableField* slow = app::find_field(all, "cluster.slow")) {
    Knob knob;
    knob.kind = KnobKind::stops;
    knob.path = slow->field.path, knob.label = "one straggler", knob.group = "Machine", knob.value = slow->field.value;
    knob.about = "device 0 computes so many times as long as the others";
    knob.said = says(question, knob.path);
    knob.stops = {{"[]", {knob.path + "="}}};
    knob.names = {"none"};
    for (const char* factor : {"1.05", "1.1", "1.25", "1.5", "2", "3"}) {
      const std::string value = fmt::format(R"([{{"device": 0, "factor": {}}}])", factor);
      knob.stops.push_back({value, {knob.path + "=" + value}});
      knob.names.push_back(fmt::format("×{} longer", factor));
    }
    if (std::none_of(knob.stops.begin(), knob.stops.end(), [&](const app::LegalValue& v) { return v.value == knob.value; })) {
      knob.stops.push_back({knob.value, {knob.path + "=" + knob.value}});
      knob.names.emplace_back("as set");
    }
    out.push_back(std::move(knob));
  }
  return out;
}

Knob with_stops(Knob knob, const app::PlanFlags& question, const app::Inputs& inputs, const std::atomic<bool>* cancel) {
  constexpr std::ptrdiff_t kEnough = 4;
  if (knob.kind == KnobKind::factor || !knob.names.empty()) return knob;
  knob.stops = app::legal_values(question, inputs, knob.path, {.with_company = true, .cancel = cancel});
  const auto alone = [](const app::LegalValue& v) { return v.settings.size() == 1; };
  if (knob.kind == KnobKind::stops && std::count_if(knob.stops.begin(), knob.stops.end(), alone) >= kEnough)
    std::erase_if(knob.stops, [&](const app::LegalValue& v) { return !alone(v) && v.value != knob.value; });
  const bool here = std::any_of(knob.stops.begin(), knob.stops.end(), [&](const app::LegalValue& v) { return v.value == knob.value; });
  if (!here) {
    const auto at =
        knob.kind != KnobKind::stops ? knob.stops.end() : std::find_if(knob.stops.begin(), knob.stops.end(), [&](const app::LegalValue& v) {
          return std::strtod(v.value.c_str(), nullptr) > std::strtod(knob.value.c_str(), nullptr);
        });
    knob.stops.insert(at, {knob.value, {knob.path + "=" + knob.value}});
  }
  return knob;
}

int position(const Knob& knob) {
  if (knob.kind != KnobKind::factor) {
    const auto found = std::find_if(knob.stops.begin(), knob.stops.end(), [&](const app::LegalValue& v) { return v.value == knob.value; });
    return found == knob.stops.end() ? 0 : static_cast<int>(found - knob.stops.begin());
  }
  const auto in_base_units = [](const std::string& text) -> double {
    for (const auto parse :
         {+[](const std::string& t) { return parse_bandwidth(t, "").v; }, +[](const std::string& t) { return parse_duration(t, "").v; },
          +[](const std::string& t) { return parse_compute_rate(t, "").v; },
          +[](const std::string& t) { return static_cast<double>(parse_bytes(t, "").v); }}) {
      try {
        return parse(text);
      } catch (const Error&) {  // a quantity of another kind
      }
    }
    return std::strtod(text.c_str(), nullptr);
  };
  const double a = in_base_units(knob.value), b = in_base_units(knob.base);
  if (!(a > 0) || !(b > 0)) return 0;
  return std::clamp(static_cast<int>(std::lround(kOctave * std::log2(a / b))), knob.least, knob.most);
}

int least_position(const Knob& knob) { return knob.kind == KnobKind::factor ? knob.least : 0; }
int most_position(const Knob& knob) { return knob.kind == KnobKind::factor ? knob.most : std::max(0, static_cast<int>(knob.stops.size()) - 1); }

std::vector<std::pair<std::string, std::string>> settings_at(const Knob& knob, int position) {
  if (knob.kind == KnobKind::factor) return {{knob.path, position == 0 ? std::string{} : scaled(knob.base, position)}};
  if (knob.stops.empty()) return {};
  const app::LegalValue& stop = knob.stops[static_cast<std::size_t>(std::clamp(position, 0, most_position(knob)))];
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string& s : stop.settings) {
    const std::size_t equals = s.find('=');
    out.emplace_back(s.substr(0, equals), s.substr(equals + 1));
  }
  return out;
}

std::string text_at(const Knob& knob, int position) {
  if (knob.kind == KnobKind::factor) {
    const std::string text = plainly(scaled(knob.base, position));
    const std::string unit = quantity(knob.base) ? quantity(knob.base)->unit : std::string{};
    if (unit.empty()) return "×" + rounded(std::exp2(static_cast<double>(position) / kOctave));
    return position == 0 ? text : fmt::format("{}  ×{}", text, rounded(std::exp2(static_cast<double>(position) / kOctave)));
  }
  if (knob.stops.empty()) return knob.value;
  const auto at = static_cast<std::size_t>(std::clamp(position, 0, most_position(knob)));
  if (at < knob.names.size()) return knob.names[at];
  const std::string& value = knob.stops[at].value;
  if (knob.kind == KnobKind::yes_no) return value == "true" ? "yes" : "no";
  return value;
}

}  // namespace orrery::view
