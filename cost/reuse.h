// How far apart a program's touches of the same bytes are: what of an operator's operands a cache of a given size still holds when it begins.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "program/program.h"

namespace orrery::cost {

// Shares of the bytes that an operator touches, by how many distinct bytes the rank touched since it last touched them (the LRU stack distance of
// Mattson et al. 1970: a cache that keeps the most recently used bytes holds exactly those whose distance is at most its size). Element k stands for
// distances nearest to 2^(kLeastLog + k) bytes in logarithms; the first and the last also for all below and beyond. The shares add up to 1.
struct Reuse {
  static constexpr int kLeastLog = 16, kMostLog = 28;  // 64 KiB … 256 MiB
  static constexpr std::size_t kBins = kMostLog - kLeastLog + 1;
  static constexpr std::int64_t distance(std::size_t bin) { return std::int64_t{1} << (kLeastLog + static_cast<int>(bin)); }
  static std::size_t bin(std::int64_t distance);
  std::array<double, kBins> share{};
  bool known() const;
  // The shares when only some distances are told apart (ascending, at least one): a distance between two of them counts for both, in proportion to
  // its place between their logarithms; one outside counts for the nearest. All go to the greatest where nothing is known.
  std::vector<double> over(const std::vector<double>& distances) const;
  bool operator==(const Reuse&) const = default;
};

// By index into Program::shapes, over all executions in a steady step of all roles; all shares are 0 for a shape that no compute instruction uses.
// The distance of an operand counts every byte that instructions touched from the one that last touched it (inclusive) to this one (exclusive), in
// issue order and at the addresses that the arena gives the buffers: so it is what a set of operands that are used in turn takes together, when the
// same operator runs again and again. Communication counts as its rank's own touches; a rank that takes turns with others on one core is not seen.
std::vector<Reuse> reuse(const program::Program& program);

}  // namespace orrery::cost
