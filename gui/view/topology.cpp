#include "gui/view/topology.h"

#include <algorithm>
#include <cmath>

namespace orrery::view {
namespace {

constexpr double kPad = 7, kGap = 10, kBar = 5, kSpine = 5, kSwitch = 2;
constexpr double kLargest = 64, kSmallest = 7;  // pitch of devices

// Devices side by side in a node: all of up to 16, otherwise the most up to 16 that give equal rows.
std::int64_t columns_of(std::int64_t node_size) {
  if (node_size <= 16) return std::max<std::int64_t>(1, node_size);
  for (std::int64_t c = 16; c >= 8; --c)
    if (node_size % c == 0) return c;
  return 16;
}

// All sizes that follow from the pitch.
struct Measure {
  double pitch, tile, link, strip, node_width, node_height, row_height;
  std::int64_t columns, strips;

  Measure(double p, std::int64_t node_size, std::size_t levels, double line) : pitch(p) {
    columns = columns_of(node_size);
    strips = (std::max<std::int64_t>(1, node_size) + columns - 1) / columns;
    tile = std::min(42.0, std::floor(pitch * 0.76));
    link = std::clamp(pitch * 0.5, 5.0, 30.0);
    strip = link * static_cast<double>(levels) + tile + kSwitch;
    node_width = std::max(pitch * static_cast<double>(columns) + 2 * kPad, 64.0);
    node_height = line + static_cast<double>(strips) * strip + static_cast<double>(strips - 1) * 6 + 2 * kPad;
    row_height = node_height + (levels > 1 ? kBar + 10 : 0) + kGap;
  }
};

}  // namespace

TopologyLayout lay_out_topology(const std::vector<NodeKind>& kinds, std::int64_t devices, std::int64_t node_size, std::size_t levels, double width,
                                double height, double line) {
  TopologyLayout out;
  if (kinds.empty() || width < 80 || height < 60) return out;
  levels = std::max<std::size_t>(1, levels);
  node_size = std::max<std::int64_t>(1, node_size);
  const bool fabric = levels > 1;
  const auto wanted = static_cast<std::int64_t>(kinds.size());
  const double usable = width - (fabric ? kSpine + kGap : 0);
  const auto room = [&](const Measure& m, double below) {  // {nodes in a row, rows}
    const auto across = static_cast<std::int64_t>((usable + kGap) / (m.node_width + kGap));
    const auto down = static_cast<std::int64_t>((height - below) / m.row_height);
    return std::pair{std::max<std::int64_t>(1, across), std::max<std::int64_t>(1, down)};
  };
  double pitch = kLargest;
  const auto fits = [&](double p) {
    const Measure m(p, node_size, levels, line);
    const auto [across, down] = room(m, 0);
    return across * down >= wanted && m.row_height <= height && m.node_width <= usable;
  };
  while (pitch > kSmallest && !fits(pitch)) pitch -= 1;
  const Measure m(pitch, node_size, levels, line);
  const bool all = fits(pitch);
  const auto [across, down] = room(m, all ? 0 : line + 4);
  const std::int64_t shown = std::min(wanted, across * down);
  out.tile = m.tile;

  // No wider apart than they are, and in equal rows.
  const std::int64_t rows = (shown + across - 1) / across, per_row = (shown + rows - 1) / rows;
  const double left = fabric ? kSpine + kGap : 0;
  double y = 0;
  for (std::int64_t i = 0; i < shown; ++i) {
    const std::int64_t column = i % per_row;
    if (column == 0) {
      if (i > 0) y += m.row_height;
      if (fabric) {
        const auto in_row = static_cast<double>(std::min(per_row, shown - i));
        out.fabric.push_back({0, y, left + in_row * (m.node_width + kGap) - kGap, kBar});
      }
    }
    TopologyLayout::Node& node = out.nodes.emplace_back();
    node.kind = kinds[static_cast<std::size_t>(i)];
    const double x = left + static_cast<double>(column) * (m.node_width + kGap), top = y + (fabric ? kBar + 10 : 0);
    node.frame = {x, top, m.node_width, m.node_height};
    node.label = {x + kPad, top + kPad / 2, m.node_width - 2 * kPad, line};
    if (fabric) node.uplink = {x + m.node_width / 2 - 3, y + kBar, 6, 10};
    const double inset = (m.node_width - m.pitch * static_cast<double>(m.columns)) / 2 + (m.pitch - m.tile) / 2;
    const std::int64_t first = node.kind.node * node_size, last = std::min(devices, first + node_size);
    for (std::int64_t d = first; d < last; ++d) {
      const std::int64_t at = d - first, strip = at / m.columns;
      const double strip_top = top + kPad / 2 + line + 2 + static_cast<double>(strip) * (m.strip + 6);
      const double tile_x = x + inset + static_cast<double>(at % m.columns) * m.pitch;
      TopologyLayout::Device device;
      device.device = d;
      const double tile_top = strip_top + m.link * static_cast<double>(levels - 1);
      device.tile = {tile_x, tile_top, m.tile, m.tile};
      const double thick = std::max(3.0, std::floor(m.tile * 0.45));
      const double link_x = tile_x + (m.tile - thick) / 2;
      device.links.push_back({link_x, tile_top + m.tile, thick, m.link});
      for (std::size_t l = 1; l < levels; ++l) device.links.push_back({link_x, tile_top - m.link * static_cast<double>(l), thick, m.link});
      if (at % m.columns == 0) {
        const auto in_strip = static_cast<double>(std::min(m.columns, last - d));
        node.switches.push_back({tile_x, tile_top + m.tile + m.link, (in_strip - 1) * m.pitch + m.tile, kSwitch});
      }
      node.devices.push_back(std::move(device));
    }
  }
  if (out.fabric.size() > 1) out.spine = {0, out.fabric.front().y, kSpine, out.fabric.back().bottom() - out.fabric.front().y};
  for (std::size_t i = static_cast<std::size_t>(shown); i < kinds.size(); ++i) ++out.hidden_kinds, out.hidden_nodes += kinds[i].alike;
  out.note = {left, y + m.row_height - kGap + 4, width - left, line};
  return out;
}

std::optional<TopologyHit> hit(const TopologyLayout& layout, double x, double y) {
  constexpr double kNear = 2;
  const auto near = [&](const Box& b) { return Box{b.x - kNear, b.y, b.width + 2 * kNear, b.height}.contains(x, y); };
  for (const TopologyLayout::Node& node : layout.nodes) {
    if (near(node.uplink)) return TopologyHit{node.kind.node, std::nullopt, 1};
    if (!node.frame.contains(x, y)) continue;
    for (const TopologyLayout::Device& device : node.devices) {
      for (std::size_t l = 0; l < device.links.size(); ++l)
        if (near(device.links[l])) return TopologyHit{node.kind.node, device.device, l};
      if (device.tile.contains(x, y)) return TopologyHit{node.kind.node, device.device, std::nullopt};
    }
    return TopologyHit{node.kind.node, std::nullopt, std::nullopt};
  }
  return std::nullopt;
}

}  // namespace orrery::view
