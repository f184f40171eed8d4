// A file descriptor that is closed once, and what all TCP connections between processes have set.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

namespace orrery::executor {

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) close(), fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

inline void set_option(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

// So that a machine that goes away without a word is noticed: after 15 + 3 * 5 s of silence, or 30 s of data that nobody takes.
inline void notice_silence(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30'000);
}

// Of a blocking call on the socket; 0: none. `which`: SO_RCVTIMEO or SO_SNDTIMEO.
inline void limit_wait(int fd, int which, std::chrono::milliseconds most) {
  const timeval limit{most.count() / 1000, most.count() % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, which, &limit, sizeof limit);
}

// Exactly n bytes; false where the connection ends before.
inline bool receive_all(int fd, void* to, std::size_t n) {
  auto* at = static_cast<char*>(to);
  while (n > 0) {
    const ssize_t got = recv(fd, at, n, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    n -= static_cast<std::size_t>(got);
  }
  return true;
}

inline bool send_all(int fd, const void* from, std::size_t n) {
  const auto* at = static_cast<const char*>(from);
  while (n > 0) {
    const ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    n -= static_cast<std::size_t>(sent);
  }
  return true;
}

// A socket that listens at `port` (0: any) of all addresses, or of the loopback's with `loopback` or, in IPv6, `loopback6`. `port` becomes the one
// that it has; an empty socket leaves errno.
Socket listen_at(int& port, bool loopback, bool loopback6);

// One attempt, of at most `most`. Empty socket: `why` says what happened.
Socket connect_to(const std::string& address, int port, std::chrono::milliseconds most, std::string& why);

}  // namespace orrery::executor
