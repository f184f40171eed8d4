#include "app/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

namespace orrery::app {
namespace {

std::string value_of(const std::string& setting) {
  const std::size_t equals = setting.find('=');
  return equals == std::string::npos ? std::string{} : setting.substr(equals + 1);
}

enum class Value { whole, word, yes_no };

struct Flag {
  const char* path;
  const char* flag;
  Value value;
  bool of_plan;  // `orrery plan` has it with the same meaning; others are lists of values to try there
};
constexpr std::array<Flag, 11> kFlags{{
    {"parallel.tp", "--tp", Value::whole, false},
    {"parallel.cp", "--cp", Value::whole, false},
    {"parallel.ep", "--ep", Value::whole, false},
    {"parallel.pp", "--pp", Value::whole, false},
    {"parallel.vp", "--vp", Value::whole, false},
    {"batch.global", "--global-batch", Value::whole, true},
    {"batch.micro", "--micro-batch", Value::whole, false},
    {"batch.sequence", "--sequence", Value::whole, true},
    {"sharding.zero", "--zero", Value::whole, false},
    {"schedule", "--schedule", Value::word, false},
    {"recompute.kind", "--recompute", Value::word, false},
}};

bool takes(std::string_view verb, const Flag& flag) { return verb != "plan" || flag.of_plan; }

bool suits(Value kind, const std::string& value) {
  const auto all = [&](auto test) { return !value.empty() && std::all_of(value.begin(), value.end(), test); };
  if (kind == Value::whole) return value.size() < 10 && all([](char c) { return c >= '0' && c <= '9'; });
  if (kind == Value::yes_no) return value == "true" || value == "false";
  // A list or a file would be taken for something else.
  return value != "null" && value != "csv" && all([](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; }) &&
         value.find_first_not_of("0123456789") != std::string::npos;
}

}  // namespace

std::vector<std::string> tidied(const std::vector<std::string>& settings) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const std::string path = setting_path(settings[i]);
    const bool overridden = std::any_of(settings.begin() + static_cast<std::ptrdiff_t>(i) + 1, settings.end(),
                                        [&](const std::string& later) { return same_or_within(path, setting_path(later)); });
    if (!overridden) out.push_back(settings[i]);
  }
  return out;
}

std::vector<std::string> command_words(const PlanFlags& flags, std::string_view verb) {
  std::vector<std::string> words{"orrery", std::string(verb)};
  const auto say = [&](const char* flag, const std::string& value) {
    if (value.empty()) return;
    words.emplace_back(flag);
    words.push_back(value);
  };
  if (verb == "run") {
    if (!flags.plan.empty()) words.push_back(flags.plan);
  } else {
    say("--plan", flags.plan);
  }
  const bool splits = verb != "plan", stages = splits && flags.stages && !sets(flags.settings, "stages");
  std::vector<std::string> all;
  PlanFlags others = flags;
  if (stages) others.stages.reset();  // its list has no short form among settings
  for (const FlagSetting& f : flag_settings(others)) all.push_back(fmt::format("{}={}", f.path, f.value));
  say("--model", flags.model);
  say("--cluster", flags.cluster);
  all.insert(all.end(), flags.settings.begin(), flags.settings.end());
  all = tidied(all);

  // A flag counts before all settings, so that it may stand for one that no other touches.
  const auto alone = [&](const std::string& path) {
    return std::count_if(all.begin(), all.end(), [&](const std::string& s) {
             const std::string other = setting_path(s);
             return same_or_within(path, other) || same_or_within(other, path);
           }) == 1;
  };
  const auto take = [&](const std::string& path) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const std::string& s) { return setting_path(s) == path; });
    if (found == all.end() || !alone(path)) return std::optional<std::string>();
    return std::optional(value_of(*found));
  };
  const auto drop = [&](const std::string& path) { std::erase_if(all, [&](const std::string& s) { return setting_path(s) == path; }); };

  for (const Flag& flag : kFlags) {
    if (!takes(verb, flag)) continue;
    const std::optional<std::string> value = take(flag.path);
    if (!value || !suits(flag.value, *value)) continue;
    say(flag.flag, *value);
    drop(flag.path);
  }
  if (stages) say("--stages", *flags.stages);
  if (const std::optional<std::string> sp = take("parallel.sp"); splits && sp && suits(Value::yes_no, *sp)) {
    words.emplace_back(*sp == "true" ? "--sp" : "--no-sp");
    drop("parallel.sp");
  }
  const std::optional<std::string> compute = take("precision.compute"), params = take("precision.params"), recipe = take("precision.recipe");
  if (compute && params && *compute == *params && (*compute == "bf16" || *compute == "fp32")) {
    say("--precision", *compute);
    drop("precision.compute"), drop("precision.params");
  } else if (compute == "fp8" && params == "bf16" && recipe && (*recipe == "delayed" || *recipe == "current" || *recipe == "blockwise")) {
    say("--precision", "fp8-" + *recipe);
    drop("precision.compute"), drop("precision.params"), drop("precision.recipe");
  }
  say("--profile", flags.profile);
  for (const std::string& setting : all) say("--set", setting);
  return words;
}

namespace {

// All that the flags set, by one mechanism; without `stages`, whose list has no short form there.
std::vector<std::string> all_settings(PlanFlags flags) {
  flags.stages.reset();
  std::vector<std::string> all;
  for (const FlagSetting& f : flag_settings(flags)) all.push_back(fmt::format("{}={}", f.path, f.value));
  all.insert(all.end(), flags.settings.begin(), flags.settings.end());
  return tidied(all);
}

// What is to be set in `a` for it to be `b`; nothing where settings alone do not do it (what is set in `a` alone cannot be taken back).
std::optional<std::vector<std::string>> changes(const Operand& a, const Operand& b) {
  const PlanFlags &from = a.flags, &to = b.flags;
  if (a.file != b.file || from.plan != to.plan || from.profile != to.profile || from.stages != to.stages) return std::nullopt;
  std::vector<std::string> before = all_settings(from), after = all_settings(to), then;
  for (const std::string& setting : after)
    if (std::find(before.begin(), before.end(), setting) == before.end()) then.push_back(setting);
  for (std::size_t i = 0; i < after.size(); ++i)  // where one is inside another, their order counts
    for (std::size_t j = 0; j < after.size(); ++j)
      if (i != j && same_or_within(setting_path(after[i]), setting_path(after[j]))) return std::nullopt;
  before.insert(before.end(), then.begin(), then.end());
  before = tidied(before);
  std::sort(before.begin(), before.end());
  std::sort(after.begin(), after.end());
  if (before != after) return std::nullopt;
  for (const auto& [name, was, is] : {std::tuple{"model=", &from.model, &to.model}, {"cluster=", &from.cluster, &to.cluster}}) {
    if (*was == *is) continue;
    if (is->empty()) return std::nullopt;
    then.insert(then.begin(), name + *is);
  }
  return then.empty() ? std::nullopt : std::optional(then);
}

}  // namespace

std::vector<std::string> compare_words(const Operand& a, const Operand& b) {
  std::vector<std::string> words{"orrery", "compare"};
  const auto side = [&](const Operand& operand) {
    if (!operand.file.empty()) words.push_back(operand.file);
    const std::vector<std::string> flags = command_words(operand.flags, "compare");
    words.insert(words.end(), flags.begin() + 2, flags.end());
  };
  if (!a.file.empty() && !b.file.empty() && a.flags == b.flags) {
    words.push_back(a.file);
    side(b);
  } else if (const auto then = changes(a, b)) {
    side(a);
    for (const std::string& setting : *then) words.insert(words.end(), {"--then", setting});
  } else {
    side(a);
    words.emplace_back("--with");
    side(b);
  }
  return words;
}

std::string shell_quoted(const std::string& word) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string out(1, '\'');
  for (const char c : word) {
    if (c == '\'')
      out.append("'\\''");
    else
      out.push_back(c);
  }
  out.push_back('\'');
  return out;
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out.push_back(' ');
    out += shell_quoted(word);
  }
  return out;
}

std::string command_line(const PlanFlags& flags, std::string_view verb, const std::vector<std::string>& more) {
  std::vector<std::string> words = command_words(flags, verb);
  words.insert(words.end(), more.begin(), more.end());
  return shell_line(words);
}

}  // namespace orrery::app
