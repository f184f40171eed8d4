#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/json_edge.h"
#include "core/overlap_rule.h"

namespace orrery {
namespace {

using Pass = OverlapStep::Pass;

constexpr const char* kVersion = "overlap/1";
constexpr std::array<std::pair<std::string_view, OverlapStep>, 10> kSteps{{{"attention F", {Segment::attention, Pass::forward}},
                                                                           {"attention B", {Segment::attention, Pass::input_grad}},
                                                                           {"attention W", {Segment::attention, Pass::weight_grad}},
                                                                           {"mlp F", {Segment::mlp, Pass::forward}},
                                                                           {"mlp B", {Segment::mlp, Pass::input_grad}},
                                                                           {"mlp W", {Segment::mlp, Pass::weight_grad}},
                                                                           {"dispatch F", {Segment::dispatch, Pass::forward}},
                                                                           {"dispatch B", {Segment::dispatch, Pass::input_grad}},
                                                                           {"combine F", {Segment::combine, Pass::forward}},
                                                                           {"combine B", {Segment::combine, Pass::input_grad}}}};

std::vector<OverlapStep> lane(json::Object& o, const std::string& key) {
  std::vector<OverlapStep> out;
  for (const json::Value& step : o.required(key).list()) out.push_back(step.choice(kSteps));
  return out;
}

std::string lane(const std::vector<OverlapStep>& steps) {
  std::vector<std::string> words;
  for (const OverlapStep& step : steps)
    for (const auto& [word, named] : kSteps)
      if (named == step) words.push_back(fmt::format("\"{}\"", word));
  return fmt::format("[{}]", fmt::join(words, ", "));
}

}  // namespace

OverlapRule read_overlap_rule(std::string_view text, const std::string& file) {
  const json::Document document(text, file);
  json::Object o = document.object();
  if (o.required("orrery").text() != kVersion) o.fail("is not a rule of overlap", R"(begin with "orrery": "overlap/1")");
  OverlapRule rule{file, lane(o, "compute"), lane(o, "comm")};
  o.done();
  try {
    (void)issue_order(rule);
  } catch (const Error& e) {
    o.fail(e.message(), e.hint());
  }
  return rule;
}

std::string write_overlap_rule(const OverlapRule& rule) {
  return fmt::format("{{\n  \"orrery\": \"{}\",\n  \"compute\": {},\n  \"comm\": {}\n}}\n", kVersion, lane(rule.compute), lane(rule.comm));
}

}  // namespace orrery
