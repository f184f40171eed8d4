#include "app/timeline_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "core/quantity_text.h"

namespace orrery::app {
namespace {

constexpr double kWidth = 1200, kLeft = 190, kRight = 16, kLane = 18, kGap = 3, kRankGap = 9, kTop = 62;
constexpr std::size_t kMostRanks = 16;

std::string_view colour(WorkClass c) {
  switch (c) {
    case WorkClass::gemm:
      return "#0072B2";
    case WorkClass::attention:
      return "#56B4E9";
    case WorkClass::norm:
    case WorkClass::elementwise:
    case WorkClass::embedding:
    case WorkClass::loss:
      return "#999999";
    case WorkClass::optimizer:
      return "#CC79A7";
    case WorkClass::tp_comm:
      return "#E69F00";
    case WorkClass::cp_comm:
    case WorkClass::ep_comm:
      return "#F0E442";
    case WorkClass::pp_comm:
      return "#009E73";
    case WorkClass::dp_comm:
      return "#D55E00";
    case WorkClass::control:
      return "none";
  }
  return "none";
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return out;
}

// 1, 2 or 5 times a power of ten, about an eighth of `span`.
double tick(double span) {
  const double rough = span / 8, power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough) return factor * power;
  return 10 * power;
}

}  // namespace

std::string timeline_svg(const Timeline& timeline, const std::string& title) {
  std::int64_t begin = INT64_MAX, end = INT64_MIN;
  std::map<std::uint32_t, std::set<std::uint16_t>> used;  // rank -> streams with work
  for (const Span& span : timeline.spans) {
    if (timeline.kinds[span.kind].work == WorkClass::control) continue;
    if (!used.contains(span.rank) && used.size() == kMostRanks) continue;
    used[span.rank].insert(span.stream);
    begin = std::min(begin, span.start.v);
    end = std::max(end, span.end.v);
  }
  if (used.empty()) begin = 0, end = 1;
  const double scale = (kWidth - kLeft - kRight) / static_cast<double>(std::max<std::int64_t>(1, end - begin));
  const auto x_of = [&](std::int64_t t) { return kLeft + static_cast<double>(t - begin) * scale; };

  std::map<std::pair<std::uint32_t, std::uint16_t>, double> lane;
  std::string labels;
  double y = kTop;
  for (const auto& [rank, streams] : used) {
    const std::string& name = rank < timeline.ranks.size() ? timeline.ranks[rank] : "";
    labels += fmt::format("<text x=\"8\" y=\"{:.1f}\" font-weight=\"bold\">{}</text>\n", y + kLane - 5,
                          escaped(name.empty() ? fmt::format("rank {}", rank) : name));
    for (const std::uint16_t stream : streams) {
      lane[{rank, stream}] = y;
      labels += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\" fill=\"#666\">{}</text>\n", kLeft - 6, y + kLane - 5,
                            escaped(timeline.streams[stream]));
      y += kLane + kGap;
    }
    y += kRankGap;
  }
  const double height = y + 8;

  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1:.0f}\" viewBox=\"0 0 {0} {1:.0f}\" font-family=\"sans-serif\" "
      "font-size=\"11\">\n",
      kWidth, height);
  out +=
      "<defs><pattern id=\"again\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"2\" "
      "height=\"4\" fill=\"#fff\" "
      "fill-opacity=\"0.45\"/></pattern></defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  out += fmt::format("<text x=\"8\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{}</text>\n", escaped(title));
  constexpr std::array<std::pair<WorkClass, std::string_view>, 7> kLegend{{{WorkClass::gemm, "matrix products"},
                                                                           {WorkClass::attention, "attention"},
                                                                           {WorkClass::norm, "other kernels"},
                                                                           {WorkClass::optimizer, "optimizer"},
                                                                           {WorkClass::tp_comm, "tensor parallel"},
                                                                           {WorkClass::pp_comm, "pipeline"},
                                                                           {WorkClass::dp_comm, "data parallel"}}};
  double x = kLeft;
  for (const auto& [work, word] : kLegend) {
    out += fmt::format("<rect x=\"{0:.0f}\" y=\"27\" width=\"11\" height=\"11\" fill=\"{1}\"/><text x=\"{2:.0f}\" y=\"37\">{3}</text>\n", x,
                       colour(work), x + 15, word);
    x += 30 + 6.2 * static_cast<double>(word.size());
  }
  out += fmt::format(
      "<rect x=\"{0:.0f}\" y=\"27\" width=\"11\" height=\"11\" fill=\"#0072B2\"/><rect x=\"{0:.0f}\" y=\"27\" width=\"11\" height=\"11\" "
      "fill=\"url(#again)\"/><text "
      "x=\"{1:.0f}\" y=\"37\">run again</text>\n",
      x, x + 15);
  const double step = tick(static_cast<double>(std::max<std::int64_t>(1, end - begin)));
  const auto ticks = static_cast<std::int64_t>(static_cast<double>(end - begin) / step);
  for (std::int64_t i = 0; i <= ticks; ++i) {
    const double t = static_cast<double>(i) * step, at = kLeft + t * scale;
    out += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2:.0f}\" stroke=\"#e4e4e4\"/><text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\" "
        "fill=\"#666\">{4}</text>\n",
        at, kTop - 4, height - 6, kTop - 8, format_seconds(Picoseconds{static_cast<std::int64_t>(t)}));
  }
  out += labels;

  // Spans come by rank, stream and start: neighbours of the same look that touch within a third of a pixel become one rectangle.
  struct Run {
    double x0 = 0, x1 = -1, y = 0;
    WorkClass work = WorkClass::control;
    bool again = false;
  } run;
  const auto flush = [&] {
    if (run.x1 < run.x0) return;
    const double width = std::max(0.3, run.x1 - run.x0);
    out +=
        fmt::format("<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" fill=\"{}\"/>\n", run.x0, run.y, width, kLane, colour(run.work));
    if (run.again)
      out += fmt::format("<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" fill=\"url(#again)\"/>\n", run.x0, run.y, width, kLane);
  };
  for (const Span& span : timeline.spans) {
    const WorkClass work = timeline.kinds[span.kind].work;
    const auto at = lane.find({span.rank, span.stream});
    if (work == WorkClass::control || at == lane.end()) continue;
    const double x0 = x_of(span.start.v), x1 = x_of(span.end.v);
    if (run.x1 >= run.x0 && run.y == at->second && colour(run.work) == colour(work) && run.again == span.recompute && x0 - run.x1 < 0.34 &&
        x0 >= run.x0) {
      run.x1 = std::max(run.x1, x1);
      continue;
    }
    flush();
    run = {x0, x1, at->second, work, span.recompute};
  }
  flush();
  return out + "</svg>\n";
}

}  // namespace orrery::app
