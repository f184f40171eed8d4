// Where the processes of a run meet: values by key, kept by process 0 and reached over TCP.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace orrery::executor {

// How far this process's steady clock is behind that of process 0: theirs = ours + offset_ns, give or take uncertainty_ns. Both are 0 where the two
// share a machine.
struct ClockOffset {
  std::int64_t offset_ns = 0, uncertainty_ns = 0;
};

struct StoreSettings {
  std::int64_t process = 0, processes = 1;
  std::string address = "127.0.0.1";                             // of process 0
  int port = 0;                                                  // 0, in process 0 only: any; see KeyStore::port
  std::chrono::milliseconds patience = std::chrono::minutes(1);  // with those who are to come, and with keys that are to be set
  std::string machine{};  // processes with the same have one steady clock; empty: this machine's, since it was started
};

// One process's end. All methods may be called from any thread. Every error (a process that does not come, one that dies, one that aborts) reaches
// all processes: their calls throw Error, which says who it was, and the watcher is called.
class KeyStore {
 public:
  // Process 0 serves all, in a thread of its own. Blocks until all processes are there; throws Error naming those that do not come in time. `meeting`
  // is told the port once process 0 listens, before it waits for the others.
  explicit KeyStore(const StoreSettings& settings, const std::function<void(int port)>& meeting = {});
  // Says goodbye; process 0 waits a while until the others have, too.
  ~KeyStore();
  KeyStore(const KeyStore&) = delete;
  KeyStore& operator=(const KeyStore&) = delete;

  std::int64_t process() const;
  std::int64_t processes() const;
  int port() const;
  // By which the other processes reach this one: its end of the connection to process 0, or, on process 0's own machine, that machine's.
  std::string local_address() const;

  // Setting a key twice replaces it. At most 64 MiB.
  void set(const std::string& key, const std::string& value);
  // Blocks until somebody has set it; patience 0: the settings'.
  std::string get(const std::string& key, std::chrono::milliseconds patience = {});
  // What every process brought, in their order; every process makes the same calls in the same order. With `only_first`, processes but the first get
  // nothing back. Waits for as long as all live, or for `patience`, and then names who is missing from `what`.
  std::vector<std::string> gather(const std::string& what, const std::string& mine, bool only_first = false, std::chrono::milliseconds patience = {});
  // By a few questions and answers: the one that took least bounds the error by half its time.
  ClockOffset clock();

  // Makes every call of every process fail with this reason, from now on. The first reason stays.
  void abort(const std::string& why);
  // Called once, with the reason, when anything has failed: on a thread of the store's, or at once where it is known already. Empty: no longer; one
  // that is running is waited for.
  void watch(std::function<void(const std::string& why)> watcher);
  // Empty: nothing has failed.
  std::string failure() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace orrery::executor
