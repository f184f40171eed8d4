// What depends on there being a person in front of the program.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace orrery::cli {

// True once Ctrl-C was pressed; the second Ctrl-C ends the program at once.
const std::atomic<bool>& interrupted();
void watch_interrupts();

// A result, to stdout at once. Throws Error where it cannot be written, e.g. to a full disk.
void print(std::string_view text);

// ANSI colours, empty unless stdout is a terminal and NO_COLOR is unset.
struct Style {
  std::string_view bold, dim, good, bad, reset;
  std::array<std::string_view, 5> passes;  // forward, backward, input gradient, weight gradient, overlapped pair
};
const Style& style();

// Columns of the terminal that stdout is, from 80 to 200; 120 where it is none.
std::size_t terminal_width();

// A bar on stderr, drawn only on a terminal and at most ten times a second; gone when the object is.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void update(std::int64_t done, std::int64_t of, std::string_view note = {});

 private:
  std::string label_;
  std::int64_t last_ns_ = 0;
  bool drawn_ = false;
};

}  // namespace orrery::cli
