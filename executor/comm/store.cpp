#include "executor/comm/store.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <limits>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "core/error.h"
#include "executor/comm/bytes.h"
#include "executor/comm/socket.h"

namespace orrery::executor {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::uint32_t kMagic = 0x5952524f, kVersion = 1;  // "ORRY" where bytes lie as on x86: another order of bytes is another protocol
constexpr std::uint32_t kGreetingBytes = 64;                // most that a stranger may send
constexpr std::size_t kMostBytes = std::size_t{64} << 20U;  // of a value
constexpr std::size_t kMostFrame = std::size_t{256} << 20U;
constexpr std::size_t kLeastPiece = std::size_t{64} << 10U;  // gathered at a time, of each process
constexpr milliseconds kGreeting{10'000};                    // for a stranger to say who it is
constexpr milliseconds kGoodbye{10'000};                     // for the others to leave
constexpr milliseconds kGrace{10'000};                       // beyond the patience that process 0 has, before it is given up
constexpr int kRetryMs = 50;                                 // between attempts to reach process 0
constexpr int kQuestions = 16;                               // about the time

enum class Ask : std::uint8_t { greet, set, get, gather, abort, clock, leave };
enum class Answer : std::uint8_t { value, refused, failed };

std::int64_t now_ns() { return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count(); }

std::string reason_of(int error) { return std::strerror(error); }  // NOLINT(concurrency-mt-unsafe): glibc's is safe for known numbers

bool is_loopback(const std::string& address) { return address == "localhost" || address == "::1" || address.rfind("127.", 0) == 0; }

std::string frame(const std::string& body) {
  ByteWriter w;
  w.put(static_cast<std::uint32_t>(body.size()));
  return w.take() + body;
}

// "process 2", "processes 2 and 3", "processes 2, 3, 4 and 9 more".
std::string processes_text(const std::vector<std::int64_t>& which) {
  if (which.size() == 1) return fmt::format("process {}", which[0]);
  constexpr std::size_t kNamed = 8;
  const std::size_t named = which.size() > kNamed ? kNamed : which.size() - 1;
  std::string text = fmt::format("processes {}", fmt::join(which.begin(), which.begin() + static_cast<std::ptrdiff_t>(named), ", "));
  return text + (which.size() > kNamed ? fmt::format(" and {} more", which.size() - named) : fmt::format(" and {}", which.back()));
}

std::string seconds_text(milliseconds t) { return fmt::format("{} s", static_cast<double>(t.count()) / 1000); }

// --- Process 0's side ----------------------------------------------------------------------------------------------------------------------------

// One thread looks after all connections and never blocks on any.
class Server {
 public:
  explicit Server(const StoreSettings& settings) : settings_(settings) {
    listen();
    wake_ = Socket(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_) throw Error("processes", fmt::format("process 0 cannot make an eventfd: {}", reason_of(errno)));
    here_.resize(static_cast<std::size_t>(settings_.processes));
    all_here_by_ = Clock::now() + settings_.patience;
    thread_ = std::thread([this] { serve(); });
  }
  // Waits until all have left, or for a while.
  ~Server() {
    stopping_ = true;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(wake_.fd(), &one, sizeof one);
    thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  int port() const { return port_; }

 private:
  struct Connection {
    Socket socket;
    std::int64_t process = -1;  // -1: has not said
    Clock::time_point greeting_by;
    std::string in, out;
    std::size_t sent = 0;
    bool left = false;  // said goodbye
    bool ends = false;  // once what is to be sent is sent
    bool broken = false;
  };
  struct Waiting {
    Connection* connection;
    std::uint64_t id;
    std::string key;
    milliseconds patience;
    std::optional<Clock::time_point> until;
  };
  struct Gathering {
    std::vector<std::optional<std::string>> values;
    std::vector<bool> wants;
    std::vector<Waiting> waiting;
    std::size_t there = 0;
  };

  void listen() {
    port_ = settings_.port;
    listener_ = listen_at(port_, is_loopback(settings_.address), settings_.address == "::1");
    if (listener_) return;
    const int error = errno;
    throw Error("processes", fmt::format("process 0 cannot listen at port {}: {}", settings_.port, reason_of(error)),
                error == EADDRINUSE ? "another run meets there: set MASTER_PORT to another port, in all processes" : "");
  }

  void serve() {
    std::vector<pollfd> fds;
    std::vector<Connection*> of;
    std::optional<Clock::time_point> goodbye_by;
    for (;;) {
      if (stopping_ && !goodbye_by) goodbye_by = Clock::now() + kGoodbye;
      if (goodbye_by && (connections_.empty() || Clock::now() >= *goodbye_by)) return;
      fds.assign({{listener_.fd(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}});
      of.clear();
      for (Connection& c : connections_) {
        fds.push_back({c.socket.fd(), static_cast<short>(c.out.size() > c.sent ? POLLIN | POLLOUT : POLLIN), 0});
        of.push_back(&c);
      }
      const auto next = next_deadline(goodbye_by);
      // Rounded up, so that the deadline has passed on waking.
      const auto left = next ? std::chrono::ceil<milliseconds>(*next - Clock::now()).count() : -1;
      const int timeout = !next ? -1 : static_cast<int>(std::clamp<std::int64_t>(left, 0, std::numeric_limits<int>::max()));
      if (poll(fds.data(), fds.size(), timeout) < 0 && errno != EINTR) return;
      if (fds[1].revents) {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto read_bytes = read(wake_.fd(), &count, sizeof count);
      }
      for (std::size_t i = 0; i < of.size(); ++i)
        if (fds[i + 2].revents & (POLLIN | POLLHUP | POLLERR)) take(*of[i]);
      if (fds[0].revents) accept_all();
      look_at_clock();
      for (Connection& c : connections_) flush(c);
      drop_closed();
    }
  }

  std::optional<Clock::time_point> next_deadline(std::optional<Clock::time_point> next) const {
    const auto consider = [&](Clock::time_point t) { next = next ? std::min(*next, t) : t; };
    if (all_here_by_) consider(*all_here_by_);
    for (const Connection& c : connections_)
      if (c.process < 0) consider(c.greeting_by);
    for (const Waiting& w : waiting_)
      if (w.until) consider(*w.until);
    for (const auto& [what, g] : gatherings_)
      for (const Waiting& w : g.waiting)
        if (w.until) consider(*w.until);
    return next;
  }

  void accept_all() {
    for (;;) {
      Socket s(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!s) return;
      notice_silence(s.fd());
      Connection& c = connections_.emplace_back();
      c.socket = std::move(s);
      c.greeting_by = Clock::now() + kGreeting;
    }
  }

  void take(Connection& c) {
    char buffer[65536];
    for (;;) {
      const ssize_t n = recv(c.socket.fd(), buffer, sizeof buffer, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (n <= 0) {
        c.broken = true;
        break;
      }
      if (!c.ends) c.in.append(buffer, static_cast<std::size_t>(n));
      if (c.process < 0 && c.in.size() > kGreetingBytes) break;
    }
    std::size_t at = 0;
    while (!c.ends && c.in.size() - at >= sizeof(std::uint32_t)) {
      std::uint32_t size = 0;
      std::memcpy(&size, c.in.data() + at, sizeof size);
      if (size > (c.process < 0 ? kGreetingBytes : kMostFrame)) {
        not_ours(c);
        break;
      }
      if (c.in.size() - at - sizeof size < size) break;
      try {
        handle(c, std::string_view(c.in).substr(at + sizeof size, size));
      } catch (const Error&) {
        not_ours(c);
      }
      at += sizeof size + size;
    }
    if (c.ends)
      c.in.clear();
    else
      c.in.erase(0, at);
  }

  // Somebody who speaks another language: no business of the run's, unless it had said that it was one of us.
  void not_ours(Connection& c) {
    if (c.process >= 0) fail(fmt::format("process {} sent what is no message", c.process));
    c.ends = true;
  }

  void answer(Connection& c, std::uint64_t id, Answer kind, std::string_view payload) {
    ByteWriter w;
    w.put(static_cast<std::uint32_t>(1 + sizeof id + payload.size()));
    w.put(kind);
    w.put(id);
    c.out += w.take();
    c.out += payload;
  }

  void handle(Connection& c, std::string_view body) {
    ByteReader r(body);
    const Ask ask = r.get<Ask>();
    const auto id = r.get<std::uint64_t>();
    if (c.process < 0) {
      if (ask != Ask::greet) return not_ours(c);
      return greet(c, r);
    }
    if (!failure_.empty() && ask != Ask::leave) return answer(c, id, Answer::refused, failure_);
    switch (ask) {
      case Ask::greet:
        return not_ours(c);
      case Ask::set: {
        const std::string key = r.text();
        values_[key] = r.text();
        answer(c, id, Answer::value, {});
        std::erase_if(waiting_, [&](const Waiting& w) {
          if (w.key != key) return false;
          answer(*w.connection, w.id, Answer::value, values_[key]);
          return true;
        });
        return;
      }
      case Ask::get: {
        const milliseconds patience{r.get<std::int64_t>()};
        const std::string key = r.text();
        if (const auto found = values_.find(key); found != values_.end()) return answer(c, id, Answer::value, found->second);
        waiting_.push_back({&c, id, key, patience, until(patience)});
        return;
      }
      case Ask::gather:
        return gather(c, id, r);
      case Ask::abort:
        return fail(r.text());
      case Ask::clock: {
        ByteWriter w;
        w.put(now_ns());
        return answer(c, id, Answer::value, w.take());
      }
      case Ask::leave:
        c.left = true;
        return;
    }
    not_ours(c);
  }

  static std::optional<Clock::time_point> until(milliseconds patience) {
    if (patience.count() <= 0) return std::nullopt;
    return Clock::now() + patience;
  }

  void greet(Connection& c, ByteReader& r) {
    const auto magic = r.get<std::uint32_t>(), version = r.get<std::uint32_t>();
    if (magic != kMagic) return not_ours(c);
    const auto process = r.get<std::int64_t>(), processes = r.get<std::int64_t>();
    std::string wrong;
    if (version != kVersion)
      wrong = fmt::format("process {} is of another version of Orrery than process 0", process);
    else if (processes != settings_.processes)
      wrong = fmt::format("process {} says that there are {} processes, process 0 that there are {}", process, processes, settings_.processes);
    else if (process < 0 || process >= processes)
      wrong = fmt::format("there is no process {} of {}", process, processes);
    else if (here_[static_cast<std::size_t>(process)])
      wrong = fmt::format("two processes say that they are number {} of {}", process, processes);
    if (!wrong.empty()) {
      answer(c, 0, Answer::refused, wrong);
      c.ends = true;
      return;
    }
    c.process = process;
    here_[static_cast<std::size_t>(process)] = true;
    answer(c, 0, Answer::value, {});
    if (!failure_.empty()) answer(c, 0, Answer::failed, failure_);
    if (std::all_of(here_.begin(), here_.end(), [](bool b) { return b; })) all_here_by_.reset();
  }

  void gather(Connection& c, std::uint64_t id, ByteReader& r) {
    const milliseconds patience{r.get<std::int64_t>()};
    const bool wants = r.get<std::uint8_t>() != 0;
    const std::string what = r.text();
    Gathering& g = gatherings_[what];
    const auto n = static_cast<std::size_t>(settings_.processes), me = static_cast<std::size_t>(c.process);
    g.values.resize(n);
    g.wants.resize(n);
    if (g.values[me]) return not_ours(c);
    g.values[me] = r.text();
    g.wants[me] = wants;
    g.waiting.push_back({&c, id, what, patience, until(patience)});
    if (++g.there < n) return;
    ByteWriter w;
    for (const auto& v : g.values) w.text(*v);
    const std::string all = w.take();
    for (const Waiting& each : g.waiting)
      answer(*each.connection, each.id, Answer::value,
             g.wants[static_cast<std::size_t>(each.connection->process)] ? std::string_view(all) : std::string_view());
    gatherings_.erase(what);
  }

  // Tells everybody, also those who are not waiting for anything.
  void fail(const std::string& why) {
    if (!failure_.empty()) return;
    failure_ = why.empty() ? "aborted" : why;
    all_here_by_.reset();
    waiting_.clear();
    gatherings_.clear();
    for (Connection& c : connections_)
      if (c.process >= 0) answer(c, 0, Answer::failed, failure_);
  }

  void look_at_clock() {
    const Clock::time_point now = Clock::now();
    const auto absent = [](const auto& is_there) {
      std::vector<std::int64_t> out;
      for (std::size_t p = 0; p < is_there.size(); ++p)
        if (!is_there[p]) out.push_back(static_cast<std::int64_t>(p));
      return out;
    };
    if (all_here_by_ && now >= *all_here_by_)
      fail(fmt::format("{} of {} did not come to {}:{} within {}", processes_text(absent(here_)), settings_.processes, settings_.address, port_,
                       seconds_text(settings_.patience)));
    for (const Waiting& w : waiting_)
      if (w.until && now >= *w.until)
        return fail(fmt::format("process {} waited {} for '{}', which nobody has set", w.connection->process, seconds_text(w.patience), w.key));
    for (const auto& [what, g] : gatherings_)
      for (const Waiting& w : g.waiting)
        if (w.until && now >= *w.until)
          return fail(fmt::format("{} of {} did not come to '{}' within {}", processes_text(absent(g.values)), settings_.processes,
                                  what.substr(0, what.find('#')), seconds_text(w.patience)));
    for (Connection& c : connections_)
      if (c.process < 0 && now >= c.greeting_by) c.ends = true;
  }

  void flush(Connection& c) {
    while (!c.broken && c.sent < c.out.size()) {
      const ssize_t n = send(c.socket.fd(), c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
      if (n > 0) {
        c.sent += static_cast<std::size_t>(n);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      } else if (errno != EINTR) {
        c.broken = true;
      }
    }
    c.out.clear();
    c.sent = 0;
  }

  void drop_closed() {
    // A failure may add to what others are sent, so deaths first.
    for (const Connection& c : connections_)
      if (c.broken && c.process >= 0 && !c.left) fail(fmt::format("process {} of {} has died", c.process, settings_.processes));
    connections_.remove_if([&](const Connection& c) {
      const bool over = c.broken || (c.ends && c.sent == c.out.size());
      if (over) {
        const auto of_it = [&](const Waiting& w) { return w.connection == &c; };
        std::erase_if(waiting_, of_it);
        for (auto& [what, g] : gatherings_) std::erase_if(g.waiting, of_it);
      }
      return over;
    });
  }

  StoreSettings settings_;
  Socket listener_, wake_;
  int port_ = 0;
  std::list<Connection> connections_;
  std::vector<bool> here_;
  std::optional<Clock::time_point> all_here_by_;
  std::map<std::string, std::string> values_;
  std::vector<Waiting> waiting_;
  std::map<std::string, Gathering> gatherings_;
  std::string failure_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// --- Everybody's side ----------------------------------------------------------------------------------------------------------------------------

// Which machine, and since when it runs: two processes with the same have the same steady clock.
std::string machine() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return boot;
}

struct Reply {
  Answer kind = Answer::value;
  std::uint64_t id = 0;
  std::string payload;
};

std::optional<Reply> receive_reply(int fd) {
  std::uint32_t size = 0;
  if (!receive_all(fd, &size, sizeof size)) return std::nullopt;
  constexpr std::uint32_t kHead = 1 + sizeof(std::uint64_t);
  if (size < kHead || size > kMostFrame) return std::nullopt;
  char head[kHead];
  if (!receive_all(fd, head, kHead)) return std::nullopt;
  Reply r;
  ByteReader reader(std::string_view(head, kHead));
  r.kind = reader.get<Answer>();
  r.id = reader.get<std::uint64_t>();
  if (r.kind > Answer::failed) return std::nullopt;
  r.payload.resize(size - kHead);
  if (!receive_all(fd, r.payload.data(), r.payload.size())) return std::nullopt;
  return r;
}

bool send_text(int fd, std::string_view bytes) { return send_all(fd, bytes.data(), bytes.size()); }

std::string message(Ask ask, std::uint64_t id, const std::string& rest) {
  ByteWriter w;
  w.put(ask);
  w.put(id);
  return frame(w.take() + rest);
}

}  // namespace

struct KeyStore::State {
  explicit State(const StoreSettings& s) : settings(s) {}

  StoreSettings settings;
  std::unique_ptr<Server> server;  // in process 0
  int port = 0;
  Socket socket;
  std::mutex sending;  // whole messages
  std::thread reader;

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::uint64_t next_id = 1;
  std::map<std::uint64_t, std::optional<Reply>> replies;  // by question
  std::uint64_t gathers = 0;
  bool leaving = false;
  std::string failure;
  std::function<void(const std::string&)> watcher;
  bool watching = false;  // it runs
  std::optional<ClockOffset> same_clock;

  [[noreturn]] void refuse(const std::string& why) const { throw Error(fmt::format("process {} of {}", settings.process, settings.processes), why); }

  void reach() {
    const auto until = Clock::now() + settings.patience;
    // Its own server is on this machine, whatever the others call it.
    const std::string address = settings.process == 0 ? (settings.address == "::1" ? "::1" : "127.0.0.1") : settings.address;
    std::string why;
    for (;;) {
      const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
      if (Socket s = connect_to(address, port, left, why)) {
        ByteWriter w;
        w.put(kMagic);
        w.put(kVersion);
        w.put(settings.process);
        w.put(settings.processes);
        // Nobody who is slow to answer a greeting is process 0.
        limit_wait(s.fd(), SO_RCVTIMEO, kGreeting);
        if (send_text(s.fd(), message(Ask::greet, 0, w.take()))) {
          if (const auto reply = receive_reply(s.fd())) {
            if (reply->kind == Answer::refused) refuse(reply->payload);
            limit_wait(s.fd(), SO_RCVTIMEO, {});
            socket = std::move(s);
            if (reply->kind == Answer::failed) failure = reply->payload;
            return;
          }
        }
        why = "who listens there is no process of this run";
      }
      if (Clock::now() >= until)
        throw Error("processes",
                    fmt::format("process {} of {} did not reach {}:{} within {}: {}", settings.process, settings.processes, settings.address, port,
                                seconds_text(settings.patience), why),
                    "is process 0 running, and is that its machine? MASTER_ADDR and MASTER_PORT say where");
      poll(nullptr, 0, kRetryMs);
    }
  }

  void read() {
    while (auto reply = receive_reply(socket.fd())) {
      if (reply->kind == Answer::failed) {
        fail(reply->payload);
        continue;
      }
      const std::lock_guard lock(mutex);
      if (const auto found = replies.find(reply->id); found != replies.end()) {
        found->second = std::move(*reply);
        changed.notify_all();
      }
    }
    fail(fmt::format("process 0 of {} has died", settings.processes));
  }

  // On any thread. The first reason stays.
  void fail(const std::string& why) {
    std::unique_lock lock(mutex);
    if (leaving || !failure.empty()) return;
    failure = why;
    changed.notify_all();
    call_watcher(lock);
  }

  void call_watcher(std::unique_lock<std::mutex>& lock) {
    if (!watcher) return;
    const auto call = std::exchange(watcher, nullptr);
    const std::string why = failure;
    watching = true;
    lock.unlock();
    call(why);
    lock.lock();
    watching = false;
    changed.notify_all();
  }

  std::string ask(Ask what, const std::string& rest, milliseconds patience) {
    std::unique_lock lock(mutex);
    if (!failure.empty()) refuse(failure);
    const std::uint64_t id = next_id++;
    replies[id];
    lock.unlock();
    bool sent = false;
    {
      const std::lock_guard whole(sending);
      sent = send_text(socket.fd(), message(what, id, rest));
    }
    lock.lock();
    // A connection that ends is the reader's to explain: it may hold the reason still.
    const auto answered = [&] { return replies.at(id).has_value() || !failure.empty(); };
    const milliseconds most = patience.count() > 0 ? patience + kGrace : milliseconds{0};
    if (!sent)
      changed.wait_for(lock, kGrace, answered);
    else if (most.count() > 0)
      changed.wait_for(lock, most, answered);
    else
      changed.wait(lock, answered);
    std::optional<Reply> reply = std::move(replies.at(id));
    replies.erase(id);
    if (reply && reply->kind == Answer::value) return std::move(reply->payload);
    if (!failure.empty()) refuse(failure);
    refuse(reply ? reply->payload : "process 0 does not answer");
  }
};

KeyStore::KeyStore(const StoreSettings& settings, const std::function<void(int)>& meeting) : state_(std::make_unique<State>(settings)) {
  assert(settings.processes >= 1 && settings.process >= 0 && settings.process < settings.processes);
  State& s = *state_;
  if (settings.process == 0) s.server = std::make_unique<Server>(settings);
  s.port = s.server ? s.server->port() : settings.port;
  if (meeting) meeting(s.port);
  s.reach();
  s.reader = std::thread([&s] { s.read(); });
  try {
    const std::string mine = settings.machine.empty() ? machine() : settings.machine;
    // The server has its eye on who has not come; what it then says reaches all.
    const std::vector<std::string> machines = gather("the start", mine);
    if (settings.process == 0 || (!mine.empty() && machines.front() == mine)) s.same_clock = ClockOffset{};
  } catch (...) {
    shutdown(s.socket.fd(), SHUT_RDWR);
    s.reader.join();
    throw;
  }
}

KeyStore::~KeyStore() {
  State& s = *state_;
  watch({});
  {
    const std::lock_guard lock(s.mutex);
    s.leaving = true;
  }
  {
    const std::lock_guard whole(s.sending);
    send_text(s.socket.fd(), message(Ask::leave, 0, {}));
    shutdown(s.socket.fd(), SHUT_WR);
  }
  // Closed by the server, who has read the goodbye by then.
  s.reader.join();
}

std::int64_t KeyStore::process() const { return state_->settings.process; }
std::int64_t KeyStore::processes() const { return state_->settings.processes; }
int KeyStore::port() const { return state_->port; }

std::string KeyStore::local_address() const {
  sockaddr_storage mine{};
  socklen_t size = sizeof mine;
  char text[NI_MAXHOST] = {};
  if (getsockname(state_->socket.fd(), reinterpret_cast<sockaddr*>(&mine), &size) == 0)
    getnameinfo(reinterpret_cast<sockaddr*>(&mine), size, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  std::string address = text;
  if (address.rfind("::ffff:", 0) == 0) address = address.substr(7);  // of IPv4, in the words of IPv6
  return address.empty() || is_loopback(address) ? state_->settings.address : address;
}

void KeyStore::set(const std::string& key, const std::string& value) {
  if (value.size() > kMostBytes) throw Error("processes", fmt::format("'{}' has {} bytes, more than fit a message", key, value.size()));
  ByteWriter w;
  w.text(key);
  w.text(value);
  state_->ask(Ask::set, w.take(), state_->settings.patience);
}

std::string KeyStore::get(const std::string& key, milliseconds patience) {
  if (patience.count() <= 0) patience = state_->settings.patience;
  ByteWriter w;
  w.put(static_cast<std::int64_t>(patience.count()));
  w.text(key);
  return state_->ask(Ask::get, w.take(), patience);
}

std::vector<std::string> KeyStore::gather(const std::string& what, const std::string& mine, bool only_first, milliseconds patience) {
  State& s = *state_;
  const auto n = static_cast<std::size_t>(s.settings.processes);
  const bool wants = !only_first || s.settings.process == 0;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(s.mutex);
    number = s.gathers++;
  }
  std::size_t pieces = 0;
  const auto exchange = [&](std::string_view part, bool wanted) {
    ByteWriter w;
    w.put(static_cast<std::int64_t>(patience.count()));
    w.put(static_cast<std::uint8_t>(wanted));
    w.text(fmt::format("{}#{}.{}", what, number, pieces++));
    w.text(part);
    const std::string all = s.ask(Ask::gather, w.take(), patience);
    std::vector<std::string> parts(n);
    if (!wanted) return parts;
    ByteReader r(all);
    for (std::string& p : parts) p = r.text();
    return parts;
  };
  // In pieces, of which all processes' together fit a message: how many, the longest says.
  const std::size_t piece = std::max(kLeastPiece, kMostBytes / n);
  ByteWriter mine_first;
  mine_first.put(static_cast<std::uint64_t>(mine.size()));
  mine_first.text(std::string_view(mine).substr(0, piece));
  std::vector<std::string> out(n);
  std::size_t longest = 0;
  std::vector<std::string> parts = exchange(mine_first.take(), true);
  for (std::size_t p = 0; p < n; ++p) {
    ByteReader r(parts[p]);
    longest = std::max<std::size_t>(longest, r.get<std::uint64_t>());
    out[p] = r.text();
  }
  for (std::size_t at = piece; at < longest; at += piece) {
    parts = exchange(at < mine.size() ? std::string_view(mine).substr(at, piece) : std::string_view(), wants);
    for (std::size_t p = 0; p < n; ++p) out[p] += parts[p];
  }
  if (!wants) out.assign(n, {});
  return out;
}

ClockOffset KeyStore::clock() {
  State& s = *state_;
  if (s.same_clock) return *s.same_clock;
  ClockOffset best;
  best.uncertainty_ns = std::numeric_limits<std::int64_t>::max();
  for (int i = 0; i < kQuestions; ++i) {
    const std::int64_t from = now_ns();
    const std::string answer = s.ask(Ask::clock, {}, s.settings.patience);
    const std::int64_t to = now_ns(), half = (to - from + 1) / 2;
    if (half >= best.uncertainty_ns) continue;
    best.uncertainty_ns = half;
    best.offset_ns = ByteReader(answer).get<std::int64_t>() - (from + half);
  }
  return best;
}

void KeyStore::abort(const std::string& why) {
  State& s = *state_;
  {
    const std::lock_guard whole(s.sending);
    ByteWriter w;
    w.text(why);
    send_text(s.socket.fd(), message(Ask::abort, 0, w.take()));
  }
  s.fail(why);
}

void KeyStore::watch(std::function<void(const std::string&)> watcher) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  s.changed.wait(lock, [&] { return !s.watching; });
  s.watcher = std::move(watcher);
  if (!s.failure.empty()) s.call_watcher(lock);
}

std::string KeyStore::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failure;
}

}  // namespace orrery::executor
