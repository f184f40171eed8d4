// Durations from a profile: measured shapes as they were measured, shapes between them by interpolating the rate, shapes beyond them by work.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/profile.h"
#include "cost/reuse.h"
#include "program/operators.h"

namespace orrery::cost {

// How a figure follows from the measurements.
enum class Reach : std::uint8_t { measured, interpolated, extrapolated };

struct MeasuredTime {
  Seconds alone;          // one rank runs it, the others are idle
  double slowdown = 1;    // when `busy` ranks run it at the same time, each on its own data
  std::int64_t busy = 1;  // the largest count that was measured; 1: none beside `alone`
  Reach reach = Reach::measured;
  double sigma = 0;  // relative
};

// Points in log space with a value each: exact at the points, multilinear where the points around a query form a box, otherwise weighted by
// inverse squared distance; constant beyond their range. Coordinates that are categories must agree if any point's do.
class LogInterpolation {
 public:
  struct Point {
    std::vector<double> at;  // logarithms
    std::vector<int> category;
    double value = 0;
  };
  struct Answer {
    double value = 0;
    Reach reach = Reach::measured;
  };

  explicit LogInterpolation(std::vector<Point> points);

  Answer operator()(const std::vector<double>& at, const std::vector<int>& category) const { return answer(at, category, nullptr); }
  // Root mean square of what each inner point's value differs from what the others say there; 0 with fewer than three points.
  double leave_one_out() const;

 private:
  Answer answer(const std::vector<double>& at, const std::vector<int>& category, const Point* without) const;

  std::vector<Point> points_;
};

// A profile's measurements, ready to be asked. Keeps a reference to nothing.
class Measurements {
 public:
  explicit Measurements(const Profile& profile);

  // Nothing when the profile has no measurement of this operator in this type. What was measured at several footprints is averaged over them by how
  // far apart the program's touches of the operands are: the time that a byte takes depends on where the caches left it, and adds up over the bytes.
  // Without `reuse` the greatest footprint counts.
  std::optional<MeasuredTime> operation(const program::Shape& shape, const Reuse& reuse = {}) const;

  // Whether an operator was measured at more than one footprint.
  bool depend_on_reuse() const;

  // `ranks` devices, consecutive, on so many nodes; nothing when the profile has no measurement of this collective on as many nodes.
  std::optional<MeasuredTime> collective(program::Operator op, std::int64_t ranks, Bytes bytes, std::int64_t nodes = 1) const;

 private:
  struct Table {
    LogInterpolation rate;  // log(time / work)
    double spread = 0;      // median over the points
    double error = 0;       // leave one out
  };
  struct Curve {
    std::vector<std::pair<double, double>> points;  // log bytes -> log seconds, ascending
    double spread = 0;
  };

  // Footprints within a factor of two of the same power of four count as alike: from their exponent to what was measured there.
  using ByFootprint = std::map<int, Table>;
  struct Known {
    double log_rate = 0;  // of time / work
    Reach reach = Reach::measured;
    double spread = 0, error = 0;
  };
  static Known ask(const ByFootprint& tables, const std::vector<double>& at, const std::vector<int>& category, const Reuse& reuse);

  bool shared_memory_ = true;                                                                        // of the ranks
  std::map<std::pair<program::Operator, DType>, std::map<std::int64_t, ByFootprint>> operators_;     // by busy
  std::map<std::pair<program::Operator, std::int64_t>, std::map<std::int64_t, Curve>> collectives_;  // by nodes, then ranks
};

}  // namespace orrery::cost
