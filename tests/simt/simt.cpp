#include "simt/simt.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

extern "C" void orrery_simt_swap(void** save, void* to);
// Leaves one stack for another: the registers that a call keeps (System V, x86-64).
asm(R"(
.globl orrery_simt_swap
orrery_simt_swap:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace orrery::simt {
namespace {

constexpr std::size_t kStack = std::size_t{256} << 10U, kWarp = 32, kMostThreads = 1024;

struct Barrier {
  unsigned waiting = 0, generation = 0;
};

struct Fiber {
  std::unique_ptr<char[]> stack;
  void* sp = nullptr;
  Extent at;
  std::size_t number = 0;
  bool done = true;
};

// The one launch that runs; a test binary launches from one thread.
struct Machine {
  Where now;
  std::vector<Fiber> fibers;
  Fiber* current = nullptr;
  void* scheduler = nullptr;
  const std::function<void()>* kernel = nullptr;
  std::vector<char> memory;
  std::size_t live = 0;
  Barrier block;
  bool any[2] = {false, false};  // sync_block_or's, by generation
  std::vector<Barrier> warps;
  std::vector<std::size_t> live_in_warp;
  std::vector<std::uint64_t> slots;
  bool moved = false;

  void yield() { orrery_simt_swap(&current->sp, scheduler); }
  void wait(Barrier& b) {
    const unsigned generation = b.generation;
    ++b.waiting;
    moved = true;
    while (b.generation == generation) yield();
  }
  Barrier& warp() { return warps[current->number / kWarp]; }
  void release() {
    if (block.waiting > 0 && block.waiting == live) block.waiting = 0, any[++block.generation % 2] = false;
    for (std::size_t w = 0; w < warps.size(); ++w)
      if (warps[w].waiting > 0 && warps[w].waiting == live_in_warp[w]) warps[w].waiting = 0, ++warps[w].generation;
  }
};
Machine& machine() {
  static Machine one;
  return one;
}

[[noreturn]] void fail(const char* what, Extent grid, Extent block) {
  std::fprintf(stderr, "%s: grid %u x %u x %u, block %u x %u x %u\n", what, grid.x, grid.y, grid.z, block.x, block.y, block.z);
  std::abort();
}

void enter() {
  Machine& m = machine();
  (*m.kernel)();
  m.current->done = true;
  --m.live, --m.live_in_warp[m.current->number / kWarp];
  m.moved = true;
  for (;;) m.yield();
}

void prepare(Fiber& f, std::size_t number, Extent block) {
  if (!f.stack) f.stack.reset(new char[kStack]);
  const auto t = static_cast<unsigned>(number);
  f.number = number, f.done = false, f.at = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
  auto** sp = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(f.stack.get() + kStack) & ~std::uintptr_t{15});
  *--sp = nullptr;  // enter() begins as if it had been called: 8 below a multiple of 16
  *--sp = reinterpret_cast<void*>(&enter);
  for (int saved = 0; saved < 6; ++saved) *--sp = nullptr;
  f.sp = sp;
}

}  // namespace

const Where& where() { return machine().now; }
unsigned lane() { return static_cast<unsigned>(machine().current->number % kWarp); }
void* dynamic_memory() { return machine().memory.data(); }
void sync_block() { machine().wait(machine().block); }
void sync_warp() { machine().wait(machine().warp()); }

bool sync_block_or(bool value) {
  Machine& m = machine();
  bool& any = m.any[m.block.generation % 2];
  any = any || value;
  m.wait(m.block);
  const bool result = any;
  m.wait(m.block);
  return result;
}

std::uint64_t exchange(std::uint64_t value, unsigned from) {
  Machine& m = machine();
  const std::size_t first = m.current->number / kWarp * kWarp;
  m.slots[m.current->number] = value;
  sync_warp();
  const std::uint64_t theirs = m.slots[first + from];
  sync_warp();
  return theirs;
}

unsigned ballot(bool value) {
  Machine& m = machine();
  const std::size_t first = m.current->number / kWarp * kWarp;
  m.slots[m.current->number] = value ? 1 : 0;
  sync_warp();
  unsigned votes = 0;
  for (std::size_t i = 0; i < kWarp; ++i) votes |= static_cast<unsigned>(m.slots[first + i]) << i;
  sync_warp();
  return votes;
}

void run(Extent grid, Extent block, std::size_t bytes, const std::function<void()>& kernel) {
  Machine& m = machine();
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
    fail("no device takes such a launch", grid, block);
  m.kernel = &kernel;
  m.now.of_grid = grid, m.now.of_block = block;
  m.memory.assign(bytes + 1, '\xff');
  if (m.fibers.size() < threads) m.fibers.resize(threads);
  const std::size_t warps = (threads + kWarp - 1) / kWarp;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        m.now.block = {x, y, z};
        m.live = threads, m.block = {}, m.any[0] = m.any[1] = false;
        m.warps.assign(warps, {});
        m.live_in_warp.assign(warps, kWarp);
        if (threads % kWarp != 0) m.live_in_warp.back() = threads % kWarp;
        m.slots.assign(warps * kWarp, 0);
        for (std::size_t t = 0; t < threads; ++t) prepare(m.fibers[t], t, block);
        while (m.live > 0) {
          m.moved = false;
          for (std::size_t t = 0; t < threads; ++t) {
            Fiber& f = m.fibers[t];
            if (f.done) continue;
            m.current = &f, m.now.thread = f.at;
            orrery_simt_swap(&m.scheduler, f.sp);
          }
          if (!m.moved) fail("a block's threads wait for each other for ever", grid, block);
          m.release();
        }
      }
}

}  // namespace orrery::simt
