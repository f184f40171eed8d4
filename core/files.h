// Files as the readers and writers of documents see them: whole texts in, whole texts out or nothing at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace orrery {

// No document of ours is larger; whoever reads more (a data file, a checkpoint) streams it.
inline constexpr std::size_t kLargestText = std::size_t{64} << 20U;

// The whole file. Throws Error at `path` when it is missing, a directory, unreadable or larger than `limit` bytes.
std::string read_text_file(const std::filesystem::path& path, std::size_t limit = kLargestText);

// Replaces the file by `text`: a temporary file in the same folder, flushed, then renamed, so that a reader (and a full disk) sees the old text or
// the new one. Devices and pipes (/dev/stdout) are written directly. Throws Error at `path`.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Throws what write_file_atomically(path, …) would throw for a path that cannot be written now, but writes nothing: for whoever works long before
// there is something to write.
void check_writable(const std::filesystem::path& path);

// Where models/, topologies/ and profiles/ are: $ORRERY_DATA, else ../share/orrery beside the program's folder when it exists, else the source tree
// that this was built from. Throws Error when $ORRERY_DATA is not a directory.
std::filesystem::path data_directory();

}  // namespace orrery
