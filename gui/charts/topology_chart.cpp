#include "gui/charts/topology_chart.h"

#include <fmt/format.h>

#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "core/quantity_text.h"
#include "gui/view/load_scale.h"

namespace orrery::gui {
namespace {

constexpr double kMargin = 14;

QString words(const std::string& s) { return QString::fromStdString(s); }
QRectF to_rect(const view::Box& b) { return {b.x, b.y, b.width, b.height}; }

}  // namespace

QString amount_text(const app::NetworkLoad& load, double amount) {
  return words(load.moment ? format_rate(BytesPerSecond{amount}) : format_bytes(Bytes{static_cast<std::int64_t>(std::llround(amount))}));
}

QString axes_text(const app::ByAxis& sent, const app::ByAxis& received) {
  const app::ByAxis& busier = app::sum(sent) >= app::sum(received) ? sent : received;
  const double all = app::sum(busier);
  std::vector<std::pair<double, std::size_t>> shares;
  for (std::size_t a = 0; a < app::kTrafficAxes; ++a)
    if (busier[a] > 0.005 * all) shares.emplace_back(busier[a] / all, a);
  std::sort(shares.rbegin(), shares.rend());
  QStringList out;
  for (const auto& [share, axis] : shares)
    out << (shares.size() == 1 ? words(std::string(app::traffic_axis_name(axis)))
                               : words(fmt::format("{} {:.0f} %", app::traffic_axis_name(axis), 100 * share)));
  return out.join(", ");
}

QString describe_link(const app::NetworkLoad& load, std::size_t level, std::int64_t device) {
  const app::NetworkLoad::Level& l = load.levels[level];
  const auto d = static_cast<std::size_t>(device);
  QString out = QObject::tr("%1 of device %2: %3 of %4 each way")
                    .arg(words(l.name))
                    .arg(device)
                    .arg(words(format_percent(load.load(level, device))), words(format_rate(l.bandwidth)));
  for (std::size_t a = 0; a < app::kTrafficAxes; ++a)
    if (l.sent[d][a] > 0 || l.received[d][a] > 0)
      out += QObject::tr("\n%1: %2 sent, %3 received")
                 .arg(words(std::string(app::traffic_axis_name(a))), amount_text(load, l.sent[d][a]), amount_text(load, l.received[d][a]));
  return out;
}

TopologyChart::TopologyChart(QWidget* parent) : Chart("network", parent) {
  setFocusPolicy(Qt::StrongFocus);
  setMouseTracking(true);
  setAccessibleDescription(tr("Nodes, devices and links, coloured by load; arrow keys choose a link"));
}

void TopologyChart::show(std::vector<Node> nodes, std::shared_ptr<const app::NetworkLoad> load, const QString& why) {
  nodes_ = std::move(nodes), load_ = std::move(load), why_ = why;
  update();
}

void TopologyChart::choose(std::optional<Link> link) {
  if (link == chosen_) return;
  chosen_ = link;
  update();
}

double TopologyChart::legend_height(const QFontMetricsF& font) const { return 2 * font.height() + 32; }

view::TopologyLayout TopologyChart::layout_in(QSizeF size, const QFontMetricsF& font) const {
  if (!load_ || load_->levels.empty()) return {};
  std::vector<view::NodeKind> kinds;
  for (const Node& n : nodes_) kinds.push_back(n.kind);
  view::TopologyLayout out = view::lay_out_topology(kinds, load_->devices, load_->levels.front().domain, load_->levels.size(),
                                                    size.width() - 2 * kMargin, size.height() - 2 * kMargin - legend_height(font), font.height());
  const auto move = [](view::Box& b) { b.x += kMargin, b.y += kMargin; };
  for (view::TopologyLayout::Node& n : out.nodes) {
    move(n.frame), move(n.label), move(n.uplink);
    for (view::Box& b : n.switches) move(b);
    for (view::TopologyLayout::Device& d : n.devices) {
      move(d.tile);
      for (view::Box& b : d.links) move(b);
    }
  }
  for (view::Box& b : out.fabric) move(b);
  move(out.spine), move(out.note);
  return out;
}

view::TopologyLayout TopologyChart::layout_now() const { return layout_in(QSizeF(size()), QFontMetricsF(font())); }

void TopologyChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!load_) {
    paint_empty(painter, size, theme, tr("No network"), why_);
    return;
  }
  if (load_->levels.empty() || nodes_.empty()) {
    paint_empty(painter, size, theme, tr("A single device has no network"), tr("Choose a cluster of more devices."));
    return;
  }
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFontMetricsF font(painter.font());
  const view::TopologyLayout layout = layout_in(size, font);
  const app::NetworkLoad& load = *load_;
  const auto colour = [&](double l) { return to_qt(view::load_colour(l, theme.dark)); };

  painter.setPen(Qt::NoPen);
  painter.setBrush(theme.a);
  for (const view::Box& bar : layout.fabric) painter.drawRect(to_rect(bar));
  painter.drawRect(to_rect(layout.spine));
  QFont small = painter.font();
  const QFont plain = small;
  if (small.pixelSize() > 0)
    small.setPixelSize(std::max(7, static_cast<int>(layout.tile * 0.42)));
  else
    small.setPointSizeF(std::max(5.0, layout.tile * 0.3));
  const double number_width = QFontMetricsF(small).horizontalAdvance(QString::number(load.devices - 1));
  for (std::size_t n = 0; n < layout.nodes.size(); ++n) {
    const view::TopologyLayout::Node& node = layout.nodes[n];
    const std::int64_t first = node.devices.front().device;
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(theme.line, 1));
    painter.setBrush(theme.panel);
    painter.drawRoundedRect(to_rect(node.frame).adjusted(0.5, 0.5, -0.5, -0.5), 5, 5);
    painter.setRenderHint(QPainter::Antialiasing, false);
    if (load.levels.size() > 1) painter.fillRect(to_rect(node.uplink), colour(load.uplink_load(1, first)));
    const QString alike = node.kind.alike > 1 ? tr("× %L1").arg(node.kind.alike) : QString();
    const QRectF label = to_rect(node.label);
    const double alike_width = alike.isEmpty() ? 0 : font.horizontalAdvance(alike) + 6;
    painter.setPen(theme.ink);
    const double room = label.width() - alike_width, words_width = font.horizontalAdvance(nodes_[n].label);
    painter.drawText(label, int{Qt::AlignLeft} | int{Qt::AlignVCenter}, font.elidedText(nodes_[n].label, Qt::ElideRight, room));
    painter.setPen(theme.dim);
    if (words_width + 8 + font.horizontalAdvance(nodes_[n].more) <= room)
      painter.drawText(label.adjusted(words_width + 8, 0, 0, 0), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, nodes_[n].more);
    painter.drawText(label, int{Qt::AlignRight} | int{Qt::AlignVCenter}, alike);
    for (const view::Box& b : node.switches) painter.fillRect(to_rect(b), theme.a);
    painter.setFont(small);
    for (const view::TopologyLayout::Device& d : node.devices) {
      for (std::size_t l = 0; l < d.links.size(); ++l) {
        painter.fillRect(to_rect(d.links[l]), colour(load.load(l, d.device)));
        if (chosen_ && chosen_->device == d.device && chosen_->level == l) {
          painter.setPen(QPen(theme.accent, 2));
          painter.setBrush(Qt::NoBrush);
          painter.drawRect(to_rect(d.links[l]).adjusted(-2, -1, 2, 1));
        }
      }
      const bool chosen = chosen_ && chosen_->device == d.device;
      painter.setPen(QPen(chosen ? theme.accent : theme.line, 1));
      painter.setBrush(theme.raised);
      painter.drawRect(to_rect(d.tile).adjusted(0.5, 0.5, -0.5, -0.5));
      if (number_width + 3 <= layout.tile) {
        painter.setPen(theme.dim);
        painter.drawText(to_rect(d.tile), Qt::AlignCenter, QString::number(d.device));
      }
    }
    painter.setFont(plain);
  }
  if (layout.hidden_kinds > 0) {
    painter.setPen(theme.dim);
    painter.drawText(
        to_rect(layout.note), int{Qt::AlignLeft} | int{Qt::AlignVCenter},
        tr("… %L1 more kinds of node find no room (%L2 nodes); the list of hot links has them").arg(layout.hidden_kinds).arg(layout.hidden_nodes));
  }
  paint_legend_below(painter, size, theme);
}

void TopologyChart::paint_legend_below(QPainter& painter, QSizeF size, const Theme& theme) const {
  const QFontMetricsF font(painter.font());
  const double top = size.height() - legend_height(font) - 4;
  painter.setPen(theme.line);
  painter.drawLine(QPointF(kMargin, top), QPointF(size.width() - kMargin, top));
  const double width = std::min(260.0, (size.width() - 3 * kMargin) / 2.4), bar = 9, y = top + 10;
  for (int i = 0; i < static_cast<int>(width); ++i) {
    const double place = (i + 0.5) / width;
    painter.fillRect(QRectF(kMargin + i, y, 1, bar), to_qt(view::load_colour(place * place, theme.dark)));
  }
  double clear = -1e9;
  const std::vector<double>& ticks = view::load_ticks();
  for (const double load : ticks) {
    const double at = kMargin + width * view::load_place(load);
    const QString text = words(fmt::format("{:g}", load * 100)) + (load == 1 ? " %" : "");
    const double w = font.horizontalAdvance(text), from = std::max(kMargin, at - w / 2);
    if (from < clear) continue;
    painter.setPen(theme.dim);
    painter.drawText(QPointF(from, y + bar + font.ascent() + 3), text);
    clear = from + w + 6;
  }
  painter.setPen(theme.dim);
  painter.drawText(QPointF(kMargin, y + bar + font.height() + font.ascent() + 7),
                   load_->moment ? tr("load at the cursor") : tr("load over the step"));
  // What the marks are.
  const double x = kMargin + width + 2 * kMargin, room = size.width() - kMargin - x;
  QStringList lines;
  lines << tr("below a device: its %1, %2 each way").arg(words(load_->levels[0].name), words(format_rate(load_->levels[0].bandwidth)));
  for (std::size_t l = 1; l < load_->levels.size(); ++l)
    lines << (l == 1 ? tr("above: its %1, %2").arg(words(load_->levels[l].name), words(format_rate(load_->levels[l].bandwidth)))
                     : tr("above that: its part of %1, %2").arg(words(load_->levels[l].name), words(format_rate(load_->levels[l].bandwidth))));
  double line = y - 3;
  for (const QString& text : lines) {
    if (line + font.height() > size.height()) break;
    painter.drawText(QPointF(x, line + font.ascent()), font.elidedText(text, Qt::ElideRight, room));
    line += font.height() + 2;
  }
}

void TopologyChart::mousePressEvent(QMouseEvent* event) {
  const auto at = view::hit(layout_now(), event->position().x(), event->position().y());
  if (!at || !load_) return;
  const std::int64_t device = at->device ? *at->device : at->node * load_->levels.front().domain;
  std::size_t level = at->level.value_or(0);
  if (!at->level)  // the tile: its busier link
    for (std::size_t l = 1; l < load_->levels.size(); ++l)
      if (load_->load(l, device) > load_->load(level, device)) level = l;
  Q_EMIT chosen(level, device);
}

void TopologyChart::keyPressEvent(QKeyEvent* event) {
  const view::TopologyLayout layout = layout_now();
  std::vector<std::int64_t> devices;
  for (const auto& n : layout.nodes)
    for (const auto& d : n.devices) devices.push_back(d.device);
  if (devices.empty()) return Chart::keyPressEvent(event);
  const Link from = chosen_.value_or(Link{0, devices.front()});
  const auto at = std::find(devices.begin(), devices.end(), from.device);
  auto i = at == devices.end() ? std::ptrdiff_t{0} : at - devices.begin();
  const auto last = static_cast<std::ptrdiff_t>(devices.size()) - 1;
  std::size_t level = from.level;
  switch (event->key()) {
    case Qt::Key_Left:
      --i;
      break;
    case Qt::Key_Right:
      ++i;
      break;
    case Qt::Key_Up:
      level = std::min(level + 1, load_->levels.size() - 1);
      break;
    case Qt::Key_Down:
      level = level > 0 ? level - 1 : 0;
      break;
    case Qt::Key_Home:
      i = 0;
      break;
    case Qt::Key_End:
      i = last;
      break;
    default:
      return Chart::keyPressEvent(event);
  }
  Q_EMIT chosen(level, devices[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(i, 0, last))]);
}

bool TopologyChart::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip && load_) {
    const auto* help = static_cast<QHelpEvent*>(event);
    const auto at = view::hit(layout_now(), help->pos().x(), help->pos().y());
    if (at && at->device && at->level) {
      QToolTip::showText(help->globalPos(), describe_link(*load_, *at->level, *at->device), this);
    } else if (at && at->level) {
      const double l = load_->uplink_load(1, at->node * load_->levels.front().domain);
      QToolTip::showText(help->globalPos(), tr("node %1: all its links out together, %2").arg(at->node).arg(words(format_percent(l))), this);
    } else if (at && at->device) {
      QToolTip::showText(help->globalPos(), tr("device %1, node %2").arg(*at->device).arg(at->node), this);
    } else {
      QToolTip::hideText();
    }
    return true;
  }
  return Chart::event(event);
}

}  // namespace orrery::gui
