#include "core/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "support/temporary_folder.h"

namespace orrery {
namespace fs = std::filesystem;
namespace {

class Files : public ::testing::Test {
 protected:
  template <class F>
  static std::string complaint(F f) {
    try {
      f();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  std::size_t entries() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator())); }

  TemporaryFolder temporary_;
  fs::path folder_ = temporary_.path();
};

TEST_F(Files, AreReadBackAsWritten) {
  const fs::path path = folder_ / "a.json";
  const std::string text("{\0}\n", 4);
  write_file_atomically(path, text);
  EXPECT_EQ(read_text_file(path), text);
  write_file_atomically(path, "");
  EXPECT_EQ(read_text_file(path), "");
  EXPECT_EQ(entries(), 1U);  // no temporary file is left
}

TEST_F(Files, ThatCannotBeReadSayWhy) {
  EXPECT_EQ(complaint([&] { read_text_file(folder_ / "none"); }), (folder_ / "none").string() + ": no such file");
  EXPECT_EQ(complaint([&] { read_text_file(folder_); }), folder_.string() + ": is a directory, not a file");
  write_file_atomically(folder_ / "big", "12345");
  EXPECT_EQ(complaint([&] { read_text_file(folder_ / "big", 4); }),
            (folder_ / "big").string() + ": is larger than 4 bytes\n  hint: is this the right file?");
  EXPECT_EQ(read_text_file(folder_ / "big", 5), "12345");
  EXPECT_EQ(complaint([&] { read_text_file("/dev/zero", 1000); }), "/dev/zero: is larger than 1000 bytes\n  hint: is this the right file?");
}

TEST_F(Files, ThatCannotBeWrittenSayWhyAndLeaveNothing) {
  EXPECT_EQ(complaint([&] { write_file_atomically(folder_, "x"); }), folder_.string() + ": is a directory, not a file");
  EXPECT_EQ(complaint([&] { write_file_atomically(folder_ / "no" / "a", "x"); }),
            (folder_ / "no" / "a").string() + ": cannot be written: no such folder: " + (folder_ / "no").string() +
                "\n  hint: make it first: mkdir -p " + (folder_ / "no").string());
  EXPECT_EQ(complaint([&] { check_writable(folder_ / "no" / "a"); }), complaint([&] { write_file_atomically(folder_ / "no" / "a", "x"); }));
  EXPECT_EQ(complaint([&] { check_writable(folder_ / "new"); }), "");
  EXPECT_EQ(complaint([&] { write_file_atomically("/dev/full", "x"); }), "/dev/full: cannot be written: No space left on device");
  EXPECT_EQ(complaint([&] { write_file_atomically("/dev/null", "x"); }), "");
  EXPECT_EQ(complaint([&] { write_file_atomically(folder_ / std::string(300, 'x'), "x"); }),
            (folder_ / std::string(300, 'x')).string() + ": cannot be written: File name too long");
  EXPECT_EQ(entries(), 0U);
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST_F(Files, BehindALinkAreReplacedAndTheLinkStays) {
  write_file_atomically(folder_ / "a", "old");
  fs::create_symlink("a", folder_ / "link");
  write_file_atomically(folder_ / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(read_text_file(folder_ / "a"), "new");
}

TEST_F(Files, KeepTheirPermissions) {
  write_file_atomically(folder_ / "a", "old");
  fs::permissions(folder_ / "a", fs::perms::owner_read | fs::perms::owner_write);
  write_file_atomically(folder_ / "a", "new");
  EXPECT_EQ(fs::status(folder_ / "a").permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(Files, DataAreFoundInTheSourceTreeOrWhereTheUserSays) {
  ::unsetenv("ORRERY_DATA");
  EXPECT_EQ(data_directory(), fs::path(ORRERY_SOURCE_DIR));
  ::setenv("ORRERY_DATA", folder_.c_str(), 1);
  EXPECT_EQ(data_directory(), folder_);
  ::setenv("ORRERY_DATA", "/nowhere/at/all", 1);
  EXPECT_EQ(complaint([] { data_directory(); }), "ORRERY_DATA: '/nowhere/at/all' is not a directory\n  hint: name the folder that holds models/");
  ::unsetenv("ORRERY_DATA");
}

}  // namespace
}  // namespace orrery
