#include "app/summary.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace orrery::app {

std::string_view part_meaning(std::string_view part) {
  if (part == "ideal") return "matrix FLOPs at peak";
  if (part == "kernel_efficiency") return "matrix kernels beyond that";
  if (part == "other_kernels") return "norms, element-wise, loss";
  if (part == "recompute") return "forward work run again";
  if (part == "exposed_tp") return "tensor-parallel communication not hidden";
  if (part == "exposed_cp") return "context-parallel communication not hidden";
  if (part == "exposed_ep") return "expert-parallel communication not hidden";
  if (part == "exposed_pp") return "pipeline transfers not hidden";
  if (part == "exposed_dp") return "data-parallel communication not hidden";
  if (part == "imbalance") return "less work than the busiest rank";
  if (part == "bubble") return "waiting for the pipeline or a peer";
  if (part == "host") return "waiting for the host";
  if (part == "optimizer") return "clipping and updating parameters";
  return "";
}

void add_up(const Timeline& timeline, Summary& into) {
  const auto weight_of = [&](std::uint32_t rank) { return timeline.weights.empty() ? 1.0 : static_cast<double>(timeline.weights[rank]); };
  std::set<std::uint32_t> occurring;
  for (const Span& span : timeline.spans) occurring.insert(span.rank);
  double ranks = 0;
  for (const std::uint32_t rank : occurring) ranks += weight_of(rank);
  if (ranks == 0) return;

  struct Sum {
    double time = 0, count = 0;
  };
  std::array<Sum, kWorkClasses> classes{};
  std::vector<Sum> kinds(timeline.kinds.size());
  for (const Span& span : timeline.spans) {
    const double weight = weight_of(span.rank);
    const double time = static_cast<double>((span.end - span.start).v) * weight;
    const SpanKind& kind = timeline.kinds[span.kind];
    for (Sum* sum : {&classes[static_cast<std::size_t>(kind.work)], &kinds[span.kind]}) {
      sum->time += time;
      sum->count += weight;
    }
  }
  const auto mean = [&](std::string name, const Sum& sum) {
    return WorkTime{std::move(name), Picoseconds{static_cast<std::int64_t>(sum.time / ranks)}, sum.count / ranks};
  };
  for (std::size_t c = 0; c < kWorkClasses; ++c)
    if (classes[c].count > 0 && static_cast<WorkClass>(c) != WorkClass::control)
      into.classes.push_back(mean(std::string(name(static_cast<WorkClass>(c))), classes[c]));
  std::map<std::string, Sum> operators;
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    if (timeline.kinds[k].work == WorkClass::control) continue;
    Sum& sum = operators[timeline.kinds[k].name];
    sum.time += kinds[k].time;
    sum.count += kinds[k].count;
  }
  for (const auto& [op, sum] : operators)
    if (sum.count > 0) into.operators.push_back(mean(op, sum));
  std::stable_sort(into.operators.begin(), into.operators.end(), [](const WorkTime& a, const WorkTime& b) { return a.time > b.time; });
}

}  // namespace orrery::app
