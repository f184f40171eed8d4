// Which ranks cannot differ, and so are simulated as one: classes of them, each with a rank that stands for all.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/cluster.h"
#include "program/program.h"

namespace orrery::sim {

// Which class of ranks a rank is of where all devices are equally fast: by stage, and within it by place on the axes that the program's loads differ
// on; with segments, also by the ranks that boundaries tell apart.
std::uint32_t lowered_role(const program::Program& program, std::int64_t rank);

// A slow device tells ranks apart. A rank of dense axes differs from another at most in whether it shares, on each axis, the coordinate of a slow
// one: exchanging any other coordinates of an axis changes neither the groups nor what anybody does. So of each axis the coordinates of slow ranks
// stand for themselves, and one of the others for all of these. Groups of experts' axes are cut across the dense ones, and segments' boundaries, too:
// there nothing is folded, and only what is laid out for a slow rank is its own.
class Folding {
 public:
  Folding() = default;
  Folding(const program::Program& program, const Cluster& cluster);

  struct Class {
    std::int64_t rank = 0;    // that stands for all
    std::int64_t weight = 1;  // how many these are
    double slowness = 1;      // its computation takes so many times as long
  };
  const std::vector<Class>& classes() const { return classes_; }
  std::uint32_t class_of(std::int64_t rank) const;
  // Whether one rank of each class may be simulated for all.
  bool folds() const { return folds_; }
  // Members of the group that are simulated, of one of each class.
  std::int64_t representatives(const program::Group& group) const;

 private:
  void tell_apart();

  const program::Program* program_ = nullptr;
  std::vector<SlowDevice> slow_;  // by device
  bool folds_ = true;
  std::vector<Class> classes_;
  // With slow devices, where they fold: by axis, the coordinates that stand for themselves, and whether another stands for the rest.
  std::array<std::vector<std::int64_t>, program::kDenseAxes> own_;
  std::array<bool, program::kDenseAxes> rest_{};
};

}  // namespace orrery::sim
