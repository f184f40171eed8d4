#include "gui/view/waterfall.h"

#include <algorithm>
#include <cmath>

namespace orrery::view {
namespace {

// "exposed_tp", as documents have it, for people.
std::string spoken(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

}  // namespace

std::vector<WaterfallRow> waterfall_rows(const app::CompareReport& report) {
  std::vector<WaterfallRow> rows;
  double a = 0, b = 0;
  for (const app::Row& part : report.waterfall) {
    rows.push_back({spoken(part.name), {a, a + part.a}, {b, b + part.b}});
    a += part.a;
    b += part.b;
  }
  rows.push_back({"step", {0, to_seconds(report.a.step).v}, {0, to_seconds(report.b.step).v}, true});
  return rows;
}

std::vector<BridgeRow> bridge_rows(const app::CompareReport& report, std::size_t most) {
  const double a = to_seconds(report.a.step).v, b = to_seconds(report.b.step).v;
  std::vector<BridgeRow> rows{{"A", {0, a}, true}};
  double at = a;
  const double least = kRounding * std::max(a, b);
  std::size_t differ = 0;  // largest first
  while (differ < report.largest.size() && std::abs(report.largest[differ].difference()) > least) ++differ;
  const bool all = differ <= most;
  for (std::size_t i = 0; i < std::min(differ, most); ++i) {
    const double next = at + report.largest[i].difference();
    rows.push_back({spoken(report.largest[i].name), {at, next}});
    at = next;
  }
  if (!all) rows.push_back({"others", {at, b}});
  rows.push_back({"B", {0, b}, true});
  return rows;
}

}  // namespace orrery::view
