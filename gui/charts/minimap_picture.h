// The whole step in one strip: what it is made of, where a search found something, and which part of it is in sight.
#pragma once

#include <QImage>
#include <QRectF>
#include <cstdint>
#include <memory>
#include <vector>

#include "gui/charts/lane_picture.h"
#include "gui/theme.h"
#include "gui/view/axis.h"
#include "gui/view/span_index.h"

class QPainter;

namespace orrery::gui {

// What it paints is kept and painted again while nothing of it changes: it is thousands of small rectangles.
class MinimapPicture {
 public:
  // Of the scene's timeline, which there must be; `axis`: its whole is as long as `map`, its range what is in sight.
  void paint(QPainter& painter, QRectF map, const LaneScene& scene, const view::TimeAxis& axis, const Theme& theme);

 private:
  void paint_density(QPainter& painter, QRectF map, std::uint32_t highlight, view::TimeRange whole, const Theme& theme) const;
  void find_ticks(const std::vector<view::SpanId>& matches, const view::TimeAxis& whole);

  struct Key {
    std::shared_ptr<const view::SpanIndex> index;
    view::TimeRange whole;
    std::uint32_t highlight = 0;
    QSizeF pixels;
    bool dark = false;
    bool operator==(const Key&) const = default;
  };
  struct TickKey {
    std::shared_ptr<const view::SpanIndex> index;
    std::shared_ptr<const std::vector<view::SpanId>> matches;
    view::TimeAxis whole;
    bool operator==(const TickKey&) const = default;
  };
  std::shared_ptr<const view::SpanIndex> of_;
  std::vector<view::Mix> density_;  // of of_
  Key key_;
  QImage image_;
  TickKey tick_key_;
  std::vector<double> ticks_;  // pixels under which something matches
};

}  // namespace orrery::gui
