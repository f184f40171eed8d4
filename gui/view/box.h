// A rectangle of pixels.
#pragma once

namespace orrery::view {

struct Box {
  double x = 0, y = 0, width = 0, height = 0;
  double right() const { return x + width; }
  double bottom() const { return y + height; }
  bool contains(double px, double py) const { return px >= x && px < right() && py >= y && py < bottom(); }
  bool operator==(const Box&) const = default;
};

}  // namespace orrery::view
