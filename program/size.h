// How much a Program holds, which is what compiling costs.
#pragma once

#include <cstddef>

#include "program/program.h"

namespace orrery::program {

// Bytes, texts included, allocator's overhead not.
struct Size {
  std::size_t templates = 0;  // everything but the order of passes: depends on layers and stages, not on how many micro-batches or ranks there are
  std::size_t order = 0;      // sizeof(PassInstance) for each pass of each role
  bool operator==(const Size&) const = default;
};
Size size(const Program& program);

}  // namespace orrery::program
