// Runs a CUDA kernel on the CPU: blocks one after the other, the threads of a block by turns, each until it waits for others or ends. What it finds
// are wrong indices, wrong order and barriers that not all reach; not what two blocks do to each other, nor how fast anything is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace orrery::simt {

struct Extent {
  unsigned x = 1, y = 1, z = 1;
  Extent() = default;
  Extent(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Of the thread that runs.
struct Where {
  Extent thread, block, of_block, of_grid;
};
const Where& where();
unsigned lane();

// Each waits for all threads of the block, or of the warp, that have not ended.
void sync_block();
bool sync_block_or(bool value);
void sync_warp();
std::uint64_t exchange(std::uint64_t value, unsigned from);  // the value of that lane
unsigned ballot(bool value);
void* dynamic_memory();

// Aborts the process, saying why, on a launch that no device takes and on a block that waits for ever.
void run(Extent grid, Extent block, std::size_t bytes, const std::function<void()>& kernel);

class Launch {
 public:
  Launch(Extent grid, Extent block, std::size_t bytes) : grid_(grid), block_(block), bytes_(bytes) {}
  // What, called with the kernel's arguments, runs it.
  template <class Kernel>
  auto of(const Kernel& kernel) const {
    return [*this, kernel](const auto&... arguments) { run(grid_, block_, bytes_, [&] { kernel(arguments...); }); };
  }

 private:
  Extent grid_, block_;
  std::size_t bytes_;
};

}  // namespace orrery::simt
