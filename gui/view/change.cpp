#include "gui/view/change.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/quantity_text.h"

namespace orrery::view {
namespace {

constexpr std::size_t kMostParts = 3;
constexpr double kSame = 5e-5;  // relative; less is no change that anybody would want told

std::string percent(double ratio) {
  const double share = 100 * (ratio - 1);
  return fmt::format("{:+.{}f} %", share, std::abs(share) < 9.95 ? 1 : 0);
}

std::string signed_seconds(double v) { return fmt::format("{}{}", v < 0 ? "-" : "+", format_seconds(Seconds{std::abs(v)})); }

}  // namespace

std::vector<Figure> figures(const app::SimulateReport& now, const app::SimulateReport* pinned) {
  std::vector<Figure> out;
  // `less`: whether less is better.
  const auto ratio = [&](const char* name, const char* about, double a, double b, bool less, auto text) {
    Figure f{name, about, text(a), pinned ? text(b) : "", "", Judgement::neither};
    if (pinned && b > 0 && std::abs(a / b - 1) > kSame) {
      f.change = percent(a / b);
      f.judgement = (a < b) == less ? Judgement::better : Judgement::worse;
    }
    out.push_back(std::move(f));
  };
  const auto points = [&](const char* name, const char* about, double a, double b, bool less) {
    Figure f{name, about, format_percent(a), pinned ? format_percent(b) : "", "", Judgement::neither};
    if (pinned && std::abs(a - b) > kSame) {
      f.change = fmt::format("{:+.1f} points", 100 * (a - b));
      f.judgement = (a < b) == less ? Judgement::better : Judgement::worse;
    }
    out.push_back(std::move(f));
  };
  const auto seconds = [](double v) { return format_seconds(Seconds{v}); };
  const auto exposed = [](const app::SimulateReport& r) {
    const Waterfall& w = r.summary.waterfall;
    return to_seconds(Picoseconds{w.exposed_tp.v + w.exposed_cp.v + w.exposed_ep.v + w.exposed_pp.v + w.exposed_dp.v}).v;
  };
  const auto peak = [](const app::SimulateReport& r) { return r.capacity - r.headroom; };
  const app::SimulateReport& before = pinned ? *pinned : now;
  ratio("step time", "one training step, in the steady state", now.step_time.v, before.step_time.v, true, seconds);
  ratio("tokens/s per device", "tokens that each device trains on in a second", now.tokens_per_s_per_gpu, before.tokens_per_s_per_gpu, false,
        [](double v) { return fmt::format("{:.{}f}", v, v < 100 ? 1 : 0); });
  points("MFU", "the model's own FLOPs over the devices' peak", now.mfu, before.mfu, false);
  ratio("exposed communication", "communication that nothing hides, mean of all ranks", exposed(now), exposed(before), true, seconds);
  {
    const Bytes a = peak(now), b = peak(before);
    Figure f{"peak memory",
             fmt::format("of the fullest stage; a device has {}", format_bytes(now.capacity)),
             format_bytes(a),
             pinned ? format_bytes(b) : "",
             "",
             Judgement::neither};
    if (!now.fits) f.now += fmt::format(" (over {})", format_bytes(now.capacity));
    if (pinned && a != b) {
      f.change = fmt::format("{}{}", a < b ? "-" : "+", format_bytes(a < b ? b - a : a - b));
      f.judgement = a < b ? Judgement::better : Judgement::worse;
    }
    if (!now.fits) f.judgement = Judgement::worse;
    out.push_back(std::move(f));
  }
  ratio("energy per step", "all devices together", now.energy.v, before.energy.v, true, [](double v) { return format_energy(Joules{v}); });
  return out;
}

std::string change_sentence(const app::CompareReport& report) {
  const double a = to_seconds(report.a.step).v, b = to_seconds(report.b.step).v;
  if (a <= 0) return {};
  if (report.largest.empty()) return "Nothing moved: the step is as the pinned one.";
  const double change = b / a - 1;
  std::string out = std::abs(change) < kSame ? "As fast as the pinned plan"
                                             : fmt::format("{:.{}f} % {} than the pinned plan", std::abs(100 * change),
                                                           std::abs(change) < 0.0995 ? 1 : 0, change > 0 ? "slower" : "faster");
  std::vector<app::Row> with, against;
  for (const app::Row& row : report.largest) (std::abs(change) < kSame || (row.difference() > 0) == (change > 0) ? with : against).push_back(row);
  const double total = std::abs(report.largest.front().difference());
  std::size_t told = 0;
  const auto list = [&](const std::vector<app::Row>& rows, const char* lead, std::size_t most) {
    std::string text;
    for (const app::Row& row : rows) {
      if (told >= most || std::abs(row.difference()) < 0.02 * total) break;
      std::string name = row.name;  // "exposed_tp"
      std::replace(name.begin(), name.end(), '_', ' ');
      text += fmt::format("{}{} {}", text.empty() ? lead : ", ", name, signed_seconds(row.difference()));
      ++told;
    }
    return text;
  };
  out += list(with, ": ", kMostParts - (against.empty() ? 0 : 1));
  out += list(against, told > 0 ? "; " : ": ", kMostParts);
  return out + ".";
}

}  // namespace orrery::view
