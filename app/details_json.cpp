// What a step does to links, power and memory, as JSON.
#include <nlohmann/json.hpp>

#include "app/details.h"
#include "app/report_json.h"

namespace orrery::app {

using Json = nlohmann::ordered_json;

namespace {

double seconds(Picoseconds t) { return to_seconds(t).v; }

Json by_axis(const ByAxis& amounts) {
  Json out = Json::object();
  for (std::size_t a = 0; a < kTrafficAxes; ++a) out[std::string(traffic_axis_name(a))] = amounts[a];
  out["total"] = sum(amounts);
  return out;
}

// `per`: "_bytes" of a step, "_bytes_per_s" at a time of it.
Json links_json(const std::vector<LoadedLink>& links, const std::string& per) {
  Json out = Json::array();
  for (const LoadedLink& l : links) {
    Json uses = Json::array();
    for (const LinkUse& use : l.uses)
      uses.push_back({{"axis", traffic_axis_name(use.axis)},
                      {"operation", use.operation},
                      {"algorithm", name(use.algorithm)},
                      {"ranks", use.ranks},
                      {"times", use.count},
                      {"payload_bytes", use.payload},
                      {"sent_bytes", use.sent},
                      {"received_bytes", use.received}});
    out.push_back({{"link", l.level},
                   {"device", l.link.device},
                   {"alike", l.link.alike},
                   {"bandwidth_bytes_per_s", l.bandwidth.v},
                   {"load", l.link.load},
                   {"sent" + per, by_axis(l.link.sent)},
                   {"received" + per, by_axis(l.link.received)},
                   {"uses", std::move(uses)}});
  }
  return out;
}

Json power_json(const PowerStory& p) {
  Json classes = Json::object();
  for (std::size_t c = 0; c < kWorkClasses; ++c)
    if (p.by_class[c].v > 0) classes[std::string(orrery::name(static_cast<WorkClass>(c)))] = p.by_class[c].v;
  return {{"mean_w", p.all.mean.v},
          {"highest_w", p.all.peak.v},
          {"highest_at_s", seconds(p.all.peak_from)},
          {"idle_w_per_device", p.idle_power.v},
          {"rated_w_per_device", p.rated.v > 0 ? Json(p.rated.v) : Json(nullptr)},
          {"idle_j", p.idle.v},
          {"above_idle_j_by_class", std::move(classes)},
          {"devices_counted_as_idle", p.silent}};
}

Json memory_json(const HeldMemory& m) {
  Json categories = Json::object(), buffers = Json::array();
  for (std::size_t c = 0; c < kMemoryCategories; ++c)
    if (m.by_category[c] > 0) categories[std::string(name(static_cast<MemoryCategory>(c)))] = m.by_category[c];
  for (const Holding& h : m.holdings)
    buffers.push_back({{"name", h.name}, {"category", name(h.category)}, {"bytes", h.bytes}, {"instances", h.instances}});
  return {{"rank", m.rank},
          {"label", m.label},
          {"stage", m.stage},
          {"time_s", seconds(m.time)},
          {"occasion", m.occasion},
          {"bytes", m.total()},
          {"bytes_by_category", std::move(categories)},
          {"buffers", std::move(buffers)}};
}

Json span_json(const SpanStory& s) {
  Json facts = Json::object();
  for (const auto& [what, text] : lines(s)) facts[what] = text;
  return {{"span", s.span},
          {"operation", s.operation},
          {"class", orrery::name(s.work)},
          {"rank", s.rank},
          {"stream", s.stream},
          {"start_s", seconds(s.start)},
          {"end_s", seconds(s.end)},
          {"waited_s", seconds(s.waited)},
          {"critical", s.critical},
          {"facts", std::move(facts)},
          {"why", s.why}};
}

}  // namespace

std::string to_json(const SimulateReport& report, const std::optional<Details>& details, const std::optional<Moment>& moment) {
  Json out = simulation_json(report);
  if (details) {
    Json memory = Json::array();
    for (const HeldMemory& m : details->memory) memory.push_back(memory_json(m));
    out["details"] = {{"links", links_json(details->links, "_bytes")}, {"power", power_json(details->power)}, {"memory_at_peak", std::move(memory)}};
  }
  if (moment) {
    Json spans = Json::array();
    for (const SpanStory& s : moment->spans) spans.push_back(span_json(s));
    out["moment"] = {{"time_s", seconds(moment->time)},
                     {"power_w", moment->power.v},
                     {"links", links_json(moment->links, "_bytes_per_s")},
                     {"asked_rank", moment->asked_rank},
                     {"memory", memory_json(moment->memory)},
                     {"spans", std::move(spans)}};
  }
  return out.dump(1) + "\n";
}

}  // namespace orrery::app
