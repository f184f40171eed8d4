#include "core/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace orrery {
namespace fs = std::filesystem;
namespace {

// An open file; closing may fail (a full disk on a network file system), so a writer closes by hand and looks.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

std::string reason() { return std::generic_category().message(errno); }

[[noreturn]] void fail(const fs::path& path, const std::string& what, const std::string& hint = {}) { throw Error(path.string(), what, hint); }

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

fs::path folder_of(const fs::path& file) { return file.has_parent_path() ? file.parent_path() : fs::path("."); }

// The file that a write to `path` replaces; nothing for a device or a pipe, which is written directly. Throws Error for what cannot be written.
std::optional<fs::path> target_of(const fs::path& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_directory(status)) fail(path, "is a directory, not a file");
  if (fs::exists(status) && !fs::is_regular_file(status)) return std::nullopt;

  // Renaming onto a link would replace the link; what the user means is the file behind it.
  fs::path target = path;
  if (fs::is_symlink(fs::symlink_status(path, ignored))) {
    std::error_code broken;
    target = fs::weakly_canonical(path, broken);
    if (broken) fail(path, "cannot be written: " + broken.message());
  }
  const fs::path folder = folder_of(target);
  if (!fs::is_directory(folder, ignored)) {
    if (fs::exists(folder, ignored)) fail(path, "cannot be written: " + folder.string() + " is not a folder");
    fail(path, "cannot be written: no such folder: " + folder.string(), "make it first: mkdir -p " + folder.string());
  }
  // A file that may not be written may still be replaced by rename: ask first.
  if (::access((fs::exists(status) ? target : folder).c_str(), W_OK) != 0) fail(path, "cannot be written: " + reason());
  return target;
}

void write_directly(const fs::path& path, std::string_view text) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.get() < 0 || !write_all(file.get(), text) || !file.close()) fail(path, "cannot be written: " + reason());
}

}  // namespace

std::string read_text_file(const fs::path& path, std::size_t limit) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail(path, errno == ENOENT ? "no such file" : "cannot be read: " + reason());
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail(path, "cannot be read: " + reason());
  if (S_ISDIR(status.st_mode)) fail(path, "is a directory, not a file");
  std::string text;
  if (S_ISREG(status.st_mode) && status.st_size > 0 && static_cast<std::uintmax_t>(status.st_size) <= limit) {
    text.reserve(static_cast<std::size_t>(status.st_size));
  }
  char chunk[1 << 16];
  for (;;) {
    const ssize_t n = ::read(file.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, "cannot be read: " + reason());
    if (n == 0) return text;
    if (static_cast<std::size_t>(n) > limit - text.size()) fail(path, fmt::format("is larger than {} bytes", limit), "is this the right file?");
    text.append(chunk, static_cast<std::size_t>(n));
  }
}

void check_writable(const fs::path& path) { target_of(path); }

void write_file_atomically(const fs::path& path, std::string_view text) {
  const std::optional<fs::path> file_target = target_of(path);
  if (!file_target) return write_directly(path, text);
  const fs::path& target = *file_target;
  const fs::path folder = folder_of(target);
  std::error_code ignored;
  const fs::file_status status = fs::status(target, ignored);

  fs::path temporary;
  int fd = -1;
  for (int attempt = 0; fd < 0 && attempt < 100; ++attempt) {
    temporary = folder / fmt::format(".{}.{}-{}.tmp", target.filename().string(), ::getpid(), attempt);
    fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno != EEXIST) break;
  }
  if (fd < 0) fail(path, "cannot be written: " + reason());
  Descriptor file(fd);
  bool ok = write_all(fd, text) && ::fsync(fd) == 0;
  if (ok && fs::exists(status)) ok = ::fchmod(fd, static_cast<mode_t>(status.permissions()) & 07777U) == 0;
  ok = ok && file.close() && ::rename(temporary.c_str(), target.c_str()) == 0;
  if (!ok) {
    const std::string why = reason();
    ::unlink(temporary.c_str());
    fail(path, "cannot be written: " + why);
  }
}

fs::path data_directory() {
  std::error_code ignored;
  if (const char* set = std::getenv("ORRERY_DATA"); set != nullptr && *set != '\0') {
    if (!fs::is_directory(set, ignored))
      throw Error("ORRERY_DATA", fmt::format("'{}' is not a directory", set), "name the folder that holds models/");
    return set;
  }
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !ignored) {
    fs::path installed = program.parent_path().parent_path() / ORRERY_DATA_SUBDIR;
    if (fs::is_directory(installed, ignored)) return installed;
  }
  return ORRERY_SOURCE_DIR;
}

}  // namespace orrery
