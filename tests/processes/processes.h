// Processes for tests: forked while there is one thread only, they learn the port of the first and say how they fared.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "executor/comm/store.h"

namespace orrery::executor {

inline std::string caught(const std::function<std::string()>& body) {
  try {
    return body();
  } catch (const Error& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string("unexpected: ") + e.what();
  }
}

constexpr std::chrono::milliseconds kPatient{20'000};

// Runs `body(store)` in n threads, each a process of one run; returns what each returned or threw.
inline std::vector<std::string> in_threads(std::int64_t n, const std::function<std::string(std::unique_ptr<KeyStore>)>& body,
                                           std::chrono::milliseconds patience = kPatient, const std::vector<std::int64_t>& absent = {}) {
  std::vector<std::string> results(static_cast<std::size_t>(n));
  std::promise<int> port;
  std::shared_future<int> known = port.get_future().share();
  std::vector<std::thread> threads;
  for (std::int64_t p = 0; p < n; ++p) {
    if (std::find(absent.begin(), absent.end(), p) != absent.end()) continue;
    threads.emplace_back([&, p] {
      results[static_cast<std::size_t>(p)] = caught([&] {
        StoreSettings settings;
        settings.process = p, settings.processes = n, settings.patience = patience;
        if (p > 0) settings.port = known.get();
        return body(std::make_unique<KeyStore>(settings, [&](int here) {
          if (p == 0) port.set_value(here);
        }));
      });
    });
  }
  for (std::thread& t : threads) t.join();
  return results;
}

inline std::vector<std::string> in_threads(std::int64_t n, const std::function<std::string(KeyStore&)>& body,
                                           std::chrono::milliseconds patience = kPatient, const std::vector<std::int64_t>& absent = {}) {
  const std::function<std::string(std::unique_ptr<KeyStore>)> owner = [&](std::unique_ptr<KeyStore> store) { return body(*store); };
  return in_threads(n, owner, patience, absent);
}

// The same in forked processes; `body` gets what a KeyStore takes and hands the port on. A process that ends without a word leaves "".
inline std::vector<std::string> in_processes(std::int64_t n,
                                             const std::function<std::string(const StoreSettings&, const std::function<void(int)>&)>& body) {
  struct Pipe {
    int ends[2];
    Pipe() { EXPECT_EQ(pipe(ends), 0); }
  };
  std::vector<Pipe> ports(static_cast<std::size_t>(n)), results(static_cast<std::size_t>(n));
  std::vector<pid_t> children;
  for (std::int64_t p = 0; p < n; ++p) {
    const pid_t child = fork();
    if (child == 0) {
      const std::string result = caught([&] {
        StoreSettings settings;
        settings.process = p, settings.processes = n, settings.patience = kPatient;
        if (p > 0 && read(ports[static_cast<std::size_t>(p)].ends[0], &settings.port, sizeof settings.port) != sizeof settings.port) _exit(3);
        return body(settings, [&](int port) {
          if (p > 0) return;
          for (const Pipe& other : ports)
            if (write(other.ends[1], &port, sizeof port) != sizeof port) _exit(3);
        });
      });
      std::size_t done = 0;
      while (done < result.size()) {
        const ssize_t written = write(results[static_cast<std::size_t>(p)].ends[1], result.data() + done, result.size() - done);
        if (written <= 0) _exit(3);
        done += static_cast<std::size_t>(written);
      }
      _exit(0);
    }
    EXPECT_GT(child, 0);
    children.push_back(child);
  }
  std::vector<std::string> out;
  for (Pipe& p : results) close(p.ends[1]);
  for (Pipe& p : results) {
    std::string& text = out.emplace_back();
    char buffer[4096];
    for (ssize_t got; (got = read(p.ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(got));
    close(p.ends[0]);
  }
  for (const Pipe& p : ports) close(p.ends[0]), close(p.ends[1]);
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
  }
  return out;
}

}  // namespace orrery::executor
