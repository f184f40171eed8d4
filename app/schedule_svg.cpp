#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "app/schedule.h"

namespace orrery::app {
namespace {

using program::Pass;
using program::PassKind;

constexpr double kLeft = 62, kTop = 76, kRow = 24, kGap = 4, kRight = 86, kMostWidth = 1400, kWantedCell = 20;
constexpr std::int64_t kMostPasses = 100'000;

struct Colour {
  int r, g, b;
};

// Of the palette of Okabe and Ito, which colour-blind readers can tell apart.
Colour colour(PassKind kind) {
  switch (kind) {
    case PassKind::forward:
      return {86, 180, 233};
    case PassKind::backward:
      return {230, 159, 0};
    case PassKind::input_grad:
      return {240, 228, 66};
    default:
      return {0, 158, 115};
  }
}

// Later chunks, and the direction that comes from the far end, are paler.
std::string fill(PassKind kind, double pale) {
  const Colour c = colour(kind);
  const auto mix = [pale](int v) { return static_cast<int>(std::lround(v + (255 - v) * pale)); };
  return fmt::format("#{:02X}{:02X}{:02X}", mix(c.r), mix(c.g), mix(c.b));
}

std::string px(double v) {
  std::string text = fmt::format("{:.2f}", v);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string centred(double x, double y, double size, const std::string& text) {
  return fmt::format("<text x=\"{}\" y=\"{}\" class=\"n\" font-size=\"{}\">{}</text>\n", px(x), px(y), px(size), text);
}

// 1, 2 or 5 times a power of ten times the unit, about a twelfth of `span`.
std::int64_t tick(std::int64_t span, std::int64_t unit) {
  for (std::int64_t power = unit;; power *= 10)
    for (const std::int64_t factor : {1, 2, 5})
      if (factor * power * 12 >= span) return factor * power;
}

}  // namespace

std::string to_svg(const ScheduleReport& report) {
  const program::Schedule& s = report.schedule;
  std::int64_t passes = 0, shortest = INT64_MAX;
  for (const auto& rank : report.replay.passes)
    for (const program::PassTimes& t : rank) {
      ++passes;
      if (t.end > t.start) shortest = std::min(shortest, t.end - t.start);
    }
  if (passes > kMostPasses)
    throw Error("--svg", fmt::format("{} passes are too many for a picture", passes), fmt::format("draw {} or fewer", kMostPasses));
  const auto makespan = static_cast<double>(std::max<std::int64_t>(1, report.replay.makespan));
  const double scale = std::min(kMostWidth / makespan, kWantedCell / static_cast<double>(std::min(shortest, report.replay.makespan + 1)));
  const double width = std::max(kLeft + makespan * scale + kRight, 760.0), bottom = kTop + static_cast<double>(s.ranks) * (kRow + kGap);
  const double height = bottom + 24;

  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"11\">\n"
      "<style>.c{{stroke:#555;stroke-width:.5}}.n{{text-anchor:middle}}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      px(std::ceil(width)), px(std::ceil(height)));
  out += fmt::format("<text x=\"8\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{}: {} ranks, {} micro-batches</text>\n", s.name, s.ranks,
                     s.microbatches);
  out += fmt::format("<text x=\"8\" y=\"34\">makespan {}; at most {} of it idle ({:.1f} %), {} in the ranks' spans</text>\n",
                     time_text(report, report.replay.makespan), time_text(report, report.idle_in_makespan), 100 * report.bubble_in_makespan,
                     time_text(report, report.idle_in_span));

  // The legend: the kinds that occur.
  constexpr std::array<std::pair<PassKind, const char*>, 4> kKinds{{{PassKind::forward, "F forward"},
                                                                    {PassKind::backward, "B backward"},
                                                                    {PassKind::input_grad, "I input gradient"},
                                                                    {PassKind::weight_grad, "W weight gradient"}}};
  double x = 8;
  for (const auto& [kind, word] : kKinds) {
    const bool occurs = std::any_of(s.order.begin(), s.order.end(), [k = kind](const auto& rank) {
      return std::any_of(rank.begin(), rank.end(), [k](const Pass& pass) {
        return pass.kind == k || (pass.kind == PassKind::forward_backward && (k == PassKind::forward || k == PassKind::backward));
      });
    });
    if (!occurs) continue;
    out += fmt::format("<rect x=\"{}\" y=\"43\" width=\"11\" height=\"11\" fill=\"{}\" class=\"c\"/><text x=\"{}\" y=\"53\">{}</text>\n", px(x),
                       fill(kind, 0), px(x + 15), word);
    x += 30 + 6.2 * static_cast<double>(std::string_view(word).size());
  }
  const std::string paler = s.placement == program::Placement::mirrored ? "paler: the direction that enters at the last rank"
                            : s.chunks > 1                              ? "paler: the rank's later chunks"
                            : s.splits > 1                              ? "paler: the sequence's later splits"
                                                                        : "";
  if (!paler.empty()) out += fmt::format("<text x=\"{}\" y=\"53\" fill=\"#666\">{}</text>\n", px(x), paler);

  const std::int64_t step = tick(std::max<std::int64_t>(1, report.replay.makespan), report.costs.unit);
  for (std::int64_t t = 0; t <= report.replay.makespan; t += step) {
    const std::string at = px(kLeft + static_cast<double>(t) * scale);
    out += fmt::format(
        "<line x1=\"{0}\" x2=\"{0}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#e4e4e4\"/><text x=\"{0}\" y=\"{3}\" text-anchor=\"middle\" "
        "fill=\"#666\">{4}</text>\n",
        at, px(kTop - 2), px(bottom), px(bottom + 12), time_text(report, t));
  }
  const double right = kLeft + makespan * scale + 10;
  out += fmt::format("<text x=\"{}\" y=\"{}\" fill=\"#666\">activations</text>\n", px(right), px(kTop - 5));

  for (std::size_t r = 0; r < report.replay.passes.size(); ++r) {
    const double y = kTop + static_cast<double>(r) * (kRow + kGap);
    out += fmt::format("<text x=\"8\" y=\"{0}\">rank {1}</text><text x=\"{2}\" y=\"{0}\">{3}</text>\n", px(y + kRow / 2 + 4), r, px(right),
                       report.replay.peak_until_weight_grad[r]);
    for (std::size_t k = 0; k < report.replay.passes[r].size(); ++k) {
      const Pass& pass = s.order[r][k];
      const program::PassTimes& t = report.replay.passes[r][k];
      const double from = kLeft + static_cast<double>(t.start) * scale, wide = static_cast<double>(t.end - t.start) * scale;
      if (t.end == t.start) continue;
      const bool pair = pass.kind == PassKind::forward_backward;
      double at = y;
      const double high = pair ? kRow / 2 : kRow, most = pair ? 9.0 : 11.0;
      program::for_each_half(pass, [&](const Pass& half) {
        const auto of = static_cast<double>(s.splits > 1 ? s.splits : s.chunks);
        const double pale = of > 1 ? 0.6 * static_cast<double>(s.splits > 1 ? half.split : half.chunk) / (of - 1) : 0;
        out += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" class=\"c\"/>\n", px(from), px(at), px(wide), px(high),
                           fill(half.kind, pale));
        const std::string number = fmt::format("{}{}", half.microbatch, half.direction == 1 ? "'" : "");
        const double size = std::min(most, (wide - 1) / (0.58 * static_cast<double>(number.size())));
        if (size >= 5) out += centred(from + wide / 2, at + high / 2 + 0.36 * size, size, number);
        at += high;
      });
    }
  }
  return out + "</svg>\n";
}

}  // namespace orrery::app
