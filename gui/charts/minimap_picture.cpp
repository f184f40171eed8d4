#include "gui/charts/minimap_picture.h"

#include <QPaintEngine>
#include <QPainter>
#include <algorithm>
#include <cmath>

namespace orrery::gui {
namespace {

constexpr std::size_t kParts = 1024;

}  // namespace

void MinimapPicture::paint(QPainter& p, QRectF map, const LaneScene& scene, const view::TimeAxis& axis, const Theme& theme) {
  if (of_ != scene.index) {
    of_ = scene.index;
    density_ = of_->density(kParts);
  }
  if (p.paintEngine()->type() == QPaintEngine::Raster) {
    const double scale = p.device()->devicePixelRatioF();
    const Key key{of_, axis.whole(), scene.highlight, map.size() * scale, theme.dark};
    if (!(key == key_) || image_.isNull()) {
      key_ = key;
      image_ = QImage((map.size() * scale).toSize(), QImage::Format_RGB32);
      image_.setDevicePixelRatio(scale);
      QPainter on(&image_);
      paint_density(on, QRectF(QPointF(0, 0), map.size()), scene.highlight, axis.whole(), theme);
    }
    p.drawImage(map.topLeft(), image_);
  } else {
    paint_density(p, map, scene.highlight, axis.whole(), theme);
  }
  const view::TimeAxis whole(axis.whole(), map.width());
  if (scene.matches) {
    const TickKey key{of_, scene.matches, whole};
    if (!(key == tick_key_)) {
      tick_key_ = key;
      find_ticks(*scene.matches, whole);
    }
    for (const double x : ticks_)
      p.fillRect(QRectF(std::round(map.left()) + x, map.bottom() - 4, 2, 8), theme.ink);  // the colours of work hide any other
  } else {
    tick_key_ = {};
  }
  const double x0 = map.left() + whole.pixel(axis.range().begin), x1 = map.left() + whole.pixel(axis.range().end);
  const QRectF seen(x0, map.top() - 1, std::max(5.0, x1 - x0), map.height() + 2);
  if (seen.width() < map.width() - 1) {
    QColor shade = theme.ground;
    shade.setAlphaF(0.5F);
    p.fillRect(QRectF(map.left(), map.top(), seen.left() - map.left(), map.height()), shade);
    p.fillRect(QRectF(seen.right(), map.top(), map.right() - seen.right(), map.height()), shade);
  }
  p.setPen(QPen(theme.accent, 1));
  p.setBrush(Qt::NoBrush);
  p.drawRect(seen.adjusted(0.5, 0.5, -0.5, -0.5));
}

void MinimapPicture::paint_density(QPainter& p, QRectF map, std::uint32_t highlight, view::TimeRange all, const Theme& theme) const {
  const LaneColours colours(theme, highlight, false);
  p.fillRect(map, theme.panel);
  const view::TimeAxis whole(all, map.width());
  const view::TimeRange own = of_->whole();
  const double begin = map.left() + whole.pixel(own.begin), width = whole.pixel(own.end) - whole.pixel(own.begin);
  const auto edge = [&](std::size_t part) { return std::round(begin + width * static_cast<double>(part) / static_cast<double>(density_.size())); };
  for (std::size_t i = 0; i < density_.size(); ++i) {
    const double x0 = edge(i), x1 = edge(i + 1);
    if (x1 <= x0) continue;
    double y = map.bottom();
    for (std::size_t slot = 0; slot < view::kSlots; ++slot) {
      if (density_[i].share[slot] == 0) continue;
      const double height = map.height() * density_[i].share[slot] / 255;
      p.fillRect(QRectF(x0, y - height, x1 - x0, height), QColor(colours.fill[slot]));
      y -= height;
    }
  }
}

// A tick a pixel, of which there are few; the matches may be millions, and they change seldom.
void MinimapPicture::find_ticks(const std::vector<view::SpanId>& matches, const view::TimeAxis& whole) {
  std::vector<bool> marked(static_cast<std::size_t>(std::max(0.0, whole.width())) + 2);
  for (const view::SpanId id : matches) {
    const double x = std::round(whole.pixel(of_->range(id).begin));
    if (x >= 0 && x < static_cast<double>(marked.size())) marked[static_cast<std::size_t>(x)] = true;
  }
  ticks_.clear();
  for (std::size_t x = 0; x < marked.size(); ++x)
    if (marked[x]) ticks_.push_back(static_cast<double>(x));
}

}  // namespace orrery::gui
