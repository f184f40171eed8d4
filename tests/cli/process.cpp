#include "cli/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <sstream>

namespace orrery {
namespace {

std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> words;
  std::istringstream in(command);
  for (std::string word; in >> word;) words.push_back(word == "''" ? "" : word);
  return words;
}

// In the child: becomes the program, with these as its stdout and stderr.
[[noreturn]] void become(const std::vector<std::string>& words, const std::string& folder, const std::vector<std::string>& environment, int out,
                         int err) {
  std::vector<char*> argv{const_cast<char*>("orrery")};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  unsetenv("NO_COLOR");
  unsetenv("ORRERY_DATA");
  for (const std::string& variable : environment) putenv(const_cast<char*>(variable.c_str()));
  signal(SIGINT, SIG_DFL);  // a shell that runs tests in the background ignores it, and so would we
  if (chdir(folder.c_str()) != 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) _exit(126);
  execv(ORRERY_PROGRAM, argv.data());
  _exit(127);
}

// Reads both streams to their ends and waits for the child.
Finished collect(pid_t child, int out, int err, const std::function<bool(const std::string&)>& now) {
  Finished result;
  bool signalled = !now;
  std::array<pollfd, 2> fds{{{out, POLLIN, 0}, {err, POLLIN, 0}}};
  std::array<std::string*, 2> texts{&result.out, &result.err};
  for (int open = (out >= 0 ? 1 : 0) + 1; open > 0;) {
    if (poll(fds.data(), fds.size(), -1) < 0) break;
    for (std::size_t i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      std::array<char, 1 << 16> block;
      const ssize_t n = read(fds[i].fd, block.data(), block.size());
      if (n <= 0) {  // the end; a pseudo-terminal ends with EIO
        close(fds[i].fd);
        fds[i].fd = -1;
        --open;
      } else {
        texts[i]->append(block.data(), static_cast<std::size_t>(n));
      }
    }
    if (!signalled && now(result.err)) {
      kill(child, SIGINT);
      signalled = true;
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

Finished start(const std::string& command, const std::string& folder, const std::vector<std::string>& environment, int given_out, int err_read,
               int err_write, const std::function<bool(const std::string&)>& now) {
  const std::vector<std::string> words = words_of(command);
  std::array<int, 2> out{-1, given_out};
  if (given_out < 0 && pipe2(out.data(), O_CLOEXEC) != 0) return {};
  const pid_t child = fork();
  if (child == 0) become(words, folder, environment, out[1], err_write);
  close(out[1]);
  close(err_write);
  return collect(child, out[0], err_read, now);
}

}  // namespace

Finished orrery(const std::string& command, const std::string& folder, const std::vector<std::string>& environment) {
  std::array<int, 2> err{};
  if (pipe2(err.data(), O_CLOEXEC) != 0) return {};
  return start(command, folder, environment, -1, err[0], err[1], {});
}

Finished orrery_into(const std::string& out, const std::string& command, const std::string& folder) {
  std::array<int, 2> err{};
  if (pipe2(err.data(), O_CLOEXEC) != 0) return {};
  return start(command, folder, {}, open(out.c_str(), O_WRONLY | O_CLOEXEC), err[0], err[1], {});
}

Finished orrery_interrupted(const std::string& command, const std::string& folder, const std::function<bool(const std::string& err)>& now) {
  int ours = -1, theirs = -1;
  if (openpty(&ours, &theirs, nullptr, nullptr, nullptr) != 0) return {};
  fcntl(ours, F_SETFD, FD_CLOEXEC);
  fcntl(theirs, F_SETFD, FD_CLOEXEC);
  return start(command, folder, {}, -1, ours, theirs, now);
}

}  // namespace orrery
