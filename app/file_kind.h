// What sort of document a file is, for whoever is handed one without a word.
#pragma once

#include <cstdint>
#include <string>

namespace orrery::app {

enum class FileKind : std::uint8_t { plan, model, cluster, device, profile, trace, summary, sweep, table };
std::string_view name(FileKind kind);

// By the file's content: the mark of our own documents, the keys of a Hugging Face config.json, the header line of a table (CSV). Throws Error at
// `path` for a file that cannot be read, or is none of these.
FileKind file_kind(const std::string& path);

}  // namespace orrery::app
