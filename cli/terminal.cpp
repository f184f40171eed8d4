#include "cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "core/error.h"

namespace orrery::cli {
namespace {

std::atomic<bool> pressed{false};  // a signal handler can reach nothing else

extern "C" void on_interrupt(int) {
  if (pressed.exchange(true)) _exit(130);
}

}  // namespace

const std::atomic<bool>& interrupted() { return pressed; }

void watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw Error("stdout", fmt::format("cannot be written: {}", std::generic_category().message(errno)));
}

const Style& style() {
  static const Style colours{"\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m", {"\033[36m", "\033[33m", "\033[33m", "\033[32m", "\033[35m"}};
  static const Style plain{};
  static const bool colour = isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
  return colour ? colours : plain;
}

std::size_t terminal_width() {
  struct winsize size {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 120;
  return std::clamp<std::size_t>(size.ws_col, 80, 200);
}

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)) {}

ProgressBar::~ProgressBar() {
  if (drawn_) fmt::print(stderr, "\r\033[K");
}

void ProgressBar::update(std::int64_t done, std::int64_t of, std::string_view note) {
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  if (!terminal || of <= 0) return;
  const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  if (done < of && now - last_ns_ < 100'000'000) return;
  last_ns_ = now;
  drawn_ = true;
  constexpr std::int64_t kWidth = 30;
  const auto filled = static_cast<std::size_t>(kWidth * done / of);
  fmt::print(stderr, "\r\033[K{} [{}{}] {}/{} {}", label_, std::string(filled, '#'), std::string(static_cast<std::size_t>(kWidth) - filled, '.'),
             done, of, note);
  std::fflush(stderr);
}

}  // namespace orrery::cli
