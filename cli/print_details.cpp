// What links carry, power and memory, as text for people: of a step, and at a time of it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/print.h"
#include "cli/terminal.h"
#include "core/quantity_text.h"

namespace orrery::cli {
namespace {

// More links than anybody reads; --json has all.
constexpr std::size_t kMostLinks = 12;
constexpr std::size_t kMostBuffers = 12;

std::string bytes(double amount) { return format_bytes(Bytes{std::llround(amount)}); }

std::string links_text(const std::vector<app::LoadedLink>& links, Seconds over, const char* per) {
  std::string out;
  for (std::size_t i = 0; i < std::min(links.size(), kMostLinks); ++i) {
    const app::HotLink& link = links[i].link;
    const app::ByAxis& busier = app::sum(link.sent) >= app::sum(link.received) ? link.sent : link.received;
    std::string axes;
    for (std::size_t a = 0; a < app::kTrafficAxes; ++a)
      if (busier[a] > 0) axes += fmt::format("{}{} {}", axes.empty() ? "" : ", ", app::traffic_axis_name(a), bytes(busier[a]));
    out += fmt::format("  {:<18}{:>11} {:>6.1f} %  of device {}{}: {} a {}\n", links[i].level, format_rate(BytesPerSecond{app::sum(busier) / over.v}),
                       100 * link.load, link.device, link.alike > 1 ? fmt::format(" and {} more alike", link.alike - 1) : "", axes, per);
  }
  if (links.size() > kMostLinks) out += fmt::format("  and {} more kinds (--json has all)\n", links.size() - kMostLinks);
  return out;
}

}  // namespace

std::string text(const app::Details& d) {
  std::string out;
  if (!d.links.empty())
    out += "hottest links (one way, mean over the step, share of what they can carry)\n" + links_text(d.links, to_seconds(d.power.all.step), "step");
  out += "memory at the peak of each stage, by what it is for\n";
  for (const app::HeldMemory& m : d.memory) {
    std::string parts;
    for (std::size_t c = 0; c < app::kMemoryCategories; ++c)
      if (static_cast<double>(m.by_category[c]) > 1e-6 * static_cast<double>(m.total()))  // --json has all
        parts +=
            fmt::format("{}{} {}", parts.empty() ? "" : ", ", app::name(static_cast<app::MemoryCategory>(c)), format_bytes(Bytes{m.by_category[c]}));
    out += fmt::format("  stage {:<3} {}\n", m.stage, parts);
  }
  const app::PowerStory& p = d.power;
  out += fmt::format("energy ({}): mean {}, highest {} at {}\n", app::energy_basis(p.grade), format_power(p.all.mean), format_power(p.all.peak),
                     format_seconds(p.all.peak_from));
  const double total = std::max(p.total().v, 1e-300);
  std::vector<std::pair<std::string, Joules>> parts{{"idle", p.idle}};
  for (std::size_t c = 0; c < kWorkClasses; ++c)
    if (p.by_class[c].v > 0) parts.emplace_back(name(static_cast<WorkClass>(c)), p.by_class[c]);
  std::stable_sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [what, energy] : parts) out += fmt::format("  {:<18}{:>11} {:>6.1f} %\n", what, format_energy(energy), 100 * (energy.v / total));
  return out;
}

std::string text(const app::Moment& m) {
  const Style& s = style();
  std::string out = fmt::format("{}at {}{}\n", s.bold, format_seconds(m.time), s.reset);
  out += fmt::format("power            {}\n", format_power(m.power));
  const std::string links = links_text(m.links, Seconds{1}, "second");
  out += links.empty() ? "links            nothing flows\n" : "links            (one way, share of what they can carry)\n" + links;
  if (m.asked_rank != m.memory.rank) out += fmt::format("rank {} does as rank {} does, which stands for it\n", m.asked_rank, m.memory.rank);
  out += fmt::format("memory of rank {} ({}): {} since {}, {}\n", m.memory.rank, m.memory.label, format_bytes(Bytes{m.memory.total()}),
                     format_seconds(m.memory.time), m.memory.occasion);
  for (std::size_t i = 0; i < std::min(m.memory.holdings.size(), kMostBuffers); ++i) {
    const app::Holding& h = m.memory.holdings[i];
    out += fmt::format("  {:<24}{:>12}  {}{}\n", h.name, format_bytes(Bytes{h.bytes}), app::name(h.category),
                       h.instances > 1 ? fmt::format(", {} of them", h.instances) : "");
  }
  if (m.memory.holdings.size() > kMostBuffers) out += fmt::format("  and {} more (--json has all)\n", m.memory.holdings.size() - kMostBuffers);
  if (m.spans.empty()) out += "nothing runs on it\n";
  for (const app::SpanStory& span : m.spans) {
    out += fmt::format("on its stream {}\n", span.stream);
    for (const auto& [what, fact] : app::lines(span))
      if (what != "Rank" && what != "Stream") out += fmt::format("  {:<18}{}\n", what, fact);
    if (!span.why.empty()) out += fmt::format("  {:<18}{}\n", "Why then", span.why);
  }
  return out;
}

}  // namespace orrery::cli
