#include "executor/comm/socket.h"

#include <netdb.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace orrery::executor {

Socket listen_at(int& port, bool loopback, bool loopback6) {
  // Where the machine has both, one socket takes both.
  for (const int family : {loopback && !loopback6 ? AF_INET : AF_INET6, AF_INET}) {
    Socket s(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!s) continue;
    set_option(s.fd(), SOL_SOCKET, SO_REUSEADDR, 1);
    sockaddr_in6 six{};
    sockaddr_in four{};
    if (family == AF_INET6) set_option(s.fd(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
    six.sin6_family = AF_INET6;
    four.sin_family = AF_INET;
    six.sin6_port = four.sin_port = htons(static_cast<std::uint16_t>(port));
    six.sin6_addr = loopback ? in6addr_loopback : in6addr_any;
    four.sin_addr.s_addr = htonl(loopback ? INADDR_LOOPBACK : INADDR_ANY);
    auto* address = family == AF_INET6 ? reinterpret_cast<sockaddr*>(&six) : reinterpret_cast<sockaddr*>(&four);
    socklen_t size = family == AF_INET6 ? sizeof six : sizeof four;
    if (bind(s.fd(), address, size) != 0 || listen(s.fd(), SOMAXCONN) != 0) {
      if (family == AF_INET6 && errno != EADDRINUSE) continue;  // a machine without IPv6
      return Socket();
    }
    getsockname(s.fd(), address, &size);
    port = ntohs(family == AF_INET6 ? six.sin6_port : four.sin_port);
    return s;
  }
  return Socket();
}

Socket connect_to(const std::string& address, int port, std::chrono::milliseconds most, std::string& why) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int error = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found); error != 0) {
    why = gai_strerror(error);
    return Socket();
  }
  Socket s;
  for (const addrinfo* a = found; a && !s; a = a->ai_next) {
    s = Socket(::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
    if (s) limit_wait(s.fd(), SO_SNDTIMEO, std::max(most, std::chrono::milliseconds{1}));  // Linux limits connect by it, too
    if (!s || connect(s.fd(), a->ai_addr, a->ai_addrlen) != 0) {
      why = errno == EINPROGRESS ? "no answer" : std::strerror(errno);
      s.close();
    }
  }
  freeaddrinfo(found);
  if (!s) return s;
  limit_wait(s.fd(), SO_SNDTIMEO, {});
  notice_silence(s.fd());
  return s;
}

}  // namespace orrery::executor
