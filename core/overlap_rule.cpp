#include "core/overlap_rule.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"

namespace orrery {
namespace {

using Pass = OverlapStep::Pass;

constexpr OverlapStep f(Segment s) { return {s, Pass::forward}; }
constexpr OverlapStep b(Segment s) { return {s, Pass::input_grad}; }
constexpr OverlapStep w(Segment s) { return {s, Pass::weight_grad}; }
constexpr auto kAttention = Segment::attention, kDispatch = Segment::dispatch, kMlp = Segment::mlp, kCombine = Segment::combine;

// What must have been issued before it within its slot.
std::vector<OverlapStep> needs(const OverlapStep& step) {
  if (step.pass == Pass::weight_grad) return {b(step.segment)};
  const auto at = std::find(kForwardOrder.begin(), kForwardOrder.end(), step.segment) - kForwardOrder.begin();
  const std::ptrdiff_t before = step.pass == Pass::forward ? at - 1 : at + 1;
  if (before < 0 || before >= static_cast<std::ptrdiff_t>(kForwardOrder.size())) return {};
  return {{kForwardOrder[static_cast<std::size_t>(before)], step.pass}};
}

}  // namespace

const std::vector<OverlapRule>& overlap_rules() {
  static const std::vector<OverlapRule> kRules{
      // github.com/deepseek-ai/profile-data, train.json (H800, 2025): the order of the kernels of each layer slot.
      {"deepseek", {f(kAttention), b(kMlp), w(kMlp), f(kMlp), b(kAttention), w(kAttention)}, {b(kCombine), f(kDispatch), b(kDispatch), f(kCombine)}},
      // Megatron-Core, core/models/common/model_chunk_schedule_plan.py, TransformerModelChunkSchedulePlan.
      {"megatron", {f(kAttention), b(kMlp), w(kMlp), f(kMlp), b(kAttention), w(kAttention)}, {b(kCombine), f(kDispatch), b(kDispatch), f(kCombine)}},
      {"none", {}, {}},
  };
  return kRules;
}

OverlapRule overlap_rule(const std::string& name_or_file, const std::string& where) {
  std::vector<std::string> names;
  for (const OverlapRule& rule : overlap_rules()) {
    if (rule.name == name_or_file) return rule;
    names.push_back(rule.name);
  }
  if (name_or_file.find_first_of("/.") == std::string::npos)
    throw Error(where, fmt::format("'{}' is not a rule of overlap, nor a file", name_or_file), did_you_mean(name_or_file, names));
  return read_overlap_rule(read_text_file(name_or_file), name_or_file);
}

std::vector<OverlapStep> issue_order(const OverlapRule& rule) {
  if (rule.compute.empty() && rule.comm.empty()) return {};
  const std::string where = fmt::format("overlap rule '{}'", rule.name);
  std::vector<OverlapStep> wanted{f(kAttention), f(kMlp), b(kMlp), w(kMlp), b(kAttention), w(kAttention)};
  const bool computes = std::is_permutation(rule.compute.begin(), rule.compute.end(), wanted.begin(), wanted.end());
  if (!computes) throw Error(where, "the compute lane does not hold attention and mlp once as F, B and W each");
  wanted = {f(kDispatch), f(kCombine), b(kDispatch), b(kCombine)};
  if (!std::is_permutation(rule.comm.begin(), rule.comm.end(), wanted.begin(), wanted.end()))
    throw Error(where, "the communication lane does not hold dispatch and combine once as F and B each");
  std::vector<OverlapStep> order;
  const auto ready = [&](const OverlapStep& step) {
    const auto need = needs(step);
    return std::all_of(need.begin(), need.end(), [&](const OverlapStep& n) { return std::find(order.begin(), order.end(), n) != order.end(); });
  };
  std::size_t compute = 0, comm = 0;
  while (compute < rule.compute.size() || comm < rule.comm.size()) {
    if (comm < rule.comm.size() && ready(rule.comm[comm])) {
      order.push_back(rule.comm[comm++]);
    } else if (compute < rule.compute.size() && ready(rule.compute[compute])) {
      order.push_back(rule.compute[compute++]);
    } else {
      throw Error(where, "its lanes wait for each other", "an exchange comes after what it sends, and before what uses it");
    }
  }
  return order;
}

}  // namespace orrery
