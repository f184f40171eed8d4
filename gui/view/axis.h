// Where a quantity stands on the screen: time axes in whole picoseconds, axes of any other quantity in doubles, and their ticks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/units.h"

namespace orrery::view {

// A stretch of time: begin <= end.
struct TimeRange {
  Picoseconds begin, end;

  Picoseconds length() const { return end - begin; }
  bool empty() const { return end <= begin; }
  bool contains(Picoseconds t) const { return begin <= t && t < end; }
  bool overlaps(TimeRange other) const { return begin < other.end && other.begin < end; }
  bool operator==(const TimeRange&) const = default;
};
TimeRange united(TimeRange a, TimeRange b);  // the shortest that holds both; an empty one counts for nothing

// One mark on an axis.
struct Tick {
  double value = 0;  // of a time axis: seconds
  double pixel = 0;
  std::string label;  // empty: a mark without words, where a logarithmic axis has no room for them
};

// The marks of a time axis. Where all of them together would need long numbers to differ, they count from `base`, which is then not empty ("1.84 s").
struct TimeTicks {
  Picoseconds step;
  std::string base;
  std::vector<Tick> ticks;
  std::vector<Picoseconds> times;  // of the ticks, exactly
};

// A time as precisely as `resolution` asks for: "5.018256 s" to a microsecond, "18.26 ms" to ten. In the largest unit in which it is at least one.
std::string format_time(Picoseconds t, Picoseconds resolution);

// A visible range of time on a given number of pixels, never outside of a whole range. Pixels count from the left edge of the plot.
class TimeAxis {
 public:
  static constexpr Picoseconds kClosest{10'000};  // no zoom shows less: 10 ns, five picoseconds a pixel on a wide screen

  TimeAxis() : TimeAxis({Picoseconds{0}, Picoseconds{1'000'000'000'000}}, 1) {}
  TimeAxis(TimeRange whole, double width);  // shows all of it; a whole shorter than kClosest counts as that long

  TimeRange whole() const { return whole_; }
  TimeRange range() const { return range_; }
  double width() const { return width_; }
  double pixels_per_picosecond() const { return width_ / static_cast<double>(range_.length().v); }

  double pixel(Picoseconds t) const { return static_cast<double>((t - range_.begin).v) * width_ / static_cast<double>(range_.length().v); }
  Picoseconds time(double pixel) const;  // to the nearest picosecond

  void set_width(double width);         // keeps the range
  void set_whole(TimeRange whole);      // keeps of the range what the new whole allows
  void show(TimeRange range);           // clamped: at least kClosest long, and inside the whole
  void fit() { range_ = whole_; }       // everything
  void fit(TimeRange range);            // with a twentieth of it on either side
  void reveal(TimeRange range);         // moves as little as brings it into view; its begin wins where it is longer than what is visible
  void zoom(double at, double factor);  // factor > 1: closer; the time under pixel `at` stays there, unless the whole ends first
  void pan(double pixels);              // > 0: the content moves right

  // At steps of 1, 2 or 5 times a power of ten, at least `apart` pixels from each other, all that lie in the range.
  TimeTicks ticks(double apart = 90) const;

  bool operator==(const TimeAxis&) const = default;

 private:
  TimeRange whole_, range_;
  double width_ = 1;
};

// A range of a quantity on pixels that run either way: LinearAxis(0, 80e9, height, 0) grows upward.
class LinearAxis {
 public:
  enum class Scale { linear, logarithmic };
  using Label = std::function<std::string(double)>;

  LinearAxis() : LinearAxis(0, 1, 0, 1) {}
  // What cannot be an axis is mended: low == high widens to something around it, high < low are exchanged, a logarithmic axis starts above 0, what is
  // not finite counts as 0.
  LinearAxis(double low, double high, double low_pixel, double high_pixel, Scale scale = Scale::linear);

  double low() const { return low_; }
  double high() const { return high_; }
  double low_pixel() const { return low_pixel_; }
  double high_pixel() const { return high_pixel_; }
  Scale scale() const { return scale_; }

  double pixel(double value) const;  // a logarithmic axis puts what is not positive at its low end
  double value(double pixel) const;

  void zoom(double at, double factor);  // about the pixel
  void pan(double pixels);              // > 0: the content moves to greater pixels

  // The same axis with both ends moved outward to the next tick (a logarithmic one: to the next of 1, 2, 5 times a power of ten).
  LinearAxis rounded(double apart = 60, bool binary = false) const;

  // Steps of 1, 2 or 5 times a power of ten; `binary`: times a power of 1024 beyond the first 1024, for bytes. A logarithmic axis has marks at 1, 2
  // and 5, words where there is room. Without `label`, as many decimals as the step needs.
  std::vector<Tick> ticks(double apart = 60, bool binary = false, const Label& label = {}) const;
  double step(double apart = 60, bool binary = false) const;  // between the ticks of a linear axis

  bool operator==(const LinearAxis&) const = default;

 private:
  double place(double value) const;  // on the scale that pixels are proportional to
  double unplace(double place) const;

  double low_ = 0, high_ = 1, low_pixel_ = 0, high_pixel_ = 1;
  Scale scale_ = Scale::linear;
};

// The smallest of 1, 2 and 5 times a power of ten that is at least `least` > 0. `binary`: beyond 1000, the same times a power of 1024, where 1, 2, 5,
// 10 … 500 of each unit occur.
double nice_step(double least, bool binary = false);

}  // namespace orrery::view
