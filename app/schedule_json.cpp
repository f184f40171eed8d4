#include <nlohmann/json.hpp>

#include "app/schedule.h"

namespace orrery::app {
namespace {

using Json = nlohmann::ordered_json;
using program::Pass;
using program::PassKind;

const char* letter(PassKind kind) {
  switch (kind) {
    case PassKind::forward:
      return "F";
    case PassKind::backward:
      return "B";
    case PassKind::input_grad:
      return "I";
    case PassKind::weight_grad:
      return "W";
    default:
      return "FB";
  }
}

}  // namespace

std::string to_json(const ScheduleReport& report) {
  const program::Schedule& s = report.schedule;
  const std::int64_t unit = report.costs.unit;
  const auto number = [unit](std::int64_t time) {
    return time % unit == 0 ? Json(time / unit) : Json(static_cast<double>(time) / static_cast<double>(unit));
  };
  const auto numbers = [&](const std::vector<std::int64_t>& times) {
    Json out = Json::array();
    for (const std::int64_t t : times) out.push_back(number(t));
    return out;
  };
  const program::PassCosts& c = report.costs.costs;
  Json out{{"orrery", "schedule/1"},
           {"schedule", s.name},
           {"P", s.ranks},
           {"M", s.microbatches},
           {"chunks", s.placement == program::Placement::mirrored ? 1 : s.chunks},
           {"args", report.args},
           {"stages", program::stages(s)},
           {"cost",
            {{"F", number(c.forward)},
             {"I", number(c.input_grad)},
             {"W", number(c.weight_grad)},
             {"FB", number(c.of(PassKind::forward_backward))},
             {"p2p", number(c.latency)}}},
           {"makespan", number(report.replay.makespan)},
           {"busy", numbers(report.replay.busy)},
           {"idle_in_makespan", numbers(report.replay.idle_in_makespan)},
           {"idle_in_span", numbers(report.replay.idle_in_span)},
           {"peak_until_B", report.replay.peak_until_input_grad},
           {"peak_until_W", report.replay.peak_until_weight_grad}};
  if (report.steady_bubble) out["steady_bubble"] = *report.steady_bubble;
  Json ranks = Json::array();
  for (std::size_t r = 0; r < report.replay.passes.size(); ++r) {
    Json passes = Json::array();
    for (std::size_t k = 0; k < report.replay.passes[r].size(); ++k) {
      Json items = Json::array();
      program::for_each_half(s.order[r][k], [&](const Pass& half) {
        Json item{letter(half.kind), half.direction, half.microbatch, program::stage_of(s, static_cast<std::int64_t>(r), half.chunk)};
        if (s.splits > 1) item.push_back(half.split);
        items.push_back(std::move(item));
      });
      const program::PassTimes& t = report.replay.passes[r][k];
      passes.push_back({{"kind", letter(s.order[r][k].kind)}, {"items", std::move(items)}, {"start", number(t.start)}, {"end", number(t.end)}});
    }
    ranks.push_back(std::move(passes));
  }
  out["ranks"] = std::move(ranks);
  return out.dump() + "\n";
}

}  // namespace orrery::app
